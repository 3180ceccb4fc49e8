"""What the providers' structured output takes of JSON Schema, so that the rest is refused at once.

Only what a service is known to refuse is a problem here. What it ignores is none: every answer is
checked against the whole schema when it comes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from ..core.model import Json
from ..core.schema import is_strict
from ..errors import BadSchema
from ..wire.anthropic import BY_TOOL, is_by_tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one service takes."""

    source: str
    """Where these facts are from, and when that was looked at."""
    applies: Callable[[Json], bool] = lambda schema: True
    """Whether a schema is sent so that these rules hold for it."""
    spared: Callable[[Json], bool] = lambda parameters: False
    """Whether a run with these parameters sends its schema in a form that takes any."""
    or_else: str = ""
    """How to have it sent so."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Keywords it does not take -> the way out."""
    object_root: bool = False
    closed: bool = False
    """Whether every object has to say `"additionalProperties": false`."""
    plain_enums: bool = False
    """Whether the values of an enum may be no lists or objects."""
    formats: frozenset[str] | None = None
    """Those of texts that it knows; None: it takes any."""
    min_items: int | None = None
    """The most that `minItems` may ask for."""
    bare_refs: bool = False
    """Whether nothing may stand beside a `$ref` but what begins with `$`."""
    recursion: Literal["any", "optional", "none"] = "any"
    """`optional`: only through properties that an answer may do without."""
    max_depth: int | None = None
    """Of objects in objects."""
    max_properties: int | None = None
    """Of all objects together."""
    max_values: int | None = None
    """Of all enums together."""
    max_letters: int | None = None
    """Of all names and values together."""
    long_enum: tuple[int, int] | None = None
    """An enum of more texts than the first has at most the second many letters."""


class Found(NamedTuple):
    """Something in a schema that a service does not take."""

    pointer: str
    """Where, as a JSON pointer."""
    keyword: str
    why: str
    way_out: str


def check(schema: Json, dialect: Dialect, *, provider: str, parameters: Json) -> None:
    """Raise BadSchema if the service is known not to take `schema`."""
    found = None if dialect.spared(parameters) else find(schema, dialect)
    if found is not None:
        raise BadSchema(
            f"{provider} does not take this schema: {found.keyword!r} at {found.pointer or '/'!r} "
            f"{found.why}; {found.way_out}{dialect.or_else}"
        )


def find(schema: Json, dialect: Dialect) -> Found | None:
    """The first thing in `schema` that the service does not take."""
    if not dialect.applies(schema):
        return None
    places = list(_places(schema))
    return next(
        chain(
            _root_problems(schema, dialect),
            chain.from_iterable(_place_problems(place, dialect) for place in places),
            _recursion_problems(places, dialect),
            _size_problems(places, dialect),
        ),
        None,
    )


# --- walking a schema -----------------------------------------------------------------------------


class _Place(NamedTuple):
    """A schema inside the whole one."""

    pointer: str
    schema: Json
    depth: int
    """In so many objects."""


class _Child(NamedTuple):
    pointer: str
    """From its parent on."""
    schema: Json
    keyword: str
    optional: bool = False
    """Whether it is of a property that an answer may do without."""


_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    "items",
    "additionalProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
)
_KEPT_APART = ("$defs", "definitions")
"""Under these lie schemas that stand for nothing until a `$ref` names them."""


def _children(schema: Json) -> Iterator[_Child]:
    """The schemas right inside one; those that say nothing are left out."""
    for keyword, name, inner in _inner(schema):
        if isinstance(inner, dict) and inner:
            optional = keyword == "properties" and name not in (schema.get("required") or ())
            pointer = f"/{keyword}" if name is None else f"/{keyword}/{_token(name)}"
            yield _Child(pointer, inner, keyword, optional)


def _inner(schema: Json) -> Iterator[tuple[str, str | None, Any]]:
    """A keyword, a name or place under it, and what stands there."""
    for keyword in _NAMED:
        named = schema.get(keyword)
        for name, inner in named.items() if isinstance(named, dict) else ():
            yield keyword, name, inner
    for keyword in _LISTED:
        listed = schema.get(keyword)
        for place, inner in enumerate(listed if isinstance(listed, list) else ()):
            yield keyword, str(place), inner
    for keyword in _SINGLE:
        yield keyword, None, schema.get(keyword)


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _places(schema: Json) -> Iterator[_Place]:
    """The schema and all inside it, outer ones first."""
    waiting = [_Place("", schema, 0)]
    while waiting:
        place = waiting.pop()
        yield place
        found = [
            _Place(
                place.pointer + child.pointer,
                child.schema,
                place.depth + (child.keyword == "properties"),
            )
            for child in _children(place.schema)
        ]
        waiting += reversed(found)


# --- what may be wrong ----------------------------------------------------------------------------


def _root_problems(schema: Json, dialect: Dialect) -> Iterator[Found]:
    if not dialect.object_root:
        return
    way_out = "put it under a property of an object"
    if "anyOf" in schema:
        yield Found("", "anyOf", "stands at the top, and an object has to", way_out)
    elif schema.get("type") != "object":
        yield Found("", "type", "is not 'object', which the top has to be", way_out)


def _place_problems(place: _Place, dialect: Dialect) -> Iterator[Found]:
    pointer, schema, _ = place
    for keyword, way_out in dialect.refused.items():
        if keyword in schema:
            yield Found(f"{pointer}/{keyword}", keyword, "is not supported", way_out)
    if dialect.closed and _is_object(schema) and schema.get("additionalProperties") is not False:
        why = "has to be false for every object"
        yield Found(pointer, "additionalProperties", why, _CLOSE)
    values = schema.get("enum")
    if dialect.plain_enums and any(isinstance(value, list | dict) for value in values or ()):
        why, way_out = "has values that are lists or objects", "name them by texts"
        yield Found(f"{pointer}/enum", "enum", why, way_out)
    shape = schema.get("format")
    if dialect.formats is not None and isinstance(shape, str) and shape not in dialect.formats:
        known = ", ".join(sorted(dialect.formats))
        yield Found(f"{pointer}/format", "format", f"is {shape!r}", f"use one of {known}")
    least = schema.get("minItems")
    if dialect.min_items is not None and isinstance(least, int) and least > dialect.min_items:
        why = f"is {least}, and may be {dialect.min_items} at most"
        yield Found(f"{pointer}/minItems", "minItems", why, _DESCRIBE)
    if dialect.bare_refs and "$ref" in schema:
        beside = sorted(name for name in schema if not name.startswith("$"))
        if beside:
            why = f"has {beside[0]!r} beside it"
            yield Found(f"{pointer}/$ref", "$ref", why, "put that where the $ref leads")


_DESCRIBE = "leave it out, and say it in the 'description'"
_CLOSE = "add it (for a pydantic model: model_config = ConfigDict(extra='forbid'))"


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _recursion_problems(places: list[_Place], dialect: Dialect) -> Iterator[Found]:
    if dialect.recursion == "any":
        return
    by_pointer = {place.pointer: place.schema for place in places}
    optional = dialect.recursion == "none"
    for pointer, inner, _ in places:
        target = _target(inner)
        if target is None or target not in by_pointer:
            continue
        reached = _reached(target, by_pointer, optional=optional)
        closes = any(pointer.startswith(f"{other}/") for other in reached)
        if target in reached and closes:
            why = "leads back to itself"
            way_out = "write out as many levels as you need"
            if dialect.recursion == "optional":
                why, way_out = f"{why} by way of required properties", f"{way_out}, or require less"
            yield Found(f"{pointer}/$ref", "$ref", why, way_out)


def _target(schema: Json) -> str | None:
    """Where a `$ref` into the same schema leads."""
    ref = schema.get("$ref")
    return unquote(ref[1:]) if isinstance(ref, str) and ref.startswith("#") else None


def _reached(start: str, by_pointer: Mapping[str, Json], *, optional: bool) -> set[str]:
    """All that refs below `start` lead to; `optional`: also below what an answer may do without."""
    reached: set[str] = set()
    waiting = [by_pointer[start]]
    while waiting:
        schema = waiting.pop()
        target = _target(schema)
        if target is not None and target in by_pointer and target not in reached:
            reached.add(target)
            waiting.append(by_pointer[target])
        waiting += (
            child.schema
            for child in _children(schema)
            if child.keyword not in _KEPT_APART and (optional or not child.optional)
        )
    return reached


def _size_problems(places: list[_Place], dialect: Dialect) -> Iterator[Found]:
    properties = values = letters = 0
    for pointer, schema, depth in places:
        if dialect.max_depth is not None and depth > dialect.max_depth:
            why = f"is {depth} objects deep, and may be {dialect.max_depth} at most"
            yield Found(pointer, "properties", why, "make it flatter")
        listed = schema.get("enum")
        enum = listed if isinstance(listed, list) else []
        yield from _enum_problems(pointer, enum, dialect)
        own = _names(schema, "properties")
        properties, values = properties + len(own), values + len(enum)
        apart = chain.from_iterable(_names(schema, keyword) for keyword in _KEPT_APART)
        letters += _letters(chain(own, apart, enum, [schema.get("const")]))
        yield from _too_many(
            pointer, "properties", properties, dialect.max_properties, "properties"
        )
        yield from _too_many(pointer, "enum", values, dialect.max_values, "values of enums")
        yield from _too_many(
            pointer, "properties", letters, dialect.max_letters, "letters of names"
        )


def _enum_problems(pointer: str, enum: list[Any], dialect: Dialect) -> Iterator[Found]:
    if dialect.long_enum is None:
        return
    few, most = dialect.long_enum
    letters = _letters(enum)
    if len(enum) > few and letters > most:
        why = f"has {letters:,} letters in {len(enum):,} values, and may have {most:,} at most"
        yield Found(f"{pointer}/enum", "enum", why, "use shorter or fewer values")


def _too_many(
    pointer: str, keyword: str, count: int, most: int | None, what: str
) -> Iterator[Found]:
    if most is not None and count > most:
        why = f"brings the schema to {count:,} {what}, and it may have {most:,} at most"
        yield Found(pointer, keyword, why, "use fewer")


def _names(schema: Json, keyword: str) -> list[str]:
    named = schema.get(keyword)
    return list(named) if isinstance(named, dict) else []


def _letters(words: Iterable[object]) -> int:
    return sum(len(word) for word in words if isinstance(word, str))


# --- the services ---------------------------------------------------------------------------------

_LOOSEN = (
    'leave it out, or leave out "additionalProperties": false, so that it is only checked here'
)

OPENAI = Dialect(
    source="OpenAI's guide to structured outputs, supported schemas, and recorded refusals, "
    "checked 2026-11-20",
    applies=is_strict,
    refused={
        "oneOf": "use 'anyOf'",
        **dict.fromkeys(("allOf", "not", "if", "then", "else"), _LOOSEN),
        **dict.fromkeys(("dependentRequired", "dependentSchemas"), _LOOSEN),
    },
    object_root=True,
    max_depth=10,
    max_properties=5_000,
    max_values=1_000,
    max_letters=120_000,
    long_enum=(250, 15_000),
)
"""Of its strict mode, which a schema is sent for if every object in it is closed and requires all
its properties. Any other schema is not enforced there."""

ANTHROPIC = Dialect(
    source="platform.claude.com, structured outputs, and the official SDK 2.10, checked 2026-11-20",
    spared=is_by_tool,
    or_else=", or have the answer given to a tool, which takes any schema of an object: "
    f"--set 'tool_choice={BY_TOOL}'",
    refused={
        "oneOf": "use 'anyOf'",
        **dict.fromkeys(
            (
                *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
                *("minLength", "maxLength", "maxItems", "uniqueItems", "contains"),
                *("minProperties", "maxProperties", "patternProperties", "propertyNames"),
                *("not", "if", "then", "else", "dependentRequired", "dependentSchemas"),
                *("prefixItems", "unevaluatedItems", "unevaluatedProperties"),
            ),
            _DESCRIBE,
        ),
    },
    closed=True,
    plain_enums=True,
    formats=frozenset(
        (
            *("date-time", "time", "date", "duration", "email"),
            *("hostname", "uri", "ipv4", "ipv6", "uuid"),
        )
    ),
    min_items=1,
    recursion="none",
)

GEMINI = Dialect(
    source="Google's API reference, responseJsonSchema, checked 2026-11-20",
    bare_refs=True,
    recursion="optional",
)
"""Keywords it does not know are ignored there."""
