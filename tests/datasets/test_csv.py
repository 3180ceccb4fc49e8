"""CSV in: dialect, encoding, bad rows."""

import codecs
import gzip
import io
import sys
from pathlib import Path

import pytest

from anybatch.datasets.dialect import Dialect, find_dialect
from anybatch.errors import BadInput

from .reading import read_data, read_rows

GERMAN = "Größe passt nicht, Lieferung kam zu spät und war beschädigt"
POLISH = "Przesyłka dotarła za późno, a opakowanie było uszkodzone, źle się czuję"
RUSSIAN = "Доставка пришла слишком поздно, упаковка была повреждена"
JAPANESE = "配達が遅れて、箱が壊れていました。とても残念です"
FRENCH = "La livraison est arrivée très tard, c’était déjà cassé à l’ouverture"  # noqa: RUF001


def csv_file(tmp_path: Path, content: bytes | str, name: str = "in.csv") -> Path:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


DIALECTS = {
    "commas": ("id,text\n1,a\n2,b\n", {"id": "1", "text": "a"}),
    "semicolons and decimal commas": ("id;price\n1;2,50\n2;3,75\n", {"id": "1", "price": "2,50"}),
    "tabs and texts with commas": ("id\ttext\n1\ta, b\n2\tc, d, e\n", {"id": "1", "text": "a, b"}),
    "bars": ("id|text\n1|a,b;c\n", {"id": "1", "text": "a,b;c"}),
    "quoted delimiters": ('id,text\n1,"a, b"\n2,"c; d"\n', {"id": "1", "text": "a, b"}),
    "quoted semicolon header": ('"a";"b, c"\n1;2,5\n', {"a": "1", "b, c": "2,5"}),
    "doubled quotes": ('id,text\n1,"say ""hi"", he"\n', {"id": "1", "text": 'say "hi", he'}),
    "backslash quotes": (
        'id,text\n1,"say \\"hi, you\\", he"\n2,"b"\n',
        {"id": "1", "text": 'say "hi, you", he'},
    ),
    "quotes that mean nothing": (
        'id\ttext\n1\t"open\n2\tb\n3\tc\n',
        {"id": "1", "text": '"open'},
    ),
    "quoted newlines and CRLF": (
        'id,text\r\n1,"a\r\nb\nc"\r\n2,d\r\n',
        {"id": "1", "text": "a\r\nb\nc"},
    ),
    "old Macintosh line ends": ("id,text\r1,a\r2,b\r", {"id": "1", "text": "a"}),
    "excel's own hint": ("sep=|\r\nid|text\r\n1|a\r\n", {"id": "1", "text": "a"}),
    "spaces behind delimiters": (
        'id, text\n1, "a, b"\n2, c\n',
        {"id": "1", "text": "a, b"},
    ),
    "one column": ("text\nhello\nworld\n", {"text": "hello"}),
    "one column of prose": (
        "text\nwell, hello\nno; never\na, b, and c\n",
        {"text": "well, hello"},
    ),
    "a blank line first": ("\nid,text\n1,a\n", {"id": "1", "text": "a"}),
    "no newline at the end": ("id,text\n1,a", {"id": "1", "text": "a"}),
    "NUL bytes": ("id,text\n1,a\0b\n", {"id": "1", "text": "a\0b"}),
    "separators of Unicode": ("id,text\n1,a\u2028b\x85c\n", {"id": "1", "text": "a\u2028b\x85c"}),
    "a repeated column": ("a,a,a\n1,2,3\n", {"a": "1", "a_2": "2", "a_3": "3"}),
    "an unnamed column": ("a,,c\n1,2,3\n", {"a": "1", "column_2": "2", "c": "3"}),
    "an empty cell": ("a,b\n1,\n", {"a": "1", "b": ""}),
}


ODDITIES = {
    "mixed line ends": (b"id,text\r\n1,a\n2,b\r3,c\r\n", ["a", "b", "c"]),
    "three lines in a cell": (b'id,text\n1,"a\n\nb"\n2,"c\nd, e\n"\n', ["a\n\nb", "c\nd, e\n"]),
    "NUL bytes": (b"id,text\n1,\0\n2,a\0b\n", ["\0", "a\0b"]),
    "a mark in the middle": (b"id,text\n1,a\xef\xbb\xbf\n2,b\n", ["a\ufeff", "b"]),
    "a cell of a megabyte": (b"id,text\n1," + b"x" * 2**20 + b"\n2,y\n", ["x" * 2**20, "y"]),
    "names in different cases": (b"ID,id,text\n1,2,a\n", ["a"]),
}


@pytest.mark.parametrize(("content", "texts"), ODDITIES.values(), ids=ODDITIES.keys())
def test_what_is_odd_in_a_csv_but_clear_is_read(
    tmp_path: Path, content: bytes, texts: list[str]
) -> None:
    file = csv_file(tmp_path, content)

    assert [row["text"] for row in read_rows(file)] == texts


@pytest.mark.parametrize(("content", "first"), DIALECTS.values(), ids=DIALECTS.keys())
def test_the_dialect_of_a_csv_is_found(tmp_path: Path, content: str, first: dict[str, str]) -> None:
    file = csv_file(tmp_path, content)

    rows = read_rows(file)

    assert rows[0] == first


ENCODINGS = {
    "UTF-8": ("utf-8", GERMAN),
    "UTF-8 with a mark": ("utf-8-sig", GERMAN),
    "UTF-16 with a mark": ("utf-16", JAPANESE),
    "UTF-16 little-endian without a mark": ("utf-16-le", GERMAN),
    "UTF-16 big-endian without a mark": ("utf-16-be", GERMAN),
    "UTF-32 with a mark": ("utf-32", GERMAN),
    "Latin-1": ("latin-1", GERMAN),
    "Windows, western": ("cp1252", FRENCH),
    "Windows, central European": ("cp1250", POLISH),
    "Windows, Cyrillic": ("cp1251", RUSSIAN),
    "Shift JIS": ("cp932", JAPANESE),
}


@pytest.mark.parametrize(("encoding", "text"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_the_encoding_of_a_csv_is_found(tmp_path: Path, encoding: str, text: str) -> None:
    content = "id,text\n" + "".join(f'{n},"{text}"\n' for n in range(20))
    file = csv_file(tmp_path, content.encode(encoding))

    rows = read_rows(file)

    assert rows[0] == {"id": "0", "text": text}
    assert len(rows) == 20


@pytest.mark.parametrize("text", ["café", "déjà vu", "Jürgen aus Köln", "“hello” – €5", "naïve"])  # noqa: RUF001
def test_few_western_letters_are_enough(tmp_path: Path, text: str) -> None:
    file = csv_file(tmp_path, f"id,text\n1,{text}\n".encode("cp1252"))

    rows = read_rows(file)

    assert rows == [{"id": "1", "text": text}]


def test_latin_1_is_seen_far_behind_the_head_of_the_file(tmp_path: Path) -> None:
    plain = "".join(f"{n},plain text without any accent\n" for n in range(100_000))
    file = csv_file(tmp_path, f"id,text\n{plain}last,café\n".encode("latin-1"))

    rows = read_rows(file)

    assert rows[-1] == {"id": "last", "text": "café"}


def test_a_wrong_byte_in_utf_8_spoils_its_row_only(tmp_path: Path) -> None:
    file = csv_file(tmp_path, "id,text\n1,größe\n".encode() + b"2,\xff\xfe\n3,fine\n")

    reading = read_data(file)

    assert [row["id"] for row in reading.rows] == ["1", "3"]
    assert reading.bad == [(3, "it holds bytes that are not valid UTF-8")]


def test_bytes_of_no_encoding_are_refused_in_one_line(tmp_path: Path) -> None:
    file = csv_file(tmp_path, b"id,text\n" + bytes(range(128, 256)) * 30)

    with pytest.raises(BadInput, match="UTF-8") as raised:
        read_rows(file)

    assert "\n" not in str(raised.value)


def test_a_ragged_row_is_bad_and_says_the_line_it_starts_on(tmp_path: Path) -> None:
    file = csv_file(tmp_path, 'a,b\n1,"x\r\ny\nz"\n\n2,3,4\n5\n"6\n7",8\n9,10,11\n')

    reading = read_data(file)

    assert [row["a"] for row in reading.rows] == ["1", "6\n7"]
    assert reading.bad == [
        (6, "it has 3 fields and the header has 2"),
        (7, "it has 1 fields and the header has 2"),
        (10, "it has 3 fields and the header has 2"),
    ]


def test_a_quote_that_is_never_closed_is_a_bad_row(tmp_path: Path) -> None:
    fine = '1,"fine\nfine"\n' * 9
    file = csv_file(tmp_path, "a,b\n" + fine + '2,"open\n3,c\n4,d\n')

    reading = read_data(file)

    assert reading.rows == [{"a": "1", "b": "fine\nfine"}] * 9
    assert reading.bad == [(20, "a quote is opened here and not closed where the field ends")]


def test_a_quote_that_the_next_quote_closes_does_not_merge_rows(tmp_path: Path) -> None:
    fine = '1,"fine\nfine"\n' * 9
    file = csv_file(tmp_path, "a,b\n" + fine + '2,"open\n3,c\n4,"d"\n' + fine)

    reading = read_data(file)

    assert reading.rows == [{"a": "1", "b": "fine\nfine"}] * 18
    assert reading.bad_lines == [20]


def test_loose_quotes_are_read_where_they_are_the_custom(tmp_path: Path) -> None:
    file = csv_file(tmp_path, "a,b\n" + '1,"five" inches\n2,"c, d"\n' * 9)

    rows = read_rows(file)

    assert rows[:2] == [{"a": "1", "b": "five inches"}, {"a": "2", "b": "c, d"}]


def test_line_numbers_hold_in_every_chunk(tmp_path: Path) -> None:
    lines = [f'{n},"a\nb"' if n % 7 == 0 else f"{n},c" for n in range(20_000)]
    lines[15_000] = "1,2,3"
    file = csv_file(tmp_path, "n,text\n" + "\n".join(lines))

    reading = read_data(file)

    assert reading.bad_lines == [2 + 15_000 + len(range(0, 15_000, 7))]
    assert len(reading.rows) == 19_999


def test_a_field_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    file = csv_file(tmp_path, "id,text\n1," + "x" * 10_000_000 + "\n2,y\n")

    rows = read_rows(file)

    assert [len(row["text"]) for row in rows] == [10_000_000, 1]


def test_a_tsv_is_cut_at_tabs_only(tmp_path: Path) -> None:
    file = csv_file(tmp_path, "a,b\n1,2\n", "in.tsv")

    rows = read_rows(file)

    assert rows == [{"a,b": "1,2"}]


def test_a_gzipped_csv_is_read(tmp_path: Path) -> None:
    file = csv_file(tmp_path, gzip.compress(b"a,b\n1,2\n"), "in.csv.gz")

    rows = read_rows(file)

    assert rows == [{"a": "1", "b": "2"}]


def test_a_gzipped_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(100_000)))
    file = csv_file(tmp_path, whole[: len(whole) // 2], "in.csv.gz")

    with pytest.raises(BadInput, match="cannot be read"):
        read_rows(file)


@pytest.mark.parametrize("name", ["in.csv.gz", "in.jsonl.gz", "in.json.gz"])
def test_a_gzipped_file_that_is_damaged_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    whole = gzip.compress(b"".join(b'{"a": %d}\n' % (n * 7919) for n in range(100_000)))
    file = csv_file(tmp_path, whole[:1_000] + b"\xff" * 50 + whole[1_050:], name)

    with pytest.raises(BadInput) as raised:
        read_rows(file)

    assert "cannot be read: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rows_under_a_header_of_one_name_are_refused(tmp_path: Path) -> None:
    file = csv_file(tmp_path, "id\n1,a\n2,b\n")

    with pytest.raises(BadInput, match="no row"):
        read_data(file)


def test_one_mark_alone_is_an_empty_file(tmp_path: Path) -> None:
    file = csv_file(tmp_path, codecs.BOM_UTF8)

    with pytest.raises(BadInput, match="no header"):
        read_rows(file)


PROSE = "several lines, of prose\n"


@pytest.mark.parametrize("before", [0, 2_000], ids=["first", "in the middle"])
def test_a_quoted_text_longer_than_the_head_is_one_cell(tmp_path: Path, before: int) -> None:
    rows = "0,plain\n" * before
    file = csv_file(tmp_path, f'id,text\n{rows}1,"{PROSE * 50_000}"\n2,y\n')

    reading = read_rows(file)

    assert len(reading) == before + 2
    assert reading[before] == {"id": "1", "text": PROSE * 50_000}


def test_a_quoted_text_longer_than_the_head_comes_whole_from_stdin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = f'id,text\n1,"{PROSE * 50_000}"\n2,y\n'.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    rows = read_rows("-")

    assert [row["text"] for row in rows] == [PROSE * 50_000, "y"]


def test_where_the_head_of_a_file_ends_does_not_change_how_it_is_read() -> None:
    text = "id,text\n" + '1,"plain ""words"" here\nand, there"\n' * 50

    dialects = {find_dialect(text[: len(text) - cut], whole=False) for cut in range(40)}

    assert dialects == {find_dialect(text, whole=True)} == {Dialect(delimiter=",")}


def test_a_quote_that_means_nothing_and_swallows_the_head_stays_a_letter(tmp_path: Path) -> None:
    lines = "".join(f"{n}\tsome words here and there\n" for n in range(200_000))
    file = csv_file(tmp_path, 'id\ttext\n1\t"open\n' + lines)

    rows = read_rows(file)

    assert len(rows) == 200_001
    assert rows[0] == {"id": "1", "text": '"open'}


def test_wrong_bytes_in_the_header_are_refused_in_one_line(tmp_path: Path) -> None:
    file = csv_file(tmp_path, "größe,".encode() + b"te\xffxt\n1,a\n")

    with pytest.raises(BadInput, match="holds bytes that are not valid UTF-8"):
        read_rows(file)


def test_a_header_of_many_equal_names_is_numbered_at_once(tmp_path: Path) -> None:
    file = csv_file(tmp_path, "a," * 20_000 + "a\n" + "1," * 20_000 + "1\n")

    (row,) = read_rows(file)

    assert list(row)[-1] == "a_20001"
