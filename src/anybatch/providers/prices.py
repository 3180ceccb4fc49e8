"""What models cost, from the tables of the package genai-prices, and what users say over them.

The package knows a price by the circumstances it is asked in, and answers with the list price where
it knows none for them. So whether it knows a tier is asked here first.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from ..core.model import Tier
from ..core.price import Rate, Rates, Tariff
from ..errors import BadSettings

TABLE_URL = (
    "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main"
    "/prices/new_data/v2/data.json"
)
"""Where the package's authors keep it up to date; as its own updater has it, in version 0.2.3."""

_CALLED: Mapping[str, str] = {"gemini": "google", "vertex": "google"}
"""The table's names of providers, where they are not ours."""
_OURS: Mapping[str, str] = {"google": "gemini"}

_ASKED: Mapping[Tier, Mapping[str, str]] = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "batch": {"processing": "batch"},
}
"""The circumstances by which the table knows a tier."""

_CLASSES: Mapping[str, str] = {
    "tokens_in": "input_mtok",
    "tokens_out": "output_mtok",
    "cached": "cache_read_mtok",
    "written": "cache_write_mtok",
    "kept": "cache_write_1h_mtok",
}
"""Our names of the classes of tokens, and the table's."""


class UnknownPrice(BadSettings):
    """Nobody has said what a model costs."""


class Change(NamedTuple):
    """A price that came into force."""

    on: date
    provider: str
    model: str
    tier: Tier


class Difference(NamedTuple):
    """What one table says and another one does not."""

    provider: str
    model: str
    tier: Tier
    before: Rates | None
    """None: it had no price."""
    after: Rates | None


@dataclass(frozen=True, slots=True)
class Table:
    """Prices by provider and model."""

    providers: Iterable[Any]
    """As the package has them."""
    source: str
    as_of: date

    def tariff(self, provider: str, model: str, *, on: datetime) -> Tariff:
        """Raises UnknownPrice, with the nearest names."""
        return self._tariff(self._model(provider, model), on)

    def _tariff(self, found: Any, on: datetime) -> Tariff:
        tiers: dict[Tier, Rates] = {}
        standard = _rates(found.get_prices(on))
        if standard is not None:
            tiers["standard"] = standard
        for tier, asked in _ASKED.items():
            rates = _rates(found.get_prices(on, asked)) if _is_known(found, asked, on) else None
            if rates is not None:
                tiers[tier] = rates
        return Tariff(model=found.id, source=self.source, as_of=self.as_of, tiers=tiers)

    def _models(self, provider: str) -> list[Any]:
        called = _CALLED.get(provider, provider)
        return [each for at in self.providers if at.id == called for each in at.models]

    def _model(self, provider: str, model: str) -> Any:
        models = self._models(provider)
        for each in models:
            if each.is_match(model):
                return each
        near = difflib.get_close_matches(model, [each.id for each in models], n=3, cutoff=0.5)
        others = f"; near it are {', '.join(near)}" if near else ""
        raise UnknownPrice(
            f"nobody has said what {provider}/{model} costs{others}. Say it in anybatch.toml: "
            f'[prices."{provider}/{model}"] with input = … and output = …, in dollars for a '
            "million tokens"
        )

    def names(self) -> list[str]:
        """The providers in it, as we call them."""
        return [_OURS.get(at.id, at.id) for at in self.providers]

    def tariffs(self, provider: str, *, on: datetime) -> list[Tariff]:
        """What the models of a provider cost that have a price on that day."""
        found = (self._tariff(model, on) for model in self._models(provider))
        return [tariff for tariff in found if tariff.tiers]

    def changes(self, since: date) -> Iterator[Change]:
        """What came into force since, oldest first, future changes included."""
        found = (
            Change(on, _OURS.get(at.id, at.id), model.id, tier)
            for at in self.providers
            for model in at.models
            for on, tier in _starts(model)
        )
        return iter(sorted({change for change in found if change.on >= since}))


def _is_known(model: Any, asked: Mapping[str, str], on: datetime) -> bool:
    return any(
        variant.when == asked and (variant.constraint is None or variant.constraint.active(on))
        for variant in model.price_variants or ()
    )


def _starts(model: Any) -> Iterator[tuple[date, Tier]]:
    prices = model.prices if isinstance(model.prices, list) else []
    for each in prices:
        if (start := getattr(each.constraint, "start_date", None)) is not None:
            yield start, "standard"
    for variant in model.price_variants or ():
        start = getattr(variant.constraint, "start_date", None)
        tier = next((tier for tier, asked in _ASKED.items() if asked == variant.when), None)
        if start is not None and tier is not None:
            yield start, tier


def _rates(prices: Any) -> Rates | None:
    """None: it says nothing of what tokens cost."""
    found = {ours: _rate(getattr(prices, theirs)) for ours, theirs in _CLASSES.items()}
    if found["tokens_in"] is None:
        return None
    # What answers with numbers has no price for tokens that go out.
    return Rates(**{**found, "tokens_out": found["tokens_out"] or Rate(0.0)})  # type: ignore[arg-type]


def _rate(price: Any) -> Rate | None:
    if price is None:
        return None
    if not hasattr(price, "tiers"):
        return Rate(float(price))
    return Rate(float(price.base), tuple((tier.start, float(tier.price)) for tier in price.tiers))


@cache
def bundled(today: date) -> Table:
    """The table that is installed."""
    from genai_prices.data import providers

    source = f"genai-prices {version('genai-prices')}"
    return Table(providers, source, _newest(providers, today))


def read_table(content: bytes, *, fetched: date, to_the_end: bool = False) -> Table:
    """A table as it is published. Raises BadSettings.

    The package reads a part only when it is asked for; `to_the_end`: all of it, now.
    """
    from genai_prices.types import _providers_from_raw

    try:
        providers = _providers_from_raw(msgspec.json.decode(content))
        table = Table(providers, "genai-prices, fetched", fetched)
        prices = _priced(table, datetime.combine(fetched, time(), UTC)) if to_the_end else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise BadSettings("that is no price table of genai-prices") from e
    if prices == {}:
        raise BadSettings("that is a price table without a price")
    return table


def differences(old: Table, new: Table, *, on: datetime) -> list[Difference]:
    """What `new` says of prices on that day that `old` does not, by name."""
    before, after = _priced(old, on), _priced(new, on)
    return [
        Difference(*place, before.get(place), after.get(place))
        for place in sorted(before.keys() | after.keys())
        if before.get(place) != after.get(place)
    ]


def _priced(table: Table, on: datetime) -> dict[tuple[str, str, Tier], Rates]:
    return {
        (name, tariff.model, tier): rates
        for name in table.names()
        for tariff in table.tariffs(name, on=on)
        for tier, rates in tariff.tiers.items()
    }


def _newest(providers: Iterable[Any], today: date) -> date:
    """The day of the last change that a table knows of and that is no announcement."""
    starts = (on for at in providers for model in at.models for on, _ in _starts(model))
    return max(on for on in starts if on <= today)


# --- what users say ---

TIERS: tuple[Tier, ...] = ("standard", "flex", "priority", "batch")


def own_tariff(name: str, said: Mapping[str, Any], *, on: date) -> Tariff:
    """The `[prices."PROVIDER/MODEL"]` table of anybatch.toml. Raises BadSettings.

    Its numbers are the standard tier's; those of another stand in a table of that name below it.
    """
    where = f'[prices."{name}"] in anybatch.toml'
    tiers = {tier: said[tier] for tier in TIERS if tier in said}
    plain = {word: dollars for word, dollars in said.items() if word not in tiers}
    if plain:
        tiers = {"standard": plain, **tiers}
    rates = {tier: _own_rates(table, where) for tier, table in tiers.items()}
    return Tariff(model=name.partition("/")[2], source="anybatch.toml", as_of=on, tiers=rates)


SAID: Mapping[str, str] = {
    "input": "tokens_in",
    "output": "tokens_out",
    **{name: name for name in ("cached", "written", "kept")},
}
"""Their words for the classes of tokens, and ours."""


def _own_rates(said: object, where: str) -> Rates:
    if not isinstance(said, dict) or not {"input", "output"} <= said.keys() <= SAID.keys():
        raise BadSettings(
            f"{where} must have input and output, and may have cached, written and kept: dollars "
            "for a million tokens each"
        )
    for word, dollars in said.items():
        if isinstance(dollars, bool) or not isinstance(dollars, int | float) or dollars < 0:
            raise BadSettings(f"{where}: {word} must be a number of dollars, not {dollars!r}")
    return Rates(**{SAID[word]: Rate(float(dollars)) for word, dollars in said.items()})
