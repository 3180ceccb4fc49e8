"""The append-only results of a batch.

Every owner of a batch writes a segment of its own, named by its lease token. So an owner that lost
its lease while it slept can go on writing and harm nobody: nobody reads beyond what was committed
under that token. A result counts only when the database says how long its segment is, and is given
out only if the segment still has the checksum that was committed with its length.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ..core.model import Segment
from ..effects import Probe, effect
from ..wire.jsonl import lines
from .files import checksum, chunks, committed, damaged, fsync_folder, unwritable, write_all


def segment_path(folder: Path, batch_id: str, token: int) -> Path:
    return folder / f"{batch_id}.{token}.jsonl"


class SegmentWriter:
    """Appends to one segment. The file appears with its first line."""

    def __init__(self, path: Path, *, probe: Probe) -> None:
        self._path = path
        self._probe = probe
        self._descriptor: int | None = None
        self.size = 0
        self.crc = 0
        """CRC-32 of the `size` bytes so far."""

    def append(self, content: bytes) -> int:
        """Append whole lines and make them durable; the segment's new length in bytes."""
        descriptor = self._open()
        with effect("journal.write", self._probe), unwritable(self._path):
            write_all(descriptor, content)
        with effect("journal.fsync", self._probe), unwritable(self._path):
            os.fdatasync(descriptor)
        self.size += len(content)
        self.crc = zlib.crc32(content, self.crc)
        return self.size

    def _open(self) -> int:
        if self._descriptor is None:
            with effect("journal.create", self._probe), unwritable(self._path):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
                self._descriptor = os.open(self._path, flags, 0o600)
            fsync_folder(self._path.parent, probe=self._probe)
        return self._descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def committed_lines(
    folder: Path, batch_id: str, segments: Sequence[Segment]
) -> Iterator[tuple[int, int, bytes]]:
    """(token, offset, line) of every committed result of a batch, oldest first.

    Raises StoreCorrupt before the first line of a segment that is not as it was committed: whoever
    reads a line may trust it.
    """
    for segment in segments:
        offset = 0
        path = segment_path(folder, batch_id, segment.token)
        with committed(path), open(path, "rb") as file:
            _check(file, path, segment)
            for line in lines(file, size=segment.size):
                yield segment.token, offset, line
                offset += len(line) + 1
        if offset != segment.size:
            raise damaged(path, "is cut in the middle of a committed result")


def lines_behind(path: Path, size: int) -> int:
    """How many whole lines a segment has behind its first `size` bytes; 0 if it is not there."""
    if not path.exists():
        return 0
    with committed(path), open(path, "rb") as file:
        file.seek(size)
        rest = os.fstat(file.fileno()).st_size - size
        return sum(chunk.count(b"\n") for chunk in chunks(file, size=rest))


def _check(file: BinaryIO, path: Path, segment: Segment) -> None:
    """Raise StoreCorrupt if committed bytes are missing or changed; `file` is at its start then.

    Read once more for that: a checksum at the end would come after the damaged line.
    """
    if os.fstat(file.fileno()).st_size < segment.size:
        raise damaged(path, "lost results that were committed")
    if checksum(file, size=segment.size) != segment.crc:
        raise damaged(path, "does not match its checksum: results in it were changed")
    file.seek(0)
