"""Rows out: what is in the file, and that it appears whole or not at all."""

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.datasets.cells import cell
from anybatch.datasets.sink import check_sink, open_sink
from anybatch.effects import Moment
from anybatch.errors import BadInput, OutputExists, UsageError

from .reading import read_rows

ROWS: list[list[Any]] = [
    [1, 'ä,"b"\nc\r\nd', 1.5, True, {"k": [1, None]}, None],
    [2, "", -3, False, [0.5, 1], None],
    [3, "a\rb", None, None, msgspec.Raw(b'{\n "k": "\xc3\xa4"}'), None],
]
COLUMNS = ["n", "text", "x", "yes", "any", "none"]


def written(tmp_path: Path, name: str, rows: Sequence[Sequence[object]] = ROWS) -> Path:
    with open_sink(tmp_path / name, columns=COLUMNS) as sink:
        for row in rows:
            sink.write([row])
    return tmp_path / name


def test_csv_holds_text_cells(tmp_path: Path) -> None:
    file = written(tmp_path, "out.csv")

    rows = [list(row.values()) for row in read_rows(file)]

    assert rows == [
        ["1", 'ä,"b"\nc\r\nd', "1.5", "true", '{"k":[1,null]}', ""],
        ["2", "", "-3", "false", "[0.5,1]", ""],
        ["3", "a\rb", "", "", '{\n "k": "ä"}', ""],
    ]


@pytest.mark.parametrize("name", ["out.jsonl", "out.ndjson", "out.json"])
def test_json_keeps_values_as_they_are(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, name)

    rows = [list(row.values()) for row in read_rows(file)]

    assert rows == [[*ROWS[0]], [*ROWS[1]], [3, "a\rb", None, None, {"k": "ä"}, None]]


def test_a_json_file_of_no_rows_is_an_empty_list(tmp_path: Path) -> None:
    file = written(tmp_path, "out.json", rows=[])

    assert json.loads(file.read_text()) == []


def test_half_a_surrogate_pair_does_not_lose_the_file(tmp_path: Path) -> None:
    row = ["\ud800", "a\udfffb", {"k": ["\ud800"]}, None, None, None]

    for name in ("out.csv", "out.jsonl", "out.parquet"):
        file = written(tmp_path, name, rows=[row])

        assert list(read_rows(file)[0].values())[:2] == ["?", "a?b"]


FORMULAS = {
    "=1+1": "'=1+1",
    "+1+1": "'+1+1",
    "-1+1": "'-1+1",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    "\n=1": "'\n=1",
    "＝1+1": "'＝1+1",
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!D2": "'-2+3+cmd|' /C calc'!D2",
    "- a list": "'- a list",
    "-": "'-",
    '"=1+1"': '"=1+1"',
    "'=1+1": "'=1+1",
    "a=1": "a=1",
    "": "",
    "-3.5": "-3.5",
    "+49": "+49",
    "-3,5": "-3,5",
    "-1.5e-3": "-1.5e-3",
    "-5%": "-5%",
    "-3.5\n": "'-3.5\n",
    "-٣": "'-٣",
}


@pytest.mark.parametrize(("text", "expected"), FORMULAS.items())
def test_no_text_becomes_a_formula(text: str, expected: str) -> None:
    assert cell(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-3.5, -3.5), (-3, -3), (msgspec.Raw(b'"=1"'), "'=1"), (["=1"], '["=1"]'), (True, "true")],
)
def test_values_that_are_no_text_are_safe_too(value: object, expected: object) -> None:
    assert cell(value) == expected


def test_raw_leaves_texts_alone(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.csv", columns=["=a"], raw=True) as sink:
        sink.write([["=1+1"]])

    assert (tmp_path / "out.csv").read_text() == "=a\n=1+1\n"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1), tabs=st.booleans())
def test_text_written_as_csv_comes_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], tabs: bool
) -> None:
    file = tmp_path_factory.mktemp("out") / ("out.tsv" if tabs else "out.csv")

    with open_sink(file, columns=["a", "b", "c"], raw=True) as sink:
        sink.write(rows)

    assert [tuple(row.values()) for row in read_rows(file)] == rows


@given(values=st.lists(TEXTS, min_size=1))
def test_a_single_column_comes_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    file = tmp_path_factory.mktemp("out") / "out.csv"

    with open_sink(file, columns=["text"], raw=True) as sink:
        sink.write([[value] for value in values])

    assert [row["text"] for row in read_rows(file)] == values


PARQUET: dict[str, tuple[list[Any], str]] = {
    "whole numbers": ([1, None, -(2**63)], "BIGINT"),
    "numbers": ([1, 2.5, None], "DOUBLE"),
    "too big for an integer": ([2**63, 1], "VARCHAR"),
    "truth": ([True, None, False], "BOOLEAN"),
    "text": (["2026-01-02", "7", "a\0b"], "VARCHAR"),
    "vectors": ([[0.5, 1.0], [], None], "DOUBLE[]"),
    "nothing": ([None, None, None], "VARCHAR"),
}


@pytest.mark.parametrize(("values", "kind"), PARQUET.values(), ids=PARQUET.keys())
def test_a_parquet_column_has_the_type_of_its_values(
    tmp_path: Path, values: list[Any], kind: str
) -> None:
    duckdb = pytest.importorskip("duckdb")

    with open_sink(tmp_path / "out.parquet", columns=["a b", "n"]) as sink:
        for n, value in enumerate(values):
            sink.write([[value, n]])

    rows = duckdb.connect().execute(f"from '{tmp_path}/out.parquet'")
    assert str(rows.description[0][1]) == kind
    expected = [str(v) for v in values] if kind == "VARCHAR" and 2**63 in values else values
    assert [row[0] for row in rows.fetchall()] == expected


def test_mixed_and_nested_values_become_json_text_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")

    with open_sink(tmp_path / "out[1].parquet", columns=["a", "A"]) as sink:
        sink.write([["x", {"k": 1}], [7, [1, "b"]], [None, msgspec.Raw(b'{"k": [1]}')]])

    rows = [list(row.values()) for row in read_rows(tmp_path / "out[1].parquet")]
    assert rows == [["x", '{"k":1}'], ["7", '[1,"b"]'], [None, '{"k":[1]}']]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("columns", "written"),
    [
        (["a", "A"], ["a", "A_2"]),
        (["A", "a", "A_2"], ["A", "a_2", "A_2_2"]),
        (["", "b", ""], ["column_1", "b", "column_3"]),
        (["", "Column_1"], ["column_1", "Column_1_2"]),
        (['"', "a\0b", "\n", "😀", "ß", "a.b"], ['"', "a\0b", "\n", "😀", "ß", "a.b"]),
    ],
)
def test_the_names_in_a_parquet_file_differ_in_more_than_case(
    tmp_path: Path, columns: list[str], written: list[str]
) -> None:
    duckdb = pytest.importorskip("duckdb")

    with open_sink(tmp_path / "out.parquet", columns=columns) as sink:
        sink.write([list(range(len(columns)))])

    rows = duckdb.connect().execute(f"from '{tmp_path}/out.parquet'")
    assert [column[0] for column in rows.description] == written
    assert rows.fetchall() == [tuple(range(len(columns)))]


def test_a_parquet_row_of_twenty_megabytes_is_written(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")

    with open_sink(tmp_path / "out.parquet", columns=["a"]) as sink:
        sink.write([["x" * 20_000_000], ["y"]])

    assert [len(row["a"]) for row in read_rows(tmp_path / "out.parquet")] == [20_000_000, 1]


def write_all(file: Path, rows: Iterable[Sequence[object]]) -> None:
    with open_sink(file, columns=["a"]) as sink:
        for row in rows:
            sink.write([row])


ALL = ["out.csv", "out.tsv", "out.jsonl", "out.json", "out.parquet", "out.xlsx"]


class Died(Exception):
    pass


def dying_at(name: str, moment: Moment) -> Callable[[str, Moment], None]:
    def probe(seen_name: str, seen_moment: Moment) -> None:
        if (seen_name, seen_moment) == (name, moment):
            raise Died

    return probe


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("effect", "moment"),
    [
        ("sink.write", "before"),
        ("sink.write", "after"),
        ("sink.fsync", "before"),
        ("sink.fsync", "after"),
        ("sink.rename", "before"),
    ],
)
def test_dying_before_the_rename_leaves_the_old_file(
    tmp_path: Path, name: str, effect: str, moment: Moment
) -> None:
    (tmp_path / name).write_text("old")
    probe = dying_at(effect, moment)

    with (
        pytest.raises(Died),
        open_sink(tmp_path / name, columns=["a"], force=True, probe=probe) as sink,
    ):
        sink.write([["new"]])

    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "old")]


@pytest.mark.parametrize("name", ALL)
def test_an_error_of_the_caller_leaves_nothing(tmp_path: Path, name: str) -> None:
    def rows() -> Iterator[list[object]]:
        yield ["new"]
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        write_all(tmp_path / name, rows())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ALL)
def test_effects_are_told_in_order(tmp_path: Path, name: str) -> None:
    told: list[str] = []

    with open_sink(
        tmp_path / name, columns=["a"], probe=lambda effect, moment: told.append(effect)
    ) as sink:
        sink.write([[1], [2]])

    assert told[::2] == told[1::2] == ["sink.write", "sink.fsync", "sink.rename"]


def test_a_file_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")

    with pytest.raises(OutputExists, match="--force"), open_sink(tmp_path / "out.csv", columns=[]):
        pass

    assert (tmp_path / "out.csv").read_text() == "old"


def test_a_file_that_appears_in_the_meantime_is_not_overwritten(tmp_path: Path) -> None:
    def appear(effect: str, moment: Moment) -> None:
        (tmp_path / "out.csv").write_text("theirs")

    with (
        pytest.raises(OutputExists),
        open_sink(tmp_path / "out.csv", columns=["a"], probe=appear) as sink,
    ):
        sink.write([[1]])

    assert [file.read_text() for file in tmp_path.iterdir()] == ["theirs"]


def test_force_overwrites(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")

    with open_sink(tmp_path / "out.csv", columns=["a"], force=True) as sink:
        sink.write([[1]])

    assert (tmp_path / "out.csv").read_text() == "a\n1\n"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "out.csv").symlink_to("real.csv")

    with open_sink(tmp_path / "out.csv", columns=["a"], force=True) as sink:
        sink.write([[1]])

    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "a\n1\n"


REFUSED = {
    "missing/out.csv": "folder .* does not exist",
    "out.yaml": "extension",
    "out": "extension",
    "folder.csv": "is not a file",
}


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_what_cannot_be_written_is_refused_early(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(BadInput, match=why):
        check_sink(tmp_path / name, force=True)


def test_a_good_place_passes_the_check_and_nothing_is_made(tmp_path: Path) -> None:
    for name in (*ALL, "out.ndjson"):
        check_sink(tmp_path / name, force=False)
    check_sink("-", force=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.xlsx"])
def test_a_full_disk_is_told_in_one_line_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    values = [[f"{n:x}" * 20] for n in range(5_000)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))

    try:
        with pytest.raises(UsageError, match="cannot be written") as raised:
            write_all(tmp_path / name, values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("path", "text"), [("-", "a,b\n1,ä\n"), ("-:jsonl", '{"a":1,"b":"ä"}\n')])
def test_a_dash_writes_to_stdout(monkeypatch: pytest.MonkeyPatch, path: str, text: str) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))

    with open_sink(path, columns=["a", "b"]) as sink:
        sink.write([[1, "ä"]])

    assert out.getvalue().decode() == text


def test_what_a_killed_writer_left_is_swept_up(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    left = tmp_path / f".out.csv.{host}.{dead.pid}-1.part"
    at_work = tmp_path / f".out.csv.{host}.{os.getppid()}-1.part"
    for part in (left, at_work):
        part.touch()

    with open_sink(tmp_path / "out.csv", columns=["a"]) as sink:
        sink.write([["x"]])

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([at_work.name, "out.csv"])
