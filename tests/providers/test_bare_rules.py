"""The rules for lines of a name and a body, one table: a line, and what is wrong with it."""

from typing import Any

import pytest

from .holding import Given, problems, told

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def row(name: Any = "a", body: Any = CHAT, **more: Any) -> dict[str, Any]:
    given = {"custom_id": name, "body": body, **more}
    return {key: value for key, value in given.items() if value is not ...}


BAD: dict[str, tuple[Given, str, str | None]] = {
    "no JSON": (b"nope", "invalid_json_line", None),
    "no name": (row(...), "missing_required_parameter", "custom_id"),
    "a number as name": (row(7), "invalid_custom_id", "custom_id"),
    "no body": (row(body=...), "missing_required_parameter", "body"),
    "a list as body": (row(body=[]), "invalid_request", "body"),
    "nothing to ask": (row(body={}), "invalid_request", "body.messages"),
    "no messages": (row(body={"messages": []}), "invalid_request", "body.messages"),
    "a number as model": (row(body={**CHAT, "model": 7}), "invalid_request", "body.model"),
    "another model": (row(body={**CHAT, "model": "n"}), "mismatched_model", "body.model"),
    "a stream": (row(body={**CHAT, "stream": True}), "streaming_unsupported", "body.stream"),
    "a used name": (row("first"), "duplicate_custom_id", "custom_id"),
}
GOOD: dict[str, Given] = {
    "no model": row(),
    "the same model": row(body={**CHAT, "model": "m"}),
    "texts to embed": row(body={"input": ["a", "b"]}),
    "a method and an address, which nobody looks at": row(method="POST", url="/v1/x"),
    "a stream that is none": row(body={**CHAT, "stream": False}),
}
FIRST = row("first", {**CHAT, "model": "m"})


@pytest.mark.parametrize(("line", "code", "param"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_with_a_line_is_said(line: Given, code: str, param: str | None) -> None:
    assert told(problems("mistral", FIRST, line)) == [(2, code, param)]


@pytest.mark.parametrize("line", GOOD.values(), ids=GOOD.keys())
def test_what_the_service_takes_is_no_problem(line: Given) -> None:
    assert problems("mistral", FIRST, line) == []


OF_TOGETHER: dict[str, tuple[Given, str, str]] = {
    "no model": (row(), "invalid_request", "body.model"),
    "a long name": (
        row("x" * 65, {**CHAT, "model": "m"}),
        "invalid_custom_id",
        "custom_id",
    ),
}


@pytest.mark.parametrize(("line", "code", "param"), OF_TOGETHER.values(), ids=OF_TOGETHER.keys())
def test_together_wants_a_model_in_each_body_and_short_names(
    line: Given, code: str, param: str
) -> None:
    assert told(problems("together", FIRST, line)) == [(2, code, param)]
    assert problems("mistral", FIRST, line) == []


def test_together_takes_a_name_of_64_characters() -> None:
    assert problems("together", row("x" * 64, {**CHAT, "model": "m"})) == []
