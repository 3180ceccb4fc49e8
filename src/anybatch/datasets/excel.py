"""Rows from and to Excel workbooks, one row at a time."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, time
from functools import partial
from pathlib import Path
from typing import Any

from ..core.model import Row
from ..errors import BadInput, MissingExtra, UsageError
from . import streams
from .cells import Cell, cells
from .rows import Chunks, OnBadRow, Source, chunked, not_empty, unique_columns
from .writers import Values, Write

MAX_ROWS = 1_048_576
MAX_CELL_CHARS = 32_767
"""What an Excel sheet holds, the header included: Microsoft's "Excel specifications and limits"."""

MAX_EXACT_INT = 2**53
"""Excel keeps numbers as floats; a longer whole number would lose its last digits."""


def excel_source(path: Path, *, sheet: str | None, name: str) -> Source:
    """A sheet with a header row; the first one, unless another is named."""
    _require_openpyxl(name)

    def read(on_bad_row: OnBadRow) -> Chunks:
        return chunked(_rows(path, sheet, on_bad_row, name=name))

    # Two sheets of one workbook are two datasets.
    digest = partial(streams.digest_file, path, read_as=f"xlsx {sheet!r}")
    return Source(name=name, read=not_empty(name, read), digest=digest)


def _require_openpyxl(name: str) -> None:
    try:
        import openpyxl  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(f"reading {name!r}", extra="data") from error


def _rows(path: Path, sheet: str | None, on_bad_row: OnBadRow, *, name: str) -> Iterator[Row]:
    with streams.readable(name), closing(_workbook(path, name=name)) as workbook:
        lines = enumerate(_lines(_worksheet(workbook, sheet, name=name), name=name), 1)
        header = next((values for _, values in lines if _filled(values)), ())
        if not header:
            raise BadInput(f"{name!r} has no header row. Put the column names on its first row.")
        columns = unique_columns(_name(value) for value in header[: _filled(header)])
        for number, values in lines:
            filled = _filled(values)
            if filled > len(columns):
                on_bad_row(number, f"it has {filled} cells and the header has {len(columns)}")
            elif filled:
                yield _row(columns, values)


def _lines(worksheet: Any, *, name: str) -> Iterator[Sequence[object]]:
    number = 0
    try:
        for values in worksheet.iter_rows(values_only=True):
            number += 1
            yield values
    except (OSError, MemoryError):
        raise
    except Exception as error:  # see `_workbook`
        raise BadInput(
            f"{name!r} cannot be read behind row {number}: {error}. Save it from Excel anew."
        ) from error


def _workbook(path: Path, *, name: str) -> Any:
    import openpyxl

    try:
        with warnings.catch_warnings():
            # They are about looks that openpyxl drops, such as conditional formats.
            warnings.simplefilter("ignore")
            return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except OSError:
        raise
    except Exception as error:  # openpyxl raises what its XML and zip readers happen to raise
        raise BadInput(f"{name!r} is not an Excel workbook (.xlsx). Save it as one.") from error


def _worksheet(workbook: Any, sheet: str | None, *, name: str) -> Any:
    # A sheet may be a chart, which has no rows.
    worksheets = {worksheet.title: worksheet for worksheet in workbook.worksheets}
    if not worksheets:
        raise BadInput(f"{name!r} holds no sheet with cells. Save the table as one.")
    if sheet is not None and sheet not in worksheets:
        raise BadInput(f"{name!r}: there is no sheet {sheet!r}, but {[*worksheets]}.")
    worksheet = worksheets[sheet] if sheet else workbook.worksheets[0]
    # Some programs write a size that is too small, and rows would be cut off.
    worksheet.reset_dimensions()
    return worksheet


def _filled(values: Sequence[object]) -> int:
    """How many cells there are up to the last one that is not empty."""
    return max((place for place, value in enumerate(values, 1) if value is not None), default=0)


def _name(value: object) -> str:
    return "" if value is None else str(_value(value))


def _row(columns: Sequence[str], values: Sequence[object]) -> Row:
    padded = [*values[: len(columns)], *[None] * (len(columns) - len(values))]
    return {column: _value(value) for column, value in zip(columns, padded, strict=True)}


def _value(value: object) -> object:
    """Dates and times as ISO text; a moment at midnight is a date."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case _:
            isoformat = getattr(value, "isoformat", None)
            return isoformat() if isoformat else str(value)


@contextmanager
def excel_writer(path: Path, columns: Sequence[str], *, raw: bool) -> Iterator[Write]:
    """One sheet. Text is written as text, so that no cell is a formula or a link."""
    import xlsxwriter
    from xlsxwriter.exceptions import FileCreateError

    if len(columns) > MAX_COLUMNS:
        raise UsageError(
            f"an Excel sheet holds {MAX_COLUMNS:,} columns, and there are {len(columns):,}. "
            "Write .csv or .parquet."
        )
    workbook = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    worksheet = workbook.add_worksheet()
    next_row = 0

    def write(rows: Values) -> None:
        nonlocal next_row
        _refuse_more(next_row + len(rows))
        for row in cells(rows, raw=raw):
            for column, value in enumerate(row):
                _write_cell(worksheet, next_row, column, value, name=columns[column])
            next_row += 1

    try:
        write([columns])
        yield write
    except BaseException:
        with suppress(OSError, FileCreateError):
            workbook.close()
        raise
    _close(workbook)


def _close(workbook: Any) -> None:
    from xlsxwriter.exceptions import FileCreateError

    try:
        workbook.close()
    except FileCreateError as error:
        raise OSError(str(error)) from error


MAX_COLUMNS = 16_384
"""Of a sheet, as Excel's own specification has it."""


def _refuse_more(rows: int) -> None:
    if rows > MAX_ROWS:
        raise UsageError(
            f"an Excel sheet holds {MAX_ROWS - 1:,} rows and a header, and there are more. "
            "Write .csv or .parquet."
        )


def _write_cell(worksheet: Any, row: int, column: int, value: Cell, *, name: str) -> None:
    if value is None:
        return
    if isinstance(value, str):
        _refuse_long(value, row=row, name=name)
        worksheet.write_string(row, column, value.encode("utf-8", "replace").decode())
    elif abs(value) > MAX_EXACT_INT and isinstance(value, int):
        worksheet.write_string(row, column, str(value))
    else:
        worksheet.write_number(row, column, value)


def _refuse_long(text: str, *, row: int, name: str) -> None:
    if len(text) > MAX_CELL_CHARS:
        raise UsageError(
            f"row {row} has {len(text):,} characters in column {name!r}, and an Excel cell holds "
            f"{MAX_CELL_CHARS:,}. Write .csv or .parquet."
        )
