"""The rules of Anthropic's Message Batches: `{"custom_id", "params"}`, a line each or in one body.

As of platform.claude.com and the official SDK 2.10, checked 2026-11-20. The service looks into
`params` only when a request is run: what is wrong there costs the row, not the batch.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from ..wire.anthropic import SAMPLING, SAMPLING_VERSION, VERSION
from ..wire.reading import LIST, is_object, optional
from .rules import (
    Look,
    Problem,
    Rules,
    absent,
    decoded,
    listed,
    missing,
    model_problems,
    not_object,
    streamed,
    word,
)

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FORBIDDEN = frozenset(
    ("speed", "store", "previous_thread_event_id", "cache_hint", "context_hint", "fallbacks")
)
"""What a request may have in real time and not in a batch."""
_PREVIEW = "research_preview_2026_02"
_TIERS = ("auto", "standard_only")


class _Line(msgspec.Struct):
    custom_id: Any = UNSET
    params: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct):
    role: Any = None
    content: msgspec.Raw = msgspec.Raw()


class _Block(msgspec.Struct):
    type: Any = None
    citations: msgspec.Raw = msgspec.Raw()


Params = dict[str, msgspec.Raw]

_LINE = msgspec.json.Decoder(_Line)
_PARAMS = msgspec.json.Decoder(Params)
_VALUE = msgspec.json.Decoder(Any)
_MESSAGE = msgspec.json.Decoder(_Message)
_BLOCK = msgspec.json.Decoder(_Block)


def look(line: bytes, *, version: str) -> Look:
    """What a request says, and what is wrong with it by itself under this version of the API."""
    read = decoded(line, _LINE)
    if isinstance(read, Problem):
        return Look(problems=(read,))
    problems = [*_name_problems(read.custom_id), *not_object(bytes(read.params), "params")]
    if is_object(read.params):
        problems += _params_problems(_PARAMS.decode(read.params), version)
    return Look(name=word(read.custom_id), problems=tuple(problems))


def _name_problems(name: object) -> Iterator[Problem]:
    if name is UNSET:
        yield absent("custom_id")
    elif not isinstance(name, str) or not _NAME.fullmatch(name):
        said = "'custom_id' is 1 to 64 of A-Z, a-z, 0-9, _ and -"
        yield Problem(code="invalid_custom_id", param="custom_id", message=said)


def _params_problems(params: Params, version: str) -> Iterator[Problem]:
    yield from model_problems(_value(params, "model"), "params.model")
    yield from _budget_problems(_value(params, "max_tokens"))
    yield from listed(bytes(params.get("messages", b"")), "params.messages")
    yield from streamed(_value(params, "stream"), "params.stream")
    yield from _forbidden(params)
    if version == VERSION:
        yield from _removed(params)


def _budget_problems(budget: object) -> Iterator[Problem]:
    if missing(budget):
        said = "'params.max_tokens' is required"
        yield Problem(code="invalid_request", param="params.max_tokens", message=said)
    elif type(budget) is not int or budget < 1:
        said = "'params.max_tokens' is a whole number above 0"
        yield Problem(code="invalid_value", param="params.max_tokens", message=said)


def _forbidden(params: Params) -> Iterator[Problem]:
    """Fields that no request of a batch may have, whatever the version."""
    for name in params:
        if name in _FORBIDDEN and not missing(bytes(params[name])):
            said = f"{name!r} is not taken in a batch; leave it out"
            yield Problem(code="forbidden_field", param=f"params.{name}", message=said)
    if _value(params, "research_preview_2026_02") == "active":
        said = "cannot be active in a batch; leave it out"
        yield Problem(code="forbidden_field", param="params.research_preview_2026_02", message=said)
    tier = _value(params, "service_tier")
    if not missing(tier) and tier not in _TIERS:
        said = f"a batch has no other tier than {' or '.join(_TIERS)}"
        yield Problem(code="invalid_value", param="params.service_tier", message=said)


def _removed(params: Params) -> Iterator[Problem]:
    """What the newer version of the API does not take any more."""
    way_out = f"leave it out, or send anthropic-version: {SAMPLING_VERSION}"
    for name in sorted(SAMPLING & params.keys()):
        said = f"version {VERSION} takes no {name!r}; {way_out}"
        yield Problem(code="forbidden_field", param=f"params.{name}", message=said)
    for place, raw in enumerate(_list(params.get("messages"))):
        message = optional(_MESSAGE, raw) or _Message()
        for block in _list(bytes(message.content)):
            param = f"params.messages[{place}].content"
            yield from _block_problems(message.role, optional(_BLOCK, block) or _Block(), param)


def _list(raw: bytes | None) -> list[bytes]:
    """The elements of a list; none where `raw` is no list, such as a text."""
    return [bytes(each) for each in optional(LIST, raw) or ()]


def _block_problems(role: object, block: _Block, param: str) -> Iterator[Problem]:
    if role == "assistant" and block.type == "document":
        said = f"version {VERSION} takes no document in what the assistant said"
        yield Problem(code="forbidden_field", param=param, message=said)
    if role == "user" and block.type == "text" and _holds_something(bytes(block.citations)):
        said = f"version {VERSION} takes no citations in what the user said"
        yield Problem(code="forbidden_field", param=param, message=said)


def _holds_something(raw: bytes) -> bool:
    return raw[:1] in (b"[", b"{") and bool(raw[1:-1].strip())


def _value(params: Params, name: str) -> object:
    """The value of a field; None for one that is not there, or that no text can hold."""
    return optional(_VALUE, params.get(name))


_LOOKS: Mapping[str, Callable[[bytes], Look]] = {
    version: partial(look, version=version) for version in (VERSION, SAMPLING_VERSION)
}

RULES = Rules(
    looks=_LOOKS,
    name="custom_id",
    body=True,
)
