"""Lines end at the byte `\\n` and nowhere else."""

import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Failure, Result, Usage
from anybatch.core.states import OUTCOMES
from anybatch.wire.jsonl import CHUNK, lines, number_of, read_result, write_line

RESULTS = st.builds(
    Result,
    n=st.integers(0, 2**63),
    outcome=st.sampled_from(sorted(OUTCOMES)),
    status=st.none() | st.integers(0, 999),
    body=st.one_of(st.text(), st.none(), st.lists(st.integers())).map(
        lambda value: msgspec.Raw(msgspec.json.encode(value))
    ),
    failure=st.none() | st.builds(Failure, message=st.text(), code=st.none() | st.text()),
    usage=st.builds(Usage, tokens_in=st.integers(0, 2**40), tokens_out=st.integers(0, 2**40)),
    model=st.none() | st.text(),
    tries=st.integers(1, 9),
    ms=st.integers(0, 2**40),
)


def whole_lines(content: bytes, *, size: int) -> list[bytes]:
    return list(lines(io.BytesIO(content), size=size))


@given(st.binary(), st.integers(0, 300))
def test_lines_are_what_stands_before_each_newline_within_the_size(content, size: int) -> None:
    found = whole_lines(content, size=size)

    assert found == content[:size].split(b"\n")[:-1]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_what_unicode_calls_a_line_end_is_none(separator: str) -> None:
    content = f'"a{separator}b"\n"c"\n'.encode()

    found = whole_lines(content, size=len(content))

    assert found == [f'"a{separator}b"'.encode(), b'"c"']


@pytest.mark.parametrize("length", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_a_line_may_be_longer_than_what_is_read_at_once(length: int) -> None:
    content = b"x" * length + b"\n" + b"y\n" + b"torn"

    found = whole_lines(content, size=len(content))

    assert [len(line) for line in found] == [length, 1]


def test_what_lies_behind_the_size_is_never_read() -> None:
    file = io.BytesIO(b"a\nb\nc\n")

    found = list(lines(file, size=4))

    assert found == [b"a", b"b"]
    assert file.tell() == 4


@given(RESULTS)
def test_a_result_comes_back_as_it_was_written(result: Result) -> None:
    line = write_line(result)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_result(line) == result


@given(RESULTS)
def test_the_number_of_a_line_is_read_without_the_rest(result: Result) -> None:
    line = write_line(result)[:-1]

    assert number_of(line) == read_result(line).n == result.n


@pytest.mark.parametrize("line", [b"", b"{}", b'{"n":1,"outcome":"nope"}', b'{"n":1,"outcome":"su'])
def test_a_line_that_is_no_result_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_result(line)
