"""What an OpenAI reply says: every shape of answer has one outcome, and none raises."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Api, Usage
from anybatch.core.states import Outcome
from anybatch.wire.openai import Answer, read_answer

APIS = get_args(Api)
DEEP = b"[" * 100_000 + b"]" * 100_000
HI = {"role": "assistant", "content": "hi"}
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
CALLS_TEXT = msgspec.json.encode(CALLS).decode()


def read(api: Api, reply: object) -> Answer:
    return read_answer(api, msgspec.json.encode(reply))


def chat(message: object, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "model": "m-1", **more}


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


THINKING = {"type": "thinking", "thinking": [part("hm")]}

CHAT: dict[str, tuple[object, Outcome, str | None]] = {
    "a text": (chat(HI), "succeeded", "hi"),
    "an empty text": (chat({"content": ""}), "succeeded", ""),
    "no finish reason": (chat(HI, None), "succeeded", "hi"),
    "an unknown finish reason": (chat(HI, "eos"), "succeeded", "hi"),
    "an empty refusal": (chat({**HI, "refusal": ""}), "succeeded", "hi"),
    "no tool calls": (chat({**HI, "tool_calls": None}), "succeeded", "hi"),
    "an empty list of tool calls": (chat({**HI, "tool_calls": []}), "succeeded", "hi"),
    "tool calls": (
        chat({"content": None, "tool_calls": CALLS}, "tool_calls"),
        "succeeded",
        CALLS_TEXT,
    ),
    "tool calls and an empty text": (
        chat({"content": "", "tool_calls": CALLS}, "tool_calls"),
        "succeeded",
        CALLS_TEXT,
    ),
    "tool calls and a text": (chat({**HI, "tool_calls": CALLS}), "succeeded", "hi"),
    "cut at the budget": (chat(HI, "length"), "truncated", "hi"),
    "cut before the first word": (chat({"content": None}, "length"), "truncated", None),
    "stopped by a filter": (chat(HI, "content_filter"), "blocked", "hi"),
    "refused": (chat({"content": None, "refusal": "I can't."}), "refused", None),
    "refused and cut": (chat({"content": None, "refusal": "I"}, "length"), "truncated", None),
    "nothing": (chat({"content": None}), "server_error", None),
    "no message": ({"choices": [{"index": 0, "finish_reason": "stop"}]}, "server_error", None),
    "two choices": ({"choices": [{"message": HI}, {"message": {}}]}, "succeeded", "hi"),
    "a text in parts": (chat({"content": [part("h"), part("i")]}), "succeeded", "hi"),
    "a part in the words of responses": (
        chat({"content": [{"type": "output_text", "text": "hi"}]}),
        "succeeded",
        "hi",
    ),
    "a part of no type": (chat({"content": [{"text": "hi"}]}), "succeeded", "hi"),
    "an empty part": (chat({"content": [part("")]}), "succeeded", ""),
    "parts after thinking": (chat({"content": [THINKING, part("hi")]}), "succeeded", "hi"),
    "parts cut at the budget": (chat({"content": [part("h")]}, "length"), "truncated", "h"),
    "parts that refuse": (
        chat({"content": [{"type": "refusal", "refusal": "I can't."}]}),
        "refused",
        None,
    ),
    "parts and tool calls": (
        chat({"content": [], "tool_calls": CALLS}, "tool_calls"),
        "succeeded",
        CALLS_TEXT,
    ),
    "no parts": (chat({"content": []}), "server_error", None),
    "parts that are no text": (chat({"content": [THINKING]}), "server_error", None),
    "a part that is a number": (chat({"content": [5]}), "server_error", None),
}


@pytest.mark.parametrize(("reply", "outcome", "value"), CHAT.values(), ids=CHAT.keys())
def test_a_chat_answer_is_read(reply: object, outcome: Outcome, value: str | None) -> None:
    answer = read("openai.chat", reply)

    assert (answer.outcome, answer.value) == (outcome, value)
    assert (answer.failure is None) == (outcome == "succeeded")


COMPLETIONS: dict[str, tuple[object, Outcome, str | None]] = {
    "a text": ({"choices": [{"text": "hi", "finish_reason": "stop"}]}, "succeeded", "hi"),
    "cut": ({"choices": [{"text": "hi", "finish_reason": "length"}]}, "truncated", "hi"),
    "nothing": ({"choices": [{"text": None, "finish_reason": "stop"}]}, "server_error", None),
}


@pytest.mark.parametrize(
    ("reply", "outcome", "value"), COMPLETIONS.values(), ids=COMPLETIONS.keys()
)
def test_a_completion_is_read(reply: object, outcome: Outcome, value: str | None) -> None:
    answer = read("openai.completions", reply)

    assert (answer.outcome, answer.value) == (outcome, value)


def response(*content: object, status: str = "completed", **more: Any) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "content": list(content)}
    return {"id": "x", "object": "response", "status": status, "output": [message], **more}


def said(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": []}


def cut_for(reason: str) -> dict[str, Any]:
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


REASONING = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
FUNCTION = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"}
RESPONSES: dict[str, tuple[object, Outcome, str | None]] = {
    "a text": (response(said("hi")), "succeeded", "hi"),
    "a text in parts": (response(said("h"), said("i")), "succeeded", "hi"),
    "an empty text": (response(said("")), "succeeded", ""),
    "after thinking": (
        {**response(), "output": [REASONING, *response(said("hi"))["output"]]},
        "succeeded",
        "hi",
    ),
    "a function call": (
        {"status": "completed", "output": [REASONING, FUNCTION]},
        "succeeded",
        '[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]',
    ),
    "cut at the budget": (response(said("h"), **cut_for("max_output_tokens")), "truncated", "h"),
    "stopped by a filter": (response(said("h"), **cut_for("content_filter")), "blocked", "h"),
    "cut for no reason": (response(said("h"), status="incomplete"), "truncated", "h"),
    "refused": (response({"type": "refusal", "refusal": "I can't."}), "refused", None),
    "failed": (
        {"status": "failed", "output": [], "error": {"code": "server_error", "message": "m"}},
        "server_error",
        None,
    ),
    "failed without an error": ({"status": "failed", "output": []}, "server_error", None),
    "cancelled": ({"status": "cancelled", "output": [], "error": None}, "server_error", None),
    "not yet done": ({"status": "queued", "output": []}, "server_error", None),
    "nothing": ({"status": "completed", "output": []}, "server_error", None),
    "thought only": ({"status": "completed", "output": [REASONING]}, "server_error", None),
}


@pytest.mark.parametrize(("reply", "outcome", "value"), RESPONSES.values(), ids=RESPONSES.keys())
def test_a_response_is_read(reply: object, outcome: Outcome, value: str | None) -> None:
    answer = read("openai.responses", reply)

    assert (answer.outcome, answer.value) == (outcome, value)
    assert (answer.failure is None) == (outcome == "succeeded")


def test_a_failed_response_says_why() -> None:
    error = {"code": "server_error", "message": "The model went away."}

    answer = read("openai.responses", {"status": "failed", "output": [], "error": error})

    assert answer.failure is not None
    assert (answer.failure.message, answer.failure.code) == ("The model went away.", "server_error")


EMBEDDINGS: dict[str, tuple[object, Outcome, object]] = {
    "numbers": ({"data": [{"index": 0, "embedding": [1, 2.5]}]}, "succeeded", [1.0, 2.5]),
    "base64": ({"data": [{"embedding": "AAAA"}]}, "succeeded", "AAAA"),
    "several": ({"data": [{"embedding": [1]}, {"embedding": [2]}]}, "succeeded", [[1.0], [2.0]]),
    "none": ({"data": []}, "server_error", None),
    "words": ({"data": [{"embedding": ["x"]}]}, "server_error", None),
}


@pytest.mark.parametrize(("reply", "outcome", "value"), EMBEDDINGS.values(), ids=EMBEDDINGS.keys())
def test_an_embedding_is_read(reply: object, outcome: Outcome, value: object) -> None:
    answer = read("openai.embeddings", reply)

    assert (answer.outcome, answer.value) == (outcome, value)


def finding(**applies: bool) -> dict[str, Any]:
    scores = {name: 0.9 if found else 0.1 for name, found in applies.items()}
    found = any(applies.values())
    return {"flagged": found, "categories": applies, "category_scores": scores}


MODERATIONS: dict[str, tuple[object, Outcome, object]] = {
    "nothing found": (
        {"model": "m", "results": [finding(hate=False, violence=False)]},
        "succeeded",
        {"flagged": False, "categories": [], "scores": {"hate": 0.1, "violence": 0.1}},
    ),
    "something found": (
        {"model": "m", "results": [finding(hate=False, violence=True)]},
        "succeeded",
        {"flagged": True, "categories": ["violence"], "scores": {"hate": 0.1, "violence": 0.9}},
    ),
    "a category of which nothing is said": (
        {
            "results": [
                {"flagged": False, "categories": {"illicit": None}, "category_scores": {"hate": 0}}
            ]
        },
        "succeeded",
        {"flagged": False, "categories": [], "scores": {"hate": 0.0}},
    ),
    "several inputs": (
        {"results": [finding(hate=False), finding(hate=True)]},
        "succeeded",
        {
            "flagged": [False, True],
            "categories": [[], ["hate"]],
            "scores": [{"hate": 0.1}, {"hate": 0.9}],
        },
    ),
    "no results": ({"results": []}, "server_error", None),
    "no scores": ({"results": [{"flagged": True, "categories": {}}]}, "server_error", None),
}


@pytest.mark.parametrize(
    ("reply", "outcome", "value"), MODERATIONS.values(), ids=MODERATIONS.keys()
)
def test_what_moderation_found_is_read(reply: object, outcome: Outcome, value: object) -> None:
    answer = read("openai.moderations", reply)

    assert (answer.outcome, answer.value) == (outcome, value)
    assert (answer.failure is None) == (outcome == "succeeded")


IMAGES: dict[str, tuple[object, Outcome, object]] = {
    "an address": ({"data": [{"url": "https://x/1.png"}]}, "succeeded", "https://x/1.png"),
    "its bytes": ({"data": [{"b64_json": "iVBO", "url": None}]}, "succeeded", "iVBO"),
    "several": ({"data": [{"b64_json": "a"}, {"b64_json": "b"}]}, "succeeded", ["a", "b"]),
    "none": ({"data": []}, "server_error", None),
    "an empty one": ({"data": [{"url": "https://x"}, {}]}, "server_error", None),
}


@pytest.mark.parametrize(("reply", "outcome", "value"), IMAGES.values(), ids=IMAGES.keys())
def test_an_image_is_read(reply: object, outcome: Outcome, value: object) -> None:
    answer = read("openai.images", reply)

    assert (answer.outcome, answer.value) == (outcome, value)
    assert (answer.failure is None) == (outcome == "succeeded")


def test_what_an_image_cost_is_counted() -> None:
    usage = {"input_tokens": 9, "output_tokens": 1056, "total_tokens": 1065}

    answer = read("openai.images", {"data": [{"b64_json": "a"}], "usage": usage})

    assert answer.usage == Usage(tokens_in=9, tokens_out=1056)


USAGES: dict[str, tuple[object, Usage]] = {
    "none": (None, Usage()),
    "empty": ({}, Usage()),
    "chat's": (
        {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        Usage(tokens_in=3, tokens_out=5),
    ),
    "chat's with details": (
        {
            "prompt_tokens": 30,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        Usage(tokens_in=30, tokens_out=50, cached=20, reasoning=40),
    ),
    "responses'": (
        {
            "input_tokens": 30,
            "output_tokens": 50,
            "input_tokens_details": {"cached_tokens": 20},
            "output_tokens_details": {"reasoning_tokens": 40},
        },
        Usage(tokens_in=30, tokens_out=50, cached=20, reasoning=40),
    ),
    "chat's, written into a cache": (
        {
            "prompt_tokens": 30,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 20},
        },
        Usage(tokens_in=30, tokens_out=5, cached=8, written=20),
    ),
    "responses', written into a cache": (
        {
            "input_tokens": 30,
            "output_tokens": 5,
            "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 20},
        },
        Usage(tokens_in=30, tokens_out=5, cached=8, written=20),
    ),
    "DeepSeek's": (
        {"prompt_tokens": 9, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 1},
        Usage(tokens_in=9, cached=8),
    ),
    "below zero": ({"prompt_tokens": -3}, Usage()),
    "more than a journal holds": (msgspec.Raw(b'{"prompt_tokens":%d}' % (2**80)), Usage()),
    "embeddings'": ({"prompt_tokens": 3, "total_tokens": 3}, Usage(tokens_in=3)),
    "details that are null": (
        {"prompt_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": {}},
        Usage(tokens_in=3),
    ),
    "whole numbers with a point": ({"prompt_tokens": 3.0}, Usage(tokens_in=3)),
    "numbers in quotes": ({"prompt_tokens": "3"}, Usage(tokens_in=3)),
    "half tokens": ({"prompt_tokens": 3.5}, Usage()),
    "a list": ([], Usage()),
    "a word": ("much", Usage()),
}


@pytest.mark.parametrize("api", ["openai.chat", "openai.responses", "openai.embeddings"])
@pytest.mark.parametrize(("counted", "usage"), USAGES.values(), ids=USAGES.keys())
def test_tokens_are_counted_and_never_cost_an_answer(api: Api, counted, usage: Usage) -> None:
    replies: dict[str, dict[str, Any]] = {
        "openai.chat": chat(HI),
        "openai.responses": response(said("hi")),
        "openai.embeddings": {"data": [{"embedding": [1]}]},
    }

    answer = read(api, {**replies[api], "model": "m-1", "usage": counted})

    assert (answer.outcome, answer.usage, answer.model) == ("succeeded", usage, "m-1")


MALFORMED = {
    "nothing": b"",
    "white space": b" \n",
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "half": b'{"choices":[{"message":{"content":"h',
    "two": b'{"choices":[{"message":{"content":"h"}}]}{}',
    "null": b"null",
    "a number": b"1",
    "a list": b"[]",
    "an empty object": b"{}",
    "an error": b'{"error":{"message":"no"}}',
    "nulls": b'{"choices":null,"output":null,"data":null}',
    "no choices": b'{"choices":[]}',
    "words for choices": b'{"choices":["x"],"output":["x"],"data":["x"]}',
    "a number for a text": b'{"choices":[{"message":{"content":5},"text":5}]}',
    "invalid UTF-8": b'{"choices":[{"message":{"content":"\xff"}}]}',
    "invalid UTF-8 aside": b'{"choices":[{"message":{"content":"h"}}],"x":"\xff"}',
    "half a surrogate pair": b'{"choices":[{"message":{"content":"\\ud800"}}]}',
    "not a number": b'{"choices":[{"message":{"content":"h"}}],"x":NaN}',
    "a list without end": DEEP,
    "a list without end aside": b'{"x":' + DEEP + b',"choices":[{"message":{"content":"h"}}]}',
    "tool calls without end": b'{"choices":[{"message":{"tool_calls":' + DEEP + b"}}]}",
    "usage without end": b'{"choices":[{"message":{"content":"h"}}],"usage":' + DEEP + b"}",
    "an error without end": b'{"output":[],"status":"failed","error":' + DEEP + b"}",
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_body_that_is_no_answer_is_the_services_fault(api: Api, body: bytes) -> None:
    answer = read_answer(api, body)

    assert (answer.outcome, answer.value, answer.usage) == ("server_error", None, Usage())
    assert answer.failure is not None
    assert len(answer.failure.message) < 300


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}',
        b'{"choices":"x","usage":{"prompt_tokens":3,"completion_tokens":5}}',
        b'{"usage":{"prompt_tokens":3,"completion_tokens":5}}',
    ],
)
def test_an_answer_of_no_use_was_paid_for_all_the_same(body: bytes) -> None:
    answer = read_answer("openai.chat", body)

    assert (answer.outcome, answer.usage) == ("server_error", Usage(tokens_in=3, tokens_out=5))


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    body = b'{"choices":[],"choices":[{"message":{"content":"a","content":"b"}}]}'

    answer = read_answer("openai.chat", body)

    assert (answer.outcome, answer.value) == ("succeeded", "b")


KEYS = ["choices", "message", "content", "output", "data", "embedding", "status", "usage", "model"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from(APIS), st.binary() | JSON.map(msgspec.json.encode))
def test_no_body_makes_the_reader_raise(api: Api, body: bytes) -> None:
    answer = read_answer(api, body)

    assert (answer.failure is None) == (answer.outcome == "succeeded")
