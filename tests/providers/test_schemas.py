"""What each provider's structured output takes of JSON Schema, one table."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import anybatch
import anybatch.testing
from anybatch.core.model import Json
from anybatch.core.schema import closed_object, from_fields, from_labels
from anybatch.errors import BadSchema
from anybatch.providers.schemas import ANTHROPIC, GEMINI, OPENAI, Dialect, check, find

TEXT: Json = {"type": "string"}
DIALECTS = {"openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GEMINI}


def of(**properties: Json) -> Json:
    return closed_object(properties)


def nested(levels: int) -> Json:
    schema = of(x=TEXT)
    for _ in range(levels - 1):
        schema = of(x=schema)
    return schema


TREE: Json = {
    "$defs": {"node": {**of(name=TEXT), "required": ["name"]}},
    **of(root={"$ref": "#/$defs/node"}),
}
TREE["$defs"]["node"]["properties"]["children"] = {
    "type": "array",
    "items": {"$ref": "#/$defs/node"},
}
CHAIN: Json = {
    "$defs": {"a~/b": of(next={"$ref": "#/$defs/a~0~1b"})},
    **of(first={"$ref": "#/$defs/a~0~1b"}),
}
"""Of which no answer could ever end."""

REFUSED: dict[str, tuple[str, Json, str, str]] = {
    "a list at the top": ("openai", {"type": "array", "items": of(a=TEXT)}, "", "type"),
    "a text at the top": ("openai", TEXT, "", "type"),
    "a choice at the top": ("openai", {**of(a=TEXT), "anyOf": [of(a=TEXT)]}, "", "anyOf"),
    "one of": ("openai", of(a={"oneOf": [TEXT]}), "/properties/a/oneOf", "oneOf"),
    "all of, deep inside": (
        "openai",
        of(a={"type": "array", "items": of(b={"allOf": [TEXT]})}),
        "/properties/a/items/properties/b/allOf",
        "allOf",
    ),
    "a condition in a definition": (
        "openai",
        {**of(a={"$ref": "#/$defs/c/d"}), "$defs": {"c/d": {"if": TEXT, "then": TEXT}}},
        "/$defs/c~1d/if",
        "if",
    ),
    "eleven objects deep": ("openai", nested(11), "/properties/x" * 11, "properties"),
    "5,001 properties": (
        "openai",
        of(**{f"p{n}": TEXT for n in range(5_001)}),
        "",
        "properties",
    ),
    "1,001 values": (
        "openai",
        of(a={"enum": [f"{n}" for n in range(600)]}, b={"enum": [f"{n}" for n in range(401)]}),
        "/properties/b",
        "enum",
    ),
    "251 long values": (
        "openai",
        of(a={"type": "string", "enum": [f"{n:060}" for n in range(251)]}),
        "/properties/a/enum",
        "enum",
    ),
    "120,001 letters": ("openai", of(**{"x" * 120_001: TEXT}), "", "properties"),
    "an open object": ("anthropic", {"type": "object"}, "", "additionalProperties"),
    "an open object inside": (
        "anthropic",
        of(a={"anyOf": [{"type": ["object", "null"], "properties": {}}]}),
        "/properties/a/anyOf/0",
        "additionalProperties",
    ),
    "a least number": (
        "anthropic",
        of(a={"type": "integer", "minimum": 1}),
        "/properties/a/minimum",
        "minimum",
    ),
    "a longest text": (
        "anthropic",
        of(a={"type": "string", "maxLength": 9}),
        "/properties/a/maxLength",
        "maxLength",
    ),
    "two things at least": (
        "anthropic",
        of(a={"type": "array", "items": TEXT, "minItems": 2}),
        "/properties/a/minItems",
        "minItems",
    ),
    "a format of our own": (
        "anthropic",
        of(a={"type": "string", "format": "isbn"}),
        "/properties/a/format",
        "format",
    ),
    "a list as a value": (
        "anthropic",
        of(a={"enum": [["x"]]}),
        "/properties/a/enum",
        "enum",
    ),
    "a tree": ("anthropic", TREE, "/$defs/node/properties/children/items/$ref", "$ref"),
    "a chain without end": ("anthropic", CHAIN, "/$defs/a~0~1b/properties/next/$ref", "$ref"),
    "a chain without end, required": (
        "gemini",
        CHAIN,
        "/$defs/a~0~1b/properties/next/$ref",
        "$ref",
    ),
    "something beside a ref": (
        "gemini",
        {**of(a={"$ref": "#/$defs/t", "description": "x"}), "$defs": {"t": TEXT}},
        "/properties/a/$ref",
        "$ref",
    ),
}


@pytest.mark.parametrize(
    ("provider", "schema", "pointer", "keyword"), REFUSED.values(), ids=REFUSED.keys()
)
def test_what_a_provider_cannot_take_is_found(
    provider: str, schema: Json, pointer: str, keyword: str
) -> None:
    found = find(schema, DIALECTS[provider])

    assert found is not None
    assert (found.pointer, found.keyword) == (pointer, keyword)


OWN: list[Json] = [from_labels(["a", "b"]), from_fields(["age:int", "mood:good|bad", "tags[]"])]
TAKEN: dict[str, tuple[str, Json]] = {
    **{f"our own {n}, {name}": (name, schema) for name in DIALECTS for n, schema in enumerate(OWN)},
    "an open object, which is not enforced": ("openai", {"type": "object", "oneOf": [TEXT]}),
    "ten objects deep": ("openai", nested(10)),
    "bounds": ("openai", of(a={"type": "integer", "minimum": 1, "multipleOf": 2})),
    "a tree, in strict mode": (
        "openai",
        {
            "$defs": {"node": of(kids={"type": "array", "items": {"$ref": "#/$defs/node"}})},
            **of(root={"$ref": "#/$defs/node"}),
        },
    ),
    "the whole in itself": ("openai", of(a={"anyOf": [{"$ref": "#"}, {"type": "null"}]})),
    "250 long values": ("openai", of(a={"enum": [f"{n:070}" for n in range(250)]})),
    "a name twice, but no loop": (
        "anthropic",
        {**of(a={"$ref": "#/$defs/t"}, b={"$ref": "#/$defs/t"}), "$defs": {"t": TEXT}},
    ),
    "one thing at least": ("anthropic", of(a={"type": "array", "items": TEXT, "minItems": 1})),
    "a choice": ("anthropic", {"anyOf": [of(a=TEXT), of(b=TEXT)]}),
    "a property called as a keyword": ("anthropic", of(minimum=TEXT, maxLength=TEXT)),
    "a tree whose children may be left out": ("gemini", TREE),
    "keywords that are ignored": ("gemini", of(a={"type": "string", "maxLength": 9, "not": {}})),
    "an open object": ("gemini", {"type": "object"}),
}


@pytest.mark.parametrize(("provider", "schema"), TAKEN.values(), ids=TAKEN.keys())
def test_what_a_provider_takes_is_no_problem(provider: str, schema: Json) -> None:
    assert find(schema, DIALECTS[provider]) is None


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_lists_in_lists_are_looked_through(dialect: Dialect) -> None:
    schema: Json = {"type": "array", "items": TEXT}
    for _ in range(200):
        schema = {"type": "array", "items": schema}

    assert find(of(a=schema), dialect) is None


def test_one_line_names_the_place_the_keyword_and_the_way_out() -> None:
    schema = of(score={"type": "integer", "minimum": 1})

    with pytest.raises(BadSchema) as refused:
        check(schema, ANTHROPIC, provider="anthropic", parameters={})

    assert str(refused.value) == (
        "anthropic does not take this schema: 'minimum' at '/properties/score/minimum' is not "
        "supported; leave it out, and say it in the 'description', or have the answer given to a "
        """tool, which takes any schema of an object: --set 'tool_choice={"type":"tool","""
        """"name":"answer"}'"""
    )


class Verdict(BaseModel):
    label: str


@pytest.mark.parametrize(
    ("model", "api_key", "schema", "says"),
    [
        ("anthropic/m", "ANTHROPIC_API_KEY", Verdict, r"'additionalProperties' at '/' .*forbid"),
        ("openai/m", "OPENAI_API_KEY", of(a={"oneOf": [TEXT]}), "'oneOf' at '/properties/a/oneOf'"),
        ("gemini/m", "GEMINI_API_KEY", CHAIN, r"'\$ref' at .*leads back to itself"),
        ("azure/m", "AZURE_OPENAI_API_KEY", TEXT, "'type' at '/' is not 'object'"),
    ],
)
def test_nothing_is_planned_for_a_schema_that_cannot_be_taken(
    model: str,
    api_key: str,
    schema: Any,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(api_key, "any")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://127.0.0.1:9")

    with pytest.raises(BadSchema, match=says) as refused:
        anybatch.run(
            [{"x": 1}], prompt="{{ x }}", model=model, schema=schema, store=tmp_path / "store"
        )

    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "store").glob("runs/*"))


def test_an_address_of_the_callers_own_may_take_anything(tmp_path: Path) -> None:
    with anybatch.testing.FakeEndpoint() as endpoint:
        run = anybatch.run(
            [{"x": 1}],
            prompt="{{ x }}",
            model="openai/m",
            base_url=endpoint.base_url,
            schema=TEXT,
            store=tmp_path / "store",
        )

    assert run.status == "ok"


def test_a_schema_that_goes_to_a_tool_may_be_any() -> None:
    parameters = {"tool_choice": {"type": "tool", "name": "answer"}}

    check({"oneOf": []}, ANTHROPIC, provider="anthropic", parameters=parameters)
