"""Anthropic's Messages, to and from what is said in them.

Shapes as of API version 2026-10-21 and the official SDK 2.11, checked 2026-11-20.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

from ..core.model import Api, Json
from . import anthropic
from .conversation import (
    NO_PARAMETERS,
    Answer,
    Call,
    Conversation,
    Effort,
    Frame,
    Image,
    Link,
    Output,
    Part,
    Refusal,
    Returned,
    Role,
    Schema,
    Stop,
    Text,
    Tool,
    Turn,
    Turns,
    answered,
    arguments_of,
    as_text,
    can_be_strict,
    described,
    image_of,
    joined,
    no_detail,
    read_numbers,
    sound,
    write_numbers,
)
from .reading import given
from .strict import Fields, Harmless, NotCarried, fields_of

API: Api = "anthropic.messages"

LEFT_OUT = frozenset(("metadata", "cache_control", "eager_input_streaming"))
"""Fields that are harmless to leave out: who asks, what is cached, how it would be streamed."""

IDLE: Mapping[str, tuple[Any, ...]] = {
    "stream": (False,),
    "speed": ("standard",),
    "service_tier": ("auto", "standard_only"),
    "type": ("custom",),
    "citations": ([], {"enabled": False}),
    "defer_loading": (False,),
    "allowed_callers": (["direct"],),
    "caller": ({"type": "direct"},),
    "display": ("omitted",),
}
"""Values that ask for what is the case anyway."""

_NUMBERS = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
}
_EFFORTS: Mapping[str, Effort] = {word: word for word in ("low", "medium", "high", "xhigh", "max")}
_MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_MAX_TEMPERATURE = 1

# --- bodies ---------------------------------------------------------------------------------------


def read_body(body: bytes) -> Conversation:
    """What a body asks for. Raises NotCarried."""
    found = fields_of(body, harmless=Harmless(LEFT_OUT, IDLE))
    found.any("model")
    turns = Turns()
    if "system" in found:
        turns.add("system", _read_texts(found, "system"), at=found.at("system"))
    for message in found.some("messages"):
        _read_message(message, turns)
    config = found.inner("output_config") or Fields({}, found.at("output_config"))
    numbers, places = read_numbers(found, _NUMBERS)
    asked = Conversation(
        turns=turns.done(),
        tools=tuple(map(_read_tool, found.each("tools"))),
        output=_read_format(config.inner("format")),
        stop=found.texts("stop_sequences"),
        effort=_read_effort(found, config),
        **_read_choice(found.inner("tool_choice")),
        **numbers,
        places={
            **places,
            "output": config.at("format"),
            "stop": found.at("stop_sequences"),
            "effort": config.at("effort"),
            "one_call": f"{found.at('tool_choice')}/disable_parallel_tool_use",
            "choice": found.at("tool_choice"),
            "named": found.at("tool_choice"),
        },
    )
    found.end()
    return asked


def _read_effort(found: Fields, config: Fields) -> Effort | None:
    """How much is thought: not at all where thinking is off, else as much as is asked for."""
    effort = config.word("effort", _EFFORTS)
    thinking = found.inner("thinking")
    if thinking is None:
        return effort
    kind = thinking.need("type")
    if kind not in ("adaptive", "disabled"):
        thinking.refuse("type", f"{kind!r} is not carried: ask for an effort instead")
    if kind == "adaptive":
        return effort
    if effort is not None:
        found.refuse("thinking", "no other api takes an effort where nothing is thought")
    return "none"


def _read_message(message: Fields, turns: Turns) -> None:
    role, at = message.need("role"), message.pointer
    if "content" not in message:
        message.refuse("content", "it is missing")
    match role:
        case "system":
            turns.add("system", _read_texts(message, "content"), at=at)
        case "user" | "assistant":
            turns.add(role, _read_blocks(message, turns), at=at)
        case _:
            message.refuse("role", f"{role!r} is not carried")


def _read_texts(found: Fields, name: str) -> list[Part]:
    content = found.text_or_each(name)
    if isinstance(content, str):
        return [Text(content, found.at(name))]
    return [_read_shown(block) for block in content]


def _read_blocks(message: Fields, turns: Turns) -> list[Part]:
    content = message.text_or_each("content")
    if isinstance(content, str):
        return [Text(content, message.at("content"))]
    return [_read_block(block, turns) for block in content]


def _read_block(block: Fields, turns: Turns) -> Part:
    match block.peek("type"):
        case "tool_use":
            block.any("type")
            asked, at = block.json("input") or {}, block.at("input")
            return turns.call(block.need("id"), block.need("name"), as_text(asked), at=at)
        case "tool_result":
            block.any("type")
            id, at = block.need("tool_use_id"), block.at("tool_use_id")
            failed = block.flag("is_error") or False
            return turns.result(id, _read_texts(block, "content"), failed=failed, at=at)
        case _:
            return _read_shown(block)


def _read_shown(block: Fields) -> Part:
    kind = block.need("type")
    match kind:
        case "text":
            return Text(block.need("text"), block.pointer)
        case "image":
            return _read_image(block.need_inner("source"))
        case _:
            block.refuse("type", f"{kind!r} is not carried")


def _read_image(source: Fields) -> Image | Link:
    kind, at = source.need("type"), source.pointer
    match kind:
        case "base64":
            return Image(source.need("media_type"), source.need("data"), at=at)
        case "url":
            return image_of(source.need("url"), detail=None, at=source.at("url"))
        case _:
            source.refuse("type", f"{kind!r} is not carried")


def _read_tool(tool: Fields) -> Tool:
    if "input_schema" not in tool:
        tool.refuse("type", "a tool of the service is not carried")
    return Tool(
        name=tool.need("name"),
        description=tool.text("description"),
        parameters=tool.json("input_schema") or NO_PARAMETERS,
        strict=tool.flag("strict") or False,
        at=tool.pointer,
    )


def _read_choice(choice: Fields | None) -> Json:
    """The fields of a Conversation that say which tools are called."""
    if choice is None:
        return {}
    read: Json = {"one_call": choice.flag("disable_parallel_tool_use") or False}
    kind = choice.need("type")
    match kind:
        case "auto":
            pass
        case "none":
            read["choice"] = "none"
        case "any":
            read["choice"] = "required"
        case "tool":
            read |= {"choice": "required", "named": (choice.need("name"),)}
        case _:
            choice.refuse("type", f"{kind!r} is not carried")
    return read


def _read_format(wanted: Fields | None) -> Output:
    if wanted is None:
        return "text"
    if wanted.need("type") != "json_schema":
        wanted.refuse("type", "only a schema is carried")
    schema, at = wanted.json("schema") or {}, wanted.at("schema")
    return Schema(schema=schema, strict=can_be_strict(schema, at=at))


def write_body(asked: Conversation, *, model: str, budget: int = anthropic.DEFAULT_BUDGET) -> Json:
    """The body that asks `model` for this; with `budget` where no cap is given: it needs one.

    Raises NotCarried.
    """
    asked.refuse_all(("verbosity", "tier"), api=API)
    if (asked.temperature or 0) > _MAX_TEMPERATURE:
        asked.refuse("temperature", f"{API} takes none above {_MAX_TEMPERATURE}")
    numbers = write_numbers(asked, _NUMBERS, api=API)
    first, rest = _parted(asked.turns)
    body: Json = {"model": model, "max_tokens": budget}
    if first:
        body["system"] = _content(first)
    ids = _ids(asked.turns)
    body["messages"] = [_write_turn(turn, ids) for turn in rest]
    if asked.tools:
        body["tools"] = [_write_tool(tool) for tool in asked.tools]
    settings = {
        "tool_choice": _write_choice(asked),
        "output_config": _write_config(asked) or None,
        "thinking": {"type": "disabled"} if asked.effort == "none" else None,
        "stop_sequences": list(asked.stop) or None,
    }
    return {**body, **given(settings), **numbers}


_INSTRUCTING: tuple[Role, ...] = ("system", "developer")


def _parted(turns: tuple[Turn, ...]) -> tuple[list[Part], tuple[Turn, ...]]:
    """What is said before all else, and what follows."""
    first = list(takewhile(lambda turn: turn.role in _INSTRUCTING, turns))
    return [part for turn in first for part in turn.parts], turns[len(first) :]


_ID = re.compile(r"[a-zA-Z0-9_-]+")


def _ids(turns: Iterable[Turn]) -> Mapping[str, str]:
    """What the calls are named here: as they are, unless one has a name that is not taken."""
    ids = [part.id for turn in turns for part in turn.parts if isinstance(part, Call)]
    if all(_ID.fullmatch(id) for id in ids):
        return {id: id for id in ids}
    return {id: f"call_{place}" for place, id in enumerate(dict.fromkeys(ids))}


def _write_turn(turn: Turn, ids: Mapping[str, str]) -> Json:
    role = "system" if turn.role in _INSTRUCTING else turn.role
    return {"role": role, "content": _content(turn.parts, ids)}


def _content(parts: Iterable[Part], ids: Mapping[str, str] | None = None) -> str | list[Json]:
    """The blocks; one text alone stands for itself."""
    blocks = [_write_part(part, ids or {}) for part in parts]
    alone = len(blocks) == 1 and blocks[0]["type"] == "text"
    return str(blocks[0]["text"]) if alone else blocks


def _write_part(part: Part, ids: Mapping[str, str]) -> Json:
    match part:
        case Text() | Refusal():
            return {"type": "text", "text": part.text}
        case Image() | Link():
            return {"type": "image", "source": _write_source(part)}
        case Call():
            named = {"id": ids[part.id], "name": part.name, "input": arguments_of(part)}
            return {"type": "tool_use", **named}
        case Returned():
            return _write_result(part, ids)


def _write_source(image: Image | Link) -> Json:
    no_detail(image, api=API)
    if isinstance(image, Link):
        return {"type": "url", "url": image.url}
    if image.media_type not in _MEDIA_TYPES:
        raise NotCarried(image.at, f"{API} takes no {image.media_type}")
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _write_result(result: Returned, ids: Mapping[str, str]) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": ids[result.id]}
    if result.parts:
        block["content"] = _content(result.parts)
    return {**block, "is_error": True} if result.failed else block


def _write_tool(tool: Tool) -> Json:
    if tool.parameters.get("type") != "object":
        raise NotCarried(tool.at, f"in {API} the parameters are an object")
    written = {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters,
        "strict": tool.strict or None,
    }
    return given(written)


def _write_choice(asked: Conversation) -> Json | None:
    if len(asked.named) > 1:
        asked.refuse("named", f"{API} has no choice among some of the tools")
    choice: Json = {"type": _CHOICES[asked.choice]}
    if asked.named:
        choice = {"type": "tool", "name": asked.named[0]}
    if asked.one_call and asked.choice != "none":
        choice["disable_parallel_tool_use"] = True
    return None if choice == {"type": "auto"} else choice


_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def _write_config(asked: Conversation) -> Json:
    config: Json = {}
    if asked.output == "json":
        asked.refuse("output", f"{API} answers in JSON where it is given a schema only")
    if isinstance(asked.output, Schema):
        config["format"] = {"type": "json_schema", "schema": described(asked.output, asked)}
    if asked.effort is not None and asked.effort != "none":
        if asked.effort not in _EFFORTS:
            asked.refuse("effort", f"{API} takes {', '.join(_EFFORTS)}, not {asked.effort!r}")
        config["effort"] = asked.effort
    return config


# --- answers --------------------------------------------------------------------------------------

_UNSAID = frozenset(("thinking", "redacted_thinking"))
"""Blocks of an answer that hold what was thought."""


def read_answer(body: bytes, *, id: str) -> Answer:
    """What a 2xx reply says. Raises NotCarried."""
    told = sound(anthropic.read_answer(API, body))
    found = fields_of(body)
    texts: list[str | None] = []
    calls: list[Call] = []
    for block in found.each("content"):
        match block.text("type"):
            case "text":
                if block.any("citations"):
                    block.refuse("citations", "it is not carried")
                texts.append(block.text("text"))
            case "tool_use":
                calls.append(_read_call(block, id, len(calls)))
            case kind if kind not in _UNSAID:
                block.refuse("type", f"{kind!r} is not carried")
    ended = found.text("stop_reason") == "stop_sequence"
    return answered(
        told,
        text=joined(texts),
        calls=calls,
        sequence=(found.text("stop_sequence") or "") if ended else None,
    )


def _read_call(block: Fields, id: str, place: int) -> Call:
    named = block.text("id") or f"call_{id}_{place}"
    return Call(named, block.need("name"), as_text(block.json("input") or {}), block.at("input"))


_STOP_REASONS: Mapping[Stop, str] = {
    "end": "end_turn",
    "calls": "tool_use",
    "sequence": "stop_sequence",
    "length": "max_tokens",
    "full": "model_context_window_exceeded",
    "blocked": "refusal",
    "refused": "refusal",
}


def write_answer(answer: Answer, frame: Frame) -> Json:
    """The body of a 2xx reply."""
    reason = _STOP_REASONS[answer.stop]
    details = {"type": "refusal", "category": None, "explanation": answer.why}
    return {
        "id": f"msg_{frame.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model or frame.model,
        "content": list(_write_content(answer)),
        "stop_reason": reason,
        "stop_sequence": answer.sequence or None,
        "stop_details": details if reason == "refusal" else None,
        "usage": _write_usage(answer),
    }


def _write_content(answer: Answer) -> Iterator[Json]:
    if answer.text is not None:
        yield {"type": "text", "text": answer.text}
    for call in answer.calls:
        named = {"id": call.id, "name": call.name, "input": arguments_of(call)}
        yield {"type": "tool_use", **named}


def _write_usage(answer: Answer) -> Json:
    usage = answer.usage
    written = usage.written + usage.kept
    return {
        "input_tokens": max(0, usage.tokens_in - usage.cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }
