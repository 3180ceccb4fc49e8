"""Results back onto rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .model import Json, Result, Row
from .schema import answer_columns

META = ("_outcome", "_error", "_model", "_tokens_in", "_tokens_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which columns a joined row has: the dataset's, the answer's, and what became of it."""

    row: tuple[str, ...]
    fields: tuple[str, ...]
    """The keys of an object answer; empty where the answer is one value."""
    columns: tuple[str, ...]
    """Every name, in order, all different."""


def layout(columns: Sequence[str], schema: Json | None, *, one: str = "answer") -> Layout:
    """The columns of the output. A name that the dataset already has gets `_2`."""
    fields = answer_columns(schema) if schema is not None and schema.get("properties") else ()
    names = list(columns)
    for name in (*(fields or (one,)), *META):
        names.append(_unused(name, names))
    return Layout(row=tuple(columns), fields=fields, columns=tuple(names))


def _unused(name: str, taken: list[str]) -> str:
    if name not in taken:
        return name
    k = 2
    while f"{name}_{k}" in taken:
        k += 1
    return f"{name}_{k}"


def joined(row: Row, result: Result | None, value: Any, *, to: Layout) -> list[Any]:
    """One output row. `value` is the answer, None unless the result succeeded."""
    cells = [row.get(name) for name in to.row]
    if to.fields:
        cells += [value.get(name) if isinstance(value, dict) else None for name in to.fields]
    else:
        cells.append(value)
    if result is None:
        return [*cells, "pending", None, None, None, None]
    error = result.failure.message if result.failure is not None else None
    usage = result.usage
    return [*cells, result.outcome, error, result.model, usage.tokens_in, usage.tokens_out]
