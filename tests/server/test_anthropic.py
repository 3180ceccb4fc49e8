"""What a client of Anthropic's message batches meets, beyond what its SDK shows."""

import json
import re
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion

from anybatch.core.model import Failure, Result
from anybatch.errors import BadSettings
from anybatch.server.owners import hash_of
from anybatch.server.serving import serving_of
from anybatch.settings import Settings
from anybatch.testing import FakeAnthropic, FakeEndpoint, FakeOpenAI
from anybatch.wire import anthropic_asked
from anybatch.wire.anthropic_asked import RequestSplitter
from anybatch.wire.anthropic_served import write_line

from .world import LIMIT_S, ShiftedClock, chat, client_of, create, results_of, served, until_over

BATCHES = "/messages/batches"
NEW = "2026-10-21"


def client_at(url: str, **headers: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, headers={"anthropic-version": NEW, **headers})


@pytest.fixture
def http(url: str) -> Iterator[httpx2.Client]:
    with client_at(url) as client:
        yield client


def row(name: str, prompt: str = "hi", model: str = "m", **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": prompt}]
    params = {"model": model, "max_tokens": 64, "messages": turns, **more}
    return {"custom_id": name, "params": params}


def made(http: httpx2.Client, *rows: Any, **headers: str) -> dict[str, Any]:
    reply = http.post(BATCHES, json={"requests": rows}, headers=headers)
    assert reply.status_code == 200, reply.text
    batch: dict[str, Any] = reply.json()
    return batch


def ended(http: httpx2.Client, batch: Mapping[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + LIMIT_S
    while batch["processing_status"] != "ended":
        assert time.monotonic() < end, batch
        time.sleep(0.005)
        batch = http.get(f"{BATCHES}/{batch['id']}").json()
    return dict(batch)


def lines(http: httpx2.Client, batch: Mapping[str, Any]) -> dict[str, Any]:
    """What became of each request, by its name, each there once."""
    reply = http.get(batch["results_url"])
    assert reply.status_code == 200
    found = [json.loads(line) for line in reply.content.splitlines()]
    assert len({line["custom_id"] for line in found}) == len(found)
    return {line["custom_id"]: line["result"] for line in found}


def results(http: httpx2.Client, *rows: Any, **headers: str) -> dict[str, Any]:
    return lines(http, ended(http, made(http, *rows, **headers)))


def why(result: Mapping[str, Any]) -> tuple[str, str]:
    error = result["error"]["error"]
    return error["type"], error["message"]


# --- creation ---


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "before its JSON is complete"),
        (b"[]" * 1000, "one JSON object"),
        (b'{"rows":[]}' * 200, "rows: Extra inputs are not permitted"),
        (
            b'{"metadata":{},"requests":[{"custom_id":"a","params":{}}]}',
            "metadata: Extra inputs are not permitted",
        ),
        (b'{"requests":{}}', "requests: Input should be a valid list"),
        (b'{"requests":null}', "requests: Input should be a valid list"),
        (b"{}", "requests: Field required"),
        (b'\xef\xbb\xbf{"requests":[{"custom_id":"a","params":{}}]}', "byte order mark"),
        (b'{"requests":', "before its JSON is complete"),
        (b'{"requests":[]}', "at least 1 item"),
        (b'{"requests":[{"custom_id":"a","params":{}}', "before its JSON is complete"),
        (
            b'{"requests":[{"custom_id":"a","params":{}}],"x":1}',
            "x: Extra inputs are not permitted",
        ),
        (b'{"requests":[{"custom_id":"a","params":{}}],', "before its JSON is complete"),
        (b'{"requests":[{"custom_id":"a","params":{}}],1}', "before its JSON is complete"),
        (b'{"requests":[{"custom_id":"a","params":{}},]}', "one JSON object"),
        (b'{"requests":[{"custom_id":"a","params":{}}]} {}', "one JSON object"),
        (b'{"requests":[{"custom_id":"a b","params":{}}]}', "requests.0.custom_id"),
        (b'{"requests":[{"custom_id":"a","params":[]}]}', "requests.0.params"),
        (b'{"requests":[{"custom_id":"a"}]}', "requests.0.params"),
        (b'{"requests":[{"custom_id":"a","params":{},"url":1}]}', "requests.0"),
        (b'{"requests":[{"custom_id":"a","params":{\'x\':1}}]}', "requests.0"),
        (
            b'{"requests":[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]}',
            "requests.1.custom_id",
        ),
    ],
)
def test_what_is_no_batch_is_refused_at_once(http: httpx2.Client, body: bytes, said: str) -> None:
    reply = http.post(BATCHES, content=body)

    assert reply.status_code == 400
    assert reply.json()["type"] == "error"
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert said in reply.json()["error"]["message"]
    assert reply.json()["request_id"] == reply.headers["request-id"]


def test_requests_are_found_however_the_body_is_written(http: httpx2.Client) -> None:
    prompts = ['a"b\\', "{[}]", "\u2028\n\t", "\\\\"]
    rows = [row(f"r{n}", prompt) for n, prompt in enumerate(prompts)]
    body = json.dumps({"requests": rows}, indent=2, ensure_ascii=False).encode()

    def slowly() -> Iterator[bytes]:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    batch = http.post(BATCHES, content=slowly()).json()
    found = lines(http, ended(http, batch))

    said = {name: one["message"]["content"][0]["text"] for name, one in found.items()}
    assert said == {f"r{n}": f"echo: {prompt}" for n, prompt in enumerate(prompts)}


def test_the_same_call_makes_one_batch(http: httpx2.Client) -> None:
    again = {"x-stainless-retry-count": "1"}
    first = made(http, row("a", "once"), **{"x-stainless-retry-count": "0"})
    named = made(http, row("b"), **{"idempotency-key": "k1"})

    assert made(http, row("a", "once"), **again)["id"] == first["id"]
    assert made(http, row("b"), **{"idempotency-key": "k1"})["id"] == named["id"]
    other = http.post(BATCHES, json={"requests": [row("c")]}, headers={"idempotency-key": "k1"})
    assert (other.status_code, other.json()["error"]["type"]) == (409, "conflict_error")


# --- what becomes of requests ---


def test_one_batch_may_name_many_models(http: httpx2.Client) -> None:
    found = results(http, row("a", model="m"), row("b", model="n"), row("c", model="m"))

    assert {name: one["message"]["model"] for name, one in found.items()} == {
        "a": "m",
        "b": "n",
        "c": "m",
    }


def test_a_bad_request_is_an_errored_line_and_the_others_run(http: httpx2.Client) -> None:
    no_budget = row("budget")
    del no_budget["params"]["max_tokens"]
    thinks = row("field", container="c1")
    found = results(
        http,
        row("good"),
        no_budget,
        row("heat", temperature=1.0),
        row("stream", stream=True),
        row("refused", "fail"),
        thinks,
    )

    assert found["good"]["type"] == "succeeded"
    assert why(found["budget"]) == ("invalid_request_error", "max_tokens: Field required")
    assert why(found["heat"]) == (
        "invalid_request_error",
        "temperature: Extra inputs are not permitted",
    )
    assert why(found["stream"])[0] == "invalid_request_error"
    assert why(found["refused"]) == ("invalid_request_error", "Not this one.")
    kind, message = why(found["field"])
    assert kind == "invalid_request_error"
    assert "/container" in message


def test_an_errored_line_has_an_id_of_its_own(http: httpx2.Client) -> None:
    no_budget = row("budget")
    del no_budget["params"]["max_tokens"]
    rows = [no_budget, row("refused", "fail"), row("refused-too", "fail"), row("good")]
    first, second = (ended(http, made(http, *rows)) for _ in range(2))
    found = [lines(http, batch) for batch in (first, second)]

    errored = [result["error"] for each in found for result in each.values() if "error" in result]
    ids = [error["request_id"] for error in errored]
    assert len(set(ids)) == len(ids) == 6
    assert all(re.fullmatch("req_[0-9a-f]{24}", id) for id in ids)


def test_a_line_that_is_written_again_is_the_same() -> None:
    refused = Result(n=7, outcome="bad_request", status=400, failure=Failure(message="no"))
    written = {write_line("a", refused, order="o", n=7, ending="completed") for _ in range(2)}

    assert len(written) == 1
    assert len({write_line("a", None, order="o", n=n, ending="completed") for n in range(3)}) == 3


def test_the_older_version_takes_a_temperature(http: httpx2.Client) -> None:
    found = results(http, row("a", temperature=0.5), **{"anthropic-version": "2023-06-01"})

    assert found["a"]["type"] == "succeeded"


@pytest.mark.parametrize("executor", ["online", "batch"])
def test_a_temperature_reaches_a_service_of_the_same_protocol(
    executor: str, tmp_path: Path
) -> None:
    with FakeAnthropic() as service:
        route = {"model": "*", "provider": "anthropic", "base_url": service.base_url}
        routes = [{**route, "executor": executor, "api_key_env": "THEIR_KEY"}]
        environment = {"THEIR_KEY": "sk-theirs"}
        with served(tmp_path, routes=routes, environment=environment) as url:
            old = {"anthropic-version": "2023-06-01"}
            with client_at(url, **old) as http:
                found = results(http, row("hot", temperature=0.5), row("plain"))

    assert {name: result["type"] for name, result in found.items()} == {
        "hot": "succeeded",
        "plain": "succeeded",
    }


def test_a_model_that_nothing_answers_for_is_one_errored_line(tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint:
        routes = [{"model": "known", "base_url": endpoint.base_url}]
        with served(tmp_path, routes=routes) as url, client_at(url) as http:
            batch = ended(http, made(http, row("a", model="known"), row("b", model="other")))
            found = lines(http, batch)
            alone = ended(http, made(http, row("c", model="other")))

            assert batch["request_counts"]["succeeded"] == 1
            assert batch["request_counts"]["errored"] == 1
            assert found["a"]["type"] == "succeeded"
            assert why(found["b"]) == ("not_found_error", "model: other")
            assert why(lines(http, alone)["c"])[0] == "not_found_error"


def test_counts_show_nothing_before_the_end(tmp_path: Path) -> None:
    with (
        FakeEndpoint(latency=0.2) as endpoint,
        served(tmp_path, endpoint) as url,
        client_at(url) as http,
    ):
        batch = made(http, *(row(f"r{n}") for n in range(5)))
        early = http.get(f"{BATCHES}/{batch['id']}/results")
        kept = http.delete(f"{BATCHES}/{batch['id']}")
        over = ended(http, batch)

    assert batch["request_counts"] == {
        **dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0),
        "processing": 5,
    }
    assert (batch["results_url"], batch["ended_at"]) == (None, None)
    assert (early.status_code, kept.status_code) == (400, 400)
    assert over["request_counts"]["succeeded"] == 5


# --- where results are ---


@pytest.mark.parametrize("escaped", [b'{"\\u0072equests":[', b' {\n"requests" : ['])
def test_a_creation_is_read_however_its_name_is_spelled(
    http: httpx2.Client, escaped: bytes
) -> None:
    request = b'{"custom_id":"a","params":{}}'

    assert http.post(BATCHES, content=escaped + request + b"]}").status_code == 200


def test_results_are_where_the_call_came_in(http: httpx2.Client) -> None:
    batch = ended(http, made(http, row("a")))
    origin = str(http.base_url).rstrip("/")
    named = {"host": f"localhost:{http.base_url.port}"}
    seen = http.get(f"{BATCHES}/{batch['id']}", headers=named).json()

    assert batch["results_url"] == f"{origin}{BATCHES}/{batch['id']}/results"
    assert seen["results_url"].startswith(f"http://{named['host']}/v1/messages/batches/")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "localhost:99999"])
def test_a_port_that_is_not_ours_is_not_repeated(http: httpx2.Client, host: str) -> None:
    batch = ended(http, made(http, row("a")))
    seen = http.get(f"{BATCHES}/{batch['id']}", headers={"host": host})

    if seen.status_code == 200:
        assert seen.json()["results_url"] == f"/v1/messages/batches/{batch['id']}/results"
    else:
        assert seen.status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1@evil.example", "a b", ""])
def test_a_host_that_nobody_vouches_for_is_not_repeated(tmp_path: Path, host: str) -> None:
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint, keys={"alice": hash_of("sk-a")}) as url,
        client_at(url, **{"x-api-key": "sk-a"}) as http,
    ):
        batch = ended(http, made(http, row("a")))
        reply = http.get(f"{BATCHES}/{batch['id']}", headers={"host": host})

    if reply.status_code == 200:
        assert reply.json()["results_url"] == f"/v1{BATCHES}/{batch['id']}/results"
    else:
        assert reply.status_code == 400


def test_results_are_where_somebody_has_said_that_we_are(tmp_path: Path) -> None:
    def settings(public_url: object) -> Settings:
        return Settings(home=tmp_path, server={"public_url": public_url})

    assert serving_of(settings("https://x.example/v1"), host=None, port=0).public_url == (
        "https://x.example"
    )
    for wrong in (7, "x.example", "https://a:b@x.example"):
        with pytest.raises(BadSettings, match="public_url"):
            serving_of(settings(wrong), host=None, port=0)


# --- keys and owners ---


def test_both_headers_carry_a_key_and_nobody_sees_anothers(tmp_path: Path) -> None:
    keys = {"alice": hash_of("sk-a"), "bob": hash_of("sk-b")}
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint, keys=keys) as url,
        client_at(url, **{"x-api-key": "sk-a"}) as alice,
        client_at(url, authorization="Bearer sk-b") as bob,
        client_at(url, **{"x-api-key": "sk-c"}) as eve,
    ):
        batch = ended(alice, made(alice, row("a")))
        path, absent = f"{BATCHES}/{batch['id']}", f"{BATCHES}/msgbatch_{'0' * 24}"
        calls = [("GET", ""), ("GET", "/results"), ("POST", "/cancel"), ("DELETE", "")]
        for method, rest in calls:
            foreign, nowhere = (bob.request(method, at + rest) for at in (path, absent))
            assert (foreign.status_code, nowhere.status_code) == (404, 404)
            assert foreign.json()["error"]["type"] == "not_found_error"
        assert bob.get(BATCHES).json()["data"] == []
        both = bob.get(BATCHES, headers={"x-api-key": "sk-a"}).json()
        assert [seen["id"] for seen in both["data"]] == [batch["id"]]
        refused = eve.get(BATCHES)

    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    assert refused.headers["request-id"]


def test_what_lies_on_our_disk_is_no_file_of_openais(
    client: openai.OpenAI, http: httpx2.Client
) -> None:
    batch = ended(http, made(http, row("a")))

    assert all("." not in file.purpose for file in client.files.list())
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve(batch["id"])


def test_what_is_deleted_is_gone_from_the_disk(tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint, served(tmp_path, endpoint) as url, client_at(url) as http:
        batch = ended(http, made(http, row("a"), row("b", stream=True)))
        there = len([*(tmp_path / "files").iterdir()])
        deleted = http.delete(f"{BATCHES}/{batch['id']}").json()

        assert there == 3
        assert deleted == {"id": batch["id"], "type": "message_batch_deleted"}
        assert [*(tmp_path / "files").iterdir()] == []
        assert http.get(f"{BATCHES}/{batch['id']}").status_code == 404
        assert http.get(BATCHES).json()["data"] == []


def test_results_are_archived_after_29_days(tmp_path: Path) -> None:
    clock = ShiftedClock()
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint, clock=clock) as url,
        client_at(url) as http,
    ):
        batch = ended(http, made(http, row("a")))
        clock.ahead = timedelta(days=29, seconds=1)
        seen = http.get(f"{BATCHES}/{batch['id']}").json()
        gone = http.get(f"{BATCHES}/{batch['id']}/results")

    assert (seen["results_url"], seen["processing_status"]) == (None, "ended")
    assert seen["archived_at"] is not None
    assert gone.status_code == 404


# --- large bodies ---


def test_a_large_creation_is_taken_apart_in_little_memory() -> None:
    piece = b",".join(
        json.dumps(row(f"r{n}", 'x"' * 2_000)).encode() for n in range(20_000, 20_200)
    )
    splitter, count = RequestSplitter(), 0
    tracemalloc.start()
    try:
        for n in range(40):
            mine = piece.replace(b'"r2', b'"r%02d' % n)
            for line in splitter.feed((b"," if n else b'{"requests":[') + mine):
                count += line.endswith(b"\n")
        for _ in splitter.feed(b"]}"):
            raise AssertionError("nothing is left")
        splitter.end()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == splitter.count == 8_000
    assert peak < 5 * len(piece) < 8_000_000 < 40 * len(piece)


def test_a_body_that_is_too_long_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anthropic_asked, "MAX_BYTES", 1_000)
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint) as url,
        client_at(url) as http,
    ):
        reply = http.post(BATCHES, json={"requests": [row("a", "x" * 2_000)]})

    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")
    assert [*(tmp_path / "incoming").iterdir(), *(tmp_path / "files").iterdir()] == []


# --- between the apis ---


@pytest.mark.parametrize("batched", [False, True])
def test_a_batch_is_answered_in_openais_words_and_read_in_its_own(
    tmp_path: Path, batched: bool
) -> None:
    tool = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
    with FakeOpenAI() as fake:
        route = {"model": "*", "provider": "openai", "base_url": f"{fake.address}/v1"}
        how = {"executor": "batch" if batched else "online", "api_key_env": ""}
        with served(tmp_path, routes=[route | how]) as url, client_at(url) as http:
            found = results(http, row("a", system="Be kind"), row("b", tools=[tool], top_k=3))
        made_there = len(fake.ledger.batches)

    assert made_there == batched
    message = found["a"]["message"]
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "m")
    assert message["content"][0]["text"].startswith("echo: ")
    assert message["usage"]["output_tokens"] > 0
    assert found["b"]["type"] == "errored"


# --- tokens, and the other way round ---


def test_tokens_are_estimated(http: httpx2.Client) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}
    few, none = (
        http.post("/messages/count_tokens", json=body),
        http.post("/messages/count_tokens", json={"model": "m"}),
    )

    assert 100 <= few.json()["input_tokens"] <= 120
    assert (none.status_code, none.json()["error"]["message"]) == (400, "messages: Field required")


def test_a_batch_of_openais_is_answered_in_anthropics_words_and_read_in_its_own(
    tmp_path: Path,
) -> None:
    with FakeAnthropic() as fake:
        address = f"{fake.address}/v1"
        routes = [{"model": "*", "provider": "anthropic", "base_url": address, "api_key_env": ""}]
        with served(tmp_path, routes=routes) as url, client_of(url) as client:
            seeded = chat("b")
            seeded["body"] |= {"logprobs": True}
            _, batch = until_over(client, create(client, [chat("a"), seeded]))
            output, errors = results_of(client, batch)

    body = output["a"]["response"]["body"]
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"].startswith("echo: ")
    assert errors["b"]["response"]["status_code"] == 400
    assert isinstance(ChatCompletion.model_validate(body, strict=True), ChatCompletion)
    assert "logprobs" in errors["b"]["response"]["body"]["error"]["message"]
