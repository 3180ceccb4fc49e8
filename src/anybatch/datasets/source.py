"""One door for all data: `open_source` finds out what it is and how to read it."""

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from io import IOBase
from pathlib import Path

from ..errors import BadInput
from . import streams, texts
from .array import read_json
from .delimited import Reading, find_reading, read_csv
from .dialect import DELIMITERS
from .excel import excel_source
from .frames import frame_source, rows_source
from .jsonlines import holds_requests, read_jsonl, read_requests
from .rows import Chunks, OnBadRow, Source, no_digest, not_empty
from .sql import DATABASES, address_source, database_source, parquet_source, query_source
from .streams import Stream

__all__ = ["OnBadRow", "Source", "open_source"]

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    **dict.fromkeys(DATABASES, "duckdb"),
    **dict.fromkeys(texts.EXTENSIONS, "text"),
}
"""What an extension says. A further `.gz` says that the text formats are gzipped."""

TABLES = tuple(extension for extension, format in FORMATS.items() if format != "text")

_MAGIC = {
    b"PK\x03\x04": "xlsx",
    b"PAR1": "parquet",
    b"\x1f\x8b": "gzip",
    b"SQLite format 3\0": "SQLite",
    b"%PDF": "PDF",
    b"\xd0\xcf\x11\xe0": "old Excel (.xls)",
}
"""How files begin that are not text, whatever their name says."""


def open_source(data: object, *, sql: str | None = None, format: str | None = None) -> Source:
    """What `data` is as rows: a path, a folder, a glob, an address, `-`, dicts or a data frame.

    `format` overrides the extension. `sql` is a query in which `data`, if given, is a table.
    """
    source = _open(data, sql=sql, format=format)
    return replace(source, name=streams.as_text(source.name))


def _open(data: object, *, sql: str | None, format: str | None) -> Source:
    if sql is not None:
        return query_source(sql, data=data)
    match data:
        case str() if data == "-":
            return _stdin_source(format)
        case str() if "://" in data:
            return address_source(data)
        case str() | Path():
            with streams.readable(str(data)):
                return _path_source(str(data), format)
        case _:
            return _object_source(data)


def _object_source(data: object) -> Source:
    if source := frame_source(data):
        return source
    if isinstance(data, (Mapping, bytes, IOBase)) or not isinstance(data, Iterable):
        raise BadInput(
            f"data of type {type(data).__name__!r} has no rows. "
            "Give a path, an iterable of dicts or a data frame."
        )
    return rows_source(data)


def _stdin_source(format: str | None) -> Source:
    stream = streams.from_stdin()
    return _stream_source(stream, format or _sniff(stream), path=None)


def _path_source(name: str, format: str | None) -> Source:
    path = Path(name)
    if not name:
        raise BadInput("the name of the data is empty. Give a file, a folder, or - for stdin.")
    if path.is_dir():
        return texts.folder_source(path, name=name)
    if not path.exists() and glob.has_magic(name):
        return texts.glob_source(name, tables=TABLES)
    if sheet := _sheet(name):
        return excel_source(_existing(sheet[0]), sheet=sheet[1], name=name)
    if not _existing(name).is_file():
        return _pipe_source(path, name, format or _format(path, name))
    format = format or _format(path, name) or _sniff(streams.from_path(path, name=name))
    return _file_source(path, name, format)


def _pipe_source(path: Path, name: str, format: str | None) -> Source:
    if format in ("parquet", "xlsx", "duckdb", "text"):
        raise BadInput(
            f"{name!r} is no file but a pipe, and {format} cannot be read from one. "
            "Save it to a file first."
        )
    stream = streams.from_pipe(path, name=name)
    return _stream_source(stream, format or _sniff(stream), path=None)


def _sheet(name: str) -> tuple[str, str] | None:
    """The path and the sheet of `file.xlsx#Sheet2`."""
    path, mark, sheet = name.rpartition("#")
    if mark and sheet and path.lower().endswith(".xlsx") and not Path(name).exists():
        return path, sheet
    return None


def _existing(name: str) -> Path:
    if not Path(name).exists():
        raise BadInput(f"{name!r} does not exist. Check the path.")
    return Path(name)


def _format(path: Path, name: str) -> str | None:
    """What the extension says; None where there is none."""
    extensions = [extension.lower() for extension in path.suffixes]
    if extensions[-1:] == [".gz"]:
        extensions.pop()
    if not extensions:
        return None
    if found := FORMATS.get(extensions[-1]):
        return found
    raise BadInput(
        f"{name!r} has the extension {extensions[-1]!r}, which we do not know. "
        f"Use one of {' '.join(TABLES)}: rename the file."
    )


def _sniff(stream: Stream) -> str:
    """What the first bytes say."""
    start = stream.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    binary = _magic(stream.head)
    return binary or {b"{": "jsonl", b"[": "json"}.get(start, "csv")


def _magic(head: bytes) -> str | None:
    return next((format for magic, format in _MAGIC.items() if head.startswith(magic)), None)


def _file_source(path: Path, name: str, format: str) -> Source:
    match format:
        case "parquet":
            return parquet_source(path, name=name)
        case "xlsx":
            return excel_source(path, sheet=None, name=name)
        case "duckdb":
            return database_source(path, name=name)
        case "text":
            return texts.text_source(path, name=name)
        case _:
            return _stream_source(streams.from_path(path, name=name), format, path=path)


def _stream_source(stream: Stream, format: str, *, path: Path | None) -> Source:
    """Rows from text. `path` is None for what cannot be read twice, and so has no digest."""
    name = stream.name
    if not stream.head:
        raise BadInput(f"{name!r} is empty. Give data with at least one row.")
    if binary := _magic(stream.head):
        raise BadInput(
            f"{name!r} looks like {binary}, which cannot be read as text. "
            "Give it the extension that fits, or convert it."
        )
    if format == "jsonl" and holds_requests(stream.head):
        format = "requests"
    found = cache(partial(find_reading, stream, delimiters=_delimiters(format)))
    return Source(
        name=name,
        read=not_empty(name, _reader(stream, format, found)),
        digest=no_digest if path is None else partial(_digest, path, format, found),
        requests=format == "requests",
    )


def _delimiters(format: str) -> Sequence[str]:
    return ("\t",) if format == "tsv" else DELIMITERS


def _digest(path: Path, format: str, found: Callable[[], Reading]) -> str:
    delimited = format in ("csv", "tsv")
    return streams.digest_file(path, read_as=f"{format} {found()}" if delimited else format)


def _reader(
    stream: Stream, format: str, found: Callable[[], Reading]
) -> Callable[[OnBadRow], Chunks]:
    match format:
        case "csv" | "tsv":
            return partial(read_csv, stream, found=found)
        case "requests":
            return partial(read_requests, stream)
        case "jsonl":
            return partial(read_jsonl, stream)
        case "json":
            return partial(read_json, stream)
        case _:
            known = " ".join(dict.fromkeys(FORMATS.values()))
            raise BadInput(f"{stream.name!r}: the format {format!r} is unknown. Use one of {known}")
