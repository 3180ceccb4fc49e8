"""Results out: each row of a run with what became of it, in input order."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ..core.join import Layout, joined, layout
from ..core.model import COLUMNS, Result, Run
from ..store.files import ReadFile, damaged
from ..store.journal import committed_lines, segment_path
from ..store.rows import read_rows
from ..store.store import Store
from ..wire.jsonl import number_of, read_result
from .answers import Reader
from .readymade import declined_result

_CHUNK = 512
_LOOKED_UP = 16384
"""So many results are read at once: where they lie in another order, more lie close together."""
_OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the standing result of each request lies: 16 bytes a request, however large it is."""

    files: list[Path]
    """Journal segments, in the order they were first seen."""
    file: "array[int]"
    """1-based place in `files`; 0: no result yet."""
    offset: "array[int]"
    length: "array[int]"


def _places(store: Store, run: Run) -> _Places:
    """Batches come in the order of their waves, so a later result takes an earlier one's place."""
    zeros = [array(code, bytes(array(code).itemsize * run.total)) for code in "IQI"]
    places = _Places([], *zeros)
    folder = store.folder(run.id)
    for batch in store.batches(run.id):
        tokens: dict[int, int] = {}
        for token, offset, line in committed_lines(folder, batch.id, batch.journal):
            if token not in tokens:
                places.files.append(segment_path(folder, batch.id, token))
                tokens[token] = len(places.files)
            n = number_of(line)
            places.file[n], places.offset[n], places.length[n] = tokens[token], offset, len(line)
    return places


def results(store: Store, run: Run) -> Iterator[Result | None]:
    """What became of each request, by number; None where nothing has yet.

    All journals are held against their checksums before the first one is given.
    """
    if run.state == "ended" and not store.batches(run.id):
        yield from _declined(store, run)
        return
    places = _places(store, run)
    with _Segments(places.files) as segments:
        for start in range(0, run.total, _LOOKED_UP):
            numbers = range(start, min(start + _LOOKED_UP, run.total))
            yield from _results(places, numbers, segments)


def _declined(store: Store, run: Run) -> Iterator[Result | None]:
    """The results of a run without batches: its requests were declined as they came in."""
    for n, row in enumerate(read_rows(store.folder(run.id), count=run.total)):
        yield declined_result(n, row)


class _Segments:
    """Journal segments that are being read: the latest few stay open."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._open: dict[int, ReadFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        for file in self._open.values():
            file.close()

    def __getitem__(self, place: int) -> ReadFile:
        if place not in self._open:
            if len(self._open) >= _OPEN_FILES:
                self._open.pop(next(iter(self._open))).close()
            self._open[place] = ReadFile(self._paths[place])
        return self._open[place]


def _results(places: _Places, numbers: range, segments: _Segments) -> list[Result | None]:
    """The results of these requests. Read in the order of the files: theirs may be any other."""
    found: list[Result | None] = [None] * len(numbers)
    there = [
        (places.file[n] - 1, places.offset[n], places.length[n], n)
        for n in numbers
        if places.file[n]
    ]
    for place, group in groupby(sorted(there), key=itemgetter(0)):
        pieces = [(offset, length, n) for _, offset, length, n in group]
        file = segments[place]
        lines = file.pieces([(offset, length) for offset, length, _ in pieces])
        for line, (_, _, n) in zip(lines, pieces, strict=True):
            found[n - numbers.start] = _result(line, n, file.path)
    return found


def _result(line: bytes, n: int, path: Path) -> Result:
    """The result of request `n`, which was there when the checksum was looked at."""
    try:
        result = read_result(line)
    except msgspec.DecodeError as e:
        raise damaged(path, f"was changed at the result of request {n}") from e
    if result.n != n:
        raise damaged(path, f"was changed at the result of request {n}")
    return result


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
