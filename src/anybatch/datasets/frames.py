"""Rows from objects of Python: dicts, generators and data frames; and columns back as a frame.

No data frame library is a dependency: a frame is known by where its type comes from.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from ..errors import BadInput, UsageError
from .rows import (
    CHUNK,
    UNREADABLE,
    Chunks,
    OnBadRow,
    Source,
    chunked,
    json_rows,
    no_digest,
    not_empty,
    unique_columns,
)

Tuples = Iterable[tuple[object, ...]]


def rows_source(rows: Iterable[object]) -> Source:
    """Dicts in memory or from a generator, which can be read once."""
    return _source("rows", partial(_read_rows, rows))


def frame_source(frame: Any) -> Source | None:
    """A pandas, polars or Arrow frame; None when `frame` is none of them. An index is left out."""
    read = _reader(frame)
    return _source("frame", partial(_read_frame, *read)) if read else None


def _source(name: str, read: Callable[[OnBadRow], Chunks]) -> Source:
    return Source(name=name, read=not_empty(name, read), digest=no_digest)


def _read_rows(rows: Iterable[object], on_bad_row: OnBadRow) -> Chunks:
    first = 1
    for chunk in chunked(rows):
        yield json_rows(chunk, on_bad_row, first=first)
        first += len(chunk)


def _read_frame(
    names: Iterable[object], tuples: Callable[[], Tuples], on_bad_row: OnBadRow
) -> Chunks:
    columns = unique_columns(map(str, names))
    rows = (dict(zip(columns, values, strict=True)) for values in _read_tuples(tuples))
    yield from _read_rows(rows, on_bad_row)


def _read_tuples(tuples: Callable[[], Tuples]) -> Iterator[tuple[object, ...]]:
    try:
        yield from tuples()
    except UNREADABLE as error:
        why = " ".join(str(error).split())
        raise BadInput(f"the frame holds a value that Python cannot: {why}. Mend it.") from error


def _reader(frame: Any) -> tuple[Iterable[object], Callable[[], Tuples]] | None:
    """The names of the columns, and what yields the rows."""
    library, kind = type(frame).__module__.split(".")[0], type(frame).__name__
    if (library, kind) == ("pandas", "DataFrame"):
        return frame.columns, partial(frame.itertuples, index=False, name=None)
    if (library, kind) == ("polars", "DataFrame"):
        return frame.columns, partial(frame.iter_rows, buffer_size=CHUNK)
    if (library, kind) == ("polars", "LazyFrame"):
        raise BadInput("a LazyFrame has no rows yet. Give frame.collect().")
    if (library, kind) == ("pyarrow", "Table"):
        return frame.column_names, partial(_arrow_tuples, lambda: frame.to_batches(CHUNK))
    if hasattr(frame, "__arrow_c_stream__"):
        return _arrow_reader(frame)
    return None


def _arrow_reader(frame: Any) -> tuple[Iterable[object], Callable[[], Tuples]]:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise BadInput(
            f"reading a {type(frame).__name__!r} needs pyarrow: pip install pyarrow"
        ) from error
    try:
        batches = pyarrow.RecordBatchReader.from_stream(frame)
    except pyarrow.ArrowInvalid as error:
        raise BadInput(f"a {type(frame).__name__!r} is no table. Give a frame.") from error
    return batches.schema.names, partial(_arrow_tuples, lambda: batches)


def _arrow_tuples(batches: Callable[[], Iterable[Any]]) -> Iterator[tuple[object, ...]]:
    return chain.from_iterable(
        zip(*(column.to_pylist() for column in batch.columns), strict=True) for batch in batches()
    )


def to_pandas(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """The rows as a pandas DataFrame."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise _not_installed("pandas") from error
    return pandas.DataFrame(list(rows), columns=list(columns))


def to_polars(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """The rows as a polars DataFrame."""
    try:
        import polars
    except ModuleNotFoundError as error:
        raise _not_installed("polars") from error
    return polars.DataFrame(
        list(rows), schema=list(columns), orient="row", infer_schema_length=None, strict=False
    )


def _not_installed(library: str) -> UsageError:
    return UsageError(
        f"a {library} frame needs {library}, which is not installed: pip install {library}"
    )
