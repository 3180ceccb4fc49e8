"""What a model costs here: as the user says, else as the newest price table has it."""

from datetime import UTC, date, datetime
from pathlib import Path

from ..core.price import Rate, Rates, Tariff
from ..effects import Probe, unwatched
from ..errors import BadSettings
from ..providers.prices import Table, bundled, own_tariff, read_table
from ..providers.provider import Provider
from ..settings import Settings
from ..store.files import replace_whole

FETCHED = "prices.json"
"""The table that was fetched last, in the store's folder."""


def tariff_of(settings: Settings, provider: Provider, model: str, *, now: datetime) -> Tariff:
    """Raises UnknownPrice, with the nearest names and how to say a price."""
    name = f"{provider.name}/{model}"
    if name in settings.prices:
        return own_tariff(name, settings.prices[name], on=now.date())
    if provider.base_url is None:
        free = Rates(tokens_in=Rate(0.0), tokens_out=Rate(0.0))
        source = "a model in this process"
        return Tariff(model=model, source=source, as_of=now.date(), tiers={"standard": free})
    return table(settings, now=now).tariff(provider.name, model, on=now)


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
    return installed if fetched < installed.as_of else read_table(content, fetched=fetched)


def _day_of(path: Path) -> date:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()


def keep(content: bytes, settings: Settings, *, now: datetime, probe: Probe = unwatched) -> Table:
    """Make a fetched table the one to go by. Raises BadSettings if it is none."""
    read = read_table(content, fetched=now.date())
    replace_whole(settings.home / FETCHED, content, name="prices", probe=probe)
    return read
