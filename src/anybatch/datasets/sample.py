"""Some rows of a dataset by chance, as a dataset of its own."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from heapq import nsmallest
from itertools import chain
from operator import itemgetter

import msgspec

from ..core.model import Row
from .rows import Chunks, OnBadRow, Source, chunked

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows of a dataset, in its order."""

    source: Source
    """The rows alone. Where they are all there are, it is the dataset itself to whoever asks: a run
    of it is the run that it would be without a sample."""
    numbers: tuple[int, ...]
    """The place of each among the good rows of the dataset, 0-based."""
    of: int
    """So many good rows it has."""


def sample(source: Source, size: int, *, seed: int, on_bad_row: OnBadRow) -> Sample:
    """`size` rows of `source`, each with the same chance; all of it, if it has no more.

    The same seed gives the same rows. A larger sample has all rows of a smaller one. Reads all of
    the source once, and keeps the sample in memory.
    """
    count = 0
    bad: list[tuple[int, str]] = []

    def note(number: int, why: str) -> None:
        on_bad_row(number, why)
        bad.append((number, why))

    def lots() -> Iterator[tuple[float, int, Row]]:
        nonlocal count
        chance = random.Random(seed)
        for row in chain.from_iterable(source.read(note)):
            yield chance.random(), count, row
            count += 1

    drawn = sorted(nsmallest(size, lots(), key=itemgetter(0, 1)), key=itemgetter(1))
    numbers = tuple(number for _, number, _ in drawn)
    rows = [row for _, _, row in drawn]
    held = _all(source, rows, bad) if len(rows) == count else _some(source, rows)
    return Sample(source=held, numbers=numbers, of=count)


def _all(source: Source, rows: list[Row], bad: list[tuple[int, str]]) -> Source:
    """`source`, read already."""

    def read(on_bad_row: OnBadRow) -> Chunks:
        for number, why in bad:
            on_bad_row(number, why)
        return chunked(rows)

    return replace(source, read=read)


def _some(source: Source, rows: list[Row]) -> Source:
    """`rows` of `source`, as a dataset that can be read any number of times."""
    digest = blake2b(b"\n".join(map(_ENCODER.encode, rows)), digest_size=16).hexdigest()
    return Source(
        name=f"{source.name} ({len(rows):,} rows by chance)",
        read=lambda on_bad_row: chunked(rows),
        digest=lambda: digest,
        requests=source.requests,
    )
