"""Anthropic's conversations, one call at a time: no connection, no clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.providers import anthropic
from anybatch.providers.flow import Refused, Reply, Upload
from anybatch.providers.provider import Submission
from anybatch.wire.anthropic import write_error

from .conversation import held, ok

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
REQUESTS = Path("in.json")


def refusal(status: int) -> Reply:
    return Reply(status=status, body=write_error(status, "no"))


def batch(name: str = "msgbatch_1", *, size: int = 2, **fields: Any) -> dict[str, Any]:
    counts = {"processing": size, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    return {
        "id": name,
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": counts,
        "created_at": NOON.isoformat(),
        "results_url": None,
        **fields,
    }


def page(*batches: dict[str, Any], more: bool = False) -> Reply:
    last = batches[-1]["id"] if batches else None
    return ok({"data": list(batches), "has_more": more, "last_id": last})


def submission(**fields: Any) -> Submission:
    given: dict[str, Any] = {"intent": "run-1-0", "api": "anthropic.messages", "model": "m"}
    return Submission(**{**given, "size": 2, "file": None, "requests": REQUESTS, **fields})


def test_a_submission_is_one_body_and_is_sent_once() -> None:
    taken, (call,) = held(anthropic.create(submission()), ok(batch()))

    assert (taken.id, taken.size, taken.results) == ("msgbatch_1", 2, ())
    assert (call.method, call.path, call.once) == ("POST", "/messages/batches", True)
    assert call.upload == Upload(path=REQUESTS, name="run-1-0")


def test_a_batch_is_found_by_its_size_on_any_page() -> None:
    first = page(batch("other", size=3), batch("mine"), more=True)
    second = page(batch("too"), batch("another", size=1))

    found, calls = held(anthropic.find(submission(), NOON), first, second)

    assert [one.id for one in found] == ["mine", "too"]
    assert [call.path for call in calls] == [
        "/messages/batches?limit=1000",
        "/messages/batches?limit=1000&after_id=mine",
    ]


def test_the_size_of_a_batch_that_has_ended_is_known_too() -> None:
    counts = {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 1}

    found, _ = held(anthropic.find(submission(), NOON), page(batch("mine", request_counts=counts)))

    assert [one.id for one in found] == ["mine"]


@pytest.mark.parametrize(("minutes", "ours"), [(4, True), (6, False)])
def test_clocks_may_differ_by_some_minutes_and_no_more(minutes: int, ours: bool) -> None:
    made = NOON - timedelta(minutes=minutes)

    found, calls = held(
        anthropic.find(submission(), NOON),
        page(batch(created_at=made.isoformat()), more=not ours),
    )

    assert (len(found), len(calls)) == (int(ours), 1)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("in_progress", "working"),
        ("canceling", "working"),
        ("ended", "ended"),
        ("a word of next year", "working"),
    ],
)
def test_every_status_is_a_phase(status: str, phase: str) -> None:
    seen, (call,) = held(anthropic.poll("a/b"), ok(batch(processing_status=status)))

    assert (seen.status, seen.phase, call.path) == (status, phase, "/messages/batches/a%2Fb")


def test_results_go_by_the_id_of_their_batch_and_not_by_the_address_that_is_told() -> None:
    ended = batch(processing_status="ended", results_url="https://elsewhere.example/r")

    seen, _ = held(anthropic.poll("b"), ok(ended))
    _, (call,) = held(anthropic.fetch(seen.results[0], Path("to")), ok({}))

    assert seen.results == ("msgbatch_1",)
    assert (call.path, call.download) == ("/messages/batches/msgbatch_1/results", Path("to"))


@pytest.mark.parametrize("status", [400, 409])
def test_to_cancel_what_is_over_is_to_look_at_it(status: int) -> None:
    ended = ok(batch(processing_status="ended"))

    seen, calls = held(anthropic.cancel("b"), refusal(status), ended)

    assert seen.status == "ended"
    assert [(call.method, call.path) for call in calls] == [
        ("POST", "/messages/batches/b/cancel"),
        ("GET", "/messages/batches/b"),
    ]


def test_to_cancel_what_runs_is_one_call() -> None:
    seen, calls = held(anthropic.cancel("b"), ok(batch(processing_status="canceling")))

    assert (seen.status, len(calls)) == ("canceling", 1)


def test_a_batch_that_is_gone_counts_as_deleted() -> None:
    _, (call,) = held(anthropic.delete("b"), refusal(404))

    assert (call.method, call.path) == ("DELETE", "/messages/batches/b")


def test_a_batch_that_has_not_ended_is_not_deleted() -> None:
    with pytest.raises(Refused):
        held(anthropic.delete("b"), refusal(400))


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (refusal(401), "auth"),
        (refusal(402), "billing"),
        (refusal(413), "too_long"),
        (refusal(429), "rate_limited"),
        (refusal(529), "rate_limited"),
        (refusal(500), "server_error"),
        (Reply(status=200, body=b"<html>"), "server_error"),
        (Reply(status=200, body=b"[" * 10_000), "server_error"),
        (ok({}), "server_error"),
    ],
)
def test_what_is_no_batch_is_refused_with_a_reason(reply: Reply, outcome: str) -> None:
    with pytest.raises(Refused) as refused:
        held(anthropic.poll("b"), reply)

    assert (refused.value.outcome, refused.value.status) == (outcome, reply.status)


@pytest.mark.parametrize(
    ("parameters", "version"),
    [({}, "2026-10-21"), ({"max_tokens": 9}, "2026-10-21"), ({"top_k": 1}, "2023-06-01")],
)
def test_the_version_is_the_newest_that_takes_the_parameters(
    parameters: dict[str, Any], version: str
) -> None:
    assert anthropic.ANTHROPIC.headers(parameters) == {"anthropic-version": version}


def test_requests_are_framed_into_the_body_that_is_sent() -> None:
    api = anthropic.BATCHES
    head, between, tail = api.framing
    lines = [api.write_request("anthropic.messages", name, b'{"a":1}') for name in "xy"]

    assert msgspec.json.decode(head + between.join(lines) + tail) == {
        "requests": [{"custom_id": name, "params": {"a": 1}} for name in "xy"]
    }
