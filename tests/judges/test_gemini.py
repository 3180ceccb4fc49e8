"""The fake's files and batches are Gemini's, as the official SDKs judge them in two languages."""

import pytest

from anybatch.testing import FakeGemini

from .judging import Visit, all_judges_of, judges_of, kinds, visited

JAVASCRIPT = "google-genai-js-3"


def refusal_of(judge: str) -> str:
    """The class of an answer that refuses. JavaScript's is one with that of a failure."""
    return "ApiError" if judge == JAVASCRIPT else "ClientError"


@pytest.fixture(scope="module", params=all_judges_of("google-genai"))
def visit(request: pytest.FixtureRequest) -> Visit:
    return visited(request.param, "gemini_life", FakeGemini)


of_python = pytest.mark.parametrize("visit", judges_of("google-genai"), indirect=True)
"""JavaScript has no types left when it runs, and no second client."""


def test_the_judge_is_of_the_major_it_is_named_after(visit: Visit) -> None:
    assert visit["version"].split(".")[0] == visit.judge.rpartition("-")[2]


def test_each_major_goes_to_its_own_version_of_the_api(visit: Visit) -> None:
    version = "/v1beta/" if visit.judge == "google-genai-1" else "/v1/"
    paths = {one.path for one in visit.ledger.exchanges_of("list")}

    assert paths == {f"{version}batches"}


def test_a_batch_goes_from_a_file_to_a_file(visit: Visit) -> None:
    life = visit["life"]

    assert life["states"] == ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]
    assert (life["name"], life["model"]) == ("ours", "models/gemini-x")
    assert life["times"] is True
    assert life["said"] == {f"r{n}": f"echo: prompt {n}" for n in range(5)}
    assert life["errors"] == {"bad": 400}


def test_what_is_deleted_is_gone(visit: Visit) -> None:
    life, refusal = visit["life"], refusal_of(visit.judge)

    assert (life["gone"]["class"][0], life["gone"]["status"]) == (refusal, 404)
    assert (life["file gone"]["class"][0], life["file gone"]["status"]) == (refusal, 404)
    assert visit.ledger.files[0].fate == "deleted"


def test_rows_go_inline_and_come_back_in_their_order(visit: Visit) -> None:
    assert visit["inline"] == ["echo: a", 3, "echo: b"]


def test_rows_that_have_a_key_come_back_with_it(visit: Visit) -> None:
    assert visit["named"] == [["a", "echo: a"], ["b", "echo: b"]]


def test_embeddings_go_inline_and_by_file(visit: Visit) -> None:
    assert visit["embeddings"] == [True, True]
    assert visit["embeddings_from_a_file"] == {"a": True, "b": True}


def test_lists_are_walked_to_their_end(visit: Visit) -> None:
    assert visit["pages"] == {"batches": True, "once": True, "files": True}


def test_a_batch_is_cancelled(visit: Visit) -> None:
    assert visit["cancel"] == ["PENDING", "CANCELLED"]


def test_a_cancellation_that_comes_too_late_is_refused(visit: Visit) -> None:
    too_late = visit["too_late"]

    assert (too_late["class"][0], too_late["status"]) == (refusal_of(visit.judge), 400)


def test_a_file_is_told_of(visit: Visit) -> None:
    assert visit["file"] == {
        "name": "mine",
        "state": "ACTIVE",
        "source": "UPLOADED",
        "type": "application/jsonl",
        "bytes": True,
        "hours": 48,
    }


def test_a_file_may_come_in_pieces(visit: Visit) -> None:
    sent = visit["big_file"]

    assert sent["bytes"] > 8 * 1024 * 1024
    assert sent["keys"] == ["r0", "r1", "r2", "r3"]


def test_a_file_without_rows_fails_its_batch(visit: Visit) -> None:
    assert visit["unreadable"] == ["PENDING", "FAILED"]


def test_what_is_wrong_at_once_is_refused_at_once(visit: Visit) -> None:
    refused = visit["refused"]

    assert kinds(refused) == dict.fromkeys(("key", "file"), refusal_of(visit.judge))
    assert "API key not valid" in refused["key"]["message"]
    assert refused["file"]["status"] == 404


def test_errors_are_the_sdks_own(visit: Visit) -> None:
    refused = ("400", "403", "404", "409", "429")
    failed = ("500", "503", "504")

    broken = {"cut": "ReadError", "half": "ReadError", "late": "ReadTimeout"}
    failure = "ServerError"
    if visit.judge == JAVASCRIPT:  # which lets through what the runtime says of a broken call
        broken, failure = (
            {"cut": "TypeError", "half": "TypeError", "late": "DOMException"},
            "ApiError",
        )
    assert kinds(visit["errors"]) == {
        **dict.fromkeys(refused, refusal_of(visit.judge)),
        **dict.fromkeys(failed, failure),
        **broken,
    }
    assert [visit["errors"][word]["status"] for word in refused + failed] == [
        int(word) for word in refused + failed
    ]


def test_an_sdk_that_tries_again_makes_two_batches_and_the_books_show_it(visit: Visit) -> None:
    before, last = visit.ledger.batches[-2:]

    assert visit["tried_again"] == "PENDING"
    assert last.input_sha == before.input_sha
    assert last in visit.ledger.repeated_batches


def test_a_call_is_answered(visit: Visit) -> None:
    assert visit["call"] == "echo: hi"


@of_python
def test_what_is_told_is_as_the_sdks_own_types_have_it(visit: Visit) -> None:
    typed = visit["typed"]

    for name in ("file", "answer", "error", "inline answer", "inline error"):
        assert typed[name] == [], name
    assert typed["batch"] is True


@of_python
def test_a_client_that_does_not_block_goes_the_same_way(visit: Visit) -> None:
    assert visit["asynchronous"] == {"names": ["a"], "listed": True, "gone": 404}
