"""OpenAI's result lines: what is read of them, and how they are written again."""

import msgspec
import pytest

from anybatch.wire import openai_batch as batch


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"req_1",'
        b'"body":{"id":"x"}},"error":null}',
        b'{"id":"batch_req_1","custom_id":"a","response":{"status_code":400,"request_id":null,'
        b'"body":{"error":{"message":"no","param":"p"}}},"error":null}',
        b'{"id":"batch_req_1","custom_id":"a","response":null,'
        b'"error":{"code":"batch_expired","message":"too late"}}',
        b'{"id":null,"custom_id":"a","response":null,"error":{"code":"odd","message":"?"}}',
    ],
)
def test_a_line_is_written_as_it_was_read(line: bytes) -> None:
    assert batch.write_line(batch.read_line(line)) == line


@pytest.mark.parametrize("id", ["", "x" * 300, "ü", 'a"b', 7, None, ["a"], {"a": 1}])
def test_what_is_no_id_of_a_line_is_none(id: object) -> None:
    response = {"status_code": 200, "request_id": id, "body": {}}
    said = {"id": id, "custom_id": "a", "response": response, "error": None}

    read = batch.read_line(msgspec.json.encode(said))

    assert (read.custom_id, read.status) == ("a", 200)
    assert (read.line_id, read.request_id) == (None, None)
