"""The official SDK in two majors goes through the same life as at the fake of the service."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from anybatch.testing import FakeEndpoint

from ..judges.judging import ROOT, judges_of, kinds, python_of, run
from .conftest import as_asked
from .world import served

SCRIPT = ROOT / "tests" / "judges" / "openai_life.py"


@pytest.fixture(scope="module", params=judges_of("openai"))
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Any]]:
    """What it saw. It also tries what only a fake can do; that is not looked at."""
    python = python_of(request.param)
    home = tmp_path_factory.mktemp("home")
    with FakeEndpoint(script=as_asked) as endpoint, served(home, endpoint) as url:
        yield run(python, SCRIPT, url.removesuffix("/v1"))


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
    assert kinds({k: told["refused"][k] for k in ("endpoint", "file")}) == {
        "endpoint": "BadRequestError",
        "file": "BadRequestError",
    }
    assert told["refused"]["endpoint"]["named"] is True


def test_files_and_other_apis_are_as_the_sdk_wants_them(told: Mapping[str, Any]) -> None:
    assert told["file"] == {"name": "in.jsonl", "status": "processed", "bytes": True}
    assert told["lifetime"] == 3600
    assert told["embeddings"] == {"a": True, "b": True}


def test_what_is_wrong_with_an_input_is_told(told: Mapping[str, Any]) -> None:
    refused = told["refused_lines"]

    assert refused["statuses"][-1] == "failed"
    assert (refused["code"], refused["line"]) == ("duplicate_custom_id", 2)
