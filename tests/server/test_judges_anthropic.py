"""Anthropic's SDK in two majors and in JavaScript goes through the life that the fake gives it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from anybatch.server.owners import hash_of
from anybatch.testing import FakeEndpoint

from ..judges.judging import KEY, all_judges_of, kinds, told_by, waits_as_asked
from .conftest import as_asked
from .world import served


@pytest.fixture(scope="module", params=all_judges_of("anthropic"))
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Any]]:
    """What it saw. It also tries what only a fake can do; that is not looked at."""
    home = tmp_path_factory.mktemp("home")
    keys = {"judge": hash_of(KEY)}
    with (
        FakeEndpoint(script=as_asked, latency=waits_as_asked) as endpoint,
        served(home, endpoint, keys=keys) as url,
    ):
        yield told_by(request.param, "anthropic_life", url.removesuffix("/v1"))


def test_a_batch_goes_from_rows_to_results(told: Mapping[str, Any]) -> None:
    life = told["life"]
    assert "failed" not in life, life["failed"]

    assert set(life["statuses"]) == {"in_progress", "ended"}, life
    assert life["counts"] == {
        "processing": 0,
        "succeeded": 6,
        "errored": 1,
        "canceled": 0,
        "expired": 0,
    }
    assert (life["hours"], life["ended"]) == (24, True)
    assert life["said"] == {
        **{f"r{n}": f"echo: prompt {n}" for n in range(5)},
        "late": "echo: expire",
    }
    assert (life["used"], life["stopped"]) == (True, ["end_turn"])
    assert life["error"] == "invalid_request_error"
    assert life["too early"] == ["AnthropicError"]
    assert life["deleted"] == "message_batch_deleted"
    assert life["gone"]["class"][0] == "NotFoundError"


def test_lists_are_walked_to_their_end_from_either_side(told: Mapping[str, Any]) -> None:
    assert told["pages"] == {"listed": True, "once": True, "before": True}


def test_a_batch_is_cancelled(told: Mapping[str, Any]) -> None:
    cancel = told["cancel"]

    assert cancel["statuses"][-1] == "ended", cancel
    assert cancel["types"] == {"a": "canceled", "b": "canceled"}
    assert cancel["asked"] is True


def test_what_has_ended_is_not_cancelled(told: Mapping[str, Any]) -> None:
    assert told["too_late"]["class"][0] == "BadRequestError"


def test_the_client_of_the_trial_gets_on_too(told: Mapping[str, Any]) -> None:
    assert told["old_client"] == "succeeded"


def test_each_version_has_its_own_rules(told: Mapping[str, Any]) -> None:
    assert told["old_version"] == {"2023-06-01": "succeeded", "2026-10-21": "errored"}


def test_what_is_wrong_at_once_is_refused_at_once(told: Mapping[str, Any]) -> None:
    assert kinds(told["refused"]) == {
        "empty": "BadRequestError",
        "name": "BadRequestError",
        "twice": "BadRequestError",
        "key": "AuthenticationError",
    }
    assert all(error["named"] for error in told["refused"].values())


def test_what_is_not_there_is_not_found(told: Mapping[str, Any]) -> None:
    assert told["errors"]["404"]["class"][0] == "NotFoundError"


def test_a_large_result_is_read_line_by_line(told: Mapping[str, Any]) -> None:
    assert told["large"] == {"names": 200, "once": True, "all of it": True}


def test_what_is_told_is_as_the_sdks_own_types_have_it(told: Mapping[str, Any]) -> None:
    if "typed" not in told:
        pytest.skip("JavaScript has no types left when it runs")
    typed = told["typed"]

    assert len(typed) == 7
    assert [name for name, seen in typed.items() if seen["wrong"] or seen["unknown"]] == []


def test_a_client_that_does_not_block_goes_the_same_way(told: Mapping[str, Any]) -> None:
    if "asynchronous" not in told:
        pytest.skip("JavaScript has no other client")
    assert told["asynchronous"] == {
        "names": ["a"],
        "cancel": True,
        "listed": True,
        "gone": "NotFoundError",
        "deleted": True,
    }
