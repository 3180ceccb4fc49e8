"""What to do next, given what is written down and the time.

Nothing here reads a clock, opens a file or awaits: `decide` is a function of its arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from ..core.model import Batch, Run
from ..core.retry import invalid_in_canary, left_to_retry, standing, tripped
from ..core.states import OUTCOMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Claim the batch and answer what is left of it."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Claim the batch and give what is left of it the outcome `cancelled`."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Claim the batch and submit it to its provider."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover:
    """Find out whether the provider took the batch when it was last submitted."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """Ask the provider how these batches are."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRemote:
    """Ask the provider to end the batch."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Fetch what the provider has of the batch, and record it."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Clean:
    """Delete what the provider still keeps of the batch: all of it is here."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Retry:
    """Plan the next wave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What is left would fail the same way."""

    why: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Every row has its outcome."""


LISTED_FROM = 5
"""So many batches are worth a look at a provider's list instead of one each."""

Remotely = Submit | Recover | CancelRemote | Collect | Clean
"""The steps of a batch that goes through a provider's batch API, but for looking at it."""

Action = Answer | Cancel | Remotely | Poll | Retry | Stop | Finish


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
    """How many more batches this process can work on call by call."""
    free_remotely: int = 1
    """How many more steps of batches at a provider this process can take at once."""
    looking: bool = False
    """Whether this process is asking a provider how batches are."""
    looks: Mapping[str, datetime] = field(default_factory=dict)
    """When this process looks again at batches in which it last saw nothing new."""


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
    unanswered = [batch for batch in seen.batches if not _is_answered(batch)]
    if cause is not None:
        # What a provider has taken is paid for: it is waited for and fetched before we stop.
        taken = [batch for batch in unanswered if _is_taken(batch)]
        why = f"{cause}: {OUTCOMES[cause].meaning}"
        return _steps(taken, now, seen) if taken else [Stop(why=why)]
    if seen.run.canary:
        canary = next(batch for batch in seen.batches if (batch.wave, batch.part) == (1, 0))
        if not _is_answered(canary):
            return _steps([canary], now, seen)
        bad = invalid_in_canary(canary.counts)
        if bad is not None:
            return [Stop(why=_of_canary(*bad))]
    uncleaned = [batch for batch in seen.batches if _is_uncleaned(batch)]
    if unanswered:
        return _steps([*unanswered, *uncleaned], now, seen)
    if any(left_to_retry(batch, budgeted=seen.run.budgeted) for batch in seen.batches):
        return [Retry()]
    return _steps(uncleaned, now, seen) if uncleaned else [Finish()]


def _of_canary(invalid: int, judged: int) -> str:
    return (
        f"{invalid} of the first {judged} rows have no valid answer, so the others were not sent; "
        "mend the prompt or the schema, or go on with --no-canary"
    )


def _wind_up(seen: Snapshot, now: datetime) -> list[Action]:
    unanswered = [batch for batch in seen.batches if not _is_answered(batch)]
    uncleaned = [batch for batch in seen.batches if _is_uncleaned(batch)]
    if not unanswered and not uncleaned:
        return [Finish()]
    return _steps([*unanswered, *uncleaned], now, seen, ending=True)


def _steps(
    batches: list[Batch], now: datetime, seen: Snapshot, *, ending: bool = False
) -> list[Action]:
    """The next step of each batch that is due and free, as many as this process can take."""
    free, free_remotely = seen.free, seen.free_remotely
    actions: list[Action] = []
    waiting: list[Batch] = []
    not_yet: list[Batch] = []
    for batch in batches:
        if not _is_free(batch, now, seen):
            continue
        action = _ending(batch) if ending else _next(batch)
        # What is given up unsent need not wait for its moment.
        if isinstance(action, Poll):
            (waiting if _is_worth_a_look(batch, now, seen) else not_yet).append(batch)
        elif not isinstance(action, Cancel | CancelRemote) and not _is_due(batch, now):
            continue
        elif isinstance(action, Answer | Cancel):
            free -= 1
            actions += [action] if free >= 0 else []
        else:
            free_remotely -= 1
            actions += [action] if free_remotely >= 0 else []
    if waiting and not seen.looking:
        # A list tells of all at once: then none needs a look of its own a moment later.
        listed = len(waiting) + len(not_yet) >= LISTED_FROM
        actions.append(Poll(batches=(*waiting, *(not_yet if listed else ()))))
    return actions


def _is_worth_a_look(batch: Batch, now: datetime, seen: Snapshot) -> bool:
    return _is_due(batch, now) and seen.looks.get(batch.id, now) <= now


def _next(batch: Batch) -> Answer | Remotely | Poll:
    if batch.executor != "batch":
        return Answer(batch=batch)
    match batch.status:
        case "planned":
            return Submit(batch=batch)
        case "submitting":
            return Recover(batch=batch) if _may_exist(batch) else Submit(batch=batch)
        case "running":
            return Poll(batches=(batch,))
        case "ended":
            return Collect(batch=batch)
        case "collected" | "cleaned":
            return Clean(batch=batch)
    assert_never(batch.status)


def _ending(batch: Batch) -> Cancel | Remotely | Poll:
    """The next step of a batch of a cancelled run: what is paid for is fetched all the same."""
    if not _is_taken(batch) and not _is_answered(batch):
        return Cancel(batch=batch)
    if batch.status == "running" and batch.remote is not None and not batch.remote.cancelled:
        return CancelRemote(batch=batch)
    step = _next(batch)
    assert not isinstance(step, Answer)
    return step


def _may_exist(batch: Batch) -> bool:
    """Whether a submission is under way whose answer we do not have."""
    return batch.remote is not None and batch.remote.sent_at is not None


def _is_taken(batch: Batch) -> bool:
    """Whether a provider has the batch, or may have it."""
    if batch.executor != "batch":
        return False
    return batch.status in ("running", "ended") or (
        batch.status == "submitting" and _may_exist(batch)
    )


def _is_answered(batch: Batch) -> bool:
    """Whether every request of the batch has its result."""
    match batch.status:
        case "collected" | "cleaned":
            return True
        case "planned" | "submitting" | "running" | "ended":
            return False
    assert_never(batch.status)


def _is_uncleaned(batch: Batch) -> bool:
    """Whether a provider still keeps something of a batch that is all here."""
    return batch.status == "collected" and batch.remote is not None


def _is_due(batch: Batch, now: datetime) -> bool:
    return batch.due is None or batch.due <= now


def _is_free(batch: Batch, now: datetime, seen: Snapshot) -> bool:
    """Whether nobody alive owns `batch`."""
    if batch.id in seen.ours:
        return False
    if batch.owner is None or batch.owner in seen.dead:
        return True
    return batch.lease_until is None or batch.lease_until <= now
