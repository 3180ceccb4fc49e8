"""Anthropic's rules, one table: a request, and what is wrong with it."""

from typing import Any

import pytest

from .holding import Given, line_of, problems, told

USER = {"role": "user", "content": "hi"}
OLD = "2023-06-01"


def request(name: str = "a", **changed: Any) -> dict[str, Any]:
    """A request; a field of its params that is changed to None is left out."""
    params = {"model": "m", "max_tokens": 9, "messages": [USER], **changed}
    given = {field: value for field, value in params.items() if value is not None}
    return {"custom_id": name, "params": given}


def said(role: str, **block: Any) -> dict[str, Any]:
    return request(messages=[USER, {"role": role, "content": [block]}])


BAD: dict[str, tuple[Given, str, str | None]] = {
    "no JSON": (b"nope", "invalid_json_line", None),
    "no UTF-8": (b'{"custom_id": "\xff"}', "invalid_json_line", None),
    "no custom_id": ({"params": request()["params"]}, "missing_required_parameter", "custom_id"),
    "an empty custom_id": (request(""), "invalid_custom_id", "custom_id"),
    "a space in it": (request("a b"), "invalid_custom_id", "custom_id"),
    "a letter of another alphabet in it": (request("ä"), "invalid_custom_id", "custom_id"),
    "a line end behind it": (request("a\n"), "invalid_custom_id", "custom_id"),
    "65 characters": (request("x" * 65), "invalid_custom_id", "custom_id"),
    "a number as custom_id": (
        {**request(), "custom_id": 7},
        "invalid_custom_id",
        "custom_id",
    ),
    "a used custom_id": (request("first"), "duplicate_custom_id", "custom_id"),
    "no params": ({"custom_id": "a"}, "missing_required_parameter", "params"),
    "a list as params": ({"custom_id": "a", "params": []}, "invalid_request", "params"),
    "no model": (request(model=None), "invalid_request", "params.model"),
    "no max_tokens": (request(max_tokens=None), "invalid_request", "params.max_tokens"),
    "max_tokens 0": (request(max_tokens=0), "invalid_value", "params.max_tokens"),
    "max_tokens as text": (request(max_tokens="9"), "invalid_value", "params.max_tokens"),
    "max_tokens true": (request(max_tokens=True), "invalid_value", "params.max_tokens"),
    "no messages": (request(messages=None), "invalid_request", "params.messages"),
    "empty messages": (request(messages=[]), "invalid_request", "params.messages"),
    "a text as messages": (request(messages="hi"), "invalid_request", "params.messages"),
    "a stream": (request(stream=True), "streaming_unsupported", "params.stream"),
    "fast mode": (request(speed="fast"), "forbidden_field", "params.speed"),
    "a stored thread": (request(store=True), "forbidden_field", "params.store"),
    "a thread gone on with": (
        request(previous_thread_event_id="x"),
        "forbidden_field",
        "params.previous_thread_event_id",
    ),
    "a cache hint": (request(cache_hint={}), "forbidden_field", "params.cache_hint"),
    "a context hint": (request(context_hint={}), "forbidden_field", "params.context_hint"),
    "fallbacks": (request(fallbacks=[]), "forbidden_field", "params.fallbacks"),
    "a preview": (
        request(research_preview_2026_02="active"),
        "forbidden_field",
        "params.research_preview_2026_02",
    ),
    "another tier": (request(service_tier="flex"), "invalid_value", "params.service_tier"),
}

NEWLY_BAD: dict[str, tuple[Given, str]] = {
    "temperature": (request(temperature=1.0), "params.temperature"),
    "top_p": (request(top_p=1), "params.top_p"),
    "top_k": (request(top_k=1), "params.top_k"),
    "a document that the assistant said": (
        said("assistant", type="document", source={}),
        "params.messages[1].content",
    ),
    "citations that the user said": (
        said("user", type="text", text="x", citations=[{"type": "char_location"}]),
        "params.messages[1].content",
    ),
}
"""What only the newer version of the API refuses."""

GOOD: dict[str, Given] = {
    "another model": request(model="n"),
    "64 characters": request("A-z_0" + "x" * 59),
    "stream false": request(stream=False),
    "the tier it has": request(service_tier="standard_only"),
    "a preview that is off": request(research_preview_2026_02="inactive"),
    "a document that the user gives": said("user", type="document", source={}),
    "no citations": said("user", type="text", text="x", citations=[]),
    "tools, thinking and a schema": request(tools=[{}], thinking={}, output_config={}),
    "content that we cannot read": request(messages=[7, {"role": "user", "content": [7]}]),
}


@pytest.mark.parametrize("version", [None, OLD])
@pytest.mark.parametrize(("given", "code", "param"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_breaks_its_rule(
    given: Given, code: str, param: str | None, version: str | None
) -> None:
    found = problems("anthropic", request("first"), given, request("last"), version=version)

    assert told(found) == [(2, code, param)]


@pytest.mark.parametrize(("given", "param"), NEWLY_BAD.values(), ids=NEWLY_BAD.keys())
def test_what_was_removed_is_refused_by_the_newer_version_only(given: Given, param: str) -> None:
    new, old = problems("anthropic", given), problems("anthropic", given, version=OLD)

    assert told(new) == [(1, "forbidden_field", param)]
    assert old == []


@pytest.mark.parametrize("given", GOOD.values(), ids=GOOD.keys())
def test_a_good_request_breaks_none(given: Given) -> None:
    assert problems("anthropic", request("first"), given, request("last")) == []


def test_a_sampling_parameter_says_which_version_takes_it() -> None:
    (problem,) = problems("anthropic", line_of(request(temperature=0)))

    assert OLD in problem.message
