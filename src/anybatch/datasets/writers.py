"""Rows as the bytes of a CSV, JSON Lines or JSON file."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import BinaryIO

import msgspec

from .cells import Cell, cells
from .rows import encode_json

Values = Sequence[Sequence[object]]
"""Rows, each with its values in the order of the columns."""

Write = Callable[[Values], None]


@contextmanager
def created(path: Path) -> Iterator[BinaryIO]:
    """A new file. When a write has failed, closing does not fail once more in its place."""
    file = path.open("wb")
    try:
        yield file
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    file.close()


@contextmanager
def csv_writer(
    file: BinaryIO, columns: Sequence[str], *, raw: bool, delimiter: str = ","
) -> Iterator[Write]:
    def write(rows: Values) -> None:
        text = _csv_text(cells(rows, raw=raw), delimiter)
        file.write(text.encode("utf-8", "replace"))

    write([columns])
    yield write


def _csv_text(rows: list[list[Cell]], delimiter: str) -> str:
    text = _quoted_text(rows, delimiter, csv.QUOTE_MINIMAL)
    # Python before 3.13 leaves a lone carriage return unquoted, and readers then cut the row there.
    return _quoted_text(rows, delimiter, csv.QUOTE_ALL) if "\r" in text else text


def _quoted_text(rows: list[list[Cell]], delimiter: str, quoting: int) -> str:
    text = StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


@contextmanager
def jsonl_writer(file: BinaryIO, columns: Sequence[str]) -> Iterator[Write]:
    def write(rows: Values) -> None:
        file.write(b"".join(line + b"\n" for line in json_lines(rows, columns)))

    yield write


@contextmanager
def json_writer(file: BinaryIO, columns: Sequence[str]) -> Iterator[Write]:
    separator = b"[\n"

    def write(rows: Values) -> None:
        nonlocal separator
        for line in json_lines(rows, columns):
            file.write(separator + line)
            separator = b",\n"

    yield write
    file.write(b"\n]\n" if separator == b",\n" else b"[]\n")


@contextmanager
def line_writer(file: BinaryIO) -> Iterator[Write]:
    """Writes rows whose one value is a line as it stands, its end included."""

    def write(rows: Values) -> None:
        file.write(b"".join(line for row in rows for line in row if isinstance(line, bytes)))

    yield write


def json_lines(rows: Values, columns: Sequence[str]) -> Iterator[bytes]:
    """Each row as an object on one line."""
    for row in rows:
        line = encode_json(dict(zip(columns, row, strict=True)))
        # Only `msgspec.Raw` brings line ends with it: an answer that the provider laid out.
        yield msgspec.json.format(line, indent=-1) if b"\n" in line else line
