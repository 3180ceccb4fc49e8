"""Rows as a Parquet file.

They are staged as JSON Lines, because the last row has a say in the type of a column.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from .rows import unique_columns
from .sql import identifier, in_memory, quoted
from .writers import Values, Write, created, json_lines

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Kind = Literal["bool", "int", "float", "floats", "text"]

_SQL: dict[Kind, str] = {
    "bool": "BOOLEAN",
    "int": "BIGINT",
    "float": "DOUBLE",
    "floats": "DOUBLE[]",
    "text": "VARCHAR",
}

MIN_LINE_BYTES = 16 * 1024 * 1024
"""DuckDB's own limit for a line, raised when we wrote a longer one."""


@contextmanager
def parquet_writer(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    """Columns of one kind of value get its type; mixed and nested values become JSON text.

    Many readers of Parquet ignore case and none takes an empty name: a name that differs from an
    earlier one in case only is numbered, an empty one is called by its place.
    """
    staged = path.with_name(path.name + ".jsonl")
    kinds: list[Kind | None] = [None] * len(columns)
    # Names of our own while it is staged, whatever the caller's are.
    names = [f"c{place}" for place in range(len(columns))]
    longest = MIN_LINE_BYTES
    try:
        with created(staged) as file:

            def write(rows: Values) -> None:
                nonlocal longest
                for line in json_lines(rows, names):
                    file.write(line + b"\n")
                    longest = max(longest, len(line) + 1)
                for place, values in enumerate(zip(*rows, strict=True)):
                    kinds[place] = _widest(kinds[place], values)

            yield write
        _copy(staged, path, columns, kinds, longest=longest)
    finally:
        staged.unlink(missing_ok=True)


def _widest(kind: Kind | None, values: Sequence[object]) -> Kind | None:
    """The kind that holds `values` and what came before them."""
    if kind == "text":
        return kind
    kinds = {_kind(value) for value in values if value is not None} | ({kind} if kind else set())
    if kinds <= {"int", "float"} and len(kinds) == 2:
        return "float"
    return kinds.pop() if len(kinds) == 1 else "text" if kinds else None


def _kind(value: object) -> Kind:
    match value:
        case bool():
            return "bool"
        case int():
            return "int" if -(2**63) <= value < 2**63 else "text"
        case float():
            return "float"
        case list() | tuple() if all(type(number) in (int, float) for number in value):
            return "floats"
        case msgspec.Raw():
            return _kind(msgspec.json.decode(value))
        case _:
            return "text"


def _copy(
    staged: Path,
    path: Path,
    columns: Sequence[str],
    kinds: Sequence[Kind | None],
    *,
    longest: int,
) -> None:
    types = ", ".join(f"c{place}: '{_SQL[kind or 'text']}'" for place, kind in enumerate(kinds))
    unique = unique_columns(columns, ignore_case=True)
    chosen = ", ".join(f"c{place} as {identifier(name)}" for place, name in enumerate(unique))
    with in_memory() as connection:
        _run(
            connection,
            f"copy (select {chosen} from read_json({quoted(escape(str(staged)))}, "
            f"format = 'newline_delimited', columns = {{{types}}}, "
            f"maximum_object_size = {longest})) to {quoted(str(path))} (format parquet)",
        )


def _run(connection: "DuckDBPyConnection", sql: str) -> None:
    import duckdb

    try:
        connection.execute(sql)
    except duckdb.Error as error:
        raise OSError(" ".join(str(error).split())) from error
