"""Calls that the server refuses: what is said of them, what is left of them, what comes next."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.server.tries import Tries, body_digest, heard
from anybatch.testing import FakeEndpoint, Stall

from .test_keys import add, knocks
from .world import CHAT, ShiftedClock, chat, client_of, served, until, until_over, upload

PARAMS = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x" * 10_000}]}
OF_ANTHROPIC = (
    "/v1/messages/batches",
    {"requests": [{"custom_id": "a", "params": PARAMS}]},
    {"anthropic-version": "2023-06-01"},
)
OF_GEMINI = (
    "/v1beta/models/m:batchGenerateContent",
    {"batch": {"inputConfig": {"requests": {"requests": [
        {"request": {"contents": [{"parts": [{"text": "x" * 10_000}]}]}}
    ]}}}},
    {},
)  # fmt: skip


@contextmanager
def one_at_a_time(home: Path, **terms: int) -> Iterator[tuple[str, str]]:
    """A server on which nothing ends, and the key of somebody who may have one batch open."""
    key, _ = add(home, "alice", **(terms or {"max_batches": 1}))
    with FakeEndpoint(script=lambda call: Stall(30)) as endpoint, served(home, endpoint) as url:
        yield url, key


def posted(url: str, path: str, asked: Any, key: str, **headers: Any) -> httpx2.Response:
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    headers = {"authorization": f"Bearer {key}", **named}
    return httpx2.post(url.removesuffix("/v1") + path, json=asked, headers=headers)


@pytest.mark.parametrize(("path", "asked", "headers"), [OF_ANTHROPIC, OF_GEMINI])
def test_nothing_is_kept_of_a_batch_that_is_refused(
    tmp_path: Path, path: str, asked: Any, headers: Any
) -> None:
    with one_at_a_time(tmp_path) as (url, key):
        assert posted(url, path, asked, key, **headers).status_code == 200
        kept = os.listdir(tmp_path / "files")
        again = {**asked, "requests": [{"custom_id": "b", "params": PARAMS}]}
        refused = posted(url, path, again if "requests" in asked else asked, key, **headers)

        assert refused.status_code == 429
        assert os.listdir(tmp_path / "files") == kept
        assert os.listdir(tmp_path / "incoming") == []


def test_who_has_too_much_is_told_when_and_that_trying_by_itself_is_of_no_use(
    tmp_path: Path,
) -> None:
    with one_at_a_time(tmp_path) as (url, key):
        path, asked, headers = OF_ANTHROPIC
        posted(url, path, asked, key, **headers)
        refused = posted(url, path, {"requests": [*asked["requests"]]}, key, **headers)

    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("60", "false")
    assert refused.json()["request_id"] == refused.headers["request-id"]


def test_who_has_used_its_tokens_is_told_when_there_are_some_again(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    key, _ = add(tmp_path, "alice", tokens_a_day=1)
    with served(tmp_path, endpoint) as url, client_of(url, key) as client:
        asked = batch_of(upload(client, [chat("a")]).id)
        made = posted(url, "/v1/batches", asked, key).json()
        until_over(client, client.batches.retrieve(made["id"]))
        refused = posted(url, "/v1/batches", asked, key)

    assert refused.status_code == 429
    assert refused.headers["x-should-retry"] == "false"
    assert 86_000 < int(refused.headers["retry-after"]) <= 87_000


@pytest.mark.parametrize(("path", "status"), [("/v1/messages/nowhere", 404), ("/v1/messages", 404)])
def test_what_is_nowhere_has_a_name_in_anthropics_words(url: str, path: str, status: int) -> None:
    refused = posted(url, path, {}, "any")

    assert refused.status_code == status
    assert refused.json()["request_id"] == refused.headers["request-id"]


def test_a_wrong_key_has_a_name_in_anthropics_words(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    add(tmp_path, "alice")
    with served(tmp_path, endpoint) as url:
        refused = posted(url, "/v1/messages/batches", {}, "wrong")

    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    assert refused.json()["request_id"] == refused.headers["request-id"]


@pytest.mark.parametrize(
    "header", [{"host": "batches.example"}, {"origin": "https://page.example"}]
)
def test_who_calls_through_a_proxy_or_a_page_hears_that_a_key_has_to_be_made(
    url: str, header: dict[str, str]
) -> None:
    refused = httpx2.get(f"{url}/batches", headers=header)

    assert refused.status_code == 403
    assert "anybatch keys add" in refused.json()["error"]["message"]
    assert refused.json()["error"]["code"] is None


# --- the next try ---------------------------------------------------------------------------------


def batch_of(file_id: str) -> dict[str, Any]:
    return {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}


def test_the_try_after_one_that_found_no_place_makes_a_batch_of_its_own(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path) as (url, key), client_of(url, key) as client:
        asked = batch_of(upload(client, [chat("a")]).id)

        def tried(times: int) -> httpx2.Response:
            return posted(url, "/v1/batches", asked, key, x_stainless_retry_count=times)

        first = tried(0).json()["id"]
        assert tried(0).status_code == 429
        assert tried(1).status_code == 429
        until_over(client, client.batches.cancel(first))
        second = tried(2).json()["id"]
        lost = tried(3).json()["id"]

    assert first != second == lost


def test_the_try_after_one_too_many_a_minute_makes_a_batch_of_its_own(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path, rpm=4) as (url, key), client_of(url, key) as client:
        asked, other = (batch_of(upload(client, [chat(name)]).id) for name in "ab")

        def tried(times: int, what: Any = asked) -> httpx2.Response:
            return posted(url, "/v1/batches", what, key, x_stainless_retry_count=times)

        made = [tried(0).json()["id"], tried(0, other).json()["id"]]
        assert tried(0).status_code == 429
        more, _ = add(tmp_path, "alice")
        until(lambda: knocks(url, more) == 200, "a limit that is gone")
        lost = tried(1, other).json()["id"]
        again = [tried(1).json()["id"], tried(1).json()["id"]]

    assert lost == made[1], "of the same length and of another body: its answer was lost"
    assert again[0] == again[1] not in made


def scope(times: int, body: bytes = b"{}", length: int | None = None) -> dict[str, Any]:
    size = str(len(body) if length is None else length).encode()
    headers = [(b"x-stainless-retry-count", str(times).encode()), (b"content-length", size)]
    call: dict[str, Any] = {"method": "POST", "path": "/v1/batches", "headers": headers}
    if length is None:
        heard(call, body_digest(body))
    return call


def test_a_refused_try_is_followed_by_one() -> None:
    tries = Tries(ShiftedClock())
    tries.made_nothing(scope(0), "alice")

    assert not tries.is_first(scope(1, b"[]"), "alice", since=None)
    assert not tries.is_first(scope(1), "bob", since=None)
    assert not tries.is_first(scope(2), "alice", since=None)
    assert tries.is_first(scope(1), "alice", since=None)
    assert not tries.is_first(scope(1), "alice", since=None)


def test_a_long_body_that_was_refused_unread_is_known_by_its_length() -> None:
    tries = Tries(ShiftedClock())
    tries.made_nothing(scope(0, length=10**6), "alice")

    assert not tries.is_first(scope(1, length=10**6 + 1), "alice", since=None)
    assert tries.is_first(scope(1, length=10**6), "alice", since=None)


def test_a_try_that_was_refused_before_its_like_was_made_was_given_up() -> None:
    clock = ShiftedClock()
    tries = Tries(clock)
    tries.made_nothing(scope(0), "alice")

    assert not tries.is_first(scope(1), "alice", since=clock.now() + timedelta(seconds=1))


def test_a_refused_retry_of_a_lost_answer_starts_no_new_story() -> None:
    tries = Tries(ShiftedClock())
    tries.made_nothing(scope(1), "alice")

    assert not tries.is_first(scope(2), "alice", since=None)


def test_a_refused_try_is_forgotten_when_no_sdk_would_try_again() -> None:
    clock = ShiftedClock()
    tries = Tries(clock)
    tries.made_nothing(scope(0), "alice")
    clock.ahead = timedelta(minutes=16)

    assert not tries.is_first(scope(1), "alice", since=None)
