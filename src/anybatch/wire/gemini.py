"""Gemini's wire: bodies, answers and errors of generateContent and embedContent.

Shapes as of the official SDK 3.3 and the REST reference, checked 2026-11-20. Vertex AI speaks the
same. The service takes names in camelCase and snake_case, and gives them in camelCase.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from msgspec.structs import replace

from ..core.model import NO_BODY, Api, Failure, Json, Usage
from ..core.states import Outcome
from ..errors import BadSettings
from . import openai
from .openai import Answer
from .reading import (
    Fields,
    Tokens,
    camel,
    error_of,
    guarded,
    is_object,
    message_of,
    optional,
    with_caps,
    word,
)

VERBS: Mapping[Api, tuple[str, str]] = {
    "gemini.generate": ("generateContent", "batchGenerateContent"),
    "gemini.embed": ("embedContent", "asyncBatchEmbedContent"),
}
"""What is called on a model: for one answer, and for a batch."""


def path_of(api: Api, model: str) -> str:
    """Where a body goes, under the base URL that ends in the version: here it names the model."""
    return f"/{_resource(model)}:{VERBS[api][0]}"


def batch_path_of(api: Api, model: str) -> str:
    """Where a batch is created, under the same base URL."""
    return f"/{_resource(model)}:{VERBS[api][1]}"


def _resource(model: str) -> str:
    return quote(model if "/" in model else f"models/{model}")


def read_path(path: str) -> tuple[Api, str] | None:
    """The api and the model that either path names; None for any other path."""
    resource, _, verb = path.rpartition(":")
    for api, verbs in VERBS.items():
        for kind in ("models/", "tunedModels/"):
            _, found, model = resource.rpartition(f"/{kind}")
            if verb in verbs and found and model:
                return api, unquote(model if kind == "models/" else kind + model)
    return None


# --- bodies -------------------------------------------------------------------------------------

_TOP = frozenset(
    (
        *("model", "contents", "systemInstruction", "generationConfig", "tools", "toolConfig"),
        *("safetySettings", "cachedContent", "labels", "serviceTier", "store"),
    )
)
_CONFIG = frozenset(
    (
        *("temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "candidateCount"),
        *("seed", "presencePenalty", "frequencyPenalty", "logprobs", "responseLogprobs"),
        *("responseMimeType", "responseSchema", "responseJsonSchema", "responseModalities"),
        *("thinkingConfig", "speechConfig", "imageConfig", "mediaResolution"),
        *("enableEnhancedCivicAnswers", "audioTimestamp", "routingConfig", "modelConfig"),
    )
)
_EMBED = frozenset(("model", "content", "taskType", "title", "outputDimensionality"))

_ALIASES = {
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "dimensions": "outputDimensionality",
}
"""What others call the same; all other names differ by no more than their case."""


def write_body(
    api: Api,
    *,
    model: str,
    system: str | None,
    user: str | None,
    schema: Json | None = None,
    parameters: Json,
) -> Json:
    """A body that asks what `system` and `user` say. The model is named by its path, not in here.

    Raises BadSettings for a parameter that the service does not know.
    """
    if api == "gemini.embed":
        named = {_own(name): value for name, value in parameters.items()}
        _refuse(api, parameters, known=_EMBED)
        return {"content": _content(user or ""), **named}
    top, config = _parted(api, parameters)
    if schema is not None:
        config = {"responseMimeType": "application/json", "responseJsonSchema": schema, **config}
    body: Json = {} if system is None else {"systemInstruction": _content(system)}
    body["contents"] = [] if user is None else [{"role": "user", **_content(user)}]
    return {**body, **({"generationConfig": config} if config else {}), **top}


def _content(text: str) -> Json:
    return {"parts": [{"text": text}]}


def _own(name: str) -> str:
    """The service's own name of a parameter, in camelCase."""
    return _ALIASES.get(name) or camel(name)


def _parted(api: Api, parameters: Json) -> tuple[Json, Json]:
    """The fields for the top of a body, and those for its generationConfig."""
    _refuse(api, parameters, known=_TOP | _CONFIG)
    own = {_own(name): value for name, value in parameters.items()}
    top = {name: value for name, value in own.items() if name in _TOP}
    config = {name: value for name, value in own.items() if name in _CONFIG}
    if isinstance(config.get("stopSequences"), str):
        config["stopSequences"] = [config["stopSequences"]]
    inner = top.pop("generationConfig", None)
    if inner is not None and not isinstance(inner, dict):
        raise BadSettings("the parameter 'generationConfig' is an object; give its fields in it")
    return top, {**config, **{camel(name): value for name, value in (inner or {}).items()}}


def _refuse(api: Api, parameters: Json, *, known: frozenset[str]) -> None:
    for name in parameters:
        if _own(name) not in known:
            raise BadSettings(
                f"{api} takes no parameter {name!r}; it takes {', '.join(sorted(known))}"
            )


def budget_of(api: Api, body: Json) -> int | None:
    """The most tokens that the answer to `body` (or to a run with these parameters) may have; None:
    no cap."""
    if api != "gemini.generate":
        return None
    inner = body.get("generationConfig", body.get("generation_config"))
    named = [*body.items(), *(inner.items() if isinstance(inner, dict) else ())]
    caps = (value for name, value in named if _own(name) == "maxOutputTokens")
    return next((cap for cap in caps if type(cap) is int), None)


def with_budget(api: Api, body: bytes, *, factor: int) -> bytes:
    """`body` with the cap on the output multiplied; the same bytes for factor 1."""
    if factor == 1 or api != "gemini.generate":
        return body
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name in ("generationConfig", "generation_config"):
        if name in found and is_object(found[name]):
            caps = ("maxOutputTokens", "max_output_tokens")
            found[name] = msgspec.Raw(with_caps(found[name], caps, factor=factor))
    return msgspec.json.encode(found)


def with_model(body: Json, model: str | None) -> Json:
    """`body` without a model of its own, where another is named: by the path."""
    return body if model is None else {name: body[name] for name in body if name != "model"}


def model_of(body: Json) -> str | None:
    """The model that a ready-made body names, which few do."""
    named = word(body.get("model"))
    return named and named.removeprefix("models/")


# --- answers ------------------------------------------------------------------------------------


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: msgspec.Raw = NO_BODY


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Generated(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = NO_BODY
    model_version: str | None = None


class _Embedding(msgspec.Struct):
    values: list[float] | None = None


class _Embedded(msgspec.Struct, rename="camel"):
    embedding: _Embedding | None = None
    embeddings: list[_Embedding] | None = None
    token_count: msgspec.Raw = NO_BODY
    usage_metadata: msgspec.Raw = NO_BODY
    model_version: str | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: Tokens = None
    """What came from a cache included."""
    tool_use_prompt_token_count: Tokens = None
    cached_content_token_count: Tokens = None
    candidates_token_count: Tokens = None
    """What was thought is not in it."""
    thoughts_token_count: Tokens = None


_DECODERS: Mapping[Api, msgspec.json.Decoder[Any]] = {
    "gemini.generate": msgspec.json.Decoder(_Generated),
    "gemini.embed": msgspec.json.Decoder(_Embedded),
}
_USAGE = msgspec.json.Decoder(_Usage, strict=False)
_TOKENS = msgspec.json.Decoder(Tokens, strict=False)

_FINISHES: Mapping[str, Outcome] = {
    "MAX_TOKENS": "truncated",
    "SAFETY": "blocked",
    "RECITATION": "blocked",
    "BLOCKLIST": "blocked",
    "PROHIBITED_CONTENT": "blocked",
    "SPII": "blocked",
    "IMAGE_SAFETY": "blocked",
    "IMAGE_PROHIBITED_CONTENT": "blocked",
    "IMAGE_RECITATION": "blocked",
    "LANGUAGE": "bad_request",
    "OTHER": "server_error",
    "MALFORMED_FUNCTION_CALL": "server_error",
    "UNEXPECTED_TOOL_CALL": "server_error",
    "TOO_MANY_TOOL_CALLS": "server_error",
}
"""What a finish reason means. Any other is that of a whole answer, if there is one."""

_EMPTY = "there is nothing in the answer"


def read_answer(api: Api, body: bytes) -> Answer:
    """What a 2xx reply says. A body that is not what the api promises is a `server_error`."""
    return guarded(api, body, decoder=_DECODERS[api], read=_READERS[api], spent=_spent)


def _read_generated(reply: _Generated) -> Answer:
    usage, model = _usage(reply.usage_metadata), reply.model_version
    feedback = reply.prompt_feedback
    if feedback is not None and feedback.block_reason:
        said = message_of({"message": feedback.block_reason_message})
        why = Failure(message=said or "the prompt was blocked", code=feedback.block_reason)
        return Answer("blocked", None, usage, model, why)
    candidate = reply.candidates[0] if reply.candidates else _Candidate()
    text, reason = _text(candidate), candidate.finish_reason
    # The finish reason is read before the text: half an answer often looks like a whole one.
    outcome = _FINISHES.get(reason or "")
    if outcome is None and text is not None:
        return Answer("succeeded", text, usage, model)
    why = Failure(message=_why(candidate, outcome), code=reason)
    return Answer(outcome or "server_error", text, usage, model, why)


def _why(candidate: _Candidate, outcome: Outcome | None) -> str:
    if outcome is None:
        return _EMPTY
    if outcome == "truncated":
        return "the answer hit the output budget"
    said = message_of({"message": candidate.finish_message})
    return said or f"the service stopped the answer: {candidate.finish_reason}"


def _text(candidate: _Candidate) -> str | None:
    """What an answer says; thoughts are not said. None: nothing."""
    parts = (candidate.content and candidate.content.parts) or []
    said = [part for part in parts if not part.thought]
    texts = [part.text for part in said if part.text is not None]
    calls = [part.function_call for part in said if bytes(part.function_call) != b"null"]
    if calls and not "".join(texts):
        return msgspec.json.encode([{"functionCall": call} for call in calls]).decode()
    return "".join(texts) if texts else None


def _read_embedded(reply: _Embedded) -> Answer:
    usage = _usage(reply.usage_metadata)
    usage = replace(usage, tokens_in=usage.tokens_in or optional(_TOKENS, reply.token_count) or 0)
    model = reply.model_version
    found = reply.embeddings if reply.embedding is None else [reply.embedding]
    vectors = [each.values for each in found or () if each.values]
    if not vectors:
        return Answer("server_error", None, usage, model, Failure(message=_EMPTY))
    return Answer("succeeded", vectors[0] if len(vectors) == 1 else vectors, usage, model)


_READERS: Mapping[Api, Callable[[Any], Answer]] = {
    "gemini.generate": _read_generated,
    "gemini.embed": _read_embedded,
}


def _spent(found: Fields) -> Usage:
    return _usage(found.get("usageMetadata"))


def _usage(raw: bytes | None) -> Usage:
    """The tokens counted; none where they are told in a shape of the service's own."""
    usage = optional(_USAGE, raw) or _Usage()
    thoughts = usage.thoughts_token_count or 0
    return Usage(
        tokens_in=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        tokens_out=(usage.candidates_token_count or 0) + thoughts,
        cached=usage.cached_content_token_count or 0,
        reasoning=thoughts,
    )


# --- errors -------------------------------------------------------------------------------------

CODES: Mapping[int, tuple[str, int, Outcome]] = {
    1: ("CANCELLED", 499, "server_error"),
    2: ("UNKNOWN", 500, "server_error"),
    3: ("INVALID_ARGUMENT", 400, "bad_request"),
    4: ("DEADLINE_EXCEEDED", 504, "server_error"),
    5: ("NOT_FOUND", 404, "not_found_model"),
    6: ("ALREADY_EXISTS", 409, "bad_request"),
    7: ("PERMISSION_DENIED", 403, "auth"),
    8: ("RESOURCE_EXHAUSTED", 429, "rate_limited"),
    9: ("FAILED_PRECONDITION", 400, "bad_request"),
    10: ("ABORTED", 409, "server_error"),
    11: ("OUT_OF_RANGE", 400, "bad_request"),
    12: ("UNIMPLEMENTED", 501, "bad_request"),
    13: ("INTERNAL", 500, "server_error"),
    14: ("UNAVAILABLE", 503, "server_error"),
    15: ("DATA_LOSS", 500, "server_error"),
    16: ("UNAUTHENTICATED", 401, "auth"),
}
"""Of each gRPC code: its word, its HTTP status, and what it means to us."""

_BY_WORD: Mapping[str, Outcome] = {each[0]: each[2] for each in CODES.values()}
_BY_STATUS = {CODES[code][1]: code for code in (1, 3, 4, 5, 7, 8, 10, 12, 13, 14, 16)}

_BY_REASON: Mapping[str, Outcome] = {
    "API_KEY_INVALID": "auth",
    "API_KEY_SERVICE_BLOCKED": "auth",
    "SERVICE_DISABLED": "auth",
    "CONSUMER_INVALID": "auth",
    "CONSUMER_SUSPENDED": "auth",
    "BILLING_DISABLED": "billing",
}
"""What a detail of the error tells better: a wrong key is an INVALID_ARGUMENT, too."""

_TOO_LONG = ("token count", "exceeds the maximum")
"""Both in the message of the INVALID_ARGUMENT that this is; no code tells it."""


def read_failure(status: int, body: bytes) -> tuple[Outcome, Failure]:
    """What a reply that is not 2xx means."""
    outcome, failure = openai.read_failure(status, body)
    error = error_of(body)
    said = message_of(error)
    if said is not None:
        failure = replace(failure, message=f"HTTP {status}: {said}")
    code = word_of(error)
    if failure.code is not None or code is None:
        # Not the service's own words: those of a proxy before it.
        return outcome, failure
    return _meaning(error, code), replace(failure, code=code)


def _meaning(error: Json, code: str) -> Outcome:
    for detail in _details(error):
        known = _BY_REASON.get(word(detail.get("reason")) or "")
        if known is not None:
            return known
    said = (message_of(error) or "").lower()
    if code == "INVALID_ARGUMENT" and all(phrase in said for phrase in _TOO_LONG):
        return "too_long"
    return _BY_WORD[code]


def word_of(error: Json) -> str | None:
    """The word of an error that gives one, or its gRPC code."""
    named, code = word(error.get("status")), error.get("code")
    if named in _BY_WORD:
        return named
    return CODES[code][0] if type(code) is int and code in CODES else None


def _details(error: Json) -> Iterator[Json]:
    found = error.get("details")
    for detail in found if isinstance(found, list) else ():
        if isinstance(detail, dict):
            yield detail


def retry_after(body: bytes) -> timedelta | None:
    """How long an error asks us to wait: its RetryInfo, since no header tells it."""
    for detail in _details(error_of(body)):
        delay = word(detail.get("retryDelay"))
        try:
            seconds = timedelta(seconds=float((delay or "").removesuffix("s")))
        except (ValueError, OverflowError):
            continue
        return seconds if seconds >= timedelta() else None
    return None


def code_of(status: int) -> int:
    """The gRPC code for an HTTP status."""
    return _BY_STATUS.get(status) or (3 if 400 <= status < 500 else 13)


def write_error(status: int, message: str, *, word: str | None = None) -> bytes:
    """An error in the service's envelope; `word` None: the usual one for the status."""
    error = {"code": status, "message": message, "status": word or CODES[code_of(status)][0]}
    return msgspec.json.encode({"error": error})
