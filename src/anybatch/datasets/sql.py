"""Rows from Parquet files, DuckDB databases, addresses and queries, all by way of DuckDB.

DuckDB's own extensions are used where they are installed and never downloaded.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, MissingExtra
from . import streams
from .frames import frame_source
from .rows import (
    CHUNK,
    Chunks,
    OnBadRow,
    Source,
    json_rows,
    no_digest,
    not_empty,
    unique_columns,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DATABASES = (".duckdb", ".ddb")
QUERY = "query"
"""What a query is called as a source."""


def parquet_source(path: Path, *, name: str) -> Source:
    sql = f"select * from read_parquet({quoted(escape(str(path)))})"
    _require(f"reading {name!r}", name)
    digest = partial(streams.digest_file, path, read_as="parquet")
    return Source(name=name, read=_reader(name, sql, in_memory), digest=digest)


def query_source(sql: str, *, data: object = None) -> Source:
    """The rows of a query, in which `data` is the name of what else was given, if anything."""
    _require("a query", sql, data)
    return Source(name=QUERY, read=_reader(QUERY, sql, _place(data)), digest=no_digest)


def address_source(address: str) -> Source:
    """What DuckDB reads under that address, such as `s3://bucket/*.parquet`."""
    _require(f"reading {address!r}", address)
    sql = f"select * from {quoted(address)}"
    return Source(name=address, read=_reader(address, sql, in_memory), digest=no_digest)


def database_source(path: Path, *, name: str) -> Source:
    """The one table of a DuckDB database."""
    _require(f"reading {name!r}", name)
    place = partial(_database, path)
    with _understood(name), place() as connection:
        tables = [table for (table,) in connection.execute(_TABLES).fetchall()]
    if len(tables) != 1:
        raise BadInput(
            f'{name!r} holds {len(tables)} tables. Choose one with --sql "select * from …".'
        )
    sql = f"select * from {identifier(tables[0])}"
    return Source(name=name, read=_reader(name, sql, place), digest=no_digest)


_TABLES = "select table_name from duckdb_tables() where not internal"

Place = Callable[[], Any]
"""Opens the connection that a query runs in, as a context manager."""


@contextmanager
def in_memory() -> "Iterator[DuckDBPyConnection]":
    with _connect(":memory:") as connection:
        yield connection


@contextmanager
def _database(path: Path) -> "Iterator[DuckDBPyConnection]":
    with _connect(str(path), read_only=True) as connection:
        yield connection


@contextmanager
def _holding(data: object) -> "Iterator[DuckDBPyConnection]":
    with in_memory() as connection:
        if isinstance(data, (str, Path)):
            connection.execute(f"create view data as select * from {quoted(str(data))}")
        else:
            connection.register("data", data)
        yield connection


def _place(data: object) -> Place:
    if data is None:
        return in_memory
    if isinstance(data, (str, Path)):
        path = Path(data)
        return partial(_database, path) if path.suffix in DATABASES else partial(_holding, data)
    if frame_source(data) is None:
        raise BadInput("a query runs on files and data frames. Give one of these, or no data.")
    return partial(_holding, data)


def _connect(database: str, *, read_only: bool = False) -> "DuckDBPyConnection":
    import duckdb

    connection = duckdb.connect(
        database, read_only=read_only, config={"autoinstall_known_extensions": "false"}
    )
    connection.execute("set enable_progress_bar = false")
    return connection


def _require(what: str, *said: object) -> None:
    """DuckDB, and that all that is `said` to it is text."""
    try:
        import duckdb  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(what, extra="data") from error
    for text in said:
        if isinstance(text, (str, Path)) and streams.as_text(str(text)) != str(text):
            raise BadInput(f"{str(text)!r} holds bytes that are not valid UTF-8. Write it anew.")


@contextmanager
def _understood(name: str) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        # Behind that stands the statement as we put it, and where in it.
        why = " ".join(str(error).partition("\nLINE ")[0].split())[:300].rstrip(".")
        if name == QUERY:
            raise BadInput(f"the SQL query cannot be run: {why}. Correct it.") from error
        raise BadInput(
            f"{name!r} cannot be read by DuckDB: {why}. Mend it, or give other data."
        ) from error


def _reader(name: str, sql: str, place: Place) -> Callable[[OnBadRow], Chunks]:
    return not_empty(name, partial(_read, name, sql, place))


def _read(name: str, sql: str, place: Place, on_bad_row: OnBadRow) -> Chunks:
    with _understood(name), place() as connection:
        columns, query, nested = _planned(connection, _one_statement(connection, sql, name=name))
        names = unique_columns(columns)
        result = connection.execute(query)
        first = 1
        while values := result.fetchmany(CHUNK):
            rows = [dict(zip(names, row, strict=True)) for row in values]
            for column in nested:
                _decode(rows, names[column])
            yield json_rows(rows, on_bad_row, first=first)
            first += len(values)


def _one_statement(connection: "DuckDBPyConnection", sql: str, *, name: str) -> str:
    """`sql` without what ends it; to describe several would run all but the first of them."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise BadInput(
            f"{name!r} holds {len(statements)} statements, and one can be run. "
            "Give a single select."
        )
    return sql.strip().rstrip(";")


def _decode(rows: list[dict[str, Any]], column: str) -> None:
    for row in rows:
        if row[column] is not None:
            # Not msgspec: DuckDB writes NaN and Infinity, which are no JSON.
            row[column] = json.loads(row[column])


def _planned(connection: "DuckDBPyConnection", sql: str) -> tuple[list[str], str, list[int]]:
    """The columns, the query to run, and which columns it gives as JSON text.

    DuckDB hands out times with a zone through `pytz`, which nobody may have: have them as text.
    """
    described = connection.execute(f"describe {sql}").fetchall()
    columns, kinds = [row[0] for row in described], [row[1] for row in described]
    if not any("TIME ZONE" in kind for kind in kinds):
        return columns, sql, []
    names = [f"c{place}" for place in range(len(kinds))]
    chosen = ", ".join(_without_zone(name, kind) for name, kind in zip(names, kinds, strict=True))
    nested = [place for place, kind in enumerate(kinds) if _is_nested(kind)]
    return columns, f"select {chosen} from ({sql}\n) as query({', '.join(names)})", nested


def _is_nested(kind: str) -> bool:
    return "TIME ZONE" in kind and kind not in ("TIMESTAMP WITH TIME ZONE", "TIME WITH TIME ZONE")


def _without_zone(name: str, kind: str) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"replace(make_timestamp(epoch_us({name}))::varchar, ' ', 'T') || 'Z'"
    if kind == "TIME WITH TIME ZONE":
        return f"{name}::varchar"
    return f"to_json({name})::varchar" if "TIME ZONE" in kind else name


def quoted(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
