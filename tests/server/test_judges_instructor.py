"""instructor makes whole batches here, as it does at OpenAI's and Anthropic's."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from anybatch.server.owners import hash_of
from anybatch.testing import FakeEndpoint
from anybatch.testing.endpoint import Call

from ..judges.judging import KEY, judges_of, told_by, waits_as_asked
from .world import served


def a_ticket(call: Call) -> str:
    return '{"label": "bug", "urgent": false}'


@pytest.fixture(scope="module", params=judges_of("instructor"))
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Any]]:
    home, keys = tmp_path_factory.mktemp("home"), {"judge": hash_of(KEY)}
    with (
        FakeEndpoint(answer=a_ticket, latency=waits_as_asked) as endpoint,
        served(home, endpoint, keys=keys) as url,
    ):
        yield told_by(request.param, "instructor_life", url.removesuffix("/v1"))


@pytest.mark.parametrize(
    ("protocol", "status", "counts"),
    [
        ("openai", "completed", {"total": 3, "completed": 3, "failed": 0}),
        ("anthropic", "ended", {"total": 3, "processing": 0, "succeeded": 3, "errored": 0}),
    ],
)
def test_a_batch_of_typed_answers_is_made_and_read(
    told: Mapping[str, Any], protocol: str, status: str, counts: Mapping[str, int]
) -> None:
    seen = told[protocol]
    assert "failed" not in seen, seen["failed"]

    assert seen["status"] == status
    assert seen["names"] == ["request-0", "request-1", "request-2"]
    assert (seen["kinds"], seen["errors"]) == (["Ticket"], [])
    assert (seen["listed"], seen["told"]) == (True, "completed")
    assert {name: seen["counts"].get(name) for name in counts} == counts


def test_a_batch_is_cancelled(told: Mapping[str, Any]) -> None:
    assert told["cancel"] in ("cancelling", "cancelled")


def test_what_is_not_there_is_said_in_openais_words(told: Mapping[str, Any]) -> None:
    assert "No such Batch object: batch_none" in told["gone"]
