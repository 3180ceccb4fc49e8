"""OpenAI's wire: bodies, answers and errors of its six apis.

Shapes as of the OpenAPI description of 2026-08-21 and the official SDK 3.51, checked 2026-11-20.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from ..core.model import NO_BODY, Api, Failure, Json, Usage
from ..core.schema import is_strict
from ..core.states import Outcome

PATHS: Mapping[Api, str] = {
    "openai.chat": "/chat/completions",
    "openai.responses": "/responses",
    "openai.embeddings": "/embeddings",
    "openai.completions": "/completions",
    "openai.moderations": "/moderations",
    "openai.images": "/images/generations",
}
"""Where a body of each api goes, under the base URL that ends in `/v1`."""

BUDGET_FIELDS: Mapping[Api, tuple[str, ...]] = {
    "openai.chat": ("max_completion_tokens", "max_tokens"),
    "openai.responses": ("max_output_tokens",),
    "openai.embeddings": (),
    "openai.completions": ("max_tokens",),
    "openai.moderations": (),
    "openai.images": (),
}
"""The fields that cap the output, in tokens."""


def path_of(api: Api, model: str) -> str:
    """Where a body goes in real time, under the base URL."""
    return PATHS[api]


def api_of(path: str) -> Api | None:
    """The api whose bodies go to `path`, which may be a whole URL."""
    for api, ending in PATHS.items():
        if path.rstrip("/").endswith(ending):
            return api
    return None


# --- bodies -------------------------------------------------------------------------------------


def write_body(
    api: Api,
    *,
    model: str,
    system: str | None,
    user: str | None,
    schema: Json | None = None,
    parameters: Json,
) -> Json:
    """A body that asks `model` what `system` and `user` say. The constant part comes first."""
    body: Json = {"model": model}
    match api:
        case "openai.chat":
            roles = (("system", system), ("user", user))
            body["messages"] = [{"role": r, "content": t} for r, t in roles if t is not None]
        case "openai.responses":
            if system is not None:
                body["instructions"] = system
            body["input"] = user
        case "openai.embeddings" | "openai.moderations":
            body["input"] = user
        case "openai.images":
            body["prompt"] = user
        case "openai.completions":
            body["prompt"] = user if system is None else f"{system}\n\n{user}"
    return {**body, **_schema_fields(api, schema), **parameters}


def _schema_fields(api: Api, schema: Json | None) -> Json:
    if schema is None:
        return {}
    named: Json = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
    match api:
        case "openai.chat" | "openai.completions":
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "openai.responses":
            return {"text": {"format": {"type": "json_schema", **named}}}
        case _:
            return {}


def budget_of(api: Api, body: Json) -> int | None:
    """The most tokens that the answer to `body` may have; None: no cap."""
    caps = (body.get(name) for name in BUDGET_FIELDS[api])
    return next((cap for cap in caps if type(cap) is int), None)


def with_budget(api: Api, body: bytes, *, factor: int) -> bytes:
    """`body` with every cap on the output multiplied; the same bytes for factor 1."""
    if factor == 1:
        return body
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name in BUDGET_FIELDS[api]:
        if name in fields and type(cap := msgspec.json.decode(fields[name])) is int:
            fields[name] = msgspec.Raw(msgspec.json.encode(cap * factor))
    return msgspec.json.encode(fields)


def with_model(body: Json, model: str | None) -> Json:
    """`body`, asking `model` instead, where one is given."""
    return body if model is None else {**body, "model": model}


# --- answers ------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a reply says."""

    outcome: Outcome
    value: Any = None
    """The text, an embedding's numbers, what was found of a text, or an image."""
    usage: Usage = Usage()
    model: str | None = None
    failure: Failure | None = None


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""One that fits into a journal."""


class _TokenDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    reasoning_tokens: Count | None = None


_NO_DETAILS = _TokenDetails()


class _Usage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    prompt_tokens_details: _TokenDetails | None = None
    completion_tokens_details: _TokenDetails | None = None
    input_tokens_details: _TokenDetails | None = None
    output_tokens_details: _TokenDetails | None = None
    prompt_cache_hit_tokens: Count | None = None
    """DeepSeek's word for what was read from a cache."""


class _Part(msgspec.Struct):
    type: str = "text"
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    """A text; some services send it in parts, with what the model thought beside it."""
    refusal: str | None = None
    tool_calls: msgspec.Raw = NO_BODY


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: msgspec.Raw = NO_BODY


class _Content(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Output(msgspec.Struct, omit_defaults=True):
    type: str
    content: list[_Content] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    output: list[_Output]
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    error: msgspec.Raw = NO_BODY
    model: str | None = None
    usage: msgspec.Raw = NO_BODY


class _Embedding(msgspec.Struct):
    embedding: list[float] | str


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]
    model: str | None = None
    usage: msgspec.Raw = NO_BODY


class _Finding(msgspec.Struct):
    flagged: bool
    categories: dict[str, bool | None]
    category_scores: dict[str, float | None]


class _Moderation(msgspec.Struct):
    results: list[_Finding]
    model: str | None = None


class _Image(msgspec.Struct):
    url: str | None = None
    b64_json: str | None = None


class _Images(msgspec.Struct):
    data: list[_Image]
    model: str | None = None
    usage: msgspec.Raw = NO_BODY


_DECODERS: Mapping[Api, msgspec.json.Decoder[Any]] = {
    "openai.chat": msgspec.json.Decoder(_Chat),
    "openai.completions": msgspec.json.Decoder(_Chat),
    "openai.responses": msgspec.json.Decoder(_Response),
    "openai.embeddings": msgspec.json.Decoder(_Embeddings),
    "openai.moderations": msgspec.json.Decoder(_Moderation),
    "openai.images": msgspec.json.Decoder(_Images),
}


def read_answer(api: Api, body: bytes) -> Answer:
    """What a 2xx reply says. A body that is not what the api promises is a `server_error`."""
    try:
        reply = _DECODERS[api].decode(body)
        body.decode()  # msgspec leaves what it skips unchecked
        return _READERS[api](reply)
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, RecursionError) as e:
        what = "an empty body" if not body.strip() else f"a body that is no {api} answer: {e}"
        failure = Failure(message=f"200 with {what}", code="malformed")
        return Answer("server_error", usage=_usage_at_least(body), failure=failure)


def _read_chat(reply: _Chat) -> Answer:
    choice = reply.choices[0]
    message = choice.message or _Message(content=choice.text)
    usage, model = _usage(reply.usage), reply.model
    text, refusal = message.content, message.refusal
    if type(text) is list:
        refusal = refusal or _refusal(text)
        text = _joined(text)
    if not text and bytes(message.tool_calls) not in (b"null", b"[]"):
        text = bytes(message.tool_calls).decode()
    # The stop reason is read before the text: half an answer often looks like a whole one.
    if choice.finish_reason == "length":
        return Answer("truncated", text, usage, model, Failure(message=_TRUNCATED))
    if choice.finish_reason == "model_length":
        return Answer("too_long", text, usage, model, Failure(message=_FULL))
    if choice.finish_reason == "content_filter":
        return Answer("blocked", text, usage, model, Failure(message=_BLOCKED))
    if refusal:
        return Answer("refused", None, usage, model, Failure(message=refusal))
    if text is None:
        return Answer("server_error", None, usage, model, Failure(message=_EMPTY))
    return Answer("succeeded", text, usage, model)


def _joined(parts: list[_Part]) -> str | None:
    """The text that is cut into `parts`; None where none of them is text."""
    texts = [part.text for part in parts if part.type in _TEXTS and part.text is not None]
    return "".join(texts) if texts else None


_TEXTS = ("text", "output_text")


def _refusal(parts: list[_Part]) -> str | None:
    return next((part.refusal for part in parts if part.refusal), None)


def _read_response(reply: _Response) -> Answer:
    usage, model = _usage(reply.usage), reply.model
    parts = [part for item in reply.output for part in item.content or () if item.type == "message"]
    text = "".join(part.text or "" for part in parts if part.type == "output_text")
    reason = reply.incomplete_details.reason if reply.incomplete_details else None
    if reply.status == "incomplete" and reason == "content_filter":
        return Answer("blocked", text, usage, model, Failure(message=_BLOCKED))
    if reply.status == "incomplete":
        return Answer("truncated", text, usage, model, Failure(message=_TRUNCATED, code=reason))
    if reply.status in ("failed", "cancelled"):
        failure = read_error(bytes(reply.error))
        return Answer("server_error", None, usage, model, failure)
    refusals = [part.refusal for part in parts if part.refusal]
    if refusals:
        return Answer("refused", None, usage, model, Failure(message=refusals[0]))
    calls = [item for item in reply.output if item.type == "function_call"]
    if not parts and not calls:
        return Answer("server_error", None, usage, model, Failure(message=_EMPTY))
    return Answer("succeeded", text or _as_text(calls), usage, model)


def _as_text(calls: list[_Output]) -> str:
    return msgspec.json.encode(calls).decode() if calls else ""


def _read_embeddings(reply: _Embeddings) -> Answer:
    usage, model = _usage(reply.usage), reply.model
    vectors = [item.embedding for item in reply.data]
    if not vectors:
        return Answer("server_error", None, usage, model, Failure(message=_EMPTY))
    return Answer("succeeded", vectors[0] if len(vectors) == 1 else vectors, usage, model)


def _read_moderation(reply: _Moderation) -> Answer:
    """What was found, in the columns of the api; a list in each where there were several inputs."""
    found = [
        {
            "flagged": finding.flagged,
            "categories": [name for name, applies in finding.categories.items() if applies],
            "scores": finding.category_scores,
        }
        for finding in reply.results
    ]
    if not found:
        return Answer("server_error", None, Usage(), reply.model, Failure(message=_EMPTY))
    several = {name: [each[name] for each in found] for name in found[0]}
    return Answer("succeeded", found[0] if len(found) == 1 else several, Usage(), reply.model)


def _read_images(reply: _Images) -> Answer:
    """The image, as the service gives it: an address, or its bytes in base64."""
    usage, model = _usage(reply.usage), reply.model
    images = [image.url or image.b64_json for image in reply.data]
    if not images or not all(images):
        return Answer("server_error", None, usage, model, Failure(message=_EMPTY))
    return Answer("succeeded", images[0] if len(images) == 1 else images, usage, model)


_READERS: Mapping[Api, Callable[[Any], Answer]] = {
    "openai.chat": _read_chat,
    "openai.completions": _read_chat,
    "openai.responses": _read_response,
    "openai.embeddings": _read_embeddings,
    "openai.moderations": _read_moderation,
    "openai.images": _read_images,
}

_TRUNCATED = "the answer hit the output budget"
_FULL = "prompt and answer exceed the model's context"
_BLOCKED = "a content filter stopped the answer"
_EMPTY = "there is nothing in the answer"

_USAGE = msgspec.json.Decoder(_Usage | None, strict=False)


def _usage(raw: msgspec.Raw) -> Usage:
    """The tokens counted; none where they are told in a shape of the service's own."""
    try:
        usage = _USAGE.decode(raw)
    except msgspec.DecodeError:
        usage = None
    if usage is None:
        return Usage()
    into = usage.input_tokens_details or usage.prompt_tokens_details or _NO_DETAILS
    out = usage.output_tokens_details or usage.completion_tokens_details or _NO_DETAILS
    return Usage(
        tokens_in=usage.prompt_tokens or usage.input_tokens or 0,
        tokens_out=usage.completion_tokens or usage.output_tokens or 0,
        cached=into.cached_tokens or usage.prompt_cache_hit_tokens or 0,
        written=into.cache_write_tokens or 0,
        reasoning=out.reasoning_tokens or 0,
    )


class _Counted(msgspec.Struct):
    usage: msgspec.Raw = NO_BODY


_COUNTED = msgspec.json.Decoder(_Counted)


def _usage_at_least(body: bytes) -> Usage:
    """The tokens counted in a body of which nothing else can be read: it was paid for."""
    try:
        return _usage(_COUNTED.decode(body).usage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Usage()


# --- errors -------------------------------------------------------------------------------------

_BY_CODE: Mapping[str, Outcome] = {
    "insufficient_quota": "billing",
    "billing_hard_limit_reached": "billing",
    "invalid_api_key": "auth",
    "model_not_found": "not_found_model",
    "context_length_exceeded": "too_long",
    "exceed_context_size_error": "too_long",
    "string_above_max_length": "too_long",
    "content_filter": "blocked",
    "content_policy_violation": "blocked",
}
_BY_STATUS: Mapping[int, Outcome] = {
    401: "auth",
    402: "billing",
    403: "auth",
    **dict.fromkeys((301, 302, 303, 307, 308, 404, 405), "not_found_model"),
    408: "server_error",
    409: "server_error",
    413: "too_long",
    429: "rate_limited",
    498: "rate_limited",
}


def read_failure(status: int, body: bytes) -> tuple[Outcome, Failure]:
    """What a reply that is not 2xx means."""
    failure = read_error(body)
    outcome = _BY_CODE.get(failure.code or "") or _BY_STATUS.get(status)
    if outcome is None:
        outcome = "server_error" if status >= 500 or status < 300 else "bad_request"
    if 300 <= status < 400:
        failure = Failure(message="the service redirects elsewhere; is the base URL right?")
    return outcome, msgspec.structs.replace(failure, message=f"HTTP {status}: {failure.message}")


def said(failure: Failure) -> str:
    """What the service said, without the status that `read_failure` put before it."""
    return _HTTP.sub("", failure.message, count=1)


_HTTP = re.compile(r"HTTP \d{3}: ")


def read_error(body: bytes) -> Failure:
    """The message and code of an error body, whatever its shape; never the whole body."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure(message=_excerpt(body))
    error = (value.get("error") or value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return Failure(message=str(error)[:_MAX_MESSAGE] if error else "no reason given")
    code, kind = error.get("code"), error.get("type")
    if not isinstance(code, str):
        code = kind if isinstance(kind, str) and kind in _BY_CODE else None
    message = error.get("message") or _detail(error.get("detail")) or "no reason given"
    return Failure(message=str(message)[:_MAX_MESSAGE], code=code)


_MAX_MESSAGE = 500


def _detail(detail: object) -> object:
    """What is said of a body that does not fit, as FastAPI says it: of several things the first."""
    match detail:
        case [{"loc": list(where), "msg": str(said)}, *_]:
            return f"{'.'.join(map(str, where))}: {said}"
    return detail


def _excerpt(body: bytes) -> str:
    """A body that is not JSON, often a proxy's HTML page: its beginning on one line."""
    text = " ".join(body[:200].decode(errors="replace").split())
    return f"not JSON: {text!r}" if text else "an empty body"


_KINDS: Mapping[int, str] = {429: "rate_limit_exceeded"}


def kind_of(status: int) -> str:
    """The `type` of an error with this HTTP status."""
    return "server_error" if status >= 500 else _KINDS.get(status, "invalid_request_error")


def write_error(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    more: Json | None = None,
) -> bytes:
    """The envelope of an error."""
    error = {"message": message, "type": kind_of(status), "param": param, "code": code}
    return msgspec.json.encode({"error": error, **(more or {})})
