"""OpenAI's Responses, to and from what is said in them.

Shapes as of the official SDK 3.52 and the OpenAPI description of 2026-08-21, checked 2026-11-20.
"""

from collections.abc import Iterable, Iterator, Mapping
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
    Stop,
    Text,
    Tool,
    Turn,
    Turns,
    answered,
    can_be_strict,
    image_of,
    joined,
    read_numbers,
    sound,
    url_of,
    write_numbers,
)
from .openai_chat import (
    LEFT_OUT,
    read_allowed,
    read_choice,
    read_detail,
    read_schema,
    read_tier,
    read_verbosity,
    write_schema,
)
from .reading import given
from .strict import Fields, Harmless, NotCarried, fields_of

API: Api = "openai.responses"

OF_ITEMS = frozenset(("id", "status", "phase"))
"""The same of what stands in `input`: where an item comes from, and what it was on the way."""

IDLE: Mapping[str, tuple[Any, ...]] = {
    "stream": (False,),
    "background": (False,),
    "truncation": ("disabled",),
    "include": ([],),
    "top_logprobs": (0,),
    "annotations": ([],),
    "logprobs": ([],),
    "defer_loading": (False,),
    "allowed_callers": (["direct"],),
    "caller": ({"type": "direct"},),
    "context": ("auto",),
    "mode": ("standard",),
}
"""Values that ask for what is the case anyway."""

_NUMBERS = {
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
}

# --- bodies ---------------------------------------------------------------------------------------


def read_body(body: bytes) -> Conversation:
    """What a body asks for. Raises NotCarried."""
    found = fields_of(body, harmless=Harmless(LEFT_OUT, IDLE))
    found.any("model")
    turns = _read_input(found)
    text = found.inner("text") or Fields({}, found.at("text"))
    reasoning = found.inner("reasoning") or Fields({}, found.at("reasoning"))
    numbers, places = read_numbers(found, _NUMBERS)
    asked = Conversation(
        turns=turns.done(),
        tools=tuple(map(_read_tool, found.each("tools"))),
        output=_read_format(text.inner("format")),
        effort=reasoning.word("effort", EFFORTS),
        verbosity=read_verbosity(text),
        tier=read_tier(found),
        one_call=found.flag("parallel_tool_calls") is False,
        **_read_choice(found),
        **numbers,
        places={
            **places,
            "output": text.at("format"),
            "verbosity": text.at("verbosity"),
            "effort": reasoning.at("effort"),
            "tier": found.at("service_tier"),
            "one_call": found.at("parallel_tool_calls"),
            "choice": found.at("tool_choice"),
            "named": found.at("tool_choice"),
        },
    )
    found.end()
    return asked


def _read_input(found: Fields) -> Turns:
    turns = Turns()
    instructions = found.text("instructions")
    if instructions is not None:
        at = found.at("instructions")
        turns.add("system", [Text(instructions, at)], at=at)
    if not found.peek("input"):
        found.refuse("input", "nothing is asked")
    items = found.text_or_each("input")
    if isinstance(items, str):
        at = found.at("input")
        turns.add("user", [Text(items, at)], at=at)
        return turns
    for item in items:
        _read_item(item, turns)
        for name in OF_ITEMS:
            item.any(name)
    return turns


def _read_item(item: Fields, turns: Turns) -> None:
    kind, at = item.text("type") or "message", item.pointer
    match kind:
        case "message":
            _read_message(item, turns)
        case "function_call":
            name, arguments = item.need("name"), item.text("arguments") or ""
            call = turns.call(item.need("call_id"), name, arguments, at=item.at("arguments"))
            turns.add("assistant", [call], at=at)
        case "function_call_output":
            id, parts = item.need("call_id"), _read_parts(item, "output")
            item.any("name")
            turns.add("user", [turns.result(id, parts, at=item.at("call_id"))], at=at)
        case _:
            item.refuse("type", f"{kind!r} is not carried")


def _read_message(item: Fields, turns: Turns) -> None:
    role = item.need("role")
    match role:
        case "system" | "developer" | "user" | "assistant":
            turns.add(role, _read_parts(item, "content"), at=item.pointer)
        case _:
            item.refuse("role", f"{role!r} is not carried")


def _read_parts(item: Fields, name: str) -> list[Part]:
    content = item.text_or_each(name)
    if isinstance(content, str):
        return [Text(content, item.at(name))]
    return [_read_part(part) for part in content]


def _read_part(part: Fields) -> Part:
    kind, at = part.need("type"), part.pointer
    match kind:
        case "input_text" | "output_text" | "text":
            return Text(part.need("text"), at)
        case "refusal":
            return Refusal(part.need("refusal"), at)
        case "input_image" if "file_id" not in part:
            detail = read_detail(part)
            return image_of(part.need("image_url"), detail=detail, at=part.at("image_url"))
        case "input_image":
            part.refuse("file_id", "a file of the service is not carried")
        case _:
            part.refuse("type", f"{kind!r} is not carried")


def _read_tool(tool: Fields) -> Tool:
    if tool.need("type") != "function":
        tool.refuse("type", "only functions are carried")
    parameters, at = tool.json("parameters") or NO_PARAMETERS, tool.at("parameters")
    strict = tool.flag("strict")
    return Tool(
        name=tool.need("name"),
        description=tool.text("description"),
        parameters=parameters,
        # Here calls are held to a schema wherever that is possible, unless it says otherwise.
        strict=can_be_strict(parameters, at=at) if strict is None else strict,
        at=tool.pointer,
    )


def _read_choice(found: Fields) -> Json:
    choice = read_choice(found)
    if not isinstance(choice, Fields):
        return choice
    if choice.peek("type") != "allowed_tools":
        return {"choice": "required", "named": (_named(choice),)}
    choice.any("type")
    return read_allowed(choice, named=_named)


def _named(tool: Fields) -> str:
    if tool.need("type") != "function":
        tool.refuse("type", "only functions are carried")
    return tool.need("name")


def _read_format(wanted: Fields | None) -> Output:
    kind = "text" if wanted is None else wanted.need("type")
    if wanted is None or kind == "text":
        return "text"
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        wanted.refuse("type", f"{kind!r} is not carried")
    return read_schema(wanted)


def write_body(asked: Conversation, *, model: str) -> Json:
    """The body that asks `model` for this. Raises NotCarried."""
    asked.refuse_all(("stop",), api=API)
    instructions, turns = _write_instructions(asked.turns)
    body: Json = {"model": model}
    if instructions is not None:
        body["instructions"] = instructions
    body["input"] = [item for turn in turns for item in _write_turn(turn)]
    # Here answers are kept unless it is said otherwise, and nobody knows the id to ask for one.
    body["store"] = False
    if asked.tools:
        body["tools"] = [_write_tool(tool) for tool in asked.tools]
    settings = {
        "tool_choice": _write_choice(asked),
        "parallel_tool_calls": False if asked.one_call else None,
        "text": given({"format": _write_format(asked), "verbosity": asked.verbosity}) or None,
        "reasoning": given({"effort": asked.effort}) or None,
        "service_tier": asked.tier,
    }
    return {**body, **given(settings), **write_numbers(asked, _NUMBERS, api=API)}


def _write_instructions(turns: tuple[Turn, ...]) -> tuple[str | None, tuple[Turn, ...]]:
    """A system text that begins it all, and what follows."""
    if turns and turns[0].role == "system" and len(turns[0].parts) == 1:
        return joined(_texts(turns[0].parts)), turns[1:]
    return None, turns


def _texts(parts: Iterable[Part]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text)]


def _write_turn(turn: Turn) -> Iterator[Json]:
    rest: list[Part] = []
    for part in turn.parts:
        match part:
            case Returned():
                yield _write_result(part)
            case Call():
                yield _write_call(part)
            case Text() | Refusal() if turn.role == "assistant":
                yield _write_said(part)
            case _:
                rest.append(part)
    if rest or not turn.parts:
        content = _content([_write_part(part) for part in rest])
        yield {"type": "message", "role": turn.role, "content": content}


def _write_said(part: Text | Refusal) -> Json:
    """A message for each text: the lists that are taken from an assistant have ids of its own."""
    return {"type": "message", "role": "assistant", "content": part.text}


def _write_result(result: Returned) -> Json:
    if result.failed:
        raise NotCarried(result.at, f"{API} does not say that a tool failed")
    output = _content([_write_part(part) for part in result.parts])
    return {"type": "function_call_output", "call_id": result.id, "output": output}


def _content(parts: list[Json]) -> str | list[Json]:
    """The parts; one text alone stands for itself."""
    if not parts:
        return ""
    alone = len(parts) == 1 and parts[0]["type"] == "input_text"
    return str(parts[0]["text"]) if alone else parts


def _write_part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    assert isinstance(part, Image | Link)
    detail = part.detail or "auto"
    return {"type": "input_image", "image_url": url_of(part), "detail": detail}


def _write_call(call: Call) -> Json:
    return {
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _write_tool(tool: Tool) -> Json:
    function = {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return given(function)


def _write_choice(asked: Conversation) -> Json | str | None:
    named = [{"type": "function", "name": name} for name in asked.named]
    match named:
        case []:
            return None if asked.choice == "auto" else asked.choice
        case [one]:
            return one
        case _:
            return {"type": "allowed_tools", "mode": "required", "tools": named}


def _write_format(asked: Conversation) -> Json | None:
    match asked.output:
        case "text":
            return None
        case "json":
            return {"type": "json_object"}
        case schema:
            return {"type": "json_schema", **write_schema(schema)}


# --- answers --------------------------------------------------------------------------------------

_UNSAID = frozenset(("reasoning",))
"""Items of an answer that hold what was thought."""


def read_answer(body: bytes, *, id: str) -> Answer:
    """What a 2xx reply says. Raises NotCarried."""
    told = sound(openai.read_answer(API, body))
    found = fields_of(body)
    texts: list[str | None] = []
    calls: list[Call] = []
    for item in found.each("output"):
        match item.text("type"):
            case "message":
                texts += [_read_said(part) for part in item.each("content")]
            case "function_call":
                calls.append(_read_call(item, id, len(calls)))
            case kind if kind not in _UNSAID:
                item.refuse("type", f"{kind!r} is not carried")
    return answered(told, text=joined(texts), calls=calls)


def _read_said(part: Fields) -> str | None:
    match part.text("type"):
        case "output_text":
            if part.any("annotations"):
                part.refuse("annotations", "it is not carried")
            return part.text("text")
        case "refusal":
            return None
        case kind:
            part.refuse("type", f"{kind!r} is not carried")


def _read_call(item: Fields, id: str, place: int) -> Call:
    arguments = item.text("arguments") or "{}"
    call_id = item.text("call_id") or f"call_{id}_{place}"
    return Call(call_id, item.need("name"), arguments, item.at("arguments"))


_INCOMPLETE: Mapping[Stop, str] = {
    "length": "max_output_tokens",
    "full": "max_output_tokens",
    "blocked": "content_filter",
}

_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""What an answer repeats of the body, and what it says where the body says nothing."""


def write_answer(answer: Answer, frame: Frame) -> Json:
    """The body of a 2xx reply."""
    reason = _INCOMPLETE.get(answer.stop)
    status = "completed" if reason is None else "incomplete"
    return {
        "id": f"resp_{frame.id}",
        "object": "response",
        "created_at": frame.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": answer.model or frame.model,
        "output": list(_write_output(answer, frame, status)),
        **_ECHOED,
        **given({name: frame.asked.get(name) for name in _ECHOED}),
        "usage": _write_usage(answer),
    }


def _write_output(answer: Answer, frame: Frame, status: str) -> Iterator[Json]:
    content = _write_answer_content(answer)
    if content is not None:
        yield {
            "type": "message",
            "id": f"msg_{frame.id}",
            "status": status,
            "role": "assistant",
            "content": [content],
        }
    for place, call in enumerate(answer.calls):
        yield {**_write_call(call), "id": f"fc_{frame.id}_{place}", "status": status}


def _write_answer_content(answer: Answer) -> Json | None:
    if answer.stop == "refused":
        return {"type": "refusal", "refusal": answer.why or ""}
    text = "" if answer.stop == "sequence" and answer.text is None else answer.text
    if text is None:
        return None
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _write_usage(answer: Answer) -> Json:
    usage = answer.usage
    return {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.written + usage.kept,
        },
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.tokens_in + usage.tokens_out,
    }
