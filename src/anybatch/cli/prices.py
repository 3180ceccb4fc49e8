"""`anybatch prices`: what models cost by the table we go by, and having it fetched anew."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..core.model import Tier
from ..core.price import Rate, Rates, Tariff
from ..engine.tariffs import Updated, table, tariff_called, update
from ..errors import BadSettings
from ..providers.prices import SAID, TIERS, Change, Difference, Table
from ..providers.registry import BUILT_IN
from ..settings import Settings
from .batches import table as columns
from .progress import counted
from .report import print_json
from .work import settings_here

UPDATE = "update"
_SHOWN = 20
"""So many differences are told one by one."""

Named = tuple[str, Tariff]
"""What a model is called, and what it costs."""


def prices_command(
    names: Sequence[str], store: Path | None, *, since: str | None, as_json: bool
) -> None:
    """What the models cost that are named, or all of a provider's, or of all that we know."""
    settings, now = settings_here(store), datetime.now(UTC)
    if list(names) == [UPDATE]:
        _print_update(update(settings, now=now), as_json=as_json)
        return
    by_table = table(settings, now=now)
    if since is not None:
        changes = [change for change in by_table.changes(_day(since)) if _is_asked(change, names)]
        _print_changes(changes, by_table, as_json=as_json)
        return
    found = [each for name in names for each in _named(name, settings, by_table, now)]
    if not names:
        found = _all(settings, by_table, now)
    if as_json:
        print_json({**_table_json(by_table), "models": [_tariff_json(*each) for each in found]})
    else:
        _print(found, by_table, in_full=bool(names))


def _named(name: str, settings: Settings, by_table: Table, now: datetime) -> list[Named]:
    """One model, or all of a provider. Raises UnknownPrice."""
    if name in by_table.names():
        return _of_provider(name, settings, by_table, now)
    return [(name, tariff_called(name, settings, now=now))]


def _of_provider(name: str, settings: Settings, by_table: Table, now: datetime) -> list[Named]:
    by_name = {f"{name}/{each.model}": each for each in by_table.tariffs(name, on=now)}
    own = [model for model in settings.prices if model.startswith(f"{name}/")]
    by_name |= {model: tariff_called(model, settings, now=now) for model in own}
    return sorted(by_name.items())


def _all(settings: Settings, by_table: Table, now: datetime) -> list[Named]:
    """What the providers' models cost that can be named without more, and what the user says."""
    listed = [name for name in BUILT_IN if name in by_table.names()]
    found = dict(each for name in listed for each in _of_provider(name, settings, by_table, now))
    return list(found.items()) + [
        (name, tariff_called(name, settings, now=now))
        for name in settings.prices
        if name not in found
    ]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as e:
        raise BadSettings(f"--changed-since {text!r} is no day; write it as 2026-07-01") from e


def _is_asked(change: Change, names: Sequence[str]) -> bool:
    if not names:
        return change.provider in BUILT_IN
    return not {change.provider, f"{change.provider}/{change.model}"}.isdisjoint(names)


# --- for people ---


def _print(found: Iterable[Named], by_table: Table, *, in_full: bool) -> None:
    shown = columns("model", "tier", *SAID, "")
    notes = []
    for name, tariff in found:
        for tier in TIERS:
            if (rates := tariff.tiers.get(tier)) is not None:
                shown.add_row(*map(Text, (name, tier, *_dollars(rates), _own(tariff, by_table))))
            elif in_full:
                notes.append(f"{name}: {tariff.source} has no {tier} price")
    _console().print(shown)
    for note in notes:
        print(note)
    _say_table(by_table)


def _own(tariff: Tariff, by_table: Table) -> str:
    return "" if tariff.source == by_table.source else tariff.source


def _dollars(rates: Rates) -> list[str]:
    return [_rate(getattr(rates, ours)) for ours in SAID.values()]


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return ""
    above = "".join(f", {dollars:g} above {length:,}" for length, dollars in rate.above)
    return f"{rate.base:g}{above}"


def _say_table(by_table: Table) -> None:
    print(f"dollars for a million tokens; {by_table.source}, of {by_table.as_of}", file=sys.stderr)


def _print_changes(changes: Sequence[Change], by_table: Table, *, as_json: bool) -> None:
    """What came into force since some day, what is announced included."""
    rates = [_from_then_on(change, by_table) for change in changes]
    if as_json:
        said = [
            {
                "on": change.on.isoformat(),
                "model": f"{change.provider}/{change.model}",
                "tier": change.tier,
                "rates": None if at is None else _rates_json(at),
            }
            for change, at in zip(changes, rates, strict=True)
        ]
        print_json({**_table_json(by_table), "changes": said})
        return
    shown = columns("from", "model", "tier", *SAID)
    for change, at in zip(changes, rates, strict=True):
        name = f"{change.provider}/{change.model}"
        cells = [""] * len(SAID) if at is None else _dollars(at)
        shown.add_row(*map(Text, (change.on.isoformat(), name, change.tier, *cells)))
    if changes:
        _console().print(shown)
    else:
        print("no price changed since then", file=sys.stderr)
    _say_table(by_table)


def _from_then_on(change: Change, by_table: Table) -> Rates | None:
    on = datetime.combine(change.on, time(12), UTC)
    tariffs = by_table.tariffs(change.provider, on=on)
    return next(
        (each.tiers.get(change.tier) for each in tariffs if each.model == change.model), None
    )


def _print_update(updated: Updated, *, as_json: bool) -> None:
    """What the new table says that the old one did not."""
    by_table, found = updated.table, updated.differences
    if as_json:
        before = {"source": updated.before.source, "as_of": updated.before.as_of.isoformat()}
        said = [_difference_json(each) for each in found]
        print_json({**_table_json(by_table), "before": before, "differences": said})
        return
    since = f"the one of {updated.before.as_of} ({updated.before.source})"
    if not found:
        print(f"the table says what {since} did", file=sys.stderr)
        return
    ours = [each for each in found if each.provider in BUILT_IN]
    for each in ours[:_SHOWN]:
        print(_difference(each))
    if more := len(found) - len(ours[:_SHOWN]):
        print(f"and {counted(more, 'other price')}, of other providers' models too")
    print(f"{counted(len(found), 'price')} unlike {since}", file=sys.stderr)


def _difference(each: Difference) -> str:
    what = f"{each.provider}/{each.model}, {each.tier}:"
    if each.before is None and each.after is not None:
        return f"{what} new, {_in_and_out(each.after)}"
    if each.after is None:
        return f"{what} gone"
    assert each.before is not None
    if _in_and_out(each.before) == _in_and_out(each.after):
        return f"{what} another price of its cache or of long prompts"
    return f"{what} {_in_and_out(each.before)} → {_in_and_out(each.after)}"


def _in_and_out(rates: Rates) -> str:
    return f"{rates.tokens_in.base:g} in, {rates.tokens_out.base:g} out"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 10_000)


# --- for machines ---


def _table_json(by_table: Table) -> dict[str, Any]:
    return {"source": by_table.source, "as_of": by_table.as_of.isoformat()}


def _tariff_json(name: str, tariff: Tariff) -> dict[str, Any]:
    tiers: dict[Tier, Any] = {
        tier: _rates_json(tariff.tiers[tier]) if tier in tariff.tiers else None for tier in TIERS
    }
    return {
        "model": name,
        "called": tariff.model,
        "source": tariff.source,
        "as_of": tariff.as_of.isoformat(),
        "tiers": tiers,
    }


def _rates_json(rates: Rates) -> dict[str, Any]:
    found = {theirs: getattr(rates, ours) for theirs, ours in SAID.items()}
    above = {
        theirs: [{"tokens": length, "dollars": dollars} for length, dollars in rate.above]
        for theirs, rate in found.items()
        if rate is not None and rate.above
    }
    return {
        **{theirs: None if rate is None else rate.base for theirs, rate in found.items()},
        **({"above": above} if above else {}),
    }


def _difference_json(each: Difference) -> dict[str, Any]:
    return {
        "model": f"{each.provider}/{each.model}",
        "tier": each.tier,
        "before": None if each.before is None else _rates_json(each.before),
        "after": None if each.after is None else _rates_json(each.after),
    }
