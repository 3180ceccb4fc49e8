"""Results back onto rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
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


def layout(
    columns: Sequence[str], schema: Json | None, *, names: tuple[str, ...] = ("answer",)
) -> Layout:
    """The columns of the output. The answer's are `names`, unless the schema names them.

    The dataset's keep their names. Ours make way: one that is taken gets `_2`, and so does one that
    differs from another in case only, because many readers of tables do not tell such names apart.
    """
    fields = names if len(names) > 1 else ()
    if schema is not None and schema.get("properties"):
        fields = answer_columns(schema)
    ours = (*(fields or names), *META)
    return Layout(row=tuple(columns), fields=fields, columns=(*columns, *_unused(ours, columns)))


def _unused(names: Iterable[str], taken: Iterable[str]) -> Iterator[str]:
    """`names`, each with the first number, if any, that makes it differ from all before it."""
    lower = {name.lower() for name in taken}
    for name in names:
        numbered = chain((name,), (f"{name}_{k}" for k in count(2)))
        unused = next(candidate for candidate in numbered if candidate.lower() not in lower)
        lower.add(unused.lower())
        yield unused


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
