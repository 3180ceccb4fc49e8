"""Runs and batches for the store tests: plain ones, and ones that hypothesis draws."""

from datetime import UTC, datetime, timedelta
from typing import get_args

from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Api, Batch, Preference, Run, Segment, Spec, Terms, Tier, Usage
from anybatch.core.offers import Quote, Way
from anybatch.core.price import Rate, Rates, Tariff
from anybatch.core.states import BatchStatus, Outcome, RunState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

RUN = Run(
    id="run-1",
    created_at=NOW,
    source="in.csv",
    spec=Spec(provider="openai", model="m", api="openai.chat", prompt="{{ x }}"),
    fingerprint="f",
    parts={"data": "d"},
    columns=("x",),
    total=10,
)


QUOTE = Quote(
    at=NOW,
    tariff=Tariff(
        model="m",
        source="a table",
        as_of=NOW.date(),
        tiers={
            "batch": Rates(tokens_in=Rate(0.5, ((100_000, 1.0),)), tokens_out=Rate(2.0)),
            "standard": Rates(tokens_in=Rate(1.0), tokens_out=Rate(4.0), cached=Rate(0.1)),
        },
    ),
    way=Way(tier="batch", executor="batch", cached="primed", rows=3),
    requests=10,
    tokens_in=100.5,
    out=7.25,
    most_out=50.0,
    band=0.02,
    dollars=0.1,
    most=0.3,
    real_time=0.2,
    flat=None,
)


def run(k: int, *, fingerprint: str = "f", source: str = "in.csv") -> Run:
    """The k-th run; each is a minute younger than the one before."""
    created_at = NOW + k * MINUTE
    return replace(
        RUN, id=f"run-{k}", created_at=created_at, fingerprint=fingerprint, source=source
    )


def batch(of: Run, *, part: int = 0, wave: int = 1) -> Batch:
    return Batch(
        id=f"{of.id}-{wave}-{part}",
        run_id=of.id,
        wave=wave,
        part=part,
        status="planned",
        first=10 * part,
        size=10,
    )


# A lone surrogate is no text that a database takes.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MOMENTS = st.integers(0, 200 * 365 * 24 * 3600 * 10**6).map(
    lambda microseconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)
NUMBERS = st.integers(0, 2**40)
JSON = st.dictionaries(TEXTS, TEXTS | st.integers(-(2**53), 2**53) | st.none(), max_size=3)
COUNTS = st.dictionaries(st.sampled_from(get_args(Outcome)), NUMBERS, max_size=3)
SPECS = st.builds(
    Spec,
    provider=TEXTS,
    model=st.none() | TEXTS,
    api=st.sampled_from(get_args(Api)),
    base_url=st.none() | TEXTS,
    prompt=st.none() | TEXTS,
    system=st.none() | TEXTS,
    output_schema=st.none() | JSON,
    parameters=JSON,
)
RUNS = st.builds(
    Run,
    id=st.just("any"),
    created_at=MOMENTS,
    source=TEXTS,
    spec=SPECS,
    fingerprint=TEXTS,
    parts=st.dictionaries(TEXTS, TEXTS, max_size=3),
    columns=st.lists(TEXTS, max_size=4).map(tuple),
    total=NUMBERS,
    skipped=NUMBERS,
    budgeted=st.booleans(),
    wave=st.integers(1, 9),
    state=st.sampled_from(get_args(RunState)),
    why=st.none() | TEXTS,
    ended_at=st.none() | MOMENTS,
    canary=st.integers(0, 99),
    account=st.none() | TEXTS,
    keep_remote=st.booleans(),
    copies=NUMBERS,
    reused=NUMBERS,
    terms=st.builds(
        Terms,
        by=st.none() | MOMENTS,
        budget=st.none() | st.floats(0, 1e6),
        prefer=st.sampled_from(get_args(Preference)),
        preview=NUMBERS,
        overflow=st.booleans(),
    ),
)
BATCHES = st.builds(
    Batch,
    id=TEXTS,
    run_id=st.just("any"),
    wave=st.integers(1, 9),
    attempt=st.integers(1, 9),
    part=NUMBERS,
    status=st.sampled_from(get_args(BatchStatus)),
    first=NUMBERS,
    size=NUMBERS,
    tokens=NUMBERS,
    ordered=st.booleans(),
    budget_factor=st.integers(1, 9),
    due=st.none() | MOMENTS,
    owner=st.none() | TEXTS,
    lease_until=st.none() | MOMENTS,
    token=NUMBERS,
    journal=st.lists(st.builds(Segment, token=NUMBERS, size=NUMBERS, crc=NUMBERS), max_size=3).map(
        tuple
    ),
    counts=COUNTS,
    retried=COUNTS,
    copies=COUNTS,
    copies_retried=COUNTS,
    reused=st.booleans(),
    usage=st.builds(Usage, tokens_in=NUMBERS, tokens_out=NUMBERS, cached=NUMBERS),
    window=NUMBERS,
    tier=st.none() | st.sampled_from(get_args(Tier)),
    stage=st.integers(0, 9),
)
MANY_BATCHES = st.lists(BATCHES, max_size=4, unique_by=(lambda b: b.id, lambda b: (b.wave, b.part)))
