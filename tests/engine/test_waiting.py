"""What a run says that it waits for, and until when."""

from datetime import timedelta

import pytest

from anybatch.core.model import Batch, Remote
from anybatch.engine.waiting import waiting_for

from .test_decide import LATER, NOW
from .test_decide_remotely import remote_batch

MINUTE = timedelta(minutes=1)


def running(name: str = "b0", *, wait: timedelta = -MINUTE) -> Batch:
    remote = Remote(id=f"batch_{name}", status="in_progress", sent_at=NOW)
    return remote_batch(id=name, status="running", remote=remote, due=NOW + wait)


def test_the_next_look_is_the_one_that_is_really_due() -> None:
    batches = [running("b0"), running("b1"), running("b2", wait=MINUTE)]
    looks = {"b0": NOW + 3 * MINUTE, "b1": NOW + 2 * MINUTE}

    said = waiting_for(batches, {}, NOW, looks=looks)

    assert said == "the provider (3 in_progress; next look in 1 min 0 s)"


@pytest.mark.parametrize("looking", [True, False])
def test_it_is_now_only_while_we_look(looking: bool) -> None:
    said = waiting_for([running()], {}, NOW, looks={"b0": NOW - MINUTE}, looking=looking)

    assert said == f"the provider (1 in_progress; next look {'now' if looking else 'in 1 s'})"


def test_what_is_over_or_was_never_there_is_not_waited_for() -> None:
    over = remote_batch(status="collected", remote=Remote(id="batch_1", sent_at=NOW))
    planned = remote_batch(status="planned", due=LATER)

    assert waiting_for([over, planned], {}, NOW) is None
