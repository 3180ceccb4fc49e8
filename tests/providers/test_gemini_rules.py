"""Gemini's rules, one table: a line, and what is wrong with it."""

from typing import Any

import pytest

from .holding import Given, problems, told

CONTENT = {"parts": [{"text": "hi"}]}


def line(key: Any = "a", **changed: Any) -> dict[str, Any]:
    """A line; a field of its request that is changed to None is left out."""
    asked = {"contents": [CONTENT], **changed}
    return {"key": key, "request": {name: v for name, v in asked.items() if v is not None}}


BAD: dict[str, tuple[Given, str, str | None]] = {
    "no JSON": (b"nope", "invalid_json_line", None),
    "no UTF-8": (b'{"key": "\xff"}', "invalid_json_line", None),
    "no key": ({"request": line()["request"]}, "missing_required_parameter", "key"),
    "an empty key": (line(""), "invalid_custom_id", "key"),
    "a number as key": (line(7), "invalid_custom_id", "key"),
    "a used key": (line("first"), "duplicate_custom_id", "key"),
    "no request": ({"key": "a"}, "missing_required_parameter", "request"),
    "a list as request": ({"key": "a", "request": []}, "invalid_request", "request"),
    "nothing to ask": (line(contents=None), "invalid_request", "request.contents"),
    "empty contents": (line(contents=[]), "invalid_request", "request.contents"),
    "a text as contents": (line(contents="hi"), "invalid_request", "request.contents"),
    "another model": (line(model="models/n"), "mismatched_model", "request.model"),
    "a model that is no name": (line(model=7), "invalid_request", "request.model"),
    "something to embed": (line(contents=None, content=CONTENT), "invalid_url", "request"),
    "a stream": (line(stream=True), "streaming_unsupported", "request.stream"),
}

GOOD: dict[str, Given] = {
    "no model": line(),
    "the same model, written otherwise": line(model="m"),
    "snake_case": line(generation_config={"max_output_tokens": 9}, system_instruction=CONTENT),
    "fields we do not know": {**line(), "extra": 1},
    "any letters": line("ä b/" * 100),
}


@pytest.mark.parametrize(("given", "code", "param"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_breaks_its_rule(given: Given, code: str, param: str | None) -> None:
    found = problems("gemini", line("first", model="models/m"), given, line("last"))

    assert told(found) == [(2, code, param)]


@pytest.mark.parametrize("given", GOOD.values(), ids=GOOD.keys())
def test_a_good_line_breaks_none(given: Given) -> None:
    assert problems("gemini", line("first", model="models/m"), given, line("last")) == []


def test_a_file_may_hold_texts_to_embed() -> None:
    texts = [line(key, contents=None, content=CONTENT) for key in ("a", "b")]

    assert problems("gemini", *texts) == []
