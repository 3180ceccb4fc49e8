"""Mistral's conversations, one call at a time: no connection, no clock."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.providers import mistral
from anybatch.providers.flow import Refused, Reply, Upload
from anybatch.providers.provider import BatchApi, Uploaded

from .conversation import held, ok
from .test_openai import NOON, submission


def api() -> BatchApi:
    assert mistral.MISTRAL.batch is not None
    return mistral.MISTRAL.batch


def job(name: str = "j1", status: str = "QUEUED", **fields: Any) -> dict[str, Any]:
    told = {"id": name, "object": "batch", "status": status, "created_at": NOON.timestamp()}
    return {**told, "input_files": ["f1"], "errors": [], "total_requests": 2, **fields}


def page(*entries: object, total: int | None = None) -> Reply:
    return ok({"object": "list", "data": list(entries), "total": total})


def refusal(status: int, body: object) -> Reply:
    return Reply(status=status, body=msgspec.json.encode(body))


def test_an_upload_is_openais() -> None:
    assert api().upload is not None
    file, (call,) = held(api().upload(Upload(path=Path("x"), name="n")), ok({"id": "0f0c"}))

    assert (file, call.path) == ("0f0c", "/files")
    assert call.upload is not None
    assert call.upload.fields == {"purpose": "batch"}


def test_a_submission_names_the_model_once_carries_our_mark_and_is_sent_once() -> None:
    taken, (call,) = held(
        api().create(submission()), ok(job(metadata={"anybatch": "run-1-0"}, status="QUEUED"))
    )

    assert (taken.id, taken.phase, taken.intent) == ("j1", "waiting", "run-1-0")
    assert (call.method, call.path, call.once) == ("POST", "/batch/jobs", True)
    assert msgspec.json.decode(call.body or b"") == {
        "endpoint": "/v1/chat/completions",
        "input_files": ["file-1"],
        "metadata": {"anybatch": "run-1-0"},
        "timeout_hours": 24,
        "model": "m",
    }


def test_where_each_request_names_its_own_model_the_job_names_none() -> None:
    _, (call,) = held(api().create(submission(model=None)), ok(job()))

    assert "model" not in msgspec.json.decode(call.body or b"")


def test_a_line_has_a_name_and_a_body_and_nothing_else() -> None:
    line = api().write_request("openai.chat", "r0-1", b'{"messages":[]}')

    assert line == b'{"custom_id":"r0-1","body":{"messages":[]}}'


def test_a_batch_is_found_by_its_mark_on_any_page() -> None:
    first = [job(f"j{n}", metadata=None) for n in range(100)]
    moved = first[-1]  # pushed onto the next page by a job that was made meanwhile
    ours = job("ours", metadata={"anybatch": "run-1-0"})

    found, calls = held(
        api().find(submission(), NOON), page(*first, total=102), page(moved, ours, total=102)
    )

    assert [one.id for one in found] == ["ours"]
    assert [call.path for call in calls] == [
        "/batch/jobs?order_by=-created&page=0&page_size=100",
        "/batch/jobs?order_by=-created&page=1&page_size=100",
    ]


def test_a_batch_that_is_listed_twice_is_one() -> None:
    ours = job("ours", metadata={"anybatch": "run-1-0"})
    first = [*(job(f"j{n}") for n in range(99)), ours]

    found, _ = held(api().find(submission(), NOON), page(*first), page(ours))

    assert [one.id for one in found] == ["ours"]


def test_the_list_is_not_read_beyond_the_time_of_the_submission() -> None:
    old = [job(f"j{n}", created_at=NOON.timestamp() - 3600) for n in range(100)]

    found, calls = held(api().find(submission(), NOON), page(*old, total=1000))

    assert (found, len(calls)) == ([], 1)


def test_what_is_no_list_is_not_an_empty_one() -> None:
    with pytest.raises(Refused, match="missing required field `data`"):
        held(api().find(submission(), NOON), ok({"object": "list"}))


def test_uploads_are_found_by_their_names_each_once() -> None:
    files = [
        {"id": "f1", "filename": "anybatch-1"},
        {"id": "f1", "filename": "anybatch-1"},
        {"id": "f2", "filename": "mine"},
    ]
    assert api().list_uploads is not None
    assert api().find_upload is not None

    listed, (call,) = held(api().list_uploads("anybatch-"), page(*files))
    found, _ = held(api().find_upload("anybatch-1"), page(*files))

    assert listed == [Uploaded("f1", "anybatch-1")]
    assert found == ["f1"]
    assert call.path == "/files?purpose=batch&page=0&page_size=100"


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("QUEUED", "waiting"),
        ("RUNNING", "working"),
        ("CANCELLATION_REQUESTED", "working"),
        ("SUCCESS", "ended"),
        ("FAILED", "ended"),
        ("TIMEOUT_EXCEEDED", "ended"),
        ("CANCELLED", "ended"),
        ("A_WORD_OF_NEXT_YEAR", "working"),
    ],
)
def test_every_status_is_a_phase(status: str, phase: str) -> None:
    seen, (call,) = held(api().poll("j1"), ok(job(status=status)))

    assert (seen.status, seen.phase, call.path) == (status, phase, "/batch/jobs/j1")


@pytest.mark.parametrize("status", ["SUCCESS", "TIMEOUT_EXCEEDED", "CANCELLED"])
def test_what_befell_single_rows_is_no_problem_of_the_batch(status: str) -> None:
    errors = [{"message": "bad line", "count": 3}]

    seen, _ = held(
        api().poll("j1"),
        ok(job(status=status, errors=errors, output_file="out", error_file="err")),
    )

    assert (seen.problems, seen.results) == ((), ("out", "err"))


def test_why_nothing_ran_is_told() -> None:
    seen, _ = held(
        api().poll("j1"), ok(job(status="FAILED", errors=[{"message": "no such model"}]))
    )

    assert [problem.message for problem in seen.problems] == ["no such model"]


@pytest.mark.parametrize("status", [400, 409, 422])
def test_to_cancel_what_is_over_is_to_look_at_it(status: int) -> None:
    seen, calls = held(
        api().cancel("j1"), refusal(status, {"message": "no"}), ok(job(status="SUCCESS"))
    )

    assert seen.phase == "ended"
    assert [call.path for call in calls] == ["/batch/jobs/j1/cancel", "/batch/jobs/j1"]


@pytest.mark.parametrize(
    ("reply", "outcome", "says"),
    [
        (refusal(401, {"message": "Unauthorized"}), "auth", "Unauthorized"),
        (refusal(429, {"message": "Requests rate limit exceeded"}), "rate_limited", "rate limit"),
        (refusal(402, {"message": "no credit"}), "billing", "no credit"),
        (
            refusal(422, {"detail": [{"loc": ["body", "endpoint"], "msg": "Field required"}]}),
            "bad_request",
            "body.endpoint: Field required",
        ),
        (refusal(500, {"object": "error", "message": "down"}), "server_error", "down"),
    ],
)
def test_a_refusal_is_read_in_each_of_its_shapes(reply: Reply, outcome: str, says: str) -> None:
    with pytest.raises(Refused, match=says) as refused:
        held(api().poll("j1"), reply)

    assert refused.value.outcome == outcome
