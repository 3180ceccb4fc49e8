"""What the lines of a file have to do with each other, and how many there may be."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.plan import Limits

from .holding import problems, tally_for, told


def chat(name: str, **body: Any) -> dict[str, Any]:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": asked}


def embedding(name: str, texts: Any) -> dict[str, Any]:
    body = {"model": "m", "input": texts}
    return {"custom_id": name, "method": "POST", "url": "/v1/embeddings", "body": body}


def test_a_file_that_keeps_to_all_rules_has_no_problem() -> None:
    assert problems("openai", chat("a"), chat("b")) == []


def test_a_name_that_comes_twice_says_where_it_was_first() -> None:
    (problem,) = problems("openai", chat("a"), chat("b"), chat("a"))

    assert (problem.line, problem.code) == (3, "duplicate_custom_id")
    assert "at 1" in problem.message


def test_several_rules_may_be_broken_in_one_line() -> None:
    found = problems("openai", chat("a"), chat("a", model="other", stream=True))

    assert {problem.code for problem in found} == {
        "duplicate_custom_id",
        "mismatched_model",
        "streaming_unsupported",
    }
    assert {problem.line for problem in found} == {2}


def test_a_file_without_requests_says_so() -> None:
    assert told(problems("openai")) == [(None, "empty_file", None)]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_requests=1), "too_many_requests"),
        (Limits(max_requests=9, max_bytes=200), "too_many_bytes"),
    ],
)
def test_a_file_larger_than_a_batch_says_what_to_do(limits: Limits, code: str) -> None:
    (problem,) = problems("openai", chat("a"), chat("b"), limits=limits)

    assert (problem.line, problem.code) == (None, code)
    assert "anybatch run" in problem.message


def test_a_request_that_fits_no_batch_is_not_looked_into() -> None:
    limits = Limits(max_requests=9, max_bytes=60)

    found = problems("openai", b"{" * 100, limits=limits)

    assert told(found)[0] == (1, "request_too_large", None)


@pytest.mark.parametrize(
    ("texts", "count"),
    [("one text", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2]], 2), (None, 1)],
)
def test_texts_to_embed_are_counted_over_all_requests(texts: Any, count: int) -> None:
    fill = embedding("full", ["x"] * (50_000 - count))

    fits = problems("openai", fill, embedding("a", texts))
    over = problems("openai", fill, embedding("a", texts), embedding("b", "one more"))

    assert "too_many_inputs" not in {problem.code for problem in fits}
    assert "too_many_inputs" in {problem.code for problem in over}


@pytest.mark.parametrize(
    ("encoding", "told_of"),
    [
        (None, []),
        ("utf-8-sig", [(1, "byte_order_mark", None)]),
        ("utf-16", [(None, "wrong_encoding", None)]),
        ("utf-32", [(None, "wrong_encoding", None)]),
    ],
)
def test_a_byte_order_mark_is_a_problem(encoding: str | None, told_of: list[Any]) -> None:
    assert told(tally_for("openai").begin("in.jsonl", encoding=encoding)) == told_of


@pytest.mark.parametrize(
    ("provider", "name", "codes"),
    [
        ("openai", "in.jsonl", []),
        ("openai", "IN.JSONL", []),
        ("openai", None, []),
        ("openai", "in.json", ["invalid_file_name"]),
        ("openai", "in.jsonl.gz", ["invalid_file_name"]),
        ("anthropic", "in.json", []),
        ("gemini", "in.txt", []),
    ],
)
def test_the_name_of_a_file_matters_where_it_is_uploaded_under_it(
    provider: str, name: str | None, codes: list[str]
) -> None:
    found = tally_for(provider).begin(name, encoding=None)

    assert [problem.code for problem in found] == codes


def test_who_takes_some_apis_takes_only_their_addresses() -> None:
    (elsewhere,) = problems("groq", embedding("a", "hi"))
    (unknown,) = problems("groq", {**embedding("a", "hi"), "url": "/v1/moderations"})

    assert elsewhere.code == unknown.code == "invalid_url"
    assert "/v1/chat/completions" in elsewhere.message
    assert problems("groq", chat("a")) == []


def test_problems_are_counted() -> None:
    tally = tally_for("openai")

    tally.add(1, b"{", size=2)
    tally.add(2, b"[]", size=3)
    tally.end()

    assert (tally.requests, tally.bytes, tally.problems) == (2, 5, 2)


def test_a_message_repeats_no_long_text_of_the_file() -> None:
    found = problems("openai", chat("x" * 5_000, model="m" * 5_000), chat("x" * 5_000, model="n"))

    assert {problem.code for problem in found} == {"duplicate_custom_id", "mismatched_model"}
    assert max(len(problem.message) for problem in found) < 200


NAMES = ("custom_id", "method", "url", "body", "params", "key", "request", "model", "messages",
         "content", "contents", "role", "type", "citations", "input", "stream")  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@given(value=VALUES)
def test_a_line_may_be_any_json(provider: str, value: Any) -> None:
    tally = tally_for(provider)

    tally.add(1, msgspec.json.encode(value), size=1)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@given(line=st.binary(max_size=40))
def test_a_line_may_be_any_bytes(provider: str, line: bytes) -> None:
    assert tally_for(provider).add(1, line, size=1)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("value", [b"[" * 9_000 + b"]" * 9_000, rb'"\ud800"', b"1e999", b"-0"])
def test_any_field_may_hold_what_is_hard_to_read(provider: str, field: str, value: bytes) -> None:
    inner = b'{"%b":%b}' % (field.encode(), value)
    outer = [b'{"%b":%b}' % (name, inner) for name in (b"body", b"params", b"request")]

    for line in (inner, *outer):
        assert tally_for(provider).add(1, line, size=1)


@pytest.mark.parametrize(
    ("provider", "param", "rest"),
    [
        ("openai", "custom_id", {"method": "POST", "url": "/v1/embeddings"}),
        ("mistral", "custom_id", {}),
        ("vertex", "custom_id", {}),
        ("gemini", "key", {}),
    ],
)
def test_a_name_that_says_nothing_is_not_called_another_kind_of_value(
    provider: str, param: str, rest: dict[str, Any]
) -> None:
    empty, number = ({param: name, **rest} for name in ("", 7))

    said = [
        problem.message for problem in problems(provider, empty, number) if problem.param == param
    ]

    assert said == [f"{param!r} is empty", f"{param!r} is not a text"]
