"""The fake endpoint speaks HTTP/1.1 however it is spoken to."""

import pytest

from anybatch.testing import FakeEndpoint

from .caller import chat, connect, read_to_end, said, send, status_of, write_call


def chunked(raw: bytes) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    halves = body[:7], body[7:]
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(half), half) for half in halves)
    return b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", chunks]) + b"0\r\n\r\n"


def test_a_call_may_arrive_byte_by_byte() -> None:
    with FakeEndpoint() as endpoint, connect(endpoint) as sock:
        for byte in write_call(chat("hi")):
            sock.sendall(bytes([byte]))

        assert said(read_to_end(sock)) == "echo: hi"


def test_a_chunked_call_is_put_together() -> None:
    with FakeEndpoint() as endpoint:
        answer = send(endpoint, chunked(write_call(chat("hi"))))

    assert said(answer) == "echo: hi"


def test_a_chunked_call_may_arrive_byte_by_byte() -> None:
    with FakeEndpoint() as endpoint, connect(endpoint) as sock:
        for byte in chunked(write_call(chat("hi"))):
            sock.sendall(bytes([byte]))

        assert said(read_to_end(sock)) == "echo: hi"


def test_a_connection_serves_one_call_after_the_other() -> None:
    calls = [write_call(chat(f"row {n}"), close=n == 9) for n in range(10)]

    with FakeEndpoint(latency=0.001) as endpoint:
        answers = send(endpoint, b"".join(calls))

    assert answers.count(b"HTTP/1.1 200 OK") == 10
    assert [one.prompt for one in endpoint.ledger.executions] == [f"row {n}" for n in range(10)]


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    raw = write_call(chat("hi")).replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n", 1)

    with FakeEndpoint() as endpoint:
        answer = send(endpoint, raw)

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_the_path_works_without_its_prefix_and_with_a_query() -> None:
    with FakeEndpoint() as endpoint:
        answer = send(endpoint, write_call(chat("hi"), "/chat/completions?api-version=1"))

    assert said(answer) == "echo: hi"


def test_a_body_of_some_megabytes_arrives() -> None:
    prompt = "word " * 600_000

    with FakeEndpoint() as endpoint:
        answer = send(endpoint, write_call(chat(prompt)))

    assert said(answer) == f"echo: {prompt}"


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_request(raw: bytes) -> None:
    with FakeEndpoint() as endpoint:
        answer = send(endpoint, raw)

    assert status_of(answer) == 400


def test_a_wrong_method_is_refused() -> None:
    with FakeEndpoint() as endpoint:
        answer = send(endpoint, b"GET /v1/embeddings HTTP/1.1\r\nconnection: close\r\n\r\n")

    assert status_of(answer) == 405
