"""A text to be embedded and its vector, between OpenAI's embeddings and Gemini's embedContent."""

from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from struct import error as StructError
from struct import iter_unpack, pack
from typing import Any

import msgspec

from ..core.model import Json
from . import gemini, openai
from .conversation import Frame, sound
from .reading import camel, given
from .strict import Harmless, NotCarried, fields_of

LEFT_OUT = frozenset(("user",))
"""Fields that are harmless to leave out."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One text of which a vector is wanted."""

    text: str
    dimensions: int | None = None


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """What a text was embedded as."""

    values: tuple[float, ...]
    tokens: int = 0
    model: str | None = None


def read_openai(body: bytes) -> Wanted:
    """What a body asks for. Raises NotCarried, where that is more than one text among others."""
    found = fields_of(body, harmless=Harmless(LEFT_OUT))
    found.any("model")
    texts = found.texts("input")
    if len(texts) != 1:
        found.refuse("input", "one text a request is carried; send several requests")
    wanted = Wanted(text=texts[0], dimensions=found.count("dimensions"))
    # How the numbers are written is for the answer.
    found.word("encoding_format", {"float": None, "base64": None})
    found.end()
    return wanted


def write_openai(wanted: Wanted, *, model: str) -> Json:
    """The body that asks `model` for this."""
    return given({"model": model, "input": wanted.text, "dimensions": wanted.dimensions})


def read_gemini(body: bytes) -> Wanted:
    """What a body asks for. Raises NotCarried."""
    found = fields_of(body, own=camel)
    found.any("model")
    content = found.need_inner("content")
    content.any("role")
    parts = content.each("parts")
    if len(parts) != 1:
        content.refuse("parts", "one text is carried")
    wanted = Wanted(text=parts[0].need("text"), dimensions=found.count("outputDimensionality"))
    found.end()
    return wanted


def write_gemini(wanted: Wanted) -> Json:
    """The body that asks for this; the model is named by its path."""
    content = {"parts": [{"text": wanted.text}]}
    return given({"content": content, "outputDimensionality": wanted.dimensions})


def read_openai_answer(body: bytes) -> Vector:
    """What a 2xx reply says. Raises NotCarried."""
    told = sound(openai.read_answer("openai.embeddings", body))
    return _vector(told.value, told, at="/data")


def read_gemini_answer(body: bytes) -> Vector:
    """What a 2xx reply says. Raises NotCarried."""
    told = sound(gemini.read_answer("gemini.embed", body))
    return _vector(told.value, told, at="/embeddings")


def _vector(value: Any, told: openai.Answer, *, at: str) -> Vector:
    if isinstance(value, str):
        value = _decoded(value)
    if not value or not all(isinstance(number, float) for number in value):
        raise NotCarried(at, "one vector is expected here")
    return Vector(values=tuple(value), tokens=told.usage.tokens_in, model=told.model)


def _decoded(text: str) -> list[float]:
    """The numbers that a text in base64 holds: four bytes each, the lowest first."""
    try:
        return [number for (number,) in iter_unpack("<f", b64decode(text, validate=True))]
    except (NoBase64, StructError) as e:
        raise NotCarried("/data/0/embedding", f"it holds no numbers: {e}") from e


def write_openai_answer(vector: Vector, frame: Frame) -> Json:
    """The body of a 2xx reply."""
    embedding: Any = list(vector.values)
    if frame.asked.get("encoding_format") == "base64":
        numbers = pack(f"<{len(vector.values)}f", *vector.values)
        embedding = b64encode(numbers).decode()
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
        "model": vector.model or frame.model,
        "usage": {"prompt_tokens": vector.tokens, "total_tokens": vector.tokens},
    }


def write_gemini_answer(vector: Vector, frame: Frame) -> Json:
    """The body of a 2xx reply."""
    return {"embedding": {"values": list(vector.values)}, "tokenCount": str(vector.tokens)}
