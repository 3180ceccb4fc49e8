"""Parquet files, databases and queries in."""

from pathlib import Path

import pytest

from anybatch.datasets.source import open_source
from anybatch.errors import BadInput

from .reading import read_data, read_rows

duckdb = pytest.importorskip("duckdb")


def parquet_file(tmp_path: Path, select: str, name: str = "in.parquet") -> Path:
    file = tmp_path / name
    duckdb.connect().execute(f"copy ({select}) to '{file}' (format parquet)")
    return file


def test_a_parquet_file_is_rows_that_json_can_carry(tmp_path: Path) -> None:
    file = parquet_file(
        tmp_path,
        """select 1 as n, 'ä' as text, 1.50::decimal(9, 2) as price, 'ab'::blob as raw,
           date '2026-01-02' as day, timestamp '2026-01-02 03:04:05' as plain,
           timestamptz '2026-01-02 03:04:05+02' as zoned,
           [timestamptz '2026-01-02 03:04:05+00'] as zones,
           {'x': [1, 2], 'y': date '2026-01-02'} as nested, map {'k': 1} as pairs,
           'nan'::double as nan, null as nothing, true as yes""",
    )

    (row,) = read_rows(file)

    assert row | {"zones": None} == {
        "n": 1,
        "text": "ä",
        "price": "1.50",
        "raw": "YWI=",
        "day": "2026-01-02",
        "plain": "2026-01-02T03:04:05",
        "zoned": "2026-01-02T01:04:05Z",
        "zones": None,
        "nested": {"x": [1, 2], "y": "2026-01-02"},
        "pairs": {"k": 1},
        "nan": None,
        "nothing": None,
        "yes": True,
    }
    assert len(row["zones"]) == 1


def test_the_rows_of_a_big_parquet_file_come_in_chunks_and_in_order(tmp_path: Path) -> None:
    file = parquet_file(tmp_path, "select range as n from range(50000)")

    chunks = list(open_source(file).read(lambda line, why: None))

    assert len(chunks) > 10
    assert [row["n"] for chunk in chunks for row in chunk] == list(range(50_000))


def test_signs_of_a_glob_in_a_name_are_letters(tmp_path: Path) -> None:
    file = parquet_file(tmp_path, "select 1 as n", name="in[1] it''s.parquet".replace("''", ""))

    assert read_rows(file) == [{"n": 1}]


def test_a_query_stands_alone() -> None:
    source = open_source(None, sql="select range as n from range(3) order by n desc;")

    assert source.digest() is None
    assert [row for chunk in source.read(lambda *_: None) for row in chunk] == [
        {"n": 2},
        {"n": 1},
        {"n": 0},
    ]


def test_a_query_runs_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("n,text\n1,a\n2,b\n")

    rows = read_rows(tmp_path / "in.csv", sql="select text from data where n = 2")

    assert rows == [{"text": "b"}]


def test_a_query_runs_on_a_frame() -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")

    rows = read_rows(polars.DataFrame({"n": [1, 2]}), sql="select sum(n)::int as total from data")

    assert rows == [{"total": 3}]


def test_numbers_that_json_has_not_are_nothing_beside_times_too() -> None:
    sql = """select {'x': ['nan'::double, '-inf'::double, 1.5::double],
                    'z': timestamptz '2026-01-02 03:04:05+00'} as nested"""

    (row,) = read_rows(None, sql=sql)

    assert row["nested"]["x"] == [None, None, 1.5]


@pytest.mark.parametrize("name", ["s3://\udcff", "\udcff.parquet"])
def test_what_is_no_text_is_not_said_to_duckdb(name: str) -> None:
    with pytest.raises(BadInput) as of_the_data:
        read_data(name) if "://" in name else read_data(name, sql="select * from data")
    with pytest.raises(BadInput) as of_the_query:
        read_data(None, sql=f"select '{name}'")

    for raised in (of_the_data, of_the_query):
        assert "holds bytes that are not valid UTF-8" in str(raised.value)
        assert "\n" not in str(raised.value)


def database(tmp_path: Path, *tables: str) -> Path:
    file = tmp_path / "my.duckdb"
    with duckdb.connect(str(file)) as connection:
        for table in tables:
            connection.execute(f'create table "{table}" as select 1 as n')
    return file


def test_the_one_table_of_a_database_is_rows(tmp_path: Path) -> None:
    assert read_rows(database(tmp_path, "my table")) == [{"n": 1}]


def test_a_query_chooses_among_the_tables_of_a_database(tmp_path: Path) -> None:
    file = database(tmp_path, "a", "b")

    with pytest.raises(BadInput, match="2 tables"):
        read_rows(file)
    assert read_rows(file, sql="select n + 1 as m from b") == [{"m": 2}]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("selec 1", "syntax error"),
        ("select * from nowhere", "nowhere"),
        ("select 1 as n where false", "no row"),
        ("select * from 'missing.parquet'", "missing.parquet"),
        ("select 1 / 'x'::int from range(3)", "Could not convert"),
    ],
)
def test_a_query_that_fails_is_refused_in_one_line(sql: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as raised:
        read_data(None, sql=sql)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("select 1 as n; select 2 as n", 2),
        ("select 1 as n; copy (select 1) to 'gone.csv'", 2),
        ("set threads = 1; select 1 as n;", 2),
        ("", 0),
        (";", 0),
        ("-- a remark", 0),
    ],
)
def test_a_query_is_one_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, count: int
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BadInput) as raised:
        read_data(None, sql=sql)

    assert str(raised.value) == (
        f"'query' holds {count} statements, and one can be run. Give a single select."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("select '1;2' as n;;", {"n": "1;2"}),
        ("select 1 as n -- a remark", {"n": 1}),
        ("select 1 as n; -- a remark", {"n": 1}),
        ("/* ; */ with a as (select 1 as n) from a", {"n": 1}),
        ("select timetz '01:02:03+00' as t -- a remark", {"t": "01:02:03+00"}),
    ],
)
def test_remarks_and_semicolons_are_no_statements(sql: str, row: dict[str, object]) -> None:
    assert read_rows(None, sql=sql) == [row]


def test_an_address_without_its_extension_is_refused_without_a_download() -> None:
    with pytest.raises(BadInput, match="httpfs"):
        read_data("s3://bucket/file.parquet")


def test_a_query_on_dicts_is_refused() -> None:
    with pytest.raises(BadInput, match="data frames"):
        read_data([{"a": 1}], sql="select * from data")
