"""Bytes that can be opened: a file, a gzipped file, stdin."""

import codecs
import gzip
import hashlib
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import BadInput

HEAD_BYTES = 64 * 1024
BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    name: str
    open: Callable[[], BinaryIO]
    head: bytes
    """The first `HEAD_BYTES`: what format, dialect and encoding are found from."""
    repeatable: bool
    """False for stdin, which can be opened once."""


def from_path(path: Path, *, name: str) -> Stream:
    def opened() -> BinaryIO:
        if path.suffix.lower() == ".gz":
            return cast(BinaryIO, gzip.open(path))
        return path.open("rb")

    with readable(name), opened() as file:
        head = file.read(HEAD_BYTES)
    return Stream(name=name, open=opened, head=head, repeatable=True)


def from_stdin() -> Stream:
    stdin = sys.stdin.buffer
    head = stdin.read(HEAD_BYTES)

    def opened() -> BinaryIO:
        return io.BufferedReader(_Blocks(_stdin_blocks(head, stdin)), BLOCK_BYTES)

    return Stream(name="stdin", open=opened, head=head, repeatable=False)


def _stdin_blocks(head: bytes, rest: BinaryIO) -> Iterator[bytes]:
    yield head
    yield from blocks(rest)


def blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what the disk or a decompressor says about `name` into one line for its owner."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput(f"{name!r} does not exist. Check the path.") from error
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInput(f"{name!r} cannot be read: {why}. Check the file.") from error


def open_utf8(stream: Stream) -> BinaryIO:
    """The bytes of a JSON file as UTF-8 without a byte order mark."""
    encoding = marked(stream.head)
    file = stream.open()
    if encoding is None:
        return file
    return io.BufferedReader(_Blocks(_transcoded(file, encoding), closes=file), BLOCK_BYTES)


def _transcoded(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    # Bytes that are wrong stay wrong, so that they make bad rows and do not end the reading.
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    for block in blocks(file):
        yield decoder.decode(block).encode("utf-8", "surrogatepass")


_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 stands before UTF-16, whose little-endian mark it begins with."""


def marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


class _Blocks(io.RawIOBase):
    """An iterator of blocks, as a file to read from."""

    def __init__(self, blocks: Iterator[bytes], *, closes: BinaryIO | None = None) -> None:
        self._blocks = blocks
        self._closes = closes
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if self._closes:
            self._closes.close()
        super().close()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
