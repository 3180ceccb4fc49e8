"""One door for all data: `open_source` finds out what it is and how to read it."""

import glob
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from io import IOBase
from pathlib import Path

from ..errors import BadInput
from . import streams, texts
from .array import read_json
from .delimited import read_csv
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
    if sql is not None:
        return query_source(sql, data=data)
    match data:
        case str() if data == "-":
            return _stdin_source(format)
        case str() if "://" in data:
            return address_source(data)
        case str() | Path():
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
    return _stream_source(stream, format or _sniff(stream), digest=no_digest)


def _path_source(name: str, format: str | None) -> Source:
    path = Path(name)
    if path.is_dir():
        return texts.folder_source(path, name=name)
    if not path.exists() and glob.has_magic(name):
        return texts.glob_source(name, tables=TABLES)
    if sheet := _sheet(name):
        return excel_source(_existing(sheet[0]), sheet=sheet[1], name=name)
    _existing(name)
    return _file_source(path, name, format or _format(path, name))


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


def _format(path: Path, name: str) -> str:
    extensions = [extension.lower() for extension in path.suffixes]
    if extensions[-1:] == [".gz"]:
        extensions.pop()
    if not extensions:
        return _sniff(streams.from_path(path, name=name))
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
            stream = streams.from_path(path, name=name)
            return _stream_source(stream, format, digest=partial(streams.digest_file, path))


def _stream_source(stream: Stream, format: str, *, digest: Callable[[], str | None]) -> Source:
    name = stream.name
    if not stream.head:
        raise BadInput(f"{name!r} is empty. Give data with at least one row.")
    if binary := _magic(stream.head):
        raise BadInput(
            f"{name!r} looks like {binary}, which cannot be read as text. "
            "Give it the extension that fits, or convert it."
        )
    requests = format == "jsonl" and holds_requests(stream.head)
    read = partial(read_requests, stream) if requests else _reader(stream, format)
    return Source(name=name, read=not_empty(name, read), digest=digest, requests=requests)


def _reader(stream: Stream, format: str) -> Callable[[OnBadRow], Chunks]:
    match format:
        case "csv":
            return partial(read_csv, stream)
        case "tsv":
            return partial(read_csv, stream, delimiters=("\t",))
        case "jsonl":
            return partial(read_jsonl, stream)
        case "json":
            return partial(read_json, stream)
        case _:
            known = " ".join(dict.fromkeys(FORMATS.values()))
            raise BadInput(f"{stream.name!r}: the format {format!r} is unknown. Use one of {known}")
