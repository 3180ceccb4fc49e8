"""What an endpoint answers goes to the client as it came, if both speak one api: once, whatever it
says; and what it refuses with, too."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.testing import Altered, Call, FakeEndpoint, Fault, Status

from .world import chat, client_of, create, results_of, served, until_over

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
KEY = "sk-0123456789abcdef"


def completion(message: Any, **changes: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    whole = {"id": "c", "object": "chat.completion", "choices": [choice], "model": "m"}
    return json.dumps({**whole, "usage": USAGE, **changes}).encode()


ANSWERS = {
    "audio": completion({"content": None, "audio": {"id": "a", "data": "x"}}),
    "reasoning": completion({"content": None, "reasoning_content": "hm"}),
    "nothing": completion({"content": None}),
    "no choices": completion({}, choices=[]),
    "other choices": completion({}, choices="none"),
    "an error": b'{"error":{"message":"boo"},"usage":{"prompt_tokens":5,"completion_tokens":2}}',
    "pretty": json.dumps(json.loads(completion({"content": "a\nb"})), indent=2).encode(),
}


def answered(body: bytes, tmp_path: Path) -> tuple[Any, dict[str, Any], dict[str, Any], int]:
    with (
        FakeEndpoint(script=lambda call: Altered(lambda _: body)) as endpoint,
        served(tmp_path, endpoint) as url,
        client_of(url) as client,
    ):
        _, batch = until_over(client, create(client, [chat("a")]))
        output, errors = results_of(client, batch)
    return batch, output, errors, endpoint.ledger.received


@pytest.mark.parametrize("name", ANSWERS)
def test_any_object_is_the_answer_and_is_asked_for_once(name: str, tmp_path: Path) -> None:
    batch, output, errors, calls = answered(ANSWERS[name], tmp_path)
    assert errors == {}
    assert output["a"]["response"]["body"] == json.loads(ANSWERS[name])
    assert (calls, batch.usage.total_tokens) == (1, 7)


def test_an_answer_is_given_byte_for_byte(tmp_path: Path) -> None:
    body = ANSWERS["audio"]
    with (
        FakeEndpoint(script=lambda call: Altered(lambda _: body)) as endpoint,
        served(tmp_path, endpoint) as url,
        client_of(url) as client,
    ):
        _, batch = until_over(client, create(client, [chat("a")]))
        content = client.files.content(batch.output_file_id).content
    assert body in content


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("\ud800", "\ufffd"),
        ("a\udc00b", "a\ufffdb"),
        ("\\ud800 \U0001f600 \ud83d", "\\ud800 \U0001f600 \ufffd"),
    ],
)
def test_half_a_character_becomes_one_that_says_so(said: str, given: str, tmp_path: Path) -> None:
    _, output, _, calls = answered(completion({"content": said}), tmp_path)
    message = output["a"]["response"]["body"]["choices"][0]["message"]
    assert (message["content"], calls) == (given, 1)


def test_a_byte_order_mark_is_left_away(tmp_path: Path) -> None:
    _, output, _, calls = answered(b"\xef\xbb\xbf" + completion({"content": "x"}), tmp_path)
    body = output["a"]["response"]["body"]
    assert (body["choices"][0]["message"]["content"], calls) == ("x", 1)


@pytest.mark.parametrize("body", [b"", b'{"a":NaN}'])
def test_what_is_no_object_is_no_answer(body: bytes, tmp_path: Path) -> None:
    _, output, errors, calls = answered(body, tmp_path)
    assert output == {}
    assert errors["a"]["error"]["code"] == "malformed"
    assert calls <= 6


def test_an_answer_in_other_words_has_to_say_something(tmp_path: Path) -> None:
    """What nobody can say in the words that were asked for is no answer."""
    asked = {"custom_id": "a", "params": {"model": "m", "max_tokens": 5, "messages": []}}
    asked["params"]["messages"] = [{"role": "user", "content": "hi"}]
    with (
        FakeEndpoint(script=lambda call: Altered(lambda _: ANSWERS["no choices"])) as endpoint,
        served(tmp_path, endpoint) as url,
    ):
        batches = f"{url}/messages/batches"
        made = httpx2.post(batches, json={"requests": [asked]}).json()
        while (seen := httpx2.get(f"{batches}/{made['id']}").json())["ended_at"] is None:
            pass
    assert seen["request_counts"]["errored"] == 1


# --- refusals ---

REFUSALS = {
    "param": b'{"error":{"message":"no","type":"odd_error","param":"temperature","code":"x"}}',
    "vllm": b'{"object":"error","message":"too long","type":"BadRequestError","code":400}',
    "fastapi": b'{"detail":[{"loc":["body"],"msg":"field required","type":"missing"}]}',
    "more": b'{"error":{"message":"policy","code":"content_policy_violation","inner":{"a":1}}}',
}


def refused(body: bytes, tmp_path: Path, *, key: str | None = None) -> tuple[bytes, dict[str, Any]]:
    """The error file, and the body on its one line."""

    def no(call: Call) -> Fault:
        return Status(400, body=body)

    with FakeEndpoint(script=no) as endpoint:
        route = {"model": "*", "base_url": endpoint.base_url, "api_key_env": "THE_KEY"}
        environment = {"THE_KEY": key or KEY}
        with (
            served(tmp_path, routes=[route], environment=environment) as url,
            client_of(url) as client,
        ):
            _, batch = until_over(client, create(client, [chat("a")]))
            content = client.files.content(batch.error_file_id).content
    body_there: dict[str, Any] = json.loads(content)["response"]["body"]
    return content, body_there


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_given_as_it_came(name: str, tmp_path: Path) -> None:
    content, body = refused(REFUSALS[name], tmp_path)
    assert body == json.loads(REFUSALS[name])
    assert REFUSALS[name] in content


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"bad key %s","param":"%s"}}' % (KEY.encode(), KEY.encode()),
        b'{"error":{"message":"bad","param":"\\u0073k-0123456789abcdef"}}',
        b'{"error":{"message":"bad","\\u0073k-0123456789abcdef":1}}',
        b'{"error":{"message":"bad","more":"{\\"key\\":\\"\\\\u0073k-0123456789abcdef\\"}"}}',
        b'{"error":{"message":"bad","code":"\\u0073k-0123456789abcdef"}}',
    ],
    ids=["plain", "escaped", "a name", "within", "code"],
)
def test_no_refusal_gives_the_key_away(body: bytes, tmp_path: Path) -> None:
    content, there = refused(body, tmp_path)
    assert KEY not in json.dumps(there)
    assert b"0123456789abcdef" not in content
    assert there["error"]["message"].startswith("bad")


def test_of_a_long_refusal_the_message_is_left(tmp_path: Path) -> None:
    body = json.dumps({"error": {"message": "too much", "echo": "x" * 70_000}}).encode()
    content, there = refused(body, tmp_path)
    assert there["error"]["message"] == "too much"
    assert len(content) < 1000


def test_what_is_no_object_is_said_in_the_words_of_the_api(tmp_path: Path) -> None:
    _, there = refused(b"<html>no</html>", tmp_path)
    assert there["error"]["type"] == "invalid_request_error"
    assert "<html>no</html>" in there["error"]["message"]
