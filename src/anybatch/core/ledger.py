"""What a run did cost, by what each attempt used; and what it would have cost otherwise."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

from .model import Tier, Usage
from .offers import Quote
from .price import MILLION, Rates, Tariff


class Dollars(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What tokens cost, by their class."""

    fresh: float = msgspec.field(default=0.0, name="input")
    """Read anew."""
    cached: float = 0.0
    written: float = 0.0
    kept: float = 0.0
    output: float = 0.0
    """What was answered, without what was thought."""
    reasoning: float = 0.0

    @property
    def total(self) -> float:
        return self.fresh + self.cached + self.written + self.kept + self.output + self.reasoning

    def __add__(self, other: "Dollars") -> "Dollars":
        return Dollars(
            fresh=self.fresh + other.fresh,
            cached=self.cached + other.cached,
            written=self.written + other.written,
            kept=self.kept + other.kept,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )


def dollars_of(usage: Usage, rates: Rates, *, length: int) -> Dollars:
    """What `usage` costs in requests whose prompts cost what one of `length` tokens does."""
    plain = rates.tokens_in.at(length)
    read, written, kept = (
        plain if rate is None else rate.at(length)
        for rate in (rates.cached, rates.written, rates.kept)
    )
    out = rates.tokens_out.at(length)
    fresh = max(0, usage.tokens_in - usage.cached - usage.written - usage.kept)
    thought = min(usage.reasoning, usage.tokens_out)
    return Dollars(
        fresh=fresh * plain / MILLION,
        cached=usage.cached * read / MILLION,
        written=usage.written * written / MILLION,
        kept=usage.kept * kept / MILLION,
        output=(usage.tokens_out - thought) * out / MILLION,
        reasoning=thought * out / MILLION,
    )


def steps_of(tariff: Tariff) -> tuple[int, ...]:
    """The lengths beyond which a prompt costs more in some tier, ascending."""
    steps = {
        length
        for rates in tariff.tiers.values()
        for rate in (rates.tokens_in, rates.tokens_out, rates.cached, rates.written, rates.kept)
        if rate is not None
        for length, _ in rate.above
    }
    return tuple(sorted(steps))


def priced_like(prompt: int, steps: Sequence[int]) -> int:
    """The shortest prompt, in tokens, whose tokens cost what those of one so long do."""
    beyond = bisect_left(steps, prompt)
    return steps[beyond - 1] + 1 if beyond else 0


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What attempts used that went by one tier, and whose prompts cost alike."""

    tier: Tier
    length: int = 0
    """Each one's prompt costs what one of so many tokens does."""
    attempts: int
    usage: Usage
    again: Usage = Usage()
    """The part of it that was spent on what was asked once more."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """All that went by one tier."""

    tier: Tier
    attempts: int
    usage: Usage
    dollars: Dollars | None
    """None: nobody has said what this tier costs."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did cost so far."""

    entries: tuple[Entry, ...]
    usage: Usage
    """Of all attempts, those that failed and those that were made again included."""
    valid: int
    """Rows with a valid answer."""
    tariff: Tariff | None
    """The prices; None: nobody has said any, and there are no dollars."""
    quote: Quote | None
    """What was said before; its prices are `tariff`. None: `tariff` is today's."""
    dollars: Dollars | None
    """None: no prices, or none of a tier that was used."""
    real_time: float | None = None
    """What the same tokens cost in real time without a cache."""
    flat: float | None = None
    """Likewise by batch."""
    premium: float = 0.0
    """What was paid for writing into a cache beyond what reading anew costs."""
    again: float = 0.0
    """What was paid for attempts after which a row was asked once more."""
    duplicates: int = 0
    """Rows that took the answer of an equal one."""

    @property
    def total(self) -> float | None:
        return None if self.dollars is None else self.dollars.total

    @property
    def per_valid_row(self) -> float | None:
        return self.total / self.valid if self.total is not None and self.valid else None

    @property
    def hits(self) -> float:
        """The share of what went in that was read from a cache."""
        return self.usage.cached / self.usage.tokens_in if self.usage.tokens_in else 0.0

    @property
    def retries(self) -> float:
        """The share of what was paid that went to attempts after which a row was asked again."""
        return self.again / self.total if self.total else 0.0

    @property
    def off(self) -> float | None:
        """By which share of the quote it cost more; below zero: less. None: nothing was said."""
        if self.quote is None or self.total is None or not self.quote.dollars:
            return None
        return self.total / self.quote.dollars - 1

    @property
    def unpriced(self) -> list[Tier]:
        """The tiers that were used and have no price."""
        return [entry.tier for entry in self.entries if entry.dollars is None]


def reckoned(
    spent: Iterable[Spent],
    tariff: Tariff | None,
    *,
    quote: Quote | None = None,
    valid: int,
    duplicates: int = 0,
) -> Cost:
    """What all of `spent` comes to by `tariff`."""
    parts = list(spent)
    entries = tuple(_entry(tier, parts, tariff) for tier in dict.fromkeys(p.tier for p in parts))
    known = [entry.dollars for entry in entries if entry.dollars is not None]
    return Cost(
        entries=entries,
        usage=sum((part.usage for part in parts), Usage()),
        valid=valid,
        tariff=tariff,
        quote=quote,
        dollars=sum(known, Dollars()) if tariff and len(known) == len(entries) else None,
        real_time=_otherwise(parts, tariff, "standard"),
        flat=_otherwise(parts, tariff, "batch"),
        premium=sum(_premium(part, tariff) for part in parts),
        again=sum(_dollars(part.tier, part.again, part.length, tariff).total for part in parts),
        duplicates=duplicates,
    )


def _entry(tier: Tier, spent: list[Spent], tariff: Tariff | None) -> Entry:
    own = [part for part in spent if part.tier == tier]
    priced = (_dollars(tier, part.usage, part.length, tariff) for part in own)
    return Entry(
        tier=tier,
        attempts=sum(part.attempts for part in own),
        usage=sum((part.usage for part in own), Usage()),
        dollars=sum(priced, Dollars()) if tariff and tier in tariff.tiers else None,
    )


def _dollars(tier: Tier, usage: Usage, length: int, tariff: Tariff | None) -> Dollars:
    rates = None if tariff is None else tariff.tiers.get(tier)
    return Dollars() if rates is None else dollars_of(usage, rates, length=length)


def _otherwise(spent: list[Spent], tariff: Tariff | None, tier: Tier) -> float | None:
    """What the same tokens cost by `tier`, if nothing is kept in a cache; None: it has no price."""
    if tariff is None or tier not in tariff.tiers:
        return None
    plain = ((_uncached(part.usage), part.length) for part in spent)
    return sum(_dollars(tier, usage, length, tariff).total for usage, length in plain)


def _uncached(usage: Usage) -> Usage:
    return Usage(tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)


def _premium(part: Spent, tariff: Tariff | None) -> float:
    """What writing cost beyond what reading the same anew does."""
    wrote = Usage(
        tokens_in=part.usage.written + part.usage.kept,
        written=part.usage.written,
        kept=part.usage.kept,
    )
    paid, plain = (
        _dollars(part.tier, usage, part.length, tariff).total for usage in (wrote, _uncached(wrote))
    )
    return paid - plain
