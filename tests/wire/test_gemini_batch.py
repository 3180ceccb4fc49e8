"""Gemini's batches as bytes: both directions, and nothing said can raise."""

import json
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Api, Failure
from anybatch.core.states import OUTCOMES
from anybatch.wire import gcs
from anybatch.wire import gemini_batch as wire
from anybatch.wire import gemini_files as files
from anybatch.wire import vertex_batch as vertex
from anybatch.wire.batch import RemoteBatch, ResultLine
from anybatch.wire.gemini import read_answer, read_failure
from anybatch.wire.reading import Malformed, RequestLine

GENERATE: Api = "gemini.generate"
EMBED: Api = "gemini.embed"
FOLDER = Path(__file__).parent / "golden"
DEEP = b"[" * 100_000 + b"]" * 100_000
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
BODIES = st.text().map(lambda text: msgspec.json.encode({"contents": [], "x": text}))
ESCAPED = st.text(st.characters(exclude_categories=())).map(
    lambda text: json.dumps({"x": text}).encode()
)
"""Every text as JSON in ASCII, half surrogate pairs among them."""


def is_read(body: bytes) -> bool:
    with suppress(msgspec.DecodeError):
        msgspec.json.decode(body)
        return True
    return False


def golden(name: str) -> list[bytes]:
    return (FOLDER / name).read_bytes().split(b"\n")[:-1]


def inner(line: bytes, *path: str) -> bytes:
    for name in path:
        line = bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])[name])
    return line


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line", golden("gemini_requests.jsonl"))
def test_a_request_line_is_read_and_written(line: bytes) -> None:
    request = wire.read_request(line)

    assert request.custom_id is not None
    assert request.body == inner(line, "request")
    assert wire.write_request(GENERATE, request.custom_id, request.body) == line


@given(IDS, BODIES)
def test_every_request_comes_back_byte_for_byte(custom_id: str, body: bytes) -> None:
    line = wire.write_request(GENERATE, custom_id, body)
    element = wire.write_inline(GENERATE, custom_id, body)

    assert b"\n" not in line
    assert wire.read_request(line) == RequestLine(custom_id=custom_id, body=body)
    assert wire.read_request(element) == RequestLine(custom_id=custom_id, body=body)


@given(IDS, ESCAPED)
def test_a_request_with_half_a_surrogate_pair_is_refused_and_any_other_read(
    custom_id: str, body: bytes
) -> None:
    line = wire.write_request(GENERATE, custom_id, body)

    with nullcontext() if is_read(body) else pytest.raises(Malformed):
        assert wire.read_request(line) == RequestLine(custom_id=custom_id, body=body)


@pytest.mark.parametrize(
    ("line", "custom_id"),
    [
        (b'{"request":{}}', None),
        (b'{"request":{},"metadata":null}', None),
        (b'{"request":{},"metadata":{"other":"x"}}', None),
        (b'{"request":{},"key":""}', None),
        (b'{"request": {},"key":"a","metadata":{"key":"b"}}', "a"),
    ],
)
def test_a_request_may_come_without_a_name(line: bytes, custom_id: str | None) -> None:
    assert wire.read_request(line) == RequestLine(custom_id=custom_id, body=b"{}")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b'{"key":"a"}', "request"),
        (b'{"key":1,"request":{}}', r"\$.key"),
        (b'{"key":"a","request":[]}', r"\$.request"),
        (b'{"key":"a","request":{"x":"\xff"}}', "utf-8"),
        (b'{"key":"a","request":{"x":"\\ud800"}}', "truncated"),
        (b'{"key":"a","request":' + DEEP + b"}", "recursion"),
    ],
)
def test_a_line_that_is_no_request_is_refused_with_the_place(line: bytes, where: str) -> None:
    with pytest.raises(Malformed, match=where):
        wire.read_request(line)


# --- creating a batch ---------------------------------------------------------------------------


def test_a_batch_is_created_from_a_file() -> None:
    body = wire.write_create(input_file="files/abc", api=GENERATE, intent="dn")

    assert body == b'{"batch":{"displayName":"dn","inputConfig":{"fileName":"files/abc"}}}'
    assert wire.read_create(body) == wire.Create(intent="dn", input_file="files/abc")


def test_a_batch_of_embeddings_names_its_file_in_snake_case() -> None:
    body = wire.write_create(input_file="files/abc", api=EMBED, intent="dn")

    assert body == b'{"batch":{"displayName":"dn","inputConfig":{"file_name":"files/abc"}}}'
    assert wire.read_create(body) == wire.Create(intent="dn", input_file="files/abc")


@given(st.text(), st.lists(st.builds(RequestLine, custom_id=IDS, body=BODIES)))
def test_a_batch_is_created_from_requests(intent: str, requests: list[RequestLine]) -> None:
    frame = wire.inline_frame(intent)
    elements = [wire.write_inline(GENERATE, r.custom_id or "", r.body) for r in requests]

    body = frame.head + frame.separator.join(elements) + frame.tail

    assert wire.read_create(body) == wire.Create(intent=intent, requests=tuple(requests))


def test_the_requests_of_a_batch_are_framed_as_the_service_wants_them() -> None:
    frame = wire.inline_frame("dn")

    body = frame.head + wire.write_inline(GENERATE, "k1", b'{"contents":[]}') + frame.tail

    assert body == (
        b'{"batch":{"displayName":"dn","inputConfig":{"requests":{"requests":['
        b'{"request":{"contents":[]},"metadata":{"key":"k1"}}]}}}}'
    )


def test_a_batch_may_be_created_in_snake_case_and_without_a_name() -> None:
    body = b'{"batch":{"input_config":{"requests":{"requests":[{"request":{"content":{}}}]}}}}'

    assert wire.read_create(body) == wire.Create(
        requests=(RequestLine(custom_id=None, body=b'{"content":{}}'),)
    )


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b'{"batch":5}', b'{"batch":{"inputConfig":{}}}', b"\xff", DEEP),
        b'{"batch":{"inputConfig":{"fileName":5}}}',
        b'{"batch":{"inputConfig":{"requests":{"requests":[5]}}}}',
    ],
)
def test_what_creates_no_batch_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_create(body)


# --- the batch ----------------------------------------------------------------------------------

AT = datetime(2026, 11, 1, 0, 0, 0, 123456, UTC)
V1 = b"type.googleapis.com/google.ai.generativelanguage.v1main."
INLINE = b'[{"response":{},"metadata":{"key":"k1"}}]'
BATCHES: dict[str, tuple[bytes, RemoteBatch, Api, dict[str, Any]]] = {
    "pending": (
        b'{"name":"batches/b1","metadata":{"@type":"' + V1 + b'GenerateContentBatch",'
        b'"name":"batches/b1","displayName":"dn","model":"models/gemini-x",'
        b'"state":"BATCH_STATE_PENDING","createTime":"2026-11-01T00:00:00.123456Z",'
        b'"batchStats":{"requestCount":"2","successfulRequestCount":"0",'
        b'"failedRequestCount":"0","pendingRequestCount":"2"},'
        b'"inputConfig":{"fileName":"files/abc"}}}',
        RemoteBatch(
            id="batches/b1",
            status="BATCH_STATE_PENDING",
            phase="waiting",
            intent="dn",
            created_at=AT,
            size=2,
            input_file="files/abc",
        ),
        GENERATE,
        {},
    ),
    "succeeded": (
        b'{"name":"batches/b1","metadata":{"@type":"' + V1 + b'GenerateContentBatch",'
        b'"name":"batches/b1","displayName":"dn","model":"models/gemini-x",'
        b'"state":"BATCH_STATE_SUCCEEDED","createTime":"2026-11-01T00:00:00.123456Z",'
        b'"updateTime":"2026-11-01T00:00:00.123456Z","endTime":"2026-11-01T00:00:00.123456Z",'
        b'"batchStats":{"requestCount":"2","successfulRequestCount":"1",'
        b'"failedRequestCount":"1","pendingRequestCount":"0"},'
        b'"inputConfig":{"fileName":"files/abc"},"output":{"responsesFile":"files/batch-b1"}},'
        b'"response":{"@type":"' + V1 + b'GenerateContentBatchOutput",'
        b'"responsesFile":"files/batch-b1"},"done":true}',
        RemoteBatch(
            id="batches/b1",
            status="BATCH_STATE_SUCCEEDED",
            phase="ended",
            intent="dn",
            created_at=AT,
            size=2,
            done=2,
            input_file="files/abc",
            results=("files/batch-b1",),
        ),
        GENERATE,
        {"failed": 1, "updated_at": AT, "ended_at": AT},
    ),
    "succeeded, with embeddings in it": (
        b'{"name":"batches/b1","metadata":{"@type":"' + V1 + b'EmbedContentBatch",'
        b'"name":"batches/b1","model":"models/gemini-x","state":"BATCH_STATE_SUCCEEDED",'
        b'"output":{"inlinedEmbedContentResponses":{"inlinedResponses":' + INLINE + b"}}},"
        b'"response":{"@type":"' + V1 + b'EmbedContentBatchOutput",'
        b'"inlinedEmbedContentResponses":{"inlinedResponses":' + INLINE + b'}},"done":true}',
        RemoteBatch(id="batches/b1", status="BATCH_STATE_SUCCEEDED", phase="ended", inline=INLINE),
        EMBED,
        {},
    ),
    "failed": (
        b'{"name":"batches/b1","metadata":{"@type":"' + V1 + b'GenerateContentBatch",'
        b'"name":"batches/b1","model":"models/gemini-x","state":"BATCH_STATE_FAILED"},'
        b'"error":{"code":3,"message":"no such model"},"done":true}',
        RemoteBatch(
            id="batches/b1",
            status="BATCH_STATE_FAILED",
            phase="ended",
            problems=(Failure(message="no such model", code="INVALID_ARGUMENT"),),
        ),
        GENERATE,
        {},
    ),
    "failed for too much that waits": (
        b'{"name":"batches/b1","metadata":{"@type":"' + V1 + b'GenerateContentBatch",'
        b'"name":"batches/b1","model":"models/gemini-x","state":"BATCH_STATE_FAILED"},'
        b'"error":{"code":8,"message":"enqueued"},"done":true}',
        RemoteBatch(
            id="batches/b1",
            status="BATCH_STATE_FAILED",
            phase="ended",
            problems=(Failure(message="enqueued", code="RESOURCE_EXHAUSTED"),),
            over_quota=True,
        ),
        GENERATE,
        {},
    ),
    "cancelled": (
        b'{"name":"batches/b1","metadata":{"@type":"' + V1 + b'GenerateContentBatch",'
        b'"name":"batches/b1","model":"models/gemini-x","state":"BATCH_STATE_CANCELLED"},'
        b'"error":{"code":1,"message":"the batch was cancelled"},"done":true}',
        RemoteBatch(id="batches/b1", status="BATCH_STATE_CANCELLED", phase="ended"),
        GENERATE,
        {},
    ),
}


@pytest.mark.parametrize(("body", "batch", "api", "more"), BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_is_written_and_read(body: bytes, batch: RemoteBatch, api: Api, more) -> None:
    assert wire.write_batch(batch, api=api, model="gemini-x", **more) == body
    assert wire.read_batch(body) == batch


def ended(**more: Any) -> RemoteBatch:
    return RemoteBatch(id="batches/b", status="BATCH_STATE_SUCCEEDED", phase="ended", **more)


POOR: dict[str, tuple[bytes, RemoteBatch]] = {
    "a name": (
        b'{"name":"batches/b"}',
        RemoteBatch(id="batches/b", status="BATCH_STATE_UNSPECIFIED", phase="working"),
    ),
    "a name, and that it is over": (
        b'{"name":"batches/b","done":true}',
        RemoteBatch(id="batches/b", status="BATCH_STATE_UNSPECIFIED", phase="ended"),
    ),
    "Vertex AI's words": (
        b'{"name":"batches/b","metadata":{"state":"JOB_STATE_RUNNING"}}',
        RemoteBatch(id="batches/b", status="JOB_STATE_RUNNING", phase="working"),
    ),
    "a state of the future": (
        b'{"name":"batches/b","metadata":{"state":"BATCH_STATE_NAPPING"}}',
        RemoteBatch(id="batches/b", status="BATCH_STATE_NAPPING", phase="working"),
    ),
    "results only in the response": (
        b'{"name":"batches/b","metadata":{"state":"BATCH_STATE_SUCCEEDED"},'
        b'"response":{"responsesFile":"files/r"}}',
        ended(results=("files/r",)),
    ),
    "snake_case, numbers as numbers, times to the nanosecond": (
        b'{"name":"batches/b","metadata":{"state":"BATCH_STATE_SUCCEEDED","display_name":"dn",'
        b'"create_time":"2026-11-01T00:00:00.123456001Z","batch_stats":{"request_count":3,'
        b'"successful_request_count":2,"failed_request_count":1},'
        b'"input_config":{"file_name":"files/i"},"output":{"responses_file":"files/r"}}}',
        ended(
            intent="dn",
            created_at=AT,
            size=3,
            done=3,
            input_file="files/i",
            results=("files/r",),
        ),
    ),
    "inline results in snake_case": (
        b'{"name":"batches/b","metadata":{"state":"BATCH_STATE_SUCCEEDED",'
        b'"output":{"inlined_responses":{"inlined_responses":' + INLINE + b"}}}}",
        ended(inline=INLINE),
    ),
    "fields of other types": (
        b'{"name":"batches/b","metadata":{"state":"BATCH_STATE_SUCCEEDED","createTime":"soon",'
        b'"batchStats":{"requestCount":"many"},"output":[1],"inputConfig":null,"displayName":5},'
        b'"error":"no","response":7,"done":"yes"}',
        ended(),
    ),
    "an error that says nothing": (
        b'{"name":"batches/b","metadata":{"state":"BATCH_STATE_SUCCEEDED"},"error":{"code":99}}',
        ended(problems=(Failure(message="no reason given"),)),
    ),
}


@pytest.mark.parametrize(("body", "batch"), POOR.values(), ids=POOR.keys())
def test_a_batch_may_lack_all_but_its_name(body: bytes, batch: RemoteBatch) -> None:
    assert wire.read_batch(body) == batch


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"name":1}', DEEP])
def test_what_is_no_batch_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_batch(body)


ONE = b'{"name":"batches/x","metadata":{"state":"BATCH_STATE_RUNNING"}}'
PAGES: dict[str, tuple[bytes, list[bytes], str | None]] = {
    "none": (b'{"operations":[]}', [], None),
    "the last": (b'{"operations":[%b]}' % ONE, [ONE], None),
    "one of several": (
        b'{"operations":[%b,%b],"nextPageToken":"t"}' % (ONE, ONE),
        [ONE, ONE],
        "t",
    ),
}


@pytest.mark.parametrize(("body", "listed", "token"), PAGES.values(), ids=PAGES.keys())
def test_a_page_of_the_list_is_written_and_read(
    body: bytes, listed: list[bytes], token: str | None
) -> None:
    assert wire.write_batches(listed, next_page=token) == body
    assert wire.read_batches(body) == ([wire.read_batch(each) for each in listed], token)


@pytest.mark.parametrize("body", [b"{}", b'{"operations":null,"nextPageToken":""}'])
def test_an_empty_page_is_the_last(body: bytes) -> None:
    assert wire.read_batches(body) == ([], None)


def test_what_is_no_batch_on_a_page_is_left_out() -> None:
    found, token = wire.read_batches(b'{"operations":[5,{},%b],"next_page_token":"t"}' % ONE)

    assert [batch.id for batch in found] == ["batches/x"]
    assert token == "t"


# --- results ------------------------------------------------------------------------------------

CANCELLED = Failure(message="cancelled before it ran", code="CANCELLED")


def wrapped(line: bytes) -> bytes:
    return b'{"error":%b}' % inner(line, "error")


def results_of(lines: list[bytes], told: list[tuple[str | None, int]]) -> list[ResultLine]:
    """The results that these lines hold, given the id and the HTTP status of each."""
    found = []
    for line, (custom_id, status) in zip(lines, told, strict=True):
        if status == 499:
            found.append(ResultLine(custom_id=custom_id, outcome="cancelled", failure=CANCELLED))
            continue
        body = inner(line, "response") if status == 200 else wrapped(line)
        found.append(ResultLine(custom_id=custom_id, status=status, body=body))
    return found


FILE = golden("gemini_results.jsonl")
IN_FILE = [
    *(("r0-a", 200), ("r1-b", 400), ("r2-c", 429), ("r3-d", 503), ("r4-e", 499)),
    *(("r5-f", 200), ("r6-g", 200), ("e0-h", 200)),
]
HELD = golden("gemini_inline.jsonl")
INSIDE = [
    *(("r0-a", 200), ("r1-b", 400), ("r2-c", 429), ("r3-d", 503), ("r4-e", 499), (None, 200)),
]


@pytest.mark.parametrize(
    ("line", "result"), list(zip(FILE, results_of(FILE, IN_FILE), strict=True))
)
def test_a_line_of_a_result_file_is_written_and_read(line: bytes, result: ResultLine) -> None:
    assert wire.read_line(line) == result
    assert wire.write_line(result) == line


@pytest.mark.parametrize(("line", "result"), list(zip(HELD, results_of(HELD, INSIDE), strict=True)))
def test_a_result_within_a_batch_is_written_and_read(line: bytes, result: ResultLine) -> None:
    assert wire.read_line(line) == result
    assert wire.write_inline_line(result) == line


def test_the_results_within_a_batch_are_read_one_by_one() -> None:
    inline = b"[" + b",".join(HELD) + b"]"

    assert wire.read_inline(inline) == results_of(HELD, INSIDE)


@pytest.mark.parametrize("inline", [b"", b"{}", b"null", b"[1", DEEP])
def test_what_is_no_list_of_results_is_malformed(inline: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_inline(inline)


def test_what_is_in_a_line_has_the_outcome_of_a_real_time_reply() -> None:
    results = [wire.read_line(line) for line in FILE]

    answers = [read_answer(EMBED if n == 7 else GENERATE, results[n].body) for n in (0, 5, 6, 7)]
    failures = [read_failure(r.status, r.body)[0] for r in results[1:4] if r.status]

    assert [(answer.outcome, answer.value) for answer in answers] == [
        ("succeeded", "bug\u2028"),
        ("truncated", "bu"),
        ("blocked", None),
        ("succeeded", [0.1, 0.2]),
    ]
    assert failures == ["bad_request", "rate_limited", "server_error"]


ERRORS: dict[str, tuple[bytes, int]] = {
    "a gRPC code": (b'{"key":"a","error":{"code":8,"message":"no"}}', 429),
    "an HTTP status": (b'{"key":"a","error":{"code":404,"message":"no"}}', 404),
    "a code as a text": (b'{"key":"a","error":{"code":"16","message":"no"}}', 401),
    "a word": (b'{"key":"a","error":{"status":"UNAVAILABLE","message":"no"}}', 503),
    "a word beside an unknown code": (
        b'{"key":"a","error":{"code":77,"status":"NOT_FOUND","message":"no"}}',
        404,
    ),
    "an unknown code": (b'{"key":"a","error":{"code":77,"message":"no"}}', 500),
    "a message": (b'{"key":"a","error":{"message":"no"}}', 500),
    "details": (
        b'{"key":"a","error":{"code":3,"message":"no","details":[{"@type":"x"}]}}',
        400,
    ),
    "a status": (b'{"key":"a","status":{"code":3,"message":"no"}}', 400),
    "an error in an envelope": (
        b'{"key":"a","error":{"error":{"code":429,"message":"no"}}}',
        429,
    ),
    "an error and a response": (
        b'{"key":"a","response":{"candidates":[]},"error":{"code":13,"message":"no"}}',
        500,
    ),
    "a text": (b'{"key":"a","error":"no"}', 500),
    "a text with a word": (b'{"key":"a","error":"PERMISSION_DENIED: no"}', 403),
}


@pytest.mark.parametrize(("line", "status"), ERRORS.values(), ids=ERRORS.keys())
def test_every_form_of_error_has_an_http_status(line: bytes, status: int) -> None:
    result = wire.read_line(line)
    _, failure = read_failure(status, result.body)

    assert (result.custom_id, result.status, result.outcome) == ("a", status, None)
    assert failure.message.endswith("no")


@pytest.mark.parametrize(
    "line",
    [
        b'{"key":"a","response":{},"error":null}',
        b'{"key":"a","response":{},"error":{}}',
        b'{"key":"a","response":{},"status":{"code":0}}',
        b'{"key":"a","response":{},"status":""}',
        b'{"key":"a","response":{},"status":200}',
        b'{"key":"a","response":{},"status":[]}',
    ],
)
def test_an_error_that_says_nothing_is_none(line: bytes) -> None:
    assert wire.read_line(line) == ResultLine(custom_id="a", status=200, body=b"{}")


@pytest.mark.parametrize(
    "line",
    [
        b'{"key":"a","error":{"code":1}}',
        b'{"key":"a","error":{"code":499,"message":""}}',
        b'{"key":"a","status":{"status":"CANCELLED"}}',
    ],
)
def test_a_request_that_was_cancelled_has_no_reply(line: bytes) -> None:
    expected = ResultLine(custom_id="a", outcome="cancelled", failure=CANCELLED)

    assert wire.read_line(line) == expected


@given(IDS, st.text(min_size=1), st.sampled_from([200, 400, 401, 404, 429, 500, 503]))
def test_every_result_comes_back_as_it_was_written(custom_id: str, text: str, status: int) -> None:
    body = {"error": {"code": status, "message": text[:500]}}
    if status == 200:
        body = {"candidates": [{"content": {"parts": [{"text": text}]}}]}
    result = ResultLine(custom_id=custom_id, status=status, body=msgspec.json.encode(body))

    line = wire.write_line(result)

    assert b"\n" not in line
    assert wire.read_line(line) == result


@pytest.mark.parametrize("write", [wire.write_line, wire.write_inline_line])
@given(custom_id=IDS, body=ESCAPED)
def test_half_a_surrogate_pair_costs_a_line_no_more_than_its_body(
    write: Callable[[ResultLine], bytes], custom_id: str, body: bytes
) -> None:
    line = write(ResultLine(custom_id=custom_id, status=200, body=body))

    result = wire.read_line(line)

    assert result.custom_id == custom_id
    assert result.body == (body if is_read(body) else b"")
    assert result.outcome == (None if is_read(body) else "server_error")


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (
            ResultLine(custom_id="a", outcome="expired", failure=Failure(message="late")),
            b'{"code":504,"message":"late"}',
        ),
        (
            ResultLine(custom_id="a", outcome="server_error", failure=Failure(message="gone")),
            b'{"code":500,"message":"gone"}',
        ),
        (ResultLine(custom_id="a", status=200), b'{"code":500,"message":"no reason given"}'),
        (
            ResultLine(custom_id="a", status=422, body=b'{"error":{"message":"bad"}}'),
            b'{"code":422,"message":"bad"}',
        ),
        (
            ResultLine(custom_id="a", status=502, body=b"<html>"),
            b'{"code":502,"message":"no reason given"}',
        ),
    ],
)
def test_any_other_failure_is_written_as_an_error(result: ResultLine, error: bytes) -> None:
    assert wire.write_line(result) == b'{"key":"a","error":%b}' % error


BAD_LINES: dict[str, tuple[bytes, str | None]] = {
    "nothing": (b"", None),
    "half": (b'{"key":"a","response":{"cand', None),
    "a list": (b"[]", None),
    "a key alone": (b'{"key":"a"}', "a"),
    "a response that is a list": (b'{"key":"a","response":[]}', "a"),
    "a key that is a number": (b'{"key":1}', None),
    "no key": (b"{}", None),
    "another form of key": (b'{"custom_id":"a"}', "a"),
    "half a surrogate pair": (b'{"key":"a","response":{"x":"\\ud800"}}', "a"),
    "half a surrogate pair, inline": (
        b'{"response":{"x":"\\ud800"},"metadata":{"key":"a"}}',
        "a",
    ),
    "invalid UTF-8": (b'{"key":"a","response":{"x":"\xff"}}', "a"),
    "no end": (b'{"key":"a","response":' + DEEP + b"}", None),
}


@pytest.mark.parametrize(("line", "custom_id"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_line_that_says_nothing_is_a_server_error_with_its_id_if_it_has_one(
    line: bytes, custom_id: str | None
) -> None:
    result = wire.read_line(line)

    assert (result.custom_id, result.outcome, result.status) == (custom_id, "server_error", None)
    assert result.failure is not None
    assert len(result.failure.message) < 300


# --- whatever comes -----------------------------------------------------------------------------

KEYS = [
    *("key", "custom_id", "metadata", "response", "error", "status", "code", "message", "name"),
    *("state", "output", "inlinedResponses", "responsesFile", "operations", "request", "file"),
    *("batch", "inputConfig", "requests", "batchPredictionJobs", "completionStats", "done"),
    *("model", "gcsSource", "uris", "outputConfig", "gcsDestination", "outputUriPrefix"),
    *("bucket", "items", "size", "embedContentConfig", "outputInfo", "gcsOutputDirectory"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.sampled_from(["BATCH_STATE_FAILED", "CANCELLED", "Bad Request: {}", '{"code":3}', "3"]),
    lambda within: (
        st.lists(within, max_size=3) | st.dictionaries(st.sampled_from(KEYS), within, max_size=4)
    ),
    max_leaves=12,
)
READERS = (
    *(wire.read_batch, wire.read_batches, wire.read_create, wire.read_request, wire.read_inline),
    *(files.read_file, files.read_files, vertex.read_batch, vertex.read_batches),
    *(vertex.read_create, vertex.read_request, gcs.read_object, gcs.read_objects),
)


@given(st.binary() | JSON.map(msgspec.json.encode))
def test_nothing_that_comes_raises_anything_else(body: bytes) -> None:
    result = wire.read_line(body)
    vertex.read_line(body)
    for read in READERS:
        with suppress(Malformed):
            read(body)

    assert (result.outcome is None) == (result.status is not None)
    assert result.outcome is None or result.outcome in OUTCOMES
    assert wire.write_line(result).startswith(b'{"key":')
    assert wire.write_inline_line(result).startswith(b"{")
