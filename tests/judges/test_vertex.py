"""The fake's jobs are Vertex AI's, as the official SDK judges them in two majors."""

import pytest

from anybatch.testing import FakeVertex

from .judging import Visit, judges_of, kinds, visited


@pytest.fixture(scope="module", params=judges_of("google-genai"))
def visit(request: pytest.FixtureRequest) -> Visit:
    return visited(request.param, "vertex_life", FakeVertex)


def test_it_goes_to_its_version_of_the_api(visit: Visit) -> None:
    paths = {one.path for one in visit.ledger.exchanges_of("list")}

    place = "projects/fake-project/locations/us-central1"
    assert paths == {f"/v1beta1/{place}/batchPredictionJobs"}


def test_a_job_goes_from_an_object_to_a_folder(visit: Visit) -> None:
    life = visit["life"]

    assert life["states"] == ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]
    assert (life["name"], life["model"]) == ("ours", "publishers/google/models/gemini-x")
    assert (life["source"], life["target"]) == (["gs://bucket/in.jsonl"], "gs://bucket/life")
    assert life["times"] is True
    assert life["said"] == {f"r{n}": f"echo: prompt {n}" for n in range(5)}
    assert list(life["errors"]) == ["bad"]


def test_what_is_deleted_is_gone(visit: Visit) -> None:
    gone = visit["life"]["gone"]

    assert (gone["class"][0], gone["status"]) == ("ClientError", 404)


def test_the_counts_are_read_where_they_are_kept(visit: Visit) -> None:
    assert visit["counts"] in (1, None)


def test_a_job_may_come_without_a_name_or_a_target(visit: Visit) -> None:
    assert visit["usual"] == {"named": True, "target": "gs://bucket/usual/dest"}


def test_lists_are_walked_to_their_end_and_hold_what_is_wanted(visit: Visit) -> None:
    assert visit["pages"] == {"newest first": True, "once": True, "wanted": ["wanted"]}


def test_a_job_is_cancelled(visit: Visit) -> None:
    assert visit["cancel"] == ["PENDING", "CANCELLED"]


def test_a_cancellation_that_comes_too_late_is_refused(visit: Visit) -> None:
    assert (visit["too_late"]["class"][0], visit["too_late"]["status"]) == ("ClientError", 400)


def test_a_job_of_an_object_that_is_not_there_fails_with_the_reason(visit: Visit) -> None:
    assert visit["unusable"] == {
        "states": ["PENDING", "FAILED"],
        "code": 5,
        "message": "Cannot use gs://bucket/nobodys.jsonl.",
    }


def test_a_wrong_token_is_refused(visit: Visit) -> None:
    assert (visit["refused"]["class"][0], visit["refused"]["status"]) == ("ClientError", 401)


def test_errors_are_the_sdks_own(visit: Visit) -> None:
    refused = ("400", "403", "404", "409", "429")
    failed = ("500", "503", "504")

    found = kinds(visit["errors"])

    assert {word: found[word] for word in refused + failed} == {
        **dict.fromkeys(refused, "ClientError"),
        **dict.fromkeys(failed, "ServerError"),
    }
    assert {found[word] for word in ("cut", "half")} == {"ReadError"}
    assert found["late"] == "ReadTimeout"


def test_a_call_is_answered(visit: Visit) -> None:
    assert visit["call"] == "echo: hi"
