"""Mistral's result lines, and what its jobs may look like."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.wire import mistral_batch as wire
from anybatch.wire.batch import ResultLine
from anybatch.wire.openai_batch import read_line

LINES: dict[str, tuple[object, ResultLine]] = {
    "an answer": (
        {"id": "b-1", "custom_id": "r1", "response": {"status_code": 200, "body": {"a": 1}}},
        ResultLine(custom_id="r1", line_id="b-1", status=200, body=b'{"a":1}'),
    ),
    "a refusal": (
        {"custom_id": "r1", "response": {"status_code": 422, "body": {"m": 1}}, "error": "no"},
        ResultLine(custom_id="r1", status=422, body=b'{"m":1}'),
    ),
}


@pytest.mark.parametrize(("line", "result"), LINES.values(), ids=LINES.keys())
def test_a_result_line_is_openais(line: object, result: ResultLine) -> None:
    assert read_line(msgspec.json.encode(line)) == result


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("the model is gone", "the model is gone"),
        ({"message": "the model is gone"}, "the model is gone"),
        ([1], "[1]"),
        (None, "neither a response nor an error"),
    ],
)
def test_an_error_may_be_a_text_or_anything(error: Any, message: str) -> None:
    read = read_line(msgspec.json.encode({"custom_id": "r1", "response": None, "error": error}))

    assert (read.custom_id, read.outcome) == ("r1", "server_error")
    assert read.failure is not None
    assert message in read.failure.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "status", "data", "metadata", "errors", "created_at"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON.map(msgspec.json.encode) | st.binary())
def test_what_is_no_job_raises_nothing_but_a_value_error(body: bytes) -> None:
    for read in (wire.read_batch, wire.read_batches, wire.read_files):
        try:
            read(body)
        except ValueError:
            continue
