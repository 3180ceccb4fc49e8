"""A small instance that is valid under a JSON Schema: the same one for the same schema and seed.

Covers what output schemas are made of. `pattern`, `not` and `if` are not read.
"""

import math
from typing import Any, Final
from zlib import crc32

from ...core.model import Json

DEEP: Final = 6
"""From this depth on optional properties are left out and lists stay as short as they may be."""

FORMATS: Final = {
    "date-time": "2030-01-01T00:00:00Z",
    "date": "2030-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: Json, *, seed: str) -> Any:
    """An instance of `schema`; `seed` decides where there is a choice."""
    return _Maker(schema).make(schema, seed, 0)


class _Maker:
    """Holds the whole schema, which every `$ref` in it points into."""

    def __init__(self, root: Json) -> None:
        self._root = root

    def make(self, schema: Json | bool, seed: str, depth: int) -> Any:
        if not isinstance(schema, dict):
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return _pick(schema["enum"], seed)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return self._alternative(schema, word, seed, depth)
        return self._typed(schema, _type_of(schema, depth), seed, depth)

    def _resolved(self, schema: Json) -> Json:
        """`schema` with its `$ref`s followed and its `allOf` folded in."""
        while "$ref" in schema:
            rest = {word: part for word, part in schema.items() if word != "$ref"}
            schema = {**self._target(schema["$ref"]), **rest}
        if "allOf" not in schema:
            return schema
        rest = {word: part for word, part in schema.items() if word != "allOf"}
        for part in schema["allOf"]:
            rest = _merged(rest, self._resolved(part))
        return rest

    def _target(self, pointer: str) -> Json:
        found: Any = self._root
        for step in pointer.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        if not isinstance(found, dict):
            raise ValueError(f"{pointer!r} does not point to a schema")
        return found

    def _alternative(self, schema: Json, word: str, seed: str, depth: int) -> Any:
        rest = {name: part for name, part in schema.items() if name != word}
        options = [_merged(rest, self._resolved(option)) for option in schema[word]]
        if depth < DEEP:
            return self.make(_pick(options, seed), seed, depth + 1)
        # The way out of a recursive schema is its plainest alternative.
        plain = [option for option in options if _type_of(option, depth) != "object"]
        return self.make((plain or options)[0], seed, depth + 1)

    def _typed(self, schema: Json, kind: str, seed: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, seed, depth)
            case "array":
                return self._array(schema, seed, depth)
            case "string":
                return _string(schema, seed)
            case "integer":
                return int(_number(schema, seed, step=schema.get("multipleOf", 1)))
            case "number":
                return _number(schema, seed, step=schema.get("multipleOf") or _step(schema))
            case "boolean":
                return _hash(seed) % 2 == 0
            case _:
                return None

    def _object(self, schema: Json, seed: str, depth: int) -> Json:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        names = [*properties, *(name for name in required if name not in properties)]
        wanted = names if depth < DEEP else required
        return {
            name: self.make(properties.get(name, True), f"{seed}/{name}", depth + 1)
            for name in wanted
        }

    def _array(self, schema: Json, seed: str, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems", [])
        usual = max(1, len(prefix)) if depth < DEEP else 0
        size = min(max(schema.get("minItems", 0), usual), schema.get("maxItems", math.inf))
        made: list[Any] = []
        for place in range(int(size)):
            part = prefix[place] if place < len(prefix) else schema.get("items", True)
            taken = made if schema.get("uniqueItems") else []
            made.append(self._unlike(taken, part, f"{seed}/{place}", depth + 1))
        return made

    def _unlike(self, taken: list[Any], schema: Json | bool, seed: str, depth: int) -> Any:
        """An instance that is not among `taken`, if some seeds give one."""
        made = self.make(schema, seed, depth)
        for turn in range(100):
            if made not in taken:
                break
            made = self.make(schema, f"{seed}/{turn}", depth)
        return made


def _merged(schema: Json, more: Json) -> Json:
    """Both schemas as one: properties and required names add up, the rest is overwritten."""
    merged = {**schema, **more}
    if "properties" in schema and "properties" in more:
        merged["properties"] = {**schema["properties"], **more["properties"]}
    if "required" in schema and "required" in more:
        merged["required"] = list(dict.fromkeys([*schema["required"], *more["required"]]))
    return merged


def _type_of(schema: Json, depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        plain = [name for name in kind if name != "null"]
        return str(plain[0]) if plain and depth < DEEP else str(kind[-1])
    if kind is not None:
        return str(kind)
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _string(schema: Json, seed: str) -> str:
    text = FORMATS.get(schema.get("format", ""), f"text {_hash(seed):08x}")
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: Json, seed: str, *, step: float) -> float:
    """A multiple of `step` between the bounds, or within ten steps of the one that is given."""
    low, high = _bounds(schema, step)
    first, last = math.ceil(low / step), math.floor(high / step)
    multiple: float = (first + _hash(seed) % max(1, last - first + 1)) * step
    # A step's multiple may lie a rounding error outside, or none may lie inside.
    return min(max(multiple, low), high)


def _step(schema: Json) -> float:
    """Halves, or finer where the bounds leave no room for them."""
    low: float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    high: float | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None or high is None or high <= low:
        return 0.5
    return min(0.5, (high - low) / 4)


def _bounds(schema: Json, step: float) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    if low is None:
        low = 0 if high is None else min(0, high)
    return low, low + 10 * step if high is None else high


def _pick(options: list[Any], seed: str) -> Any:
    return options[_hash(seed) % len(options)]


def _hash(seed: str) -> int:
    return crc32(seed.encode(errors="surrogatepass"))
