"""How much may wait at a provider at once: learned from its refusals, kept, and outgrown again.

Providers say of these limits little, late or nothing. What is certain is what was waiting when one
more was refused.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from .model import Batch, Failure
from .plan import Limits

Measure = Literal["tokens", "requests", "batches"]
"""What a limit counts."""

_NAMED_FOR = timedelta(days=1)
_GUESSED_FOR = timedelta(hours=1)
_GROWTH = 0.1
"""By so much of itself a learned limit grows in an hour: what was refused may be taken by now."""
_GUESSED_AFTER = 3
"""So many refusals in a row, of which none says why, are taken for a limit of batches."""
_CUT_AFTER = 3
"""So many refusals of one batch, with nothing else of ours waiting, and it is too large."""
_GIVEN_UP_AFTER = 8
BYTES_PER_TOKEN = 4
"""About so many bytes of a request are a token."""
_MARGIN = 0.8
"""Of a limit of tokens, as ours are estimated."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What waits at a provider, or would."""

    batches: int = 0
    requests: int = 0
    tokens: int = 0
    """Estimated."""

    def __add__(self, other: "Load") -> "Load":
        return Load(
            batches=self.batches + other.batches,
            requests=self.requests + other.requests,
            tokens=self.tokens + other.tokens,
        )

    def of(self, measure: Measure) -> int:
        amount: int = getattr(self, measure)
        return amount


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of what may wait at once."""

    measure: Measure
    ceiling: int
    """In our own counts."""
    said: int | None = None
    """The provider's own number, where it told one."""
    named: bool = True
    """Whether the provider said that it is this limit; else we guess so."""
    learned_at: datetime | None = None
    """None: it is among the provider's facts, and does not change."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was not taken because too much was waiting, in the provider's words."""

    measure: Measure | None
    """None: it does not say what there is too much of."""
    said: int | None = None
    """The limit, where it tells it."""
    rate: bool = False
    """Whether it is about how often we ask, and not about what waits."""


def load_of(batch: Batch) -> Load:
    return Load(batches=1, requests=batch.size, tokens=batch.tokens)


def waits_there(batch: Batch) -> bool:
    """Whether it waits at its provider, as far as we know."""
    if batch.executor != "batch" or batch.remote is None or batch.remote.sent_at is None:
        return False
    return batch.status in ("submitting", "running")


def total(batches: Iterable[Batch]) -> Load:
    return sum(map(load_of, batches), Load())


# --- what a refusal says ------------------------------------------------------------------------

_RATE = re.compile(r"\bper[ -](second|sec|minute|min|hour|day)\b|\b[rt]p[md]\b", re.IGNORECASE)
_LIMIT = re.compile(r"\blimit\s*(?::|of|is)?\s*(\d[\d,._]*)\s*([kmb])?\b", re.IGNORECASE)
_TIMES = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_WORDS: tuple[tuple[Measure, str], ...] = (
    ("tokens", r"\btokens?\b|\btoken_limit"),
    ("requests", r"(queued|enqueued|pending|waiting)\b.*\brequests?\b|\brequest_limit"),
    ("batches", r"too many .*\bbatches\b|concurrent|\b(batches|jobs)\b.*\b(at once|in progress)"),
)


def refusal_in(failure: Failure) -> Refusal:
    """What a provider's refusal says of the limit that was met."""
    words = f"{failure.code or ''} {failure.message}"
    measure = next(
        (measure for measure, pattern in _WORDS if re.search(pattern, words, re.IGNORECASE)), None
    )
    return Refusal(
        measure=measure,
        said=_number_in(failure.message),
        rate=_RATE.search(words) is not None,
    )


def _number_in(message: str) -> int | None:
    found = _LIMIT.search(message)
    if found is None:
        return None
    digits = re.sub(r"[,_]", "", found[1]).rstrip(".")
    try:
        return int(float(digits) * _TIMES[(found[2] or "").lower()])
    except (ValueError, OverflowError):
        return None


# --- what follows from it -----------------------------------------------------------------------


def learned(
    refusal: Refusal, *, others: Load, mine: Load, tries: int, now: datetime
) -> Quota | None:
    """The limit that this refusal shows, where it shows one.

    `others` is what was waiting already, `mine` what was refused, for the `tries`-th time in a row.
    """
    if refusal.rate:
        return None
    if refusal.measure is None:
        if tries < _GUESSED_AFTER or not others.batches:
            return None
        return Quota(measure="batches", ceiling=others.batches, named=False, learned_at=now)
    before, said = others.of(refusal.measure), refusal.said
    fits = said is not None and before <= said < before + mine.of(refusal.measure)
    if not fits and not before:
        return None  # alone, and within what is said: it is not ours that waits there
    # What is said beyond these bounds is no measure: our tokens are estimated, others' not known.
    ceiling = said if fits and said is not None else before
    return Quota(measure=refusal.measure, ceiling=ceiling, said=said, learned_at=now)


def most_in_a_batch(refusal: Refusal, *, mine: Load, alone: int) -> tuple[Measure, int] | None:
    """Of what a batch may hold how much, that was refused with nothing else of ours waiting.

    None: it may get through as it is. `alone` counts these refusals: others may share the account,
    so that the first of them prove nothing unless the provider tells its limit.
    """
    if refusal.rate or refusal.measure == "batches":
        return None
    if refusal.measure is not None and refusal.said is not None:
        share = _MARGIN if refusal.measure == "tokens" else 1.0
        if refusal.said < mine.of(refusal.measure):
            return refusal.measure, max(1, int(refusal.said * share))
    # Half of it, where nobody says how much would do.
    return ("requests", (mine.requests + 1) // 2) if alone >= _CUT_AFTER else None


def smaller(limits: Limits, size: int, measure: Measure, most: int) -> Limits:
    """The limits under which a batch of this size is cut, so that none holds more than `most`."""
    return Limits(
        max_requests=max(1, min(size - 1, most) if measure == "requests" else size - 1),
        max_bytes=most * BYTES_PER_TOKEN if measure == "tokens" else None,
        distinct_sizes=limits.distinct_sizes,
    )


def is_hopeless(refusal: Refusal, *, alone: int) -> bool:
    """Whether a single request that was refused so often will never get through."""
    return not refusal.rate and alone >= _GIVEN_UP_AFTER


def pause_after(refused: int) -> timedelta:
    """How long a batch rests that was refused so often, and that nothing of its run has to end for.

    Where something has, the batch waits for that.
    """
    return min(timedelta(minutes=15), timedelta(minutes=1) * 2.0 ** min(refused - 1, 4))


# --- what may go --------------------------------------------------------------------------------


def is_over(quota: Quota, now: datetime) -> bool:
    """Whether a limit was learned so long ago that it says nothing any more."""
    if quota.learned_at is None:
        return False
    return now >= quota.learned_at + (_NAMED_FOR if quota.named else _GUESSED_FOR)


def room(quota: Quota, now: datetime) -> int:
    """How much may wait by now: a tenth more each hour, of batches one at least."""
    if quota.learned_at is None:
        return quota.ceiling
    hours = max(0.0, (now - quota.learned_at) / timedelta(hours=1))
    least = int(hours) if quota.measure == "batches" else 0
    return quota.ceiling + max(least, int(quota.ceiling * _GROWTH * hours))


def held_by(load: Load, waiting: Load, quotas: Iterable[Quota], now: datetime) -> Quota | None:
    """The limit for which `load` has no room beside what is `waiting`; None: it has."""
    for quota in quotas:
        amount = waiting.of(quota.measure) + load.of(quota.measure)
        if not is_over(quota, now) and amount > room(quota, now):
            return quota
    return None


_OF: dict[Measure, str] = {
    "tokens": "enqueued-token limit of {:,}",
    "requests": "limit of {:,} waiting requests",
    "batches": "limit of {:,} batches at once",
}


def reason(quota: Quota) -> str:
    """Why a batch waits, in words."""
    limit = _OF[quota.measure].format(quota.ceiling if quota.said is None else quota.said)
    if quota.learned_at is None:
        return f"{limit}, the provider's own"
    about = "" if quota.named else ", a guess"
    return f"{limit} learned at {quota.learned_at:%Y-%m-%d %H:%M} UTC{about}"
