"""Excel workbooks in and out."""

import datetime as dt
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from anybatch.datasets.excel import MAX_ROWS
from anybatch.datasets.sink import open_sink
from anybatch.datasets.source import open_source
from anybatch.errors import BadInput, UsageError

from .reading import read_data, read_rows

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("xlsxwriter")

from openpyxl.chart import BarChart, Reference  # noqa: E402

LOCAL = dt.datetime.fromisoformat("2026-01-02T03:04:00")


def workbook(tmp_path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(tmp_path / "in.xlsx")
    return tmp_path / "in.xlsx"


def test_a_sheet_is_rows(tmp_path: Path) -> None:
    file = workbook(
        tmp_path,
        one=[
            ["n", "x", "yes", "day", "when", None, "text"],
            [1, 2.5, True, dt.date(2026, 1, 2), LOCAL, "u", "ä\nb"],
            [2],
            [],
            [3, None, None, None, dt.time(5, 6)],
        ],
    )

    rows = read_rows(file)

    assert rows[0] == {
        "n": 1,
        "x": 2.5,
        "yes": True,
        "day": "2026-01-02",
        "when": "2026-01-02T03:04:00",
        "column_6": "u",
        "text": "ä\nb",
    }
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert rows[2]["when"] == "05:06:00"


def test_a_sheet_is_chosen_by_name(tmp_path: Path) -> None:
    file = workbook(tmp_path, one=[["a"], [1]], two=[["b"], [2]])

    assert read_rows(file) == [{"a": 1}]
    assert read_rows(f"{file}#two") == [{"b": 2}]
    assert open_source(f"{file}#two").digest() != open_source(file).digest()
    with pytest.raises(BadInput, match="'three'"):
        read_rows(f"{file}#three")


def test_a_row_wider_than_the_header_is_bad(tmp_path: Path) -> None:
    file = workbook(tmp_path, one=[["a", "b"], [1, 2, 3], [4, 5, None]])

    reading = read_data(file)

    assert reading.rows == [{"a": 4, "b": 5}]
    assert reading.bad_lines == [2]


def test_merged_cells_have_their_value_in_the_first_one(tmp_path: Path) -> None:
    file = workbook(tmp_path, one=[["a", "b", "c"], [1, 2, 3], [4, 5, 6], [7, 8, 9]])
    book = openpyxl.load_workbook(file)
    book["one"].merge_cells("B2:C3")
    book.save(file)

    assert read_rows(file) == [
        {"a": 1, "b": 2, "c": None},
        {"a": 4, "b": None, "c": None},
        {"a": 7, "b": 8, "c": 9},
    ]


def test_a_chart_is_no_sheet(tmp_path: Path) -> None:
    file = workbook(tmp_path, one=[["a"], [1]])
    book = openpyxl.load_workbook(file)
    chart = BarChart()
    chart.add_data(Reference(book["one"], min_col=1, min_row=1, max_row=2))
    book.create_chartsheet("chart", 0).add_chart(chart)
    book.save(file)

    assert read_rows(file) == [{"a": 1}]
    with pytest.raises(BadInput, match=r"no sheet 'chart', but \['one'\]"):
        read_rows(f"{file}#chart")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"</sheetData>", b"<"), (b"<v>1</v>", b"<v>one</v>")],
    ids=["cut off", "a number that is none"],
)
def test_a_damaged_sheet_is_refused_in_one_line(tmp_path: Path, old: bytes, new: bytes) -> None:
    file = workbook(tmp_path, one=[["a", "b"], ["x", 1], ["y", 2]])
    with ZipFile(file) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with ZipFile(file, "w") as damaged:
        for name, content in parts.items():
            damaged.writestr(name, content.replace(old, new) if "sheet1" in name else content)

    with pytest.raises(BadInput, match="cannot be read behind row") as raised:
        read_rows(file)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("rows", [[], [["a", "b"]]])
def test_a_sheet_without_rows_is_refused(tmp_path: Path, rows: list[list[Any]]) -> None:
    with pytest.raises(BadInput, match=r"no (row|header)"):
        read_rows(workbook(tmp_path, one=rows))


VALUES: list[list[Any]] = [
    [1, 2.5, "text", True, None],
    [-3, -2.5, "=1+1", False, [1, {"a": 2}]],
    [2**60, float("nan"), "https://example.org", None, {"b": [None]}],
    [0, 1e300, "{=SUM(A1)}", None, "a\x0bb"],
    [0, 1.0, "007", None, "\ud800"],
]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.xlsx", columns=["n", "x", "text", "yes", "any"]) as sink:
        sink.write(VALUES[:2])
        sink.write(VALUES[2:])

    rows = read_rows(tmp_path / "out.xlsx")

    assert [row["n"] for row in rows] == [1, -3, str(2**60), 0, 0]
    assert [row["x"] for row in rows] == [2.5, -2.5, None, 1e300, 1]
    assert [row["text"] for row in rows][1:] == [
        "'=1+1",
        "https://example.org",
        "{=SUM(A1)}",
        "007",
    ]
    assert [row["yes"] for row in rows][:2] == ["true", "false"]
    assert [row["any"] for row in rows][1:3] == ['[1,{"a":2}]', '{"b":[null]}']


def test_raw_text_is_still_no_formula(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.xlsx", columns=["a"], raw=True) as sink:
        sink.write([["=1+1"]])

    sheet = ZipFile(tmp_path / "out.xlsx").read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in sheet
    assert b"<t>=1+1</t>" in sheet


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([["x" * 32_768]], "32,768 characters in column 'a'"),
        (range(MAX_ROWS), "1,048,575 rows"),
    ],
)
def test_what_excel_does_not_hold_is_refused_and_nothing_is_left(
    tmp_path: Path, rows: Any, why: str
) -> None:
    with (
        pytest.raises(UsageError, match=why),
        open_sink(tmp_path / "out.xlsx", columns=["a"]) as sink,
    ):
        sink.write(rows)

    assert list(tmp_path.iterdir()) == []
