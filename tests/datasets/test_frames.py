"""Rows from objects in memory, and rows as data frames."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from anybatch.datasets.frames import to_pandas, to_polars
from anybatch.datasets.source import open_source
from anybatch.errors import BadInput

from .reading import read, read_data, read_rows

WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def test_dicts_are_rows() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": None, "b": [1, {"c": 2.5}]}]

    assert read_rows(rows) == rows


def test_values_become_what_json_can_carry() -> None:
    row = {"when": WHEN, "day": WHEN.date(), "price": Decimal("1.50"), "raw": b"ab", "t": (1, 2)}

    (read_row,) = read_rows([{**row, "nan": float("nan"), 7: "key"}])

    assert read_row == {
        "when": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "price": "1.50",
        "raw": "YWI=",
        "t": [1, 2],
        "nan": None,
        "7": "key",
    }


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("text", "not the object"),
        (None, "not the object"),
        ([1], "not the object"),
        ({"a": object()}, "'object'"),
        ({"a": "\ud800"}, "surrogate"),
        ({None: 1}, "not a row"),
    ],
)
def test_a_row_that_json_cannot_carry_is_bad(row: object, why: str) -> None:
    reading = read_data([{"a": 1}, row, {"a": 3}])

    assert reading.rows == [{"a": 1}, {"a": 3}]
    assert reading.bad_lines == [2]
    assert why in reading.bad[0][1]


def test_a_generator_is_read_as_it_comes() -> None:
    taken: list[int] = []

    def rows() -> Iterator[dict[str, int]]:
        for n in range(100_000):
            taken.append(n)
            yield {"n": n}

    chunk = next(open_source(rows()).read(lambda line, why: None))

    assert len(chunk) == len(taken) < 10_000


@pytest.mark.parametrize("data", [[], iter(()), {}, b"bytes", 7, None])
def test_data_without_rows_is_refused(data: object) -> None:
    with pytest.raises(BadInput, match="no row"):
        read_data(data)


def columns() -> dict[str, list[Any]]:
    return {
        "n": [1, 2],
        "x": [1.5, None],
        "text": ["a", None],
        "when": [dt.datetime.fromisoformat("2026-01-02T03:04:00"), None],
        "list": [[1, 2], []],
    }


EXPECTED = [
    {"n": 1, "x": 1.5, "text": "a", "when": "2026-01-02T03:04:00", "list": [1, 2]},
    {"n": 2, "x": None, "text": None, "when": None, "list": []},
]


def test_a_pandas_frame_is_rows() -> None:
    pandas = pytest.importorskip("pandas")

    assert read_rows(pandas.DataFrame(columns())) == EXPECTED


def test_columns_of_the_same_name_all_arrive() -> None:
    pandas = pytest.importorskip("pandas")

    assert read_rows(pandas.DataFrame([[1, 2]], columns=["a", "a"])) == [{"a": 1, "a_2": 2}]


def test_numpy_values_in_dicts_are_rows() -> None:
    numpy = pytest.importorskip("numpy")

    rows = read_rows([{"a": numpy.float32(0.5), "b": numpy.int64(3), "c": numpy.arange(2)}])

    assert rows == [{"a": 0.5, "b": 3, "c": [0, 1]}]


def test_a_polars_frame_is_rows() -> None:
    polars = pytest.importorskip("polars")

    assert read_rows(polars.DataFrame(columns())) == EXPECTED


def test_a_lazy_polars_frame_is_refused_with_the_way_out() -> None:
    polars = pytest.importorskip("polars")

    with pytest.raises(BadInput, match="collect"):
        open_source(polars.DataFrame(columns()).lazy())


def test_an_arrow_table_is_rows_and_can_be_read_twice() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    source = open_source(pyarrow.table(columns()))

    assert read(source).rows == read(source).rows == EXPECTED


def test_whatever_streams_arrow_is_rows() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    reader = pyarrow.table(columns()).to_reader()

    assert read_rows(reader) == EXPECTED


def test_rows_become_frames() -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    rows = [(1, "a", [1.0]), (2, None, None)]

    as_pandas, as_polars = to_pandas("ntl", rows), to_polars("ntl", rows)

    assert as_pandas["n"].tolist() == as_polars["n"].to_list() == [1, 2]
    assert as_polars.rows() == rows


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_single_column_is_no_table(library: str) -> None:
    series = pytest.importorskip(library).Series([1, 2])
    pytest.importorskip("pyarrow")

    with pytest.raises(BadInput, match="'Series' is no table"):
        open_source(series)


def test_a_value_that_python_has_none_for_is_refused_in_one_line() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"when": pyarrow.array([10**18], type=pyarrow.timestamp("s"))})

    with pytest.raises(BadInput, match="a value that Python cannot") as raised:
        read_rows(table)

    assert "\n" not in str(raised.value)
