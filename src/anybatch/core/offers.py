"""Every way to get a workload answered, what each costs and when it is done; and which to take."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import floor, log10
from typing import Literal, NamedTuple

import msgspec

from .model import ExecutorName, Json, Spec, Terms, Tier
from .price import PRIMED, Caching, Rates, Tariff, Workload, packed, quote
from .timing import span

Cached = Literal["no", "warm", "primed"]
"""Whether a prompt cache is used. `warm`: requests follow one another so closely that it stays.
`primed`: one request goes ahead of the others and writes what they read."""

PACED = Caching(hits=0.99)
"""What real-time calls find in a cache that are sent one prefix after another."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How requests are answered."""

    tier: Tier
    executor: ExecutorName
    cached: Cached = "no"
    rows: int = 1
    """In one prompt."""

    @property
    def words(self) -> str:
        """As it stands in a table."""
        name = {"standard": "real-time"}.get(self.tier, self.tier)
        cache = {"no": "", "warm": " + cache", "primed": " + primed cache"}[self.cached]
        return name + cache + (f", {self.rows} rows a prompt" if self.rows > 1 else "")


def usual_tier(executor: ExecutorName, parameters: Json) -> Tier:
    """At which price an executor is answered, if nothing else was chosen: in real time, what the
    bodies themselves ask for."""
    if executor == "batch":
        return "batch"
    asked = parameters.get("service_tier", parameters.get("serviceTier"))
    return asked if executor == "online" and asked in ("flex", "priority") else "standard"


def usual_way(spec: Spec, *, cached: Cached = "no") -> Way:
    """How what `spec` asks is answered, if nothing else was chosen."""
    executor = spec.executor or "online"
    tier = usual_tier(executor, spec.parameters)
    return Way(tier=tier, executor=executor, cached=cached, rows=spec.pack)


class Duration(msgspec.Struct, frozen=True, kw_only=True):
    """How long something takes."""

    p50: timedelta
    p95: timedelta
    source: str
    """How that is known: learned from so many batches, the provider's word, or reckoned."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One way, with its price."""

    way: Way
    dollars: float
    """Expected."""
    most: float
    """If every answer is as long as it may be."""
    takes: Duration
    waits: tuple[str, ...] = ()
    """The limits that will make it wait."""


class Unpriced(msgspec.Struct, frozen=True, kw_only=True):
    """A way that there is, but of which nobody has said what it costs; or that is none here."""

    way: Way
    why: str


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was said to cost; what it did cost is reckoned by the same prices."""

    at: datetime
    tariff: Tariff
    way: Way
    """How it was to be answered."""
    requests: int
    tokens_in: float
    """Of a request, the mean."""
    out: float
    """Tokens of an answer, as expected."""
    most_out: float
    """The most that one may have."""
    band: float
    """`tokens_in` is right within this share of it."""
    dollars: float
    """Expected."""
    most: float
    """If every answer is as long as it may be."""
    real_time: float
    """In real time without a cache."""
    flat: float | None
    """By batch without a cache; None: there is none, or it has no price."""


class Choice(NamedTuple):
    """What is taken, and why not another."""

    offer: Offer
    why: str


class NoOffer(NamedTuple):
    """Nothing meets the terms."""

    why: str
    """With what would."""
    for_money: bool = False
    """Whether it is the budget that nothing meets."""


def offers(
    work: Workload,
    ceiling: Workload,
    tariff: Tariff,
    ways: Iterable[tuple[Way, Duration, Sequence[str]]],
) -> list[Offer | Unpriced]:
    """What each of `ways` costs, in their order. `ceiling` is `work` with the longest answers."""
    return [
        _offer(work, ceiling, tariff, way, takes=takes, waits=tuple(waits))
        for way, takes, waits in ways
    ]


def _offer(
    work: Workload,
    ceiling: Workload,
    tariff: Tariff,
    way: Way,
    *,
    takes: Duration,
    waits: tuple[str, ...],
) -> Offer | Unpriced:
    rates = tariff.tiers.get(way.tier)
    if rates is None:
        return Unpriced(way=way, why=f"{tariff.source} has no {way.tier} price of {tariff.model}")
    expected, most = (price_of(each, rates, way) for each in (work, ceiling))
    return Offer(way=way, dollars=expected, most=most, takes=takes, waits=waits)


def price_of(work: Workload, rates: Rates, way: Way) -> float:
    """Dollars for `work`, answered in `way`; `rates` are those of its tier."""
    caching = {"no": None, "warm": PACED, "primed": PRIMED}[way.cached]
    return quote(packed(work, way.rows) if way.rows > 1 else work, rates, caching)


def choose(found: Iterable[Offer | Unpriced], terms: Terms, *, now: datetime) -> Choice | NoOffer:
    """The cheapest of `found` that is in time in 95 of 100 cases; or the fastest for the money.

    Several rows in one prompt, and a tier that costs more than the standard one, are taken only
    by who asks for them: they are not among what is chosen from.
    """
    priced = [offer for offer in found if isinstance(offer, Offer)]
    if not priced:
        return NoOffer("no way has a price")
    affordable = [offer for offer in priced if _is_within(offer, terms.budget)]
    if not affordable:
        cheapest = min(priced, key=_price)
        assert terms.budget is not None
        return NoOffer(
            f"the cheapest offer, {cheapest.way.words}, costs {money(cheapest.dollars)}: "
            f"{money(cheapest.dollars - terms.budget)} more than the budget of "
            f"{money(terms.budget)}",
            for_money=True,
        )
    within = None if terms.by is None else terms.by - now
    in_time = [o for o in affordable if within is None or o.takes.p95 <= within]
    if not in_time:
        earliest = min(affordable, key=_finish)
        assert within is not None
        return NoOffer(
            f"nothing is done within {span(within.total_seconds())}: the earliest is "
            f"{earliest.way.words}, within {span(earliest.takes.p95.total_seconds())} for "
            f"{money(earliest.dollars)}"
        )
    taken = min(in_time, key=_price if terms.prefer == "cheap" else _finish)
    return Choice(taken, _reason(taken, priced, in_time, terms))


def _is_within(offer: Offer, budget: float | None) -> bool:
    return budget is None or offer.dollars <= budget


def _price(offer: Offer) -> tuple[float, timedelta]:
    return (offer.dollars, offer.takes.p95)


def _finish(offer: Offer) -> tuple[timedelta, float]:
    return (offer.takes.p95, offer.dollars)


def _reason(taken: Offer, priced: list[Offer], in_time: list[Offer], terms: Terms) -> str:
    if terms.prefer == "fast":
        return "the fastest" + ("" if terms.budget is None else " within the budget")
    cheaper = [offer for offer in priced if offer.dollars < taken.dollars]
    if not cheaper:
        return "the cheapest"
    late = ", ".join(offer.way.words for offer in cheaper if offer not in in_time)
    return f"the cheapest that is done in time; too late: {late}"


def money(dollars: float) -> str:
    """As people write it: $12.30; of less than a cent two digits that say something."""
    sign, size = ("-" if dollars < 0 else ""), abs(dollars)
    if not 0 < size < 0.01:
        return f"{sign}${size:,.2f}"
    digits = min(12, 1 - floor(log10(size)))
    return f"{sign}${size:.{digits}f}"
