"""Bytes that can be opened: a file, a gzipped file, a pipe, stdin."""

import codecs
import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
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
    sample: Callable[[int], bytes]
    """The first so many bytes, where the head is not enough."""
    repeatable: bool
    """False for stdin and other pipes, which can be opened once."""


def _opened(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path))
    return path.open("rb")


def from_path(path: Path, *, name: str) -> Stream:
    opened = partial(_opened, path)

    def sample(size: int) -> bytes:
        with readable(name), opened() as file:
            return file.read(size)

    return Stream(name=name, open=opened, head=sample(HEAD_BYTES), sample=sample, repeatable=True)


def from_stdin() -> Stream:
    return _read_once(sys.stdin.buffer, name="stdin", closes=None)


def from_pipe(path: Path, *, name: str) -> Stream:
    """What is no file, such as the `<(command)` of a shell."""
    with readable(name):
        file = _opened(path)
    return _read_once(file, name=name, closes=file)


def _read_once(file: BinaryIO, *, name: str, closes: BinaryIO | None) -> Stream:
    """`closes` is closed together with what is opened."""
    held = bytearray()

    def sample(size: int) -> bytes:
        with readable(name):
            held.extend(file.read(max(0, size - len(held))))
        return bytes(held)

    def opened() -> BinaryIO:
        content = chain((bytes(held),), blocks(file))
        return io.BufferedReader(_Blocks(content, closes=closes), BLOCK_BYTES)

    return Stream(name=name, open=opened, head=sample(HEAD_BYTES), sample=sample, repeatable=False)


def blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def as_text(path: str) -> str:
    """A path as it can be stored: bytes in it that are no UTF-8 become `\\udc80` and the like."""
    return path.encode("utf-8", "backslashreplace").decode()


def digest_file(path: Path, *, read_as: str = "") -> str:
    """BLAKE2b of the bytes and of how they are read, for the same bytes may make other rows."""
    with readable(str(path)), path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
    digest.update(b"\0" + read_as.encode())
    return digest.hexdigest()


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what the disk or a decompressor says about `name` into one line for its owner."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput(f"{name!r} does not exist. Check the path.") from error
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{name!r} was taken for {error.encoding!r} text, but holds the byte "
            f"0x{error.object[error.start]:02x}. Save it as UTF-8 and try again."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
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
    # What is wrong stays wrong, so that it makes bad rows and does not end the reading.
    keep = "surrogateescape" if encoding == "utf-8-sig" else "surrogatepass"
    decoder = codecs.getincrementaldecoder(encoding)(keep)
    for block in chain(blocks(file), (b"",)):
        yield decoder.decode(block, final=not block).encode("utf-8", "surrogatepass")


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
