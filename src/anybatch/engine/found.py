"""The results of a run, found by the numbers of its requests."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ..core.model import Result, Run
from ..store.files import ReadFile, damaged
from ..store.journal import committed_lines, segment_path
from ..store.store import Store
from ..wire.jsonl import number_of, read_result

_OPEN_FILES = 64


class Found:
    """Where they lie, and what lies there.

    All journals are held against their checksums at once.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self._places = _places(store, run)
        self._segments = _Segments(self._places.files)

    def __enter__(self) -> Self:
        self._segments.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._segments.__exit__(kind, e, at)

    def of(self, numbers: Sequence[int]) -> dict[int, Result]:
        """Those of these requests that have one."""
        return _results(self._places, numbers, self._segments)


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
    zeros = [array(code, bytes(array(code).itemsize * run.requests)) for code in "IQI"]
    folder = store.folder(run.id)
    places = _Places([], *zeros)
    for batch in store.batches(run.id):
        if batch.trial:
            continue
        tokens: dict[int, int] = {}
        for token, offset, line in committed_lines(folder, batch.id, batch.journal):
            if token not in tokens:
                places.files.append(segment_path(folder, batch.id, token))
                tokens[token] = len(places.files)
            n = number_of(line)
            places.file[n], places.offset[n], places.length[n] = tokens[token], offset, len(line)
    return places


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


def _results(places: _Places, numbers: Sequence[int], segments: _Segments) -> dict[int, Result]:
    """The results of these requests. Read in the order of the files: theirs may be any other."""
    found: dict[int, Result] = {}
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
            found[n] = _result(line, n, file.path)
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
