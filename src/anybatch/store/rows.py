"""The rows of a run, kept to join the answers onto: a generator cannot be read twice.

A line a row, and behind them one with their checksum.
"""

import os
import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

from ..core.model import Row
from ..effects import Probe
from .files import NewFile, chunks, committed, damaged

_FILE = "rows.jsonl"
_LAST_LINE = re.compile(rb'"crc32 [0-9a-f]{8}"\n')
_ENCODER = msgspec.json.Encoder()


class RowWriter(NewFile):
    """Writes the rows of a run, in order, once."""

    def __init__(self, folder: Path, *, probe: Probe, digested: bool = True) -> None:
        """`digested`: whether anybody wants their digest, which takes as long as to write them."""
        super().__init__(folder / _FILE, name="rows", probe=probe)
        self._digest = blake2b(digest_size=16) if digested else None
        self._crc = 0

    def add(self, rows: list[Row]) -> None:
        """Append these rows."""
        content = _ENCODER.encode_lines(rows)
        if self._digest is not None:
            self._digest.update(content)
        self._crc = crc32(content, self._crc)
        self.write(content)

    def finish(self) -> str:
        """Make the rows durable; their digest, empty if nobody wants it."""
        self.write(_last_line(self._crc))
        self.sync()
        return "" if self._digest is None else self._digest.hexdigest()


def _last_line(crc: int) -> bytes:
    """A line of JSON like the others, and of one length whatever the checksum."""
    return b'"crc32 %08x"\n' % crc


def read_rows(folder: Path, *, count: int) -> Iterator[Row]:
    """The rows, in input order.

    Raises StoreCorrupt before the first one, if they are not the `count` rows that were written.
    """
    path = folder / _FILE
    with committed(path), open(path, "rb") as file:
        _check(file, path, count=count)
        for line in islice(file, count):
            yield msgspec.json.decode(line)


def check_rows_are_there(folder: Path) -> None:
    """Raise StoreCorrupt if the rows are gone or cut off: no answer could be joined to them.

    Whether they were changed shows when they are read.
    """
    path = folder / _FILE
    with committed(path), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - len(_last_line(0))))
        if not _LAST_LINE.fullmatch(file.read()):
            raise damaged(path, "is cut off: rows in it are missing")


def _check(file: BinaryIO, path: Path, *, count: int) -> None:
    """Raise StoreCorrupt if rows are missing or changed; `file` is at its start then."""
    size = os.fstat(file.fileno()).st_size - len(_last_line(0))
    crc = rows = 0
    for chunk in chunks(file, size=size):
        crc = crc32(chunk, crc)
        rows += chunk.count(b"\n")
    if file.read() != _last_line(crc):
        raise damaged(path, "does not match its checksum: rows in it are changed or missing")
    if rows != count:
        raise damaged(path, f"holds {rows} rows, and the run has {count}")
    file.seek(0)
