"""Vertex AI's rules, one table: a line, and what is wrong with it."""

from typing import Any

import pytest

from .holding import Given, problems, told

CONTENT = {"parts": [{"text": "hi"}]}


def line(name: Any = "a", field: str = "custom_id", **changed: Any) -> dict[str, Any]:
    """A line; a field of its request that is changed to None is left out."""
    asked = {"contents": [CONTENT], **changed}
    return {field: name, "request": {name: v for name, v in asked.items() if v is not None}}


def with_tool(tool: Any) -> dict[str, Any]:
    return line(tools=[{"google_search": tool}])


BAD: dict[str, tuple[Given, str, str | None]] = {
    "no JSON": (b"nope", "invalid_json_line", None),
    "no name": ({"request": line()["request"]}, "missing_required_parameter", "custom_id"),
    "an empty name": (line(""), "invalid_custom_id", "custom_id"),
    "a number as name": (line(7, field="key"), "invalid_custom_id", "custom_id"),
    "a used name": (line("first"), "duplicate_custom_id", "custom_id"),
    "a used name, as a key": (line("first", field="key"), "duplicate_custom_id", "custom_id"),
    "no request": ({"custom_id": "a"}, "missing_required_parameter", "request"),
    "a list as request": ({"custom_id": "a", "request": []}, "invalid_request", "request"),
    "nothing to ask": (line(contents=None), "invalid_request", "request.contents"),
    "something to embed": (line(contents=None, content=CONTENT), "invalid_url", "request"),
    "another model": (line(model="n"), "mismatched_model", "request.model"),
    "an explicit cache": (
        line(cachedContent="cachedContents/1"),
        "forbidden_field",
        "request.cachedContent",
    ),
    "an explicit cache in snake_case": (
        line(cached_content="cachedContents/1"),
        "forbidden_field",
        "request.cachedContent",
    ),
    "an empty tool": (with_tool({}), "invalid_value", "request.tools[0].googleSearch"),
}

GOOD: dict[str, Given] = {
    "the least": line(),
    "a key": line(field="key"),
    "fields beside the request": {**line(), "extra": 1},
    "no cache": line(cachedContent=None),
    "a tool with something in it": with_tool({"time_range_filter": None}),
    "a function": line(tools=[{"functionDeclarations": [{"name": "f"}]}]),
}


@pytest.mark.parametrize(("given", "code", "param"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_breaks_its_rule(given: Given, code: str, param: str | None) -> None:
    found = problems("vertex", line("first", model="m"), given, line("last"))

    assert told(found) == [(2, code, param)]


@pytest.mark.parametrize("given", GOOD.values(), ids=GOOD.keys())
def test_a_good_line_breaks_none(given: Given) -> None:
    assert problems("vertex", line("first", model="m"), given, line("last")) == []


def test_a_file_may_hold_texts_to_embed() -> None:
    texts = [line(key, field="key", contents=None, content=CONTENT) for key in ("a", "b")]

    assert problems("vertex", *texts) == []
