"""`anybatch cost`: what a run did cost, held against what was said before."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from ..core.ledger import Entry
from ..core.model import Usage
from ..core.offers import money
from ..engine.events import Report
from .batches import table
from .progress import counted
from .report import cost_json, cost_lines, print_json, sure_line
from .work import find_here

_FREE = "a model in this process: no dollars that are known here"


def cost_command(word: str, store: Path | None, *, as_json: bool) -> None:
    """What each class of tokens did cost, and what came of it."""
    workspace, run = find_here(word, store)
    report = workspace.report(run)
    if as_json:
        print_json({"id": run.id, "status": report.progress.status, **_json(report)})
        return
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    shown = table("tier", "", "tokens", "dollars")
    for column in shown.columns[2:]:
        column.justify = "right"
    for entry in report.cost.entries:
        for cells in _rows(entry, has_prices=report.cost.tariff is not None):
            shown.add_row(*map(Text, cells))
    console.print(shown)
    said = _FREE if run.spec.executor == "embedded" else None
    for line in [*([said] if said else _lines(report)), sure_line(report)]:
        console.print(line, highlight=False)


def _lines(report: Report) -> list[str]:
    cost = report.cost
    if cost.tariff is None:
        return ["nobody has said what this model costs: `anybatch prices` says how to say it"]
    return [*cost_lines(report), f"prices: {cost.tariff.source} of {cost.tariff.as_of}"]


def _rows(entry: Entry, *, has_prices: bool) -> Iterator[list[str]]:
    """A line for each class of tokens there is, and one for all of them."""
    dollars = None if entry.dollars is None else msgspec.to_builtins(entry.dollars)
    for name, tokens in classes(entry.usage).items():
        if tokens:
            yield ["", name, f"{tokens:,}", "" if dollars is None else money(dollars[name])]
    total = "no price" if has_prices else ""
    yield [
        entry.tier,
        counted(entry.attempts, "answer"),
        f"{entry.usage.tokens_in + entry.usage.tokens_out:,}",
        total if entry.dollars is None else money(entry.dollars.total),
    ]


def classes(usage: Usage) -> dict[str, int]:
    """Tokens by what they cost: each is counted once."""
    return {
        "input": usage.tokens_in - usage.cached - usage.written - usage.kept,
        "cached": usage.cached,
        "written": usage.written,
        "kept": usage.kept,
        "output": usage.tokens_out - usage.reasoning,
        "reasoning": usage.reasoning,
    }


def _json(report: Report) -> dict[str, Any]:
    cost = report.cost
    return {
        **cost_json(report),
        "tiers": [
            {
                "tier": entry.tier,
                "attempts": entry.attempts,
                "tokens": classes(entry.usage),
                "dollars": None if entry.dollars is None else msgspec.to_builtins(entry.dollars),
            }
            for entry in cost.entries
        ],
        "quote": None if cost.quote is None else msgspec.to_builtins(cost.quote),
    }
