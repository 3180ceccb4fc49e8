"""Which data is which: names, contents, folders; and what is refused."""

import gzip
import io
import os
import sys
import tracemalloc
from pathlib import Path
from threading import Thread

import pytest

from anybatch.datasets import streams
from anybatch.datasets.delimited import find_reading
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


def piped(tmp_path: Path, name: str, content: bytes) -> Path:
    """A pipe that gives `content` once, to one reader."""
    path = tmp_path / name
    os.mkfifo(path)
    Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pipe", b"a,b\n" + b"1,2\n" * 50_000),
        ("pipe.csv", b"a,b\n" + b"1,2\n" * 50_000),
        ("pipe.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 50_000)),
        ("pipe.jsonl", b'{"a":"1","b":"2"}\n' * 50_000),
    ],
)
def test_a_pipe_is_read_once_and_whole(tmp_path: Path, name: str, content: bytes) -> None:
    source = open_source(piped(tmp_path, name, content))

    assert source.digest() is None
    assert read(source).rows == [{"a": "1", "b": "2"}] * 50_000


@pytest.mark.parametrize("name", ["pipe.parquet", "pipe.xlsx", "pipe.duckdb", "pipe.txt"])
def test_what_cannot_come_through_a_pipe_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)

    with pytest.raises(BadInput, match=f"'.*{name}' is no file but a pipe, and .* Save it"):
        open_source(tmp_path / name)


def odd_folder(tmp_path: Path) -> str:
    """A folder with a text and a table, all named in bytes that are no UTF-8."""
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/gr\xf6\xdfe")
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    Path(folder, os.fsdecode(b"\xfc.txt")).write_text("hi")
    Path(folder, os.fsdecode(b"\xfc.csv")).write_text("a\n1\n")
    return folder


def test_a_name_that_is_no_text_is_spelled_out(tmp_path: Path) -> None:
    folder = odd_folder(tmp_path)
    row = {"path": "\\udcfc.txt", "text": "hi"}

    assert open_source(folder).name.endswith("gr\\udcf6\\udcdfe")
    assert open_source(folder).digest() is not None
    assert read_rows(folder) == read_rows(f"{folder}/*.txt") == [row]
    assert read_rows(os.fsdecode(os.fsencode(folder) + b"/\xfc.csv")) == [{"a": "1"}]


@pytest.mark.parametrize(
    ("name", "why"), [("", "is empty"), ("x" * 5_000, "too long"), ("a\0b", "does not exist")]
)
def test_a_name_that_can_be_no_files_is_refused(name: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        open_source(name)


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


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a,b\tc\n1,2\t3\n", ["f.csv", "f.tsv"]),
        (b'{"a":1}\n{"a":2}\n', ["f.jsonl", "f.json", "f.txt", "f.csv"]),
        (b'[{"a":1}]', ["f.json", "f.csv", "f.md"]),
    ],
)
def test_the_same_bytes_under_another_format_are_other_data(
    tmp_path: Path, content: bytes, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(content)

    digests = {open_source(tmp_path / name).digest() for name in names}

    assert len(digests) == len(names)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a,b\n1,2\n", ["f.csv", "g.CSV", "f"]),
        (b'{"a":1}\n{"a":2}\n', ["f.jsonl", "f.ndjson", "f"]),
        (b'[{"a":1}]', ["f.json", "f"]),
    ],
)
def test_the_same_bytes_under_another_name_are_the_same_data(
    tmp_path: Path, content: bytes, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(content)

    digests = {open_source(tmp_path / name).digest() for name in names}

    assert len(digests) == 1


def test_encoding_and_dialect_are_a_part_of_how_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    found = []
    for content in ("id,text\n1,größe\n", "id;text\n1;größe\n"):
        for encoding in ("utf-8", "latin-1"):
            file.write_bytes(content.encode(encoding))
            found.append(str(find_reading(streams.from_path(file, name="in.csv"))))

    digests = {streams.digest_file(file, read_as=read_as) for read_as in found}

    assert len(set(found)) == len(digests) == 4


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

    assert reading.bad == [(4, "'picture.png' is binary and not text. Leave it out")]


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
    "folder.csv": ("folder", "holds no text files"),
    "half.csv": ("a,b\n1,2\n".encode("utf-16")[:-1], "holds the byte 0x0a"),
    "zeros.csv": (b"\0" * 1000, "no row"),
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
