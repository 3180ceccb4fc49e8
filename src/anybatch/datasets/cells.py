"""A value as the text of a CSV or Excel cell, safe to open in a spreadsheet."""

import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import msgspec

from .rows import encode_json

RISKY = frozenset("=+-@\t\r\n＝＋－＠")
"""What a spreadsheet may take for the start of a formula (OWASP, "CSV Injection")."""

_NUMBER = re.compile(r"[+-]?\.?[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?%?")

Cell = str | int | float | None
CellOf = Callable[[object], Cell]


def cell(value: object) -> Cell:
    """The value as a cell that no spreadsheet runs: a risky text gets a leading `'`."""
    converted = raw_cell(value)
    return _harmless(converted) if isinstance(converted, str) else converted


def raw_cell(value: object) -> Cell:
    """The value as a cell, text as it is."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return value
        case float():
            return value if isfinite(value) else None
        case msgspec.Raw():
            return _json_cell(bytes(value))
        case _:
            return _json_cell(encode_json(value))


def _json_cell(value: bytes) -> Cell:
    if value.lstrip()[:1] in (b"{", b"["):
        return value.decode("utf-8", "replace")
    return raw_cell(msgspec.json.decode(value))


def _harmless(text: str) -> str:
    if text[:1] in RISKY and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def cells(rows: Sequence[Sequence[Any]], *, raw: bool) -> list[list[Cell]]:
    """The rows as cells. What most cells are is passed on without a call: there are millions."""
    convert: CellOf = raw_cell if raw else cell
    return [
        [
            value
            if value is None
            or (kind := type(value)) is int
            or (kind is str and value[:1] not in RISKY)
            else convert(value)
            for value in row
        ]
        for row in rows
    ]
