"""Together's conversations, one call at a time: no connection, no clock."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.providers import together
from anybatch.providers.flow import Refused, Reply, Upload
from anybatch.providers.provider import BatchApi, Uploaded

from .conversation import held, ok
from .test_openai import NOON, refusal, submission

SENT = Upload(path=Path("in.jsonl"), name="anybatch-1.jsonl", sha256="abc")
WHERE = "https://storage.example/x?signature=secret"
TOLD = Reply(status=302, body=b"", headers={"location": WHERE, "x-together-file-id": "file-1"})
STORED = Reply(status=200, body=b"")


def api() -> BatchApi:
    assert together.TOGETHER.batch is not None
    return together.TOGETHER.batch


def job(name: str = "b1", status: str = "VALIDATING", **fields: Any) -> dict[str, Any]:
    told = {"id": name, "status": status, "created_at": NOON.isoformat()}
    return {**told, "input_file_id": "file-1", "error": None, **fields}


def test_an_upload_is_announced_sent_without_the_key_and_handed_over() -> None:
    file, (announced, sent, handed) = held(together.upload(SENT), TOLD, STORED, ok({"id": "x"}))

    assert file == "file-1"
    assert announced.form == {
        "purpose": "batch-api",
        "file_name": "anybatch-1.jsonl",
        "file_type": "jsonl",
        "checksum": "abc",
    }
    assert (sent.method, sent.path, sent.upload, sent.keyless) == ("PUT", WHERE, SENT, True)
    assert (handed.method, handed.path) == ("POST", "/files/file-1/preprocess")
    assert not announced.keyless
    assert not handed.keyless


def test_a_content_that_the_service_has_already_is_not_sent_again() -> None:
    known = Reply(status=409, body=b'{"file_id":"file-7"}')

    file, calls = held(together.upload(SENT), known)

    assert (file, len(calls)) == ("file-7", 1)


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([refusal(401)], "auth"),
        ([refusal(409)], "server_error"),
        ([ok({"id": "file-1"})], "server_error"),
        ([Reply(status=302, body=b"", headers={"location": WHERE})], "server_error"),
        ([TOLD, Reply(status=403, body=WHERE.encode())], "server_error"),
        ([TOLD, STORED, refusal(500)], "server_error"),
    ],
)
def test_an_upload_that_is_not_taken_is_refused(replies: list[Reply], outcome: str) -> None:
    with pytest.raises(Refused) as refused:
        held(together.upload(SENT), *replies)

    assert refused.value.outcome == outcome
    assert "signature" not in refused.value.failure.message


def test_an_upload_is_found_by_its_name_unless_its_bytes_never_came() -> None:
    files = [
        {"id": "f1", "filename": "anybatch-1", "bytes": 0},
        {"id": "f2", "filename": "anybatch-1", "bytes": 9},
        {"id": "f3", "filename": "mine", "bytes": 9},
    ]

    found, (call,) = held(together.find_upload("anybatch-1"), ok({"data": files}))
    listed, _ = held(together.list_uploads("anybatch-"), ok({"data": files}))

    assert (found, call.path) == (["f2"], "/files")
    assert listed == [Uploaded("f2", "anybatch-1")]


def test_a_submission_is_sent_once_and_known_by_its_file() -> None:
    taken, (call,) = held(together.create(submission()), ok({"job": job(), "warning": "slow"}))

    assert (taken.id, taken.phase, taken.input_file) == ("b1", "waiting", "file-1")
    assert call.once
    assert msgspec.json.decode(call.body or b"") == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }


def test_a_submission_whose_answer_was_lost_is_found_by_its_file() -> None:
    long_ago = (NOON - timedelta(hours=1)).isoformat()
    listed = [
        job("theirs", input_file_id="file-2"),
        job("ours"),
        job("older", created_at=long_ago),
        job("without a time", created_at=None),
    ]

    found, (call,) = held(together.find(submission(), NOON), ok(listed))

    assert [one.id for one in found] == ["ours", "without a time"]
    assert call.path == "/batches"


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("VALIDATING", "waiting"),
        ("IN_PROGRESS", "working"),
        ("COMPLETED", "ended"),
        ("FAILED", "ended"),
        ("EXPIRED", "ended"),
        ("CANCELLED", "ended"),
        ("A_WORD_OF_NEXT_YEAR", "working"),
    ],
)
def test_every_status_is_a_phase(status: str, phase: str) -> None:
    seen, (call,) = held(together.poll("b1"), ok(job(status=status)))

    assert (seen.status, seen.phase, call.path) == (status, phase, "/batches/b1")


def test_both_files_of_a_batch_are_results_and_why_it_failed_is_told() -> None:
    done, _ = held(
        together.poll("b1"), ok(job(status="COMPLETED", output_file_id="o", error_file_id="e"))
    )
    failed, _ = held(together.poll("b1"), ok(job(status="FAILED", error="line 3 is no JSON")))

    assert (done.results, done.problems) == (("o", "e"), ())
    assert [problem.message for problem in failed.problems] == ["line 3 is no JSON"]


@pytest.mark.parametrize("status", [400, 409, 422])
def test_to_cancel_what_is_over_is_to_look_at_it(status: int) -> None:
    seen, calls = held(together.cancel("b1"), refusal(status), ok(job(status="COMPLETED")))

    assert seen.phase == "ended"
    assert [call.path for call in calls] == ["/batches/b1/cancel", "/batches/b1"]


@pytest.mark.parametrize("body", [b"{}", b'{"data":[]}', b"<html>", b""])
def test_what_is_no_list_is_not_an_empty_one(body: bytes) -> None:
    with pytest.raises(Refused):
        held(together.find(submission(), NOON), Reply(status=200, body=body))


def test_a_line_has_a_name_and_a_body_and_nothing_else() -> None:
    line = api().write_request("openai.chat", "r0-1", b'{"model":"m"}')

    assert line == b'{"custom_id":"r0-1","body":{"model":"m"}}'
