"""OpenAI's Chat Completions, to and from what is said in them.

Shapes as of the official SDK 3.52 and the OpenAPI description of 2026-08-21, checked 2026-11-20.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..core.model import Api, Json
from . import openai
from .conversation import (
    EFFORTS,
    NO_PARAMETERS,
    Answer,
    Call,
    Conversation,
    Frame,
    Image,
    Link,
    Output,
    Part,
    Refusal,
    Returned,
    Schema,
    Stop,
    Text,
    Tier,
    Tool,
    Turn,
    Turns,
    answered,
    image_of,
    joined,
    read_numbers,
    sound,
    url_of,
    write_numbers,
)
from .reading import given
from .strict import Fields, Harmless, NotCarried, fields_of

API: Api = "openai.chat"

LEFT_OUT = frozenset(
    (
        *("user", "metadata", "store", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        "prompt_cache_breakpoint",
    )
)
"""Fields that are harmless to leave out: who asks, how it is filed, what is cached."""

IDLE: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stream": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "functions": ([],),
    "annotations": ([],),
}
"""Values that ask for what is the case anyway."""

_NUMBERS = {
    "max_tokens": "max_completion_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_TIERS: Mapping[str, Tier] = {"flex": "flex", "priority": "priority"}
_VERBOSITIES = {"low": "low", "high": "high"}

# --- bodies ---------------------------------------------------------------------------------------


def read_body(body: bytes) -> Conversation:
    """What a body asks for. Raises NotCarried."""
    found = fields_of(body, harmless=Harmless(LEFT_OUT, IDLE))
    found.any("model")
    turns = Turns()
    for message in found.some("messages"):
        _read_message(message, turns)
    numbers, places = read_numbers(found, _cap_named(found))
    asked = Conversation(
        turns=turns.done(),
        tools=tuple(map(_read_tool, found.each("tools"))),
        output=_read_format(found.inner("response_format")),
        stop=found.texts("stop"),
        effort=found.word("reasoning_effort", EFFORTS),
        verbosity=read_verbosity(found),
        tier=read_tier(found),
        one_call=found.flag("parallel_tool_calls") is False,
        **_read_choice(found),
        **numbers,
        places={**{ours: found.at(name) for ours, name in _PLACES.items()}, **places},
    )
    found.end()
    return asked


_PLACES = {
    "output": "response_format",
    "stop": "stop",
    "effort": "reasoning_effort",
    "verbosity": "verbosity",
    "tier": "service_tier",
    "one_call": "parallel_tool_calls",
    "choice": "tool_choice",
    "named": "tool_choice",
}


def _cap_named(found: Fields) -> Mapping[str, str]:
    """Under which names the numbers stand: the cap has an older one, and some send both."""
    cap = found.peek("max_completion_tokens")
    if cap is None:
        return {**_NUMBERS, "max_tokens": "max_tokens"}
    if found.peek("max_tokens") == cap:
        found.any("max_tokens")
    return _NUMBERS


def read_tier(found: Fields) -> Tier | None:
    return found.word("service_tier", _TIERS, idle=("auto", "default"))


def read_verbosity(found: Fields) -> str | None:
    return found.word("verbosity", _VERBOSITIES, idle=("medium",))


def _read_message(message: Fields, turns: Turns) -> None:
    role, at = message.need("role"), message.pointer
    if role != "assistant" and "content" not in message:
        message.refuse("content", "it is missing")
    match role:
        case "system" | "developer" | "user":
            turns.add(role, _read_parts(message), at=at)
        case "assistant":
            turns.add(role, [*_read_parts(message), *_read_calls(message, turns)], at=at)
        case "tool":
            id, parts = message.need("tool_call_id"), _read_parts(message)
            turns.add("user", [turns.result(id, parts, at=message.at("tool_call_id"))], at=at)
        case _:
            message.refuse("role", f"{role!r} is not carried")


def _read_parts(message: Fields) -> list[Part]:
    content = message.text_or_each("content")
    if isinstance(content, str):
        return [Text(content, message.at("content"))]
    return [_read_part(part) for part in content]


def _read_part(part: Fields) -> Part:
    kind, at = part.need("type"), part.pointer
    match kind:
        case "text":
            return Text(part.need("text"), at)
        case "refusal":
            return Refusal(part.need("refusal"), at)
        case "image_url":
            image = part.need_inner("image_url")
            return image_of(image.need("url"), detail=read_detail(image), at=image.at("url"))
        case _:
            part.refuse("type", f"{kind!r} is not carried")


def read_detail(image: Fields) -> str | None:
    detail = image.text("detail")
    return None if detail == "auto" else detail


def _read_calls(message: Fields, turns: Turns) -> Iterator[Part]:
    refusal = message.text("refusal")
    if refusal:
        yield Refusal(refusal, message.at("refusal"))
    for call in message.each("tool_calls"):
        if call.need("type") != "function":
            call.refuse("type", "only functions are carried")
        function = call.need_inner("function")
        name, arguments = function.need("name"), function.text("arguments") or ""
        yield turns.call(call.need("id"), name, arguments, at=function.at("arguments"))


def _read_tool(tool: Fields) -> Tool:
    if tool.need("type") != "function":
        tool.refuse("type", "only functions are carried")
    function = tool.need_inner("function")
    return Tool(
        name=function.need("name"),
        description=function.text("description"),
        parameters=function.json("parameters") or NO_PARAMETERS,
        strict=function.flag("strict") or False,
        at=function.pointer,
    )


def _read_choice(found: Fields) -> Json:
    choice = read_choice(found)
    if not isinstance(choice, Fields):
        return choice
    if choice.peek("type") != "allowed_tools":
        return {"choice": "required", "named": (_named(choice),)}
    choice.any("type")
    return read_allowed(choice.need_inner("allowed_tools"), named=_named)


def read_choice(found: Fields) -> Json | Fields:
    """The fields of a Conversation that say which tools are called, where a word says that."""
    if isinstance(found.peek("tool_choice"), dict):
        return found.need_inner("tool_choice")
    return found.word("tool_choice", _CHOICES, idle=("auto",)) or {}


_CHOICES: Mapping[str, Json] = {"none": {"choice": "none"}, "required": {"choice": "required"}}


def _named(tool: Fields) -> str:
    if tool.need("type") != "function":
        tool.refuse("type", "only functions are carried")
    return tool.need_inner("function").need("name")


def read_allowed(allowed: Fields, *, named: Callable[[Fields], str]) -> Json:
    """The same for a choice among some tools, of which one has to be called."""
    if allowed.need("mode") != "required":
        allowed.refuse("mode", "a choice among some tools is carried where one is 'required'")
    return {"choice": "required", "named": tuple(map(named, allowed.each("tools")))}


def _read_format(wanted: Fields | None) -> Output:
    kind = "text" if wanted is None else wanted.need("type")
    if wanted is None or kind == "text":
        return "text"
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        wanted.refuse("type", f"{kind!r} is not carried")
    return read_schema(wanted.need_inner("json_schema"))


def read_schema(found: Fields) -> Schema:
    return Schema(
        name=found.text("name") or "answer",
        description=found.text("description"),
        schema=found.json("schema") or {},
        strict=found.flag("strict") or False,
    )


def write_body(asked: Conversation, *, model: str) -> Json:
    """The body that asks `model` for this. Raises NotCarried."""
    body: Json = {"model": model}
    body["messages"] = [message for turn in asked.turns for message in _write_turn(turn)]
    if asked.tools:
        body["tools"] = [_write_tool(tool) for tool in asked.tools]
    settings = {
        "tool_choice": _write_choice(asked),
        "parallel_tool_calls": False if asked.one_call else None,
        "response_format": _write_format(asked),
        "stop": list(asked.stop) or None,
        "reasoning_effort": asked.effort,
        "verbosity": asked.verbosity,
        "service_tier": asked.tier,
    }
    return {**body, **given(settings), **write_numbers(asked, _NUMBERS, api=API)}


def _write_turn(turn: Turn) -> Iterator[Json]:
    results = [part for part in turn.parts if isinstance(part, Returned)]
    rest = [part for part in turn.parts if not isinstance(part, Returned)]
    for result in results:
        yield _write_result(result)
    if turn.role == "assistant":
        yield _write_assistant(rest)
    elif rest or not results:
        yield {"role": turn.role, "content": _content(_write_parts(rest))}


def _write_assistant(parts: Sequence[Part]) -> Json:
    calls = [part for part in parts if isinstance(part, Call)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    said = _write_parts(part for part in parts if not isinstance(part, Call | Refusal))
    message: Json = {"role": "assistant"}
    message["content"] = _content(said) if said or not (calls or refusals) else None
    if refusals:
        message["refusal"] = joined(refusals)
    if calls:
        message["tool_calls"] = [_write_call(call) for call in calls]
    return message


def _write_result(result: Returned) -> Json:
    images = [part for part in result.parts if not isinstance(part, Text)]
    if images:
        raise NotCarried(images[0].at, f"in {API} a tool gives text only")
    if result.failed:
        raise NotCarried(result.at, f"{API} does not say that a tool failed")
    content = _content(_write_parts(result.parts))
    return {"role": "tool", "tool_call_id": result.id, "content": content}


def _content(parts: list[Json]) -> str | list[Json]:
    """The parts; one text alone stands for itself."""
    if not parts:
        return ""
    alone = len(parts) == 1 and parts[0]["type"] == "text"
    return str(parts[0]["text"]) if alone else parts


def _write_parts(parts: Iterable[Part]) -> list[Json]:
    return [_write_part(part) for part in parts]


def _write_part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    assert isinstance(part, Image | Link)
    return {"type": "image_url", "image_url": given({"url": url_of(part), "detail": part.detail})}


def _write_call(call: Call) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _write_tool(tool: Tool) -> Json:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict or None,
    }
    return {"type": "function", "function": given(function)}


def _write_choice(asked: Conversation) -> Json | str | None:
    named = [{"type": "function", "function": {"name": name}} for name in asked.named]
    match named:
        case []:
            return None if asked.choice == "auto" else asked.choice
        case [one]:
            return one
        case _:
            allowed = {"mode": "required", "tools": named}
            return {"type": "allowed_tools", "allowed_tools": allowed}


def _write_format(asked: Conversation) -> Json | None:
    match asked.output:
        case "text":
            return None
        case "json":
            return {"type": "json_object"}
        case schema:
            return {"type": "json_schema", "json_schema": write_schema(schema)}


def write_schema(schema: Schema) -> Json:
    named = {
        "name": schema.name,
        "description": schema.description,
        "schema": schema.schema,
        "strict": schema.strict,
    }
    return given(named)


# --- answers --------------------------------------------------------------------------------------

_UNCARRIED = ("audio", "function_call", "annotations", "images")


def read_answer(body: bytes, *, id: str) -> Answer:
    """What a 2xx reply says. Raises NotCarried."""
    told = sound(openai.read_answer(API, body))
    found = fields_of(body)
    choices = found.each("choices")
    if len(choices) != 1:
        found.refuse("choices", "one answer is expected here")
    message = choices[0].inner("message") or Fields({}, choices[0].at("message"))
    for name in _UNCARRIED:
        if message.any(name):
            message.refuse(name, "it is not carried")
    return answered(
        told,
        text=_read_text(message),
        calls=_read_answered_calls(message, id),
    )


def _read_text(message: Fields) -> str | None:
    """What is said; parts of which nobody says that they are text are thoughts."""
    if "content" not in message:
        return None
    content = message.text_or_each("content")
    if isinstance(content, str):
        return content
    return joined(_read_said(part) for part in content)


def _read_said(part: Fields) -> str | None:
    """The text of a part of an answer; what was thought is not said."""
    kind = part.text("type")
    if kind not in _PARTS:
        part.refuse("type", f"{kind!r} is not carried")
    return part.text("text") if kind in ("text", "output_text") else None


_PARTS = ("text", "output_text", "refusal", "thinking", "reasoning")


def _read_answered_calls(message: Fields, id: str) -> Iterator[Call]:
    for place, call in enumerate(message.each("tool_calls")):
        if "function" not in call:
            call.refuse("type", "only functions are carried")
        function = call.need_inner("function")
        yield Call(
            call.text("id") or f"call_{id}_{place}",
            function.need("name"),
            function.text("arguments") or "{}",
            function.at("arguments"),
        )


_FINISHES: Mapping[Stop, str] = {
    "end": "stop",
    "calls": "tool_calls",
    "sequence": "stop",
    "length": "length",
    "full": "length",
    "blocked": "content_filter",
    "refused": "stop",
}


def write_answer(answer: Answer, frame: Frame) -> Json:
    """The body of a 2xx reply."""
    message: Json = {
        "role": "assistant",
        "content": "" if answer.stop == "sequence" and answer.text is None else answer.text,
        "refusal": answer.why if answer.stop == "refused" else None,
        "annotations": [],
    }
    if answer.calls:
        message["tool_calls"] = [_write_call(call) for call in answer.calls]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _FINISHES[answer.stop],
    }
    return {
        "id": f"chatcmpl-{frame.id}",
        "object": "chat.completion",
        "created": frame.created,
        "model": answer.model or frame.model,
        "choices": [choice],
        "usage": _write_usage(answer),
    }


def _write_usage(answer: Answer) -> Json:
    usage = answer.usage
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.tokens_in + usage.tokens_out,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.written + usage.kept,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
