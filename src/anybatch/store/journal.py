"""The append-only results of a batch.

Every owner of a batch writes a segment of its own, named by its lease token. So an owner that lost
its lease while it slept can go on writing and harm nobody: nobody reads beyond what was committed
under that token. A result counts only when the database says how long its segment is.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core.model import Segment
from ..effects import Probe, effect
from ..errors import StoreCorrupt
from ..wire.jsonl import lines
from .files import committed, fsync_folder, unwritable, write_all


def segment_path(folder: Path, batch_id: str, token: int) -> Path:
    return folder / f"{batch_id}.{token}.jsonl"


class SegmentWriter:
    """Appends to one segment. The file appears with its first line."""

    def __init__(self, path: Path, *, probe: Probe) -> None:
        self._path = path
        self._probe = probe
        self._descriptor: int | None = None
        self.size = 0

    def append(self, content: bytes) -> int:
        """Append whole lines and make them durable; the segment's new length in bytes."""
        descriptor = self._open()
        with effect("journal.write", self._probe), unwritable(self._path):
            write_all(descriptor, content)
        with effect("journal.fsync", self._probe), unwritable(self._path):
            os.fdatasync(descriptor)
        self.size += len(content)
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

    Raises StoreCorrupt when a segment is gone or shorter than what was committed of it.
    """
    for segment in segments:
        offset = 0
        path = segment_path(folder, batch_id, segment.token)
        with committed(path), open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < segment.size:
                raise StoreCorrupt(f"{file.name!r} lost results that were committed")
            for line in lines(file, size=segment.size):
                yield segment.token, offset, line
                offset += len(line) + 1
        if offset != segment.size:
            raise StoreCorrupt(f"{file.name!r} is cut in the middle of a committed result")
