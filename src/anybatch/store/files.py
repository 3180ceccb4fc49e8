"""Writing files so that they are still there after the lights go out, and noticing damage."""

import errno
import fcntl
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ..effects import Probe, effect
from ..errors import StoreCorrupt, StoreUnwritable

_CHUNK = 1 << 20

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; make it writable",
    errno.EACCES: "we may not write there; change its permissions or choose another --store",
    errno.EPERM: "we may not write there; change its permissions or choose another --store",
    errno.EEXIST: "a file is in the way; move it or choose another --store",
    errno.ENOTDIR: "a file is in the way; move it or choose another --store",
    errno.EIO: "the disk reports an error; check it before going on",
}
_ELSEWHERE = "check that place or choose another --store"
"""The way out of what has none of its own."""


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a failed write into StoreUnwritable."""
    try:
        yield
    except OSError as e:
        raise StoreUnwritable(refusal(path, e)) from e


@contextmanager
def committed(path: Path) -> Iterator[None]:
    """Turn the absence of a file that the database knows of into StoreCorrupt."""
    try:
        yield
    except FileNotFoundError as e:
        raise damaged(path, "is gone") from e
    except OSError as e:
        raise damaged(path, f"cannot be read ({e.strerror or e})") from e


def damaged(path: Path, what: str) -> StoreCorrupt:
    """What is wrong with a file in the folder of a run, and the ways out."""
    return StoreCorrupt(
        f"{str(path)!r} {what}; restore it from a backup, or give its run up with "
        f"`anybatch rm {path.parent.name}` and type the command again"
    )


def chunks(file: BinaryIO, *, size: int) -> Iterator[bytes]:
    """The first `size` bytes of `file`, a piece at a time."""
    while size > 0 and (chunk := file.read(min(_CHUNK, size))):
        size -= len(chunk)
        yield chunk


def checksum(file: BinaryIO, *, size: int) -> int:
    """CRC-32 of the first `size` bytes of `file`."""
    crc = 0
    for chunk in chunks(file, size=size):
        crc = zlib.crc32(chunk, crc)
    return crc


_GAP = 4096
"""So many bytes between two pieces are rather read than left out."""


class ReadFile:
    """A file of which any part can be read. Raises StoreCorrupt for what is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with committed(path):
            self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes from `offset` on."""
        if offset + length > self.size:
            raise damaged(self.path, f"has no byte {offset + length - 1}: it or its index is cut")
        with committed(self.path):
            content = os.pread(self._descriptor, length, offset)
        if len(content) != length:
            raise damaged(self.path, f"ends at byte {offset + len(content)}, too early")
        return content

    def pieces(self, places: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """What lies at each (offset, length). Those close behind one another are one read."""
        done = 0
        for size in _close(places):
            start, end = places[done][0], sum(places[done + size - 1])
            block = self.read(start, end - start)
            for offset, length in places[done : done + size]:
                yield block[offset - start : offset - start + length]
            done += size


def _close(places: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Yield how many of the next places are worth one read."""
    size = start = end = 0
    for offset, length in places:
        if size and not (end <= offset <= end + _GAP and offset + length <= start + _CHUNK):
            yield size
            size = 0
        if not size:
            start = offset
        size += 1
        end = offset + length
    if size:
        yield size


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes and threads out of the same block until it is left."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def refusal(path: Path, e: OSError) -> str:
    """One line for a failed write: what, where, the way out."""
    said = e.strerror or str(e)
    reason = _REASONS.get(e.errno or 0, f"{said[:1].lower()}{said[1:]}; {_ELSEWHERE}")
    return f"cannot write {str(path)!r}: {reason}, then run the same command again"


def write_all(descriptor: int, content: bytes | bytearray) -> None:
    """`os.write` until everything is written: a full disk may take a part first."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


class NewFile:
    """A file that is written once, from its start to its end, and then made durable.

    Its effects are called `NAME.write` and `NAME.fsync`.
    """

    def __init__(self, path: Path, *, name: str, probe: Probe) -> None:
        self._path = path
        self._name = name
        self._probe = probe
        with unwritable(path):
            self._file = open(path, "xb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, content: bytes | bytearray) -> None:
        """Append `content`. Raises StoreUnwritable."""
        with effect(f"{self._name}.write", self._probe), unwritable(self._path):
            write_all(self._file.fileno(), content)

    def sync(self) -> None:
        """Make what was written durable. Raises StoreUnwritable."""
        fsync(self._file.fileno(), self._path, name=f"{self._name}.fsync", probe=self._probe)


def replace_whole(path: Path, content: bytes, *, name: str, probe: Probe) -> None:
    """Put `content` where `path` is, durably: whoever looks finds the old file or the new one.

    Raises StoreUnwritable.
    """
    beside = path.with_name(f"{path.name}.new")
    with unwritable(beside):
        beside.unlink(missing_ok=True)
    with NewFile(beside, name=name, probe=probe) as file:
        file.write(content)
        file.sync()
    with effect(f"{name}.rename", probe), unwritable(path):
        beside.replace(path)
    fsync_folder(path.parent, probe=probe)


def fsync(descriptor: int, path: Path, *, name: str, probe: Probe) -> None:
    """Make the file's content durable. A refusal is final: the kernel may have dropped pages."""
    with effect(name, probe), unwritable(path):
        os.fsync(descriptor)


def fsync_folder(folder: Path, *, probe: Probe) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fsync(descriptor, folder, name="folder.fsync", probe=probe)
    finally:
        os.close(descriptor)
