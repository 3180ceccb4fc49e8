"""Rows from a JSON array, split into its elements while it is read, in constant memory."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from ..core.model import Row
from ..errors import BadInput
from . import streams
from .jsonlines import read_jsonl
from .rows import UNREADABLE, Chunks, OnBadRow, chunked, why_unreadable
from .streams import Stream

_SPACE = b" \t\r\n"
_OPEN = b"[{"
_COMMA, _QUOTE = b',"'
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_INSIDE = re.compile(rb'[^"\[\]{}]*+(?:%b[^"\[\]{}]*+)*+' % _STRING, re.DOTALL)
"""Everything up to the next bracket. It stops before a string whose end is not yet read."""
_OUTSIDE = re.compile(rb'[^"\[\]{},]*+(?:%b[^"\[\]{},]*+)*+' % _STRING, re.DOTALL)
"""The same between elements, where a comma counts."""
_LIST_KEY = re.compile(rb'"([^"\\]{1,80})"\s*:\s*\[')

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def read_json(stream: Stream, on_bad_row: OnBadRow) -> Chunks:
    """A JSON array of objects; or JSON Lines under the name `.json`, as many tools write it."""
    head = stream.head.decode(streams.marked(stream.head) or "utf-8", "ignore").lstrip()
    if head.startswith("["):
        return _read_array(stream, on_bad_row)
    if _is_lines(head):
        return read_jsonl(stream, on_bad_row)
    raise BadInput(_why_no_array(stream.name, head))


def _read_array(stream: Stream, on_bad_row: OnBadRow) -> Chunks:
    with streams.readable(stream.name), streams.open_utf8(stream) as file:
        yield from chunked(_objects(file, on_bad_row))


def _objects(file: BinaryIO, on_bad_row: OnBadRow) -> Iterator[Row]:
    number = 0
    try:
        for number, element in enumerate(split_array(file), start=1):
            try:
                yield _decode(element)
            except UNREADABLE as error:
                on_bad_row(number, why_unreadable(error, element))
    except EOFError as error:
        on_bad_row(number + 1, str(error))


def _is_lines(head: str) -> bool:
    first, _, rest = head.partition("\n")
    try:
        _decode(first)
    except UNREADABLE:
        return False
    return rest.lstrip().startswith("{")


def _why_no_array(name: str, head: str) -> str:
    if not head.startswith("{"):
        return f"{name!r} is not a JSON array of objects. Check the file."
    key = _LIST_KEY.search(head.encode())
    where = f".{key[1].decode()}" if key else ".rows"
    return (
        f"{name!r} holds one JSON object, and rows must be a list. "
        f"If they are inside it, take them out: jq '{where}' (or name the file .jsonl)."
    )


def split_array(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of each element of the array in `file`.

    Raises EOFError where the file ends before the array, or goes on after it.
    """
    buffer, start, position, depth = _after_bracket(file), 0, 0, 0
    first = True
    while True:
        position = (_INSIDE if depth else _OUTSIDE).match(buffer, position).end()  # type: ignore[union-attr]
        if position == len(buffer) or buffer[position] == _QUOTE:
            buffer, position, start = _more(file, buffer[start:]), position - start, 0
            continue
        mark, position = buffer[position], position + 1
        if depth or mark in _OPEN:
            depth += 1 if mark in _OPEN else -1
            continue
        element = buffer[start : position - 1].strip(_SPACE)
        if element or mark == _COMMA or not first:
            yield element
        if mark != _COMMA:
            return _expect_end(buffer[position:] + file.read(streams.BLOCK_BYTES))
        start, first = position, False


def _after_bracket(file: BinaryIO) -> bytes:
    """What follows the `[` that `file` is known to begin with."""
    return file.read(streams.HEAD_BYTES).lstrip(_SPACE)[1:]


def _more(file: BinaryIO, pending: bytes) -> bytes:
    # An element longer than a block is read in ever larger steps, so that it is scanned few times.
    more = file.read(max(streams.BLOCK_BYTES, len(pending)))
    if not more:
        raise EOFError("the file ends before its list is closed")
    return pending + more


def _expect_end(rest: bytes) -> None:
    if rest.strip(_SPACE):
        raise EOFError("the file goes on after its list is closed")
