"""What tokens cost: before, as a quote; after, from what was used.

Dollars are floats: they have 15 digits, an invoice has nine, and nothing here is paid by us.
"""

from collections.abc import Mapping
from datetime import date

import msgspec
from msgspec.structs import replace

from .model import Tier, Usage

MILLION = 1_000_000


class Rate(msgspec.Struct, frozen=True, gc=False):
    """Dollars for a million tokens of one class."""

    base: float
    above: tuple[tuple[int, float], ...] = ()
    """What they cost in a request whose prompt is longer than so many tokens; ascending."""

    def at(self, prompt: float) -> float:
        """The dollars in a request whose prompt has so many tokens."""
        dollars = self.base
        for length, more in self.above:
            if prompt > length:
                dollars = more
        return dollars


class Rates(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one model costs in one tier."""

    tokens_in: Rate
    tokens_out: Rate
    cached: Rate | None = None
    """Input that is read from a prompt cache; None: it costs what all input does."""
    written: Rate | None = None
    """Input that is written into one, for minutes; None: that costs nothing more."""
    kept: Rate | None = None
    """Likewise for an hour or longer."""


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """What one model costs, as somebody has written it down."""

    model: str
    """As the price table calls it."""
    source: str
    as_of: date
    """When the table was made."""
    tiers: Mapping[Tier, Rates]
    """A tier that is not here is not offered, or nobody knows its price: never the list price."""


def cost(usage: Usage, rates: Rates, *, calls: int = 1) -> float:
    """Dollars for one request that used so much, or for so many `calls` together.

    What is used by several is priced by the mean of their prompts: that is exact unless some of
    them, and not all, are so long that they cost more.
    """
    prompt = usage.tokens_in / max(1, calls)
    plain = rates.tokens_in.at(prompt)
    fresh = max(0, usage.tokens_in - usage.cached - usage.written - usage.kept)
    return (
        fresh * plain
        + usage.cached * _at(rates.cached, prompt, plain)
        + usage.written * _at(rates.written, prompt, plain)
        + usage.kept * _at(rates.kept, prompt, plain)
        + usage.tokens_out * rates.tokens_out.at(prompt)
    ) / MILLION


def _at(rate: Rate | None, prompt: float, plain: float) -> float:
    return plain if rate is None else rate.at(prompt)


# --- before ---


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Requests by what they hold, in tokens; each figure is the mean of all."""

    requests: int
    shared: float = 0.0
    """At the head of a request, and the same in others that go out next to it."""
    heads: int = 1
    """How many different such heads there are."""
    own: float
    """The rest of the prompt."""
    out: float
    """What is answered."""

    @property
    def prompt(self) -> float:
        return self.shared + self.own

    @property
    def tokens_in(self) -> float:
        return self.requests * self.prompt

    @property
    def tokens_out(self) -> float:
        return self.requests * self.out


class Caching(msgspec.Struct, frozen=True, kw_only=True):
    """How a prompt cache is used."""

    hits: float
    """The share of shared heads that are read from it, 0 to 1."""
    kept: bool = False
    """Whether what is written stays for an hour or longer."""


PRIMED = Caching(hits=1.0, kept=True)
"""Each head is written once, by a request that goes ahead of all others."""


def quote(work: Workload, rates: Rates, caching: Caching | None = None) -> float:
    """Dollars for all of `work`; without `caching` no part of a prompt is marked to be cached."""
    prompt, plain = work.prompt, rates.tokens_in.at(work.prompt)
    shared = work.shared * plain
    ahead = 0.0
    if caching is not None:
        read = _at(rates.cached, prompt, plain)
        write = _at(rates.kept if caching.kept else rates.written, prompt, plain)
        shared = work.shared * (caching.hits * read + (1 - caching.hits) * write)
        ahead = min(work.heads, work.requests) * work.shared * (write - read) * caching.hits
    each = shared + work.own * plain + work.out * rates.tokens_out.at(prompt)
    return (work.requests * each + ahead) / MILLION


_PACKING = 25
"""Tokens that say to a model how several rows in one prompt are to be answered."""
_LABEL_IN = 10
"""Tokens around a row in a packed prompt, its id included."""
_LABEL_OUT = 6
"""Tokens around its answer."""


def packed(work: Workload, rows: int) -> Workload:
    """The same with so many rows in one prompt."""
    return replace(
        work,
        requests=-(-work.requests // rows),
        own=rows * (work.own + _LABEL_IN) + _PACKING,
        out=rows * (work.out + _LABEL_OUT),
    )


def break_even(rates: Rates, *, prompt: float, kept: bool) -> float:
    """The share of hits from which on a cache saves: below it, what is written costs more than what
    is read saves. 1: never."""
    plain = rates.tokens_in.at(prompt)
    read = _at(rates.cached, prompt, plain)
    write = _at(rates.kept if kept else rates.written, prompt, plain)
    if write <= plain:
        return 0.0
    return (write - plain) / (write - read) if read < plain else 1.0
