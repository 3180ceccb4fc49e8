"""What a model costs here: as the user says, else as the newest price table has it; and what it
takes to have a cache keep its prompts."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from ..core.model import Spec
from ..core.price import Rate, Rates, Tariff
from ..effects import Probe, unwatched
from ..errors import BadSettings, TransportError
from ..executors.auth import is_loopback
from ..executors.http import fetch
from ..providers.caching import cache_of
from ..providers.prices import (
    TABLE_URL,
    Difference,
    Table,
    UnknownPrice,
    bundled,
    differences,
    own_tariff,
    read_table,
)
from ..providers.provider import Provider
from ..providers.registry import BUILT_IN, checked_url
from ..providers.vocabularies import counter_for
from ..settings import Settings
from ..store.files import replace_whole, unwritable
from .heads import Caching

FETCHED = "prices.json"
"""The table that was fetched last, in the store's folder."""
_PATIENCE = timedelta(seconds=30)
_LONGEST = 64 << 20
"""Bytes of a table: ten times as many as it has today."""


def tariff_of(settings: Settings, provider: Provider, model: str, *, now: datetime) -> Tariff:
    """Raises UnknownPrice, with the nearest names and how to say a price."""
    name = f"{provider.name}/{model}"
    if provider.base_url is None and name not in settings.prices:
        free = Rates(tokens_in=Rate(0.0), tokens_out=Rate(0.0))
        source = "a model in this process"
        return Tariff(model=model, source=source, as_of=now.date(), tiers={"standard": free})
    return tariff_called(name, settings, now=now)


def tariff_called(name: str, settings: Settings, *, now: datetime) -> Tariff:
    """The same for any `PROVIDER/MODEL` that somebody has said a price of."""
    if name in settings.prices:
        return own_tariff(name, settings.prices[name], on=now.date())
    provider, slash, model = name.partition("/")
    if not slash or not provider or not model:
        raise BadSettings(f"{name!r} is no model: write it as PROVIDER/MODEL")
    return table(settings, now=now).tariff(provider, model, on=now)


def known_tariff(
    settings: Settings, provider: Provider, model: str | None, *, now: datetime
) -> Tariff | None:
    """The same; None: nobody has said what it costs, or which model it is."""
    if model is None or not _may_be_priced(settings, provider, model):
        return None
    try:
        return tariff_of(settings, provider, model, now=now)
    except UnknownPrice:
        return None


def _may_be_priced(settings: Settings, provider: Provider, model: str) -> bool:
    """Whether it is worth a look into the price table: it is large, and knows no service that
    somebody runs on this machine."""
    if f"{provider.name}/{model}" in settings.prices or provider.base_url is None:
        return True
    return provider.name in BUILT_IN or not is_loopback(provider.base_url)


def caching_for(
    settings: Settings, spec: Spec, provider: Provider, *, now: datetime
) -> Caching | None:
    """None: there is no cache, or nobody has said what it costs."""
    cache = cache_of(spec)
    if cache is None or spec.model is None:
        return None
    tariff = known_tariff(settings, provider, spec.model, now=now)
    if tariff is None:
        return None
    return Caching(cache=cache, tariff=tariff, counter=counter_for(spec.model))


def table(settings: Settings, *, now: datetime) -> Table:
    """The newer one of the table that was fetched and that which is installed."""
    installed = bundled(now.date())
    path = settings.home / FETCHED
    try:
        content, fetched = path.read_bytes(), _day_of(path)
    except FileNotFoundError:
        return installed
    except OSError as e:
        raise BadSettings(f"cannot read {str(path)!r}: {e.strerror}") from e
    if fetched < installed.as_of:
        return installed
    try:
        return read_table(content, fetched=fetched)
    except BadSettings as e:
        raise BadSettings(
            f"{str(path)!r}: {e}. Remove it, or have it fetched anew: anybatch prices update"
        ) from e


def _day_of(path: Path) -> date:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()


class Updated(NamedTuple):
    """What came of an update."""

    table: Table
    before: Table
    differences: list[Difference]


def update(settings: Settings, *, now: datetime, probe: Probe = unwatched) -> Updated:
    """Fetch the newest table and go by it from now on: whole, or not at all.

    Raises TransportError, BadSettings or StoreUnwritable, and then the old one stays.
    """
    before = _standing(settings, now=now)
    url = checked_url(settings.prices_url or TABLE_URL, where="prices_url in anybatch.toml")
    here = is_loopback(url)
    try:
        reply = fetch("GET", url, headers={}, timeout=_PATIENCE, direct=here, most=_LONGEST)
    except TransportError as e:
        raise TransportError(f"{e}; {_stays(before)}", sent=e.sent) from e
    if not reply.ok:
        raise BadSettings(f"{url} answers HTTP {reply.status}; {_stays(before)}")
    try:
        read = keep(reply.body, settings, now=now, probe=probe)
    except BadSettings as e:
        raise BadSettings(f"{url}: {e}; {_stays(before)}") from e
    return Updated(read, before, differences(before, read, on=now))


def _standing(settings: Settings, *, now: datetime) -> Table:
    """The table we go by, or the one that is installed if what was fetched is damaged."""
    try:
        return table(settings, now=now)
    except BadSettings:
        return bundled(now.date())


def _stays(before: Table) -> str:
    return f"the table of {before.as_of} stays ({before.source})"


def keep(content: bytes, settings: Settings, *, now: datetime, probe: Probe = unwatched) -> Table:
    """Make a fetched table the one to go by.

    Raises BadSettings if it is none, or StoreUnwritable.
    """
    read = read_table(content, fetched=now.date(), to_the_end=True)
    with unwritable(settings.home):
        settings.home.mkdir(parents=True, exist_ok=True)
    replace_whole(settings.home / FETCHED, content, name="prices", probe=probe)
    return read
