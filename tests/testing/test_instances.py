"""Instances fit their schema, as an independent validator judges them."""

from typing import Any

import jsonschema_rs
import pytest

from anybatch.testing.endpoint.instances import instance

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "parent"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}

SCHEMAS: dict[str, Any] = {
    "anything": {},
    "a constant": {"const": {"a": 1}},
    "an enum": {"enum": ["a", "b", 3, None]},
    "a text": {"type": "string", "minLength": 20, "maxLength": 30},
    "a short text": {"type": "string", "maxLength": 2},
    "a date": {"type": "string", "format": "date"},
    "a moment": {"type": "string", "format": "date-time"},
    "an id": {"type": "string", "format": "uuid"},
    "an address": {"type": "string", "format": "email"},
    "a boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "a nullable text": {"type": ["null", "string"]},
    "a whole number": {"type": "integer", "minimum": 3, "maximum": 5},
    "a big number": {"type": "integer", "exclusiveMinimum": 1000},
    "a small number": {"type": "integer", "maximum": -7},
    "a probability": {"type": "number", "minimum": 0, "maximum": 1},
    "a number in a tight place": {
        "type": "number",
        "exclusiveMinimum": 0.1,
        "exclusiveMaximum": 0.3,
    },
    "one number": {"type": "number", "minimum": 0.3, "maximum": 0.3},
    "multiples": {"type": "integer", "multipleOf": 7, "minimum": 1},
    "a list": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 4},
    "an empty list": {"type": "array", "items": False, "maxItems": 0},
    "different ones": {
        "type": "array",
        "items": {"enum": ["a", "b", "c"]},
        "minItems": 3,
        "uniqueItems": True,
    },
    "a pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
    "an object": {
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    "an undescribed field": {"type": "object", "required": ["a"]},
    "one of two": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    "all of two": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "a reference": {
        "$defs": {"a/b": {"type": "integer", "minimum": 4}},
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a~1b"}},
        "required": ["a"],
    },
    "a tree": TREE,
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_instance_fits_its_schema(name: str) -> None:
    validator = jsonschema_rs.validator_for(SCHEMAS[name], validate_formats=True)

    for seed in map(str, range(50)):
        validator.validate(instance(SCHEMAS[name], seed=seed))


def test_the_same_seed_gives_the_same_instance() -> None:
    assert instance(TREE, seed="a") == instance(TREE, seed="a")


def test_the_seed_decides_between_alternatives() -> None:
    made = {instance({"enum": ["a", "b", "c"]}, seed=str(n)) for n in range(50)}

    assert made == {"a", "b", "c"}
