"""Cutting a run into batches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .model import ExecutorName


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one batch may hold."""

    max_requests: int
    max_bytes: int | None = None
    """Of the requests as they are sent, newlines included; None: no limit."""
    overhead: int = 0
    """So many bytes the wire adds to a body at most."""
    distinct_sizes: bool = False
    """Whether no two batches of a run should hold as many: where that is all they are known by."""


LimitsOf = Callable[[ExecutorName], Limits]
"""What a batch may hold that is answered this way."""


def no_batches(executor: ExecutorName) -> Limits:
    """For a run of which no batch will be cut any more."""
    return Limits(max_requests=1)


def cut(lengths: Iterable[int], limits: Limits, *, taken: Iterable[int] = ()) -> Iterator[int]:
    """Yield the sizes of the fewest in-order slices that each fit `limits`.

    `lengths` are bytes per request. A request that is too long alone gets a slice of its own. Where
    sizes have to be distinct, those `taken` belong to others.
    """
    taken = set(taken)
    held: list[int] = []
    used = 0
    for length in lengths:
        while held and _is_full(len(held), used + length, limits):
            size = _size(len(held), taken) if limits.distinct_sizes else len(held)
            yield size
            used -= sum(held[:size])
            del held[:size]
        held.append(length)
        used += length
    while held:
        size = _size(len(held), taken) if limits.distinct_sizes else len(held)
        yield size
        del held[:size]


def _is_full(size: int, bytes_with_next: int, limits: Limits) -> bool:
    """Whether a slice of this size cannot take the next request, too."""
    too_long = limits.max_bytes is not None and bytes_with_next > limits.max_bytes
    return too_long or size == limits.max_requests


def _size(most: int, taken: set[int]) -> int:
    """The largest size up to `most` that no slice has yet, and `most` if all are taken."""
    size = next((size for size in range(most, 0, -1) if size not in taken), most)
    taken.add(size)
    return size
