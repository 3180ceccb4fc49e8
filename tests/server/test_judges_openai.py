"""OpenAI's SDK in two majors and in JavaScript goes through the life that the fake gives it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from anybatch.server.owners import hash_of
from anybatch.testing import FakeEndpoint

from ..judges.judging import KEY, all_judges_of, kinds, told_by, waits_as_asked
from .conftest import as_asked
from .world import served

NOT_TYPED = {
    "first_id", "last_id", "object", "model", "usage", "data.model", "data.usage",
    "usage.input_tokens_details.cache_write_tokens",
    "data.usage.input_tokens_details.cache_write_tokens",
}  # fmt: skip
"""What OpenAI says and the types of an SDK leave out: of a page, and what came after a major."""


@pytest.fixture(scope="module", params=all_judges_of("openai"))
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
        yield told_by(request.param, "openai_life", url.removesuffix("/v1"))


def test_a_batch_goes_from_a_file_to_files_that_can_be_deleted(told: Mapping[str, Any]) -> None:
    life = told["life"]

    assert life["statuses"][-1] == "completed", life
    assert life["metadata"] == {"of": "life"}
    assert life["counts"] == {"total": 6, "completed": 5, "failed": 1}
    assert life["tokens"] > 0
    assert life["hours"] == 24
    assert life["said"] == {f"r{n}": f"echo: prompt {n}" for n in range(5)}
    assert life["errors"] == {"bad": 400}
    assert life["deleted"] == [True, True, True]
    assert life["gone"]["class"][0] == "NotFoundError"


def test_lists_are_walked_to_their_end(told: Mapping[str, Any]) -> None:
    assert told["pages"] == {"batches": True, "once": True, "files": True}


def test_a_batch_is_cancelled_once_and_for_all(told: Mapping[str, Any]) -> None:
    assert told["cancel"]["statuses"][-1] == "cancelled", told["cancel"]
    assert told["cancel"]["again"] == "cancelled"


def test_errors_are_the_sdks_own(told: Mapping[str, Any]) -> None:
    assert told["too_late"]["class"][0] == "ConflictError"
    assert kinds(told["refused"]) == {
        "endpoint": "BadRequestError",
        "file": "BadRequestError",
        "key": "AuthenticationError",
    }
    assert all(error["named"] for error in told["refused"].values())


def test_files_and_other_apis_are_as_the_sdk_wants_them(told: Mapping[str, Any]) -> None:
    assert told["file"] == {"name": "in.jsonl", "status": "processed", "bytes": True}
    assert told["lifetime"] == 3600
    assert told["embeddings"] == {"a": True, "b": True}


def test_what_is_wrong_with_an_input_is_told(told: Mapping[str, Any]) -> None:
    refused = told["refused_lines"]

    assert refused["statuses"][-1] == "failed"
    assert (refused["code"], refused["line"]) == ("duplicate_custom_id", 2)


def test_a_large_result_comes_in_pieces(told: Mapping[str, Any]) -> None:
    assert told["large"] == {"names": 200, "once": True, "all of it": True, "in pieces": True}


def test_a_file_goes_up_in_parts(told: Mapping[str, Any]) -> None:
    assert told["parts"] == {"status": "completed", "same": True, "cancelled": "cancelled"}


def test_what_is_told_is_as_the_sdks_own_types_have_it(told: Mapping[str, Any]) -> None:
    if "typed" not in told:
        pytest.skip("JavaScript has no types left when it runs")
    seen = told["typed"] | told["typed_uploads"]
    typed = {name: each for name, each in seen.items() if name != "line"}

    assert len(typed) == 12
    assert {name: each["wrong"] for name, each in typed.items() if each["wrong"]} == {}
    assert {name for each in typed.values() for name in each["unknown"]} <= NOT_TYPED
    assert told["typed"]["line"] == ["custom_id", "error", "id", "response"]


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
