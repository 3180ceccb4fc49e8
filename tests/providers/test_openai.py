"""OpenAI's conversations, one call at a time: no connection, no clock."""

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from anybatch.providers import openai
from anybatch.providers.flow import Call, Refused, Reply, Upload
from anybatch.providers.provider import Submission

T = TypeVar("T")

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def held(flow: Generator[Call, Reply, T], *replies: Reply) -> tuple[T, list[Call]]:
    """What a flow returns for these replies, and what it asked."""
    calls = [next(flow)]
    for reply in replies:
        try:
            calls.append(flow.send(reply))
        except StopIteration as end:
            said: T = end.value
            return said, calls
    raise AssertionError(f"the flow wants more: {calls[-1]}")


def ok(value: Any) -> Reply:
    return Reply(status=200, body=msgspec.json.encode(value))


def refusal(status: int, message: str = "no", **fields: str) -> Reply:
    return Reply(status=status, body=msgspec.json.encode({"error": {"message": message, **fields}}))


def batch(**fields: Any) -> dict[str, Any]:
    return {"id": "batch_1", "status": "validating", "created_at": NOON.timestamp(), **fields}


def submission(**fields: Any) -> Submission:
    given: dict[str, Any] = {"intent": "run-1-0", "api": "openai.chat", "model": "m", "size": 2}
    return Submission(**{**given, "file": "file-1", "requests": Path("in.jsonl"), **fields})


def test_an_upload_says_what_it_is_for_and_what_it_is_called() -> None:
    given = Upload(path=Path("x.jsonl"), name="anybatch-run-1-0.jsonl")

    file, (call,) = held(openai.upload(given), ok({"id": "file-9", "filename": "x"}))

    assert file == "file-9"
    assert (call.method, call.path, call.once) == ("POST", "/files", False)
    assert call.upload == msgspec.structs.replace(given, fields={"purpose": "batch"})


def test_a_submission_carries_our_mark_and_is_sent_once() -> None:
    taken, (call,) = held(openai.create(submission()), ok(batch(metadata={"anybatch": "run-1-0"})))

    assert (taken.id, taken.phase, taken.intent) == ("batch_1", "waiting", "run-1-0")
    assert call.once
    assert msgspec.json.decode(call.body or b"") == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"anybatch": "run-1-0"},
    }


def test_a_batch_is_found_by_its_mark_on_any_page() -> None:
    first = {"data": [batch(id="b3"), batch(id="b2", metadata={"other": "x"})], "has_more": True}
    second = {"data": [batch(id="b1", metadata={"anybatch": "run-1-0"})], "has_more": False}

    found, calls = held(openai.find(submission(), NOON), ok(first), ok(second))

    assert [one.id for one in found] == ["b1"]
    assert [call.path for call in calls] == ["/batches?limit=100", "/batches?limit=100&after=b2"]


def test_the_list_is_not_read_beyond_the_time_of_the_submission() -> None:
    old = batch(id="old", created_at=NOON.timestamp() - 3600)

    found, calls = held(openai.find(submission(), NOON), ok({"data": [old], "has_more": True}))

    assert found == []
    assert len(calls) == 1


def test_a_list_that_never_says_whether_there_is_more_ends_with_an_empty_page() -> None:
    found, calls = held(openai.find(submission(), NOON), ok({"data": [batch()]}), ok({"data": []}))

    assert (found, len(calls)) == ([], 2)


def test_uploads_are_found_by_their_name() -> None:
    files = {"data": [{"id": "f1", "filename": "mine"}, {"id": "f2", "filename": "yours"}]}

    found, _ = held(openai.find_upload("mine"), ok({**files, "has_more": False}))

    assert found == ["f1"]


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("validating", "waiting"),
        ("in_progress", "working"),
        ("finalizing", "working"),
        ("cancelling", "working"),
        ("completed", "ended"),
        ("failed", "ended"),
        ("expired", "ended"),
        ("cancelled", "ended"),
        ("a word of next year", "working"),
    ],
)
def test_every_status_is_a_phase(status: str, phase: str) -> None:
    seen, _ = held(openai.poll("batch_1"), ok(batch(status=status)))

    assert (seen.status, seen.phase) == (status, phase)


def test_an_empty_file_id_is_no_file() -> None:
    done = batch(status="completed", output_file_id="out", error_file_id="")

    seen, _ = held(openai.poll("batch_1"), ok(done))

    assert seen.results == ("out",)


def test_refused_lines_are_known_by_their_place() -> None:
    problems = [
        {"code": "invalid_json_line", "message": "not JSON", "line": 3},
        {"code": "empty_file", "message": "nothing", "line": None},
    ]

    seen, _ = held(openai.poll("b"), ok(batch(status="failed", errors={"data": problems})))

    assert [problem.code for problem in seen.problems] == ["invalid_json_line", "empty_file"]
    assert {line: why.message for line, why in seen.bad_lines.items()} == {3: "line 3: not JSON"}
    assert not seen.over_quota


def test_a_batch_over_the_limit_of_waiting_tokens_says_so() -> None:
    problem = {"code": "token_limit_exceeded", "message": "Limit: 2,000,000 enqueued tokens"}

    seen, _ = held(openai.poll("b"), ok(batch(status="failed", errors={"data": [problem]})))

    assert seen.over_quota


def test_to_cancel_what_is_over_is_to_look_at_it() -> None:
    seen, calls = held(openai.cancel("b"), refusal(409), ok(batch(status="completed")))

    assert seen.status == "completed"
    assert [(call.method, call.path) for call in calls] == [
        ("POST", "/batches/b/cancel"),
        ("GET", "/batches/b"),
    ]


def test_a_file_that_is_gone_counts_as_deleted() -> None:
    _, (call,) = held(openai.delete("f/1"), refusal(404))

    assert (call.method, call.path) == ("DELETE", "/files/f%2F1")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (refusal(401, code="invalid_api_key"), "auth"),
        (refusal(429, code="insufficient_quota"), "billing"),
        (refusal(429), "rate_limited"),
        (refusal(500), "server_error"),
        (Reply(status=200, body=b"<html>"), "server_error"),
        (Reply(status=200, body=b""), "server_error"),
        (Reply(status=200, body=b"[" * 10_000), "server_error"),
    ],
)
def test_what_is_no_batch_is_refused_with_a_reason(reply: Reply, outcome: str) -> None:
    with pytest.raises(Refused) as refused:
        held(openai.poll("b"), reply)

    assert refused.value.outcome == outcome
    assert refused.value.status == reply.status


def test_a_download_goes_to_its_file() -> None:
    _, (call,) = held(openai.fetch("out", Path("to")), ok({}))

    assert (call.path, call.download) == ("/files/out/content", Path("to"))
