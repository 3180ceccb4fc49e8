"""Keys of the store: made, shown once, revoked while the server runs; and what they allow."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from msgspec.structs import replace

from anybatch.core.served import ApiKey
from anybatch.errors import BadSettings
from anybatch.server.owners import EVERYBODY, Owners, hash_of, new_key
from anybatch.server.rates import Rates
from anybatch.server.serving import serving_of
from anybatch.server.turns import turns
from anybatch.settings import Settings
from anybatch.store.served import ServedStore
from anybatch.testing import FakeEndpoint

from ..cli.process import anybatch
from .test_turns import by_id, order
from .world import chat, client_of, create, served, until, until_over

AT = datetime(2026, 11, 20, tzinfo=UTC)
HERE = (b"host", b"127.0.0.1")


def add(home: Path, owner: str, **terms: int) -> tuple[str, ApiKey]:
    with closing(ServedStore(home)) as store:
        text, key = new_key(owner, now=AT, **terms)
        store.add_api_key(key)
    return text, key


def revoke(home: Path, key: ApiKey) -> None:
    with closing(ServedStore(home)) as store:
        assert store.revoke_api_key(key.id, at=AT)


def knocks(url: str, key: str) -> int:
    answer = httpx2.get(f"{url}/batches", headers={"authorization": f"Bearer {key}"})
    return answer.status_code


@contextmanager
def as_owner(home: Path, endpoint: FakeEndpoint, **terms: int) -> Iterator[openai.OpenAI]:
    text, _ = add(home, "alice", **terms)
    with served(home, endpoint) as url, client_of(url, text) as client:
        yield client.with_options(max_retries=0)


@pytest.mark.parametrize("empty", [b"x-api-key", b"x-goog-api-key", b"api-key"])
def test_a_header_that_is_left_empty_hides_no_key(empty: bytes) -> None:
    owners = Owners({"alice": hash_of("key")})

    assert owners.owner_of([(b"authorization", b"Bearer key"), (empty, b" ")]) == "alice"


# --- the commands ---


def test_a_key_is_shown_once_and_kept_as_its_hash(tmp_path: Path) -> None:
    made = anybatch("keys", "add", "alice", "--weight", 3, "--rpm", 60, home=tmp_path)
    listed = anybatch("keys", "list", home=tmp_path)
    as_json = anybatch("keys", "list", "--json", home=tmp_path)

    key = made.stdout.strip()
    (shown,) = json.loads(as_json.stdout)
    assert key.startswith("sk-")
    assert (shown["name"], shown["weight"], shown["rpm"]) == ("alice", 3, 60)
    assert key not in listed.stdout + as_json.stdout + made.stderr
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.db*"))
    assert hash_of(key).encode() in kept
    assert key.encode() not in kept


def test_a_key_is_revoked_by_its_id_or_by_whose_it_is(tmp_path: Path) -> None:
    for name in ("alice", "alice", "bob"):
        anybatch("keys", "add", name, home=tmp_path)
    bob = json.loads(anybatch("keys", "list", "--json", home=tmp_path).stdout)[2]

    by_name = anybatch("keys", "revoke", "alice", "--json", home=tmp_path)
    by_key = anybatch("keys", "revoke", bob["id"], "--json", home=tmp_path)
    nobody = anybatch("keys", "revoke", "alice", home=tmp_path)

    listed = json.loads(anybatch("keys", "list", "--json", home=tmp_path).stdout)
    assert len(json.loads(by_name.stdout)) == 2
    assert json.loads(by_key.stdout) == [bob["id"]]
    assert (nobody.returncode, "no valid key" in nobody.stderr) == (1, True)
    assert all(key["revoked_at"] for key in listed)


# --- whose call it is ---


def test_keys_of_the_store_stand_beside_those_of_the_settings() -> None:
    text, key = new_key("bob", now=AT)
    owners = Owners({"alice": hash_of("key")})

    owners.learn([key])

    assert owners.owner_of([(b"x-api-key", b"key")]) == "alice"
    assert owners.owner_of([(b"authorization", f"Bearer {text}".encode())]) == "bob"
    assert owners.owner_of([(b"x-api-key", b"other")]) is None


def test_when_the_last_key_is_revoked_nobody_may_call() -> None:
    _, key = new_key("bob", now=AT)
    owners = Owners({})

    before = owners.owner_of([HERE])
    owners.learn([replace(key, revoked_at=AT)])

    assert before == EVERYBODY
    assert owners.owner_of([HERE]) is None


def test_the_terms_of_an_owner_are_those_of_its_newest_key() -> None:
    first, second = (new_key("bob", now=AT, rpm=rpm)[1] for rpm in (1, 2))
    owners = Owners({})

    owners.learn([first, second])
    assert owners.terms_of("bob") == second
    owners.learn([first, replace(second, revoked_at=AT)])
    assert owners.terms_of("bob") == first


def test_other_addresses_are_served_once_there_is_a_key(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(BadSettings, match="keys add"):
        serving_of(settings, host="0.0.0.0", port=0)

    add(tmp_path, "alice")

    assert serving_of(settings, host="0.0.0.0", port=0).owners.ask_for_keys


def test_keys_come_and_go_while_the_server_runs(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    with served(tmp_path, endpoint) as url:
        assert knocks(url, "any") == 200
        text, key = add(tmp_path, "alice")
        until(lambda: knocks(url, "any") == 401, "a key to be asked for")
        assert knocks(url, text) == 200
        revoke(tmp_path, key)
        until(lambda: knocks(url, text) == 401, "a key to be revoked")


def test_the_address_of_an_upload_goes_with_the_keys_of_its_owner(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    start = {"x-goog-upload-command": "start", "x-goog-upload-protocol": "resumable"}
    file = {"mime_type": "application/jsonl", "size_bytes": 3}
    text, key = add(tmp_path, "alice")
    add(tmp_path, "bob")
    with served(tmp_path, endpoint) as url:
        begun = httpx2.post(
            url.removesuffix("/v1") + "/upload/v1beta/files",
            headers={**start, "x-goog-api-key": text},
            json={"file": file},
        )
        address = begun.headers["x-goog-upload-url"]

        def query() -> int:
            return httpx2.post(address, headers={"x-goog-upload-command": "query"}).status_code

        assert query() == 200
        revoke(tmp_path, key)
        until(lambda: query() == 400, "an address to be refused")
        sent = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
        refused = httpx2.post(address, headers=sent, content=b"abc")

    assert refused.status_code == 400
    assert "API key not valid" in refused.json()["error"]["message"]


# --- what they allow ---


def test_calls_a_minute_come_at_once_or_one_by_one() -> None:
    rates = Rates()

    assert [rates.wait_s("a", 3, now=0.0) for _ in range(4)] == [0, 0, 0, 20]
    assert rates.wait_s("b", 3, now=0.0) == 0
    assert [rates.wait_s("a", 3, now=20.0) for _ in range(2)] == [0, 20]


def test_who_calls_too_often_is_told_when_to_come_again(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    with as_owner(tmp_path, endpoint, rpm=2) as client:
        for _ in range(2):
            client.batches.list()
        with pytest.raises(openai.RateLimitError) as refused:
            client.batches.list()

    assert refused.value.response.headers["retry-after"] == "30"
    assert "2 calls a minute" in refused.value.message


def test_only_so_many_batches_are_open(tmp_path: Path) -> None:
    with (
        FakeEndpoint(latency=lambda call: 60.0) as endpoint,
        as_owner(tmp_path, endpoint, max_batches=1) as client,
    ):
        first = create(client, [chat("a")])
        with pytest.raises(openai.RateLimitError, match="1 batches open"):
            create(client, [chat("b")])
        until_over(client, client.batches.cancel(first.id))
        second = create(client, [chat("c")])
        until_over(client, client.batches.cancel(second.id))
        listed = [batch.id for batch in client.batches.list()]

    assert listed == [second.id, first.id]


def test_no_batch_is_taken_when_the_tokens_of_a_day_are_used(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    with as_owner(tmp_path, endpoint, tokens_a_day=1) as client:
        _, batch = until_over(client, create(client, [chat("a")]))
        with pytest.raises(openai.RateLimitError, match=f"has used {batch.usage.total_tokens}"):
            create(client, [chat("b")])

    assert batch.usage.total_tokens > 1


def test_who_weighs_more_has_more_under_way() -> None:
    waiting: list[Any] = [order(f"{owner}{n}", owner=owner) for n in range(8) for owner in "ab"]

    chosen = turns(waiting, by_id(), weight=lambda owner: 3 if owner == "b" else 1)

    assert [each.owner for each in chosen].count("b") == 6
    assert [each.owner for each in chosen].count("a") == 2
