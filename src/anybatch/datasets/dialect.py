"""How a CSV file separates and quotes, found from its first lines."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from typing import Any, NamedTuple

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
    if said := re.match(r"sep=([^\0\"\r\n])\r?\n", text):
        return Dialect(delimiter=said[1], skip=1)
    lines = list(StringIO(text, newline=""))[: None if whole else -1]
    escaped = '\\"' in text
    candidates = [
        candidate
        for delimiter in delimiters
        for candidate in _quotings(delimiter)
        if escaped or candidate.escape is None
    ]
    best = max(candidates, key=lambda candidate: _score(candidate, lines, whole=whole))
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


def is_mostly_one_field(text: str, delimiters: Sequence[str] = DELIMITERS) -> bool:
    """Whether half of `text`, which is cut off, may be a quoted field with no end in it.

    Then it tells little of the rest.
    """
    lines = list(StringIO(text, newline=""))[:-1]
    looks = (_look(Dialect(delimiter=delimiter), lines) for delimiter in delimiters)
    return '"' in text and any(2 * look.unclosed > len(lines) for look in looks)


def _score(dialect: Dialect, lines: Sequence[str], *, whole: bool) -> tuple[float, int, int]:
    """Consistency first; then as few quotes as possible left in the header; then columns."""
    rows, unclosed = _look(dialect, lines)
    header = rows[0][1] if rows else []
    if len(header) < 2:
        return (0.0, 0, 0)
    total = len(lines)
    if dialect.strict and not whole and 2 * unclosed <= total:
        # A text that is cut off in its last row speaks neither for nor against the dialect.
        total -= unclosed
    fitting = sum(count for count, values in rows if len(values) == len(header))
    stray = sum(name.count('"') for name in header)
    return (fitting / total, -stray, len(header))


class _Look(NamedTuple):
    """Some lines, taken for a dialect."""

    rows: list[tuple[int, list[str]]]
    """Each whole row with the number of lines that speak for it."""
    unclosed: int = 0
    """So many lines at the end belong to a row in which a quote is not closed."""


_END = "\0end"
"""A line behind the last one, which only a quote left open makes a part of a row."""


def _look(dialect: Dialect, lines: Sequence[str]) -> _Look:
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(chain(lines, (_END,)), **dialect.options())
    before = 0
    while (values := _next_row(reader)) is not None and values != [_END]:
        count = reader.line_num - before
        before = reader.line_num
        if before > len(lines):
            return _Look(rows, unclosed=count - 1)
        if values:
            # Where quotes are loose, one that is never closed swallows lines up to the next one.
            rows.append((count if dialect.strict or count == 1 else 0, values))
    return _Look(rows)


def _next_row(reader: Iterator[list[str]]) -> list[str] | None:
    """The next row; of no fields where it is malformed; None at the end."""
    try:
        return next(reader, None)
    except csv.Error:
        return []


def _width(dialect: Dialect, lines: Sequence[str]) -> int:
    rows = _look(dialect, lines).rows
    return len(rows[0][1]) if rows else 0


def _one_column(lines: Sequence[str], delimiters: Sequence[str]) -> Dialect:
    """The header is one name. Texts may still hold delimiters: choose one that they do not hold.

    Where the first delimiter cuts all rows alike, they are a table under a wrong header: keep it,
    so that the rows are refused.
    """
    first = Dialect(delimiter=delimiters[0])
    widths = {len(values) for _, values in _look(first, lines).rows[1:]}
    if len(widths) <= 1:
        return first
    return Dialect(delimiter=NOWHERE)
