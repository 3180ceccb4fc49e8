"""What a run may cost, and what it may come to: nothing goes out that could make it more."""

from collections.abc import Container, Iterable, Mapping
from math import inf

import msgspec

from .model import Batch, Tier, Usage
from .offers import Quote, money
from .packing import LABEL
from .price import MILLION, Rate, Rates, cost
from .quota import BYTES_PER_TOKEN
from .states import Outcome

OVER = "budget: "
"""How it begins why a run stopped, where its budget did that."""

UNMETERED: frozenset[Outcome] = frozenset(
    ("network", "server_error", "missing_result", "ambiguous")
)
"""Outcomes that may have been charged and of which nobody says how much."""


class Cap(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of what may be spent."""

    of: str
    """Whose it is, in words."""
    dollars: float
    way_on: str = "the same command with a higher --budget goes on"
    """How it is raised, in words."""
    elsewhere: float = 0.0
    """What other runs have of it: spent, or perhaps about to be."""

    @property
    def left(self) -> float:
        """For this run, all that it has spent included."""
        return self.dollars - self.elsewhere


class Purse(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may spend, and by which figures that is held."""

    quote: Quote
    caps: tuple[Cap, ...]
    scale: float = 1.0
    """Tokens in a prompt for each that is judged by its bytes."""
    repeated: int = 0
    """At most so many calls were made twice after a crash: nobody has counted what these cost."""

    @property
    def rates(self) -> Mapping[Tier, Rates]:
        return self.quote.tariff.tiers

    @property
    def cap(self) -> Cap:
        """The one that is met first."""
        return min(self.caps, key=lambda cap: cap.left)


def purse_of(
    quote: Quote, caps: Iterable[Cap], batches: Iterable[Batch], *, repeated: int = 0
) -> Purse:
    """The purse of a run with these batches."""
    first = [batch for batch in batches if batch.wave == 1]
    counted = quote.tokens_in * quote.requests
    if quote.way.rows > 1:
        # What was counted are requests as they are asked alone.
        first = [batch for batch in first if batch.pack == 1]
        counted = quote.tokens_in * sum(batch.size for batch in first)
    judged = sum(batch.tokens for batch in first)
    scale = counted / judged if judged and counted else 1.0
    return Purse(quote=quote, caps=tuple(caps), scale=scale, repeated=repeated)


def tier_of(batch: Batch) -> Tier:
    """The tier that a batch is charged by."""
    return batch.tier or ("batch" if batch.executor == "batch" else "standard")


# --- what it may come to ------------------------------------------------------------------------


def worst_of(purse: Purse, batch: Batch, requests: int, *, tier: Tier | None = None) -> float:
    """The most that so many requests of `batch` cost; infinite where its tier has no price."""
    prompt = _prompt(purse, batch) * (1 + purse.quote.band)
    return requests * _worst(purse, tier or tier_of(batch), prompt, _answer(purse, batch))


def likely_of(purse: Purse, batch: Batch, requests: int, *, tier: Tier) -> float:
    """What they are expected to cost in `tier`."""
    rates, prompt = purse.rates.get(tier), _prompt(purse, batch)
    if rates is None:
        return inf
    answer = purse.quote.out * rates.tokens_out.at(prompt)
    return requests * (prompt * rates.tokens_in.at(prompt) + answer) / MILLION


def worst_call(purse: Purse, batch: Batch, length: int) -> float:
    """The most that one request of `batch` costs whose body has so many bytes."""
    prompt = length / BYTES_PER_TOKEN * purse.scale
    prompt = max(prompt, 1.0) * (1 + purse.quote.band)
    return _worst(purse, tier_of(batch), prompt, _answer(purse, batch) * batch.pack)


def _answer(purse: Purse, batch: Batch) -> float:
    """Tokens of the longest answer to one request of `batch`."""
    most = purse.quote.most_out * batch.budget_factor
    return most if batch.pack == 1 else most + LABEL


def _prompt(purse: Purse, batch: Batch) -> float:
    """Tokens in a prompt of `batch`, the mean."""
    if not batch.tokens:
        return purse.quote.tokens_in
    return batch.tokens * purse.scale / batch.size


def _worst(purse: Purse, tier: Tier, prompt: float, out: float) -> float:
    rates = purse.rates.get(tier)
    if rates is None:
        return inf
    dear = max(rate.at(prompt) for rate in _of_input(rates, purse.quote))
    return (prompt * dear + out * rates.tokens_out.at(prompt)) / MILLION


def _of_input(rates: Rates, quote: Quote) -> Iterable[Rate]:
    """What input may be charged by: some services write into a cache without being asked to."""
    yield rates.tokens_in
    if rates.written is not None:
        yield rates.written
    if rates.kept is not None and quote.way.cached == "primed":
        yield rates.kept


# --- what it has come to ------------------------------------------------------------------------


def spent_on(purse: Purse, batch: Batch) -> float:
    """What the results of `batch` cost, and at most what those did of which nobody says it."""
    unmetered = sum(batch.counts.get(outcome, 0) for outcome in UNMETERED)
    perhaps = worst_of(purse, batch, unmetered) if unmetered else 0.0
    return paid(purse, batch, batch.usage, calls=batch.answered) + perhaps


def paid(purse: Purse, batch: Batch, usage: Usage, *, calls: int = 1) -> float:
    """What so much usage of a batch cost."""
    rates = purse.rates.get(tier_of(batch))
    if usage == Usage():
        return 0.0
    return inf if rates is None else cost(usage, rates, calls=calls)


def out_on(purse: Purse, batch: Batch) -> float:
    """The most that what is under way of `batch` may still cost."""
    left = batch.size - batch.answered
    if batch.status in ("collected", "cleaned") or not left:
        return 0.0
    if batch.executor == "batch":
        return worst_of(purse, batch, left) if _may_run(batch) else 0.0
    calls = min(batch.window, left) if batch.owner is not None else 0
    return worst_of(purse, batch, calls) if calls else 0.0


def _may_run(batch: Batch) -> bool:
    """Whether a provider has it, or may have it in a moment."""
    if batch.status == "submitting":
        sent = batch.remote is not None and batch.remote.sent_at is not None
        return sent or batch.owner is not None
    return batch.status in ("running", "ended")


def room(purse: Purse, batches: Iterable[Batch], *, but: Container[str] = ()) -> float:
    """What may go out more: of the budget, what is neither spent nor may be by what is out.

    Without what batches have that are named by `but`.
    """
    seen = list(batches)
    gone = sum(spent_on(purse, b) + out_on(purse, b) for b in seen if b.id not in but)
    return purse.cap.left - gone - _twice(purse, seen)


def _twice(purse: Purse, batches: list[Batch]) -> float:
    """What calls may have cost that were made twice."""
    if not purse.repeated or not batches:
        return 0.0
    online = [batch for batch in batches if batch.executor != "batch"] or batches
    return purse.repeated * max(worst_of(purse, batch, 1) for batch in online)


def is_over(why: str | None) -> bool:
    """Whether a run that stopped did so for its budget."""
    return why is not None and why.startswith(OVER)


# --- what may go next ---------------------------------------------------------------------------

_WORTH_CUTTING = 10
"""A batch that may cost more than is left is cut if this part of the run may go: each part is
waited for as long as a whole one."""


class Spending:
    """What steps that are decided on together may spend. Without a purse, as much as they like."""

    def __init__(
        self, purse: Purse | None, batches: Iterable[Batch], least: Mapping[str, float]
    ) -> None:
        """`least`: what the next call of a batch may cost, where that is more than most do."""
        self._purse = purse
        self._batches = list(batches)
        self._least = least
        self._left = inf if purse is None else room(purse, self._batches)
        self._spare = self._left
        """The same for what is taken back: that is held against what it is expected to cost."""

    def _next_of(self, purse: Purse, batch: Batch) -> float:
        """What goes out at once of a batch at least may cost so much."""
        if batch.executor == "batch":
            return worst_of(purse, batch, batch.size - batch.answered)
        return max(worst_of(purse, batch, 1), self._least.get(batch.id, 0.0))

    def lets(self, batch: Batch, *, takes: bool) -> bool:
        """Whether the batch may go; if it `takes` what it may cost, that is not left for others."""
        if self._purse is None:
            return True
        if self._next_of(self._purse, batch) > self._left:
            return False
        if takes:
            self._left -= worst_of(self._purse, batch, batch.size - batch.answered)
        return True

    def affords(self, batch: Batch, requests: int, *, tier: Tier | None) -> bool:
        """Whether there is enough for so many requests of `batch` in real time, as expected."""
        if self._purse is None:
            return True
        return likely_of(self._purse, batch, requests, tier=tier or "standard") <= self._spare

    def spares(self, batch: Batch, tier: Tier | None) -> bool:
        """Whether what is left of a batch may be answered in real time instead; it is, then."""
        if self._purse is None:
            return True
        left, freed = batch.size - batch.answered, out_on(self._purse, batch)
        dollars = likely_of(self._purse, batch, left, tier=tier or "standard")
        if dollars > self._spare + freed:
            return False
        self._spare += freed - dollars
        return True

    def part_of(self, batch: Batch) -> int:
        """So many requests of a batch that has to go as a whole may go; 0: too few of them."""
        if self._purse is None or batch.executor != "batch" or batch.answered:
            return 0
        each = worst_of(self._purse, batch, 1)
        most = int(self._left / each) if 0 < each < inf else 0
        return most if most * _WORTH_CUTTING >= self._purse.quote.requests else 0

    def why_stopped(self, batches: Iterable[Batch]) -> str:
        """Why none of `batches` goes out."""
        purse = self._purse
        assert purse is not None
        least = min(self._next_of(purse, batch) for batch in batches)
        if least == inf:
            return f"{OVER}{purse.quote.tariff.source} has no price for the way the rest would go"
        gone, cap = sum(spent_on(purse, batch) for batch in self._batches), purse.cap
        others = f", and {money(cap.elsewhere)} by other runs" if cap.elsewhere else ""
        short = max(0.0, least - self._left)
        return (
            f"{OVER}{money(gone)} of {cap.of} of {money(cap.dollars)} are spent{others}. What "
            f"comes next may cost {money(least)}, {money(short)} more than is left. What is "
            f"answered is kept; {cap.way_on}"
        )
