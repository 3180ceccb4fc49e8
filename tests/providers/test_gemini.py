"""Gemini's conversations, one call at a time: no connection, no clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.providers import gemini
from anybatch.providers.flow import Call, Refused, Reply, Upload
from anybatch.providers.provider import Submission
from anybatch.wire.gemini import write_error

from .conversation import held, ok

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
WHERE = "http://127.0.0.1/upload/v1beta/files?upload_id=x"
BEGUN = ok({}, x_goog_upload_url=WHERE)
DONE = ok({"file": {"name": "files/9", "displayName": "mine"}})


def refusal(status: int) -> Reply:
    return Reply(status=status, body=write_error(status, "no"))


def batch(name: str = "batches/1", state: str = "RUNNING", **about: Any) -> dict[str, Any]:
    told = {"state": f"BATCH_STATE_{state}", "createTime": NOON.isoformat(), **about}
    return {"name": name, "metadata": told}


def submission(**fields: Any) -> Submission:
    given: dict[str, Any] = {"intent": "run-1-0", "api": "gemini.generate", "model": "gemini-x"}
    given = {**given, "size": 2, "file": "files/1", "requests": Path("in.jsonl")}
    return Submission(**{**given, **fields})


@pytest.fixture
def file(tmp_path: Path) -> Upload:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"12345")
    return Upload(path=path, name="mine")


def asked(calls: list[Call]) -> list[tuple[str, str]]:
    return [(call.method, call.path) for call in calls]


def test_an_upload_is_announced_and_then_sent_where_the_service_wants_it(file: Upload) -> None:
    name, (announced, sent) = held(gemini.upload(file), BEGUN, DONE)

    assert name == "files/9"
    assert (announced.path, announced.before) == ("/files", "/upload")
    assert announced.headers["X-Goog-Upload-Header-Content-Length"] == "5"
    assert msgspec.json.decode(announced.body or b"")["file"]["displayName"] == "mine"
    assert (sent.method, sent.path, sent.upload) == ("POST", WHERE, file)
    assert sent.headers["X-Goog-Upload-Command"] == "upload, finalize"


def test_an_upload_that_has_ended_already_is_taken(file: Upload) -> None:
    listed = ok({"files": [{"name": "files/9", "displayName": "mine"}]})

    name, calls = held(gemini.upload(file), BEGUN, refusal(400), listed)

    assert name == "files/9"
    assert asked(calls)[2:] == [("GET", "/files?pageSize=100")]


def test_an_upload_that_broke_off_is_begun_anew(file: Upload) -> None:
    name, calls = held(gemini.upload(file), BEGUN, refusal(400), ok({}), BEGUN, DONE)

    assert name == "files/9"
    assert asked(calls)[3:] == [("POST", "/files"), ("POST", WHERE)]


@pytest.mark.parametrize(
    "replies",
    [
        [refusal(403)],
        [ok({})],
        [BEGUN, refusal(429)],
        [BEGUN, ok({"file": {"displayName": "mine"}})],
        [BEGUN, refusal(400), *[ok({}), BEGUN, refusal(400)] * 2],
    ],
)
def test_an_upload_that_is_not_taken_is_refused(replies: list[Reply], file: Upload) -> None:
    with pytest.raises(Refused):
        held(gemini.upload(file), *replies)


def test_uploads_are_found_by_their_name_on_any_page() -> None:
    first = {"files": [{"name": "files/1", "displayName": "mine"}], "nextPageToken": "t/"}
    second = {"files": [{"name": "files/2", "displayName": "mine too"}, {"name": "files/3"}]}

    found, calls = held(gemini.find_upload("mine"), ok(first), ok(second))

    assert found == ["files/1"]
    assert asked(calls)[1] == ("GET", "/files?pageSize=100&pageToken=t%2F")


@pytest.mark.parametrize(
    ("api", "path", "field"),
    [
        ("gemini.generate", "/models/gemini-x:batchGenerateContent", "fileName"),
        ("gemini.embed", "/models/gemini-x:asyncBatchEmbedContent", "file_name"),
    ],
)
def test_a_submission_carries_our_mark_and_is_sent_once(api: str, path: str, field: str) -> None:
    taken, (call,) = held(gemini.create(submission(api=api)), ok(batch(displayName="run-1-0")))

    assert (taken.id, taken.intent, call.once, call.path) == ("batches/1", "run-1-0", True, path)
    assert msgspec.json.decode(call.body or b"") == {
        "batch": {"displayName": "run-1-0", "inputConfig": {field: "files/1"}}
    }


@pytest.mark.parametrize(
    ("api", "path"),
    [
        ("gemini.generate", "/models/gemini-x:batchGenerateContent"),
        ("gemini.embed", "/models/gemini-x:asyncBatchEmbedContent"),
    ],
)
def test_without_an_upload_the_requests_are_sent_once_themselves(api: str, path: str) -> None:
    taken, (call,) = held(
        gemini.create(submission(api=api, file=None)), ok(batch(displayName="run-1-0"))
    )

    assert (taken.intent, call.once, call.path, call.body) == ("run-1-0", True, path, None)
    assert call.upload == Upload(path=Path("in.jsonl"), name="run-1-0")


def test_a_small_batch_is_one_body_with_our_mark_and_a_name_for_each_request() -> None:
    within = gemini.BATCHES.within
    assert within is not None
    head, between, tail = within.framing('run-1-"0"')
    requests = [within.write_request("gemini.generate", f"r{n}", b'{"x":1}') for n in range(2)]

    sent = msgspec.json.decode(head + between.join(requests) + tail)

    assert sent["batch"]["displayName"] == 'run-1-"0"'
    assert sent["batch"]["inputConfig"]["requests"]["requests"] == [
        {"request": {"x": 1}, "metadata": {"key": "r0"}},
        {"request": {"x": 1}, "metadata": {"key": "r1"}},
    ]


HELD = [{"response": {"candidates": [], "n": n}, "metadata": {"key": f"r{n}"}} for n in range(2)]
ENDED = batch(
    "batches/1", state="SUCCEEDED", output={"inlinedResponses": {"inlinedResponses": HELD}}
)


def test_a_batch_that_holds_its_results_is_their_file() -> None:
    seen, _ = held(gemini.poll("batches/1"), ok(ENDED))

    assert (seen.phase, seen.results, seen.inline) == ("ended", ("batches/1",), b"")


def test_results_that_a_batch_holds_are_read_line_by_line_however_it_is_written() -> None:
    pretty = msgspec.json.format(msgspec.json.encode(ENDED), indent=2)

    found, (call,) = held(gemini.fetch("batches/1", Path("to")), Reply(status=200, body=pretty))

    assert (call.path, call.download) == ("/batches/1", None)
    lines = (found or b"").splitlines()
    assert [gemini.BATCHES.read_line(line).custom_id for line in lines] == ["r0", "r1"]


def test_results_that_a_batch_holds_are_not_those_of_one_that_has_none() -> None:
    found, _ = held(gemini.fetch("batches/1", Path("to")), ok(batch(state="CANCELLED")))

    assert found == b""


def test_a_batch_that_held_its_results_is_deleted_with_them() -> None:
    _, (call,) = held(gemini.delete("batches/1"), ok({}))

    assert (call.method, call.path) == ("DELETE", "/batches/1")


def test_a_batch_is_found_by_its_mark_on_any_page() -> None:
    first = {"operations": [batch("batches/3", displayName="other")], "nextPageToken": "t"}
    second = {"operations": [batch("batches/2", displayName="run-1-0"), batch("batches/1")]}

    found, calls = held(gemini.find(submission(), NOON), ok(first), ok(second))

    assert [one.id for one in found] == ["batches/2"]
    assert [call.path for call in calls] == [
        "/batches?pageSize=100",
        "/batches?pageSize=100&pageToken=t",
    ]


def test_the_list_is_not_read_beyond_the_time_of_the_submission() -> None:
    old = batch(createTime=(NOON - timedelta(hours=1)).isoformat())

    found, calls = held(
        gemini.find(submission(), NOON), ok({"operations": [old], "nextPageToken": "t"})
    )

    assert (found, len(calls)) == ([], 1)


def test_an_empty_list_is_one() -> None:
    found, _ = held(gemini.find(submission(), NOON), ok({}))

    assert found == []


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("PENDING", "waiting"),
        ("RUNNING", "working"),
        ("SUCCEEDED", "ended"),
        ("FAILED", "ended"),
        ("CANCELLED", "ended"),
        ("EXPIRED", "ended"),
        ("OF_NEXT_YEAR", "working"),
    ],
)
def test_every_state_is_a_phase(state: str, phase: str) -> None:
    seen, (call,) = held(gemini.poll("batches/1"), ok(batch(state=state)))

    assert (seen.phase, call.path) == (phase, "/batches/1")


def test_results_are_downloaded_from_their_file() -> None:
    done = batch(state="SUCCEEDED", output={"responsesFile": "files/batch-1"})

    seen, _ = held(gemini.poll("batches/1"), ok(done))
    _, (call,) = held(gemini.fetch(seen.results[0], Path("to")), ok({}))

    assert seen.results == ("files/batch-1",)
    assert (call.path, call.download) == ("/files/batch-1:download?alt=media", Path("to"))


@pytest.mark.parametrize("reply", [ok({}), refusal(400), refusal(404)])
def test_after_a_cancel_it_is_looked_at(reply: Reply) -> None:
    seen, calls = held(gemini.cancel("batches/1"), reply, ok(batch(state="CANCELLED")))

    assert seen.phase == "ended"
    assert asked(calls) == [("POST", "/batches/1:cancel"), ("GET", "/batches/1")]


@pytest.mark.parametrize("reply", [ok({}), refusal(403), refusal(404)])
def test_a_file_that_is_gone_or_not_ours_counts_as_deleted(reply: Reply) -> None:
    _, (call,) = held(gemini.delete("files/1"), reply)

    assert (call.method, call.path) == ("DELETE", "/files/1")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (refusal(401), "auth"),
        (refusal(429), "rate_limited"),
        (refusal(503), "server_error"),
        (Reply(status=200, body=b"<html>"), "server_error"),
        (Reply(status=200, body=b"[" * 10_000), "server_error"),
        (ok({}), "server_error"),
    ],
)
def test_what_is_no_batch_is_refused_with_a_reason(reply: Reply, outcome: str) -> None:
    with pytest.raises(Refused) as refused:
        held(gemini.poll("batches/1"), reply)

    assert (refused.value.outcome, refused.value.status) == (outcome, reply.status)
