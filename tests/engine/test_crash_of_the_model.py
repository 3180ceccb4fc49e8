"""The packaged model dies with its process, and the next process gets each row answered once."""

from pathlib import Path

import pytest

from anybatch.core.schema import from_labels
from anybatch.testing import CrashAt

from .harness import World, rows, spec
from .promises import broken_promises

pytestmark = [pytest.mark.real_model, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.mark.parametrize(
    ("name", "k"), [("model.send", 6), ("model.receive", 9), ("journal.fsync", 3)]
)
def test_a_model_that_died_in_the_middle_is_not_asked_all_over(
    name: str, k: int, scratch: Path
) -> None:
    labels = from_labels(["ships", "birds", "stars"])
    asked = spec(None, provider="local", model="smollm2", output_schema=labels)
    world = World(root=scratch / "world", spec=asked, rows=rows(8), says=None)

    assert world.die(CrashAt(k, only=name))
    world.live()

    assert broken_promises(world) == []
