"""The fake endpoint breaks as it is told to, and its ledger knows what that cost."""

from datetime import UTC, datetime
from typing import Any

import pytest

from anybatch.testing import (
    BAD_GATEWAY,
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Altered,
    Call,
    Cut,
    Delay,
    FakeEndpoint,
    Fault,
    Mangled,
    Spoiled,
    Stall,
    Status,
    at_random,
    first_of,
    matching,
    retry_after,
)

from .caller import (
    body_of,
    call,
    chat,
    connect,
    header_of,
    read_to_end,
    said,
    send,
    status_of,
    write_call,
)


def outcomes(endpoint: FakeEndpoint) -> list[str]:
    return [one.outcome for one in endpoint.ledger.executions]


def test_what_is_answered_is_in_the_ledger() -> None:
    with FakeEndpoint() as endpoint:
        call(endpoint, "one")
        call(endpoint, "two")
        call(endpoint, "two")

    ledger = endpoint.ledger
    assert ledger.by_prompt == {"one": 1, "two": 2}
    assert [one.attempt for one in ledger.executions_of("two")] == [1, 2]
    assert ledger.repeated == 1
    assert outcomes(endpoint) == ["answered"] * 3


def test_an_entry_tells_what_was_executed() -> None:
    with FakeEndpoint() as endpoint:
        call(endpoint, "four letters")

    (one,) = endpoint.ledger.executions
    assert (one.number, one.path, one.model, one.status) == (1, "/chat/completions", "m", 200)
    assert (one.prompt, one.tokens_in, one.tokens_out) == ("four letters", 3, 5)
    assert endpoint.ledger.by_body == {one.sha: 1}


@pytest.mark.parametrize("when", ["unexecuted", "unread"])
def test_a_reset_before_the_execution_bills_nothing(when: str) -> None:
    fault = Cut(when)  # type: ignore[arg-type]
    with FakeEndpoint(script=[fault]) as endpoint, pytest.raises(ConnectionResetError):
        call(endpoint, "hi")

    assert endpoint.ledger.executions == ()
    assert endpoint.ledger.received == 1


def test_a_reset_can_come_before_the_body_is_sent() -> None:
    with FakeEndpoint(script={1: Cut("unread")}) as endpoint, connect(endpoint) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n")

        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_a_reset_after_the_execution_is_billed_and_lost() -> None:
    fake = FakeEndpoint(script=[Cut("executed")])
    with fake as endpoint, pytest.raises(ConnectionResetError):
        call(endpoint, "hi")

    assert outcomes(endpoint) == ["lost"]
    assert endpoint.ledger.lost == 1


def test_a_close_after_the_execution_is_billed_and_lost() -> None:
    with FakeEndpoint(script=[Cut("executed", by="close")]) as endpoint:
        answer = call(endpoint, "hi")

    assert answer == b""
    assert outcomes(endpoint) == ["lost"]


def test_an_answer_broken_off_is_shorter_than_it_said() -> None:
    with FakeEndpoint(script=[Cut("midway", by="close")]) as endpoint:
        answer = call(endpoint, "hi")

    length = header_of(answer, "content-length")
    assert length is not None
    assert 0 < len(body_of(answer)) < int(length)
    assert outcomes(endpoint) == ["lost"]


def test_a_chunked_answer_broken_off_has_no_last_chunk() -> None:
    with FakeEndpoint(script=[Cut("midway", by="close", chunked=True)]) as endpoint:
        answer = call(endpoint, "hi")

    assert header_of(answer, "transfer-encoding") == "chunked"
    assert not answer.endswith(b"0\r\n\r\n")
    assert outcomes(endpoint) == ["lost"]


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_answer_is_broken_off_where_it_is_told_to_be(framing: Any) -> None:
    with FakeEndpoint(script=[Cut("midway", by="close", framing=framing, at=16)]) as endpoint:
        answer = call(endpoint, "hi")

    part = b'{"id":"chatcmpl-'
    assert body_of(answer) == (b"10\r\n%b\r\n" % part if framing == "chunked" else part)
    assert outcomes(endpoint) == ["lost"]


def test_an_altered_answer_is_whole_billed_and_lost() -> None:
    with FakeEndpoint(script=[Altered("bom")]) as endpoint:
        answer = call(endpoint, "hi")

    assert body_of(answer).startswith(b"\xef\xbb\xbf{")
    assert outcomes(endpoint) == ["lost"]


def test_a_fault_of_rows_is_none_of_calls() -> None:
    with (
        pytest.raises(ValueError, match="befalls the rows of a batch"),
        FakeEndpoint(script=[Mangled("missing")]) as endpoint,
    ):
        call(endpoint, "hi")


def test_an_answer_reset_midway_arrives_by_half() -> None:
    with FakeEndpoint(script=[Cut("midway")]) as endpoint, connect(endpoint) as sock:
        sock.sendall(write_call(chat("hi")))
        begun = sock.recv(1)

        with pytest.raises(ConnectionResetError):
            read_to_end(sock)

    assert begun == b"H"


def test_a_connection_closed_after_an_answer_fails_the_next_call_only() -> None:
    with FakeEndpoint(script=[Cut("answered", by="close")]) as endpoint:
        answer = send(endpoint, write_call(chat("hi"), close=False))

    assert said(answer) == "echo: hi"
    assert outcomes(endpoint) == ["answered"]


def test_a_stalled_call_is_billed_and_never_answered() -> None:
    with FakeEndpoint(script=[Stall(60)]) as endpoint, connect(endpoint) as sock:
        sock.settimeout(0.2)
        sock.sendall(write_call(chat("hi")))

        with pytest.raises(TimeoutError):
            sock.recv(1)

    assert outcomes(endpoint) == ["lost"]


def test_a_stall_ends_without_an_answer() -> None:
    with FakeEndpoint(script=[Stall(0.01, executed=False)]) as endpoint:
        answer = call(endpoint, "hi")

    assert answer == b""
    assert endpoint.ledger.executions == ()


def test_a_client_that_left_early_is_billed_and_has_lost_its_answer() -> None:
    with FakeEndpoint(latency=30) as endpoint, connect(endpoint) as sock:
        sock.sendall(write_call(chat("hi")))
        while not endpoint.ledger.running:
            pass

    assert outcomes(endpoint) == ["lost"]


@pytest.mark.parametrize(
    ("fault", "body", "kind"),
    [
        (MALFORMED, MALFORMED.body, "application/json"),
        (HTML_PAGE, HTML_PAGE.body, "text/html"),
        (EMPTY, b"", "application/json"),
    ],
)
def test_a_200_without_an_answer_is_billed_and_lost(fault: Fault, body: bytes, kind: str) -> None:
    with FakeEndpoint(script=[fault]) as endpoint:
        answer = call(endpoint, "hi")

    assert status_of(answer) == 200
    assert body_of(answer) == body
    assert header_of(answer, "content-type") == kind
    assert outcomes(endpoint) == ["lost"]


def test_a_gateways_page_bills_nothing() -> None:
    with FakeEndpoint(script=[BAD_GATEWAY]) as endpoint:
        answer = call(endpoint, "hi")

    assert status_of(answer) == 502
    assert body_of(answer).startswith(b"<html>")
    assert endpoint.ledger.executions == ()


def test_a_gateway_that_gave_up_on_a_running_call_has_it_billed() -> None:
    with FakeEndpoint(script=[Status(504, executed=True)]) as endpoint:
        answer = call(endpoint, "hi")

    assert status_of(answer) == 504
    assert outcomes(endpoint) == ["lost"]


@pytest.mark.parametrize("how", ["truncated", "filtered", "refused", "off_schema"])
def test_a_spoiled_answer_is_delivered_and_billed(how: str) -> None:
    with FakeEndpoint(script=[Spoiled(how)]) as endpoint:  # type: ignore[arg-type]
        answer = call(endpoint, "hi")

    assert status_of(answer) == 200
    assert outcomes(endpoint) == ["answered"]


def test_an_answer_off_schema_is_json_of_the_wrong_type() -> None:
    with FakeEndpoint(script=[Spoiled("off_schema")]) as endpoint:
        answer = call(endpoint, "hi")

    assert said(answer) == "[]"


def test_a_delayed_fault_happens() -> None:
    with FakeEndpoint(script=[Delay(0.01, then=Status(503)), Delay(0.01)]) as endpoint:
        first, second = call(endpoint, "hi"), call(endpoint, "hi")

    assert (status_of(first), status_of(second)) == (503, 200)


@pytest.mark.parametrize(
    ("form", "header", "text"),
    [
        ("seconds", "retry-after", "2"),
        ("float", "retry-after", "1.5"),
        ("ms", "retry-after-ms", "1500"),
        ("date", "retry-after", "Tue, 01 Jan 2030 00:00:01 GMT"),
    ],
)
def test_retry_after_comes_in_every_form(form: str, header: str, text: str) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    headers = retry_after(1.5, form=form, now=now)  # type: ignore[arg-type]

    with FakeEndpoint(script=[Status(429, headers=headers)]) as endpoint:
        answer = call(endpoint, "hi")

    assert header_of(answer, header) == text


def test_a_date_needs_to_know_what_time_it_is() -> None:
    with pytest.raises(ValueError, match="needs `now`"):
        retry_after(1, form="date")


def test_a_script_can_go_by_the_calls_body() -> None:
    with FakeEndpoint(script=matching("row [25]", Status(400))) as endpoint:
        statuses = [status_of(call(endpoint, f"row {n}")) for n in range(6)]

    assert statuses == [200, 200, 400, 200, 200, 400]


def test_a_fault_can_pass_after_some_attempts() -> None:
    with FakeEndpoint(script=matching("bad", Status(500), times=2)) as endpoint:
        statuses = [status_of(call(endpoint, "bad")) for _ in range(4)]

    assert statuses == [500, 500, 200, 200]


def test_the_first_script_that_speaks_is_heard() -> None:
    script = first_of(matching("one", Status(400)), matching("two", Status(500)))

    with FakeEndpoint(script=script) as endpoint:
        statuses = [status_of(call(endpoint, prompt)) for prompt in ("one two", "two", "six")]

    assert statuses == [400, 500, 200]


def test_chance_does_not_depend_on_the_order_of_arrival() -> None:
    prompts = [f"row {n}" for n in range(40)]

    def failed(order: list[str]) -> set[str]:
        script = at_random(0.3, Status(500), Status(503), seed=7)
        with FakeEndpoint(script=script) as endpoint:
            return {prompt for prompt in order if status_of(call(endpoint, prompt)) != 200}

    there = failed(prompts)

    assert there == failed(prompts[::-1])
    assert 4 <= len(there) <= 20


def test_chance_needs_a_fault_to_choose() -> None:
    with pytest.raises(ValueError, match="at least one fault"):
        at_random(0.5, seed=1)


def test_a_mistake_in_your_own_function_is_raised_at_the_end() -> None:
    def answer(call: Call) -> str:
        raise LookupError(f"no answer for {call.prompt!r}")

    with (
        pytest.raises(LookupError, match="no answer for 'hi'"),
        FakeEndpoint(answer=answer) as endpoint,
    ):
        status = status_of(call(endpoint, "hi"))

    assert status == 500


def test_a_stopped_endpoint_refuses_connections_and_comes_back_at_its_address() -> None:
    endpoint = FakeEndpoint()
    with endpoint:
        call(endpoint, "one")
    with pytest.raises(ConnectionRefusedError):
        call(endpoint, "two")

    with endpoint:
        call(endpoint, "three")

    assert list(endpoint.ledger.by_prompt) == ["one", "three"]


@pytest.mark.parametrize("body", [{"error": "x"}, "text"])
def test_a_body_that_is_no_bytes_is_refused_where_it_is_written(body: Any) -> None:
    with pytest.raises(TypeError, match=r"body is the bytes .* not of type (dict|str); encode it"):
        Status(400, body=body)
