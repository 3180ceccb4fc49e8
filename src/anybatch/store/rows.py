"""The rows of a run, kept to join the answers onto: a generator cannot be read twice."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from ..core.model import Row
from ..effects import Probe
from ..errors import StoreCorrupt
from .files import NewFile, committed

_FILE = "rows.jsonl"
_ENCODER = msgspec.json.Encoder()


class RowWriter(NewFile):
    """Writes the rows of a run, in order, once."""

    def __init__(self, folder: Path, *, probe: Probe) -> None:
        super().__init__(folder / _FILE, name="rows", probe=probe)
        self._digest = blake2b(digest_size=16)

    def add(self, rows: list[Row]) -> None:
        """Append these rows."""
        content = _ENCODER.encode_lines(rows)
        self._digest.update(content)
        self.write(content)

    def finish(self) -> str:
        """Make the rows durable; their digest."""
        self.sync()
        return self._digest.hexdigest()


def read_rows(folder: Path) -> Iterator[Row]:
    """The rows, in input order."""
    with committed(folder / _FILE), open(folder / _FILE, "rb") as file:
        for line in file:
            try:
                yield msgspec.json.decode(line)
            except msgspec.DecodeError as e:
                raise StoreCorrupt(f"{file.name!r} is damaged; restore it from a backup") from e
