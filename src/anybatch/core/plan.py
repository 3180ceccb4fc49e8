"""Cutting a run into batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one batch may hold."""

    max_requests: int
    max_bytes: int | None = None
    """Of the requests as they are sent, newlines included; None: no limit."""


def cut(lengths: Iterable[int], limits: Limits) -> Iterator[int]:
    """Yield the sizes of the fewest in-order slices that each fit `limits`.

    `lengths` are bytes per request. A request that is too long alone gets a slice of its own.
    """
    size = used = 0
    for length in lengths:
        full = size == limits.max_requests
        if limits.max_bytes is not None and used + length > limits.max_bytes:
            full = True
        if full and size:
            yield size
            size = used = 0
        size += 1
        used += length
    if size:
        yield size
