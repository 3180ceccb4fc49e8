"""Google's SDK in two majors and in JavaScript goes through the life that the fake gives it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from anybatch.server.owners import hash_of
from anybatch.testing import FakeGemini, Fault, Operation, Stall, matching

from ..judges.judging import KEY, all_judges_of, kinds, told_by
from ..judges.test_gemini import refusal_of
from .test_gemini import REFUSING, routes_to
from .world import served

refuses, waits = REFUSING["call"], matching('"wait"', Stall(60))


def as_asked(operation: Operation) -> Fault | None:
    return refuses(operation) or waits(operation)


@pytest.fixture(scope="module", params=all_judges_of("google-genai"))
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Any]]:
    """What it saw. It also tries what only a fake can do; that is not looked at."""
    home, keys = tmp_path_factory.mktemp("home"), {"judge": hash_of(KEY)}
    with (
        FakeGemini(faults={"call": as_asked}) as fake,
        served(home, routes=routes_to(fake), keys=keys) as u,
    ):
        told = told_by(request.param, "gemini_life", u.removesuffix("/v1"))
        yield {**told, "refusal": refusal_of(request.param)}


def test_a_batch_goes_from_a_file_to_a_file(told: Mapping[str, Any]) -> None:
    life = told["life"]

    assert life["states"][-1] == "SUCCEEDED", life
    assert (life["name"], life["model"], life["times"]) == ("ours", "models/gemini-x", True)
    assert life["said"] == {f"r{n}": f"echo: prompt {n}" for n in range(5)}
    assert life["errors"] == {"bad": 400}


def test_what_is_deleted_is_gone(told: Mapping[str, Any]) -> None:
    for gone in (told["life"]["gone"], told["life"]["file gone"]):
        assert (gone["class"][0], gone["status"]) == (told["refusal"], 404)


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
    too_late = told["too_late"]
    assert (too_late["class"][0], too_late["status"]) == (told["refusal"], 400)


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

    assert kinds(refused) == dict.fromkeys(("key", "file"), told["refusal"])
    assert "API key not valid" in refused["key"]["message"]
    assert refused["file"]["status"] == 404


def test_what_is_told_is_as_the_sdks_own_types_have_it(told: Mapping[str, Any]) -> None:
    if "typed" not in told:
        pytest.skip("JavaScript has no types left when it runs")
    typed = told["typed"]

    found = {name: typed[name] for name in ("file", "answer", "error", "inline answer")}
    assert [name for name, seen in found.items() if seen] == []
    assert typed["inline error"] == []
    assert typed["operation"] == ["done", "metadata", "name", "response"]
    assert typed["batch"] is True


def test_a_client_that_does_not_block_goes_the_same_way(told: Mapping[str, Any]) -> None:
    if "asynchronous" not in told:
        pytest.skip("JavaScript has no other client")
    assert told["asynchronous"] == {"names": ["a"], "listed": True, "gone": 404}
