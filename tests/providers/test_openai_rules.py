"""OpenAI's rules, one table: a line, and what is wrong with it."""

from typing import Any

import pytest

from anybatch.testing import FakeOpenAI

from ..testing.plain import CHAT, poll, row, send_batch, upload
from .holding import Given, line_of, problems, told

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def at(url: str, **body: Any) -> dict[str, Any]:
    return row("a", url=url, body={"model": "m", **body})


BAD: dict[str, tuple[Given, str, str | None]] = {
    "no JSON": (b"nope", "invalid_json_line", None),
    "half an object": (b'{"custom_id": "a"', "invalid_json_line", None),
    "a list": (b"[]", "invalid_json_line", None),
    "no UTF-8": (b'{"custom_id": "\xff"}', "invalid_json_line", None),
    "half a character": (
        line_of(row("a")).replace(b'"m"', b'"\\ud800"'),
        "invalid_json_line",
        None,
    ),
    "no custom_id": (row("a", custom_id=None), "missing_required_parameter", "custom_id"),
    "custom_id null": (
        line_of(row("a")).replace(b'"a"', b"null"),
        "invalid_custom_id",
        "custom_id",
    ),
    "an empty custom_id": (row(""), "invalid_custom_id", "custom_id"),
    "a number as custom_id": (row("a", custom_id=7), "invalid_custom_id", "custom_id"),
    "no method": (row("a", method=None), "missing_required_parameter", "method"),
    "another method": (row("a", method="GET"), "invalid_method", "method"),
    "no url": (row("a", url=None), "missing_required_parameter", "url"),
    "another url": (row("a", url="/v1/embeddings", body={"model": "m", "input": "x"}),
                    "invalid_url", "url"),
    "an unknown url": (row("a", url="/v1/nope"), "invalid_url", "url"),
    "a url without its version": (row("a", url="/chat/completions"), "invalid_url", "url"),
    "no body": (row("a", body=None), "missing_required_parameter", "body"),
    "a list as body": (row("a", body=[]), "invalid_request", "body"),
    "no model": (row("a", body={**BODY, "model": None}), "invalid_request", "body.model"),
    "another model": (row("a", body={**BODY, "model": "n"}), "mismatched_model", "body.model"),
    "no messages": (row("a", body={"model": "m"}), "invalid_request", "body.messages"),
    "a stream": (row("a", body={**BODY, "stream": True}), "streaming_unsupported", "body.stream"),
    "a used custom_id": (row("first"), "duplicate_custom_id", "custom_id"),
}  # fmt: skip

GOOD: dict[str, Given] = {
    "fields we do not know": row("a", extra=1, body={**BODY, "extra": {"deep": [1]}}),
    "stream false": row("a", body={**BODY, "stream": False}),
    "a long custom_id of any letters": row("ä b/" * 100),
    "an escaped slash": line_of(row("a")).replace(b"/v1/", b"\\/v1\\/"),
    "line separators inside a text": row("a", body={**BODY, "user": "a\u2028b\u0085c"}),
    "spaces around": b"  " + line_of(row("a")) + b" \r",
}


@pytest.mark.parametrize(("line", "code", "param"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_breaks_its_rule(line: Given, code: str, param: str | None) -> None:
    found = problems("openai", row("first"), line, row("last"))

    assert told(found) == [(2, code, param)]


@pytest.mark.parametrize("line", GOOD.values(), ids=GOOD.keys())
def test_a_good_line_breaks_none(line: Given) -> None:
    assert problems("openai", row("first"), line, row("last")) == []


@pytest.mark.parametrize(
    ("line", "code"), [(line, code) for line, code, _ in BAD.values()], ids=BAD
)
def test_what_we_call_bad_the_service_refuses_by_the_same_code(line: Given, code: str) -> None:
    given = b"".join(line_of(each) + b"\n" for each in (row("first"), line, row("last")))

    with FakeOpenAI() as fake:
        batch = poll(fake, send_batch(fake, upload(fake, given)).json["id"])

    assert [(p["code"], p["line"]) for p in batch["errors"]["data"]] == [(code, 2)]


@pytest.mark.parametrize("line", GOOD.values(), ids=GOOD.keys())
def test_what_we_call_good_the_service_runs(line: Given) -> None:
    given = b"".join(line_of(each) + b"\n" for each in (row("first"), line, row("last")))

    with FakeOpenAI() as fake:
        batch = poll(fake, send_batch(fake, upload(fake, given)).json["id"])

    assert batch["errors"] is None
    assert batch["request_counts"]["total"] == 3


@pytest.mark.parametrize(
    ("line", "param"),
    [
        (at(CHAT, messages=[]), "body.messages"),
        (at("/v1/embeddings"), "body.input"),
        (at("/v1/moderations"), "body.input"),
        (at("/v1/completions"), "body.prompt"),
        (at("/v1/images/generations"), "body.prompt"),
        (at("/v1/responses"), "body.input"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["url"],
)
def test_each_address_needs_something_to_ask(line: Given, param: str) -> None:
    assert told(problems("openai", line)) == [(1, "invalid_request", param)]


@pytest.mark.parametrize(
    "line",
    [
        at("/v1/embeddings", input=["a"]),
        at("/v1/moderations", input="a"),
        at("/v1/completions", prompt="a"),
        at("/v1/responses", input="a"),
        at("/v1/responses", prompt={"id": "pmpt_1"}),
        at("/v1/images/generations", prompt="a"),
    ],
)
def test_each_address_is_content_with_it(line: Given) -> None:
    assert problems("openai", line) == []
