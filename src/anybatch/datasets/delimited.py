"""Rows from CSV and TSV files. Values stay text: nothing is guessed about them."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from ..core.model import Row
from ..errors import BadInput
from . import streams
from .dialect import DELIMITERS, Dialect, find_dialect, is_mostly_one_field
from .encoding import Encoding, find_encoding, open_text
from .rows import CHUNK, Chunks, OnBadRow, unique_columns
from .streams import Stream

MAX_FIELD_CHARS = 256 * 1024 * 1024
"""A longer field is a quote that was never closed: refused before it fills the memory."""

MAX_SAMPLE_BYTES = 4 * 1024 * 1024
"""No more is read to find out how a file is written."""

_END = "\0end of file"
"""Fed to the reader behind the last line. Inside a field, it shows a quote left open."""

_MALFORMED = ["", _END]
"""Stands for a row that the reader refused."""

_Chunk = tuple[list[list[str]], list[str], int]
"""Rows, the columns, and the line that the first row starts on."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_WRONG_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the bytes of a file become cells."""

    encoding: Encoding
    dialect: Dialect

    def __str__(self) -> str:
        """The same for readings that give the same rows."""
        encoding, dialect = self.encoding, self.dialect
        return f"{encoding.name} {encoding.errors} {dialect.options()} {dialect.skip}"


def find_reading(stream: Stream, *, delimiters: Sequence[str] = DELIMITERS) -> Reading:
    """Looks through the whole file, for the encoding's sake."""
    _allow_long_fields()
    with streams.readable(stream.name):
        encoding = find_encoding(stream)
    sample, whole = _sample(stream, encoding, delimiters)
    dialect = find_dialect(sample, whole=whole, delimiters=delimiters)
    return Reading(encoding=encoding, dialect=dialect)


def _sample(stream: Stream, encoding: Encoding, delimiters: Sequence[str]) -> tuple[str, bool]:
    """Enough of the text to find the dialect from, and whether that is all of it."""
    size, content = streams.HEAD_BYTES, stream.head
    while True:
        text, whole = content.decode(encoding.name, "ignore"), len(content) < size
        if whole or not is_mostly_one_field(text, delimiters):
            return text, whole
        if size >= MAX_SAMPLE_BYTES:
            # A quote that means nothing was opened: what comes before it tells as much.
            return stream.head.decode(encoding.name, "ignore"), False
        size *= 4
        content = stream.sample(size)


def _allow_long_fields() -> None:
    # The limit is the process's own; another thread that reads a CSV only gains by it.
    csv.field_size_limit(MAX_FIELD_CHARS)


def read_csv(stream: Stream, on_bad_row: OnBadRow, *, found: Callable[[], Reading]) -> Chunks:
    """Rows of a CSV or TSV file; `found` says how it is written."""
    with streams.readable(stream.name):
        encoding, dialect = found().encoding, found().dialect
        with open_text(stream, encoding) as lines:
            for chunk, columns, line in _read(lines, dialect, name=stream.name):
                damaged = encoding.errors != "strict" and _has_wrong_bytes(chunk)
                if damaged or not _fits(chunk, width=len(columns)):
                    yield list(_checked(chunk, columns, on_bad_row, line=line))
                else:
                    yield [dict(zip(columns, values)) for values in chunk]  # noqa: B905


def _read(lines: Iterator[str], dialect: Dialect, *, name: str) -> Iterator[_Chunk]:
    _allow_long_fields()
    for _ in range(dialect.skip):
        next(lines)
    reader = csv.reader(chain(lines, (_END,)), **dialect.options())
    columns = unique_columns(name.strip() for name in _header(reader, name=name))
    while True:
        line = reader.line_num + dialect.skip + 1
        chunk: list[list[str]] = []
        try:
            chunk.extend(islice(reader, CHUNK))
        except csv.Error:
            # What was read before the error stays in the list; the reader goes on behind it.
            chunk.append(_MALFORMED)
        if not chunk:
            return
        yield chunk, columns, line


def _header(reader: Iterator[list[str]], *, name: str) -> list[str]:
    header = next((values for values in reader if values), [_END])
    if header[-1].endswith(_END):
        raise BadInput(f"{name!r} has no header line. Put the column names on its first line.")
    if any(map(_WRONG_BYTE.search, header)):
        raise BadInput(
            f"the header of {name!r} holds bytes that are not valid UTF-8. Save it as UTF-8 and "
            "try again."
        )
    return header


def _fits(chunk: list[list[str]], *, width: int) -> bool:
    return set(map(len, chunk)) == {width} and not chunk[-1][-1].endswith(_END)


def _has_wrong_bytes(chunk: list[list[str]]) -> bool:
    return any(_WRONG_BYTE.search("".join(values)) for values in chunk)


def _checked(
    chunk: list[list[str]], columns: list[str], on_bad_row: OnBadRow, *, line: int
) -> Iterator[Row]:
    for values in chunk:
        why = _why_bad(values, width=len(columns))
        if why:
            on_bad_row(line, why)
        elif values and values != [_END]:
            yield dict(zip(columns, values, strict=True))
        line += 1 + sum(len(_LINE_END.findall(value)) for value in values)


def _why_bad(values: list[str], *, width: int) -> str | None:
    if not values or values == [_END]:
        return None
    if values[-1].endswith(_END):
        return "a quote is opened here and not closed where the field ends"
    if len(values) != width:
        return f"it has {len(values)} fields and the header has {width}"
    if any(map(_WRONG_BYTE.search, values)):
        return "it holds bytes that are not valid UTF-8"
    return None
