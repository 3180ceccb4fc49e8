"""A body of one api as a body of another: nothing lost, or refused by name."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise, permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Api, Json
from anybatch.core.schema import is_strict
from anybatch.wire.conversation import (
    Call,
    Conversation,
    Image,
    Link,
    Part,
    Returned,
    Schema,
    Text,
    Tool,
    Turn,
)
from anybatch.wire.strict import NotCarried
from anybatch.wire.translate import LEFT_OUT, can_translate, translate_body

from .translations import (
    ANSWER,
    APIS,
    CASES,
    CHAT,
    GENERATE,
    HI,
    MESSAGES,
    PNG,
    READ,
    REFUSED_BEFORE,
    RESPONSES,
    WEATHER_IN,
    WRITE,
    Case,
    bare,
    disturb,
    whole,
)

FORMS = [
    pytest.param(case, api, form, id=f"{name}-{api}")
    for name, case in CASES.items()
    for api, form in case.forms.items()
    if form is not None
]


def encoded(api: Api, form: Json) -> bytes:
    return msgspec.json.encode(whole(api, form))


def translated(form: Json, source: Api, target: Api) -> Json:
    body = encoded(source, form)
    written = translate_body(body, source=source, target=target, model="m", budget=64)
    return msgspec.json.decode(written, type=dict)


def refused(form: Json, source: Api, target: Api) -> NotCarried:
    with pytest.raises(NotCarried) as raised:
        translated(form, source, target)
    return raised.value


def other(api: Api) -> Api:
    return CHAT if api != CHAT else MESSAGES


# --- what is carried ------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "api", "form"), FORMS)
def test_a_body_is_read_as_what_it_says(case: Case, api: Api, form: Json) -> None:
    said = bare(READ[api](encoded(api, form)))

    # Anthropic's service takes no body without a cap.
    capped = 64 if api == MESSAGES and "max_tokens" not in form else case.said.max_tokens
    assert said == msgspec.structs.replace(case.said, max_tokens=capped)


@pytest.mark.parametrize(("case", "api", "form"), FORMS)
def test_what_is_said_is_written_as_a_body(case: Case, api: Api, form: Json) -> None:
    assert WRITE[api](case.said) == whole(api, form)


@pytest.mark.parametrize(
    ("source", "target"), list(permutations(APIS, 2)), ids=lambda api: api.replace(".", "_")
)
def test_each_api_is_carried_into_each_other(source: Api, target: Api) -> None:
    for name, case in CASES.items():
        form, wanted = case.forms[source], case.forms[target]
        if form is None:
            continue
        if source == MESSAGES:
            form = {"max_tokens": 9, **form}
            caps = {CHAT: {"max_completion_tokens": 9}, RESPONSES: {"max_output_tokens": 9}}
            wanted = wanted and {**wanted, **caps.get(target, {})}
            if target == GENERATE and wanted is not None:
                config = {**wanted.get("generationConfig", {}), "maxOutputTokens": 9}
                wanted = {**wanted, "generationConfig": config}
        if wanted is None:
            assert refused(form, source, target).pointer.startswith("/"), name
        else:
            assert translated(form, source, target) == whole(target, wanted), name


@pytest.mark.parametrize("target", [RESPONSES, MESSAGES, GENERATE])
def test_a_refusal_of_before_is_a_text_where_there_are_no_refusals(target: Api) -> None:
    form, wanted = REFUSED_BEFORE.forms[CHAT], REFUSED_BEFORE.forms[target]
    assert form is not None
    assert wanted is not None

    assert translated(form, CHAT, target) == whole(target, wanted)


def test_a_refusal_of_responses_is_one_in_chat() -> None:
    part = {"type": "refusal", "refusal": "I will not."}
    items = [{"role": "assistant", "content": [part]}, {"role": "user", "content": "please"}]
    form = {"input": [*HI[RESPONSES]["input"], *items]}

    assert translated(form, RESPONSES, CHAT)["messages"] == REFUSED_BEFORE.forms[CHAT]["messages"]


@pytest.mark.parametrize("api", APIS)
def test_the_same_api_gets_the_same_bytes(api: Api) -> None:
    body = b' {"model": "x" ,"unknown": 1.50}\n'

    assert translate_body(body, source=api, target=api, model="y") is body


def test_a_prompt_without_a_cap_gets_one_where_it_needs_one() -> None:
    body = encoded(CHAT, HI[CHAT])

    written = translate_body(body, source=CHAT, target=MESSAGES, model="m")

    assert msgspec.json.decode(written)["max_tokens"] == 1024


ALSO: dict[str, tuple[Api, Json, Json]] = {
    "the older name of the cap": (CHAT, {"max_tokens": 9}, {"max_tokens": 9}),
    "one stop sequence": (CHAT, {"stop": "END"}, {"stop": ("END",)}),
    "an automatic choice": (CHAT, {"tool_choice": "auto"}, {}),
    "plain text": (CHAT, {"response_format": {"type": "text"}}, {}),
    "a lax schema": (
        CHAT,
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "description": "d", "schema": ANSWER},
            }
        },
        {"output": Schema(name="a", description="d", schema=ANSWER, strict=False)},
    ),
    "no penalty": (CHAT, {"frequency_penalty": 0, "presence_penalty": 0.0}, {}),
    "nulls": (CHAT, {"stop": None, "tools": None, "n": None, "unknown": None}, {}),
    "a prompt as it is": (RESPONSES, {"input": "hi"}, {}),
    "a tool that is strict unless it says otherwise": (
        RESPONSES,
        {"tools": [{"type": "function", "name": "f", "parameters": ANSWER}]},
        {"tools": (Tool(name="f", parameters=ANSWER, strict=True),)},
    ),
    "a tool that cannot be strict": (
        RESPONSES,
        {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]},
        {"tools": (Tool(name="f", parameters={"type": "object"}),)},
    ),
    "thinking as it comes": (MESSAGES, {"thinking": {"type": "adaptive"}}, {"max_tokens": 64}),
    "a tool that says it is none of the service's": (
        MESSAGES,
        {"tools": [{"type": "custom", "name": "f", "input_schema": {"type": "object"}}]},
        {"tools": (Tool(name="f", parameters={"type": "object"}),), "max_tokens": 64},
    ),
    "names with underscores": (
        GENERATE,
        {
            "contents": [{"parts": [{"text": "hi"}]}],
            "generation_config": {"max_output_tokens": 9, "top_k": 40.0},
        },
        {"max_tokens": 9, "top_k": 40},
    ),
    "no filter": (
        GENERATE,
        {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]},
        {},
    ),
    "a plain answer": (GENERATE, {"generationConfig": {"responseMimeType": "text/plain"}}, {}),
    "thinking as the model likes": (
        GENERATE,
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}},
        {},
    ),
}


@pytest.mark.parametrize(("api", "beside", "settings"), ALSO.values(), ids=ALSO.keys())
def test_other_ways_to_say_it_are_understood(api: Api, beside: Json, settings: Json) -> None:
    said = bare(READ[api](encoded(api, {**HI[api], **beside})))

    assert said == Conversation(
        turns=(Turn("user", (Text("hi"),)),), **{**_capped(api), **settings}
    )


def _capped(api: Api) -> Json:
    return {"max_tokens": 64} if api == MESSAGES else {}


# --- turns ----------------------------------------------------------------------------------------


def turns_of(api: Api, form: Json) -> tuple[Turn, ...]:
    return bare(READ[api](encoded(api, form)).turns)


def test_neighbours_of_one_role_are_one_turn() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]

    assert turns_of(CHAT, {"messages": said}) == (Turn("user", (Text("a"), Text("b"))),)


def test_an_empty_text_says_nothing() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    said = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    ]

    assert turns_of(CHAT, {"messages": said}) == (
        Turn("assistant", (Call("c", "f", ""),)),
        Turn("user", (Returned("c", "f"),)),
    )
    assert translated({"messages": said}, CHAT, MESSAGES)["messages"] == [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]},
    ]


def test_results_come_before_what_is_said_with_them() -> None:
    content = [
        {"type": "text", "text": "So?"},
        {"type": "tool_result", "tool_use_id": "c", "content": "rain"},
    ]
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    said = [{"role": "assistant", "content": [call]}, {"role": "user", "content": content}]

    assert turns_of(MESSAGES, {"messages": said})[1] == Turn(
        "user", (Returned("c", "f", (Text("rain"),)), Text("So?"))
    )


def test_results_without_ids_belong_to_the_calls_in_their_order() -> None:
    contents = [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "f", "args": {"n": 1}}},
                {"functionCall": {"name": "g"}},
                {"functionCall": {"name": "f", "args": {"n": 2}}},
            ],
        },
        {
            "role": "function",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"output": "one"}}},
                {"functionResponse": {"name": "f", "response": {"output": "two"}}},
                {"functionResponse": {"name": "g", "response": {"at": 7}}},
            ],
        },
    ]

    messages = translated({"contents": contents}, GENERATE, CHAT)["messages"]

    asked = [(call["id"], call["function"]["arguments"]) for call in messages[0]["tool_calls"]]
    got = [(message["tool_call_id"], message["content"]) for message in messages[1:]]
    assert asked == [("call_0", '{"n":1}'), ("call_1", "{}"), ("call_2", '{"n":2}')]
    assert got == [("call_0", "one"), ("call_2", "two"), ("call_1", '{"at":7}')]


def test_ids_that_the_target_does_not_take_are_named_anew() -> None:
    calls = [
        {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for id in ("functions.f:0", "functions.f:1")
    ]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": call["id"]} for call in calls
    ]
    said = [{"role": "assistant", "content": None, "tool_calls": calls}, *results]

    messages = translated({"messages": said}, CHAT, MESSAGES)["messages"]

    assert [block["id"] for block in messages[0]["content"]] == ["call_0", "call_1"]
    assert [(block["tool_use_id"], block["content"]) for block in messages[1]["content"]] == [
        ("call_0", "functions.f:0"),
        ("call_1", "functions.f:1"),
    ]


def test_items_of_an_answer_can_be_sent_back() -> None:
    """As clients do: `input += response.output`."""
    said = {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "phase": "final_answer",
        "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}],
    }
    call = {
        "type": "function_call",
        "id": "fc_1",
        "status": "completed",
        "call_id": "c",
        "name": "f",
        "arguments": "{}",
    }
    result = {"type": "function_call_output", "call_id": "c", "output": "rain", "name": "f"}

    assert turns_of(RESPONSES, {"input": [said, call, result]}) == (
        Turn("assistant", (Text("hello"), Call("c", "f"))),
        Turn("user", (Returned("c", "f", (Text("rain"),)),)),
    )


# --- schemas --------------------------------------------------------------------------------------


def test_a_schema_of_geminis_own_becomes_json_schema() -> None:
    own = {
        "type": "OBJECT",
        "title": "T",
        "properties": {
            "note": {"type": "STRING", "nullable": True, "maxLength": "80"},
            "mood": {"type": "STRING", "format": "enum", "enum": ["good", "bad"]},
            "left": {"type": "INTEGER", "format": "int32", "minimum": 0, "example": 3},
            "who": {"type": "ARRAY", "minItems": "1", "items": {"type": "STRING"}},
            "due_by": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}], "nullable": True},
            "size": {"type": "STRING", "enum": ["s", "l"], "nullable": True},
        },
        "required": ["mood"],
        "property_ordering": ["mood", "note"],
    }
    form = {
        **HI[GENERATE],
        "generationConfig": {"responseMimeType": "application/json", "responseSchema": own},
    }

    schema = translated(form, GENERATE, CHAT)["response_format"]["json_schema"]["schema"]

    wanted = {
        "type": "object",
        "title": "T",
        "required": ["mood"],
        "properties": {
            "mood": {"type": "string", "enum": ["good", "bad"]},
            "note": {"type": ["string", "null"], "maxLength": 80},
            "left": {"type": "integer", "format": "int32", "minimum": 0, "examples": [3]},
            "who": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "due_by": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]},
            "size": {"type": ["string", "null"], "enum": ["s", "l", None]},
        },
    }
    assert schema == wanted
    assert list(schema["properties"]) == ["mood", "note", "left", "who", "due_by", "size"]


def test_the_parameters_of_a_tool_become_json_schema_too() -> None:
    own = {"type": "OBJECT", "properties": {"place": {"type": "STRING"}}}
    declared = [{"name": "f", "parameters": own}, {"name": "g"}]
    form = {**HI[GENERATE], "tools": [{"functionDeclarations": declared}]}

    tools = translated(form, GENERATE, MESSAGES)["tools"]

    assert tools == [
        {
            "name": "f",
            "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
        },
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]


@pytest.mark.parametrize("target", [MESSAGES, GENERATE])
def test_what_is_said_of_a_schema_goes_into_it(target: Api) -> None:
    named = {"name": "mood", "description": "How it is.", "schema": ANSWER}
    form = {**HI[CHAT], "response_format": {"type": "json_schema", "json_schema": named}}

    written = translated(form, CHAT, target)

    schema = (
        written["output_config"]["format"]["schema"]
        if target == MESSAGES
        else written["generationConfig"]["responseJsonSchema"]
    )
    assert schema == {"description": "How it is.", **ANSWER}


# --- what is not carried --------------------------------------------------------------------------


def user(api: Api, part: Json) -> Json:
    """A prompt of this part alone."""
    match api:
        case "openai.responses":
            return {"input": [{"type": "message", "role": "user", "content": [part]}]}
        case "gemini.generate":
            return {"contents": [{"role": "user", "parts": [part]}]}
        case _:
            return {"messages": [{"role": "user", "content": [part]}]}


def said(api: Api, *blocks: Json) -> Json:
    """A conversation in which the assistant said this."""
    if api == GENERATE:
        return {"contents": [{"role": "model", "parts": [*blocks]}, *HI[GENERATE]["contents"]]}
    return {"messages": [{"role": "assistant", "content": [*blocks]}, *HI[api]["messages"]]}


FREE = ("parameters", "schema", "input_schema", "parametersJsonSchema", "responseJsonSchema")
"""Where an object stands that is not ours to read; so do what a tool takes and gives."""


def objects(value: Any, pointer: str = "") -> Iterator[tuple[str, Json]]:
    """Each object in a body that is read field by field."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict):
        yield pointer, value
    for key, inner in list(inside):
        is_free = key in FREE or (key in ("input", "args", "response") and isinstance(inner, dict))
        if isinstance(inner, dict | list) and not is_free:
            yield from objects(inner, f"{pointer}/{key}")


@pytest.mark.parametrize(("case", "api", "form"), FORMS)
def test_no_object_anywhere_may_hold_what_we_do_not_know(case: Case, api: Api, form: Json) -> None:
    body = msgspec.json.decode(encoded(api, form))

    for pointer, found in list(objects(body)):
        found["unheard_of"] = 1

        raised = refused(body, api, other(api))

        assert raised.pointer == f"{pointer}/unheard_of"
        del found["unheard_of"]


CALL: Json = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT: Json = {"role": "tool", "tool_call_id": "c", "content": "x"}

UNCARRIED: dict[Api, dict[str, Json]] = {
    CHAT: {
        "/n": {"n": 2},
        "/logprobs": {"logprobs": True},
        "/top_logprobs": {"top_logprobs": 3},
        "/logit_bias": {"logit_bias": {"5": 1}},
        "/audio": {"audio": {"voice": "a", "format": "mp3"}},
        "/modalities": {"modalities": ["text", "audio"]},
        "/prediction": {"prediction": {"type": "content", "content": "x"}},
        "/web_search_options": {"web_search_options": {}},
        "/functions": {"functions": [{"name": "f"}]},
        "/function_call": {"function_call": "auto"},
        "/stream": {"stream": True},
        "/stream_options": {"stream_options": {"include_usage": True}},
        "/service_tier": {"service_tier": "scale"},
        "/reasoning_effort": {"reasoning_effort": "huge"},
        "/moderation": {"moderation": {"model": "x"}},
        "/max_tokens": {"max_tokens": 5, "max_completion_tokens": 6},
        "/grammar": {"grammar": "of vLLM"},
        "/a~1b~0c": {"a/b~c": 1},
        "/response_format/type": {"response_format": {"type": "grammar"}},
        "/response_format/json_schema": {"response_format": {"type": "json_schema"}},
        "/tools/0/type": {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
        "/tools/0/function/extra": {
            "tools": [{"type": "function", "function": {"name": "f", "extra": 1}}]
        },
        "/tool_choice/type": {"tool_choice": {"type": "custom", "custom": {"name": "f"}}},
        "/tool_choice/allowed_tools/mode": {
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
        },
        "/messages/0/content/0/type": user(
            CHAT, {"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}
        ),
        "/messages/0/content/0/image_url/url": user(
            CHAT, {"type": "image_url", "image_url": {"url": "data:image/png,raw"}}
        ),
        "/messages/0/content/0/file": user(CHAT, {"type": "text", "text": "x", "file": {}}),
        "/messages/0/name": {"messages": [{"role": "user", "content": "x", "name": "Ann"}]},
        "/messages/0/role": {"messages": [{"role": "function", "name": "f", "content": "x"}]},
        "/messages/0/audio": {
            "messages": [{"role": "assistant", "audio": {"id": "a"}}, *HI[CHAT]["messages"]]
        },
        "/messages/0/reasoning_content": {
            "messages": [
                {"role": "assistant", "content": "x", "reasoning_content": "hm"},
                *HI[CHAT]["messages"],
            ]
        },
        "/messages/0/annotations": {
            "messages": [
                {"role": "assistant", "content": "x", "annotations": [{"type": "url_citation"}]},
                *HI[CHAT]["messages"],
            ]
        },
        "/messages/0/tool_calls/0/type": {
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]},
                *HI[CHAT]["messages"],
            ]
        },
        "/messages/0/tool_call_id": {
            "messages": [{"role": "tool", "tool_call_id": "nobody's", "content": "x"}]
        },
        "/messages/0/tool_calls/1/function/arguments": {
            "messages": [{"role": "assistant", "tool_calls": [CALL, CALL]}, *HI[CHAT]["messages"]]
        },
        "/messages/2/tool_call_id": {
            "messages": [{"role": "assistant", "tool_calls": [CALL]}, RESULT, RESULT]
        },
        "/messages/1/content/0": {
            "messages": [
                {"role": "assistant", "tool_calls": [CALL]},
                {**RESULT, "content": [{"type": "refusal", "refusal": "no"}]},
            ]
        },
        "/messages/1": {
            "messages": [*HI[CHAT]["messages"], {"role": "assistant", "content": "So"}]
        },
        "/messages/0": {"messages": ["hi"]},
        "/messages": {"messages": "hi"},
        "/temperature": {"temperature": "hot"},
        "/seed": {"seed": 1.5},
    },
    RESPONSES: {
        "/previous_response_id": {"previous_response_id": "resp_1"},
        "/conversation": {"conversation": "conv_1"},
        "/prompt": {"prompt": {"id": "p"}},
        "/background": {"background": True},
        "/include": {"include": ["message.output_text.logprobs"]},
        "/max_tool_calls": {"max_tool_calls": 3},
        "/truncation": {"truncation": "auto"},
        "/context_management": {"context_management": [{"type": "compaction"}]},
        "/reasoning/summary": {"reasoning": {"effort": "low", "summary": "auto"}},
        "/reasoning/mode": {"reasoning": {"mode": "pro"}},
        "/text/format/type": {"text": {"format": {"type": "grammar"}}},
        "/tools/0/type": {"tools": [{"type": "web_search"}]},
        "/tools/0/output_schema": {
            "tools": [{"type": "function", "name": "f", "output_schema": {"type": "object"}}]
        },
        "/tool_choice/type": {"tool_choice": {"type": "web_search"}},
        "/input/0/type": {"input": [{"type": "item_reference", "id": "msg_1"}]},
        "/input/0/encrypted_content": {
            "input": [{"role": "user", "content": "x", "encrypted_content": "…"}]
        },
        "/input/0/role": {"input": [{"role": "critic", "content": "x"}]},
        "/input/0/content/0/type": user(RESPONSES, {"type": "input_file", "file_id": "file-1"}),
        "/input/0/content/0/file_id": user(RESPONSES, {"type": "input_image", "file_id": "file-1"}),
        "/input/0/content/0/image_url": {
            "input": [
                {
                    "role": "system",
                    "content": [{"type": "input_image", "image_url": "https://a.example/b.png"}],
                }
            ]
        },
        "/input/0/content/0/annotations": {
            "input": [
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "output_text",
                            "text": "x",
                            "annotations": [{"type": "url_citation"}],
                        }
                    ],
                },
                *HI[RESPONSES]["input"],
            ]
        },
    },
    MESSAGES: {
        "/thinking/type": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        "/thinking": {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
        "/container": {"container": "c"},
        "/inference_geo": {"inference_geo": "us"},
        "/mcp_servers": {"mcp_servers": []},
        "/speed": {"speed": "fast"},
        "/stream": {"stream": True},
        "/output_config/task_budget": {"output_config": {"task_budget": {}}},
        "/output_config/format/type": {"output_config": {"format": {"type": "grammar"}}},
        "/tools/0/type": {"tools": [{"type": "web_search_20260318", "name": "web_search"}]},
        "/tools/0/input_examples": {
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "input_examples": [{}]}]
        },
        "/tool_choice/type": {"tool_choice": {"type": "some"}},
        "/messages/0/role": {"messages": [{"role": "tool", "content": "x"}]},
        "/messages/0/content/0/type": user(
            MESSAGES,
            {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}},
        ),
        "/messages/0/content/0/source/type": user(
            MESSAGES, {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
        ),
        "/messages/0/content/0/citations": user(
            MESSAGES, {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
        ),
        "/messages/0/content/0/tool_use_id": user(
            MESSAGES, {"type": "tool_result", "tool_use_id": "nobody's", "content": "x"}
        ),
        "/messages/1": {
            "messages": [*HI[MESSAGES]["messages"], {"role": "assistant", "content": "{"}]
        },
    },
    GENERATE: {
        "/cachedContent": {"cachedContent": "cachedContents/c1"},
        "/cached_content": {"cached_content": "cachedContents/c1"},
        "/safetySettings/0/threshold": {
            "safetySettings": [{"category": "c", "threshold": "BLOCK_LOW_AND_ABOVE"}]
        },
        "/generationConfig/candidateCount": {"generationConfig": {"candidateCount": 2}},
        "/generationConfig/responseLogprobs": {"generationConfig": {"responseLogprobs": True}},
        "/generationConfig/responseModalities": {
            "generationConfig": {"responseModalities": ["IMAGE"]}
        },
        "/generationConfig/responseMimeType": {
            "generationConfig": {"responseMimeType": "text/x.enum"}
        },
        "/generation_config/speech_config": {"generation_config": {"speech_config": {}}},
        "/generationConfig": {"generationConfig": {"topK": 1, "top_k": 2}},
        "/generationConfig/thinkingConfig/thinkingBudget": {
            "generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}}
        },
        "/generationConfig/thinkingConfig/includeThoughts": {
            "generationConfig": {"thinkingConfig": {"includeThoughts": True}}
        },
        "/generationConfig/responseJsonSchema": {
            "generationConfig": {"responseSchema": {}, "responseJsonSchema": {}}
        },
        "/generationConfig/responseSchema/properties/a/external": {
            "generationConfig": {
                "responseSchema": {"type": "OBJECT", "properties": {"a": {"external": 1}}}
            }
        },
        "/tools/0/googleSearch": {"tools": [{"googleSearch": {}}]},
        "/tools/0/functionDeclarations/0/response": {
            "tools": [{"functionDeclarations": [{"name": "f", "response": {}}]}]
        },
        "/toolConfig/retrievalConfig": {"toolConfig": {"retrievalConfig": {}}},
        "/toolConfig/functionCallingConfig/allowedFunctionNames": {
            "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["f"]}}
        },
        "/contents/0/role": {"contents": [{"role": "system", "parts": [{"text": "x"}]}]},
        "/contents/0/parts/0/inlineData/mimeType": user(
            GENERATE, {"inlineData": {"mimeType": "audio/mp3", "data": ""}}
        ),
        "/contents/0/parts/0/fileData/fileUri": user(
            GENERATE,
            {
                "fileData": {
                    "mimeType": "image/png",
                    "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                }
            },
        ),
        "/contents/0/parts/0/fileData/mimeType": user(
            GENERATE, {"fileData": {"fileUri": "https://video.example/watch"}}
        ),
        "/contents/0/parts/0/videoMetadata": user(GENERATE, {"text": "x", "videoMetadata": {}}),
        "/contents/0/parts/0/functionResponse/name": user(
            GENERATE, {"functionResponse": {"name": "f", "response": {}}}
        ),
    },
}
"""What each api alone can ask for: pointer -> the part of a body."""


@pytest.mark.parametrize(
    ("source", "pointer"),
    [(api, pointer) for api, by_pointer in UNCARRIED.items() for pointer in by_pointer],
)
def test_what_no_other_api_has_is_refused_by_name(source: Api, pointer: str) -> None:
    form = {**HI[source], **UNCARRIED[source][pointer]}

    raised = refused(form, source, other(source))

    assert raised.pointer == pointer
    assert str(raised).startswith(f"{pointer}: ")


THOUGHTS: dict[str, tuple[Api, Json, str]] = {
    "a block": (
        MESSAGES,
        said(MESSAGES, {"type": "thinking", "thinking": "hm", "signature": "s"}),
        "/messages/0/content/0/type",
    ),
    "a hidden block": (
        MESSAGES,
        said(MESSAGES, {"type": "redacted_thinking", "data": "s"}),
        "/messages/0/content/0/type",
    ),
    "an item": (
        RESPONSES,
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
        "/input/0/type",
    ),
    "a part": (
        GENERATE,
        said(GENERATE, {"text": "hm", "thought": True}),
        "/contents/0/parts/0/thought",
    ),
    "a signature": (
        GENERATE,
        said(GENERATE, {"text": "x", "thoughtSignature": "c2ln"}),
        "/contents/0/parts/0/thoughtSignature",
    ),
}


@pytest.mark.parametrize(("source", "form", "pointer"), THOUGHTS.values(), ids=THOUGHTS.keys())
def test_what_a_model_thought_is_not_shown_to_another(
    source: Api, form: Json, pointer: str
) -> None:
    assert refused(form, source, CHAT).pointer == pointer


FOR_ONE: dict[str, tuple[Api, Api, Json, str]] = {
    "a stop sequence": (CHAT, RESPONSES, {"stop": "x"}, "/stop"),
    "a stop sequence of Gemini's": (
        GENERATE,
        RESPONSES,
        {"generation_config": {"stop_sequences": ["x"]}},
        "/generation_config/stop_sequences",
    ),
    "a seed": (CHAT, MESSAGES, {"seed": 1}, "/seed"),
    "a seed of Gemini's": (
        GENERATE,
        RESPONSES,
        {"generationConfig": {"seed": 1}},
        "/generationConfig/seed",
    ),
    "a penalty": (CHAT, MESSAGES, {"frequency_penalty": 1}, "/frequency_penalty"),
    "heat": (CHAT, MESSAGES, {"temperature": 1.01}, "/temperature"),
    "the likeliest few": (MESSAGES, CHAT, {"top_k": 5}, "/top_k"),
    "verbosity": (CHAT, MESSAGES, {"verbosity": "low"}, "/verbosity"),
    "verbosity of Responses": (
        RESPONSES,
        GENERATE,
        {"text": {"verbosity": "low"}},
        "/text/verbosity",
    ),
    "an effort": (CHAT, GENERATE, {"reasoning_effort": "max"}, "/reasoning_effort"),
    "an effort of Responses": (
        RESPONSES,
        MESSAGES,
        {"reasoning": {"effort": "minimal"}},
        "/reasoning/effort",
    ),
    "an effort of Messages": (
        MESSAGES,
        GENERATE,
        {"output_config": {"effort": "max"}},
        "/output_config/effort",
    ),
    "one call at a time": (
        CHAT,
        GENERATE,
        {"parallel_tool_calls": False},
        "/parallel_tool_calls",
    ),
    "a tier": (CHAT, MESSAGES, {"service_tier": "flex"}, "/service_tier"),
    "JSON of any kind": (
        CHAT,
        MESSAGES,
        {"response_format": {"type": "json_object"}},
        "/response_format",
    ),
    "a schema described twice": (
        CHAT,
        GENERATE,
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "a",
                    "description": "d",
                    "schema": {"description": "e", "type": "object"},
                },
            }
        },
        "/response_format",
    ),
    "a choice among some tools": (
        GENERATE,
        MESSAGES,
        {
            "toolConfig": {
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}
            }
        },
        "/toolConfig/functionCallingConfig",
    ),
    "a tool that takes a text": (
        RESPONSES,
        MESSAGES,
        {"tools": [{"type": "function", "name": "f", "parameters": {"type": "string"}}]},
        "/tools/0",
    ),
    "an image by http": (
        CHAT,
        GENERATE,
        user(CHAT, {"type": "image_url", "image_url": {"url": "http://a.example/b.png"}}),
        "/messages/0/content/0/image_url/url",
    ),
    "an image of which nobody knows the kind": (
        MESSAGES,
        GENERATE,
        user(MESSAGES, {"type": "image", "source": {"type": "url", "url": "https://a.example/b"}}),
        "/messages/0/content/0/source/url",
    ),
    "an image of a kind that it does not take": (
        GENERATE,
        MESSAGES,
        user(GENERATE, {"inlineData": {"mimeType": "image/heic", "data": PNG}}),
        "/contents/0/parts/0/inlineData",
    ),
    "arguments that are none": (
        CHAT,
        MESSAGES,
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"place": "Os'},
                        }
                    ],
                },
                *HI[CHAT]["messages"],
            ]
        },
        "/messages/0/tool_calls/0/function/arguments",
    ),
    "instructions later on": (
        CHAT,
        GENERATE,
        {"messages": [*HI[CHAT]["messages"], {"role": "developer", "content": "be"}]},
        "/messages/1/content",
    ),
}


@pytest.mark.parametrize(
    ("source", "target", "beside", "pointer"), FOR_ONE.values(), ids=FOR_ONE.keys()
)
def test_what_the_target_lacks_is_refused_where_it_was_written(
    source: Api, target: Api, beside: Json, pointer: str
) -> None:
    assert refused({**HI[source], **beside}, source, target).pointer == pointer


@pytest.mark.parametrize(
    ("source", "pointer", "changes"),
    [
        (CHAT, "/messages", {"messages": []}),
        (CHAT, "/messages", {"messages": None}),
        (CHAT, "/messages/0/content", {"messages": [{"role": "user"}]}),
        (RESPONSES, "/input", {"input": []}),
        (RESPONSES, "/input", {"input": None}),
        (MESSAGES, "/messages", {"messages": []}),
        (MESSAGES, "/messages/0/content", {"messages": [{"role": "user"}]}),
        (MESSAGES, "/messages/0/role", {"messages": [{"role": "tool", "content": "x"}]}),
        (GENERATE, "/contents", {"contents": []}),
        (GENERATE, "/contents/0/parts", {"contents": [{"role": "user"}]}),
        (GENERATE, "/contents/0/parts", {"contents": [{"role": "user", "parts": []}]}),
    ],
)
def test_what_asks_nothing_is_refused_as_its_own_service_would(
    source: Api, pointer: str, changes: Any
) -> None:
    assert refused({**HI[source], **changes}, source, other(source)).pointer == pointer


def test_a_refusal_names_the_field() -> None:
    assert refused({**HI[CHAT], "a/b~c": 1}, CHAT, MESSAGES).field == "a/b~c"
    assert refused({"messages": ["hi"]}, CHAT, MESSAGES).field == "messages"


BROKEN = [b"", b"{", b"[]", b"null", b'"\xff"', b'{"a":"\\ud800"}', b"[" * 100_000]


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body[:8]))
@pytest.mark.parametrize("source", APIS)
def test_a_body_that_is_none_is_refused(source: Api, body: bytes) -> None:
    with pytest.raises(NotCarried, match=r"^the body: "):
        translate_body(body, source=source, target=other(source), model="m")


def test_a_body_that_is_nested_too_deeply_is_refused() -> None:
    schema: Json = {}
    for _ in range(700):
        schema = {"items": schema}
    declared = [{"name": "f", "parameters": schema}]
    form = {**HI[GENERATE], "tools": [{"functionDeclarations": declared}]}

    assert "nested too deeply" in str(refused(form, GENERATE, CHAT))


@given(st.binary(max_size=60), st.sampled_from(APIS))
def test_nothing_but_a_refusal_is_raised(body: bytes, source: Api) -> None:
    with suppress(NotCarried):
        translate_body(body, source=source, target=other(source), model="m")


@given(st.data(), st.sampled_from(FORMS), st.sampled_from(APIS))
def test_a_field_of_another_kind_is_carried_or_refused(data: Any, param: Any, target: Api) -> None:
    """One value anywhere in a body of the case table is replaced by something else."""
    _, source, form = param.values
    body = msgspec.json.decode(encoded(source, form))
    disturb(body, data)

    with suppress(NotCarried):
        translate_body(msgspec.json.encode(body), source=source, target=target, model="m")


@pytest.mark.parametrize(
    ("source", "name"), [(api, name) for api in APIS for name in sorted(LEFT_OUT[api])]
)
def test_harmless_fields_are_left_out(source: Api, name: str) -> None:
    """And these only: what else is dropped is no field of ours."""
    if name in ("id", "status", "phase"):
        form = {"input": [{**HI[RESPONSES]["input"][0], name: "x"}]}
    elif name == "displayName":
        blob = {"mimeType": "image/png", "data": PNG}
        form = user(source, {"inlineData": {**blob, name: "x"}})
        plain = user(source, {"inlineData": blob})
        assert translated(form, source, CHAT) == translated(plain, source, CHAT)
        return
    elif name == "prompt_cache_breakpoint":
        kind = "input_text" if source == RESPONSES else "text"
        form = user(source, {"type": kind, "text": "hi", name: {"mode": "explicit"}})
    else:
        form = {**HI[source], name: {"some": "thing"}}

    assert translated(form, source, other(source)) == translated(HI[source], source, other(source))


@pytest.mark.parametrize(
    ("source", "target", "can"),
    [
        (CHAT, MESSAGES, True),
        ("openai.embeddings", "gemini.embed", True),
        ("openai.moderations", "openai.moderations", True),
        ("openai.moderations", CHAT, False),
        (CHAT, "openai.images", False),
        (CHAT, "gemini.embed", False),
        ("openai.completions", CHAT, False),
    ],
)
def test_what_can_be_translated_at_all_is_known_beforehand(
    source: Api, target: Api, can: bool
) -> None:
    assert can_translate(source, target) is can
    if not can:
        with pytest.raises(NotCarried):
            translate_body(b"{}", source=source, target=target, model="m")


# --- there and back -------------------------------------------------------------------------------

NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
SAID = st.builds(Text, st.text(min_size=1, max_size=9))
IMAGES = st.builds(
    Image, st.sampled_from(("image/png", "image/webp")), st.sampled_from((PNG, "AAAA"))
)
LINKS = st.builds(Link, st.sampled_from(("https://a.example/b.png", "https://a.example/c.webp?d")))
ARGUMENTS = st.dictionaries(NAMES, st.integers() | st.text(max_size=5), max_size=2)
SCHEMAS = st.dictionaries(
    NAMES, st.sampled_from(({"type": "string"}, {"type": "integer"})), max_size=3
).map(lambda properties: {"type": "object", "properties": properties})
NUMBERS = st.floats(0, 1)


@st.composite
def exchanges(draw: Any, number: int) -> list[Turn]:
    """What the assistant said, perhaps with calls, and what came back."""
    spoken: list[Part] = draw(st.lists(SAID, max_size=2))
    asked = draw(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=2, min_size=0 if spoken else 1))
    calls = [
        Call(f"call-{number}_{place}", name, msgspec.json.encode(arguments).decode())
        for place, (name, arguments) in enumerate(asked)
    ]
    results = [
        Returned(call.id, call.name, tuple(draw(st.lists(SAID, min_size=1, max_size=3))))
        for call in calls
    ]
    more = draw(st.lists(SAID | IMAGES | LINKS, min_size=0 if results else 1, max_size=2))
    return [Turn("assistant", (*spoken, *calls)), Turn("user", (*results, *more))]


@st.composite
def conversations(draw: Any) -> Conversation:
    """What all four apis can say."""
    system = draw(st.lists(SAID, max_size=2))
    first = Turn("user", tuple(draw(st.lists(SAID | IMAGES | LINKS, min_size=1, max_size=3))))
    turns = [Turn("system", tuple(system))] if system else []
    turns.append(first)
    for number in range(draw(st.integers(0, 2))):
        turns += draw(exchanges(number))
    strict = draw(st.booleans())
    tools = draw(st.lists(st.builds(_tool(strict), name=NAMES, parameters=SCHEMAS), max_size=2))
    choice = draw(st.sampled_from(("auto", "none", "required"))) if tools and not strict else "auto"
    return Conversation(
        turns=tuple(turns),
        tools=tuple(tools),
        choice=choice,
        named=(tools[0].name,) if choice == "required" and draw(st.booleans()) else (),
        output=draw(st.just("text") | SCHEMAS.map(_schema)),
        max_tokens=draw(st.integers(1, 99)),
        temperature=draw(st.none() | NUMBERS),
        top_p=draw(st.none() | NUMBERS),
        effort=draw(st.sampled_from((None, "none", "low", "medium", "high", "xhigh"))),
    )


def _tool(strict: bool) -> Any:
    return lambda **given: Tool(strict=strict, **given)


def _schema(schema: Json) -> Schema:
    return Schema(schema=schema, strict=is_strict(schema))


@given(conversations(), st.sampled_from(APIS))
def test_what_is_written_is_read_as_it_was_said(said: Conversation, api: Api) -> None:
    body = msgspec.json.encode(WRITE[api](said))

    assert bare(READ[api](body)) == said


@given(conversations(), st.lists(st.sampled_from(APIS), min_size=2, max_size=4))
def test_any_way_through_the_apis_comes_out_the_same(said: Conversation, way: list[Api]) -> None:
    body = msgspec.json.encode(WRITE[way[0]](said))
    for source, target in pairwise(way):
        body = translate_body(body, source=source, target=target, model="m")

    assert bare(READ[way[-1]](body)) == said


def test_tools_are_those_of_the_table() -> None:
    """So that a tool in no case would be noticed."""
    assert set(WEATHER_IN) == set(APIS)
