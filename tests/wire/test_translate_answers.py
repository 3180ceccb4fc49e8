"""An answer of one api as an answer of another; embeddings there and back."""

from base64 import b64encode
from contextlib import suppress
from itertools import permutations
from struct import pack
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Api, Json, Usage
from anybatch.core.states import Outcome
from anybatch.wire.apis import wire_of
from anybatch.wire.conversation import Answer, Call, Frame
from anybatch.wire.strict import NotCarried
from anybatch.wire.translate import translate_answer, translate_body

from .translations import (
    ANSWERS,
    APIS,
    CHAT,
    GENERATE,
    MESSAGES,
    READ_ANSWER,
    RESPONSES,
    USAGE_IN,
    WRITE_ANSWER,
    AnswerCase,
    bare,
    disturb,
    whole_answer,
)

FRAME = Frame(id="7", created=1_800_000_000, model="asked-for")

ADDED = {
    "id": {CHAT: "chatcmpl-7", RESPONSES: "resp_7", MESSAGES: "msg_7"},
    "responseId": {GENERATE: "7"},
    "created": {CHAT: 1_800_000_000},
    "created_at": {RESPONSES: 1_800_000_000},
}
"""What a frame adds to an answer."""

FORMS = [
    pytest.param(case, api, id=f"{name}-{api}") for name, case in ANSWERS.items() for api in APIS
]


def answer_of(api: Api, body: Json | bytes) -> Answer:
    given = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return READ_ANSWER[api](given, id="7")


def translated(body: Json | bytes, source: Api, target: Api, *, asked: Json | None = None) -> Json:
    written = translate_answer(
        body if isinstance(body, bytes) else msgspec.json.encode(body),
        source=source,
        target=target,
        asked=msgspec.json.encode(asked or {}),
        model=FRAME.model,
        id=FRAME.id,
        created=FRAME.created,
    )
    return msgspec.json.decode(written, type=dict)


@pytest.mark.parametrize(("case", "api"), FORMS)
def test_an_answer_is_written_as_the_api_has_it(case: AnswerCase, api: Api) -> None:
    written = WRITE_ANSWER[api](case.said, FRAME)

    added = {name: by_api[api] for name, by_api in ADDED.items() if api in by_api}
    wanted = {**whole_answer(api, case.forms[api]), **added}
    # Responses repeats what was asked, too: see below.
    assert {name: written[name] for name in wanted} == wanted
    assert api == RESPONSES or written.keys() == wanted.keys()


@pytest.mark.parametrize(("case", "api"), FORMS)
def test_an_answer_is_read_as_what_it_says(case: AnswerCase, api: Api) -> None:
    said = bare(answer_of(api, whole_answer(api, case.forms[api])))

    assert (said == case.said) is (api in case.alike)
    assert (said.text, said.usage, said.model) == (case.said.text, case.said.usage, "m")


@pytest.mark.parametrize(("source", "target"), list(permutations(APIS, 2)))
def test_an_answer_of_each_api_is_carried_into_each_other(source: Api, target: Api) -> None:
    for name, case in ANSWERS.items():
        if source not in case.alike:
            continue

        written = translated(whole_answer(source, case.forms[source]), source, target)

        wanted = whole_answer(target, case.forms[target])
        assert {field: written[field] for field in wanted} == wanted, name


COARSER: dict[Outcome, set[Outcome]] = {
    "too_long": {"too_long", "truncated"},
    "refused": {"refused", "blocked"},
    "blocked": {"blocked", "refused"},
    "truncated": {"truncated"},
    "succeeded": {"succeeded"},
}
"""What an outcome may become where an api has no word of its own for it."""


@pytest.mark.parametrize(("source", "target"), list(permutations(APIS, 2)))
def test_no_answer_seems_better_than_it_was(source: Api, target: Api) -> None:
    for name, case in ANSWERS.items():
        body = msgspec.json.encode(whole_answer(source, case.forms[source]))
        before = wire_of(source).read_answer(source, body)

        written = msgspec.json.encode(translated(body, source, target))

        after = wire_of(target).read_answer(target, written)
        assert after.outcome in COARSER[before.outcome], name
        assert (after.usage, after.model) == (before.usage, before.model), name


def test_the_same_api_gets_the_same_bytes() -> None:
    body = b' {"choices": 1.50}\n'
    frame: dict[str, Any] = {"asked": b"{}", "model": "m", "id": "7", "created": 1}

    assert translate_answer(body, source=CHAT, target=CHAT, **frame) is body


# --- what services add and leave out --------------------------------------------------------------


def chat(message: Json, *, finish: str | None = "stop", **beside: Any) -> Json:
    return {"choices": [{"message": message, "finish_reason": finish, **beside}]}


ODD: dict[str, tuple[Api, Json, Answer]] = {
    "an answer without its frame": (
        CHAT,
        chat({"content": "hi"}, finish=None),
        Answer(text="hi"),
    ),
    "fields of a service's own": (
        CHAT,
        {
            **chat({"content": "hi", "reasoning_content": "hm", "x": {}}, stop_reason=2),
            "timings": {},
        },
        Answer(text="hi"),
    ),
    "text in parts, with thoughts": (
        CHAT,
        chat(
            {
                "content": [
                    {"type": "thinking", "thinking": []},
                    {"type": "text", "text": "h"},
                    {"type": "text", "text": "i"},
                ]
            }
        ),
        Answer(text="hi"),
    ),
    "an empty text": (CHAT, chat({"content": ""}), Answer(text="")),
    "a call under an ordinary finish": (
        CHAT,
        chat({"content": "", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]}),
        Answer(calls=(Call("call_7_0", "f", "{}"),), stop="calls"),
    ),
    "half a call": (
        CHAT,
        chat(
            {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a'}}]},
            finish="length",
        ),
        Answer(calls=(Call("c", "f", '{"a'),), stop="length"),
    ),
    "tokens written to a cache": (
        CHAT,
        {
            **chat({"content": "hi"}),
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
            },
        },
        Answer(text="hi", usage=Usage(tokens_in=9, tokens_out=1, cached=2, written=3)),
    ),
    "usage in a shape of its own": (
        CHAT,
        {**chat({"content": "hi"}), "usage": {"prompt_tokens_details": [1]}},
        Answer(text="hi"),
    ),
    "items of thought": (
        RESPONSES,
        {
            "output": [
                {"type": "reasoning", "id": "rs", "summary": []},
                {"type": "message", "content": [{"type": "output_text", "text": "h"}]},
                {"type": "message", "content": [{"type": "output_text", "text": "i"}]},
            ]
        },
        Answer(text="hi"),
    ),
    "blocks of thought": (
        MESSAGES,
        {
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "s"},
                {"type": "text", "text": "hi", "citations": None},
            ],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 4,
                "cache_creation_input_tokens": 3,
                "cache_read_input_tokens": 2,
                "output_tokens": 1,
            },
        },
        Answer(text="hi", usage=Usage(tokens_in=9, tokens_out=1, cached=2, written=3)),
    ),
    "a stop sequence at once": (
        MESSAGES,
        {"content": [], "stop_reason": "stop_sequence", "stop_sequence": "END"},
        Answer(stop="sequence", sequence="END"),
    ),
    "a turn of the service's own that was cut": (
        MESSAGES,
        {"content": [{"type": "text", "text": "hi"}], "stop_reason": "pause_turn"},
        Answer(text="hi", stop="length"),
    ),
    "parts of thought, signatures, ratings": (
        GENERATE,
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"text": "hi", "thoughtSignature": "c2ln"},
                        ]
                    },
                    "finishReason": "STOP",
                    "safetyRatings": [],
                    "avgLogprobs": -0.1,
                    "citationMetadata": {"citationSources": []},
                }
            ]
        },
        Answer(text="hi"),
    ),
    "calls without ids": (
        GENERATE,
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"functionCall": {"name": "f", "args": {"a": 1}}},
                            {"functionCall": {"name": "g"}},
                        ]
                    },
                    "finishReason": "STOP",
                }
            ]
        },
        Answer(calls=(Call("call_7_0", "f", '{"a":1}'), Call("call_7_1", "g")), stop="calls"),
    ),
    "a blocked prompt": (
        GENERATE,
        {"promptFeedback": {"blockReason": "SAFETY"}},
        Answer(stop="blocked", why="the prompt was blocked"),
    ),
}


@pytest.mark.parametrize(("api", "body", "said"), ODD.values(), ids=ODD.keys())
def test_what_services_add_or_leave_out_is_no_hindrance(api: Api, body: Json, said: Answer) -> None:
    assert bare(answer_of(api, body)) == said


UNCARRIED: dict[str, tuple[Api, Json, str]] = {
    "two answers": (
        CHAT,
        {"choices": [*chat({"content": "a"})["choices"], *chat({"content": "b"})["choices"]]},
        "/choices",
    ),
    "sound": (CHAT, chat({"content": "a", "audio": {"id": "x"}}), "/choices/0/message/audio"),
    "sources": (
        CHAT,
        chat({"content": "a", "annotations": [{"type": "url_citation"}]}),
        "/choices/0/message/annotations",
    ),
    "a part of another kind": (
        CHAT,
        chat({"content": [{"type": "text", "text": "a"}, {"type": "reference"}]}),
        "/choices/0/message/content/1/type",
    ),
    "a call of a custom tool": (
        CHAT,
        chat({"tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}),
        "/choices/0/message/tool_calls/0/type",
    ),
    "a search": (
        RESPONSES,
        {
            "output": [
                {"type": "web_search_call", "id": "ws"},
                {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
            ]
        },
        "/output/0/type",
    ),
    "sources of Responses": (
        RESPONSES,
        {
            "output": [
                {
                    "type": "message",
                    "content": [{"type": "output_text", "text": "a", "annotations": [{}]}],
                }
            ]
        },
        "/output/0/content/0/annotations",
    ),
    "a search of Anthropic's": (
        MESSAGES,
        {"content": [{"type": "server_tool_use"}, {"type": "text", "text": "a"}]},
        "/content/0/type",
    ),
    "citations": (
        MESSAGES,
        {"content": [{"type": "text", "text": "a", "citations": [{"type": "page_location"}]}]},
        "/content/0/citations",
    ),
    "a made image": (
        GENERATE,
        {
            "candidates": [
                {"content": {"parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png"}}]}}
            ]
        },
        "/candidates/0/content/parts/1/inlineData",
    ),
    "what it was grounded on": (
        GENERATE,
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "a"}]},
                    "groundingMetadata": {"webSearchQueries": []},
                }
            ]
        },
        "/candidates/0/groundingMetadata",
    ),
    "a second candidate": (
        GENERATE,
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}, {}]},
        "/candidates/1",
    ),
    "an answer that the service gave up": (
        GENERATE,
        {"candidates": [{"finishReason": "OTHER"}]},
        "",
    ),
    "a response that failed": (RESPONSES, {"status": "failed", "output": []}, ""),
    "nothing at all": (MESSAGES, {"content": [], "stop_reason": "end_turn"}, ""),
    "no answer": (CHAT, {"object": "error"}, ""),
}


@pytest.mark.parametrize(("api", "body", "pointer"), UNCARRIED.values(), ids=UNCARRIED.keys())
def test_what_no_other_api_can_say_is_refused_by_name(api: Api, body: Json, pointer: str) -> None:
    target = CHAT if api != CHAT else MESSAGES

    with pytest.raises(NotCarried) as raised:
        translated(body, api, target)

    assert raised.value.pointer == pointer


@given(st.data(), st.sampled_from(FORMS), st.sampled_from(APIS))
def test_a_field_of_another_kind_is_carried_or_refused(data: Any, param: Any, target: Api) -> None:
    case, source = param.values
    body = whole_answer(source, case.forms[source])
    body = msgspec.json.decode(msgspec.json.encode(body))
    disturb(body, data)

    with suppress(NotCarried):
        translated(body, source, target)


@pytest.mark.parametrize("target", [MESSAGES, GENERATE])
def test_a_call_that_was_cut_is_refused_where_arguments_are_an_object(target: Api) -> None:
    body = ODD["half a call"][1]

    with pytest.raises(NotCarried) as raised:
        translated(body, CHAT, target)

    assert raised.value.pointer == "/choices/0/message/tool_calls/0/function/arguments"


# --- what an answer of Responses repeats ----------------------------------------------------------


def test_an_answer_of_responses_repeats_what_was_asked() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    asked = {
        "model": "x",
        "input": "hi",
        "instructions": "be",
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "tools": [tool],
        "tool_choice": "required",
    }

    written = translated(chat({"content": "hi"}), CHAT, RESPONSES, asked=asked)

    repeated = {name: value for name, value in asked.items() if name not in ("model", "input")}
    assert {name: written[name] for name in repeated} == repeated
    assert written["model"] == FRAME.model
    assert (written["top_p"], written["metadata"]) == (1.0, {"a": "b"})


def test_metadata_that_was_not_given_is_empty_and_not_null() -> None:
    assert translated(chat({"content": "hi"}), CHAT, RESPONSES)["metadata"] == {}


@given(
    st.sampled_from(APIS),
    st.builds(
        Answer,
        text=st.text(min_size=1, max_size=9),
        calls=st.lists(
            st.builds(
                Call,
                st.text("abc_-", min_size=1, max_size=5),
                st.text("abc", min_size=1, max_size=5),
                st.dictionaries(st.text(max_size=3), st.integers(), max_size=2).map(
                    lambda given: msgspec.json.encode(given).decode()
                ),
            ),
            max_size=2,
        ).map(tuple),
        usage=st.builds(
            Usage,
            tokens_in=st.integers(50, 99),
            tokens_out=st.integers(50, 99),
            cached=st.integers(0, 20),
            reasoning=st.integers(0, 20),
        ),
        model=st.text("abc", min_size=1, max_size=5),
    ),
)
def test_what_is_written_is_read_as_it_was_said(api: Api, said: Answer) -> None:
    said = replace(said, stop="calls" if said.calls else "end")

    body = msgspec.json.encode(WRITE_ANSWER[api](said, FRAME))

    assert bare(answer_of(api, body)) == said


def test_usage_is_told_in_every_form_of_the_table() -> None:
    assert set(USAGE_IN) == set(APIS)


# --- embeddings -----------------------------------------------------------------------------------

OPENAI: Api = "openai.embeddings"
GEMINI: Api = "gemini.embed"

TEXTS: dict[str, tuple[Json, Json]] = {
    "a text": (
        {"model": "m", "input": "hi"},
        {"content": {"parts": [{"text": "hi"}]}},
    ),
    "dimensions": (
        {"model": "m", "input": "hi", "dimensions": 64},
        {"content": {"parts": [{"text": "hi"}]}, "outputDimensionality": 64},
    ),
}


@pytest.mark.parametrize(("openai", "gemini"), TEXTS.values(), ids=TEXTS.keys())
def test_a_text_to_embed_is_carried_either_way(openai: Json, gemini: Json) -> None:
    assert embedded(openai, OPENAI, GEMINI) == gemini
    assert embedded(gemini, GEMINI, OPENAI) == openai


def embedded(body: Json, source: Api, target: Api) -> Json:
    given = msgspec.json.encode(body)
    written = translate_body(given, source=source, target=target, model="m")
    return msgspec.json.decode(written, type=dict)


def test_what_nothing_depends_on_is_no_hindrance_to_an_embedding() -> None:
    body = {"model": "m", "input": ["hi"], "encoding_format": "base64", "user": "u"}

    assert embedded(body, OPENAI, GEMINI) == TEXTS["a text"][1]


@pytest.mark.parametrize(
    ("source", "beside", "pointer"),
    [
        (OPENAI, {"input": ["a", "b"]}, "/input"),
        (OPENAI, {"input": []}, "/input"),
        (OPENAI, {"input": [1, 2]}, "/input"),
        (OPENAI, {"input": None}, "/input"),
        (OPENAI, {"encoding_format": "int8"}, "/encoding_format"),
        (OPENAI, {"input_type": "query"}, "/input_type"),
        (GEMINI, {"taskType": "RETRIEVAL_QUERY"}, "/taskType"),
        (GEMINI, {"task_type": "RETRIEVAL_QUERY"}, "/task_type"),
        (GEMINI, {"title": "t"}, "/title"),
        (GEMINI, {"content": None}, "/content"),
        (GEMINI, {"content": {"parts": [{"text": "a"}, {"text": "b"}]}}, "/content/parts"),
        (
            GEMINI,
            {"content": {"parts": [{"inlineData": {}}]}},
            "/content/parts/0/text",
        ),
    ],
)
def test_what_is_no_single_text_is_refused(source: Api, beside: Json, pointer: str) -> None:
    openai, gemini = TEXTS["a text"]
    body = {**(openai if source == OPENAI else gemini), **beside}

    with pytest.raises(NotCarried) as raised:
        embedded(body, source, GEMINI if source == OPENAI else OPENAI)

    assert raised.value.pointer == pointer


NUMBERS = [0.5, -1.25, 3.0]
PACKED = b64encode(pack("<3f", *NUMBERS)).decode()

OPENAI_VECTOR: Json = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": NUMBERS}],
    "model": "asked-for",
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
GEMINI_VECTOR: Json = {"embedding": {"values": NUMBERS}, "tokenCount": "2"}


def test_a_vector_is_carried_either_way() -> None:
    assert translated(GEMINI_VECTOR, GEMINI, OPENAI) == OPENAI_VECTOR
    assert translated(OPENAI_VECTOR, OPENAI, GEMINI) == GEMINI_VECTOR


def test_a_vector_is_packed_for_who_asked_for_that() -> None:
    written = translated(GEMINI_VECTOR, GEMINI, OPENAI, asked={"encoding_format": "base64"})

    assert written["data"][0]["embedding"] == PACKED
    assert translated(written, OPENAI, GEMINI) == GEMINI_VECTOR


@pytest.mark.parametrize(
    "embedding",
    ["not base64", b64encode(b"12345").decode(), [], ["a"]],
    ids=["a text", "half a number", "nothing", "texts"],
)
def test_a_vector_that_is_none_is_refused(embedding: Any) -> None:
    body = {"data": [{"embedding": embedding}]}

    with pytest.raises(NotCarried):
        translated(body, OPENAI, GEMINI)


def test_two_vectors_are_refused() -> None:
    body = {"data": [{"embedding": NUMBERS}, {"embedding": NUMBERS}]}

    with pytest.raises(NotCarried) as raised:
        translated(body, OPENAI, GEMINI)

    assert raised.value.pointer == "/data"
