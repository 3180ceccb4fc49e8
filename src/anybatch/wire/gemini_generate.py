"""Gemini's generateContent, to and from what is said in it.

Shapes as of the official SDK 3.4 and the REST reference, checked 2026-11-20. The service takes
names in camelCase and snake_case, and gives them in camelCase.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from ..core.model import Api, Json
from . import gemini
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
    Tier,
    Tool,
    Turn,
    Turns,
    answered,
    arguments_of,
    as_text,
    can_be_strict,
    described,
    joined,
    no_detail,
    read_numbers,
    sound,
    write_numbers,
)
from .gemini_schema import json_schema
from .reading import camel, given
from .strict import Fields, Harmless, NotCarried, fields_of

API: Api = "gemini.generate"

FOREIGN_SIGNATURE = "skip_thought_signature_validator"
"""What Gemini's guide to thought signatures has for calls that another model made: models from
Gemini 3 on take none without a signature. Checked 2026-11-20."""

LEFT_OUT = frozenset(("labels", "store", "displayName"))
"""Fields that are harmless to leave out: how it is filed."""

IDLE: Mapping[str, tuple[Any, ...]] = {
    "candidateCount": (1,),
    "responseLogprobs": (False,),
    "responseModalities": (["TEXT"], []),
    "mediaResolution": ("MEDIA_RESOLUTION_UNSPECIFIED",),
    "enableEnhancedCivicAnswers": (False,),
    "includeThoughts": (False,),
    "thought": (False,),
    "thinkingBudget": (-1,),
    "behavior": ("UNSPECIFIED", "BLOCKING"),
    "thoughtSignature": (FOREIGN_SIGNATURE,),
}
"""Values that ask for what is the case anyway."""

_NUMBERS = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_LEVELS: Mapping[str, Effort] = {
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
}
_TIERS: Mapping[str, Tier] = {"flex": "flex", "priority": "priority"}
_ROLES: Mapping[str, Role] = {"user": "user", "function": "user", "model": "assistant"}
_UNFILTERED = ("BLOCK_NONE", "OFF")

_MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "bmp": "image/bmp",
}
"""Of each ending: what an image that the service fetches by https may be."""

# --- bodies ---------------------------------------------------------------------------------------


def read_body(body: bytes) -> Conversation:
    """What a body asks for. Raises NotCarried."""
    found = fields_of(body, harmless=Harmless(LEFT_OUT, IDLE), own=camel)
    found.any("model")
    turns = Turns()
    system = found.inner("systemInstruction")
    if system is not None:
        system.any("role")
        turns.add("system", _read_parts(system, turns), at=system.pointer)
    for content in found.some("contents"):
        role = content.word("role", _ROLES) or "user"
        if not content.peek("parts"):
            content.refuse("parts", "there are none")
        turns.add(role, _read_parts(content, turns), at=content.pointer)
    at = found.at("generationConfig")
    config = found.inner("generationConfig") or Fields({}, at, own=camel)
    _read_safety(found)
    choice, at_choice = _read_choice(found.inner("toolConfig"))
    strict = choice.pop("strict", False)
    numbers, places = read_numbers(config, _NUMBERS)
    asked = Conversation(
        turns=turns.done(),
        tools=tuple(_read_tools(found.each("tools"), strict=strict)),
        output=_read_output(config),
        stop=config.texts("stopSequences"),
        effort=_read_effort(config.inner("thinkingConfig")),
        tier=found.word("serviceTier", _TIERS, idle=("unspecified", "standard")),
        **choice,
        **numbers,
        places={
            **places,
            "output": config.at("responseMimeType"),
            "stop": config.at("stopSequences"),
            "effort": config.at("thinkingConfig"),
            "tier": found.at("serviceTier"),
            "choice": at_choice,
            "named": at_choice,
        },
    )
    found.end()
    return asked


def _read_safety(found: Fields) -> None:
    """Takes the settings that ask for no filter: no other api has one that can be set."""
    for setting in found.each("safetySettings"):
        setting.any("category")
        if setting.text("threshold") not in _UNFILTERED:
            setting.refuse("threshold", "no other api can be told what to filter")


def _read_parts(content: Fields, turns: Turns) -> list[Part]:
    return [_read_part(part, turns) for part in content.each("parts")]


def _read_part(part: Fields, turns: Turns) -> Part:
    if "functionCall" in part:
        return _read_call(part.need_inner("functionCall"), turns)
    if "functionResponse" in part:
        return _read_result(part.need_inner("functionResponse"), turns)
    if "inlineData" in part:
        return _read_image(part.need_inner("inlineData"))
    if "fileData" in part:
        return _read_link(part.need_inner("fileData"))
    return Text(part.text("text") or "", part.pointer)


def _read_call(call: Fields, turns: Turns) -> Call:
    arguments, at = as_text(call.json("args") or {}), call.at("args")
    return turns.call(call.text("id"), call.need("name"), arguments, at=at)


def _read_result(found: Fields, turns: Turns) -> Returned:
    response = found.json("response") or {}
    parts, failed = _read_response(response, found.at("response"))
    images = [_read_image(part.need_inner("inlineData")) for part in found.each("parts")]
    id, name = found.text("id"), found.need("name")
    said = [*parts, *images]
    return turns.result(id, said, name=name, failed=failed, at=found.at("name"))


def _read_response(response: Json, at: str) -> tuple[list[Part], bool]:
    """What a tool gave, and whether it failed: `output` and `error` are the service's own names."""
    match response:
        case {"output": [str(), str(), *_] as texts, **rest} if not rest and _all_texts(texts):
            return [Text(text, at) for text in texts], False
        case {"output": output, **rest} if not rest:
            return [Text(_as_text(output), at)], False
        case {"error": error, **rest} if not rest:
            return [Text(_as_text(error), at)], True
        case _:
            return [Text(as_text(response), at)] if response else [], False


def _all_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else as_text(value)


def _read_image(blob: Fields) -> Image:
    media_type, at = blob.need("mimeType"), blob.pointer
    if not media_type.startswith("image/"):
        blob.refuse("mimeType", f"{media_type!r} is not carried, only images")
    return Image(media_type, blob.need("data"), at=at)


def _read_link(file: Fields) -> Link:
    media_type, uri = file.text("mimeType") or "", file.need("fileUri")
    if not media_type.startswith("image/"):
        file.refuse("mimeType", f"{media_type!r} is not carried, only images")
    if not uri.startswith("https://") or urlsplit(uri).hostname == _OWN_HOST:
        file.refuse("fileUri", "a file of the service is not carried, only an https address")
    return Link(uri, at=file.at("fileUri"))


_OWN_HOST = "generativelanguage.googleapis.com"


def _read_tools(tools: list[Fields], *, strict: bool) -> Iterator[Tool]:
    for tool in tools:
        for function in tool.each("functionDeclarations"):
            yield _read_tool(function, strict=strict)


def _read_tool(function: Fields, *, strict: bool) -> Tool:
    own = function.inner("parameters")
    parameters = function.json("parametersJsonSchema") if own is None else json_schema(own)
    return Tool(
        name=function.need("name"),
        description=function.text("description"),
        parameters=parameters or NO_PARAMETERS,
        strict=strict,
        at=function.pointer,
    )


def _read_choice(config: Fields | None) -> tuple[Json, str]:
    """The fields of a Conversation that say which tools are called, and where that stands.

    `strict` beside them: whether every call has to fit its tool.
    """
    calling = config.inner("functionCallingConfig") if config is not None else None
    if calling is None:
        return {}, "/toolConfig"
    mode, named = calling.word("mode", _MODES) or {}, calling.texts("allowedFunctionNames")
    if named and mode.get("choice") != "required":
        calling.refuse("allowedFunctionNames", "it is carried where the mode is ANY")
    return {**mode, "named": named}, calling.pointer


_MODES: Mapping[str, Json] = {
    "MODE_UNSPECIFIED": {},
    "AUTO": {},
    "ANY": {"choice": "required"},
    "NONE": {"choice": "none"},
    "VALIDATED": {"strict": True},
}


def _read_output(config: Fields) -> Output:
    kind = config.word("responseMimeType", _MIME_TYPES)
    own, at = config.inner("responseSchema"), config.at("responseJsonSchema")
    schema = config.json("responseJsonSchema") if own is None else json_schema(own)
    if schema is None:
        return kind or "text"
    return Schema(schema=schema, strict=can_be_strict(schema, at=at))


_MIME_TYPES: Mapping[str, Literal["text", "json"]] = {
    "text/plain": "text",
    "application/json": "json",
}


def _read_effort(config: Fields | None) -> Effort | None:
    if config is None:
        return None
    effort = config.word("thinkingLevel", _LEVELS, idle=("THINKING_LEVEL_UNSPECIFIED",))
    if effort is None and config.peek("thinkingBudget") == 0:
        config.any("thinkingBudget")
        return "none"
    return effort


def write_body(asked: Conversation) -> Json:
    """The body that asks for this; the model is named by its path. Raises NotCarried."""
    asked.refuse_all(("verbosity", "one_call"), api=API)
    turns = asked.turns
    body: Json = {}
    while turns and turns[0].role in _INSTRUCTING:
        said = body.setdefault("systemInstruction", {"parts": []})
        said["parts"] += _write_parts(turns[0].parts)
        turns = turns[1:]
    body["contents"] = [_write_turn(turn) for turn in turns]
    if asked.tools:
        body["tools"] = [{"functionDeclarations": [_write_tool(tool) for tool in asked.tools]}]
    settings = {
        "toolConfig": _write_choice(asked),
        "generationConfig": _write_config(asked) or None,
        "serviceTier": asked.tier,
    }
    return {**body, **given(settings)}


_INSTRUCTING = ("system", "developer")


def _write_turn(turn: Turn) -> Json:
    if turn.role in _INSTRUCTING:
        at = turn.parts[0].at if turn.parts else ""
        raise NotCarried(at, f"{API} takes instructions at the beginning only")
    role = "model" if turn.role == "assistant" else "user"
    parts = _write_parts(turn.parts)
    calls = [part for part in parts if "functionCall" in part]
    if calls:
        # Of calls that were made at once, the first has the signature.
        calls[0]["thoughtSignature"] = FOREIGN_SIGNATURE
    return {"role": role, "parts": parts}


def _write_parts(parts: Iterable[Part]) -> list[Json]:
    return [_write_part(part) for part in parts]


def _write_part(part: Part) -> Json:
    match part:
        case Text() | Refusal():
            return {"text": part.text}
        case Image():
            return {"inlineData": _write_blob(part)}
        case Link():
            return {"fileData": _write_link(part)}
        case Call():
            named = {"id": part.id, "name": part.name, "args": arguments_of(part)}
            return {"functionCall": named}
        case Returned():
            return {"functionResponse": _write_result(part)}


def _write_blob(image: Image) -> Json:
    no_detail(image, api=API)
    return {"mimeType": image.media_type, "data": image.data}


def _write_link(link: Link) -> Json:
    no_detail(link, api=API)
    parts = urlsplit(link.url)
    media_type = _MEDIA_TYPES.get(parts.path.rpartition(".")[2].lower())
    if parts.scheme != "https" or media_type is None:
        endings = ", ".join(_MEDIA_TYPES)
        raise NotCarried(link.at, f"{API} fetches images by https that end in {endings}")
    return {"mimeType": media_type, "fileUri": link.url}


def _write_result(result: Returned) -> Json:
    texts: list[str] = []
    images: list[Json] = []
    for part in result.parts:
        match part:
            case Text():
                texts.append(part.text)
            case Image():
                images.append({"inlineData": _write_blob(part)})
            case Link():
                raise NotCarried(part.at, f"in {API} a tool gives no addresses of images")
    said: Any = texts if len(texts) > 1 else (texts or [""])[0]
    response = {"error" if result.failed else "output": said} if result.parts else {}
    written: Json = {"id": result.id, "name": result.name, "response": response}
    return {**written, "parts": images} if images else written


def _write_tool(tool: Tool) -> Json:
    written = {
        "name": tool.name,
        "description": tool.description,
        "parametersJsonSchema": tool.parameters,
    }
    return given(written)


def _write_choice(asked: Conversation) -> Json | None:
    mode = {"auto": None, "none": "NONE", "required": "ANY"}[asked.choice]
    if asked.choice == "auto" and any(tool.strict for tool in asked.tools):
        mode = "VALIDATED"
    calling = given({"mode": mode, "allowedFunctionNames": list(asked.named) or None})
    return {"functionCallingConfig": calling} if calling else None


def _write_config(asked: Conversation) -> Json:
    config = write_numbers(asked, _NUMBERS, api=API)
    if asked.stop:
        config["stopSequences"] = list(asked.stop)
    if asked.output != "text":
        config["responseMimeType"] = "application/json"
    if isinstance(asked.output, Schema):
        config["responseJsonSchema"] = described(asked.output, asked)
    if asked.effort is not None:
        config["thinkingConfig"] = _write_effort(asked, asked.effort)
    return config


def _write_effort(asked: Conversation, effort: Effort) -> Json:
    if effort == "none":
        return {"thinkingBudget": 0}
    levels = {ours: theirs for theirs, ours in _LEVELS.items()}
    if effort not in levels:
        asked.refuse("effort", f"{API} takes {', '.join(levels)}, not {effort!r}")
    return {"thinkingLevel": levels[effort]}


# --- answers --------------------------------------------------------------------------------------

_UNCARRIED = ("groundingMetadata", "urlContextMetadata", "logprobsResult", "continuationToken")
"""Of a candidate: what is there only where it was asked for."""


def read_answer(body: bytes, *, id: str) -> Answer:
    """What a 2xx reply says. Raises NotCarried."""
    told = sound(gemini.read_answer(API, body))
    candidates = fields_of(body, own=camel).each("candidates")
    if len(candidates) > 1:
        raise NotCarried("/candidates/1", "one answer is expected here")
    texts: list[str | None] = []
    calls: list[Call] = []
    for part in _read_said(candidates):
        if part.any("thought"):
            continue
        if "functionCall" in part:
            calls.append(_read_answered_call(part.need_inner("functionCall"), id, len(calls)))
        else:
            texts.append(part.text("text"))
        part.any("thoughtSignature")
        part.end()
    return answered(told, text=joined(texts), calls=calls)


def _read_said(candidates: list[Fields]) -> Iterator[Fields]:
    for candidate in candidates:
        for name in _UNCARRIED:
            if candidate.any(name):
                candidate.refuse(name, "it is not carried")
        content = candidate.inner("content")
        yield from content.each("parts") if content is not None else ()


def _read_answered_call(call: Fields, id: str, place: int) -> Call:
    named = call.text("id") or f"call_{id}_{place}"
    return Call(named, call.need("name"), as_text(call.json("args") or {}), call.at("args"))


_FINISHES: Mapping[Stop, str] = {
    "end": "STOP",
    "calls": "STOP",
    "sequence": "STOP",
    "length": "MAX_TOKENS",
    "full": "MAX_TOKENS",
    "blocked": "SAFETY",
    "refused": "SAFETY",
}


def write_answer(answer: Answer, frame: Frame) -> Json:
    """The body of a 2xx reply. A refusal is an answer that was filtered: here are no others."""
    candidate: Json = {"finishReason": _FINISHES[answer.stop], "index": 0}
    parts = list(_write_said(answer))
    if parts:
        candidate["content"] = {"role": "model", "parts": parts}
    if answer.why is not None:
        candidate["finishMessage"] = answer.why
    return {
        "candidates": [candidate],
        "usageMetadata": _write_usage(answer),
        "modelVersion": answer.model or frame.model,
        "responseId": frame.id,
    }


def _write_said(answer: Answer) -> Iterator[Json]:
    if answer.text is not None:
        yield {"text": answer.text}
    for call in answer.calls:
        named = {"id": call.id, "name": call.name, "args": arguments_of(call)}
        yield {"functionCall": named}


def _write_usage(answer: Answer) -> Json:
    usage = answer.usage
    return {
        "promptTokenCount": usage.tokens_in,
        "candidatesTokenCount": max(0, usage.tokens_out - usage.reasoning),
        "thoughtsTokenCount": usage.reasoning,
        "cachedContentTokenCount": usage.cached,
        "totalTokenCount": usage.tokens_in + usage.tokens_out,
    }
