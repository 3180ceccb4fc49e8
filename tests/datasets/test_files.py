"""Which data is which: names, contents, folders; and what is refused."""

import gzip
import io
import sys
import tracemalloc
from pathlib import Path

import pytest

from anybatch.datasets.source import open_source
from anybatch.errors import BadInput

from .reading import read, read_data, read_rows

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ('{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        ('[{"a":1}]', [{"a": 1}]),
    ],
)
def test_a_file_without_an_extension_is_known_by_its_content(
    tmp_path: Path, content: str, rows: list[object]
) -> None:
    file = tmp_path / "data"
    file.write_text(content)

    assert read_rows(file) == rows


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"a;b\n1;2\n", [{"a": "1", "b": "2"}]),
        (b'{"a":1}\n', [{"a": 1}]),
        (b' [{"a":1}, {"a":2}]', [{"a": 1}, {"a": 2}]),
        ("a;b\n1;ä\n".encode("utf-16"), [{"a": "1", "b": "ä"}]),
        (b"a,b\n" + b"1,2\n" * 50_000, [{"a": "1", "b": "2"}] * 50_000),
    ],
)
def test_a_dash_reads_stdin(
    monkeypatch: pytest.MonkeyPatch, content: bytes, rows: list[object]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    source = open_source("-")

    assert source.digest() is None
    assert read(source).rows == rows


def test_wrong_bytes_late_in_stdin_spoil_their_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"a,b\n" + b"1,2\n" * 50_000 + b"3,\xff\n4,5\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    reading = read_data("-")

    assert reading.bad_lines == [50_002]
    assert len(reading.rows) == 50_001


def test_the_format_can_be_said(tmp_path: Path) -> None:
    file = tmp_path / "data.txt"
    file.write_text("a,b\n1,2\n")

    assert read_rows(file, format="csv") == [{"a": "1", "b": "2"}]


def test_a_digest_changes_with_the_bytes_only(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.csv", "same.csv", "other.csv"))
    one.write_text("a\n1\n")
    same.write_text("a\n1\n")
    other.write_text("a\n2\n")

    digests = [open_source(file).digest() for file in (one, same, other)]

    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0] or "") == 64


def test_a_source_of_a_file_can_be_read_twice(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("a\n1\n")
    source = open_source(file)

    assert read(source).rows == read(source).rows == [{"a": "1"}]


def text_folder(tmp_path: Path) -> Path:
    for name, content in {
        "b.txt": b"second",
        "a.md": "gr\u00f6\u00dfe".encode("latin-1"),
        "deep/c.txt": "\ufeffthird\r\n".encode(),
        "picture.png": b"\x89PNG\0",
        ".hidden/d.txt": b"no",
        "e.html": "<p>\u00e4".encode("utf-16"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_folder_gives_a_row_for_each_text_file(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)

    rows = read_rows(folder)

    assert rows == [
        {"path": "a.md", "text": "größe"},
        {"path": "b.txt", "text": "second"},
        {"path": "deep/c.txt", "text": "third\r\n"},
        {"path": "e.html", "text": "<p>ä"},
    ]


def test_a_glob_gives_a_row_for_each_file_that_matches(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)

    rows = read_rows(f"{folder}/**/*.txt")

    assert [row["path"] for row in rows] == ["b.txt", "deep/c.txt"]


def test_a_binary_file_under_a_glob_is_a_bad_row(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)

    reading = read_data(f"{folder}/*.*")

    assert reading.bad == [(4, "'picture.png' is binary and not text. Leave it out.")]


def test_a_single_text_file_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")

    assert read_rows(tmp_path / "a.txt") == [{"path": "a.txt", "text": "one\ntwo\n"}]


def test_the_digest_of_a_folder_sees_names_and_texts(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)
    before = open_source(folder).digest()
    (folder / "b.txt").rename(folder / "z.txt")

    after = open_source(folder).digest()

    assert before != after


REFUSED = {
    "missing.csv": (None, "does not exist"),
    "missing": (None, "does not exist"),
    "*.txt": (None, "no file matches"),
    "folder": ("folder", "holds no text files"),
    "data.xyz": (b"x", "extension '.xyz'"),
    "empty.csv": (b"", "is empty"),
    "empty.jsonl": (b"", "is empty"),
    "empty.json": (b"", "is empty"),
    "header.csv": (b"a,b\n", "no row"),
    "blank.csv": (b"\n\n", "no header"),
    "blank.jsonl": (b"\n\n", "no row"),
    "really.csv": (b"PK\x03\x04zip", "looks like xlsx"),
    "gzipped.csv": (gzip.compress(b"a\n1\n"), "looks like gzip"),
    "document": (b"%PDF-1.7", "looks like PDF"),
    "scalar.json": (b"42", "not a JSON array"),
    "not.csv.gz": (b"a,b\n1,2\n", "cannot be read"),
    "not.parquet": (b"hello, hello, hello", "cannot be read by DuckDB"),
    "not.xlsx": (b"hello", "not an Excel workbook"),
    "not.duckdb": (b"hello" * 1000, "cannot be read by DuckDB"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, why = REFUSED[name]
    if content == "folder":
        (tmp_path / name).mkdir()
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)

    with pytest.raises(BadInput) as raised:
        read_rows(str(tmp_path / name))

    message = str(raised.value)
    assert why in message
    assert repr(str(tmp_path / name)) in message
    assert "\n" not in message


def test_a_glob_of_tables_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")

    with pytest.raises(BadInput, match="--sql"):
        open_source(f"{tmp_path}/*.csv")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")

    with pytest.raises(BadInput, match="'yaml'"):
        read_rows(tmp_path / "a.csv", format="yaml")


@pytest.mark.parametrize("name", ["big.csv", "big.jsonl", "big.json"])
def test_a_big_file_is_read_in_constant_memory(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    start, line, end = {
        "big.csv": ("id,text\n", "{n},a text of some length that says little\n", ""),
        "big.jsonl": ("", '{{"id":{n},"text":"a text of some length"}}\n', ""),
        "big.json": ("[", '{{"id":{n},"text":"a text of some length"}},', '{"id":0}]'),
    }[name]
    file.write_text(start + "".join(line.format(n=n) for n in range(200_000)) + end)
    source = open_source(file)
    tracemalloc.start()

    count = sum(len(chunk) for chunk in source.read(lambda line, why: None))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count >= 200_000
    assert peak < 8_000_000


def test_real_questions_of_bank_customers_are_read() -> None:
    files = sorted((DATA / "banking77").glob("*.csv"))
    if not files:
        pytest.skip("the banking77 data is not on this machine")

    for file in files:
        rows = read_rows(file)

        assert len(rows) > 50
        assert all(value for row in rows[:1000] for value in row.values())
