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

_WORDLESS_TYPES = frozenset(
    ("image", "image_url", "input_image", "input_audio", "input_file", "file", "document")
)
"""What parts of a message are called that are no text, where they say what they are."""
_WORDLESS_FIELDS = frozenset(("inlineData", "inline_data", "fileData", "file_data"))
"""The fields that hold such a part, where they do not."""

_FRAMED: Mapping[Api, tuple[str, ...]] = {
    "openai.chat": ("tools", "response_format"),
    "openai.responses": ("tools", "text"),
    "openai.completions": ("response_format",),
    "anthropic.messages": ("tools", "output_config"),
    "gemini.generate": ("tools",),
}
"""The fields that are put into words for the model: tools and schemas."""
_CONFIGS = ("generationConfig", "generation_config")
_SCHEMAS = ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema")
"""Likewise those of Gemini's configuration; the others are numbers that no model reads."""


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


def wordless_parts_of(api: Api, body: Json) -> int:
    """How many images, recordings and documents a prompt holds."""
    return sum(_wordless_parts(body.get(field)) for field in _READ[api])


def _wordless_parts(said: Any) -> int:
    match said:
        case list():
            return sum(map(_wordless_parts, said))
        case {"type": str(kind)} if kind in _WORDLESS_TYPES:
            return 1
        case dict() if _WORDLESS_FIELDS & said.keys():
            return 1
        case dict():
            return sum(_wordless_parts(said.get(field)) for field in _SAYS)
        case _:
            return 0


def frame_of(api: Api, body: Json) -> str:
    """What is said of tools and of the answer's shape, as JSON; empty if nothing is."""
    framed = {field: body[field] for field in _FRAMED.get(api, ()) if field in body}
    if api == "gemini.generate":
        for config in (body[field] for field in _CONFIGS if isinstance(body.get(field), dict)):
            framed.update({field: config[field] for field in _SCHEMAS if field in config})
    return msgspec.json.encode(framed).decode() if framed else ""
