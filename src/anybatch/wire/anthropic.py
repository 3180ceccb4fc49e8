"""Anthropic's wire: bodies, answers and errors of Messages.

Shapes as of API version 2026-10-21 and the official SDK 2.10, checked 2026-11-20.
"""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from ..core.model import NO_BODY, Api, Failure, Json, Usage
from ..core.states import Outcome
from ..errors import BadSchema
from . import openai
from .openai import Answer
from .reading import Tokens, error_of, given, guarded, message_of, optional, with_caps, word

PATHS: Mapping[Api, str] = {"anthropic.messages": "/messages"}
"""Where a body goes, under the base URL that ends in `/v1`."""

BUDGET_FIELDS = ("max_tokens",)
DEFAULT_BUDGET = 1024
"""`max_tokens` is required."""

VERSION = "2026-10-21"
SAMPLING_VERSION = "2023-06-01"
SAMPLING = frozenset(("temperature", "top_p", "top_k"))
"""Refused by `VERSION`, whatever their value; taken by `SAMPLING_VERSION`."""

TOOL = "answer"
"""The tool that a model is made to call where it has no other way to keep to a schema."""
_CHOICE = {"type": "tool", "name": TOOL}
BY_TOOL = msgspec.json.encode(_CHOICE).decode()
"""The `tool_choice` that asks for it."""


def path_of(api: Api, model: str) -> str:
    """Where a body goes in real time, under the base URL."""
    return PATHS[api]


def api_of(path: str) -> Api | None:
    """The api whose bodies go to `path`, which may be a whole URL."""
    for api, ending in PATHS.items():
        if path.rstrip("/").endswith(ending):
            return api
    return None


def api_version_for(parameters: Json | None) -> str:
    """The newest `anthropic-version` that takes these parameters, or this body; None: any may come.

    The header is one for all requests of a batch.
    """
    if parameters is None or SAMPLING & parameters.keys():
        return SAMPLING_VERSION
    return VERSION


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
    if schema is not None and is_by_tool(parameters):
        return _tool_body(model, system, user, schema, parameters)
    body = _asking(model, system, user)
    if schema is None:
        return {**body, **parameters}
    # An effort that is asked for stands beside the schema, in the same field.
    asked = parameters.get("output_config")
    config = {
        "format": {"type": "json_schema", "schema": schema},
        **(asked if isinstance(asked, dict) else {}),
    }
    return {**body, **parameters, "output_config": config}


def is_by_tool(parameters: Json) -> bool:
    """Whether the answer is to be what a forced tool is given: for models that know no
    `output_config`, and for schemas that it does not take."""
    return parameters.get("tool_choice") == _CHOICE and "tools" not in parameters


def _tool_body(
    model: str, system: str | None, user: str | None, schema: Json, parameters: Json
) -> Json:
    """Raises BadSchema for a schema that is not of an object."""
    if schema.get("type") != "object":
        raise BadSchema(
            "the answer is to be the input of a tool, and that is an object; "
            "put the schema under a property of one"
        )
    tool = {"name": TOOL, "description": "Give the answer.", "input_schema": schema}
    return {**_asking(model, system, user), "tools": [tool], **parameters}


def _asking(model: str, system: str | None, user: str | None) -> Json:
    messages = [] if user is None else [{"role": "user", "content": user}]
    asked = {"model": model, "max_tokens": DEFAULT_BUDGET, "system": system}
    return {**given(asked), "messages": messages}


def budget_of(api: Api, body: Json) -> int | None:
    """The most tokens that the answer may have. The service takes no body without a cap, and
    `write_body` adds one."""
    cap = body.get("max_tokens")
    return cap if type(cap) is int else DEFAULT_BUDGET


def with_budget(api: Api, body: bytes, *, factor: int) -> bytes:
    """`body` with the cap on the output multiplied; the same bytes for factor 1."""
    return body if factor == 1 else with_caps(body, BUDGET_FIELDS, factor=factor)


def with_model(body: Json, model: str | None) -> Json:
    """`body`, asking `model` instead, where one is given."""
    return body if model is None else {**body, "model": model}


# --- answers ------------------------------------------------------------------------------------


class _Block(msgspec.Struct, omit_defaults=True):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    asked: msgspec.Raw = msgspec.field(default=NO_BODY, name="input")


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str | None = None
    stop_details: msgspec.Raw = NO_BODY
    model: str | None = None
    usage: msgspec.Raw = NO_BODY


class _OutputDetails(msgspec.Struct):
    thinking_tokens: Tokens = None


class _Written(msgspec.Struct):
    ephemeral_5m_input_tokens: Tokens = None
    ephemeral_1h_input_tokens: Tokens = None


class _Usage(msgspec.Struct):
    input_tokens: Tokens = None
    """Those that no cache had to do with."""
    cache_creation_input_tokens: Tokens = None
    cache_creation: _Written | None = None
    """Of these, those that are kept longer than the others."""
    cache_read_input_tokens: Tokens = None
    output_tokens: Tokens = None
    output_tokens_details: _OutputDetails | None = None


_DECODER = msgspec.json.Decoder(_Message)
_USAGE = msgspec.json.Decoder(_Usage, strict=False)


def read_answer(api: Api, body: bytes) -> Answer:
    """What a 2xx reply says. A body that is not what the api promises is a `server_error`."""
    return guarded(
        api, body, decoder=_DECODER, read=_read, spent=lambda found: _usage(found.get("usage"))
    )


def _read(reply: _Message) -> Answer:
    usage, model, reason = _usage(reply.usage), reply.model, reply.stop_reason
    text = _text(reply.content)
    # The stop reason is read before the text: half an answer often looks like a whole one.
    match reason:
        case "max_tokens" | "pause_turn":
            why = Failure(message=_UNFINISHED[reason], code=reason)
            return Answer("truncated", text, usage, model, why)
        case "model_context_window_exceeded":
            # A larger budget would not help: what is full is the model.
            why = Failure(message="prompt and answer exceed the model's context", code=reason)
            return Answer("too_long", text, usage, model, why)
        case "refusal":
            return Answer("refused", None, usage, model, _refusal(reply.stop_details))
    if text is None and reason == "stop_sequence":
        text = ""  # it was the first thing the model said
    if text is None:
        why = Failure(message="there is nothing in the answer", code=reason)
        return Answer("server_error", None, usage, model, why)
    return Answer("succeeded", text, usage, model)


_UNFINISHED = {
    "max_tokens": "the answer hit the output budget",
    "pause_turn": "the model paused in the middle of using the service's own tools",
}


def _text(blocks: list[_Block]) -> str | None:
    """What a message says; thinking is not said. None: nothing."""
    calls = [block for block in blocks if block.type == "tool_use"]
    forced = next((call for call in calls if call.name == TOOL), None)
    if forced is not None:
        return bytes(forced.asked).decode()
    parts = [block.text or "" for block in blocks if block.type == "text"]
    text = "".join(parts)
    if calls and not text:
        return msgspec.json.encode(calls).decode()
    return text if parts else None


def _refusal(details: msgspec.Raw) -> Failure:
    said = msgspec.json.decode(details)
    said = said if isinstance(said, dict) else {}
    why = message_of({"message": said.get("explanation")})
    return Failure(message=why or "the model declined", code=word(said.get("category")))


def _usage(raw: bytes | None) -> Usage:
    """The tokens counted; none where they are told in a shape of the service's own."""
    usage = optional(_USAGE, raw) or _Usage()
    cached = usage.cache_read_input_tokens or 0
    parts = usage.cache_creation or _Written()
    kept = parts.ephemeral_1h_input_tokens or 0
    # Some services that speak this tell the sum alone, others only its parts.
    written = usage.cache_creation_input_tokens or (parts.ephemeral_5m_input_tokens or 0) + kept
    kept = min(written, kept)
    details = usage.output_tokens_details or _OutputDetails()
    return Usage(
        tokens_in=(usage.input_tokens or 0) + written + cached,
        tokens_out=usage.output_tokens or 0,
        cached=cached,
        written=written - kept,
        kept=kept,
        reasoning=details.thinking_tokens or 0,
    )


# --- errors -------------------------------------------------------------------------------------

ERRORS: Mapping[str, tuple[int, Outcome]] = {
    "invalid_request_error": (400, "bad_request"),
    "authentication_error": (401, "auth"),
    "billing_error": (402, "billing"),
    "permission_error": (403, "auth"),
    "not_found_error": (404, "not_found_model"),
    "conflict_error": (409, "server_error"),
    "request_too_large": (413, "too_long"),
    "rate_limit_error": (429, "rate_limited"),
    "api_error": (500, "server_error"),
    "timeout_error": (504, "server_error"),
    # Turned away before it ran: not charged, and to be met by fewer calls at once.
    "overloaded_error": (529, "rate_limited"),
}
"""Of each error type: its HTTP status, and what it means to us."""

_TYPES = {status: kind for kind, (status, _) in ERRORS.items()}

_BY_CODE: Mapping[str, Outcome] = {
    "enforced_spend_limit_reached": "billing",
    "organization_on_hold": "auth",
    "cmek_key_disabled": "auth",
    "claude_code_key_creator_not_member": "auth",
}
_BY_PHRASE: Mapping[str, Outcome] = {
    "prompt is too long": "too_long",
    "credit balance is too low": "billing",
}
"""What an `invalid_request_error` may also mean; no code tells it."""


def read_failure(status: int, body: bytes) -> tuple[Outcome, Failure]:
    """What a reply that is not 2xx means."""
    outcome, failure = openai.read_failure(status, body)
    error = error_of(body)
    kind = word(error.get("type")) or ""
    if failure.code is not None or kind not in ERRORS:
        # Not the service's own words: those of a proxy or a gateway before it.
        return ("rate_limited" if status == 529 else outcome), failure
    details = error.get("details")
    code = (word(details.get("error_code")) if isinstance(details, dict) else None) or kind
    return _meaning(error, kind, code), replace(failure, code=code)


def _meaning(error: Json, kind: str, code: str) -> Outcome:
    if code in _BY_CODE:
        return _BY_CODE[code]
    if kind == "invalid_request_error":
        said = (message_of(error) or "").lower()
        for phrase, outcome in _BY_PHRASE.items():
            if phrase in said:
                return outcome
    return ERRORS[kind][1]


def status_of(error: bytes) -> int:
    """The HTTP status that an error body would have come with."""
    kind = word(error_of(error).get("type")) or ""
    return ERRORS[kind][0] if kind in ERRORS else 500


def write_error(status: int, message: str, *, request_id: str | None = None) -> bytes:
    """An error in the service's envelope."""
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    error = {"type": kind, "message": message}
    envelope = {"type": "error", "error": error, "request_id": request_id}
    return msgspec.json.encode(given(envelope))
