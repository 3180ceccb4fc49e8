"""Results out: each row of a run with what became of it, in input order."""

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ..core.join import Layout, joined, layout
from ..core.model import EMBEDDINGS, Result, Run
from ..store.files import committed, damaged
from ..store.journal import committed_lines, segment_path
from ..store.rows import read_rows
from ..store.store import Store
from ..wire.jsonl import number_of, read_result
from .answers import Reader

_CHUNK = 512
_WINDOW = 1 << 18
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


class _Window:
    """Reads lines of one file that lie close together with one system call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with committed(path):
            self._descriptor = os.open(path, os.O_RDONLY)
        self._start = 0
        self._content = b""

    def result(self, n: int, offset: int, length: int) -> Result:
        """The result of request `n`, which was there when the checksum was looked at."""
        try:
            result = read_result(self._read(offset, length))
        except msgspec.DecodeError as e:
            raise damaged(self._path, f"was changed at the result of request {n}") from e
        if result.n != n:
            raise damaged(self._path, f"was changed at the result of request {n}")
        return result

    def _read(self, offset: int, length: int) -> bytes:
        at = offset - self._start
        if at < 0 or at + length > len(self._content):
            with committed(self._path):
                self._content = os.pread(self._descriptor, max(_WINDOW, length), offset)
            self._start, at = offset, 0
        return self._content[at : at + length]

    def close(self) -> None:
        os.close(self._descriptor)


def results(store: Store, run: Run) -> Iterator[Result | None]:
    """What became of each request, by number; None where nothing has yet.

    All journals are held against their checksums before the first one is given.
    """
    places = _places(store, run)
    windows: dict[int, _Window] = {}
    try:
        for start in range(0, run.total, _CHUNK):
            yield from _results(places, range(start, min(start + _CHUNK, run.total)), windows)
    finally:
        for window in windows.values():
            window.close()


def _results(places: _Places, numbers: range, windows: dict[int, _Window]) -> list[Result | None]:
    """The results of these requests. Read in the order of the files: theirs may be any other."""
    found: list[Result | None] = [None] * len(numbers)
    for n in sorted(numbers, key=lambda n: (places.file[n], places.offset[n])):
        file = places.file[n]
        if not file:
            continue
        if file not in windows:
            if len(windows) >= _OPEN_FILES:
                windows.pop(next(iter(windows))).close()
            windows[file] = _Window(places.files[file - 1])
        result = windows[file].result(n, places.offset[n], places.length[n])
        found[n - numbers.start] = result
    return found


def layout_of(run: Run) -> Layout:
    """The columns of the joined table."""
    one = "embedding" if run.spec.api in EMBEDDINGS else "answer"
    return layout(run.columns, run.spec.output_schema, one=one)


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
