"""Operations on the fake fail as they are told to, and its books know what was done."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import BadStatusLine, HTTPException, IncompleteRead
from threading import Event
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from anybatch.testing import (
    BAD_GATEWAY,
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Altered,
    Cut,
    Delay,
    Drip,
    FakeEndpoint,
    FakeOpenAI,
    Fault,
    Operation,
    Spoiled,
    Stall,
    Status,
    at_random,
    matching,
    retry_after,
)

from .caller import chat
from .plain import (
    Answered,
    cancel,
    create,
    download,
    lines,
    poll,
    rows,
    run,
    send,
    send_batch,
    send_file,
    upload,
)

LINES = lines(rows(3))
Doing = Callable[[FakeOpenAI, str, str], Answered]
OPERATIONS: dict[str, Doing] = {
    "upload": lambda fake, file, batch: send_file(fake, LINES),
    "files": lambda fake, file, batch: send(fake, "GET", "/files"),
    "file": lambda fake, file, batch: send(fake, "GET", f"/files/{file}"),
    "download": lambda fake, file, batch: download(fake, file),
    "delete": lambda fake, file, batch: send(fake, "DELETE", f"/files/{file}"),
    "create": lambda fake, file, batch: send_batch(fake, file),
    "poll": lambda fake, file, batch: send(fake, "GET", f"/batches/{batch}"),
    "list": lambda fake, file, batch: send(fake, "GET", "/batches"),
    "cancel": lambda fake, file, batch: cancel(fake, batch),
}


def second(fault: Fault) -> dict[int, Fault]:
    """The first of each operation makes what the second one needs."""
    return {2: fault}


def do(fake: FakeOpenAI, name: str) -> Answered:
    """Perform an operation for the second time, on what was made the first time."""
    file = upload(fake, LINES)
    batch = send_batch(fake, file).json["id"]
    if name not in ("upload", "create"):
        spare = upload(fake, LINES)
        OPERATIONS[name](fake, spare, batch)
    return OPERATIONS[name](fake, file, batch)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_can_be_refused(name: str) -> None:
    fault = Status(503, headers=retry_after(7))
    with FakeOpenAI(faults={name: second(fault)}) as fake:
        answered = do(fake, name)

    assert answered.status == 503
    assert answered.headers["retry-after"] == "7"
    assert answered.error["type"] == "server_error"
    last = fake.ledger.exchanges_of(name)[-1]
    assert (last.number, last.status, last.outcome) == (2, 503, "unexecuted")
    assert last.fault == fault


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("when", ["unread", "unexecuted", "executed"])
def test_each_operation_can_break_before_its_answer(name: str, when: Any) -> None:
    with (
        FakeOpenAI(faults={name: second(Cut(when))}) as fake,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        do(fake, name)

    last = fake.ledger.exchanges_of(name)[-1]
    assert (last.number, last.status) == (2, None)
    assert last.outcome == ("lost" if when == "executed" else "unexecuted")


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_can_break_in_its_answer(name: str) -> None:
    with (
        FakeOpenAI(faults={name: second(Cut("midway", by="close"))}) as fake,
        pytest.raises(IncompleteRead),
    ):
        do(fake, name)

    last = fake.ledger.exchanges_of(name)[-1]
    assert last.status in (200, 409)
    assert last.outcome == "lost"


@pytest.mark.parametrize(
    ("fault", "made"),
    [
        (Status(500, executed=True), 1),
        (Status(500), 0),
        (Cut("executed"), 1),
        (Cut("unexecuted"), 0),
        (Cut("unread"), 0),
        (Cut("midway"), 1),
        (Stall(0.01), 1),
        (Stall(0.01, executed=False), 0),
        (Delay(0.01, then=Status(504, executed=True)), 1),
        (HTML_PAGE, 1),
        (EMPTY, 1),
        (MALFORMED, 1),
        (BAD_GATEWAY, 0),
        (Altered("half"), 1),
    ],
)
def test_a_batch_may_exist_whatever_its_client_was_told(fault: Fault, made: int) -> None:
    with FakeOpenAI(faults={"create": [fault]}) as fake:
        file_id = upload(fake, LINES)
        with suppress(HTTPException, OSError):
            send_batch(fake, file_id)
        listed = send(fake, "GET", "/batches").json["data"]

    assert len(listed) == made
    assert len(fake.ledger.batches) == made
    assert fake.ledger.billed == 3 * made


def test_a_file_may_exist_though_its_upload_failed() -> None:
    with FakeOpenAI(faults={"upload": [Status(500, executed=True), Status(500)]}) as fake:
        statuses = [send_file(fake, LINES).status for _ in range(3)]

    assert statuses == [500, 500, 200]
    assert len(fake.ledger.leftover_files) == 2


def downloaded(fault: Fault) -> tuple[bytes, bytes]:
    """What of a result file came before the connection broke; and the whole of it."""
    with FakeOpenAI(faults={"download": {1: fault}}) as fake:
        file_id = run(fake, rows(200))["output_file_id"]
        try:
            part = download(fake, file_id).body
        except IncompleteRead as error:
            part = error.partial
        return part, download(fake, file_id).body


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_download_can_end_after_so_many_bytes_in_each_framing(framing: Any) -> None:
    part, whole = downloaded(Cut("midway", by="close", framing=framing, at=1000))

    assert len(part) == 1000
    assert whole.startswith(part)


def test_a_download_without_a_length_that_breaks_looks_whole() -> None:
    fault = Cut("midway", by="close", framing="close", at=1000)
    with FakeOpenAI(faults={"download": [fault]}) as fake:
        file_id = run(fake, rows(200))["output_file_id"]
        answered = download(fake, file_id)

    assert (answered.status, len(answered.body)) == (200, 1000)
    assert "content-length" not in answered.headers


def test_a_download_of_megabytes_can_break_by_a_reset() -> None:
    with FakeOpenAI(faults={"download": [Cut("midway", at=3_000_000)]}) as fake:
        file_id = upload(fake, lines(rows(1)) * 50_000)
        with pytest.raises(ConnectionResetError):
            download(fake, file_id)


def test_a_download_can_fall_silent() -> None:
    with FakeOpenAI(faults={"download": [Cut("midway", by="close", pause=0.05)]}) as fake:
        file_id = upload(fake, LINES)
        began = monotonic()
        with pytest.raises(IncompleteRead):
            download(fake, file_id)

    assert monotonic() - began >= 0.05


def test_a_download_that_broke_can_be_gone_on_with() -> None:
    with FakeOpenAI(faults={"download": [Cut("midway", by="close", at=100)]}) as fake:
        file_id = upload(fake, LINES)
        try:
            part = download(fake, file_id).body
        except IncompleteRead as error:
            part = error.partial
        rest = download(fake, file_id, range=f"bytes={len(part)}-")

    assert rest.status == 206
    assert part + rest.body == LINES


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_whole_download_comes_in_each_framing(framing: Any) -> None:
    with FakeOpenAI(faults={"download": [Altered(framing=framing)]}) as fake:
        answered = download(fake, upload(fake, LINES))

    assert answered.body == LINES
    assert "content-length" not in answered.headers
    assert fake.ledger.exchanges_of("download")[0].outcome == "answered"


@pytest.mark.parametrize(
    ("fault", "begins"),
    [
        (HTML_PAGE, b"<!doctype html>"),
        (Altered("html", content_type="text/html"), b"<!doctype html>"),
        (Altered("empty"), b""),
        (Altered("bom"), b'\xef\xbb\xbf{"id"'),
        (Altered("nested"), b"[[[["),
        (Altered(lambda body: body.replace(b'"batch_', b'"other_')), b'{"id":"other_'),
        (Altered(content_type="text/plain"), b'{"id":"batch_'),
    ],
)
def test_an_answer_can_be_whole_and_of_no_use(fault: Fault, begins: bytes) -> None:
    with FakeOpenAI(faults={"poll": [fault]}) as fake:
        batch_id = create(fake, rows(1))
        answered = send(fake, "GET", f"/batches/{batch_id}")

    assert answered.status == 200
    assert answered.body.startswith(begins)
    assert bool(answered.body) == bool(begins)
    kind = getattr(fault, "content_type", None) or "application/json"
    assert answered.headers["content-type"] == kind


def test_a_result_file_can_have_other_line_ends() -> None:
    with FakeOpenAI(faults={"download": [Altered("crlf")]}) as fake:
        answered = download(fake, upload(fake, LINES))

    assert answered.body == LINES.replace(b"\n", b"\r\n")


def test_an_answer_can_come_late() -> None:
    with FakeOpenAI(faults={"poll": [Delay(0.05)]}) as fake:
        batch_id = create(fake, rows(1))
        began = monotonic()
        poll(fake, batch_id)

    assert monotonic() - began >= 0.05


def test_a_file_that_is_removed_while_its_download_waits_breaks_that_download_only() -> None:
    arrived = Event()

    def script(operation: Operation) -> Fault:
        arrived.set()
        return Delay(0.1)

    with FakeOpenAI(faults={"download": script}) as fake, ThreadPoolExecutor(1) as pool:
        file_id = upload(fake, LINES)
        waiting = pool.submit(download, fake, file_id)
        arrived.wait()
        send(fake, "DELETE", f"/files/{file_id}")

        with pytest.raises((ConnectionResetError, IncompleteRead)):
            waiting.result()
        assert send(fake, "GET", "/batches").status == 200


def test_a_stalled_operation_is_noted_when_the_service_stops() -> None:
    with FakeOpenAI(faults={"create": [Stall(60)]}) as fake:
        file_id = upload(fake, LINES)
        with pytest.raises(TimeoutError):
            send_impatiently(fake, file_id)

        assert len(fake.ledger.batches) == 1

    (exchange,) = fake.ledger.exchanges_of("create")
    assert (exchange.outcome, exchange.status) == ("lost", None)


def send_impatiently(fake: FakeOpenAI, file_id: str) -> None:
    address = urlsplit(fake.base_url)
    body = b'{"input_file_id":"%b","endpoint":"/v1/chat/completions","completion_window":"24h"}'
    body = body % file_id.encode()
    head = b"POST /v1/batches HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection((address.hostname, address.port), timeout=0.2) as sock:
        sock.sendall(head + body)
        sock.recv(1)


def test_every_answer_can_be_late() -> None:
    with FakeOpenAI(latency=0.02) as fake:
        began = monotonic()
        send(fake, "GET", "/batches")

    assert monotonic() - began >= 0.02


def test_operations_have_scripts_of_their_own() -> None:
    fake = FakeOpenAI(
        faults={
            "create": [Status(500, executed=True)],
            "download": at_random(1.0, Cut("midway"), seed=1),
        }
    )
    with fake:
        file_id = upload(fake, LINES)
        created = send_batch(fake, file_id)
        with pytest.raises((IncompleteRead, ConnectionResetError)):
            download(fake, file_id)

        assert created.status == 500
        assert len(fake.ledger.batches) == 1


def test_calls_to_a_model_have_an_endpoint_of_their_own() -> None:
    calls = FakeEndpoint(script=[Status(429)])
    with FakeOpenAI(calls=calls) as fake:
        body = msgspec.json.encode(chat("hi"))
        statuses = [send(fake, "POST", "/chat/completions", body).status for _ in range(2)]

    assert statuses == [429, 200]
    assert calls.ledger.statuses == {429: 1, 200: 1}


def test_chance_is_the_same_for_the_same_calls() -> None:
    def failed() -> list[int]:
        with FakeOpenAI(faults={"poll": at_random(0.3, Status(500), seed=3)}) as fake:
            batch_id = create(fake, rows(1))
            answers = [send(fake, "GET", f"/batches/{batch_id}") for _ in range(40)]
        return [place for place, answer in enumerate(answers) if answer.status == 500]

    there = failed()

    assert there == failed()
    assert 4 <= len(there) <= 20


def test_chance_does_not_see_the_boundary_of_a_form() -> None:
    seen = []

    def script(operation: Operation) -> Fault | None:
        seen.append((operation.sha, operation.attempt))
        return None

    with FakeOpenAI(faults={"upload": script}) as fake:
        for boundary in ("one", "another"):
            kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
            body = f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--'
            send(fake, "POST", "/files", f"{body}{boundary}--".encode(), kind)

    (first, attempt), (second_sha, second_attempt) = seen
    assert first == second_sha
    assert (attempt, second_attempt) == (1, 2)


def test_a_script_can_go_by_an_operations_body() -> None:
    script = matching('"metadata"', Status(500), times=1)
    with FakeOpenAI(faults={"create": script}) as fake:
        plain = send_batch(fake, "file-x").status
        marked = [send_batch(fake, "file-x", metadata={"a": "b"}).status for _ in range(2)]

    assert (plain, marked) == (200, [500, 200])


def test_an_operation_that_there_is_not_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"no operation is called 'submit'.*cancel, create"):
        FakeOpenAI(faults={"submit": [Status(500)]})


def test_a_fault_of_the_model_is_none_of_operations() -> None:
    with (
        pytest.raises(ValueError, match="befalls calls to a model"),
        FakeOpenAI(faults={"list": [Spoiled("refused")]}) as fake,
    ):
        assert send(fake, "GET", "/batches").status == 500


def test_a_client_that_leaves_in_the_middle_of_its_upload_leaves_nothing() -> None:
    with FakeOpenAI() as fake:
        address = urlsplit(fake.base_url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as sock:
            sock.sendall(b"POST /v1/files HTTP/1.1\r\ncontent-length: 1000\r\n\r\nabc")
        while not fake.ledger.exchanges:
            pass

        assert [one.outcome for one in fake.ledger.exchanges] == ["unexecuted"]
        assert fake.ledger.files == ()


def test_a_broken_status_line_is_no_answer() -> None:
    with (
        FakeOpenAI(faults={"list": [Cut("executed", by="close")]}) as fake,
        pytest.raises(BadStatusLine),
    ):
        send(fake, "GET", "/batches")


def test_an_answer_may_come_bit_by_bit() -> None:
    with FakeOpenAI(faults={"files": [Drip(0.2, bits=4)]}) as fake:
        began = monotonic()
        answered = send(fake, "GET", "/files")

    assert answered.json["data"] == []
    assert monotonic() - began >= 0.15
    assert fake.ledger.exchanges_of("files")[0].outcome == "answered"


def test_an_answer_may_have_other_headers() -> None:
    altered = Altered("half", headers={"content-encoding": "gzip", "content-type": "x/y"})

    with FakeOpenAI(faults={"files": [altered]}) as fake:
        answered = send(fake, "GET", "/files")

    assert answered.headers["content-encoding"] == "gzip"
    assert answered.headers["content-type"] == "x/y"


def test_a_call_to_a_model_does_not_come_bit_by_bit() -> None:
    with (
        pytest.raises(ValueError, match="befalls operations on a service"),
        FakeEndpoint(script=[Drip(1)]) as endpoint,
    ):
        send(endpoint, "POST", "/chat/completions", msgspec.json.encode(chat("hi")))  # type: ignore[arg-type]
