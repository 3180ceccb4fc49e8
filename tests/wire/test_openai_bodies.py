"""OpenAI bodies: golden ones for each api, and the output budget in them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Api
from anybatch.wire import openai as wire

APIS = st.sampled_from(tuple(wire.PATHS))
CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
OPEN = {"type": "object"}

BODIES: dict[str, tuple[Api, dict[str, object], str]] = {
    "chat": (
        "openai.chat",
        {"user": "hi"},
        '{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    ),
    "chat, all of it": (
        "openai.chat",
        {"system": "be", "user": "hi", "schema": CLOSED, "parameters": {"temperature": 0}},
        '{"model":"m","messages":[{"role":"system","content":"be"},{"role":"user","content":"hi"}],'
        '"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":'
        '"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":'
        'false},"strict":true}},"temperature":0}',
    ),
    "chat, an open schema": (
        "openai.chat",
        {"user": "hi", "schema": OPEN},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"response_format":{"type":'
        '"json_schema","json_schema":{"name":"answer","schema":{"type":"object"},"strict":false}}}',
    ),
    "responses": (
        "openai.responses",
        {"user": "hi", "parameters": {"max_output_tokens": 9}},
        '{"model":"m","input":"hi","max_output_tokens":9}',
    ),
    "responses, all of it": (
        "openai.responses",
        {"system": "be", "user": "hi", "schema": OPEN},
        '{"model":"m","instructions":"be","input":"hi","text":{"format":{"type":"json_schema",'
        '"name":"answer","schema":{"type":"object"},"strict":false}}}',
    ),
    "embeddings": (
        "openai.embeddings",
        {"user": "hi", "parameters": {"dimensions": 8}},
        '{"model":"m","input":"hi","dimensions":8}',
    ),
    "completions": ("openai.completions", {"user": "hi"}, '{"model":"m","prompt":"hi"}'),
    "completions with a system text": (
        "openai.completions",
        {"system": "be", "user": "hi"},
        '{"model":"m","prompt":"be\\n\\nhi"}',
    ),
    "moderations": ("openai.moderations", {"user": "hi"}, '{"model":"m","input":"hi"}'),
    "images": (
        "openai.images",
        {"user": "a cat", "parameters": {"size": "1024x1024"}},
        '{"model":"m","prompt":"a cat","size":"1024x1024"}',
    ),
    "a parameter has the last word": (
        "openai.chat",
        {"user": "hi", "parameters": {"model": "x"}},
        '{"model":"x","messages":[{"role":"user","content":"hi"}]}',
    ),
}


@pytest.mark.parametrize(("api", "asked", "golden"), BODIES.values(), ids=BODIES.keys())
def test_a_body_is_written_as_the_api_wants_it(api: Api, asked, golden: str) -> None:
    body = wire.write_body(api, model="m", **{"system": None, "parameters": {}, **asked})

    assert msgspec.json.encode(body).decode() == golden


def test_every_api_has_a_path_and_budget_fields() -> None:
    assert set(wire.PATHS) == set(wire.BUDGET_FIELDS) == set(wire.PATHS)


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", "openai.chat"),
        ("/v1/completions", "openai.completions"),
        ("/v1/responses/", "openai.responses"),
        ("https://api.example/openai/v1/embeddings", "openai.embeddings"),
        ("/v1/moderations", "openai.moderations"),
        ("/v1/images/generations", "openai.images"),
        ("/v1/images", None),
        ("/v1/chatcompletions", None),
        ("", None),
    ],
)
def test_a_path_says_which_api_it_is(path: str, api: Api | None) -> None:
    assert wire.api_of(path) == api


@pytest.mark.parametrize("api", tuple(wire.PATHS))
def test_the_path_of_an_api_leads_back_to_it(api: Api) -> None:
    assert wire.api_of("/v1" + wire.PATHS[api]) == api


BUDGETS = [
    ("openai.chat", '{"max_tokens":5}', '{"max_tokens":10}'),
    ("openai.chat", '{"max_completion_tokens":5}', '{"max_completion_tokens":10}'),
    (
        "openai.chat",
        '{"max_tokens":5,"max_completion_tokens":6}',
        '{"max_tokens":10,"max_completion_tokens":12}',
    ),
    ("openai.responses", '{"max_output_tokens":5}', '{"max_output_tokens":10}'),
    ("openai.completions", '{"max_tokens":5}', '{"max_tokens":10}'),
    ("openai.completions", '{"max_output_tokens":5}', None),
    ("openai.embeddings", '{"max_tokens":5}', None),
    ("openai.chat", '{"max_tokens":null}', None),
    ("openai.chat", '{"max_tokens":"5"}', None),
    ("openai.chat", '{"max_tokens":5.0}', None),
    ("openai.chat", '{"max_tokens":true}', None),
    ("openai.chat", '{"metadata":{"max_tokens":5}}', None),
    ("openai.chat", "{}", None),
]


@pytest.mark.parametrize(("api", "body", "doubled"), BUDGETS)
def test_a_cap_is_doubled_where_there_is_one(api: Api, body: str, doubled: str | None) -> None:
    given_more = wire.with_budget(api, body.encode(), factor=2)

    assert given_more.decode() == (doubled or body)
    assert (wire.budget_of(api, msgspec.json.decode(body)) is None) == (doubled is None)


def test_nothing_but_the_cap_changes() -> None:
    body = b'{"model":"m","temperature":1.0,"x":[1e5,"\\u00e9"],"max_tokens":7,"y":{"b":1,"a":2}}'

    doubled = wire.with_budget("openai.chat", body, factor=2)

    assert doubled == body.replace(b'"max_tokens":7', b'"max_tokens":14')


@given(APIS, st.binary())
def test_a_factor_of_one_leaves_every_byte_as_it_is(api: Api, body: bytes) -> None:
    assert wire.with_budget(api, body, factor=1) == body


@pytest.mark.parametrize(("model", "asked"), [(None, "a"), ("b", "b")])
def test_a_ready_made_request_keeps_its_model_unless_you_name_one(model, asked: str) -> None:
    body = {"model": "a", "input": "x"}

    assert wire.with_model(body, model) == {"model": asked, "input": "x"}
    assert body["model"] == "a"
