"""An endpoint that is away, or takes nobody's call: batches rest, and no line of them pays for it.
What one line is refused for is the result of that line."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.core.model import Failure, Result
from anybatch.server.outages import (
    FAILING_ALONE_FOR,
    IN_A_ROW,
    LONGEST_PAUSE,
    LOOKS_AT_ONCE,
    Outage,
    trouble_of,
)
from anybatch.server.turns import AT_ONCE
from anybatch.store.served import ServedStore
from anybatch.testing import Call, Cut, FakeEndpoint, FakeOpenAI, Fault, Status

from .test_operations import root_of
from .world import ShiftedClock, chat, client_of, create, results_of, served, until, until_over

LINES = 48
NO_KEY = Status(401, code="invalid_api_key", message="key rotated")
NO_CREDIT = Status(429, code="insufficient_quota", type="insufficient_quota", message="pay")
PAUSE = LONGEST_PAUSE + timedelta(seconds=1)


class Moody:
    """A script that goes by the mood of the day."""

    def __init__(self, mood: Callable[[Call], Fault | None]) -> None:
        self.mood = mood

    def __call__(self, call: Call) -> Fault | None:
        return self.mood(call)


def well(call: Call) -> Fault | None:
    return None


def always(fault: Fault) -> Callable[[Call], Fault | None]:
    return lambda call: fault


def rows(count: int = LINES, *, model: str = "m") -> list[dict[str, Any]]:
    lines = [chat(f"r{n}", f"say {n}") for n in range(count)]
    for line in lines:
        line["body"]["model"] = model
    return lines


def resting(url: str) -> int:
    """How many batches rest because of their endpoint."""
    said = httpx2.get(root_of(url) + "/metrics").text
    (line,) = (line for line in said.splitlines() if 'waiting{why="endpoint"}' in line)
    return int(line.split()[-1])


def events(log: str, *names: str) -> list[Any]:
    said = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [each for each in said if each["event"] in names]


# --- a line's own refusal ---


@pytest.mark.parametrize("status", [403, 404])
def test_what_a_few_lines_are_refused_for_keeps_no_other_from_being_sent(
    status: int, tmp_path: Path
) -> None:
    refused = {f"say {n}" for n in (5, 17, 18, 31, 47)}
    body = b'{"error":{"message":"not this image","type":"odd","param":"messages","code":"seen"}}'
    fault = Status(status, body=body)
    with (
        FakeEndpoint(script=lambda c: fault if c.prompt in refused else None) as endpoint,
        served(tmp_path, endpoint) as url,
        client_of(url) as client,
    ):
        more = [chat(f"more{n}", f"more {n}") for n in range(LINES)]
        _, batch = until_over(client, create(client, [*rows(), *more]))
        output, errors = results_of(client, batch)

    counts = batch.request_counts
    assert (batch.status, counts.completed, counts.failed) == ("completed", 2 * LINES - 5, 5)
    assert len(output) == 2 * LINES - 5
    assert set(errors) == {f"r{n}" for n in (5, 17, 18, 31, 47)}
    assert {line["response"]["status_code"] for line in errors.values()} == {status}
    assert all(line["response"]["body"] == json.loads(body) for line in errors.values())


@pytest.mark.parametrize("status", [403, 404])
def test_lines_that_are_alone_and_refused_have_that_as_their_result(
    status: int, tmp_path: Path
) -> None:
    with (
        FakeEndpoint(script=always(Status(status))) as endpoint,
        served(tmp_path, endpoint) as url,
        client_of(url) as client,
    ):
        _, batch = until_over(client, create(client, rows(3)))
        _, errors = results_of(client, batch)

    assert (batch.status, batch.request_counts.failed) == ("completed", 3)
    assert [line["response"]["status_code"] for line in errors.values()] == [status] * 3
    assert endpoint.ledger.received == 3


# --- outages ---


@pytest.mark.parametrize(
    "fault",
    [
        Status(502),
        Status(503, body=b"loading model"),
        Status(500),
        NO_KEY,
        NO_CREDIT,
        Status(402),
        Status(403),
        Status(404, code="model_not_found"),
        Cut("unexecuted"),
    ],
    ids=["502", "503", "500", "key", "credit", "402", "403", "404", "cut"],
)
def test_an_endpoint_that_answers_nobody_for_a_time_costs_no_line_anything(
    fault: Fault, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mood, clock = Moody(always(fault)), ShiftedClock()
    with (
        FakeEndpoint(script=mood) as endpoint,
        served(tmp_path, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        batch = create(client, rows())
        until(lambda: resting(url) == 1, "a batch that rests")
        with closing(ServedStore(tmp_path)) as store:
            (run,) = store.runs()
        raw = client.batches.with_raw_response.retrieve(batch.id)
        said_why, counts = raw.headers["anybatch-rests"], raw.parse().request_counts
        asked = endpoint.ledger.received
        mood.mood = well
        clock.ahead += PAUSE
        _, batch = until_over(client, batch)
        output, errors = results_of(client, batch)
        went_on = resting(url) == 0
    said = events(capfd.readouterr().err, "order.rests", "order.goes_on")

    assert (counts.completed, counts.failed) == (0, 0)
    assert (batch.status, len(output), errors) == ("completed", LINES, {})
    assert run.why is not None
    assert run.why == said[0]["why"] == said_why
    assert [each["event"] for each in said[:2]] in (
        ["order.rests", "order.goes_on"],
        ["order.rests"],
    )
    assert went_on
    assert asked <= 5 * LINES


def test_an_endpoint_that_is_restarted_in_the_middle_costs_no_line_anything(tmp_path: Path) -> None:
    clock = ShiftedClock()
    with (
        FakeEndpoint(latency=0.02) as endpoint,
        served(tmp_path, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        batch = create(client, rows(400))
        until(lambda: endpoint.ledger.received > 80, "the middle")
        endpoint.stop()
        until(lambda: resting(url) == 1, "a batch that rests")
        endpoint.start()
        clock.ahead += PAUSE
        _, batch = until_over(client, batch)
        output, errors = results_of(client, batch)

    assert (batch.status, len(output), errors) == ("completed", 400, {})


def test_while_it_rests_a_few_lines_are_asked_now_and_then(tmp_path: Path) -> None:
    mood, clock = Moody(always(NO_KEY)), ShiftedClock()
    with (
        FakeEndpoint(script=mood) as endpoint,
        served(tmp_path, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        for _ in range(3):
            create(client, rows())
        until(lambda: resting(url) == 3, "batches that rest")
        clock.ahead += PAUSE
        until(lambda: endpoint.ledger.running == 0, "quiet")
        before = endpoint.ledger.received
        for look in range(1, 4):
            clock.ahead += PAUSE
            until(lambda look=look: endpoint.ledger.received > before + look - 1, "a look")
        looks = endpoint.ledger.received - before

    assert looks <= 5 * LOOKS_AT_ONCE


def test_what_nobody_answered_within_the_window_is_expired(tmp_path: Path) -> None:
    clock = ShiftedClock()
    with (
        FakeEndpoint(script=always(NO_KEY)) as endpoint,
        served(tmp_path, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        batch = create(client, rows(), window="1h")
        until(lambda: resting(url) == 1, "a batch that rests")
        clock.ahead += timedelta(hours=1)
        _, batch = until_over(client, batch)
        output, errors = results_of(client, batch)

    assert (batch.status, output, len(errors)) == ("expired", {}, LINES)
    assert {line["error"]["code"] for line in errors.values()} == {"batch_expired"}
    assert (batch.request_counts.completed, batch.request_counts.failed) == (0, 0)


def test_a_batch_that_rests_can_be_cancelled_and_outlives_its_server(tmp_path: Path) -> None:
    mood = Moody(always(Status(502)))
    with FakeEndpoint(script=mood) as endpoint:
        with served(tmp_path, endpoint) as url, client_of(url) as client:
            first, second = create(client, rows()), create(client, rows())
            until(lambda: resting(url) == 2, "batches that rest")
            client.batches.cancel(first.id)
            _, first = until_over(client, first)
        mood.mood = well
        with served(tmp_path, endpoint) as url, client_of(url) as client:
            _, second = until_over(client, second)
            output, errors = results_of(client, second)

    assert first.status == "cancelled"
    assert (second.status, len(output), errors) == ("completed", LINES, {})


def test_batches_that_rest_leave_their_places_to_others_at_the_same_address(tmp_path: Path) -> None:
    def one_is_gone(call: Call) -> Fault | None:
        return Status(503) if call.model == "gone" else None

    with (
        FakeEndpoint(script=one_is_gone) as endpoint,
        served(tmp_path, endpoint) as url,
        client_of(url) as client,
    ):
        for _ in range(AT_ONCE + 2):
            create(client, rows(10, model="gone"))
        _, batch = until_over(client, create(client, rows(10)))

    assert (batch.status, batch.request_counts.completed) == ("completed", 10)


@pytest.mark.parametrize("status", [401, 402, 500])
def test_a_line_that_always_fails_has_that_as_its_result_in_the_end(
    status: int, tmp_path: Path
) -> None:
    """Nobody is left who could show that it is the line."""
    body = b'{"error":{"message":"kaput","type":"odd","param":null,"code":"odd"}}'
    clock = ShiftedClock()

    def kaput(call: Call) -> Fault | None:
        return Status(status, body=body) if call.prompt == "say 7" else None

    with (
        FakeEndpoint(script=kaput) as endpoint,
        served(tmp_path, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        batch = create(client, rows(20))
        while client.batches.retrieve(batch.id).status != "completed":
            if resting(url):
                clock.ahead += FAILING_ALONE_FOR
        _, batch = until_over(client, batch)
        output, errors = results_of(client, batch)

    assert (batch.request_counts.completed, batch.request_counts.failed) == (19, 1)
    assert errors["r7"]["response"]["body"] == json.loads(body)
    assert len(output) == 19


def test_a_batch_that_a_provider_refuses_rests_as_well(tmp_path: Path) -> None:
    clock, refusals = ShiftedClock(), [NO_KEY] * 3
    with FakeOpenAI(faults={"upload": refusals}) as fake:
        there = {"provider": "openai", "base_url": f"{fake.address}/v1", "api_key_env": ""}
        routes = [{"model": "*", "executor": "batch", "batch_requests": 1, **there}]
        with served(tmp_path, routes=routes, clock=clock) as url, client_of(url) as client:
            batch = create(client, rows(3))

            def is_over() -> bool:
                clock.ahead += timedelta(seconds=5)
                return client.batches.retrieve(batch.id).status == "completed"

            until(is_over, "the end")
            _, batch = until_over(client, batch)
            output, errors = results_of(client, batch)

    assert (batch.status, len(output), errors) == ("completed", 3, {})


# --- one place ---


@pytest.mark.parametrize(
    ("outcome", "status", "trouble"),
    [
        ("succeeded", 200, None),
        ("bad_request", 400, None),
        ("server_error", 200, None),
        ("server_error", 500, "failing"),
        ("server_error", 503, "away"),
        ("network", None, "failing"),
        ("rate_limited", 429, "away"),
        ("billing", 402, "barred"),
        ("auth", 401, "barred"),
        ("auth", 403, "refusing"),
        ("not_found_model", 404, "refusing"),
    ],
)
def test_what_a_result_tells_of_its_place(outcome: Any, status: int | None, trouble: Any) -> None:
    assert trouble_of(Result(n=0, outcome=outcome, status=status)) == trouble


def test_a_connection_that_never_was_tells_that_nobody_is_there() -> None:
    why = Failure(message="no connection", code="unreachable")
    assert trouble_of(Result(n=0, outcome="network", failure=why)) == "away"


class StoodStill(ShiftedClock):
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + self.ahead


def test_a_success_between_failures_keeps_a_place_open() -> None:
    outage = Outage(StoodStill())
    for _ in range(3):
        for _ in range(IN_A_ROW - 1):
            outage.note("away", "HTTP 502")
        outage.well()
    assert outage.why is None
    for _ in range(IN_A_ROW):
        outage.note("away", "HTTP 502")
    assert outage.why == "HTTP 502"
