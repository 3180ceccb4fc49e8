"""The requests of a run: one immutable file of bodies, and an index of 16 bytes a request.

The index lets any subset be read by `pread`, in any order, with constant memory.
"""

import os
import struct
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from ..core.model import Request
from ..core.plan import Limits, cut
from ..core.template import Rendered
from ..effects import Probe
from ..errors import StoreCorrupt
from .files import NewFile, committed, fsync_folder

ENTRY = struct.Struct("<QII")
"""Offset and length in bytes of the body, CRC-32 of the text its prefix is known by."""

_FLUSH_AT = 1 << 20
_SPAN = 1024
_SAMPLED_BLOCKS = 64
_SHARING = 0.95
"""Sorting is worth it when fewer than this share of the prefixes are different."""
_BLOCK = Limits(max_requests=_SPAN, max_bytes=1 << 20)
"""What is read at once."""


class RequestWriter:
    """Writes the requests file and its index, in order, once; leaving it closes both."""

    def __init__(self, folder: Path, *, probe: Probe) -> None:
        self._folder = folder
        self._probe = probe
        self._open = ExitStack()
        self._bodies = self._create("requests.jsonl", name="requests")
        self._index = self._create("requests.index", name="index")
        self._lines: list[bytes] = []
        self._entries = bytearray()
        self._offset = self._flushed = 0
        self.count = 0

    def _create(self, file: str, *, name: str) -> NewFile:
        return self._open.enter_context(NewFile(self._folder / file, name=name, probe=self._probe))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, requests: Sequence[Rendered]) -> None:
        """Append these requests; each one's number is how many came before it."""
        bodies = [request.body for request in requests]
        lengths = list(map(len, bodies))
        *offsets, end = accumulate((length + 1 for length in lengths), initial=self._offset)
        entries = array("Q", bytes(ENTRY.size * len(requests)))
        entries[::2] = array("Q", offsets)
        entries[1::2] = array(
            "Q", [length | r.prefix << 32 for length, r in zip(lengths, requests, strict=True)]
        )
        self._entries += entries.tobytes()
        self._lines += bodies
        self._offset = end
        self.count += len(requests)
        if self._offset - self._flushed >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        if not self._lines:
            return
        self._bodies.write(b"\n".join(self._lines) + b"\n")
        self._index.write(self._entries)
        self._lines.clear()
        self._entries.clear()
        self._flushed = self._offset

    def finish(self) -> None:
        """Make everything durable."""
        self._flush()
        self._bodies.sync()
        self._index.sync()
        fsync_folder(self._folder, probe=self._probe)


class RequestFile:
    """Reads requests by number."""

    def __init__(self, folder: Path) -> None:
        with committed(folder / "requests.index"):
            self._index = os.open(folder / "requests.index", os.O_RDONLY)
        try:
            with committed(folder / "requests.jsonl"):
                self._bodies = os.open(folder / "requests.jsonl", os.O_RDONLY)
        except BaseException:
            os.close(self._index)
            raise
        self.count = os.fstat(self._index).st_size // ENTRY.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._bodies)
        os.close(self._index)

    def entries(self, first: int = 0, size: int | None = None) -> Iterator[tuple[int, int, int]]:
        """(offset, length, prefix) of `size` requests from `first` on."""
        end = self.count if size is None else first + size
        for start in range(first, end, _SPAN):
            wanted = min(_SPAN, end - start) * ENTRY.size
            yield from ENTRY.iter_unpack(_pread(self._index, wanted, start * ENTRY.size))

    def read(self, numbers: Iterable[int]) -> Iterator[Request]:
        """The requests with these numbers, in that order."""
        for run in _consecutive(numbers):
            yield from self._read_run(run)

    def _read_run(self, numbers: Sequence[int]) -> Iterator[Request]:
        entries = list(self.entries(numbers[0], len(numbers)))
        done = 0
        for size in cut((length + 1 for _, length, _ in entries), _BLOCK):
            block = entries[done : done + size]
            yield from self._read_block(numbers[done], block)
            done += size

    def _read_block(self, first: int, entries: Sequence[tuple[int, int, int]]) -> Iterator[Request]:
        start = entries[0][0]
        block = _pread(self._bodies, entries[-1][0] + entries[-1][1] - start, start)
        for n, (offset, length, _) in enumerate(entries, first):
            yield Request(n=n, body=block[offset - start : offset - start + length])

    def shares_prefixes(self) -> bool:
        """Whether sorting by prefix would bring enough requests together to be worth it.

        Judged on a sample: all requests of a small run, evenly spread blocks of a large one.
        """
        blocks = range(0, self.count, max(1, self.count // _SAMPLED_BLOCKS, _SPAN))
        sample = [
            prefix
            for first in blocks
            for _, _, prefix in self.entries(first, min(_SPAN, self.count - first))
        ]
        return len(set(sample)) < _SHARING * len(sample)

    def prefix_order(self) -> Iterator[int]:
        """All numbers, those that share a prefix together and in order.

        A radix pass keeps this at a few bytes a request, however many share one.
        """
        buckets = [bytearray() for _ in range(256)]
        pack = _PLACE.pack
        for n, (_, _, prefix) in enumerate(self.entries()):
            buckets[prefix & 0xFF] += pack(prefix, n)
        return (n for bucket in buckets for group in _groups(bucket) for n in group)


_PLACE = struct.Struct("<II")
"""A prefix, and the number of a request that has it."""


def _groups(bucket: bytearray) -> "Iterable[array[int]]":
    groups: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
    for prefix, n in _PLACE.iter_unpack(bucket):
        groups[prefix].append(n)
    return groups.values()


def _consecutive(numbers: Iterable[int]) -> Iterator[Sequence[int]]:
    """Cut `numbers` into runs without gaps, of at most `_SPAN`, so that each is one read."""
    first = last = None
    for n in numbers:
        if first is not None and last is not None:
            if n == last + 1 and n - first < _SPAN:
                last = n
                continue
            yield range(first, last + 1)
        first = last = n
    if first is not None and last is not None:
        yield range(first, last + 1)


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    content = os.pread(descriptor, length, offset)
    if len(content) != length:
        raise StoreCorrupt(f"a requests file ends at byte {offset + len(content)}, too early")
    return content
