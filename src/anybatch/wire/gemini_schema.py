"""Gemini's own schemas as JSON Schema: OpenAPI's of version 3.0, with the types in capitals.

Fields as of the official SDK 3.4, checked 2026-11-20.
"""

from collections.abc import Iterator

from ..core.model import Json
from .strict import Fields

_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_KNOWN = {**{name: name for name in _TYPES}, **{name.upper(): name for name in _TYPES}}

_TEXTS = ("title", "description", "pattern")
_NUMBERS = ("minimum", "maximum")
_COUNTS = (
    *("minItems", "maxItems", "minLength", "maxLength"),
    *("minProperties", "maxProperties"),
)
"""They come as texts, too: that is how the wire writes large numbers."""


def json_schema(found: Fields) -> Json:
    """The same in JSON Schema. A field that is not known is left to be refused at the end."""
    nullable = found.flag("nullable") or False
    schema = {**dict(_plain(found)), **dict(_inside(found))}
    if nullable:
        schema = _or_null(schema)
    order = found.texts("propertyOrdering")
    if "properties" in found:
        by_name = _by_name(found, "properties")
        # The order in which an answer has them is that in which they stand here.
        known = [name for name in order if name in by_name]
        schema["properties"] = {name: by_name[name] for name in [*known, *by_name]}
    return schema


def _or_null(schema: Json) -> Json:
    added: Json = {}
    if "type" in schema:
        added["type"] = [schema["type"], "null"]
    if "enum" in schema:
        added["enum"] = [*schema["enum"], None]
    if "anyOf" in schema:
        added["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return {**schema, **added}


def _plain(found: Fields) -> Iterator[tuple[str, object]]:
    if kind := found.word("type", _KNOWN, idle=("TYPE_UNSPECIFIED",)):
        yield "type", kind
    for name in _TEXTS:
        if (text := found.text(name)) is not None:
            yield name, text
    if (text := found.text("format")) not in (None, "enum"):
        yield "format", text
    for name in _NUMBERS:
        if (number := found.number(name)) is not None:
            yield name, number
    for name in _COUNTS:
        if (count := _count(found, name)) is not None:
            yield name, count
    if values := found.texts("enum"):
        yield "enum", list(values)
    if "default" in found:
        yield "default", found.any("default")
    if "example" in found:
        yield "examples", [found.any("example")]


def _inside(found: Fields) -> Iterator[tuple[str, object]]:
    if required := found.texts("required"):
        yield "required", list(required)
    if (items := found.inner("items")) is not None:
        yield "items", json_schema(items)
    if any_of := found.each("anyOf"):
        yield "anyOf", [json_schema(each) for each in any_of]
    if type(found.peek("additionalProperties")) is bool:
        yield "additionalProperties", found.flag("additionalProperties")
    elif (others := found.inner("additionalProperties")) is not None:
        yield "additionalProperties", json_schema(others)
    if (ref := found.text("ref") or found.text("$ref")) is not None:
        yield "$ref", ref
    if inner := _by_name(found, "defs") or _by_name(found, "$defs"):
        yield "$defs", inner


def _by_name(found: Fields, name: str) -> Json:
    return {key: json_schema(schema) for key, schema in found.by_name(name).items()}


def _count(found: Fields, name: str) -> int | None:
    given = found.peek(name)
    if isinstance(given, str) and given.isdecimal():
        return int(found.need(name))
    return found.count(name)
