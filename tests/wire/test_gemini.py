"""Gemini's generateContent and embedContent: golden bodies, and one outcome for every reply."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Api, Json, Usage
from anybatch.core.states import OUTCOMES, Outcome
from anybatch.errors import BadSettings
from anybatch.wire import gemini as wire
from anybatch.wire.openai import Answer

GENERATE: Api = "gemini.generate"
EMBED: Api = "gemini.embed"
APIS: tuple[Api, ...] = (GENERATE, EMBED)
SCHEMA = {"type": "object"}
DEEP = b"[" * 100_000 + b"]" * 100_000

# --- paths --------------------------------------------------------------------------------------

PATHS: list[tuple[Api, str, str, str]] = [
    (
        GENERATE,
        "gemini-x",
        "/models/gemini-x:generateContent",
        "/models/gemini-x:batchGenerateContent",
    ),
    (
        EMBED,
        "gemini-embedding-001",
        "/models/gemini-embedding-001:embedContent",
        "/models/gemini-embedding-001:asyncBatchEmbedContent",
    ),
    (
        GENERATE,
        "tunedModels/mine",
        "/tunedModels/mine:generateContent",
        "/tunedModels/mine:batchGenerateContent",
    ),
    (GENERATE, "a?b", "/models/a%3Fb:generateContent", "/models/a%3Fb:batchGenerateContent"),
]


@pytest.mark.parametrize(("api", "model", "one", "many"), PATHS)
def test_a_path_names_the_model_and_leads_back_to_it(
    api: Api, model: str, one: str, many: str
) -> None:
    assert (wire.path_of(api, model), wire.batch_path_of(api, model)) == (one, many)
    assert wire.read_path("/v1beta" + one) == wire.read_path(many) == (api, model)


def test_a_model_may_be_named_with_its_prefix() -> None:
    assert wire.path_of(GENERATE, "models/gemini-x") == "/models/gemini-x:generateContent"


@pytest.mark.parametrize("path", ["", "/v1/models", "/v1/models/m", "/v1/models/m:x", "/models/:"])
def test_any_other_path_names_nothing(path: str) -> None:
    assert wire.read_path(path) is None


# --- bodies -------------------------------------------------------------------------------------

USER = '"contents":[{"role":"user","parts":[{"text":"hi"}]}]'
BODIES: dict[str, tuple[Api, dict[str, Any], str]] = {
    "a prompt": (GENERATE, {"user": "hi"}, f"{{{USER}}}"),
    "a system text": (
        GENERATE,
        {"system": "be", "user": "hi"},
        f'{{"systemInstruction":{{"parts":[{{"text":"be"}}]}},{USER}}}',
    ),
    "a system text alone": (
        GENERATE,
        {"system": "be"},
        '{"systemInstruction":{"parts":[{"text":"be"}]},"contents":[]}',
    ),
    "a schema": (
        GENERATE,
        {"user": "hi", "schema": SCHEMA},
        f'{{{USER},"generationConfig":{{"responseMimeType":"application/json",'
        '"responseJsonSchema":{"type":"object"}}}',
    ),
    "parameters by OpenAI's names": (
        GENERATE,
        {
            "user": "hi",
            "parameters": {"temperature": 0, "top_p": 1, "max_tokens": 5, "stop": "x", "seed": 1},
        },
        f'{{{USER},"generationConfig":{{"temperature":0,"topP":1,"maxOutputTokens":5,'
        '"stopSequences":["x"],"seed":1}}',
    ),
    "parameters by Anthropic's names": (
        GENERATE,
        {"user": "hi", "parameters": {"stop_sequences": ["x", "y"], "top_k": 3}},
        f'{{{USER},"generationConfig":{{"stopSequences":["x","y"],"topK":3}}}}',
    ),
    "Gemini's own parameters": (
        GENERATE,
        {
            "user": "hi",
            "parameters": {
                "maxOutputTokens": 5,
                "thinkingConfig": {"thinkingBudget": 0},
                "service_tier": "flex",
                "safetySettings": [],
            },
        },
        f'{{{USER},"generationConfig":{{"maxOutputTokens":5,"thinkingConfig":'
        '{"thinkingBudget":0}},"serviceTier":"flex","safetySettings":[]}',
    ),
    "a generationConfig beside a schema": (
        GENERATE,
        {
            "user": "hi",
            "schema": SCHEMA,
            "parameters": {"temperature": 1, "generation_config": {"max_output_tokens": 5}},
        },
        f'{{{USER},"generationConfig":{{"responseMimeType":"application/json",'
        '"responseJsonSchema":{"type":"object"},"temperature":1,"maxOutputTokens":5}}',
    ),
    "an embedding": (EMBED, {"user": "hi"}, '{"content":{"parts":[{"text":"hi"}]}}'),
    "an embedding's parameters": (
        EMBED,
        {"user": "hi", "parameters": {"dimensions": 8, "task_type": "CLUSTERING"}},
        '{"content":{"parts":[{"text":"hi"}]},"outputDimensionality":8,"taskType":"CLUSTERING"}',
    ),
}


@pytest.mark.parametrize(("api", "asked", "golden"), BODIES.values(), ids=BODIES.keys())
def test_a_body_is_written_as_the_api_wants_it(
    api: Api, asked: dict[str, Any], golden: str
) -> None:
    defaults = {"system": None, "user": None, "parameters": {}}

    body = wire.write_body(api, model="m", **{**defaults, **asked})

    assert msgspec.json.encode(body).decode() == golden


@pytest.mark.parametrize(
    ("api", "parameters", "named"),
    [
        (GENERATE, {"response_format": {}}, "'response_format'"),
        (GENERATE, {"temperature": 0, "n": 2}, "'n'"),
        (GENERATE, {"outputDimensionality": 5}, "'outputDimensionality'"),
        (GENERATE, {"generationConfig": 5}, "'generationConfig'"),
        (EMBED, {"temperature": 0}, "'temperature'"),
    ],
)
def test_a_parameter_that_the_service_does_not_know_is_refused_by_name(
    api: Api, parameters: Json, named: str
) -> None:
    with pytest.raises(BadSettings, match=named):
        wire.write_body(api, model="m", system=None, user="hi", parameters=parameters)


BUDGETS: list[tuple[Api, str, str | None]] = [
    (
        GENERATE,
        '{"generationConfig":{"maxOutputTokens":5,"topP":1.0},"x":1e5}',
        '{"generationConfig":{"maxOutputTokens":10,"topP":1.0},"x":1e5}',
    ),
    (
        GENERATE,
        '{"generation_config":{"max_output_tokens":5}}',
        '{"generation_config":{"max_output_tokens":10}}',
    ),
    (GENERATE, '{"generationConfig":{"topP":1}}', None),
    (GENERATE, '{"generationConfig":{"maxOutputTokens":"5"}}', None),
    (GENERATE, '{"generationConfig":null}', None),
    (GENERATE, "{}", None),
    (EMBED, '{"generationConfig":{"maxOutputTokens":5}}', None),
]


@pytest.mark.parametrize(("api", "body", "doubled"), BUDGETS)
def test_a_cap_is_doubled_where_there_is_one(api: Api, body: str, doubled: str | None) -> None:
    given_more = wire.with_budget(api, body.encode(), factor=2)

    assert given_more.decode() == (doubled or body)
    assert (wire.budget_of(api, msgspec.json.decode(body)) is None) == (doubled is None)


@pytest.mark.parametrize("name", ["max_tokens", "maxOutputTokens", "max_output_tokens"])
def test_a_cap_among_the_parameters_is_seen(name: str) -> None:
    assert wire.budget_of(GENERATE, {name: 5}) == 5
    assert wire.budget_of(EMBED, {name: 5}) is None


@given(st.sampled_from(APIS), st.binary())
def test_a_factor_of_one_leaves_every_byte_as_it_is(api: Api, body: bytes) -> None:
    assert wire.with_budget(api, body, factor=1) == body


@pytest.mark.parametrize(
    ("model", "body"),
    [(None, {"model": "models/a", "contents": []}), ("b", {"contents": []})],
)
def test_a_ready_made_request_keeps_its_model_unless_you_name_one(model, body: Json) -> None:
    assert wire.with_model({"model": "models/a", "contents": []}, model) == body


@pytest.mark.parametrize(
    ("body", "model"),
    [({"model": "models/a"}, "a"), ({"model": "a"}, "a"), ({"model": 5}, None), ({}, None)],
)
def test_a_ready_made_request_may_name_its_model(body: Json, model: str | None) -> None:
    assert wire.model_of(body) == model


# --- answers ------------------------------------------------------------------------------------


def generated(*parts: Json, finish: str | None = "STOP", **more: Any) -> Json:
    content = {"role": "model", "parts": list(parts)}
    candidate = {"content": content, "finishReason": finish, "index": 0, **more}
    return {"candidates": [candidate], "modelVersion": "m-1", "responseId": "r"}


def blocked(reason: str, **more: Any) -> Json:
    return {"promptFeedback": {"blockReason": reason, **more}, "modelVersion": "m-1"}


HI = {"text": "hi"}
THOUGHT = {"text": "hm", "thought": True}
CALL = {"functionCall": {"name": "f", "args": {"x": 1}}}
CALL_TEXT = '[{"functionCall":{"name":"f","args":{"x":1}}}]'
ANSWERS: dict[str, tuple[Json, Outcome, str | None]] = {
    "a text": (generated(HI), "succeeded", "hi"),
    "a text in parts": (generated({"text": "h"}, {"text": "i"}), "succeeded", "hi"),
    "an empty text": (generated({"text": ""}), "succeeded", ""),
    "after thinking": (generated(THOUGHT, HI), "succeeded", "hi"),
    "after running code": (generated({"executableCode": {"code": "1"}}, HI), "succeeded", "hi"),
    "no finish reason": (generated(HI, finish=None), "succeeded", "hi"),
    "an unknown finish reason": (generated(HI, finish="TIRED"), "succeeded", "hi"),
    "a call": (generated(CALL), "succeeded", CALL_TEXT),
    "a call after a text": (generated(HI, CALL), "succeeded", "hi"),
    "cut at the budget": (generated({"text": "h"}, finish="MAX_TOKENS"), "truncated", "h"),
    "cut while thinking": (generated(THOUGHT, finish="MAX_TOKENS"), "truncated", None),
    **{
        f"stopped for {reason}": (generated(HI, finish=reason), "blocked", "hi")
        for reason in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")
    },
    "stopped for a language": (generated(finish="LANGUAGE"), "bad_request", None),
    "stopped for another reason": (generated(HI, finish="OTHER"), "server_error", "hi"),
    "a call that failed": (generated(finish="MALFORMED_FUNCTION_CALL"), "server_error", None),
    "a blocked prompt": (blocked("SAFETY"), "blocked", None),
    "a blocked prompt and candidates": (
        {**generated(HI), **blocked("OTHER")},
        "blocked",
        None,
    ),
    "feedback that blocks nothing": (
        {**generated(HI), "promptFeedback": {"safetyRatings": []}},
        "succeeded",
        "hi",
    ),
    "no parts": (generated(), "server_error", None),
    "thought only": (generated(THOUGHT), "server_error", None),
    "no content": (
        {"candidates": [{"finishReason": "STOP"}], "modelVersion": "m-1"},
        "server_error",
        None,
    ),
    "no candidates": ({"candidates": [], "modelVersion": "m-1"}, "server_error", None),
    "two candidates": (
        {**generated(HI), "candidates": [*generated(HI)["candidates"], {}]},
        "succeeded",
        "hi",
    ),
}


@pytest.mark.parametrize(("reply", "outcome", "value"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_read(reply: Json, outcome: Outcome, value: str | None) -> None:
    answer = wire.read_answer(GENERATE, msgspec.json.encode(reply))

    assert (answer.outcome, answer.value, answer.model) == (outcome, value, "m-1")
    assert (answer.failure is None) == (outcome == "succeeded")


@pytest.mark.parametrize(
    ("reply", "message", "code"),
    [
        (blocked("SAFETY", blockReasonMessage="unsafe"), "unsafe", "SAFETY"),
        (blocked("SAFETY"), "the prompt was blocked", "SAFETY"),
        (generated(finish="SPII", finishMessage="an address"), "an address", "SPII"),
        (generated(finish="SPII"), "the service stopped the answer: SPII", "SPII"),
        (generated(finish="MAX_TOKENS"), "the answer hit the output budget", "MAX_TOKENS"),
    ],
)
def test_what_did_not_succeed_says_why(reply: Json, message: str, code: str) -> None:
    failure = wire.read_answer(GENERATE, msgspec.json.encode(reply)).failure

    assert failure is not None
    assert (failure.message, failure.code) == (message, code)


EMBEDDINGS: dict[str, tuple[Json, Outcome, object, int]] = {
    "numbers": (
        {"embedding": {"values": [1, 2.5]}, "tokenCount": "2"},
        "succeeded",
        [1.0, 2.5],
        2,
    ),
    "numbers with usage": (
        {"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 3}, "tokenCount": 2},
        "succeeded",
        [1.0],
        3,
    ),
    "several": ({"embeddings": [{"values": [1]}, {"values": [2]}]}, "succeeded", [[1.0], [2.0]], 0),
    "a count that is none": (
        {"embedding": {"values": [1]}, "tokenCount": "many"},
        "succeeded",
        [1.0],
        0,
    ),
    "none": ({"embedding": {"values": []}}, "server_error", None, 0),
    "nothing": ({}, "server_error", None, 0),
    "words": ({"embedding": {"values": ["x"]}}, "server_error", None, 0),
}


@pytest.mark.parametrize(
    ("reply", "outcome", "value", "tokens"), EMBEDDINGS.values(), ids=EMBEDDINGS.keys()
)
def test_an_embedding_is_read(reply: Json, outcome: Outcome, value: object, tokens: int) -> None:
    answer = wire.read_answer(EMBED, msgspec.json.encode(reply))

    assert (answer.outcome, answer.value) == (outcome, value)
    assert answer.usage == Usage(tokens_in=tokens)


USAGES: dict[str, tuple[object, Usage]] = {
    "none": (None, Usage()),
    "empty": ({}, Usage()),
    "plain": (
        {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
        Usage(tokens_in=3, tokens_out=1),
    ),
    "all of it": (
        {
            "promptTokenCount": 30,
            "cachedContentTokenCount": 20,
            "toolUsePromptTokenCount": 5,
            "candidatesTokenCount": 10,
            "thoughtsTokenCount": 40,
            "totalTokenCount": 85,
            "trafficType": "ON_DEMAND",
        },
        Usage(tokens_in=35, tokens_out=50, cached=20, reasoning=40),
    ),
    "numbers in quotes": ({"promptTokenCount": "3"}, Usage(tokens_in=3)),
    "nulls": ({"promptTokenCount": 3, "thoughtsTokenCount": None}, Usage(tokens_in=3)),
    "below zero": ({"promptTokenCount": -3}, Usage()),
    "a list": ([], Usage()),
}


@pytest.mark.parametrize(("counted", "usage"), USAGES.values(), ids=USAGES.keys())
def test_tokens_are_counted_and_never_cost_an_answer(counted: object, usage: Usage) -> None:
    reply = {**generated(HI), "usageMetadata": counted}

    answer = wire.read_answer(GENERATE, msgspec.json.encode(reply))

    assert (answer.outcome, answer.usage) == ("succeeded", usage)


MALFORMED = {
    "nothing": b"",
    "white space": b" \n",
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "half": b'{"candidates":[{"content":{"parts":[{"text":"h',
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "an error": b'{"error":{"code":500,"message":"no"}}',
    "words for lists": b'{"candidates":["x"],"embedding":"x"}',
    "a number for a text": b'{"candidates":[{"content":{"parts":[{"text":5}]}}]}',
    "invalid UTF-8": b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}',
    "half a surrogate pair": b'{"candidates":[{"content":{"parts":[{"text":"\\ud800"}]}}]}',
    "a list without end": DEEP,
    "a list without end aside": b'{"x":' + DEEP + b"}",
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_body_that_is_no_answer_is_the_services_fault(api: Api, body: bytes) -> None:
    answer = wire.read_answer(api, body)

    assert answer[:3] == ("server_error", None, Usage())
    assert answer.failure is not None
    assert len(answer.failure.message) < 300


@pytest.mark.parametrize("api", APIS)
def test_what_was_spent_on_an_unreadable_answer_is_counted(api: Api) -> None:
    body = b'{"candidates":5,"embedding":5,"usageMetadata":{"promptTokenCount":3}}'

    answer = wire.read_answer(api, body)

    assert (answer.outcome, answer.usage) == ("server_error", Usage(tokens_in=3))


KEYS = [
    *("candidates", "content", "parts", "text", "thought", "functionCall", "finishReason"),
    *("promptFeedback", "blockReason", "usageMetadata", "embedding", "embeddings", "values"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from(APIS), st.binary() | JSON.map(msgspec.json.encode))
def test_no_body_makes_the_reader_raise(api: Api, body: bytes) -> None:
    answer = wire.read_answer(api, body)

    assert isinstance(answer, Answer)
    assert (answer.failure is None) == (answer.outcome == "succeeded")


# --- errors -------------------------------------------------------------------------------------


def error(code: object, status: object = None, message: str = "no", *details: Json) -> bytes:
    inner = {"code": code, "message": message, "status": status, "details": list(details)}
    return msgspec.json.encode({"error": inner})


def reason(name: str) -> Json:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name}


def wait(delay: object) -> Json:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


LONG = "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576)."
FAILURES: list[tuple[int, bytes, Outcome, str | None]] = [
    (400, error(400, "INVALID_ARGUMENT"), "bad_request", "INVALID_ARGUMENT"),
    (400, error(400, "INVALID_ARGUMENT", LONG), "too_long", "INVALID_ARGUMENT"),
    (
        400,
        error(400, "INVALID_ARGUMENT", "no", reason("API_KEY_INVALID")),
        "auth",
        "INVALID_ARGUMENT",
    ),
    (400, error(400, "FAILED_PRECONDITION"), "bad_request", "FAILED_PRECONDITION"),
    (401, error(401, "UNAUTHENTICATED"), "auth", "UNAUTHENTICATED"),
    (403, error(403, "PERMISSION_DENIED"), "auth", "PERMISSION_DENIED"),
    (
        403,
        error(403, "PERMISSION_DENIED", "no", reason("BILLING_DISABLED")),
        "billing",
        "PERMISSION_DENIED",
    ),
    (404, error(404, "NOT_FOUND"), "not_found_model", "NOT_FOUND"),
    (409, error(409, "ABORTED"), "server_error", "ABORTED"),
    (429, error(429, "RESOURCE_EXHAUSTED"), "rate_limited", "RESOURCE_EXHAUSTED"),
    (499, error(499, "CANCELLED"), "server_error", "CANCELLED"),
    (500, error(500, "INTERNAL"), "server_error", "INTERNAL"),
    (501, error(501, "UNIMPLEMENTED"), "bad_request", "UNIMPLEMENTED"),
    (503, error(503, "UNAVAILABLE"), "server_error", "UNAVAILABLE"),
    (504, error(504, "DEADLINE_EXCEEDED"), "server_error", "DEADLINE_EXCEEDED"),
    (400, error(3), "bad_request", "INVALID_ARGUMENT"),
    (429, error(8), "rate_limited", "RESOURCE_EXHAUSTED"),
    (429, error(429, "SLOW"), "rate_limited", None),
    (429, b"[" + error(429, "RESOURCE_EXHAUSTED") + b"]", "rate_limited", "RESOURCE_EXHAUSTED"),
    (429, b"", "rate_limited", None),
    (413, b"<html>", "too_long", None),
    (500, b"[]", "server_error", None),
    (302, b"", "not_found_model", None),
]


@pytest.mark.parametrize(("status", "body", "outcome", "code"), FAILURES)
def test_a_failed_call_has_one_outcome(
    status: int, body: bytes, outcome: Outcome, code: str | None
) -> None:
    found, failure = wire.read_failure(status, body)

    assert (found, failure.code) == (outcome, code)
    assert failure.message.startswith(f"HTTP {status}: ")


def test_the_message_is_found_in_a_list_of_one() -> None:
    _, failure = wire.read_failure(400, b"[" + error(400, "INVALID_ARGUMENT", "bad") + b"]")

    assert failure.message == "HTTP 400: bad"


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (error(429, "RESOURCE_EXHAUSTED", "no", {"@type": "x"}, wait("38.8s")), 38.8),
        (error(429, "RESOURCE_EXHAUSTED", "no", wait("7s")), 7),
        (error(429, "RESOURCE_EXHAUSTED", "no", wait("0s")), 0),
        (error(429, "RESOURCE_EXHAUSTED", "no", wait("-1s")), None),
        (error(429, "RESOURCE_EXHAUSTED", "no", wait("soon")), None),
        (error(429, "RESOURCE_EXHAUSTED", "no", wait("1e99s")), None),
        (error(429, "RESOURCE_EXHAUSTED", "no", wait("nans")), None),
        (error(429, "RESOURCE_EXHAUSTED", "no", wait(5)), None),
        (error(429, "RESOURCE_EXHAUSTED"), None),
        (b"", None),
    ],
)
def test_an_error_may_say_how_long_to_wait(body: bytes, asked: float | None) -> None:
    assert wire.retry_after(body) == (None if asked is None else timedelta(seconds=asked))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 499, 500, 501, 503, 504])
def test_an_error_that_we_write_is_read_as_what_it_is(status: int) -> None:
    _, failure = wire.read_failure(status, wire.write_error(status, "no"))

    assert failure.code == wire.CODES[wire.code_of(status)][0]
    assert wire.CODES[wire.code_of(status)][1] == status


@pytest.mark.parametrize(("status", "word"), [(413, "INVALID_ARGUMENT"), (502, "INTERNAL")])
def test_a_status_without_a_word_takes_the_nearest(status: int, word: str) -> None:
    error = {"code": status, "message": "no", "status": word}

    assert msgspec.json.decode(wire.write_error(status, "no")) == {"error": error}


ERROR_JSON = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.sampled_from(["ABORTED", "5s"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "status", "details", "code", "retryDelay"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.integers(0, 999), st.binary() | ERROR_JSON.map(msgspec.json.encode))
def test_every_reply_has_an_outcome_and_a_message(status: int, body: bytes) -> None:
    outcome, failure = wire.read_failure(status, body)
    asked = wire.retry_after(body)

    assert outcome in OUTCOMES
    assert outcome != "succeeded"
    assert failure.message
    assert len(failure.message) <= 520
    assert asked is None or asked >= timedelta()
