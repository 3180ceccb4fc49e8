"""How a CSV file separates and quotes, found from its first lines."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

DELIMITERS = (",", ";", "\t", "|")

NOWHERE = "\x1f"
"""A delimiter that no text holds: for files of one column whose texts hold all the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    delimiter: str
    quoted: bool = True
    """False: a quote is a letter like any other."""
    escape: str | None = None
    """What makes the next character a letter, in files that do not double their quotes."""
    strict: bool = True
    """False: text may follow a closing quote."""
    spaced: bool = False
    """True: a space follows each delimiter and belongs to it."""
    skip: int = 0
    """Lines before the header: Excel's `sep=;`."""

    def options(self) -> dict[str, Any]:
        """What `csv.reader` calls it."""
        return {
            "delimiter": self.delimiter,
            "quoting": csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            "escapechar": self.escape,
            "doublequote": self.escape is None,
            "strict": self.strict,
            "skipinitialspace": self.spaced,
        }


def find_dialect(text: str, *, whole: bool, delimiters: Sequence[str] = DELIMITERS) -> Dialect:
    """The strictest dialect under which most lines have as many fields as the header.

    `whole` is False when `text` is cut off, so that its last line may be half a line.
    """
    if said := re.match(r"sep=(.)\r?\n", text):
        return Dialect(delimiter=said[1], skip=1)
    lines = list(StringIO(text, newline=""))[: None if whole else -1]
    escaped = '\\"' in text
    candidates = [
        candidate
        for delimiter in delimiters
        for candidate in _quotings(delimiter)
        if escaped or candidate.escape is None
    ]
    best = max(candidates, key=lambda candidate: _score(candidate, lines))
    if _width(best, lines) > 1:
        return best
    return _one_column(lines, delimiters)


def _quotings(delimiter: str) -> tuple[Dialect, ...]:
    return (
        Dialect(delimiter=delimiter),
        Dialect(delimiter=delimiter, spaced=True),
        Dialect(delimiter=delimiter, escape="\\"),
        Dialect(delimiter=delimiter, strict=False),
        Dialect(delimiter=delimiter, quoted=False),
    )


def _score(dialect: Dialect, lines: Sequence[str]) -> tuple[float, int, int]:
    """Consistency first; then as few quotes as possible left in the header; then columns."""
    rows = _rows(dialect, lines)
    header = rows[0][1] if rows else []
    if len(header) < 2:
        return (0.0, 0, 0)
    fitting = sum(count for count, values in rows if len(values) == len(header))
    stray = sum(name.count('"') for name in header)
    return (fitting / len(lines), -stray, len(header))


def _rows(dialect: Dialect, lines: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Each row with the number of lines that speak for it."""
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(lines, **dialect.options())
    before = 0
    while (values := _next_row(reader)) is not None:
        count = reader.line_num - before
        before = reader.line_num
        if values:
            # Where quotes are loose, one that is never closed swallows lines up to the next one.
            rows.append((count if dialect.strict or count == 1 else 0, values))
    if rows and rows[-1][0] > 1:
        # Here it swallows the rest; or this is a long text that is cut off.
        rows[-1] = (1, rows[-1][1])
    return rows


def _next_row(reader: Iterator[list[str]]) -> list[str] | None:
    """The next row; of no fields where it is malformed; None at the end."""
    try:
        return next(reader, None)
    except csv.Error:
        return []


def _width(dialect: Dialect, lines: Sequence[str]) -> int:
    rows = _rows(dialect, lines)
    return len(rows[0][1]) if rows else 0


def _one_column(lines: Sequence[str], delimiters: Sequence[str]) -> Dialect:
    """The header is one name. Texts may still hold delimiters: choose one that they do not hold.

    Where the first delimiter cuts all rows alike, they are a table under a wrong header: keep it,
    so that the rows are refused.
    """
    first = Dialect(delimiter=delimiters[0])
    widths = {len(values) for _, values in _rows(first, lines)[1:]}
    if len(widths) <= 1:
        return first
    return Dialect(delimiter=NOWHERE)
