"""What the core's property tests draw from."""

from typing import get_args

from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Batch
from anybatch.core.states import Outcome

OUTCOMES = st.sampled_from(get_args(Outcome))
COUNTS = st.dictionaries(OUTCOMES, st.integers(1, 1000), max_size=5)

BATCH = Batch(id="b", run_id="r", wave=1, part=0, status="collected", first=0, size=10)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """A batch of which some results were taken over by a later wave."""
    counts = draw(COUNTS)
    retried = {outcome: draw(st.integers(0, count)) for outcome, count in counts.items()}
    attempt, factor = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4]))
    return replace(BATCH, counts=counts, retried=retried, attempt=attempt, budget_factor=factor)
