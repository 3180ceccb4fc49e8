"""What can befall calls to the fakes that are not OpenAI's, by operation and number."""

from collections.abc import Callable
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any

import pytest

from anybatch.testing import (
    HTML_PAGE,
    Altered,
    Cut,
    FakeAnthropic,
    FakeGemini,
    FakeVertex,
    Fate,
    Fault,
    Status,
    matching,
)

from . import generations, jobs, messages
from .wires import call

Doing = Callable[[Any], Any]


def anthropic_create(fake: FakeAnthropic) -> Any:
    return messages.send_batch(fake, messages.rows(2))


def gemini_create(fake: FakeGemini) -> Any:
    file = generations.upload(fake, generations.lines(generations.rows(2)))
    return generations.send_batch(fake, {"fileName": file})


def vertex_create(fake: FakeVertex) -> Any:
    return jobs.send_job(fake, jobs.put(fake, "in.jsonl", jobs.lines(jobs.rows(2))))


CREATIONS: list[tuple[type[FakeAnthropic] | type[FakeGemini] | type[FakeVertex], Doing]] = [
    (FakeAnthropic, anthropic_create),
    (FakeGemini, gemini_create),
    (FakeVertex, vertex_create),
]


@pytest.mark.parametrize(("kind", "create"), CREATIONS)
@pytest.mark.parametrize(
    ("fault", "error", "executed"),
    [
        (Cut("unread"), ConnectionError, 0),
        (Cut("unexecuted", by="close"), RemoteDisconnected, 0),
        (Cut("executed", by="close"), RemoteDisconnected, 1),
        (Cut("midway", by="close"), IncompleteRead, 1),
    ],
)
def test_a_connection_breaks_before_or_after_the_batch_is_made(
    kind: Any, create: Doing, fault: Fault, error: type[Exception], executed: int
) -> None:
    with kind(faults={"create": [fault]}) as fake:
        with pytest.raises(error):
            create(fake)

        assert len(fake.ledger.batches) == executed


@pytest.mark.parametrize(("kind", "create"), CREATIONS)
def test_what_is_altered_on_its_way_was_done(kind: Any, create: Doing) -> None:
    with kind(faults={"create": {2: HTML_PAGE, 3: Altered("half")}}) as fake:
        whole, page, half = [create(fake) for _ in range(3)]

        assert whole.json["id" if kind is FakeAnthropic else "name"]
        assert page.headers["content-type"] == "text/html"
        assert len(half.body) < len(whole.body)
        assert len(fake.ledger.batches) == 3


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        (FakeAnthropic, "/v1/messages", messages.message("unlucky")),
        (FakeGemini, f"{generations.MODEL}:generateContent", generations.ask("unlucky")),
        (FakeVertex, f"{jobs.MODEL}:generateContent", generations.ask("unlucky")),
    ],
)
def test_calls_in_real_time_fail_by_what_they_say(kind: Any, path: str, body: Any) -> None:
    headers = {"anthropic-version": messages.NEW}
    with kind(faults={"call": matching("unlucky", Status(503), times=1)}) as fake:
        statuses = [call(fake, "POST", path, body, headers).status for _ in range(2)]

        assert statuses == [503, 200]
        assert len(fake.calls.ledger.executions) == 1
        assert [one.outcome for one in fake.ledger.exchanges_of("call")] == [
            "unexecuted",
            "answered",
        ]


@pytest.mark.parametrize("kind", [FakeAnthropic, FakeGemini, FakeVertex])
def test_a_fault_of_an_operation_that_there_is_not_is_a_mistake(kind: Any) -> None:
    with pytest.raises(ValueError, match="no operation is called 'fly'"):
        kind(faults={"fly": [Status(500)]})


@pytest.mark.parametrize(
    ("kind", "run", "given"),
    [
        (FakeAnthropic, messages.run, messages.rows(1)),
        (FakeGemini, generations.run, generations.rows(1)),
        (FakeVertex, jobs.run, jobs.rows(1)),
    ],
)
def test_an_answer_of_the_tests_own_that_fails_is_heard_of(
    kind: Any, run: Callable[..., Any], given: list[dict[str, Any]]
) -> None:
    def broken(row: Any) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), kind(answer=broken) as fake:
        assert len(run(fake, given)) == 1


def test_a_fate_that_the_service_does_not_have_is_a_mistake() -> None:
    with (
        pytest.raises(ValueError, match="no batch of this service fails"),
        FakeAnthropic(batches=[Fate(ends="failed")]) as fake,
    ):
        assert messages.send_batch(fake, messages.rows(1)).status == 500
