"""Lines as they stand in a file, in bounded memory."""

from io import BytesIO

import pytest

from anybatch.datasets.jsonlines import RawLine, raw_lines


def read(content: bytes, *, most: int = 10) -> list[RawLine]:
    return list(raw_lines(BytesIO(content), most=most))


def test_empty_lines_are_counted_and_left_out() -> None:
    assert read(b"a\n\n \r\nb") == [RawLine(1, b"a", 2), RawLine(4, b"b", 1)]


def test_a_line_ends_at_a_newline_and_nothing_else() -> None:
    text = "a\u2028b\u0085\rc".encode()

    assert [line.content for line in read(text + b"\r\nd\n")] == [text, b"d"]


@pytest.mark.parametrize("length", [9, 10, 11, 25, 3_000_000])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_of_a_long_line_the_beginning_is_held_and_the_size_is_true(length: int, end: bytes) -> None:
    long, *rest = read(b"x" * length + end + (b"next\n" if end else b""))

    assert len(long.content) == min(length, 10)
    assert long.size == length + len(end)
    assert rest == ([RawLine(2, b"next", 5)] if end else [])
