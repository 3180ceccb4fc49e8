"""The rules of Gemini's batch files: `{"key", "request"}`, one a line.

As of ai.google.dev and the official SDK 3.3, checked 2026-11-20. Names may be in camelCase or
snake_case. The model is named by the address a batch is sent to; a request that names one too
names the same.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from ..wire.reading import STRING, Fields, fields, is_object, optional
from .rules import Look, Problem, Rules, absent, decoded, listed, not_object, word, wordless

_GENERATE, _EMBED = "generateContent", "embedContent"


class _Line(msgspec.Struct):
    key: Any = UNSET
    request: msgspec.Raw = msgspec.Raw()


_LINE = msgspec.json.Decoder(_Line)


def look(line: bytes) -> Look:
    """What a line says, and what is wrong with it by itself."""
    read = decoded(line, _LINE)
    if isinstance(read, Problem):
        return Look(problems=(read,))
    problems = [*_key_problems(read.key), *not_object(bytes(read.request), "request")]
    if not is_object(read.request):
        return Look(name=word(read.key), problems=tuple(problems))
    request = fields(read.request)
    endpoint = endpoint_of(request)
    return Look(
        name=word(read.key),
        model=model_of(request),
        endpoint=endpoint,
        problems=(*problems, *request_problems(request, endpoint)),
    )


def _key_problems(key: object) -> Iterator[Problem]:
    # The service takes a line without one; nobody can tell then which row its answer is for.
    if key is UNSET:
        yield absent("key")
    elif not word(key):
        yield Problem(code="invalid_custom_id", param="key", message=wordless(key, "key"))


def endpoint_of(request: Fields) -> str | None:
    """What is asked for; None where that cannot be told."""
    if "contents" in request:
        return _GENERATE
    return _EMBED if "content" in request else None


def model_of(request: Fields) -> str | None:
    """The model that a request names, if it does."""
    named = optional(STRING, request.get("model"))
    return named.removeprefix("models/") if named else None


def request_problems(request: Fields, endpoint: str | None) -> Iterator[Problem]:
    """What is wrong with a request by itself."""
    match endpoint:
        case "generateContent":
            yield from listed(bytes(request["contents"]), "request.contents")
        case "embedContent":
            yield from not_object(bytes(request["content"]), "request.content")
        case _:
            said = "'request.contents' is required, or 'request.content' to embed it"
            yield Problem(code="invalid_request", param="request.contents", message=said)
    if "model" in request and model_of(request) is None:
        said = "'request.model' is not a name; it may be left out"
        yield Problem(code="invalid_request", param="request.model", message=said)
    if bytes(request.get("stream", b"false")) not in (b"false", b"null"):
        said = "answers of a batch cannot be streamed; leave it out"
        yield Problem(code="streaming_unsupported", param="request.stream", message=said)


RULES = Rules(
    looks={"v1beta": look},
    name="key",
    model="request.model",
    endpoint="request",
    endpoints={_GENERATE: "gemini.generate", _EMBED: "gemini.embed"},
)
