"""The rules of OpenAI's batch files: `{"custom_id", "method", "url", "body"}`, one a line.

As of the batch guide, the OpenAPI description 2.3.0 and recorded validations, checked 2026-11-20.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from ..core.model import Api
from ..wire.openai import PATHS
from ..wire.openai_batch import ROOT
from ..wire.reading import LIST, is_object, optional
from .rules import (
    Code,
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
    wordless,
)

MAX_INPUTS = 50_000
"""Texts to embed, of all requests of a batch together."""

ENDPOINTS: Mapping[str, Api | None] = {
    **{path: api for api, path in PATHS.items()},
    "/images/edits": None,
    "/videos": None,
}
"""Without what stands before them."""

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "/embeddings": ("input",),
    "/moderations": ("input",),
    "/responses": ("input", "prompt"),
    "/completions": ("prompt",),
    "/images/generations": ("prompt",),
    "/images/edits": ("prompt",),
    "/videos": ("prompt",),
}
"""Of these fields a body has at least one."""


class _Line(msgspec.Struct):
    custom_id: Any = UNSET
    method: Any = UNSET
    url: Any = UNSET
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct):
    model: Any = UNSET
    stream: Any = UNSET
    messages: msgspec.Raw = msgspec.Raw()
    texts: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="input")
    prompt: msgspec.Raw = msgspec.Raw()


_LINE = msgspec.json.Decoder(_Line)
_BODY = msgspec.json.Decoder(_Body)


def look(line: bytes, *, root: str = ROOT) -> Look:
    """What a line says, and what is wrong with it by itself."""
    read = decoded(line, _LINE)
    if isinstance(read, Problem):
        return Look(problems=(read,))
    url, problems = word(read.url), [*_line_problems(read)]
    path = url.removeprefix(root) if url is not None else None
    named = Look(name=word(read.custom_id), endpoint=url, problems=tuple(problems))
    if not is_object(read.body):
        return named
    body = decoded(bytes(read.body), _BODY)
    if isinstance(body, Problem):
        return replace(named, problems=(*problems, body))
    return replace(
        named,
        model=word(body.model),
        inputs=_inputs(path, body),
        problems=(*problems, *_body_problems(path, body)),
    )


def _line_problems(read: _Line) -> Iterator[Problem]:
    """What is wrong around the body."""
    for name in ("custom_id", "method", "url"):
        value = getattr(read, name)
        if value is UNSET:
            yield absent(name)
        elif not word(value):
            code: Code = "invalid_custom_id" if name == "custom_id" else "invalid_request"
            yield Problem(code=code, param=name, message=wordless(value, name))
    if word(read.method) and read.method != "POST":
        yield Problem(code="invalid_method", param="method", message="'method' has to be POST")
    yield from not_object(bytes(read.body), "body")


def _body_problems(path: str | None, body: _Body) -> Iterator[Problem]:
    yield from model_problems(body.model, "body.model")
    yield from streamed(body.stream, "body.stream")
    if path == "/chat/completions":
        yield from listed(bytes(body.messages), "body.messages")
    asked = {"input": bytes(body.texts), "prompt": bytes(body.prompt)}
    needed = _NEEDS.get(path or "", ())
    if needed and all(missing(asked[name]) for name in needed):
        said = f"{' or '.join(map(repr, needed))} is required"
        yield Problem(code="invalid_request", param=f"body.{needed[0]}", message=said)


def _inputs(path: str | None, body: _Body) -> int:
    """How many texts a request has embedded: one, or as many as a list has that holds no tokens."""
    if path != "/embeddings":
        return 0
    texts = optional(LIST, bytes(body.texts)) or []
    return len(texts) if texts and bytes(texts[0])[:1] in (b'"', b"[") else 1


def rules_under(root: str) -> Rules:
    """The same rules for who writes this before the paths of the apis."""
    return Rules(
        looks={"v1": partial(look, root=root)},
        name="custom_id",
        model="body.model",
        endpoint="url",
        endpoints={f"{root}{path}": api for path, api in ENDPOINTS.items()},
        max_inputs=MAX_INPUTS,
        ending=".jsonl",
    )


RULES = rules_under(ROOT)
