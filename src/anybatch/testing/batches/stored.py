"""The rows of a batch as they were given: their bodies on disk, their names in memory."""

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from msgspec import Raw

from ..service.http1 import Extent


class Stored:
    def __init__(self, path: Path) -> None:
        self.names: list[str] = []
        self._path = path
        self._ends = array("Q", [0])

    @classmethod
    def of(cls, rows: Iterable[tuple[str, bytes | Raw]], path: Path) -> Self:
        """Put the names and bodies of rows into a file of their own."""
        stored, end = cls(path), 0
        with path.open("wb") as file:
            for name, body in rows:
                end += file.write(bytes(body))
                stored.names.append(name)
                stored._ends.append(end)
        return stored

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, places: Iterable[int]) -> Iterator[tuple[str, bytes]]:
        with self._path.open("rb") as file:
            for place in places:
                start, end = self._ends[place], self._ends[place + 1]
                file.seek(start)
                yield self.names[place], file.read(end - start)

    def discard(self) -> None:
        """Nobody will read it."""
        self._path.unlink(missing_ok=True)
        self.names, self._ends = [], array("Q", [0])


def lines(content: Extent) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that have something in them, and where in its folder's file each is."""
    at, end = content.start, content.start + content.length
    with content.path.open("rb") as file:
        file.seek(at)
        while at < end and (line := file.readline(end - at)):
            if line.strip():
                yield at, line
            at += len(line)
