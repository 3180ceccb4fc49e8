"""`anybatch show` and `anybatch diff`: where a run comes from, and in what two of them differ."""

import sys
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from ..core.model import Json, Run
from ..core.offers import money
from ..engine.events import Report
from ..engine.provenance import Part, differing, manifest
from ..engine.sameness import TOOL
from ..engine.workspace import Workspace
from .batches import table
from .progress import counted, ranked
from .report import cost_json, print_json
from .work import find_here

_WORDS = {
    "base_url": "base URL",
    "output_schema": "answer schema",
    "system": "system prompt",
    TOOL: "planned by anybatch",
}
"""How parts are called, where their own names are not the user's."""
_TEXTS = ("prompt", "system")


def show_command(word: str, store: Path | None, *, as_json: bool) -> None:
    """All that made a run what it is."""
    workspace, run = find_here(word, store)
    said = manifest(workspace, run)
    if as_json:
        print_json({**said, "cost": cost_json(workspace.report(run))})
        return
    for line in _told(said):
        print(line)


def _told(said: Json) -> Iterator[str]:
    data = said["data"]
    yield f"run {said['run']} of {data['source']!r}, {said['status']}"
    version = said["anybatch"] or "of a version that was not kept"
    yield f"planned at {said['created_at']} by anybatch {version}"
    rows = f"{counted(data['rows'], 'row')} with the columns {', '.join(data['columns'])}"
    yield f"{rows}; digest {data['digest']}"
    asked = "/".join(filter(None, (said["provider"], said["model"])))
    found = ", ".join(f"{model} × {n:,}" for model, n in said["models_returned"].items())
    yield f"asked: {asked} by {said['executor']}, {said['api']}; answered: {found or 'nothing yet'}"
    for name in ("prompt", "system", "schema", "parameters"):
        if said[name]:
            text = said[name] if isinstance(said[name], str) else _json_text(said[name])
            yield f"{name}: {text}"
    if said["quote"] is not None:
        tariff = said["quote"]["tariff"]
        price = money(said["quote"]["dollars"])
        yield f"estimate: {price} by the prices of {tariff['as_of']} ({tariff['source']})"
    yield "the whole manifest, as JSON: --manifest"


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def diff_command(one: str, other: str, store: Path | None, *, as_json: bool) -> None:
    """In what two runs differ: what was asked, of what, and what came of it."""
    workspace, before = find_here(one, store)
    after = workspace.store.find_run(other)
    parts = differing(before, after)
    if as_json:
        print_json(_json(workspace, before, after, parts))
        return
    if not parts:
        print(f"runs {before.id} and {after.id} ask the same of the same data")
    for part in parts:
        for line in _in_words(part, before, after):
            print(line)
    shown = table("", before.id, after.id)
    for cells in _outcomes([workspace.report(run) for run in (before, after)]):
        shown.add_row(*map(Text, cells))
    Console(width=None if sys.stdout.isatty() else 10_000).print(shown)


def _json(workspace: Workspace, before: Run, after: Run, parts: list[Part]) -> Json:
    reports = [workspace.report(run) for run in (before, after)]
    return {
        "runs": [before.id, after.id],
        "parts": {part.name: {"before": part.before, "after": part.after} for part in parts},
        "rows": [before.total, after.total],
        "counts": [report.progress.counts for report in reports],
        "cost": [cost_json(report) for report in reports],
    }


def _in_words(part: Part, before: Run, after: Run) -> Iterator[str]:
    name = _WORDS.get(part.name, part.name)
    if part.name == "data":
        yield f"data: {_data(before)} → {_data(after)}"
    elif part.name in _TEXTS and part.before and part.after:
        yield f"{name}:"
        yield from (f"  {line}" for line in _changed_lines(part.before, part.after))
    elif isinstance(part.before, dict) and isinstance(part.after, dict):
        for key in dict.fromkeys((*part.before, *part.after)):
            old, new = part.before.get(key), part.after.get(key)
            if old != new:
                yield f"{name}: {key} {_value(old)} → {_value(new)}"
    else:
        yield f"{name}: {_value(part.before)} → {_value(part.after)}"


def _data(run: Run) -> str:
    return f"{run.source!r} with {counted(run.total, 'row')}"


def _changed_lines(before: str, after: str) -> list[str]:
    """The lines of a text that differ, each behind - or +."""
    diff = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in diff if not line.startswith(("---", "+++", "@@"))]


def _value(value: Any) -> str:
    return "nothing" if value is None else _json_text(value)


def _outcomes(reports: Sequence[Report]) -> Iterator[list[str]]:
    yield ["rows", *(", ".join(ranked(report.progress)) for report in reports)]
    yield ["tokens", *map(_tokens, reports)]
    yield ["dollars", *(_dollars(report.cost.total) for report in reports)]
    yield ["a valid row", *(_dollars(report.cost.per_valid_row) for report in reports)]


def _tokens(report: Report) -> str:
    usage = report.progress.usage
    return f"{usage.tokens_in:,} in, {usage.tokens_out:,} out"


def _dollars(dollars: float | None) -> str:
    return "no price" if dollars is None else money(dollars)
