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
        raise BadSchema(f"{where} is not a JSON Schema object")
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, ValueError) as e:
        raise BadSchema(f"{where} is not a valid JSON Schema: {_first_line(str(e))}") from e
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

    def check(self, text: str) -> Checked:
        """The value of `text`, a code fence around it forgiven, or what is wrong with it."""
        try:
            value = parse(text)
            for error in self._validator.iter_errors(value):
                path = "".join(f"[{part!r}]" for part in error.instance_path)
                return Checked(None, f"answer{path}: {_first_line(error.message)}")
        except (msgspec.DecodeError, UnicodeEncodeError) as e:
            return Checked(None, f"the answer is not JSON: {e}")
        except (RecursionError, ValueError) as e:
            return Checked(None, f"the answer cannot be checked: {_first_line(str(e))}")
        return Checked(value, None)


def parse(text: str) -> Any:
    """The JSON value of an answer. Raises msgspec.DecodeError, or RecursionError."""
    return msgspec.json.decode(_unfenced(text))


def _unfenced(text: str) -> str:
    # No regular expression: models write white space without end, and one would go to and fro.
    fenced = text.strip()
    if not (fenced.startswith("```") and fenced.endswith("```")):
        return text
    language, newline, inner = fenced[3:-3].partition("\n")
    return inner.strip() if newline and language.strip() in ("", "json") else text


def _first_line(text: str) -> str:
    return text.splitlines()[0][:_MAX_REASON] if text else "no reason given"
