"""Message Batches as bytes: what is written is read back, and nothing a service says can raise."""

import json
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Failure
from anybatch.core.states import OUTCOMES
from anybatch.wire import anthropic_batch as wire
from anybatch.wire.anthropic import read_answer, read_failure, write_error
from anybatch.wire.batch import RemoteBatch, ResultLine
from anybatch.wire.reading import Malformed, RequestLine

API = "anthropic.messages"
GOLDEN = Path(__file__).parent / "golden" / "anthropic_results.jsonl"
DEEP = b"[" * 100_000 + b"]" * 100_000
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
BODIES = st.text().map(lambda text: msgspec.json.encode({"model": "m", "x": text}))
ESCAPED = st.text(st.characters(exclude_categories=())).map(
    lambda text: json.dumps({"x": text}).encode()
)
"""Every text as JSON in ASCII, half surrogate pairs among them."""


def is_read(body: bytes) -> bool:
    with suppress(msgspec.DecodeError):
        msgspec.json.decode(body)
        return True
    return False


# --- requests -----------------------------------------------------------------------------------


def created(requests: list[RequestLine]) -> bytes:
    elements = [wire.write_request(API, r.custom_id or "", r.body) for r in requests]
    return wire.FRAME.head + wire.FRAME.separator.join(elements) + wire.FRAME.tail


CREATES: dict[str, tuple[bytes, list[RequestLine]]] = {
    "none": (b'{"requests":[]}', []),
    "two": (
        b'{"requests":[{"custom_id":"a","params":{"model":"m","max_tokens":1}},'
        b'{"custom_id":"b","params":{}}]}',
        [
            RequestLine(custom_id="a", body=b'{"model":"m","max_tokens":1}'),
            RequestLine(custom_id="b", body=b"{}"),
        ],
    ),
}


@pytest.mark.parametrize(("body", "requests"), CREATES.values(), ids=CREATES.keys())
def test_a_create_body_is_written_and_read(body: bytes, requests: list[RequestLine]) -> None:
    assert created(requests) == body
    assert wire.read_create(body) == requests


@given(st.lists(st.builds(RequestLine, custom_id=IDS, body=BODIES)))
def test_every_request_comes_back_byte_for_byte(requests: list[RequestLine]) -> None:
    assert wire.read_create(created(requests)) == requests


@given(IDS, ESCAPED)
def test_a_request_with_half_a_surrogate_pair_is_refused_and_any_other_read(
    custom_id: str, body: bytes
) -> None:
    requests = [RequestLine(custom_id=custom_id, body=body)]

    with nullcontext() if is_read(body) else pytest.raises(Malformed):
        assert wire.read_create(created(requests)) == requests


BAD_CREATES = {
    "nothing": (b"", "truncated"),
    "a list": (b"[]", "`$`|object"),
    "no requests": (b"{}", "requests"),
    "a request without an id": (b'{"requests":[{"params":{}}]}', r"\$.requests\[0\]"),
    "an id that is a number": (
        b'{"requests":[{"custom_id":1,"params":{}}]}',
        r"\$.requests\[0\].custom_id",
    ),
    "params that are a list": (
        b'{"requests":[{"custom_id":"a","params":{}},{"custom_id":"b","params":[]}]}',
        r"\$.requests\[1\].params",
    ),
    "invalid UTF-8": (b'{"requests":[{"custom_id":"a","params":{"x":"\xff"}}]}', "utf-8"),
    "half a surrogate pair": (
        b'{"requests":[{"custom_id":"a","params":{"x":"\\ud800"}}]}',
        "truncated",
    ),
    "no end": (b'{"requests":' + DEEP + b"}", r"requests\[0\]"),
}


@pytest.mark.parametrize(("body", "where"), BAD_CREATES.values(), ids=BAD_CREATES.keys())
def test_a_create_body_that_is_none_is_refused_with_the_place(body: bytes, where: str) -> None:
    with pytest.raises(Malformed, match=where):
        wire.read_create(body)


# --- the batch ----------------------------------------------------------------------------------

AT = datetime(2026, 11, 1, 0, 0, 0, 123456, UTC)
UNTIL = datetime(2026, 11, 2, 0, 0, 0, 123456, UTC)
URL = "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"
TIMES = (
    b'"created_at":"2026-11-01T00:00:00.123456+00:00",'
    b'"expires_at":"2026-11-02T00:00:00.123456+00:00"'
)
BATCHES: dict[str, tuple[bytes, RemoteBatch, dict[str, object]]] = {
    "in progress": (
        b'{"id":"msgbatch_1","type":"message_batch","processing_status":"in_progress",'
        b'"request_counts":{"processing":2,"succeeded":0,"errored":0,"canceled":0,"expired":0},'
        + TIMES
        + b',"ended_at":null,"cancel_initiated_at":null,"archived_at":null,"results_url":null}',
        RemoteBatch(
            id="msgbatch_1",
            status="in_progress",
            phase="working",
            created_at=AT,
            expires_at=UNTIL,
            size=2,
        ),
        {},
    ),
    "canceling": (
        b'{"id":"msgbatch_1","type":"message_batch","processing_status":"canceling",'
        b'"request_counts":{"processing":1,"succeeded":1,"errored":0,"canceled":0,"expired":0},'
        + TIMES
        + b',"ended_at":null,"cancel_initiated_at":"2026-11-01T00:00:00.123456+00:00",'
        b'"archived_at":null,"results_url":null}',
        RemoteBatch(
            id="msgbatch_1",
            status="canceling",
            phase="working",
            created_at=AT,
            expires_at=UNTIL,
            size=2,
            done=1,
        ),
        {"cancelling_at": AT},
    ),
    "ended": (
        b'{"id":"msgbatch_1","type":"message_batch","processing_status":"ended",'
        b'"request_counts":{"processing":0,"succeeded":3,"errored":2,"canceled":1,"expired":1},'
        + TIMES
        + b',"ended_at":"2026-11-02T00:00:00.123456+00:00","cancel_initiated_at":null,'
        b'"archived_at":null,"results_url":"' + URL.encode() + b'"}',
        RemoteBatch(
            id="msgbatch_1",
            status="ended",
            phase="ended",
            created_at=AT,
            expires_at=UNTIL,
            ended_at=UNTIL,
            size=7,
            done=7,
            results=(URL,),
        ),
        {"errored": 2, "cancelled": 1, "expired": 1},
    ),
}


@pytest.mark.parametrize(("body", "batch", "more"), BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_is_written_and_read(body: bytes, batch: RemoteBatch, more) -> None:
    assert wire.write_batch(batch, **more) == body
    assert wire.read_batch(body) == batch


POOR: dict[str, tuple[bytes, RemoteBatch]] = {
    "an id and a status": (
        b'{"id":"b","processing_status":"in_progress"}',
        RemoteBatch(id="b", status="in_progress", phase="working"),
    ),
    "fields of other types": (
        b'{"id":"b","processing_status":"ended","request_counts":[1],"created_at":5,'
        b'"expires_at":"soon","results_url":7}',
        RemoteBatch(id="b", status="ended", phase="ended"),
    ),
    "a status of the future": (
        b'{"id":"b","processing_status":"napping","request_counts":{"processing":1}}',
        RemoteBatch(id="b", status="napping", phase="working", size=1),
    ),
    "a status of the future, with results": (
        b'{"id":"b","processing_status":"sealed","results_url":"/r"}',
        RemoteBatch(id="b", status="sealed", phase="ended", results=("/r",)),
    ),
    "a time without a zone": (
        b'{"id":"b","processing_status":"ended","created_at":"2026-11-01T00:00:00.123456"}',
        RemoteBatch(id="b", status="ended", phase="ended", created_at=AT),
    ),
}


@pytest.mark.parametrize(("body", "batch"), POOR.values(), ids=POOR.keys())
def test_a_batch_may_lack_all_but_its_id_and_status(body: bytes, batch: RemoteBatch) -> None:
    assert wire.read_batch(body) == batch


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"id":"b"}', b'{"id":1}', b"\xff", DEEP]
)
def test_what_is_no_batch_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_batch(body)


FIRST = b'{"id":"x","processing_status":"ended"}'
LAST = b'{"id":"y","processing_status":"in_progress"}'
PAGES: dict[str, tuple[bytes, dict[str, bytes], bool, str | None]] = {
    "none": (b'{"data":[],"has_more":false,"first_id":null,"last_id":null}', {}, False, None),
    "the last": (
        b'{"data":[%b],"has_more":false,"first_id":"x","last_id":"x"}' % FIRST,
        {"x": FIRST},
        False,
        None,
    ),
    "one of several": (
        b'{"data":[%b,%b],"has_more":true,"first_id":"x","last_id":"y"}' % (FIRST, LAST),
        {"x": FIRST, "y": LAST},
        True,
        "y",
    ),
}


@pytest.mark.parametrize(("body", "listed", "more", "cursor"), PAGES.values(), ids=PAGES.keys())
def test_a_page_of_the_list_is_written_and_read(
    body: bytes, listed: dict[str, bytes], more: bool, cursor: str | None
) -> None:
    assert wire.write_batches(listed, has_more=more) == body
    assert wire.read_batches(body) == ([wire.read_batch(b) for b in listed.values()], cursor)


def test_what_is_no_batch_on_a_page_is_left_out() -> None:
    found, cursor = wire.read_batches(b'{"data":[null,5,{"id":7},{"id":"z"},%b]}' % LAST)

    assert [batch.id for batch in found] == ["y"]
    assert cursor is None


def test_a_deletion_is_answered() -> None:
    assert wire.write_deleted("b") == b'{"id":"b","type":"message_batch_deleted"}'


# --- results ------------------------------------------------------------------------------------


def golden_lines() -> list[bytes]:
    return GOLDEN.read_bytes().split(b"\n")[:-1]


def inner(line: bytes, *path: str) -> bytes:
    for name in path:
        line = bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])[name])
    return line


def golden_results() -> list[ResultLine]:
    lines = golden_lines()
    cancelled = Failure(message="cancelled before it ran", code="canceled")
    expired = Failure(message="not run before the batch expired", code="expired")
    whole, bad, busy, cut = (lines[n] for n in (0, 1, 2, 5))
    return [
        ResultLine(custom_id="r0-a", status=200, body=inner(whole, "result", "message")),
        ResultLine(custom_id="r1-b", status=400, body=inner(bad, "result", "error")),
        ResultLine(custom_id="r2-c", status=529, body=inner(busy, "result", "error")),
        ResultLine(custom_id="r3-d", outcome="cancelled", failure=cancelled),
        ResultLine(custom_id="r4-e", outcome="expired", failure=expired),
        ResultLine(custom_id="r5-f", status=200, body=inner(cut, "result", "message")),
    ]


GOLDEN_RESULTS = list(zip(golden_lines(), golden_results(), strict=True))


@pytest.mark.parametrize(("line", "result"), GOLDEN_RESULTS)
def test_a_result_is_written_and_read(line: bytes, result: ResultLine) -> None:
    assert wire.read_line(line) == result
    assert wire.write_line(result) == line


def test_what_is_in_a_line_has_the_outcome_of_a_real_time_reply() -> None:
    results = [wire.read_line(line) for line in golden_lines()]

    answers = [read_answer(API, each.body) for each in results if each.status == 200]
    failures = [read_failure(each.status, each.body)[0] for each in results[1:3] if each.status]

    assert [(answer.outcome, answer.value) for answer in answers] == [
        ("succeeded", "bug"),
        ("truncated", "a\u2028b\x85c"),
    ]
    assert failures == ["bad_request", "rate_limited"]


@given(IDS, st.text(), st.sampled_from([200, 400, 429, 529]))
def test_every_result_comes_back_as_it_was_written(custom_id: str, text: str, status: int) -> None:
    body = msgspec.json.encode({"content": text}) if status == 200 else write_error(status, text)
    result = ResultLine(custom_id=custom_id, status=status, body=body)

    line = wire.write_line(result)

    assert b"\n" not in line
    assert wire.read_line(line) == result


@given(IDS, ESCAPED)
def test_half_a_surrogate_pair_costs_a_line_no_more_than_its_body(
    custom_id: str, body: bytes
) -> None:
    line = wire.write_line(ResultLine(custom_id=custom_id, status=200, body=body))

    result = wire.read_line(line)

    assert result.custom_id == custom_id
    assert result.body == (body if is_read(body) else b"")
    assert result.outcome == (None if is_read(body) else "server_error")


def test_a_body_on_several_lines_is_written_on_one() -> None:
    result = ResultLine(custom_id="a", status=200, body=b'{\r\n "content": []\n}')

    line = wire.write_line(result)

    assert line.splitlines() == [line]
    assert msgspec.json.decode(wire.read_line(line).body) == {"content": []}


WRITTEN: dict[str, tuple[ResultLine, bytes]] = {
    "an error in another envelope": (
        ResultLine(custom_id="a", status=429, body=b'{"error":{"message":"slow","code":"x"}}'),
        b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}',
    ),
    "an error without an envelope": (
        ResultLine(custom_id="a", status=502, body=b"<html>"),
        b'{"type":"error","error":{"type":"api_error","message":"HTTP 502: not JSON: \'<html>\'"}}',
    ),
    "a failure without a reply": (
        ResultLine(custom_id="a", outcome="server_error", failure=Failure(message="gone")),
        b'{"type":"error","error":{"type":"api_error","message":"gone"}}',
    ),
    "a 2xx without a body": (
        ResultLine(custom_id="a", status=200, failure=Failure(message="gone")),
        b'{"type":"error","error":{"type":"api_error","message":"gone"}}',
    ),
}


@pytest.mark.parametrize(("result", "error"), WRITTEN.values(), ids=WRITTEN.keys())
def test_any_other_failure_is_written_as_an_error(result: ResultLine, error: bytes) -> None:
    line = wire.write_line(result)

    assert line == b'{"custom_id":"a","result":{"type":"errored","error":%b}}' % error


BAD_LINES: dict[str, tuple[bytes, str | None]] = {
    "nothing": (b"", None),
    "half": (b'{"custom_id":"a","result":{"type":"succ', None),
    "a list": (b"[]", None),
    "no result": (b'{"custom_id":"a"}', "a"),
    "a result of another type": (b'{"custom_id":"a","result":5}', "a"),
    "a result without a type": (b'{"custom_id":"a","result":{}}', "a"),
    "a result of the future": (b'{"custom_id":"a","result":{"type":"postponed"}}', "a"),
    "a success without a message": (b'{"custom_id":"a","result":{"type":"succeeded"}}', "a"),
    "a success with a text": (
        b'{"custom_id":"a","result":{"type":"succeeded","message":"x"}}',
        "a",
    ),
    "an id that is a number": (b'{"custom_id":1,"result":{"type":"postponed"}}', None),
    "no id": (b'{"result":{"type":"postponed"}}', None),
    "half a surrogate pair": (
        b'{"custom_id":"a","result":{"type":"succeeded","message":{"x":"\\ud800"}}}',
        "a",
    ),
    "half a surrogate pair in the id": (b'{"custom_id":"\\ud800","result":{"type":"x"}}', None),
    "invalid UTF-8": (
        b'{"custom_id":"a","result":{"type":"succeeded","message":{"x":"\xff"}}}',
        "a",
    ),
    "no end": (b'{"custom_id":"a","result":' + DEEP + b"}", None),
}


@pytest.mark.parametrize(("line", "custom_id"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_line_that_says_nothing_is_a_server_error_with_its_id_if_it_has_one(
    line: bytes, custom_id: str | None
) -> None:
    result = wire.read_line(line)

    assert (result.custom_id, result.outcome, result.status) == (custom_id, "server_error", None)
    assert result.failure is not None
    assert len(result.failure.message) < 300


def test_an_error_of_no_known_type_is_the_services_fault() -> None:
    result = wire.read_line(b'{"custom_id":"a","result":{"type":"errored","error":null}}')

    assert (result.custom_id, result.status, result.outcome) == ("a", 500, None)


KEYS = ["custom_id", "result", "type", "message", "error", "id", "processing_status", "data"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.sampled_from(["succeeded", "errored", "canceled", "ended", "overloaded_error"]),
    lambda within: (
        st.lists(within, max_size=3) | st.dictionaries(st.sampled_from(KEYS), within, max_size=4)
    ),
    max_leaves=12,
)


@given(st.binary() | JSON.map(msgspec.json.encode))
def test_nothing_that_comes_raises_anything_else(body: bytes) -> None:
    result = wire.read_line(body)
    for read in (wire.read_batch, wire.read_batches, wire.read_create):
        with suppress(Malformed):
            read(body)

    assert (result.outcome is None) == (result.status is not None)
    assert result.outcome is None or result.outcome in OUTCOMES
    assert isinstance(wire.write_line(result), bytes)
