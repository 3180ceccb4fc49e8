"""What a model reads of a body, as texts: for counting them."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..core.model import Api, Json

_READ: Mapping[Api, tuple[str, ...]] = {
    "openai.chat": ("messages",),
    "openai.responses": ("instructions", "input"),
    "openai.embeddings": ("input",),
    "openai.completions": ("prompt",),
    "openai.moderations": ("input",),
    "openai.images": ("prompt",),
    "anthropic.messages": ("system", "messages"),
    "gemini.generate": ("systemInstruction", "contents"),
    "gemini.embed": ("content",),
}
"""The fields of a body that are read, in the order in which a model reads them."""

_SAYS = ("content", "text", "parts", "input", "output", "arguments", "thinking")
"""The fields of what stands there that hold text, or more of its kind."""

_FRAMED: Mapping[Api, tuple[str, ...]] = {
    "openai.chat": ("tools", "response_format"),
    "openai.responses": ("tools", "text"),
    "openai.completions": ("response_format",),
    "anthropic.messages": ("tools", "output_config"),
    "gemini.generate": ("tools", "generationConfig"),
}
"""The fields that are put into words for the model: tools and schemas."""


def texts_of(api: Api, body: Json) -> Iterator[str]:
    """The texts of a prompt, in order."""
    for field in _READ[api]:
        yield from _texts(body.get(field))


def _texts(said: Any) -> Iterator[str]:
    match said:
        case str():
            yield said
        case list():
            for part in said:
                yield from _texts(part)
        case dict():
            for field in _SAYS:
                yield from _texts(said.get(field))


def frame_of(api: Api, body: Json) -> str:
    """What is said of tools and of the answer's shape, as JSON; empty if nothing is."""
    framed = {field: body[field] for field in _FRAMED.get(api, ()) if field in body}
    return msgspec.json.encode(framed).decode() if framed else ""
