"""Rows that ask the same share one request: found, made one, and listed.

Where rows share requests, or earlier runs had their answers, the number of a row is not that of
its request. `rows.index` says which request each row asks: 4 bytes a row, then a checksum.
"""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count, islice
from pathlib import Path

from ..core.model import Run
from ..effects import Probe, effect
from .files import damaged, fsync_folder, unwritable
from .numbers import read_numbers, write_numbers
from .requests import RequestFile, RequestWriter

_FILE = "rows.index"
_MERGED = "merged"
"""The folder in which the requests are written anew."""
_AT_ONCE = 250_000
"""So many rows are compared with one another in one pass: 90 bytes each while it lasts."""
_COMPARED = 16_384
_COMPARED_BYTES = 8_000_000
"""So many bodies are held at once while others are compared with them: the more, the closer they
lie together."""
_WRITTEN = 256


def firsts(hashes: "array[int]", *, at_once: int = _AT_ONCE) -> "array[int] | None":
    """For each row, the first one with the same hash of its body; None: all of them differ.

    All work on a row is done by loops of the interpreter's own, unless rows are alike.
    """
    first_of: array[int] | None = None
    for part in _parts(hashes, passes=len(hashes) // at_once + 1):
        values = list(compress(hashes, part))
        if len(set(values)) == len(values):
            continue
        first_of = first_of or array("I", range(len(hashes)))
        seen: dict[int, int] = {}
        for n, value in zip(compress(count(), part), values, strict=False):
            first = seen.setdefault(value, n)
            if first != n:
                first_of[n] = first
    return first_of


def _parts(hashes: "array[int]", *, passes: int) -> Iterator[bytes]:
    """A byte a row, 1 for those of one pass: equal hashes are in the same."""
    low = bytes(memoryview(hashes).cast("B")[:: hashes.itemsize])
    for k in range(min(passes, 256)):
        yield low.translate(bytes(byte % min(passes, 256) == k for byte in range(256)))


def alike(folder: Path, first_of: "array[int]") -> int:
    """Leave in `first_of` only those whose bodies are equal byte for byte; how many rows are alike.

    A row whose hash was another body's by chance stands for itself.
    """
    found = 0
    with RequestFile(folder) as requests:
        for chunk in _copies(requests, first_of):
            wanted = sorted({first_of[n] for n in chunk})
            bodies = {request.n: request.body for request in requests.read(wanted)}
            for request in requests.read(chunk):
                if request.body == bodies[first_of[request.n]]:
                    found += 1
                else:
                    first_of[request.n] = request.n
    return found


def _copies(requests: RequestFile, first_of: "array[int]") -> Iterator[list[int]]:
    """The rows that are not the first of their kind, as many as are looked at together."""
    chunk: list[int] = []
    size = 0
    for n, (_, length, _, _) in enumerate(requests.entries()):
        if first_of[n] == n:
            continue
        chunk.append(n)
        size += length
        if len(chunk) == _COMPARED or size >= _COMPARED_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def merge(
    folder: Path, first_of: Sequence[int], *, answered: Sequence[int] = (), probe: Probe
) -> None:
    """Keep one request for all rows that ask the same, and list which one each row asks.

    Those of the `answered` rows come last, and the last of them first.
    """
    rows = len(first_of)
    is_answered = bytearray(rows)
    for n in answered:
        is_answered[n] = 1
    kept = array("I", (n for n in range(rows) if first_of[n] == n and not is_answered[n]))
    kept.extend(reversed(answered))
    _write_anew(folder, kept, probe=probe)
    number_of = array("I", bytes(4 * rows))
    for number, n in enumerate(kept):
        number_of[n] = number
    write_numbers(folder / _FILE, (number_of[first] for first in first_of), probe=probe)


def _write_anew(folder: Path, kept: Iterable[int], *, probe: Probe) -> None:
    """Put a file with the `kept` requests, in this order, in the place of the one with all."""
    beside = folder / _MERGED
    with effect("requests.merge", probe), unwritable(beside):
        beside.mkdir()
    with RequestFile(folder) as old, RequestWriter(beside, probe=probe) as new:
        rendered = old.rendered(kept)
        while chunk := list(islice(rendered, _WRITTEN)):
            new.add(chunk)
        new.finish()
    for path in sorted(beside.iterdir()):
        with effect("requests.rename", probe), unwritable(folder / path.name):
            os.replace(path, folder / path.name)
    with effect("requests.merged", probe), unwritable(beside):
        beside.rmdir()
    fsync_folder(folder, probe=probe)


def asked(folder: Path, run: Run) -> "range | memoryview[int]":
    """The number of the request that each row asks. Raises StoreCorrupt."""
    if not run.is_shared:
        return range(run.total)
    path = folder / _FILE
    numbers = read_numbers(path)
    if len(numbers) != run.total or max(numbers) != run.requests - 1:
        fits = f"{run.total} rows that ask {run.requests} requests"
        raise damaged(path, f"is not that of the run, which has {fits}")
    return numbers


def copies_of(folder: Path, run: Run) -> "array[int] | None":
    """How many rows share each request with another one before them; None: none does.

    Raises StoreCorrupt.
    """
    if not run.copies:
        return None
    shared = array("I", bytes(4 * run.requests))
    for number in asked(folder, run):
        shared[number] += 1
    return array("I", (rows - 1 for rows in shared))
