"""The fake's validation: which line fails a batch, and in which words."""

from typing import Any

import pytest

from anybatch.testing import FakeOpenAI

from .plain import create, lines, poll, row, rows, send_batch, send_file, upload

BODY = {"model": "m", "messages": []}


def failed(content: bytes, **options: Any) -> list[dict[str, Any]]:
    """What is wrong with a batch of this input."""
    with FakeOpenAI(**options) as fake:
        batch = poll(fake, send_batch(fake, upload(fake, content)).json["id"])

    assert batch["status"] == "failed"
    assert batch["failed_at"] is not None
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert fake.ledger.executed == 0
    assert batch["errors"]["object"] == "list"
    problems = batch["errors"]["data"]
    assert isinstance(problems, list)
    return problems


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"custom_id": "\xff"}', "invalid_json_line", None),
        (row("a", custom_id=None), "missing_required_parameter", "custom_id"),
        (row("a", method=None), "missing_required_parameter", "method"),
        (row("a", url=None), "missing_required_parameter", "url"),
        (row("a", body=None), "missing_required_parameter", "body"),
        (row("first"), "duplicate_custom_id", "custom_id"),
        (row(""), "invalid_custom_id", "custom_id"),
        (row("a", method="GET"), "invalid_method", "method"),
        (row("a", url="/v1/embeddings"), "invalid_url", "url"),
        (row("a", body=[]), "invalid_request", "body"),
        (row("a", body={"messages": []}), "invalid_request", "body.model"),
        (row("a", body={"model": "m"}), "invalid_request", "body.messages"),
        (row("a", body={**BODY, "model": "n"}), "mismatched_model", "body.model"),
        (row("a", body={**BODY, "stream": True}), "streaming_unsupported", "body.stream"),
    ],
)
def test_a_bad_line_fails_the_batch_by_its_number(
    line: bytes | dict[str, Any], code: str, param: str | None
) -> None:
    bad = line if isinstance(line, bytes) else lines([line]).strip()

    (problem,) = failed(lines([row("first")]) + bad + b"\n" + lines([row("last")]))

    assert (problem["code"], problem["param"], problem["line"]) == (code, param, 2)
    assert problem["message"]


def test_all_bad_lines_are_reported() -> None:
    content = lines([row("a"), row("a"), row("b", url="/v1/fun"), row("c")]) + b"nothing"

    problems = failed(content)

    assert [(one["line"], one["code"]) for one in problems] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_url"),
        (5, "invalid_json_line"),
    ]


def test_a_model_that_is_not_served_in_batches_fails_the_batch() -> None:
    (problem,) = failed(lines([row("a")]), unbatched_models=["m"])

    assert (problem["code"], problem["param"]) == ("model_not_found", "body.model")


def test_too_many_lines_fail_the_batch() -> None:
    (problem,) = failed(lines(rows(3)), max_rows=2)

    assert problem["line"] is None


def test_blank_lines_are_no_rows() -> None:
    with FakeOpenAI() as fake:
        content = lines([row("a")]) + b"\n \r\n" + lines([row("b")]).strip()
        batch = poll(fake, send_batch(fake, upload(fake, content)).json["id"])

    assert batch["request_counts"]["completed"] == 2


@pytest.mark.parametrize("purpose", [None, "user_data"])
def test_an_input_that_is_not_there_fails_the_batch_and_not_its_creation(
    purpose: str | None,
) -> None:
    with FakeOpenAI() as fake:
        file_id = "file-none"
        if purpose is not None:
            file_id = send_file(fake, b"x", purpose=purpose).json["id"]
        created = send_batch(fake, file_id)
        batch = poll(fake, created.json["id"])

    assert (created.status, created.json["status"]) == (200, "validating")
    assert batch["status"] == "failed"
    (problem,) = batch["errors"]["data"]
    assert (problem["code"], problem["param"]) == ("invalid_request", "file_id")
    assert file_id in problem["message"]


def test_more_tokens_than_may_be_enqueued_fail_the_batch() -> None:
    given = [row(f"r{n}", "four" * 10) for n in range(10)]
    with FakeOpenAI(enqueued_tokens=99) as fake:
        batch = poll(fake, create(fake, given))

    (problem,) = batch["errors"]["data"]
    assert problem["code"] == "token_limit_exceeded"
    assert (problem["line"], problem["param"]) == (None, None)
    assert "Limit: 99 enqueued tokens" in problem["message"]
