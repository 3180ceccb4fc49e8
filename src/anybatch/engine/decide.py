"""What to do next, given what is written down and the time.

Nothing here reads a clock, opens a file or awaits: `decide` is a function of its arguments.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from ..core.model import Batch, Run
from ..core.retry import left_to_retry, standing, tripped
from ..core.states import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Claim the batch and answer what is left of it."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Claim the batch and give what is left of it the outcome `cancelled`."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Retry:
    """Plan the next wave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The breaker tripped: what is left would fail the same way."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Finish:
    """Every row has its outcome."""


Action = Answer | Cancel | Retry | Stop | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is written down about a run, and who is looking."""

    run: Run
    batches: tuple[Batch, ...]
    dead: frozenset[str] = frozenset()
    """Owners that are known to have died, whatever their lease says."""
    ours: frozenset[str] = frozenset()
    """The batches this process is working on. A lease that ran out does not make us start twice."""
    free: int = 1
    """How many more batches this process can work on."""


def decide(seen: Snapshot, now: datetime) -> list[Action]:
    """The actions due. An empty list: wait, or nothing is left."""
    match seen.run.state:
        case "ended" | "stopped":
            return []
        case "open":
            return _go_on(seen, now)
        case "cancelling":
            return _wind_up(seen, now)
    assert_never(seen.run.state)


def _go_on(seen: Snapshot, now: datetime) -> list[Action]:
    cause = tripped(standing(seen.batches))
    if cause is not None:
        return [Stop(outcome=cause)]
    unfinished = [batch for batch in seen.batches if not _is_over(batch)]
    if unfinished:
        ready = [b for b in unfinished if _is_due(b, now) and _is_free(b, now, seen)]
        return [Answer(batch=batch) for batch in ready[: seen.free]]
    if any(left_to_retry(batch, budgeted=seen.run.budgeted) for batch in seen.batches):
        return [Retry()]
    return [Finish()]


def _wind_up(seen: Snapshot, now: datetime) -> list[Action]:
    unfinished = [batch for batch in seen.batches if not _is_over(batch)]
    if not unfinished:
        return [Finish()]
    ready = [batch for batch in unfinished if _is_free(batch, now, seen)]
    return [Cancel(batch=batch) for batch in ready[: seen.free]]


def _is_over(batch: Batch) -> bool:
    match batch.status:
        case "collected" | "cleaned":
            return True
        case "planned" | "submitting" | "running" | "ended":
            return False
    assert_never(batch.status)


def _is_due(batch: Batch, now: datetime) -> bool:
    return batch.due is None or batch.due <= now


def _is_free(batch: Batch, now: datetime, seen: Snapshot) -> bool:
    """Whether nobody alive owns `batch`."""
    if batch.id in seen.ours:
        return False
    if batch.owner is None or batch.owner in seen.dead:
        return True
    return batch.lease_until is None or batch.lease_until <= now
