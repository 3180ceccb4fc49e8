"""The fake's files and batches are OpenAI's, as the official SDKs judge them in two languages."""

import pytest

from anybatch.testing import FakeOpenAI

from .judging import Visit, all_judges_of, judges_of, kinds, visited

RENAMED = {"openai-js-7": {"half": "NotFoundError", "late": "APIConnectionTimeoutError"}}
"""What JavaScript's calls differently. Of an answer that breaks off, it goes by the status."""


@pytest.fixture(scope="module", params=all_judges_of("openai"))
def visit(request: pytest.FixtureRequest) -> Visit:
    return visited(request.param, "openai_life", FakeOpenAI)


of_python = pytest.mark.parametrize("visit", judges_of("openai"), indirect=True)
"""JavaScript has no types left when it runs, and no second client."""


def test_the_judge_is_of_the_major_it_is_named_after(visit: Visit) -> None:
    assert visit["version"].split(".")[0] == visit.judge.rpartition("-")[2]


def test_a_batch_goes_from_a_file_to_files(visit: Visit) -> None:
    life = visit["life"]

    assert life["statuses"] == ["validating", "in_progress", "finalizing", "completed"]
    assert life["metadata"] == {"of": "life"}
    assert life["counts"] == {"total": 6, "completed": 5, "failed": 1}
    assert life["tokens"] > 0
    assert life["hours"] == 24
    assert life["said"] == {f"r{n}": f"echo: prompt {n}" for n in range(5)}
    assert life["errors"] == {"bad": 400}


def test_its_files_are_deleted_and_gone(visit: Visit) -> None:
    life = visit["life"]
    first = visit.ledger.batches[0].id
    made = [file.fate for file in visit.ledger.files if file.batch == first]

    assert life["deleted"] == [True, True, True]
    assert life["gone"]["class"][0] == "NotFoundError"
    assert made == ["deleted", "deleted"]


def test_rows_that_expire_are_among_the_errors(visit: Visit) -> None:
    assert visit["expiry"] == {"custom_id": "late", "code": "batch_expired"}


def test_lists_are_walked_to_their_end(visit: Visit) -> None:
    assert visit["pages"] == {"batches": True, "once": True, "files": True}


def test_a_batch_is_cancelled_once_and_for_all(visit: Visit) -> None:
    cancelled = visit["cancel"]

    assert cancelled == {"statuses": ["cancelling", "cancelled"], "again": "cancelled"}


def test_a_cancellation_that_comes_too_late_is_not_tried_again(visit: Visit) -> None:
    conflicts = [one for one in visit.ledger.exchanges_of("cancel") if one.status == 409]

    assert visit["too_late"]["class"][0] == "ConflictError"
    assert len(conflicts) == 1


def test_a_file_is_processed_when_it_is_there(visit: Visit) -> None:
    assert visit["file"] == {"name": "in.jsonl", "status": "processed", "bytes": True}


def test_a_file_lives_as_long_as_it_is_told(visit: Visit) -> None:
    assert visit["lifetime"] == 3600


def test_rows_of_embeddings_are_answered(visit: Visit) -> None:
    assert visit["embeddings"] == {"a": True, "b": True}


def test_the_problems_of_a_file_are_told(visit: Visit) -> None:
    refused = visit["refused_lines"]

    assert refused == {
        "statuses": ["validating", "failed"],
        "code": "duplicate_custom_id",
        "line": 2,
    }


def test_a_batch_of_a_file_that_is_not_there_fails_later(visit: Visit) -> None:
    assert visit["refused_file"] == {"code": "invalid_request", "param": "file_id", "line": None}


def test_what_is_wrong_at_once_is_refused_at_once(visit: Visit) -> None:
    refused = visit["refused"]

    assert kinds(refused) == {
        "endpoint": "BadRequestError",
        "file": "BadRequestError",
        "key": "AuthenticationError",
    }
    assert (refused["endpoint"]["code"], refused["endpoint"]["param"]) == (
        "invalid_value",
        "endpoint",
    )
    assert refused["endpoint"]["named"] is True


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
        "503": "InternalServerError",
        "cut": "APIConnectionError",
        "half": "APIConnectionError",
        "late": "APITimeoutError",
        **RENAMED.get(visit.judge, {}),
    }


def test_an_sdk_that_tries_again_makes_two_batches_and_the_books_show_it(visit: Visit) -> None:
    made = [one for one in visit.ledger.batches if one.metadata == {"of": "tried again"}]

    assert visit["tried_again"] == "validating"
    assert len(made) == 2
    assert made[1] in visit.ledger.repeated_batches


def test_calls_are_answered_at_the_same_address(visit: Visit) -> None:
    assert visit["calls"] == {
        "chat": "echo: hi",
        "responses": "echo: hi",
        "embeddings": True,
        "models": ["fake-1"],
    }


def test_a_large_result_comes_in_pieces(visit: Visit) -> None:
    assert visit["large"] == {"names": 200, "once": True, "all of it": True, "in pieces": True}


@of_python
def test_what_is_told_is_as_the_sdks_own_types_have_it(visit: Visit) -> None:
    typed = {name: seen for name, seen in visit["typed"].items() if name != "line"}

    assert len(typed) == 9
    assert {name: seen["wrong"] for name, seen in typed.items() if seen["wrong"]} == {}


@of_python
def test_a_client_that_does_not_block_goes_the_same_way(visit: Visit) -> None:
    assert visit["asynchronous"]["names"] == ["a"]
    assert visit["asynchronous"]["gone"] == "NotFoundError"
