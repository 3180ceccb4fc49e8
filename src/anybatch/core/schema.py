"""An output schema: where it comes from, and whether an answer fits it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec

from ..errors import BadSchema
from .model import Json

_TYPES: dict[str, Json] = {
    "string": {"type": "string"},
    "str": {"type": "string"},
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "bool": {"type": "boolean"},
}
_MAX_REASON = 300


def closed_object(properties: dict[str, Json]) -> Json:
    """An object with exactly these properties: the form every provider's strict mode takes."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def from_labels(labels: Sequence[str]) -> Json:
    """One of `labels`, under the name `label`."""
    return closed_object({"label": _one_of(labels, what="labels")})


def _one_of(values: Sequence[str], *, what: str) -> Json:
    if not values or len(set(values)) != len(values) or not all(values):
        named = ", ".join(map(repr, values)) or "none is given"
        raise BadSchema(f"{what} must be different and not empty: {named}")
    return {"type": "string", "enum": list(values)}


def from_fields(fields: Sequence[str]) -> Json:
    """One property per `name:type`; a type may be a list of values, as in `mood:good|bad`."""
    properties: dict[str, Json] = {}
    for name, schema in map(_field, fields):
        if name in properties:
            raise BadSchema(f"field {name!r} is given twice")
        properties[name] = schema
    return closed_object(properties)


def _field(text: str) -> tuple[str, Json]:
    name, colon, kind = text.partition(":")
    if not name:
        raise BadSchema(f"field {text!r} has no name; write name:type")
    if "|" in kind:
        return name, _one_of(kind.split("|"), what=f"the values of field {name!r}")
    many = kind.endswith("[]")
    schema = _TYPES.get(kind.removesuffix("[]") if colon else "string")
    if schema is None:
        raise BadSchema(
            f"field {text!r} has an unknown type {kind!r}; use one of string, integer, number, "
            "boolean, any of them with [] for a list, or values as in good|bad"
        )
    return name, {"type": "array", "items": schema} if many else schema


def checked(schema: object, *, where: str) -> Json:
    """`schema`, if it is a JSON Schema we can use; BadSchema, naming `where`, if not."""
    if not isinstance(schema, dict):
        raise BadSchema(
            f"{where} is not a JSON Schema, which is an object such as "
            '{"type": "string"}; mend it'
        )
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, ValueError) as e:
        path = "".join(f"[{part!r}]" for part in getattr(e, "instance_path", ()))
        at = path and f" at {path}"
        raise BadSchema(
            f"{where} is not a valid JSON Schema{at}: {_first_line(str(e))}; correct it there"
        ) from e
    return schema


def _validator(schema: Json) -> Any:
    # Offline: a `$ref` to an address or a file would be fetched, and this is a user's text.
    return jsonschema_rs.validator_for(schema, offline=True)


def is_strict(schema: Json) -> bool:
    """Whether every object in it is closed and requires all it names, as strict modes demand."""
    kind = schema.get("type")
    is_object = "object" in kind if isinstance(kind, list) else kind == "object"
    if is_object or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required", ())) != set(properties):
            return False
    return all(is_strict(inner) for inner in _inner(schema))


def _inner(schema: Json) -> list[Json]:
    found: list[Any] = []
    for key in ("properties", "$defs", "definitions"):
        by_name = schema.get(key)
        found += by_name.values() if isinstance(by_name, dict) else ()
    for key in ("items", "anyOf", "oneOf", "allOf", "prefixItems"):
        value = schema.get(key)
        found += value if isinstance(value, list) else (value,)
    return [inner for inner in found if isinstance(inner, dict)]


def answer_columns(schema: Json | None) -> tuple[str, ...]:
    """The columns an answer is spread over: an object's properties, or one called `answer`."""
    if schema is None or not schema.get("properties"):
        return ("answer",)
    return tuple(schema["properties"])


class Checked(NamedTuple):
    """A text held against a schema: its value, or why it has none."""

    value: Any
    problem: str | None


class Checker:
    """Holds answers against one schema; compiled once, because there are a million of them."""

    def __init__(self, schema: Json) -> None:
        self._validator = _validator(schema)
        self._labels = _labels_of(schema)

    def check(self, text: str) -> Checked:
        """The value of `text`, as `parse` has it, or what is wrong with it."""
        try:
            value = self.parse(text)
            for error in self._validator.iter_errors(value):
                path = "".join(f"[{part!r}]" for part in error.instance_path)
                return Checked(None, f"answer{path}: {_first_line(error.message)}")
        except (msgspec.DecodeError, UnicodeEncodeError) as e:
            return Checked(None, f"the answer is not JSON: {e}")
        except (RecursionError, ValueError) as e:
            return Checked(None, f"the answer cannot be checked: {_first_line(str(e))}")
        return Checked(value, None)

    def parse(self, text: str) -> Any:
        """The value of an answer: as `parse` has it; where a label is asked for, a bare one too.

        Raises msgspec.DecodeError, or RecursionError.
        """
        return parse(text) if self._labels is None else self._labels.parse(text)


def parse(text: str) -> Any:
    """The JSON value of an answer, which may stand between prose if it is the only one.

    Raises msgspec.DecodeError, or RecursionError.
    """
    try:
        return _decode(text)
    except msgspec.DecodeError:
        answer = _after_thinking(text)
    try:
        return _decode(answer)
    except msgspec.DecodeError:
        inner = _set_off(answer)
        if inner is None:
            raise
    return _decode(inner)


_decode = msgspec.json.Decoder().decode
_THINKING, _THOUGHT = "<think>", "</think>"
_FENCE = "```"


def _after_thinking(text: str) -> str:
    """What follows the thoughts that a text begins with; nothing if they have no end."""
    if not text.lstrip().startswith(_THINKING):
        return text
    return text.partition(_THOUGHT)[2]


def _set_off(text: str) -> str | None:
    """The part of `text` that can only be its JSON value; None where there is any doubt."""
    # No regular expression: models write white space without end, and one would go to and fro.
    start, end = text.find(_FENCE), text.rfind(_FENCE)
    if end >= start + len(_FENCE) and _is_prose(text[:start] + text[end + len(_FENCE) :]):
        language, newline, inner = text[start + len(_FENCE) : end].partition("\n")
        return inner.strip() if newline and language.strip().lower() in ("", "json") else None
    opening = min((at for at in map(text.find, "[{") if at >= 0), default=0)
    closing = max(map(text.rfind, "]}")) + 1 or len(text)
    alone = (
        _is_prose(text[:opening])
        and _is_prose(text[closing:])
        and _FENCE not in (text[:opening] + text[closing:])
    )
    return text[opening:closing].strip() if alone else None


def _is_prose(text: str) -> bool:
    """Whether `text` holds nothing that begins or ends a JSON list or object."""
    return not any(bracket in text for bracket in "[]{}")


class _Labels:
    """A choice of labels, of which a model may name one without any JSON."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = frozenset(labels)
        self._by_bare: dict[str, list[str]] = {}
        for label in labels:
            self._by_bare.setdefault(_bare(label), []).append(label)

    def parse(self, text: str) -> Any:
        """See `Checker.parse`."""
        try:
            value = parse(text)
        except msgspec.DecodeError:
            label = self._named(_after_thinking(text))
            if label is None:
                raise
            return {"label": label}
        if isinstance(value, dict):
            return value
        label = self._named(value if isinstance(value, str) else _after_thinking(text))
        return value if label is None else {"label": label}

    def _named(self, text: str) -> str | None:
        """The label that `text` is; None if it is none, or could be several."""
        if text.strip() in self._labels:
            return text.strip()
        bare = _bare(text)
        same = self._by_bare.get(bare, ()) if bare else ()
        return same[0] if len(same) == 1 else None


_QUOTES = " \t\r\n\"'`“”„‘’‚«»‹›"  # noqa: RUF001


def _bare(label: str) -> str:
    """A label without what makes no difference: case, quotes, a period at the end."""
    return label.strip(_QUOTES).removesuffix(".").strip(_QUOTES).casefold()


def _labels_of(schema: Json) -> _Labels | None:
    """The choice that `schema` is, if it is one of those that `from_labels` makes."""
    match schema:
        case {"properties": {"label": {"enum": list(labels)}}}:
            chosen = closed_object({"label": {"type": "string", "enum": labels}})
            texts = all(isinstance(label, str) for label in labels)
            return _Labels(labels) if texts and schema == chosen else None
    return None


def _first_line(text: str) -> str:
    return text.splitlines()[0][:_MAX_REASON] if text else "no reason given"
