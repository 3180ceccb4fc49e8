"""Files of ready-made requests, read one request after another, whatever is wrong with them."""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..datasets import streams
from ..datasets.array import split_array
from ..datasets.jsonlines import RawLine, raw_lines
from ..datasets.streams import Stream

_BODY = re.compile(rb'\s*\{\s*"requests"\s*:\s*(?=\[)')
"""How a body begins that holds its requests in a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What lies in a file of requests."""

    unit: str
    """What its requests are numbered by: lines, or their places in a body."""
    encoding: str | None
    """What its byte order mark says; None: it has none."""
    requests: Iterator[RawLine]


def read_ready(stream: Stream, *, most: int, body: bool) -> Ready:
    """The requests in `stream`, of which none takes more than about `most` bytes of memory.

    With `body`, they may stand in the list of one body too; reading one may raise Broken.
    """
    encoding = streams.marked(stream.head)
    head = stream.head.removeprefix(codecs.BOM_UTF8)
    found = _BODY.match(head) if body else None
    if found is None:
        return Ready(unit="line", encoding=encoding, requests=_lines(stream, most))
    start = found.end() + len(stream.head) - len(head)
    return Ready(unit="request", encoding=encoding, requests=_elements(stream, start))


def _lines(stream: Stream, most: int) -> Iterator[RawLine]:
    with streams.readable(stream.name), stream.open() as file:
        for line in raw_lines(file, most=most):
            first = line.number == 1
            yield line._replace(content=_unmarked(line.content)) if first else line


def _unmarked(line: bytes) -> bytes:
    return line.removeprefix(codecs.BOM_UTF8)


def _elements(stream: Stream, start: int) -> Iterator[RawLine]:
    with streams.readable(stream.name), stream.open() as file:
        file.read(start)
        inside = _Inside(file)
        try:
            for number, element in enumerate(split_array(io.BufferedReader(inside)), start=1):
                yield RawLine(number, element, len(element) + 1)
        except EOFError as e:
            raise Broken(str(e)) from e
        if not inside.is_whole:
            raise Broken("the body ends before it is closed")


class Broken(Exception):
    """A body breaks off, or goes on where it should not; the message says which."""


class _Inside(io.RawIOBase):
    """The list at the end of a body: all but the brace that closes the body behind it."""

    def __init__(self, file: BinaryIO) -> None:
        self.is_whole = False
        """Whether there was such a brace, once all is read."""
        self._blocks = self._without_brace(file)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = block
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _without_brace(self, file: BinaryIO) -> Iterator[bytes]:
        held = b""
        for block in streams.blocks(file):
            # The brace may be followed by line ends, and they may fill a block of their own.
            if block.strip():
                yield held
                held = b""
            held += block
        held = held.rstrip()
        self.is_whole = held.endswith(b"}")
        yield held[:-1] if self.is_whole else held
