"""JSON Lines and JSON arrays in."""

import io
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.datasets.array import split_array
from anybatch.errors import BadInput

from .reading import read_data, read_rows

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def file_of(tmp_path: Path, content: bytes | str, name: str = "in.jsonl") -> Path:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_json_lines_end_at_a_newline_only(tmp_path: Path) -> None:
    texts = ["a\u2028b", "c\u2029d", "e\x85f", "g\vh\fi\x1cj"]
    lines = "".join(json.dumps({"t": text}, ensure_ascii=False) + "\n" for text in texts)
    file = file_of(tmp_path, lines)

    rows = read_rows(file)

    assert [row["t"] for row in rows] == texts


def test_marks_blank_lines_and_crlf_are_tolerated(tmp_path: Path) -> None:
    file = file_of(tmp_path, b'\xef\xbb\xbf{"a":1}\r\n\r\n  \n{"a":2}')

    rows = read_rows(file)

    assert rows == [{"a": 1}, {"a": 2}]


def test_json_lines_in_utf_16_are_read(tmp_path: Path) -> None:
    file = file_of(tmp_path, '{"a":"ä"}\n{"a":"\u2028"}\n'.encode("utf-16"))

    rows = read_rows(file)

    assert rows == [{"a": "ä"}, {"a": "\u2028"}]


def test_files_that_were_joined_may_each_have_their_mark(tmp_path: Path) -> None:
    file = file_of(tmp_path, b'\xef\xbb\xbf{"a":1}\n\xef\xbb\xbf{"a":2}\n\xef\xbb\xbf\n')

    assert read_rows(file) == [{"a": 1}, {"a": 2}]


def test_of_a_key_that_comes_twice_the_last_one_counts(tmp_path: Path) -> None:
    file = file_of(tmp_path, '{"a":1,"b":2,"a":3}\n')

    assert read_rows(file) == [{"a": 3, "b": 2}]


def test_half_a_surrogate_pair_in_utf_16_spoils_its_line_only(tmp_path: Path) -> None:
    lines = '{"a":1}\n{"a":"\ud800"}\n{"a":3}\n'.encode("utf-16", "surrogatepass")
    file = file_of(tmp_path, lines)

    reading = read_data(file)

    assert reading.rows == [{"a": 1}, {"a": 3}]
    assert reading.bad_lines == [2]


@pytest.mark.parametrize("name", ["in.jsonl", "in.json"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_json_that_ends_in_half_a_letter_is_refused_in_one_line(
    tmp_path: Path, name: str, encoding: str
) -> None:
    content = '[{"a":1}]' if name == "in.json" else '{"a":1}\n'
    file = file_of(tmp_path, content.encode(encoding) + b"\0", name)

    with pytest.raises(BadInput, match=f"taken for '{encoding}-le' text, but holds the byte 0x00"):
        read_rows(file)


BAD_LINES = {
    "not JSON": (b"hello", "not valid JSON"),
    "cut off": (b'{"a": [1, 2', "not valid JSON"),
    "two on a line": (b'{"a":1} {"a":2}', "not valid JSON"),
    "a list": (b"[1, 2]", "not the object"),
    "a number": (b"42", "not the object"),
    "null": (b"null", "not the object"),
    "invalid UTF-8": (b'{"a":"\xff"}', "not valid UTF-8"),
    "half a surrogate pair": (b'{"a":"\\ud800"}', "half a surrogate pair"),
    "the other half": (b'{"a":"\\udc00 x"}', "half a surrogate pair"),
    "100,000 deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
    "NaN": (b'{"a":NaN}', "not valid JSON"),
    "Infinity": (b'{"a":-Infinity}', "not valid JSON"),
    "a NUL byte": (b'{"a":"x\0y"}', "not valid JSON"),
    "a number out of range": (b'{"a":1e999}', "not the object"),
}


@pytest.mark.parametrize(("line", "why"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line_spoils_itself_only(tmp_path: Path, line: bytes, why: str) -> None:
    file = file_of(tmp_path, b'{"a":1}\n' + line + b'\n{"a":3}\n')

    reading = read_data(file)

    assert reading.rows == [{"a": 1}, {"a": 3}]
    assert reading.bad_lines == [2]
    assert why in reading.bad[0][1]


BAD_ELEMENTS = {name: bad for name, bad in BAD_LINES.items() if name != "cut off"}


@pytest.mark.parametrize(("element", "why"), BAD_ELEMENTS.values(), ids=BAD_ELEMENTS.keys())
def test_a_bad_element_of_an_array_spoils_itself_only(
    tmp_path: Path, element: bytes, why: str
) -> None:
    file = file_of(tmp_path, b'[{"a":1},' + element + b',{"a":3}]', "in.json")

    reading = read_data(file)

    assert reading.rows == [{"a": 1}, {"a": 3}]
    assert reading.bad_lines == [2]
    assert why in reading.bad[0][1]


def test_a_line_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    file = file_of(tmp_path, json.dumps({"t": "x" * 10_000_000}) + '\n{"t":"y"}\n')

    rows = read_rows(file)

    assert [len(row["t"]) for row in rows] == [10_000_000, 1]


def test_an_element_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    file = file_of(tmp_path, json.dumps([{"t": '"\\[{' * 2_500_000}, {"t": "y"}]), "in.json")

    rows = read_rows(file)

    assert [len(row["t"]) for row in rows] == [10_000_000, 1]


@given(elements=st.lists(VALUES), indent=st.none() | st.integers(0, 2), ascii=st.booleans())
def test_the_splitter_agrees_with_the_decoder(
    elements: list[object], indent: int | None, ascii: bool
) -> None:
    whole = json.dumps(elements, indent=indent, ensure_ascii=ascii).encode()

    split = [msgspec.json.decode(element) for element in split_array(io.BytesIO(whole))]

    assert split == msgspec.json.decode(whole)


class Drip(io.BytesIO):
    """A file that gives one byte at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1)


@given(elements=st.lists(VALUES, max_size=5))
def test_the_splitter_does_not_care_where_blocks_end(elements: list[object]) -> None:
    whole = json.dumps(elements).encode()

    split = [msgspec.json.decode(element) for element in split_array(Drip(whole))]

    assert split == elements


@pytest.mark.parametrize(
    ("content", "rows", "bad"),
    [
        (b'[{"a":1},', 1, "ends before"),
        (b'[{"a":1},{"a":', 1, "ends before"),
        (b'[{"a":1},{"a":"x', 1, "ends before"),
        (b'[{"a":1}] [', 1, "goes on"),
        (b'[{"a":1},]', 1, "not valid JSON"),
        (b'[{"a":1},,{"a":2}]', 2, "not valid JSON"),
    ],
)
def test_a_broken_array_gives_what_is_whole(
    tmp_path: Path, content: bytes, rows: int, bad: str
) -> None:
    file = file_of(tmp_path, content, "in.json")

    reading = read_data(file)

    assert len(reading.rows) == rows
    assert bad in reading.bad[-1][1]


def test_json_lines_under_the_name_json_are_read(tmp_path: Path) -> None:
    file = file_of(tmp_path, '{"a":1}\n{"a":2}\n', "in.json")

    rows = read_rows(file)

    assert rows == [{"a": 1}, {"a": 2}]


def test_a_list_inside_an_object_is_refused_with_the_way_out(tmp_path: Path) -> None:
    file = file_of(tmp_path, '{\n "rows": [{"a": 1}]}', "in.json")

    with pytest.raises(BadInput, match=r"jq '\.rows'"):
        read_rows(file)


@pytest.mark.parametrize("content", ["[]", "[ \n ]"])
def test_an_empty_array_is_refused(tmp_path: Path, content: str) -> None:
    file = file_of(tmp_path, content, "in.json")

    with pytest.raises(BadInput, match="no row"):
        read_rows(file)
