"""A failed result -> again (when, and how changed) or give up."""

from collections.abc import Iterable
from datetime import timedelta
from fractions import Fraction

from .model import Batch, Counts
from .states import BREAKER_AFTER, NOT_RUN, OUTCOMES, SILENT_AFTER, TRIPPING, Outcome

MAX_TRIES = 5
"""So often a real-time call is made within one wave."""

BATCH_WAVES = 2
"""So many waves go through a provider's batch API before the tail may go real-time."""

_FIRST_PAUSE = timedelta(seconds=0.5)
_MAX_PAUSE = timedelta(seconds=30)
_MAX_DOUBLINGS = 6
"""Enough to reach `_MAX_PAUSE`; a timedelta cannot hold many more."""
_MAX_ASKED = timedelta(minutes=5)
"""A `Retry-After` beyond this is not obeyed in full: services have sent 10^9 seconds."""


_FIRST_LOOK = timedelta(seconds=1)
_RAREST_LOOK = timedelta(minutes=5)


def backoff(tries: int, *, asked: timedelta | None, jitter: float) -> timedelta:
    """How long to wait after `tries` failed calls. `asked` is the service's own wish.

    `jitter` is in [0, 1): clients that failed together must not come back together.
    """
    doublings = min(tries - 1, _MAX_DOUBLINGS)
    own = min(_MAX_PAUSE, _FIRST_PAUSE * 2.0**doublings) * (0.5 + jitter / 2)
    return own if asked is None else max(timedelta(), min(_MAX_ASKED, asked)) + own * 0.1


def look_after(age: timedelta, *, usual: timedelta | None = None, jitter: float) -> timedelta:
    """How long to wait before looking again at a batch that is so long in its phase.

    From a second to five minutes: a tenth of the age, so that early looks come quickly, or of what
    is left of the time that half of all batches take, where that is known: before then there is
    little to see. `jitter` is in [0, 1).
    """
    wait = max(age, timedelta() if usual is None else usual - age) / 10
    return max(_FIRST_LOOK, min(_RAREST_LOOK, wait)) * (0.9 + jitter / 5)


def pause_before(attempt: int) -> timedelta:
    """How long a wave rests before the requests of attempt `attempt` go out again."""
    return timedelta(seconds=2) * 2.0 ** (attempt - 2)


def next_factor(outcome: Outcome, batch: Batch, *, budgeted: bool) -> int | None:
    """The budget factor to try `outcome` again with, or None to leave it at that."""
    rule = OUTCOMES[outcome]
    if batch.pack > 1 and rule.again == "as_is" and outcome not in NOT_RUN:
        return batch.budget_factor  # alone, which is the first time
    is_rescued = batch.remote is not None and batch.remote.rescued and outcome == "expired"
    if batch.attempt >= rule.waves and not is_rescued:
        return None
    match rule.again:
        case "as_is":
            return batch.budget_factor
        case "double_budget":
            return batch.budget_factor * 2 if budgeted and batch.budget_factor == 1 else None
        case "after_fix" | "never":
            return None


def left_to_retry(batch: Batch, *, budgeted: bool) -> Counts:
    """Of the results of `batch`, those that the next wave should take over."""
    if batch.trial:
        return {}
    return {
        outcome: left
        for outcome, count in batch.counts.items()
        if (left := count - batch.retried.get(outcome, 0)) > 0
        and next_factor(outcome, batch, budgeted=budgeted) is not None
    }


def summed(a: Counts, b: Counts) -> Counts:
    """What two counts come to together."""
    return {outcome: a.get(outcome, 0) + b.get(outcome, 0) for outcome in {**a, **b}}


def standing(batches: Iterable[Batch]) -> Counts:
    """The requests' present outcomes: every result that no later wave has taken over.

    What a trial was answered is nobody's outcome.
    """
    return _left((batch.counts, batch.retried) for batch in batches if not batch.trial)


def rows(batches: Iterable[Batch]) -> Counts:
    """The rows' present outcomes: as their requests have them, whether shared or not."""
    seen = [batch for batch in batches if not batch.trial]
    return summed(standing(seen), _left((batch.copies, batch.copies_retried) for batch in seen))


def _left(pairs: Iterable[tuple[Counts, Counts]]) -> Counts:
    """What first counts come to, less the second ones."""
    total: Counts = {}
    for counts, taken in pairs:
        for outcome, count in counts.items():
            left = count - taken.get(outcome, 0)
            if left:
                total[outcome] = total.get(outcome, 0) + left
    return total


CANARY = 10
"""So many rows are tried first, where a run has more than `CANARY_FROM`."""
CANARY_FROM = 1_000
_ENOUGH_VALID = Fraction(9, 10)
_SAYS_NOTHING: frozenset[Outcome] = frozenset(
    ("expired", "cancelled", "rate_limited", "server_error", "network", "missing_result")
)
"""Outcomes that tell of the service, and not of what was asked of it."""


def invalid_in_canary(counts: Counts) -> tuple[int, int] | None:
    """How many of the first rows are not valid, of how many; None if few enough."""
    judged = sum(count for outcome, count in counts.items() if outcome not in _SAYS_NOTHING)
    valid = counts.get("succeeded", 0)
    return (judged - valid, judged) if valid < _ENOUGH_VALID * judged else None


def tripped(batches: Iterable[Batch]) -> Outcome | None:
    """The outcome that stops the run, once there are enough errors of its kind."""
    seen = list(batches)
    errors = _errors_in(seen)
    if sum(errors.values()) >= BREAKER_AFTER:
        return _commonest(errors)
    return "network" if _nobody_answers(seen) else None


def _nobody_answers(batches: Iterable[Batch]) -> bool:
    """Whether no call got an answer, of so many that there is nobody to give one."""
    counts = standing(batches)
    return counts.keys() == {"network"} and counts["network"] >= SILENT_AFTER


def refusal_of(batches: Iterable[Batch]) -> Outcome | None:
    """What these batches say of the key, the account or the model that all others would meet."""
    return _commonest(_errors_in(batches))


def _commonest(errors: Counts) -> Outcome | None:
    return max(errors, key=lambda outcome: errors[outcome], default=None)


def _errors_in(batches: Iterable[Batch]) -> Counts:
    """How often it was said, of each outcome that trips the breaker: by calls, not by rows."""
    total: Counts = {}
    for batch in batches:
        if not TRIPPING.isdisjoint(batch.counts):
            total = summed(total, _errors_of(batch))
    return total


def _errors_of(batch: Batch) -> Counts:
    """A call in real time, or a line of results, is refused for one row; a batch for all of its."""
    left = {o: -(-c // batch.pack) for o, c in standing([batch]).items() if o in TRIPPING}
    return dict.fromkeys(left, 1) if _is_refused_whole(batch) else left


def _is_refused_whole(batch: Batch) -> bool:
    """Whether no row of it was asked: it was not taken, or found wanting when it was."""
    if batch.executor != "batch":
        return False
    return batch.remote is None or batch.remote.id is None or bool(batch.remote.failed)
