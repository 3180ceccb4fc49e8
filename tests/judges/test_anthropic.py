"""The fake's message batches are Anthropic's, as the official SDKs judge them in two languages."""

import pytest

from anybatch.testing import FakeAnthropic

from .judging import Visit, all_judges_of, judges_of, kinds, visited

RENAMED = {
    "anthropic-0": {"413": "RequestTooLargeError", "503": "InternalServerError"},
    "anthropic-2": {"413": "ContentTooLargeError", "503": "ServiceUnavailableError"},
    "anthropic-js-1": {
        "413": "ContentTooLargeError",
        "503": "ServiceUnavailableError",
        "half": "NotFoundError",
        "late": "APIConnectionTimeoutError",
    },
}
"""What they call differently. Of an answer that breaks off, JavaScript's goes by the status."""


@pytest.fixture(scope="module", params=all_judges_of("anthropic"))
def visit(request: pytest.FixtureRequest) -> Visit:
    return visited(request.param, "anthropic_life", FakeAnthropic)


of_python = pytest.mark.parametrize("visit", judges_of("anthropic"), indirect=True)
"""JavaScript has no types left when it runs, and no second client."""


def test_the_judge_is_of_the_major_it_is_named_after(visit: Visit) -> None:
    assert visit["version"].split(".")[0] == visit.judge.rpartition("-")[2]


def test_a_batch_goes_from_rows_to_results(visit: Visit) -> None:
    life = visit["life"]
    well = [f"r{n}" for n in range(5)]

    assert life["statuses"] == ["in_progress", "in_progress", "ended"]
    assert life["counts"] == {
        "processing": 0,
        "succeeded": 5,
        "errored": 1,
        "canceled": 0,
        "expired": 1,
    }
    assert (life["hours"], life["ended"]) == (24, True)
    assert life["types"] == {
        **dict.fromkeys(well, "succeeded"),
        "bad": "errored",
        "late": "expired",
    }
    assert life["said"] == {f"r{n}": f"echo: prompt {n}" for n in range(5)}
    assert (life["used"], life["stopped"]) == (True, ["end_turn"])
    assert life["error"] == "invalid_request_error"


def test_results_are_there_when_it_has_ended_and_no_sooner(visit: Visit) -> None:
    assert visit["life"]["too early"] == ["AnthropicError"]


def test_it_is_deleted_with_its_results(visit: Visit) -> None:
    first, *_ = visit.ledger.batches
    (results,) = [file for file in visit.ledger.files if file.batch == first.id]

    assert visit["life"]["deleted"] == "message_batch_deleted"
    assert visit["life"]["gone"]["class"][0] == "NotFoundError"
    assert results.fate == "deleted"


def test_lists_are_walked_to_their_end_from_either_side(visit: Visit) -> None:
    assert visit["pages"] == {"listed": True, "once": True, "before": True}


def test_a_batch_is_cancelled(visit: Visit) -> None:
    assert visit["cancel"] == {
        "statuses": ["canceling", "ended"],
        "types": {"a": "canceled", "b": "canceled"},
        "asked": True,
    }


def test_what_has_not_ended_is_not_deleted_and_what_has_is_not_cancelled(visit: Visit) -> None:
    assert visit["too_early"]["class"][0] == "BadRequestError"
    assert visit["too_late"]["class"][0] == "BadRequestError"


def test_the_client_of_the_trial_gets_on_too(visit: Visit) -> None:
    assert visit["old_client"] == "succeeded"


def test_each_version_has_its_own_rules(visit: Visit) -> None:
    assert visit["old_version"] == {"2023-06-01": "succeeded", "2026-10-21": "errored"}


def test_what_is_wrong_at_once_is_refused_at_once(visit: Visit) -> None:
    assert kinds(visit["refused"]) == {
        "empty": "BadRequestError",
        "name": "BadRequestError",
        "twice": "BadRequestError",
        "key": "AuthenticationError",
    }
    assert all(error["named"] for error in visit["refused"].values())


def test_errors_are_the_sdks_own(visit: Visit) -> None:
    assert kinds(visit["errors"]) == {
        "400": "BadRequestError",
        "401": "AuthenticationError",
        "403": "PermissionDeniedError",
        "404": "NotFoundError",
        "409": "ConflictError",
        "422": "UnprocessableEntityError",
        "429": "RateLimitError",
        "500": "InternalServerError",
        "529": "OverloadedError",
        "cut": "APIConnectionError",
        "half": "APIConnectionError",
        "late": "APITimeoutError",
        **RENAMED[visit.judge],
    }


def test_an_sdk_that_tries_again_makes_two_batches_and_the_books_show_it(visit: Visit) -> None:
    (again,) = [one for one in visit.ledger.exchanges_of("create") if one.status == 500]

    assert visit["tried_again"] == "in_progress"
    assert again.outcome == "lost"
    assert visit.ledger.batches[-1] in visit.ledger.repeated_batches
    assert visit.ledger.batches[-1].input_sha == visit.ledger.batches[-2].input_sha


def test_a_message_is_answered(visit: Visit) -> None:
    assert visit["call"] == "echo: hi"


def test_a_large_result_is_read_line_by_line(visit: Visit) -> None:
    assert visit["large"] == {"names": 200, "once": True, "all of it": True}


@of_python
def test_what_is_told_is_as_the_sdks_own_types_have_it(visit: Visit) -> None:
    assert len(visit["typed"]) == 7
    assert [name for name, seen in visit["typed"].items() if seen["wrong"]] == []


@of_python
def test_a_client_that_does_not_block_goes_the_same_way(visit: Visit) -> None:
    assert visit["asynchronous"]["names"] == ["a"]
    assert visit["asynchronous"]["gone"] == "NotFoundError"
