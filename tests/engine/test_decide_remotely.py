"""What is decided about batches at a provider, for everything that can be written down."""

from dataclasses import replace as with_
from itertools import product
from typing import Any, get_args

import pytest

from anybatch.core.model import Batch, Counts, Remote
from anybatch.core.states import BatchStatus, RunState
from anybatch.engine.decide import (
    Action,
    Cancel,
    CancelRemote,
    Clean,
    Collect,
    Finish,
    Poll,
    Recover,
    Retry,
    Submit,
    decide,
)

from .test_decide import DUE, FINISHED, LATER, NOW, OWNED, TAKEN, batch_of, seen, stopped

REMOTE: dict[str, Remote | None] = {
    "unknown": None,
    "uploaded": Remote(input_file="file-1"),
    "sent": Remote(input_file="file-1", sent_at=NOW),
    "known": Remote(input_file="file-1", sent_at=NOW, id="batch_1"),
    "cancelled": Remote(input_file="file-1", sent_at=NOW, id="batch_1", cancelled=True),
}
"""What is known of the batch at its provider."""

SENSIBLE: dict[BatchStatus, tuple[str, ...]] = {
    "planned": ("unknown", "uploaded"),
    "submitting": ("unknown", "uploaded", "sent"),
    "running": ("known", "cancelled"),
    "ended": ("known", "cancelled"),
    "collected": ("known", "cancelled"),
    "cleaned": ("known",),
}
EVERYTHING = [(status, known) for status, all_known in SENSIBLE.items() for known in all_known]


def remote_batch(**fields: Any) -> Batch:
    return batch_of(**{"executor": "batch", **fields})


@pytest.mark.parametrize("state", get_args(RunState))
@pytest.mark.parametrize(("status", "known"), EVERYTHING)
@pytest.mark.parametrize(("owned", "due"), list(product(OWNED, DUE)))
def test_one_batch_in_every_state(
    state: RunState, status: BatchStatus, known: str, owned: str, due: str
) -> None:
    counts: Counts = {"succeeded": 4} if status in FINISHED else {}
    fields = {"due": DUE[due], "counts": counts, "remote": REMOTE[known], **OWNED[owned]}
    batch = remote_batch(status=status, **fields)

    actions = decide(seen(batch, state=state), NOW)

    assert actions == expected(state, known, owned, due, batch)


def expected(state: RunState, known: str, owned: str, due: str, batch: Batch) -> list[Action]:
    """The table, in words."""
    if state in ("ended", "stopped"):
        return []
    if batch.status == "cleaned":
        return [Finish()]
    if owned in TAKEN:
        return []
    if state == "cancelling":
        # What was never sent is given up at once; what was is asked for an end at once.
        if batch.status in ("planned", "submitting") and known != "sent":
            return [Cancel(batch=batch)]
        if batch.status == "running" and known == "known":
            return [CancelRemote(batch=batch)]
    return [] if due == "later" else [step(known, batch)]


def step(known: str, batch: Batch) -> Action:
    match batch.status:
        case "planned":
            return Submit(batch=batch)
        case "submitting":
            return Recover(batch=batch) if known == "sent" else Submit(batch=batch)
        case "running":
            return Poll(batches=(batch,))
        case "ended":
            return Collect(batch=batch)
        case _:
            return Clean(batch=batch)


@pytest.mark.parametrize("free", [0, 1, 2, 5])
def test_no_more_steps_are_taken_than_there_is_room_for(free: int) -> None:
    batches = [remote_batch(id=f"b{part}", part=part) for part in range(3)]

    actions = decide(with_(seen(*batches), free_remotely=free), NOW)

    assert actions == [Submit(batch=batch) for batch in batches[:free]]


def test_what_is_taken_is_fetched_before_the_breaker_stops_the_run() -> None:
    refused = remote_batch(id="refused", status="cleaned", counts={"auth": 4}, remote=Remote())
    unsent = remote_batch(id="unsent", part=1)
    running = remote_batch(id="running", part=2, status="running", remote=REMOTE["known"])
    waiting = remote_batch(id="w", part=3, status="running", remote=REMOTE["known"], due=LATER)

    assert decide(seen(refused, unsent, running), NOW) == [Poll(batches=(running,))]
    assert decide(seen(refused, unsent, waiting), NOW) == []
    assert decide(seen(refused, unsent), NOW) == [stopped("auth")]


def test_a_wave_does_not_wait_for_the_cleaning_up_and_the_end_does() -> None:
    counts: Counts = {"succeeded": 3, "server_error": 1}
    failed = remote_batch(status="collected", counts=counts, remote=REMOTE["known"])

    assert decide(seen(failed), NOW) == [Retry()]
    over = remote_batch(status="collected", counts={"succeeded": 4}, remote=REMOTE["known"])
    assert decide(seen(over), NOW) == [Clean(batch=over)]


def test_rows_that_were_refused_before_anything_was_sent_leave_nothing_to_clean_up() -> None:
    refused = remote_batch(status="collected", counts={"bad_request": 4})

    assert decide(seen(refused), NOW) == [Finish()]
