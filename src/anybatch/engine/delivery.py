"""Results out: each row of a run with what became of it, in input order."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from msgspec.structs import replace

from ..core.join import Layout, joined, layout
from ..core.model import COLUMNS, Result, Run, Usage
from ..store.copies import asked
from ..store.rows import read_rows
from ..store.store import Store
from .answers import Reader
from .found import Found
from .readymade import declined_result

_CHUNK = 512
_LOOKED_UP = 16384
"""So many results are read at once: where they lie in another order, more lie close together."""


def results(store: Store, run: Run) -> Iterator[Result | None]:
    """What became of each row, by number; None where nothing has yet.

    Of rows that share a request, the first one has its usage and the others none.

    All journals are held against their checksums before the first one is given.
    """
    if run.state == "ended" and not store.batches(run.id):
        yield from _declined(store, run)
        return
    numbers = asked(store.folder(run.id), run)
    seen = bytearray(run.requests)
    with Found(store, run) as there:
        for start in range(0, run.total, _LOOKED_UP):
            chunk = numbers[start : start + _LOOKED_UP]
            found = there.of(chunk if isinstance(chunk, range) else sorted(set(chunk)))
            if isinstance(chunk, range):
                yield from map(found.get, chunk)
            else:
                yield from _of_rows(chunk, found, seen, first=start)


def _of_rows(
    numbers: Sequence[int], found: dict[int, Result], seen: bytearray, *, first: int
) -> Iterator[Result | None]:
    """The results of rows from the `first` on, which ask these requests."""
    for row, number in enumerate(numbers, start=first):
        result = found.get(number)
        if result is None:
            yield None
            continue
        yield replace(result, n=row, usage=Usage() if seen[number] else result.usage)
        seen[number] = 1


def _declined(store: Store, run: Run) -> Iterator[Result | None]:
    """The results of a run without batches: its requests were declined as they came in."""
    for n, row in enumerate(read_rows(store.folder(run.id), count=run.total)):
        yield declined_result(n, row)


def layout_of(run: Run) -> Layout:
    """The columns of the joined table."""
    names = COLUMNS.get(run.spec.api, ("answer",))
    return layout(run.columns, run.spec.output_schema, names=names)


def joined_rows(store: Store, run: Run) -> Iterator[list[list[Any]]]:
    """The joined table in chunks: each row's cells in the order of `layout_of(run).columns`."""
    reader = Reader(run.spec)
    join = partial(joined, to=layout_of(run))
    rows = read_rows(store.folder(run.id), count=run.total)
    pairs = zip(rows, results(store, run), strict=True)
    while chunk := list(islice(pairs, _CHUNK)):
        yield [
            join(row, result, None if result is None else reader.value(result))
            for row, result in chunk
        ]
