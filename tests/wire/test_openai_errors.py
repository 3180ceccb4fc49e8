"""What a reply that is not 2xx means, whatever its body looks like."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Failure
from anybatch.core.states import OUTCOMES, Outcome
from anybatch.wire.openai import read_error, read_failure


def error(code: object = None, kind: object = "invalid_request_error") -> bytes:
    return msgspec.json.encode({"error": {"message": "no", "type": kind, "code": code}})


FAILURES: list[tuple[int, bytes, Outcome]] = [
    (400, error(), "bad_request"),
    (400, error("context_length_exceeded"), "too_long"),
    (400, error("exceed_context_size_error"), "too_long"),
    (400, error(400, "exceed_context_size_error"), "too_long"),
    (400, error("string_above_max_length"), "too_long"),
    (400, error("content_filter"), "blocked"),
    (400, error("content_policy_violation"), "blocked"),
    (400, error("billing_hard_limit_reached"), "billing"),
    (400, error("model_not_found"), "not_found_model"),
    (400, error("unsupported_value"), "bad_request"),
    (401, error("invalid_api_key"), "auth"),
    (401, b"", "auth"),
    (402, error(), "billing"),
    (403, error("unsupported_country_region_territory"), "auth"),
    (404, error("model_not_found"), "not_found_model"),
    (404, b'{"detail":"Not Found"}', "not_found_model"),
    (408, b"", "server_error"),
    (409, error(), "server_error"),
    (413, b"<html>Request Entity Too Large</html>", "too_long"),
    (422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', "bad_request"),
    (429, error("rate_limit_exceeded"), "rate_limited"),
    (429, error("insufficient_quota", "insufficient_quota"), "billing"),
    (429, error(None, "insufficient_quota"), "billing"),
    (429, b"<html>slow down</html>", "rate_limited"),
    (498, error(), "rate_limited"),
    (500, error("server_error"), "server_error"),
    (503, b"upstream connect error", "server_error"),
    (529, b"{}", "server_error"),
    (302, b"", "not_found_model"),
    (0, b"", "server_error"),
]


@pytest.mark.parametrize(("status", "body", "outcome"), FAILURES)
def test_a_failed_call_has_one_outcome(status: int, body: bytes, outcome: Outcome) -> None:
    found, failure = read_failure(status, body)

    assert found == outcome
    assert failure.message.startswith(f"HTTP {status}: ")


ERRORS: dict[str, tuple[bytes, Failure]] = {
    "OpenAI's": (error("unsupported_value"), Failure(message="no", code="unsupported_value")),
    "a code that is a number": (error(400), Failure(message="no")),
    "a type that we know": (
        error(None, "insufficient_quota"),
        Failure(message="no", code="insufficient_quota"),
    ),
    "a type that is a list": (error(None, ["x"]), Failure(message="no")),
    "a type that is an object": (error({}, {}), Failure(message="no")),
    "one word": (b'{"error":"model busy"}', Failure(message="model busy")),
    "without the envelope": (
        b'{"object":"error","message":"no","code":"c"}',
        Failure(message="no", code="c"),
    ),
    "an empty envelope": (b'{"error":null,"message":"no"}', Failure(message="no")),
    "FastAPI's": (b'{"detail":"Not Found"}', Failure(message="Not Found")),
    "a list": (b'[{"error":1}]', Failure(message="[{'error': 1}]")),
    "a text": (b'"no"', Failure(message="no")),
    "null": (b"null", Failure(message="no reason given")),
    "an empty object": (b"{}", Failure(message="no reason given")),
    "an empty error": (b'{"error":{}}', Failure(message="no reason given")),
    "nothing": (b"", Failure(message="an empty body")),
    "white space": (b" \n ", Failure(message="an empty body")),
    "HTML": (
        b"<html>\n  <h1>502</h1>\n</html>",
        Failure(message="not JSON: '<html> <h1>502</h1> </html>'"),
    ),
    "invalid UTF-8": (b"\xff\xfe", Failure(message="not JSON: '\ufffd\ufffd'")),
    "invalid UTF-8 in a message": (
        b'{"error":{"message":"\xff"}}',
        Failure(message='not JSON: \'{"error":{"message":"\ufffd"}}\''),
    ),
}


@pytest.mark.parametrize(("body", "failure"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_found_whatever_its_shape(body: bytes, failure: Failure) -> None:
    assert read_error(body) == failure


ECHOES = {
    "a message": msgspec.json.encode({"error": {"message": "p" * 100_000}}),
    "a word": msgspec.json.encode({"error": "p" * 100_000}),
    "a detail": msgspec.json.encode({"detail": [{"input": "p" * 100_000}]}),
    "a text": msgspec.json.encode("p" * 100_000),
    "HTML": b"<html>" + b"p" * 100_000,
}


@pytest.mark.parametrize("body", ECHOES.values(), ids=ECHOES.keys())
def test_a_body_that_echoes_the_prompt_is_cut(body: bytes) -> None:
    _, failure = read_failure(400, body)

    assert len(failure.message) <= 520


@pytest.mark.parametrize("depth", [*range(900, 1020, 7), 5_000, 100_000])
def test_an_error_nested_without_end_is_read(depth: int) -> None:
    body = b'{"error":' + b"[" * depth + b"1" + b"]" * depth + b"}"

    outcome, failure = read_failure(500, body)

    assert outcome == "server_error"
    assert len(failure.message) <= 520


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail"]), inner)
    ),
    max_leaves=10,
)


@given(st.integers(0, 999), st.binary() | JSON.map(msgspec.json.encode))
def test_every_reply_has_an_outcome_and_a_message(status: int, body: bytes) -> None:
    outcome, failure = read_failure(status, body)

    assert outcome in OUTCOMES
    assert outcome != "succeeded"
    assert failure.message
