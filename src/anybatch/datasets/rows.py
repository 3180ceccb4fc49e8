"""What a dataset is while it is read: chunks of rows, and a word to say when a row is bad."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from ..core.model import Row
from ..errors import BadInput

OnBadRow = Callable[[int, str], None]
"""Called with the line, row or element number (1-based) and why; it may raise."""

Chunks = Iterator[list[Row]]

CHUNK = 512
"""Rows a chunk: enough that the cost per chunk is nothing; few enough to be gone again before the
garbage collector looks at them, which made planning take twice as long."""

UNREADABLE = (ValueError, TypeError, RecursionError, OverflowError)
"""What msgspec raises on bytes or values that are not the JSON we ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Data that can be read as rows."""

    name: str
    """What the caller calls it: a path, a glob, `rows`, `query`."""
    read: Callable[[OnBadRow], Chunks]
    digest: Callable[[], str | None]
    """BLAKE2b of the raw bytes and of how they are read, in hex; None when only rows can tell."""
    requests: bool = False
    """True when rows are ready-made requests: `custom_id`, `method`, `url`, `body`."""


def no_digest() -> str | None:
    """The digest of what has no bytes of its own."""
    return None


def not_empty(name: str, read: Callable[[OnBadRow], Chunks]) -> Callable[[OnBadRow], Chunks]:
    """`read`, but a dataset without one good row is an error and not an empty run."""

    def checked(on_bad_row: OnBadRow) -> Chunks:
        empty = True
        for rows in read(on_bad_row):
            empty = empty and not rows
            if rows:
                yield rows
        if empty:
            raise BadInput(f"{name!r} holds no row to work on. Give data with at least one row.")

    return checked


def unique_columns(names: Iterable[str], *, ignore_case: bool = False) -> list[str]:
    """Column names as given; an empty one is called by its place, a repeated one is numbered.

    With `ignore_case`, one that differs from an earlier one in case only is repeated too.
    """
    fold = str.lower if ignore_case else str
    columns: dict[str, str] = {}
    repeated: Counter[str] = Counter()
    for place, name in enumerate(names, start=1):
        wanted = candidate = name or f"column_{place}"
        while fold(candidate) in columns:
            repeated[fold(wanted)] += 1
            candidate = f"{wanted}_{repeated[fold(wanted)] + 1}"
        columns[fold(candidate)] = candidate
    return list(columns.values())


def chunked(values: Iterable[Any], *, size: int = CHUNK) -> Iterator[list[Any]]:
    """Cut `values` into lists of `size`."""
    remaining = iter(values)
    while chunk := list(islice(remaining, size)):
        yield chunk


def json_rows(chunk: list[Any], on_bad_row: OnBadRow, *, first: int) -> list[Row]:
    """The rows as JSON would carry them; those it cannot carry are bad.

    Dates become ISO text, `Decimal` text, bytes base64, NaN None. `first` numbers the first row.
    """
    try:
        return _ROWS.decode(_JSON.encode(chunk))
    except UNREADABLE:
        return list(_one_by_one(chunk, on_bad_row, first=first))


def _one_by_one(chunk: list[Any], on_bad_row: OnBadRow, *, first: int) -> Iterator[Row]:
    for number, row in enumerate(chunk, start=first):
        try:
            yield _ROW.decode(_JSON.encode(row))
        except UNREADABLE as error:
            on_bad_row(number, why_unreadable(error))


def why_unreadable(error: Exception, content: bytes = b"") -> str:
    """An exception of `UNREADABLE`, in words for the owner of the row; of the JSON `content`."""
    match error:
        case UnicodeDecodeError():
            return f"byte 0x{error.object[error.start]:02x} is not valid UTF-8"
        case UnicodeEncodeError():
            return _HALF
        case msgspec.DecodeError() if _holds_half(content):
            return _HALF
        case RecursionError():
            return "nested too deep"
        case msgspec.ValidationError():
            return f"not the object that it must be ({error})"
        case msgspec.DecodeError():
            return f"not valid JSON ({error})"
        case TypeError() | OverflowError():
            return f"not a row that JSON can carry ({error})"
        case _:
            return str(error)


_HALF = "a text holds half a surrogate pair, which is not valid Unicode"


def _holds_half(content: bytes) -> bool:
    """Whether the one fault of some JSON is an escaped half of a pair, which msgspec calls cut."""
    if b"\\ud" not in content.lower():
        return False
    try:
        json.loads(content)
    except UNREADABLE:
        return False
    return True


def encode_json(value: object) -> bytes:
    """`value` as JSON; half a surrogate pair becomes `?`, because nothing else can be written."""
    try:
        return _JSON.encode(value)
    except UnicodeEncodeError:
        return _JSON.encode(_mended(value))


def _mended(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_mended(key): _mended(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_mended(inner) for inner in value]
        case _:
            return value


def _plain(value: object) -> object:
    """What msgspec does not know: values of numpy and pandas, mappings, subclasses of text."""
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    for method in ("tolist", "isoformat"):
        if convert := getattr(value, method, None):
            return convert()
    raise TypeError(f"a value is of type {type(value).__name__!r}")


_JSON = msgspec.json.Encoder(enc_hook=_plain)
_ROWS = msgspec.json.Decoder(list[dict[str, Any]])
_ROW = msgspec.json.Decoder(dict[str, Any])
