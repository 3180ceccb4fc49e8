"""Google's official SDK in two majors goes through the same life as at the fake of the service."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from anybatch.server.owners import hash_of
from anybatch.testing import FakeGemini

from ..judges.judging import KEY, ROOT, judges_of, kinds, python_of, run
from .test_gemini import REFUSING, routes_to
from .world import served

SCRIPT = ROOT / "tests" / "judges" / "gemini_life.py"


@pytest.fixture(scope="module", params=judges_of("google-genai"))
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Any]]:
    """What it saw. It also tries what only a fake can do; that is not looked at."""
    python = python_of(request.param)
    home, keys = tmp_path_factory.mktemp("home"), {"judge": hash_of(KEY)}
    with FakeGemini(faults=REFUSING) as fake, served(home, routes=routes_to(fake), keys=keys) as u:
        yield run(python, SCRIPT, u.removesuffix("/v1"))


def test_a_batch_goes_from_a_file_to_a_file(told: Mapping[str, Any]) -> None:
    life = told["life"]

    assert life["states"][-1] == "SUCCEEDED", life
    assert (life["name"], life["model"], life["times"]) == ("ours", "models/gemini-x", True)
    assert life["said"] == {f"r{n}": f"echo: prompt {n}" for n in range(5)}
    assert life["errors"] == {"bad": 400}


def test_what_is_deleted_is_gone(told: Mapping[str, Any]) -> None:
    for gone in (told["life"]["gone"], told["life"]["file gone"]):
        assert (gone["class"][0], gone["status"]) == ("ClientError", 404)


def test_rows_go_inline_and_come_back_in_their_order(told: Mapping[str, Any]) -> None:
    assert told["inline"] == ["echo: a", 3, "echo: b"]
    assert told["named"] == [["a", "echo: a"], ["b", "echo: b"]]


def test_embeddings_go_inline_and_by_file(told: Mapping[str, Any]) -> None:
    assert told["embeddings"] == [True, True]
    assert told["embeddings_from_a_file"] == {"a": True, "b": True}


def test_lists_are_walked_to_their_end(told: Mapping[str, Any]) -> None:
    assert told["pages"] == {"batches": True, "once": True, "files": True}


def test_a_batch_is_cancelled_unless_it_is_too_late(told: Mapping[str, Any]) -> None:
    assert told["cancel"][-1] == "CANCELLED", told["cancel"]
    assert (told["too_late"]["class"][0], told["too_late"]["status"]) == ("ClientError", 400)


def test_a_file_is_told_of(told: Mapping[str, Any]) -> None:
    assert told["file"] == {
        "name": "mine",
        "state": "ACTIVE",
        "source": "UPLOADED",
        "type": "application/jsonl",
        "bytes": True,
        "hours": 48,
    }


def test_a_file_may_come_in_pieces(told: Mapping[str, Any]) -> None:
    sent = told["big_file"]

    assert sent["bytes"] > 8 * 1024 * 1024
    assert sent["keys"] == ["r0", "r1", "r2", "r3"]


def test_a_file_without_rows_fails_its_batch(told: Mapping[str, Any]) -> None:
    assert told["unreadable"][-1] == "FAILED"


def test_errors_are_the_sdks_own(told: Mapping[str, Any]) -> None:
    refused = told["refused"]

    assert kinds(refused) == {"key": "ClientError", "file": "ClientError"}
    assert "API key not valid" in refused["key"]["message"]
    assert refused["file"]["status"] == 404
