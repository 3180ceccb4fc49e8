"""How these tests read a source: rows, and the rows that were bad."""

from dataclasses import dataclass, field

from anybatch.core.model import Row
from anybatch.datasets.source import Source, open_source


@dataclass(slots=True)
class Reading:
    rows: list[Row] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)

    @property
    def bad_lines(self) -> list[int]:
        return [line for line, _ in self.bad]


def read(source: Source) -> Reading:
    """Read it all, leaving bad rows out as `--bad-rows skip` does."""
    reading = Reading()
    for chunk in source.read(lambda line, why: reading.bad.append((line, why))):
        reading.rows += chunk
    return reading


def read_data(data: object, *, sql: str | None = None, format: str | None = None) -> Reading:
    return read(open_source(data, sql=sql, format=format))


def read_rows(data: object, *, sql: str | None = None, format: str | None = None) -> list[Row]:
    """All rows, none of which may be bad."""
    reading = read_data(data, sql=sql, format=format)
    assert reading.bad == []
    return reading.rows
