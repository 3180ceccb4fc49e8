"""Ready-made requests in OpenAI's batch format."""

import json
from pathlib import Path

import pytest

from anybatch.datasets.source import open_source
from anybatch.errors import BadInput

from .reading import read, read_data

REQUEST = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"n": 1}}


def requests_file(tmp_path: Path, *lines: object) -> Path:
    file = tmp_path / "batch.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_file_of_requests_is_known_by_its_first_line(tmp_path: Path) -> None:
    file = requests_file(tmp_path, REQUEST, {**REQUEST, "custom_id": "b"})

    source = open_source(file)

    assert source.requests
    assert read(source).rows == [REQUEST, {**REQUEST, "custom_id": "b"}]


def test_a_first_request_longer_than_the_head_is_known(tmp_path: Path) -> None:
    file = requests_file(tmp_path, {**REQUEST, "body": {"text": "x" * 200_000}})

    source = open_source(file)

    assert source.requests


def test_rows_of_other_columns_are_not_requests(tmp_path: Path) -> None:
    file = requests_file(tmp_path, {"custom_id": "a", "text": "b"})

    source = open_source(file)

    assert not source.requests


def test_the_method_may_be_left_out(tmp_path: Path) -> None:
    file = requests_file(tmp_path, {k: v for k, v in REQUEST.items() if k != "method"})

    reading = read_data(file)

    assert reading.rows == [REQUEST]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"custom_id": 7}, "custom_id"),
        ({"custom_id": "a"}, "used before"),
        ({"url": None}, "url"),
        ({"body": "text"}, "body"),
        ({"body": [1]}, "body"),
    ],
)
def test_a_request_that_is_not_one_is_a_bad_row(
    tmp_path: Path, change: dict[str, object], why: str
) -> None:
    file = requests_file(tmp_path, REQUEST, {**REQUEST, "custom_id": "b", **change})

    reading = read_data(file)

    assert reading.rows == [REQUEST]
    assert reading.bad_lines == [2]
    assert why in reading.bad[0][1]


def test_what_on_bad_row_raises_ends_the_reading(tmp_path: Path) -> None:
    file = requests_file(tmp_path, REQUEST, REQUEST)

    def fail(line: int, why: str) -> None:
        raise BadInput(f"line {line}: {why}")

    with pytest.raises(BadInput, match="line 2: "):
        list(open_source(file).read(fail))
