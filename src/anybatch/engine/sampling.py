"""A part of a large table that stands for all of it, and how many of its rows differ."""

import random
from collections.abc import Callable, Iterable, Sequence
from math import exp, log
from zlib import crc32

import msgspec

from ..core.model import Row

SAMPLE = 10_000
SAMPLED_FROM = 100_000
"""From about so many rows on only a sample of them is counted, unless all are asked for,"""
SAMPLED_FROM_BYTES = 64_000_000
"""or from so many bytes of requests on."""
_FEWEST = 1_000
"""A sample has so many at least, however long they are."""


_CHANCE = 3.0
"""Standard errors that something has to differ by."""


class Sample:
    """Some of many bodies, each with the same chance; all of them if they are not many."""

    def __init__(
        self, *, size: int = SAMPLE, most: int = SAMPLED_FROM, most_bytes: int = SAMPLED_FROM_BYTES
    ) -> None:
        self.kept: list[bytes] = []
        self.seen = 0
        self._size = size
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._chance = random.Random(0)  # the same table gives the same figures
        self._is_thinned = False
        self._next = 0
        self._weight = 1.0

    def takes_all(self) -> bool:
        """Whether all of what comes next is wanted."""
        if not self._is_thinned and self._is_full():
            self._thin()
        return not self._is_thinned

    def wanted(self, count: int) -> Sequence[int]:
        """Of the next `count` rows, the places of those whose bodies are to be added."""
        takes_all, start = self.takes_all(), self.seen
        self.seen += count
        if takes_all:
            return range(count)
        places = []
        while self._next < self.seen:
            places.append(self._next - start)
            self._skip(self._next + 1)
        return places

    def add(self, bodies: Iterable[bytes]) -> None:
        """Those that were wanted."""
        for body in bodies:
            if self._is_thinned:
                self.kept[self._chance.randrange(len(self.kept))] = body
            else:
                self.kept.append(body)
                self._bytes += len(body)

    def _is_full(self) -> bool:
        kept = len(self.kept)
        return kept >= self._most or (kept >= 2 * _FEWEST and self._bytes >= self._most_bytes)

    def _thin(self) -> None:
        size = min(self._size, max(_FEWEST, len(self.kept) // 2))
        self._weight = size / len(self.kept)
        self.kept = self._chance.sample(self.kept, size)
        self._is_thinned = True
        self._skip(self.seen)

    def _skip(self, place: int) -> None:
        """Find the next to be taken, from `place` on (Li 1994, algorithm L)."""
        self._weight *= exp(log(self._chance.random()) / len(self.kept))
        self._next = place + int(log(self._chance.random()) / log(1 - self._weight))


class Distinct:
    """How many different requests rows make: exact up to a number, and within 1 % beyond.

    It goes by what a row's request follows from, so that none has to be made for that.
    """

    _MOST = 1 << 17
    _ALL = 1 << 64
    _SCATTER = 0x9E3779B97F4A7C15
    """Odd: what is multiplied by it stays different; what was close together no longer is."""

    def __init__(self, values: Callable[[Sequence[Row]], Iterable[object]]) -> None:
        self._values = values
        self._encode = msgspec.json.Encoder().encode
        self._marks: set[int] = set()
        self._below = self._ALL
        """Only marks below it are kept: whose those are is chance, but the same for equal rows."""
        self._seen = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Raises KeyError, adding none, if one of them lacks a column."""
        scatter, most, below = self._SCATTER, self._ALL - 1, self._below
        digests = map(crc32, map(self._encode, self._values(rows)))
        marks = [mark for each in digests if (mark := each * scatter & most) < below]
        self._marks.update(marks)
        self._seen += len(rows)
        while len(self._marks) > self._MOST:
            self._below //= 2
            self._marks = {mark for mark in self._marks if mark < self._below}

    @property
    def share(self) -> float:
        """Of all rows, those whose request differs from all before them."""
        if self._below == self._ALL:
            return len(self._marks) / max(1, self._seen)
        share = len(self._marks) * (self._ALL / self._below) / self._seen
        # What may be chance is not called a repetition.
        return 1.0 if share > 1 - _CHANCE / len(self._marks) ** 0.5 else share
