"""Heads that prompts share: whether to have a cache keep them, in which steps, and for how long.

A cache that is not read costs more than none. So one request of each head goes ahead and writes it,
a few show whether it is read, and the others follow: with it if they will read it, else without.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from math import ceil, inf, sqrt
from typing import Literal

import msgspec

from .model import Batch, Usage
from .price import MILLION, Rates, Workload, break_even, quote
from .states import BatchStatus

MOST_LOST = 0.015
"""The share of what all would cost without a cache that may be lost to find out that none is
read. The promise is 2 %; the rest is for shares of hits that are hardly below the break-even."""
MEASURED = 500
"""So many requests show at most whether heads are read."""
READ_BY = 3
"""So many requests at least have to share a head."""
_SURE = 2.33
"""Standard deviations: 99 of 100 that read so much by chance would not have paid."""

STEP = 10
PRIMING, MEASURING, REST = 0, STEP, 2 * STEP
"""The stages of batches: who writes the heads, who shows whether they are read, all others. What
waited so long that heads are written anew comes between them."""

_IS_OVER: frozenset[BatchStatus] = frozenset(("collected", "cleaned"))

How = Literal["breakpoints", "key", "none"]
"""What is said to a cache. `breakpoints`: up to where each prompt is kept, and at a premium.
`key`: who shares a head; what is kept, the service decides. `none`: nothing is to be kept."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What several prompts begin with."""

    n: int
    """The first request that has it; it goes ahead."""
    chars: int
    """It is so many characters of that request's texts."""
    size: int
    """So many requests have it."""
    prefix: int | None = None
    """What those are known by; None: all of a run have it."""


class Heads(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of a run share, and what is said of it to a cache."""

    how: How
    heads: tuple[Head, ...] = ()
    kept: bool = False
    """Whether for an hour, where it can be for minutes."""
    pays_from: float = 0.0
    """The share of hits from which on it costs less than nothing said at all."""
    life_s: float = 3_600.0
    """After so many seconds without being read a head is forgotten."""
    measured: int = 0
    """So many requests show whether they are read; 0: nothing is risked."""

    @property
    def is_staged(self) -> bool:
        """Whether some requests go ahead of others."""
        return self.how == "breakpoints"


def to_measure(work: Workload, rates: Rates, *, kept: bool) -> int | None:
    """How many requests are to show whether heads are read, once each is written; None: it is not
    worth it, or cannot be found out for as little as may be lost.

    What is answered costs the same either way and counts for nothing here.
    """
    if work.requests < READ_BY * work.heads or not work.shared:
        return None
    pays_from = break_even(rates, prompt=work.prompt, kept=kept)
    if pays_from >= 1:
        return None
    left = work.requests - work.heads
    if not pays_from:
        return 0
    affordable = _affordable(work, rates, kept=kept) - work.heads
    size = int(min(MEASURED, left, affordable))
    return size if size >= _enough(pays_from) else None


def _affordable(work: Workload, rates: Rates, *, kept: bool) -> float:
    """So many heads may be written that nobody reads."""
    premium = premium_of(work.shared, rates, prompt=work.prompt, kept=kept)
    flat = quote(msgspec.structs.replace(work, out=0.0), rates)
    return MOST_LOST * flat / premium if premium > 0 else inf


def premium_of(tokens: float, rates: Rates, *, prompt: float, kept: bool) -> float:
    """Dollars that so many tokens cost more for being written."""
    plain = rates.tokens_in.at(prompt)
    rate = rates.kept if kept else rates.written
    return tokens * ((plain if rate is None else rate.at(prompt)) - plain) / MILLION


def _enough(pays_from: float) -> int:
    """So many requests, all of which read, make sure that it pays."""
    return ceil(_SURE**2 * pays_from / (1 - pays_from))


def pays(hits: float, requests: int, pays_from: float) -> bool:
    """Whether so large a share of hits, in so many requests, is no chance below the break-even."""
    if not requests:
        return False
    # The lower end of Wilson's interval.
    spread = _SURE**2 / requests
    middle = hits + spread / 2
    half = sqrt(spread * (hits * (1 - hits) + spread / 4))
    return (middle - half) / (1 + spread) >= pays_from


def hits_in(usage: Usage) -> float | None:
    """The share of heads that were read and not written; None: neither was."""
    touched = usage.cached + usage.written + usage.kept
    return usage.cached / touched if touched else None


# --- while the run goes on ---


def early(batches: Sequence[Batch]) -> frozenset[str]:
    """The ids of batches of whose wave others go first, and are not all answered."""
    open_stages: dict[int, int] = {}
    for batch in batches:
        if batch.status not in _IS_OVER:
            open_stages[batch.wave] = min(batch.stage, open_stages.get(batch.wave, batch.stage))
    return frozenset(
        batch.id
        for batch in batches
        if batch.status == "planned" and batch.stage > open_stages[batch.wave]
    )


Marked = Literal["none", "first", "all"]
"""Which requests of a batch say where their head ends: none, those that write it, or all."""


def marked(batch: Batch, batches: Iterable[Batch], heads: Heads) -> Marked:
    """Which requests of `batch` do, as far as earlier ones have shown whether it pays.

    It follows from what is written down and is the same whoever asks, once all before are answered.
    """
    if not heads.is_staged or batch.wave != 1 or heads.kept != (batch.executor == "batch"):
        return "none"
    if batch.stage == PRIMING:
        return "first"
    if not heads.pays_from:
        return "all"
    before = [b for b in batches if b.wave == batch.wave and b.stage < batch.stage]
    if batch.stage < REST:
        was_written = any(hits_in(other.usage) is not None for other in before)
        return "all" if was_written else "none"
    shown = [other for other in before if _shows(other)]
    hits = hits_shown(shown)
    requests = sum(other.answered for other in shown)
    return "all" if hits is not None and pays(hits, requests, heads.pays_from) else "none"


def hits_shown(batches: Iterable[Batch]) -> float | None:
    """The share of heads that was read by those of `batches` that others had gone ahead of."""
    return hits_in(sum((batch.usage for batch in batches if _shows(batch)), Usage()))


def _shows(batch: Batch) -> bool:
    return batch.stage >= MEASURING and not writes_again(batch)


def writes_again(batch: Batch) -> bool:
    """Whether it was cut off one that waited too long, to write the heads anew."""
    return batch.stage % STEP == 1


def is_cold(batch: Batch, heads: Heads, *, idle: timedelta) -> bool:
    """Whether `batch` may find nothing of what was written: for so long nobody was seen to read it.

    With time to spare, for it takes a while until a batch that is sent runs.
    """
    return batch.stage >= MEASURING and idle.total_seconds() > heads.life_s * _SAFE


_SAFE = 5 / 6


def may_prime_again(batch: Batch) -> bool:
    """Whether some of a batch that waited too long may go ahead of the others; not twice."""
    return batch.stage % STEP == 0 and batch.size > 1
