"""One conversation and its form in each api; one answer and its form in each api."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st

from anybatch.core.model import Api, Json, Usage
from anybatch.wire import anthropic_messages, gemini_generate, openai_chat, openai_responses
from anybatch.wire.conversation import (
    Answer,
    Call,
    Conversation,
    Image,
    Link,
    Refusal,
    Returned,
    Schema,
    Text,
    Tool,
    Turn,
)

CHAT: Api = "openai.chat"
RESPONSES: Api = "openai.responses"
MESSAGES: Api = "anthropic.messages"
GENERATE: Api = "gemini.generate"
APIS = (CHAT, RESPONSES, MESSAGES, GENERATE)

READ = {
    CHAT: openai_chat.read_body,
    RESPONSES: openai_responses.read_body,
    MESSAGES: anthropic_messages.read_body,
    GENERATE: gemini_generate.read_body,
}
WRITE = {
    CHAT: lambda said: openai_chat.write_body(said, model="m"),
    RESPONSES: lambda said: openai_responses.write_body(said, model="m"),
    MESSAGES: lambda said: anthropic_messages.write_body(said, model="m", budget=64),
    GENERATE: gemini_generate.write_body,
}
READ_ANSWER = {
    CHAT: openai_chat.read_answer,
    RESPONSES: openai_responses.read_answer,
    MESSAGES: anthropic_messages.read_answer,
    GENERATE: gemini_generate.read_answer,
}
WRITE_ANSWER = {
    CHAT: openai_chat.write_answer,
    RESPONSES: openai_responses.write_answer,
    MESSAGES: anthropic_messages.write_answer,
    GENERATE: gemini_generate.write_answer,
}


def bare(said: Any) -> Any:
    """The same without where it was read."""
    if isinstance(said, tuple):
        return tuple(map(bare, said))
    if not isinstance(said, msgspec.Struct):
        return said
    kept = {name: bare(getattr(said, name)) for name in said.__struct_fields__}
    kept |= {name: empty for name, empty in (("at", ""), ("places", {})) if name in kept}
    return type(said)(**kept)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def disturb(value: Json, data: st.DataObject) -> None:
    """Put something else into one place of `value`, wherever that is."""
    holder, key = data.draw(st.sampled_from(list(_slots(value))))
    holder[key] = data.draw(JSON)


def _slots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a value that holds another."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(inside):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _slots(inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A conversation, and what of each api's body says it; None: the api cannot."""

    said: Conversation
    forms: dict[Api, Json | None]
    """Without what every body of the api has: see `whole`."""


def case(
    *turns: Turn,
    chat: Json | None,
    responses: Json | None,
    messages: Json | None,
    generate: Json | None,
    **settings: Any,
) -> Case:
    said = Conversation(turns=turns, **settings)
    forms = {CHAT: chat, RESPONSES: responses, MESSAGES: messages, GENERATE: generate}
    return Case(said=said, forms=forms)


def whole(api: Api, form: Json) -> Json:
    """A form as a body."""
    return {**_AROUND.get(api, {}), **form}


_AROUND: dict[Api, Json] = {
    CHAT: {"model": "m"},
    RESPONSES: {"model": "m", "store": False},
    MESSAGES: {"model": "m", "max_tokens": 64},
}


def setting(
    *,
    chat: Json | None = None,
    responses: Json | None = None,
    messages: Json | None = None,
    generate: Json | None = None,
    **settings: Any,
) -> Case:
    """The shortest prompt, with something asked of its answer."""
    forms = {CHAT: chat, RESPONSES: responses, MESSAGES: messages, GENERATE: generate}
    beside = {api: None if form is None else {**HI[api], **form} for api, form in forms.items()}
    return Case(said=Conversation(turns=(ASK,), **settings), forms=beside)


ASK = Turn("user", (Text("hi"),))
HI: dict[Api, Json] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"input": [{"type": "message", "role": "user", "content": "hi"}]},
    MESSAGES: {"messages": [{"role": "user", "content": "hi"}]},
    GENERATE: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}

PNG = "iVBORw0KGgo="
ADDRESS = "https://images.example/cat.PNG?size=1"
PLACE: Json = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}
WEATHER = Tool(name="weather", description="Of today.", parameters=PLACE)
BARE = Tool(name="now", parameters={"type": "object", "properties": {}})
STRICT = Tool(name="weather", parameters=PLACE, strict=True)
ANSWER: Json = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}

WEATHER_IN: dict[Api, Json] = {
    CHAT: {
        "type": "function",
        "function": {"name": "weather", "description": "Of today.", "parameters": PLACE},
    },
    RESPONSES: {
        "type": "function",
        "name": "weather",
        "description": "Of today.",
        "parameters": PLACE,
        "strict": False,
    },
    MESSAGES: {"name": "weather", "description": "Of today.", "input_schema": PLACE},
    GENERATE: {"name": "weather", "description": "Of today.", "parametersJsonSchema": PLACE},
}


def tools(api: Api, *more: Json) -> Json:
    given = [WEATHER_IN[api], *more]
    return {"tools": [{"functionDeclarations": given}] if api == GENERATE else given}


CASES: dict[str, Case] = {
    "a prompt": setting(chat={}, responses={}, messages={}, generate={}),
    "a system text": case(
        Turn("system", (Text("be"),)),
        ASK,
        chat={
            "messages": [
                {"role": "system", "content": "be"},
                {"role": "user", "content": "hi"},
            ]
        },
        responses={"instructions": "be", **HI[RESPONSES]},
        messages={"system": "be", **HI[MESSAGES]},
        generate={"systemInstruction": {"parts": [{"text": "be"}]}, **HI[GENERATE]},
    ),
    "a system text in parts": case(
        Turn("system", (Text("be"), Text("kind"))),
        ASK,
        chat={
            "messages": [
                {
                    "role": "system",
                    "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "kind"}],
                },
                {"role": "user", "content": "hi"},
            ]
        },
        responses={
            "input": [
                {
                    "type": "message",
                    "role": "system",
                    "content": [
                        {"type": "input_text", "text": "be"},
                        {"type": "input_text", "text": "kind"},
                    ],
                },
                *HI[RESPONSES]["input"],
            ]
        },
        messages={
            "system": [{"type": "text", "text": "be"}, {"type": "text", "text": "kind"}],
            **HI[MESSAGES],
        },
        generate={
            "systemInstruction": {"parts": [{"text": "be"}, {"text": "kind"}]},
            **HI[GENERATE],
        },
    ),
    "a system text later on": case(
        ASK,
        Turn("system", (Text("be"),)),
        Turn("user", (Text("well?"),)),
        chat={
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "system", "content": "be"},
                {"role": "user", "content": "well?"},
            ]
        },
        responses={
            "input": [
                {"type": "message", "role": "user", "content": "hi"},
                {"type": "message", "role": "system", "content": "be"},
                {"type": "message", "role": "user", "content": "well?"},
            ]
        },
        messages={
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "system", "content": "be"},
                {"role": "user", "content": "well?"},
            ]
        },
        generate=None,
    ),
    "turns": case(
        ASK,
        Turn("assistant", (Text("hello"),)),
        Turn("user", (Text("how"), Text("are you"))),
        chat={
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "how"},
                        {"type": "text", "text": "are you"},
                    ],
                },
            ]
        },
        responses={
            "input": [
                {"type": "message", "role": "user", "content": "hi"},
                {"type": "message", "role": "assistant", "content": "hello"},
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "how"},
                        {"type": "input_text", "text": "are you"},
                    ],
                },
            ]
        },
        messages={
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "how"},
                        {"type": "text", "text": "are you"},
                    ],
                },
            ]
        },
        generate={
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"text": "hello"}]},
                {"role": "user", "parts": [{"text": "how"}, {"text": "are you"}]},
            ]
        },
    ),
    "images": case(
        Turn("user", (Text("what?"), Image("image/png", PNG), Link(ADDRESS))),
        chat={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what?"},
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/png;base64,{PNG}"},
                        },
                        {"type": "image_url", "image_url": {"url": ADDRESS}},
                    ],
                }
            ]
        },
        responses={
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "what?"},
                        {
                            "type": "input_image",
                            "image_url": f"data:image/png;base64,{PNG}",
                            "detail": "auto",
                        },
                        {"type": "input_image", "image_url": ADDRESS, "detail": "auto"},
                    ],
                }
            ]
        },
        messages={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what?"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                        {"type": "image", "source": {"type": "url", "url": ADDRESS}},
                    ],
                }
            ]
        },
        generate={
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "what?"},
                        {"inlineData": {"mimeType": "image/png", "data": PNG}},
                        {"fileData": {"mimeType": "image/png", "fileUri": ADDRESS}},
                    ],
                }
            ]
        },
    ),
    "an image to be looked at closely": case(
        Turn("user", (Image("image/png", PNG, detail="high"),)),
        chat={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"},
                        }
                    ],
                }
            ]
        },
        responses={
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {
                            "type": "input_image",
                            "image_url": f"data:image/png;base64,{PNG}",
                            "detail": "high",
                        }
                    ],
                }
            ]
        },
        messages=None,
        generate=None,
    ),
    "tools": setting(
        tools=(WEATHER, BARE),
        chat=tools(
            CHAT,
            {"type": "function", "function": {"name": "now", "parameters": BARE.parameters}},
        ),
        responses=tools(
            RESPONSES,
            {"type": "function", "name": "now", "parameters": BARE.parameters, "strict": False},
        ),
        messages=tools(MESSAGES, {"name": "now", "input_schema": BARE.parameters}),
        generate=tools(GENERATE, {"name": "now", "parametersJsonSchema": BARE.parameters}),
    ),
    "strict tools": setting(
        tools=(STRICT,),
        chat={
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "weather", "parameters": PLACE, "strict": True},
                }
            ]
        },
        responses={
            "tools": [{"type": "function", "name": "weather", "parameters": PLACE, "strict": True}]
        },
        messages={"tools": [{"name": "weather", "input_schema": PLACE, "strict": True}]},
        generate={
            "tools": [
                {"functionDeclarations": [{"name": "weather", "parametersJsonSchema": PLACE}]}
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
        },
    ),
    "no tool": setting(
        tools=(WEATHER,),
        choice="none",
        chat={**tools(CHAT), "tool_choice": "none"},
        responses={**tools(RESPONSES), "tool_choice": "none"},
        messages={**tools(MESSAGES), "tool_choice": {"type": "none"}},
        generate={**tools(GENERATE), "toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
    ),
    "any tool": setting(
        tools=(WEATHER,),
        choice="required",
        chat={**tools(CHAT), "tool_choice": "required"},
        responses={**tools(RESPONSES), "tool_choice": "required"},
        messages={**tools(MESSAGES), "tool_choice": {"type": "any"}},
        generate={**tools(GENERATE), "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    ),
    "this tool": setting(
        tools=(WEATHER,),
        choice="required",
        named=("weather",),
        chat={
            **tools(CHAT),
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
        },
        responses={**tools(RESPONSES), "tool_choice": {"type": "function", "name": "weather"}},
        messages={**tools(MESSAGES), "tool_choice": {"type": "tool", "name": "weather"}},
        generate={
            **tools(GENERATE),
            "toolConfig": {
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}
            },
        },
    ),
    "one of these tools": setting(
        tools=(WEATHER,),
        choice="required",
        named=("weather", "now"),
        chat={
            **tools(CHAT),
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "weather"}},
                        {"type": "function", "function": {"name": "now"}},
                    ],
                },
            },
        },
        responses={
            **tools(RESPONSES),
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [
                    {"type": "function", "name": "weather"},
                    {"type": "function", "name": "now"},
                ],
            },
        },
        generate={
            **tools(GENERATE),
            "toolConfig": {
                "functionCallingConfig": {
                    "mode": "ANY",
                    "allowedFunctionNames": ["weather", "now"],
                }
            },
        },
    ),
    "one call at a time": setting(
        tools=(WEATHER,),
        one_call=True,
        chat={**tools(CHAT), "parallel_tool_calls": False},
        responses={**tools(RESPONSES), "parallel_tool_calls": False},
        messages={
            **tools(MESSAGES),
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
    ),
    "calls and their results": case(
        ASK,
        Turn(
            "assistant",
            (
                Text("I look."),
                Call("call_a", "weather", '{"place":"Oslo"}'),
                Call("call_b", "weather", '{"place":"Rome"}'),
            ),
        ),
        Turn(
            "user",
            (
                Returned("call_a", "weather", (Text("rain"),)),
                Returned("call_b", "weather", (Text("sun"), Text("wind"))),
                Text("So?"),
            ),
        ),
        chat={
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [
                        {
                            "id": "call_a",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"place":"Oslo"}'},
                        },
                        {
                            "id": "call_b",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"place":"Rome"}'},
                        },
                    ],
                },
                {"role": "tool", "tool_call_id": "call_a", "content": "rain"},
                {
                    "role": "tool",
                    "tool_call_id": "call_b",
                    "content": [{"type": "text", "text": "sun"}, {"type": "text", "text": "wind"}],
                },
                {"role": "user", "content": "So?"},
            ]
        },
        responses={
            "input": [
                {"type": "message", "role": "user", "content": "hi"},
                {"type": "message", "role": "assistant", "content": "I look."},
                {
                    "type": "function_call",
                    "call_id": "call_a",
                    "name": "weather",
                    "arguments": '{"place":"Oslo"}',
                },
                {
                    "type": "function_call",
                    "call_id": "call_b",
                    "name": "weather",
                    "arguments": '{"place":"Rome"}',
                },
                {"type": "function_call_output", "call_id": "call_a", "output": "rain"},
                {
                    "type": "function_call_output",
                    "call_id": "call_b",
                    "output": [
                        {"type": "input_text", "text": "sun"},
                        {"type": "input_text", "text": "wind"},
                    ],
                },
                {"type": "message", "role": "user", "content": "So?"},
            ]
        },
        messages={
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "I look."},
                        {
                            "type": "tool_use",
                            "id": "call_a",
                            "name": "weather",
                            "input": {"place": "Oslo"},
                        },
                        {
                            "type": "tool_use",
                            "id": "call_b",
                            "name": "weather",
                            "input": {"place": "Rome"},
                        },
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "call_a", "content": "rain"},
                        {
                            "type": "tool_result",
                            "tool_use_id": "call_b",
                            "content": [
                                {"type": "text", "text": "sun"},
                                {"type": "text", "text": "wind"},
                            ],
                        },
                        {"type": "text", "text": "So?"},
                    ],
                },
            ]
        },
        generate={
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {
                    "role": "model",
                    "parts": [
                        {"text": "I look."},
                        {
                            "functionCall": {
                                "id": "call_a",
                                "name": "weather",
                                "args": {"place": "Oslo"},
                            },
                            "thoughtSignature": "skip_thought_signature_validator",
                        },
                        {
                            "functionCall": {
                                "id": "call_b",
                                "name": "weather",
                                "args": {"place": "Rome"},
                            }
                        },
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {
                            "functionResponse": {
                                "id": "call_a",
                                "name": "weather",
                                "response": {"output": "rain"},
                            }
                        },
                        {
                            "functionResponse": {
                                "id": "call_b",
                                "name": "weather",
                                "response": {"output": ["sun", "wind"]},
                            }
                        },
                        {"text": "So?"},
                    ],
                },
            ]
        },
    ),
    "a tool that failed": case(
        ASK,
        Turn("assistant", (Call("call_a", "now"),)),
        Turn("user", (Returned("call_a", "now", (Text("no clock"),), failed=True),)),
        chat=None,
        responses=None,
        messages={
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "call_a", "name": "now", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "call_a",
                            "content": "no clock",
                            "is_error": True,
                        }
                    ],
                },
            ]
        },
        generate={
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {
                    "role": "model",
                    "parts": [
                        {
                            "functionCall": {"id": "call_a", "name": "now", "args": {}},
                            "thoughtSignature": "skip_thought_signature_validator",
                        }
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {
                            "functionResponse": {
                                "id": "call_a",
                                "name": "now",
                                "response": {"error": "no clock"},
                            }
                        }
                    ],
                },
            ]
        },
    ),
    "a tool that shows an image": case(
        ASK,
        Turn("assistant", (Call("call_a", "now"),)),
        Turn("user", (Returned("call_a", "now", (Text("see"), Image("image/png", PNG))),)),
        chat=None,
        responses={
            "input": [
                {"type": "message", "role": "user", "content": "hi"},
                {"type": "function_call", "call_id": "call_a", "name": "now", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "call_a",
                    "output": [
                        {"type": "input_text", "text": "see"},
                        {
                            "type": "input_image",
                            "image_url": f"data:image/png;base64,{PNG}",
                            "detail": "auto",
                        },
                    ],
                },
            ]
        },
        messages={
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "call_a", "name": "now", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "call_a",
                            "content": [
                                {"type": "text", "text": "see"},
                                {
                                    "type": "image",
                                    "source": {
                                        "type": "base64",
                                        "media_type": "image/png",
                                        "data": PNG,
                                    },
                                },
                            ],
                        }
                    ],
                },
            ]
        },
        generate={
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {
                    "role": "model",
                    "parts": [
                        {
                            "functionCall": {"id": "call_a", "name": "now", "args": {}},
                            "thoughtSignature": "skip_thought_signature_validator",
                        }
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {
                            "functionResponse": {
                                "id": "call_a",
                                "name": "now",
                                "response": {"output": "see"},
                                "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                            }
                        }
                    ],
                },
            ]
        },
    ),
    "a schema": setting(
        output=Schema(schema=ANSWER),
        chat={
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": ANSWER, "strict": True},
            }
        },
        responses={
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "answer",
                    "schema": ANSWER,
                    "strict": True,
                }
            }
        },
        messages={"output_config": {"format": {"type": "json_schema", "schema": ANSWER}}},
        generate={
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseJsonSchema": ANSWER,
            }
        },
    ),
    "JSON of any kind": setting(
        output="json",
        chat={"response_format": {"type": "json_object"}},
        responses={"text": {"format": {"type": "json_object"}}},
        generate={"generationConfig": {"responseMimeType": "application/json"}},
    ),
    "a cap": setting(
        max_tokens=9,
        chat={"max_completion_tokens": 9},
        responses={"max_output_tokens": 9},
        messages={"max_tokens": 9},
        generate={"generationConfig": {"maxOutputTokens": 9}},
    ),
    "sampling": setting(
        temperature=0.5,
        top_p=0.25,
        chat={"temperature": 0.5, "top_p": 0.25},
        responses={"temperature": 0.5, "top_p": 0.25},
        messages={"temperature": 0.5, "top_p": 0.25},
        generate={"generationConfig": {"temperature": 0.5, "topP": 0.25}},
    ),
    "the coldest": setting(
        temperature=0,
        chat={"temperature": 0},
        responses={"temperature": 0},
        messages={"temperature": 0},
        generate={"generationConfig": {"temperature": 0}},
    ),
    "hotter than one": setting(
        temperature=1.5,
        chat={"temperature": 1.5},
        responses={"temperature": 1.5},
        generate={"generationConfig": {"temperature": 1.5}},
    ),
    "the likeliest few": setting(
        top_k=40,
        messages={"top_k": 40},
        generate={"generationConfig": {"topK": 40}},
    ),
    "a seed": setting(
        seed=7,
        chat={"seed": 7},
        generate={"generationConfig": {"seed": 7}},
    ),
    "penalties": setting(
        frequency_penalty=0.5,
        presence_penalty=-1,
        chat={"frequency_penalty": 0.5, "presence_penalty": -1},
        generate={"generationConfig": {"frequencyPenalty": 0.5, "presencePenalty": -1}},
    ),
    "stop sequences": setting(
        stop=("END", "\n\n"),
        chat={"stop": ["END", "\n\n"]},
        messages={"stop_sequences": ["END", "\n\n"]},
        generate={"generationConfig": {"stopSequences": ["END", "\n\n"]}},
    ),
    "an effort": setting(
        effort="low",
        chat={"reasoning_effort": "low"},
        responses={"reasoning": {"effort": "low"}},
        messages={"output_config": {"effort": "low"}},
        generate={"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
    ),
    "no thinking": setting(
        effort="none",
        chat={"reasoning_effort": "none"},
        responses={"reasoning": {"effort": "none"}},
        messages={"thinking": {"type": "disabled"}},
        generate={"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
    ),
    "hardly any thinking": setting(
        effort="minimal",
        chat={"reasoning_effort": "minimal"},
        responses={"reasoning": {"effort": "minimal"}},
        generate={"generationConfig": {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}},
    ),
    "all the thinking": setting(
        effort="max",
        chat={"reasoning_effort": "max"},
        responses={"reasoning": {"effort": "max"}},
        messages={"output_config": {"effort": "max"}},
    ),
    "few words": setting(
        verbosity="low",
        chat={"verbosity": "low"},
        responses={"text": {"verbosity": "low"}},
    ),
    "a slow and cheap tier": setting(
        tier="flex",
        chat={"service_tier": "flex"},
        responses={"service_tier": "flex"},
        generate={"serviceTier": "flex"},
    ),
}

REFUSED_BEFORE = case(
    ASK,
    Turn("assistant", (Refusal("I will not."),)),
    Turn("user", (Text("please"),)),
    chat={
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "refusal": "I will not."},
            {"role": "user", "content": "please"},
        ]
    },
    responses={
        "input": [
            {"type": "message", "role": "user", "content": "hi"},
            {"type": "message", "role": "assistant", "content": "I will not."},
            {"type": "message", "role": "user", "content": "please"},
        ]
    },
    messages={
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "I will not."},
            {"role": "user", "content": "please"},
        ]
    },
    generate={
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"text": "I will not."}]},
            {"role": "user", "parts": [{"text": "please"}]},
        ]
    },
)
"""Only chat has a word of its own for it that may be sent back."""


# --- answers --------------------------------------------------------------------------------------

USAGE = Usage(tokens_in=30, tokens_out=12, cached=10, reasoning=5)

USAGE_IN: dict[Api, Json] = {
    CHAT: {
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "total_tokens": 42,
        "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
    RESPONSES: {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 0},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 42,
    },
    MESSAGES: {
        "input_tokens": 20,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 10,
        "output_tokens": 12,
        "output_tokens_details": {"thinking_tokens": 5},
    },
    GENERATE: {
        "promptTokenCount": 30,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 10,
        "totalTokenCount": 42,
    },
}

CALLS = (Call("call_a", "weather", '{"place":"Oslo"}'), Call("call_b", "now", "{}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCase:
    """An answer, and what of each api's says it."""

    said: Answer
    forms: dict[Api, Json]
    """What stands where each api has its answer: see `whole_answer`."""
    alike: tuple[Api, ...] = field(default=APIS)
    """Those that read it back as it is; the others have a coarser word for how it ended."""


def answer(
    *, chat: Json, responses: Json, messages: Json, generate: Json, said: Json, alike: Any = APIS
) -> AnswerCase:
    forms = {CHAT: chat, RESPONSES: responses, MESSAGES: messages, GENERATE: generate}
    told = Answer(usage=USAGE, model="m", **said)
    return AnswerCase(said=told, forms=forms, alike=alike)


def whole_answer(api: Api, form: Json) -> Json:
    """A form as the body of a reply, without what a `Frame` adds."""
    match api:
        case "openai.chat":
            message = {"role": "assistant", "refusal": None, "annotations": []}
            choice = {
                "index": 0,
                "logprobs": None,
                "finish_reason": form["finish_reason"],
                "message": {**message, **form["message"]},
            }
            around: Json = {"object": "chat.completion", "choices": [choice]}
        case "openai.responses":
            around = {
                "object": "response",
                "status": "completed",
                "incomplete_details": None,
                "error": None,
                **form,
            }
        case "anthropic.messages":
            around = {
                "type": "message",
                "role": "assistant",
                "stop_sequence": None,
                "stop_details": None,
                **form,
            }
        case _:
            around = {"candidates": [{"index": 0, **form}]}
    usage = "usageMetadata" if api == GENERATE else "usage"
    model = "modelVersion" if api == GENERATE else "model"
    return {**around, model: "m", usage: USAGE_IN[api]}


def said_in(text: str, *, status: str = "completed") -> Json:
    """A message among the output of Responses."""
    content = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return message_in(content, status=status)


def message_in(content: Json, *, status: str = "completed") -> Json:
    return {
        "type": "message",
        "id": "msg_7",
        "status": status,
        "role": "assistant",
        "content": [content],
    }


ANSWERS: dict[str, AnswerCase] = {
    "a text": answer(
        said={"text": "hello"},
        chat={"message": {"content": "hello"}, "finish_reason": "stop"},
        responses={"output": [said_in("hello")]},
        messages={"content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"},
        generate={
            "content": {"role": "model", "parts": [{"text": "hello"}]},
            "finishReason": "STOP",
        },
    ),
    "calls": answer(
        said={"text": "I look.", "calls": CALLS, "stop": "calls"},
        chat={
            "message": {
                "content": "I look.",
                "tool_calls": [
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"place":"Oslo"}'},
                    },
                    {
                        "id": "call_b",
                        "type": "function",
                        "function": {"name": "now", "arguments": "{}"},
                    },
                ],
            },
            "finish_reason": "tool_calls",
        },
        responses={
            "output": [
                said_in("I look."),
                {
                    "type": "function_call",
                    "id": "fc_7_0",
                    "status": "completed",
                    "call_id": "call_a",
                    "name": "weather",
                    "arguments": '{"place":"Oslo"}',
                },
                {
                    "type": "function_call",
                    "id": "fc_7_1",
                    "status": "completed",
                    "call_id": "call_b",
                    "name": "now",
                    "arguments": "{}",
                },
            ]
        },
        messages={
            "content": [
                {"type": "text", "text": "I look."},
                {
                    "type": "tool_use",
                    "id": "call_a",
                    "name": "weather",
                    "input": {"place": "Oslo"},
                },
                {"type": "tool_use", "id": "call_b", "name": "now", "input": {}},
            ],
            "stop_reason": "tool_use",
        },
        generate={
            "content": {
                "role": "model",
                "parts": [
                    {"text": "I look."},
                    {
                        "functionCall": {
                            "id": "call_a",
                            "name": "weather",
                            "args": {"place": "Oslo"},
                        }
                    },
                    {"functionCall": {"id": "call_b", "name": "now", "args": {}}},
                ],
            },
            "finishReason": "STOP",
        },
    ),
    "half a text": answer(
        said={"text": "hel", "stop": "length"},
        chat={"message": {"content": "hel"}, "finish_reason": "length"},
        responses={
            "output": [said_in("hel", status="incomplete")],
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
        },
        messages={"content": [{"type": "text", "text": "hel"}], "stop_reason": "max_tokens"},
        generate={
            "content": {"role": "model", "parts": [{"text": "hel"}]},
            "finishReason": "MAX_TOKENS",
        },
    ),
    "nothing but thoughts": answer(
        said={"stop": "length"},
        chat={"message": {"content": None}, "finish_reason": "length"},
        responses={
            "output": [],
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
        },
        messages={"content": [], "stop_reason": "max_tokens"},
        generate={"finishReason": "MAX_TOKENS"},
    ),
    "a full context": answer(
        said={"text": "hel", "stop": "full"},
        chat={"message": {"content": "hel"}, "finish_reason": "length"},
        responses={
            "output": [said_in("hel", status="incomplete")],
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
        },
        messages={
            "content": [{"type": "text", "text": "hel"}],
            "stop_reason": "model_context_window_exceeded",
        },
        generate={
            "content": {"role": "model", "parts": [{"text": "hel"}]},
            "finishReason": "MAX_TOKENS",
        },
        alike=(MESSAGES,),
    ),
    "a stop sequence": answer(
        said={"text": "one", "stop": "sequence", "sequence": "END"},
        chat={"message": {"content": "one"}, "finish_reason": "stop"},
        responses={"output": [said_in("one")]},
        messages={
            "content": [{"type": "text", "text": "one"}],
            "stop_reason": "stop_sequence",
            "stop_sequence": "END",
        },
        generate={
            "content": {"role": "model", "parts": [{"text": "one"}]},
            "finishReason": "STOP",
        },
        alike=(MESSAGES,),
    ),
    "a refusal": answer(
        said={"stop": "refused", "why": "I will not."},
        chat={
            "message": {"content": None, "refusal": "I will not."},
            "finish_reason": "stop",
        },
        responses={"output": [message_in({"type": "refusal", "refusal": "I will not."})]},
        messages={
            "content": [],
            "stop_reason": "refusal",
            "stop_details": {"type": "refusal", "category": None, "explanation": "I will not."},
        },
        generate={"finishReason": "SAFETY", "finishMessage": "I will not."},
        alike=(CHAT, RESPONSES, MESSAGES),
    ),
    "a blocked answer": answer(
        said={"stop": "blocked", "why": "a content filter stopped the answer"},
        chat={"message": {"content": None}, "finish_reason": "content_filter"},
        responses={
            "output": [],
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
        },
        messages={
            "content": [],
            "stop_reason": "refusal",
            "stop_details": {
                "type": "refusal",
                "category": None,
                "explanation": "a content filter stopped the answer",
            },
        },
        generate={
            "finishReason": "SAFETY",
            "finishMessage": "a content filter stopped the answer",
        },
        alike=(CHAT, RESPONSES, GENERATE),
    ),
}
