"""Batches of a later stage go once all of an earlier one are answered, and not before."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from anybatch.core.heads import MEASURING, PRIMING, REST
from anybatch.core.model import Batch, Terms
from anybatch.core.quota import Quota
from anybatch.core.rescue import Direct
from anybatch.engine.decide import Answer, Cancel, Replan, Snapshot, Submit, decide, held_back

from .test_decide import NOW, batch_of
from .test_decide import seen as seen_online

COUNTS = {"succeeded": 4}


def seen(*batches: Batch, state: Any = "open", **terms: Any) -> Snapshot:
    """A run that goes by batch."""
    found = seen_online(*batches, state=state)
    spec = msgspec.structs.replace(found.run.spec, executor="batch")
    run = msgspec.structs.replace(found.run, spec=spec, terms=Terms(**terms))
    return replace(found, run=run, window=timedelta(hours=24))


def remote_batch(stage: int, **fields: Any) -> Batch:
    return batch_of(**{"id": f"b{stage}", "executor": "batch", "stage": stage, **fields})


FIRST = remote_batch(PRIMING)
SECOND, THIRD = remote_batch(MEASURING), remote_batch(REST)


def test_only_those_of_the_first_stage_are_submitted() -> None:
    assert decide(seen(FIRST, SECOND, THIRD), NOW) == [Submit(batch=FIRST)]


@pytest.mark.parametrize("status", ["collected", "cleaned"])
def test_the_next_stage_follows_once_the_first_is_answered(status: Any) -> None:
    over = remote_batch(PRIMING, status=status, counts=COUNTS)

    assert decide(seen(over, SECOND, THIRD), NOW)[-1] == Submit(batch=SECOND)


def test_what_failed_is_answered_too() -> None:
    failed = remote_batch(PRIMING, status="cleaned", counts={"server_error": 4})

    assert Submit(batch=SECOND) in decide(seen(failed, SECOND), NOW)


def test_it_is_so_where_calls_are_made_one_by_one() -> None:
    first, second = (batch_of(id=f"b{stage}", stage=stage) for stage in (PRIMING, MEASURING))

    assert decide(seen_online(first, second), NOW) == [Answer(batch=first)]


def test_a_retry_waits_for_no_stage_of_the_first_wave() -> None:
    over = remote_batch(PRIMING, status="cleaned", counts=COUNTS)
    again = remote_batch(PRIMING, id="again", wave=2, attempt=2)

    assert Submit(batch=again) in decide(seen(over, again), NOW)


def test_what_is_cancelled_does_not_wait_for_its_turn() -> None:
    found = decide(seen(FIRST, SECOND, state="cancelling"), NOW)

    assert found == [Cancel(batch=FIRST), Cancel(batch=SECOND)]


def test_what_waits_for_its_turn_takes_no_room_in_a_queue() -> None:
    one = Quota(measure="batches", ceiling=1)
    snapshot = replace(seen(FIRST, SECOND, THIRD), quotas=(one,))

    assert held_back(snapshot, NOW) == {}
    assert decide(snapshot, NOW) == [Submit(batch=FIRST)]


DIRECT = Direct(first=timedelta(seconds=2), each=timedelta(seconds=1), flex=False)


@pytest.mark.parametrize("hours", [1, 23])
def test_what_would_be_late_does_not_wait_for_its_turn(hours: int) -> None:
    running = remote_batch(PRIMING, status="running")
    short = seen(running, SECOND, THIRD, by=NOW + timedelta(hours=hours))

    found = decide(replace(short, direct=DIRECT), NOW)

    moved = {action.batch.id for action in found if isinstance(action, Replan)}
    assert moved == {SECOND.id, THIRD.id}


def test_what_is_in_time_waits_for_its_turn() -> None:
    running = remote_batch(PRIMING, status="running")
    long = seen(running, SECOND, by=NOW + timedelta(hours=90))

    found = decide(replace(long, direct=DIRECT), NOW)

    assert not any(isinstance(action, Replan | Submit) for action in found)


def test_what_was_moved_is_answered_at_once() -> None:
    running = remote_batch(PRIMING, status="running")
    moved = remote_batch(REST, executor="online")

    assert Answer(batch=moved) in decide(seen(running, moved), NOW)
