"""Settings: one frozen value from `anybatch.toml` and the environment, handed down; no globals."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from .errors import BadSettings

FILE = "anybatch.toml"
_MOST = timedelta(days=365).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user configured."""

    home: Path
    """Where the store lives."""
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The `[providers.NAME]` tables."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The process environment, where keys come from. Never printed."""
    deadline: timedelta = timedelta(minutes=10)
    """For one real-time call, from connecting to the last byte."""
    lease: timedelta = timedelta(seconds=30)
    """So long a batch stays ours without a heartbeat."""
    search: timedelta = timedelta(minutes=3)
    """So long a submission whose answer was lost is looked for before it is made again."""
    keep_remote: bool = False
    """Whether all that lies at providers stays there when it is here."""
    routes: tuple[Mapping[str, Any], ...] = ()
    """The `[[routes]]` tables: which model our server has answered where."""
    server: Mapping[str, Any] = field(default_factory=dict)
    """The `[server]` table."""
    budgets: Mapping[str, float] = field(default_factory=dict)
    """The `[budgets]` table: dollars that a run, a day, or a day with one key may cost."""
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The `[prices."PROVIDER/MODEL"]` tables: what models cost, whatever the price table says."""
    prices_url: str | None = None
    """Where `anybatch prices update` fetches the price table; None: where its authors keep it."""


def load(
    *,
    folder: Path,
    environment: Mapping[str, str],
    store: Path | None = None,
    file: Path | None = None,
) -> Settings:
    """Settings from `folder/anybatch.toml`, or `file` in its place, then the environment, then
    `store`.

    Raises BadSettings for a file that cannot be read or says something unknown.
    """
    file = folder / FILE if file is None else file
    table = _read(file)
    configured = _path("home", table.pop("home", "~/.anybatch"))
    home = store or environment.get("ANYBATCH_HOME") or configured
    providers = table.pop("providers", {})
    deadline = table.pop("deadline_seconds", 600)
    lease = table.pop("lease_seconds", 30)
    search = table.pop("search_seconds", 180)
    keep_remote = table.pop("keep_remote", False)
    routes = table.pop("routes", [])
    server = table.pop("server", {})
    prices = table.pop("prices", {})
    prices_url = table.pop("prices_url", None)
    budgets = table.pop("budgets", {})
    if table:
        raise BadSettings(
            f"{str(file)!r} has {next(iter(table))!r}; it may have home, keep_remote, "
            "deadline_seconds, lease_seconds, search_seconds, prices_url, [providers.NAME] tables, "
            '[[routes]], [server], [budgets] and [prices."PROVIDER/MODEL"] tables'
        )
    if not isinstance(keep_remote, bool):
        raise BadSettings(f"{FILE}: keep_remote is true or false, not {keep_remote!r}")
    if not isinstance(providers, dict) or not all(isinstance(t, dict) for t in providers.values()):
        raise BadSettings(f"{str(file)!r}: write providers as [providers.NAME] tables")
    if not isinstance(routes, list) or not all(isinstance(t, dict) for t in routes):
        raise BadSettings(f"{str(file)!r}: write routes as [[routes]] tables")
    if not isinstance(server, dict):
        raise BadSettings(f"{str(file)!r}: write server as a [server] table")
    if not isinstance(prices, dict) or not all(isinstance(t, dict) for t in prices.values()):
        where = str(file)
        raise BadSettings(f'{where!r}: write prices as [prices."PROVIDER/MODEL"] tables')
    if prices_url is not None and not isinstance(prices_url, str):
        raise BadSettings(f"{FILE}: prices_url must be an address, not {prices_url!r}")
    return Settings(
        home=Path(home).expanduser(),
        providers=providers,
        environment=environment,
        deadline=_seconds("deadline_seconds", deadline),
        lease=_seconds("lease_seconds", lease),
        search=_seconds("search_seconds", search),
        keep_remote=keep_remote,
        routes=tuple(routes),
        server=server,
        prices=prices,
        prices_url=prices_url,
        budgets=_budgets(budgets),
    )


BUDGETS = ("per_run", "per_day", "per_key")


def _budgets(table: object) -> dict[str, float]:
    if not isinstance(table, dict):
        raise BadSettings(f"{FILE}: write budgets as a [budgets] table")
    for name, dollars in table.items():
        if name not in BUDGETS:
            raise BadSettings(f"{FILE}: [budgets] has {name!r}; it may have {', '.join(BUDGETS)}")
        is_number = isinstance(dollars, int | float) and not isinstance(dollars, bool)
        if not (is_number and 0 < dollars < float("inf")):
            raise BadSettings(
                f"{FILE}: {name} of [budgets] is dollars, as 25 or 0.50, not {dollars!r}"
            )
    return {name: float(dollars) for name, dollars in table.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as e:
        raise BadSettings(f"{str(path)!r} cannot be read: {e}") from e


def _path(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise BadSettings(f"{FILE}: {name} must be the path of a folder, not {value!r}")
    return value


def _seconds(name: str, value: object) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
        raise BadSettings(
            f"{FILE}: {name} must be a number of seconds above 0, a year at most, not {value!r}"
        )
    return timedelta(seconds=value)
