"""Anthropic's Messages: golden bodies, and one outcome for every answer and every error."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Json, Usage
from anybatch.core.states import OUTCOMES, Outcome
from anybatch.errors import BadSchema
from anybatch.wire import anthropic as wire
from anybatch.wire.openai import Answer

API = "anthropic.messages"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
DEEP = b"[" * 100_000 + b"]" * 100_000

# --- bodies -------------------------------------------------------------------------------------

USER = '"messages":[{"role":"user","content":"hi"}]'
FORMAT = '"format":{"type":"json_schema","schema":' + msgspec.json.encode(SCHEMA).decode() + "}"
BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "a prompt": ({"user": "hi"}, f'{{"model":"m","max_tokens":1024,{USER}}}'),
    "a system text": (
        {"system": "be", "user": "hi"},
        f'{{"model":"m","max_tokens":1024,"system":"be",{USER}}}',
    ),
    "a system text alone": (
        {"system": "be"},
        '{"model":"m","max_tokens":1024,"system":"be","messages":[]}',
    ),
    "parameters": (
        {"user": "hi", "parameters": {"max_tokens": 9, "temperature": 0, "stop_sequences": ["x"]}},
        f'{{"model":"m","max_tokens":9,{USER},"temperature":0,"stop_sequences":["x"]}}',
    ),
    "a schema": (
        {"user": "hi", "schema": SCHEMA},
        f'{{"model":"m","max_tokens":1024,{USER},"output_config":{{{FORMAT}}}}}',
    ),
    "a schema and an effort": (
        {"user": "hi", "schema": SCHEMA, "parameters": {"output_config": {"effort": "low"}}},
        f'{{"model":"m","max_tokens":1024,{USER},"output_config":{{{FORMAT},"effort":"low"}}}}',
    ),
    "a parameter has the last word": (
        {"user": "hi", "parameters": {"model": "x"}},
        f'{{"model":"x","max_tokens":1024,{USER}}}',
    ),
}


@pytest.mark.parametrize(("asked", "golden"), BODIES.values(), ids=BODIES.keys())
def test_a_body_is_written_as_the_api_wants_it(asked: dict[str, Any], golden: str) -> None:
    defaults = {"system": None, "user": None, "parameters": {}}

    body = wire.write_body(API, model="m", **{**defaults, **asked})

    assert msgspec.json.encode(body).decode() == golden


def test_a_model_without_schemas_is_made_to_call_a_tool() -> None:
    parameters = {"tool_choice": msgspec.json.decode(wire.BY_TOOL), "max_tokens": 5}

    body = wire.write_body(
        API, model="m", system=None, user="hi", schema=SCHEMA, parameters=parameters
    )

    assert msgspec.json.encode(body).decode() == (
        f'{{"model":"m","max_tokens":5,{USER},"tools":[{{"name":"answer","description":'
        '"Give the answer.","input_schema":{"type":"object","properties":{"a":{"type":"string"}}}'
        '}],"tool_choice":{"type":"tool","name":"answer"}}'
    )


def test_the_input_of_a_tool_is_an_object() -> None:
    with pytest.raises(BadSchema):
        wire.write_body(
            API,
            model="m",
            system=None,
            user="hi",
            schema={"type": "array"},
            parameters={"tool_choice": msgspec.json.decode(wire.BY_TOOL)},
        )


@pytest.mark.parametrize(
    ("parameters", "version"),
    [
        ({}, "2026-10-21"),
        ({"max_tokens": 5, "thinking": {"type": "adaptive"}}, "2026-10-21"),
        ({"temperature": 0}, "2023-06-01"),
        ({"temperature": None}, "2023-06-01"),
        ({"top_p": 1}, "2023-06-01"),
        ({"top_k": 1, "max_tokens": 5}, "2023-06-01"),
        (None, "2023-06-01"),
    ],
)
def test_the_version_is_the_newest_that_takes_the_parameters(parameters, version: str) -> None:
    assert wire.api_version_for(parameters) == version


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/messages", API),
        ("https://api.example/ant/v1/messages/", API),
        ("/v1/messages/batches", None),
        ("/v1/complete", None),
    ],
)
def test_a_path_says_which_api_it_is(path: str, api: str | None) -> None:
    assert wire.api_of(path) == api
    assert wire.api_of("/v1" + wire.path_of(API, "m")) == API


@pytest.mark.parametrize(
    ("body", "doubled"),
    [
        ('{"max_tokens":5,"x":1.50}', '{"max_tokens":10,"x":1.50}'),
        ('{"max_tokens":"5"}', None),
        ('{"max_tokens":null}', None),
        ('{"metadata":{"max_tokens":5}}', None),
        ("{}", None),
    ],
)
def test_a_cap_is_doubled_where_there_is_one(body: str, doubled: str | None) -> None:
    assert wire.with_budget(API, body.encode(), factor=2).decode() == (doubled or body)


def test_every_body_has_a_cap_because_the_service_wants_one() -> None:
    assert wire.budget_of(API, {}) == wire.DEFAULT_BUDGET
    assert wire.budget_of(API, {"max_tokens": 5}) == 5


@given(st.binary())
def test_a_factor_of_one_leaves_every_byte_as_it_is(body: bytes) -> None:
    assert wire.with_budget(API, body, factor=1) == body


@pytest.mark.parametrize(("model", "asked"), [(None, "a"), ("b", "b")])
def test_a_ready_made_request_keeps_its_model_unless_you_name_one(model, asked: str) -> None:
    assert wire.with_model({"model": "a"}, model) == {"model": asked}


# --- answers ------------------------------------------------------------------------------------


def said(text: str) -> Json:
    return {"type": "text", "text": text}


def called(name: str, asked: object) -> Json:
    return {"type": "tool_use", "id": "t", "name": name, "input": asked}


def message(*content: Json, stop: str | None = "end_turn", **more: Any) -> Json:
    fields = {"id": "msg", "type": "message", "role": "assistant", "model": "m-1"}
    return {**fields, "content": list(content), "stop_reason": stop, **more}


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
HIDDEN = {"type": "redacted_thinking", "data": "x"}
SEARCHED = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": "t"}]}
CALL_TEXT = '[{"type":"tool_use","id":"t","name":"f","input":{"x":1}}]'
ANSWERS: dict[str, tuple[Json, Outcome, str | None]] = {
    "a text": (message(said("hi")), "succeeded", "hi"),
    "a text in blocks": (message(said("h"), said("i")), "succeeded", "hi"),
    "an empty text": (message(said("")), "succeeded", ""),
    "after thinking": (message(THOUGHT, HIDDEN, said("hi")), "succeeded", "hi"),
    "after a search": (message(SEARCHED, FOUND, said("hi")), "succeeded", "hi"),
    "no stop reason": (message(said("hi"), stop=None), "succeeded", "hi"),
    "an unknown stop reason": (message(said("hi"), stop="tired"), "succeeded", "hi"),
    "a stop sequence": (message(said("hi"), stop="stop_sequence"), "succeeded", "hi"),
    "a stop sequence at once": (message(stop="stop_sequence"), "succeeded", ""),
    "the forced tool": (message(called("answer", {"a": "x"})), "succeeded", '{"a":"x"}'),
    "the forced tool after a text": (
        message(said("So:"), called("answer", {"a": "x"}), stop="tool_use"),
        "succeeded",
        '{"a":"x"}',
    ),
    "another tool": (message(called("f", {"x": 1}), stop="tool_use"), "succeeded", CALL_TEXT),
    "another tool after a text": (
        message(said("hi"), called("f", {"x": 1}), stop="tool_use"),
        "succeeded",
        "hi",
    ),
    "cut at the budget": (message(said("h"), stop="max_tokens"), "truncated", "h"),
    "cut before the first word": (message(THOUGHT, stop="max_tokens"), "truncated", None),
    "cut within the forced tool": (
        message(called("answer", {}), stop="max_tokens"),
        "truncated",
        "{}",
    ),
    "paused": (message(said("h"), SEARCHED, stop="pause_turn"), "truncated", "h"),
    "out of context": (
        message(said("h"), stop="model_context_window_exceeded"),
        "too_long",
        "h",
    ),
    "refused": (message(said("I can't."), stop="refusal"), "refused", None),
    "nothing": (message(), "server_error", None),
    "thought only": (message(THOUGHT), "server_error", None),
}


@pytest.mark.parametrize(("reply", "outcome", "value"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_read(reply: Json, outcome: Outcome, value: str | None) -> None:
    answer = wire.read_answer(API, msgspec.json.encode(reply))

    assert (answer.outcome, answer.value, answer.model) == (outcome, value, "m-1")
    assert (answer.failure is None) == (outcome == "succeeded")


@pytest.mark.parametrize(
    ("details", "told"),
    [
        (None, ("the model declined", None)),
        ({"type": "refusal", "category": "bio", "explanation": "no"}, ("no", "bio")),
        ({"type": "refusal", "category": None, "explanation": None}, ("the model declined", None)),
        ("x", ("the model declined", None)),
    ],
)
def test_a_refusal_says_why_where_it_can(details: object, told: tuple[str, str | None]) -> None:
    reply = message(stop="refusal", stop_details=details)

    failure = wire.read_answer(API, msgspec.json.encode(reply)).failure

    assert failure is not None
    assert (failure.message, failure.code) == told


USAGES: dict[str, tuple[object, Usage]] = {
    "none": (None, Usage()),
    "empty": ({}, Usage()),
    "plain": ({"input_tokens": 11, "output_tokens": 3}, Usage(tokens_in=11, tokens_out=3)),
    "all of it": (
        {
            "input_tokens": 1,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 300,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 20},
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 40},
            "service_tier": "batch",
        },
        Usage(tokens_in=321, tokens_out=50, cached=300, kept=20, reasoning=40),
    ),
    "written for minutes and for an hour": (
        {
            "input_tokens": 1,
            "cache_creation_input_tokens": 25,
            "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 20},
            "output_tokens": 5,
        },
        Usage(tokens_in=26, tokens_out=5, written=5, kept=20),
    ),
    "written, and not said for how long": (
        {"input_tokens": 1, "cache_creation_input_tokens": 25},
        Usage(tokens_in=26, written=25),
    ),
    "written, by its parts alone": (
        {"cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 20}},
        Usage(tokens_in=25, written=5, kept=20),
    ),
    "parts that are more than their sum": (
        {
            "cache_creation_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 20},
        },
        Usage(tokens_in=7, kept=7),
    ),
    "nulls": ({"input_tokens": 1, "cache_read_input_tokens": None}, Usage(tokens_in=1)),
    "numbers in quotes": ({"input_tokens": "1"}, Usage(tokens_in=1)),
    "below zero": ({"input_tokens": -1}, Usage()),
    "more than a journal holds": (msgspec.Raw(b'{"input_tokens":%d}' % (2**80)), Usage()),
    "a word": ("much", Usage()),
}


@pytest.mark.parametrize(("counted", "usage"), USAGES.values(), ids=USAGES.keys())
def test_tokens_are_counted_and_never_cost_an_answer(counted: object, usage: Usage) -> None:
    body = b'{"content":[{"type":"text","text":"hi"}],"usage":%b}'

    answer = wire.read_answer(API, body % msgspec.json.encode(counted))

    assert (answer.outcome, answer.usage) == ("succeeded", usage)


MALFORMED = {
    "nothing": b"",
    "white space": b" \n",
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "half": b'{"content":[{"type":"text","text":"h',
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "an error": b'{"type":"error","error":{"type":"api_error","message":"no"}}',
    "null for content": b'{"content":null}',
    "words for content": b'{"content":["x"]}',
    "a number for a text": b'{"content":[{"type":"text","text":5}]}',
    "invalid UTF-8": b'{"content":[{"type":"text","text":"\xff"}]}',
    "invalid UTF-8 aside": b'{"content":[{"type":"text","text":"h"}],"x":"\xff"}',
    "half a surrogate pair": b'{"content":[{"type":"text","text":"\\ud800"}]}',
    "a list without end": DEEP,
    "input without end": b'{"content":[{"type":"tool_use","input":' + DEEP + b"}]}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_body_that_is_no_answer_is_the_services_fault(body: bytes) -> None:
    answer = wire.read_answer(API, body)

    assert answer[:3] == ("server_error", None, Usage())
    assert answer.failure is not None
    assert len(answer.failure.message) < 300


def test_what_was_spent_on_an_unreadable_answer_is_counted() -> None:
    answer = wire.read_answer(API, b'{"content":5,"usage":{"input_tokens":3,"output_tokens":4}}')

    assert answer.outcome == "server_error"
    assert answer.usage == Usage(tokens_in=3, tokens_out=4)


KEYS = ["content", "type", "text", "stop_reason", "usage", "model", "stop_details", "input", "name"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.sampled_from(["text", "tool_use", "refusal", "max_tokens", "answer"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.binary() | JSON.map(msgspec.json.encode))
def test_no_body_makes_the_reader_raise(body: bytes) -> None:
    answer = wire.read_answer(API, body)

    assert isinstance(answer, Answer)
    assert (answer.failure is None) == (answer.outcome == "succeeded")


# --- errors -------------------------------------------------------------------------------------


def error(kind: str, text: str = "no", **more: object) -> bytes:
    inner = {"type": kind, "message": text, **more}
    return msgspec.json.encode({"type": "error", "error": inner, "request_id": "req_1"})


def detailed(kind: str, code: str) -> bytes:
    return error(kind, details={"error_code": code})


FAILURES: list[tuple[int, bytes, Outcome, str | None]] = [
    (400, error("invalid_request_error"), "bad_request", "invalid_request_error"),
    (
        400,
        error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        "too_long",
        "invalid_request_error",
    ),
    (
        400,
        error("invalid_request_error", "Your credit balance is too low to access the API."),
        "billing",
        "invalid_request_error",
    ),
    (
        400,
        detailed("invalid_request_error", "organization_on_hold"),
        "auth",
        "organization_on_hold",
    ),
    (400, detailed("invalid_request_error", "file_expired"), "bad_request", "file_expired"),
    (401, error("authentication_error"), "auth", "authentication_error"),
    (402, error("billing_error"), "billing", "billing_error"),
    (403, error("permission_error"), "auth", "permission_error"),
    (404, error("not_found_error", "model: x"), "not_found_model", "not_found_error"),
    (409, error("conflict_error"), "server_error", "conflict_error"),
    (413, error("request_too_large"), "too_long", "request_too_large"),
    (429, error("rate_limit_error"), "rate_limited", "rate_limit_error"),
    (
        429,
        detailed("rate_limit_error", "enforced_spend_limit_reached"),
        "billing",
        "enforced_spend_limit_reached",
    ),
    (
        429,
        detailed("rate_limit_error", "ramp_limit_exceeded"),
        "rate_limited",
        "ramp_limit_exceeded",
    ),
    (500, error("api_error"), "server_error", "api_error"),
    (504, error("timeout_error"), "server_error", "timeout_error"),
    (529, error("overloaded_error"), "rate_limited", "overloaded_error"),
    (503, error("overloaded_error"), "rate_limited", "overloaded_error"),
    (529, b"<html>", "rate_limited", None),
    (422, error("strange_error"), "bad_request", None),
    (401, b"", "auth", None),
    (500, b"[]", "server_error", None),
    (302, b"", "not_found_model", None),
    (
        400,
        b'{"error":{"message":"no","type":"invalid_request_error","code":"context_length_exceeded"}}',
        "too_long",
        "context_length_exceeded",
    ),
]


@pytest.mark.parametrize(("status", "body", "outcome", "code"), FAILURES)
def test_a_failed_call_has_one_outcome(
    status: int, body: bytes, outcome: Outcome, code: str | None
) -> None:
    found, failure = wire.read_failure(status, body)

    assert (found, failure.code) == (outcome, code)
    assert failure.message.startswith(f"HTTP {status}: ")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 429, 500, 504, 529])
def test_an_error_that_we_write_is_read_as_what_it_is(status: int) -> None:
    written = wire.write_error(status, "no")

    assert wire.status_of(written) == status
    assert wire.read_failure(status, written)[0] == wire.read_failure(status, b"")[0]


@pytest.mark.parametrize(("status", "kind"), [(422, "invalid_request_error"), (502, "api_error")])
def test_a_status_without_an_error_type_takes_the_nearest(status: int, kind: str) -> None:
    written = wire.write_error(status, "no", request_id="req_1")

    assert written == error(kind)


ERROR_JSON = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.sampled_from(sorted(wire.ERRORS)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "details", "error_code", "code"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.integers(0, 999), st.binary() | ERROR_JSON.map(msgspec.json.encode))
def test_every_reply_has_an_outcome_and_a_message(status: int, body: bytes) -> None:
    outcome, failure = wire.read_failure(status, body)

    assert outcome in OUTCOMES
    assert outcome != "succeeded"
    assert failure.message
    assert len(failure.message) <= 520
