"""Rows from JSON Lines, one object a line; and ready-made requests in OpenAI's batch format.

Lines end at the byte `\\n` only: U+2028 and U+0085 are legal inside JSON.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import msgspec

from ..core.model import Row
from . import streams
from .rows import UNREADABLE, Chunks, OnBadRow, chunked, why_unreadable
from .streams import Stream

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def read_jsonl(stream: Stream, on_bad_row: OnBadRow) -> Chunks:
    with streams.readable(stream.name), streams.open_utf8(stream) as lines:
        yield from chunked(_objects(lines, _decode, on_bad_row))


def _objects(
    lines: Iterable[bytes], decode: Callable[[bytes], Row], on_bad_row: OnBadRow
) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        # Files that were joined have a mark wherever one of them begins.
        line = line.removeprefix(codecs.BOM_UTF8)
        try:
            yield decode(line)
        except UNREADABLE as error:
            if line.strip():
                on_bad_row(number, why_unreadable(error, line))


class RawLine(NamedTuple):
    """A line as it stands in its file, whatever is on it."""

    number: int
    content: bytes
    """Without its line end; cut off where it was too long to be read."""
    size: int
    """In bytes, with its line end."""


def raw_lines(file: BinaryIO, *, most: int) -> Iterator[RawLine]:
    """The lines of `file` that have something on them; of one that is longer, its beginning.

    So no line takes more than `most` bytes of memory.
    """
    number = 0
    while content := file.readline(most):
        number += 1
        size = len(content)
        while not content.endswith(b"\n") and (rest := file.readline(streams.BLOCK_BYTES)):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        if content.strip():
            yield RawLine(number, content.rstrip(b"\r\n"), size)


class _Line(msgspec.Struct):
    custom_id: str
    url: str
    body: dict[str, Any]
    method: str = "POST"


_decode_line = msgspec.json.Decoder(_Line).decode


def holds_requests(head: bytes) -> bool:
    """True when the first line is a request in OpenAI's batch format, or means to be one."""
    first, end, _ = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
    if not end and len(head) >= streams.HEAD_BYTES:
        return first.startswith(b"{") and b'"custom_id"' in first and b'"body"' in first
    try:
        return {"custom_id", "url", "body"} <= _decode(first).keys()
    except UNREADABLE:
        return False


def read_requests(stream: Stream, on_bad_row: OnBadRow) -> Chunks:
    """Rows of `custom_id`, `method`, `url` and `body`; an id that comes twice is a bad row."""
    seen: set[str] = set()
    with streams.readable(stream.name), streams.open_utf8(stream) as lines:
        yield from chunked(_objects(lines, partial(_request, seen=seen), on_bad_row))


def _request(line: bytes, *, seen: set[str]) -> Row:
    request = _decode_line(line)
    if request.custom_id in seen:
        raise ValueError(f"custom_id {request.custom_id!r} was used before")
    seen.add(request.custom_id)
    return {
        "custom_id": request.custom_id,
        "method": request.method,
        "url": request.url,
        "body": request.body,
    }
