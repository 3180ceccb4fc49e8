"""The requests of a run: one immutable file of bodies, and an index of 20 bytes a request.

The index lets any subset be read by `pread`, in any order, with constant memory. It has a checksum
for each body, so that no damaged one is sent, and no other in its place.
"""

import struct
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate, count, islice
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

from ..core.model import Request
from ..core.template import Rendered
from ..effects import Probe
from .files import NewFile, ReadFile, damaged, fsync_folder

ENTRY = struct.Struct("<QIII")
"""Offset and length in bytes of the body; CRC-32 of the text its prefix is known by; CRC-32 of the
body, started from the request's number so that no two requests can change places."""

Entry = tuple[int, int, int, int]

_FLUSH_AT = 1 << 20
_SPAN = 1024
"""So much of the index is read at once."""
_SKIPPED = 64
"""So many entries of it are rather read than left out."""
_SAMPLED_BLOCKS = 64
_SHARING = 0.95
"""Sorting is worth it when fewer than this share of the prefixes are different."""


class RequestWriter:
    """Writes the requests file and its index, in order, once; leaving it closes both."""

    def __init__(
        self, folder: Path, *, probe: Probe, hashed: Callable[[bytes], int] | None = None
    ) -> None:
        self._folder = folder
        self._probe = probe
        self._hashed = hashed
        self.hashes = array("q")
        """What each body was `hashed` to, if that was asked for."""
        with ExitStack() as opened:
            self._bodies = opened.enter_context(self._new("requests.jsonl", name="requests"))
            self._index = opened.enter_context(self._new("requests.index", name="index"))
            self._opened = opened.pop_all()
        self._lines: list[bytes] = []
        self._entries = bytearray()
        self._offset = self._flushed = 0
        self.count = 0

    def _new(self, file: str, *, name: str) -> NewFile:
        return NewFile(self._folder / file, name=name, probe=self._probe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._opened.close()

    def add(self, requests: Sequence[Rendered]) -> None:
        """Append these requests; each one's number is how many came before it."""
        bodies = [request.body for request in requests]
        lengths = list(map(len, bodies))
        *offsets, end = accumulate((length + 1 for length in lengths), initial=self._offset)
        prefixes = [request.prefix for request in requests]
        checksums = map(crc32, bodies, count(self.count))
        if self._hashed is not None:
            self.hashes.extend(map(self._hashed, bodies))
        self._entries += b"".join(map(ENTRY.pack, offsets, lengths, prefixes, checksums))
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
        with ExitStack() as opened:
            self._index = opened.enter_context(ReadFile(folder / "requests.index"))
            self._bodies = opened.enter_context(ReadFile(folder / "requests.jsonl"))
            self.count, rest = divmod(self._index.size, ENTRY.size)
            if rest or self._end() != self._bodies.size:
                raise damaged(self._bodies.path, "and its index do not end at the same request")
            self._opened = opened.pop_all()

    def _end(self) -> int:
        """Where the bodies end by the index."""
        for offset, length, *_ in self.entries(self.count - 1, 1) if self.count else ():
            return offset + length + 1
        return 0

    @property
    def size(self) -> int:
        """Bytes of all of them together."""
        return self._bodies.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def entries(self, first: int = 0, size: int | None = None) -> Iterator[Entry]:
        """(offset, length, prefix, checksum) of `size` requests from `first` on."""
        end = self.count if size is None else first + size
        for start in range(first, end, _SPAN):
            wanted = min(_SPAN, end - start) * ENTRY.size
            yield from ENTRY.iter_unpack(self._index.read(start * ENTRY.size, wanted))

    def read(self, numbers: Iterable[int]) -> Iterator[Request]:
        """The requests with these numbers, in that order.

        Raises StoreCorrupt for one that is not as it was written.
        """
        for near in _near(numbers):
            for n, body, _ in self._read_near(near):
                yield Request(n=n, body=body)

    def rendered(self, numbers: Iterable[int]) -> Iterator[Rendered]:
        """The same as they were added."""
        for near in _near(numbers):
            for _, body, prefix in self._read_near(near):
                yield Rendered(body, prefix)

    def _read_near(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes, int]]:
        first = numbers[0]
        entries = list(self.entries(first, numbers[-1] - first + 1))
        wanted = [entries[n - first] for n in numbers]
        bodies = self._bodies.pieces([(offset, length) for offset, length, _, _ in wanted])
        for n, body, (_, _, prefix, checksum) in zip(numbers, bodies, wanted, strict=True):
            if crc32(body, n) != checksum:
                raise damaged(self._bodies.path, f"or its index is damaged at request {n}")
            yield n, body, prefix

    @property
    def mean_length(self) -> float:
        """Bytes of a body."""
        return self._bodies.size / max(1, self.count) - 1

    def prefix(self, n: int) -> int:
        """The CRC-32 of the text that the prefix of request `n` is known by."""
        ((_, _, prefix, _),) = self.entries(n, 1)
        return prefix

    def shares_prefixes(self) -> bool:
        """Whether sorting by prefix would bring enough requests together to be worth it.

        Judged on a sample: all requests of a small run, evenly spread blocks of a large one.
        """
        blocks = range(0, self.count, max(1, self.count // _SAMPLED_BLOCKS, _SPAN))
        sample = [
            prefix
            for first in blocks
            for _, _, prefix, _ in self.entries(first, min(_SPAN, self.count - first))
        ]
        return len(set(sample)) < _SHARING * len(sample)

    def prefix_order(self, *, in_flight: int = 1) -> Iterator[int]:
        """All numbers, those that share a prefix together and in order.

        With more `in_flight` at once than one, twice as many prefixes take turns: so none is asked
        for again before the first answer to it has shown what there is to keep.
        """
        groups = self.prefix_groups()
        if in_flight == 1:
            return (n for group in groups for n in group)
        return _in_turns(groups, 2 * in_flight)

    def prefix_groups(self) -> "Iterator[array[int]]":
        """The numbers of those that share a prefix, in order, for each prefix.

        A radix pass keeps this at a few bytes a request, however many share one.
        """
        buckets = [bytearray() for _ in range(256)]
        pack = _PLACE.pack
        for n, (_, _, prefix, _) in enumerate(self.entries()):
            buckets[prefix & 0xFF] += pack(prefix, n)
        return (group for bucket in buckets for group in _groups(bucket))


def _in_turns(groups: "Iterator[array[int]]", width: int) -> Iterator[int]:
    """One of each of so many groups in turn; where one is over, the next group has its turns."""
    turns = deque(map(iter, islice(groups, width)))
    while turns:
        group = turns.popleft()
        n = next(group, None)
        if n is not None:
            yield n
            turns.append(group)
        else:
            turns.extend(map(iter, islice(groups, 1)))


_PLACE = struct.Struct("<II")
"""A prefix, and the number of a request that has it."""


def _groups(bucket: bytearray) -> "Iterable[array[int]]":
    groups: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
    for prefix, n in _PLACE.iter_unpack(bucket):
        groups[prefix].append(n)
    return groups.values()


def _near(numbers: Iterable[int]) -> Iterator[Sequence[int]]:
    """Cut `numbers` where the next one is not close behind, so that each part is one read."""
    near: list[int] = []
    for n in numbers:
        if near and not (near[-1] < n <= near[-1] + _SKIPPED and n - near[0] < _SPAN):
            yield near
            near = []
        near.append(n)
    if near:
        yield near
