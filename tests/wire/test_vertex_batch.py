"""Vertex AI's jobs and lines as bytes: both directions, from one table."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Api, Failure
from anybatch.wire import vertex_batch as wire
from anybatch.wire.batch import RemoteBatch, ResultLine
from anybatch.wire.gemini import read_answer, read_failure
from anybatch.wire.reading import Malformed, RequestLine

GENERATE: Api = "gemini.generate"
EMBED: Api = "gemini.embed"
FOLDER = Path(__file__).parent / "golden"
AT = datetime(2026, 11, 1, 0, 0, 0, 123456, UTC)
DEEP = b"[" * 100_000 + b"]" * 100_000
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def golden(name: str) -> list[bytes]:
    return (FOLDER / name).read_bytes().split(b"\n")[:-1]


def inner(line: bytes, name: str) -> bytes:
    return bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])[name])


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line", golden("vertex_requests.jsonl"))
def test_a_request_line_is_read_and_written(line: bytes) -> None:
    request = wire.read_request(line)

    assert request.custom_id is not None
    assert request.body == inner(line, "request")
    assert wire.write_request(GENERATE, request.custom_id, request.body) == line


@pytest.mark.parametrize(
    ("body", "request_in_line"),
    [
        (b'{"content":{"parts":[]}}', b'{"content":{"parts":[]}}'),
        (
            b'{"content":{"parts":[]},"taskType":"CLUSTERING","outputDimensionality":8}',
            b'{"content":{"parts":[]},"embed_content_config":'
            b'{"task_type":"CLUSTERING","output_dimensionality":8}}',
        ),
    ],
)
def test_an_embedding_has_a_key_and_its_settings_in_one_field(
    body: bytes, request_in_line: bytes
) -> None:
    line = wire.write_request(EMBED, "k", body)

    assert line == b'{"key":"k","request":%b}' % request_in_line
    assert wire.read_request(line) == RequestLine(custom_id="k", body=body)


def test_an_embedding_may_be_given_in_snake_case() -> None:
    line = wire.write_request(EMBED, "k", b'{"content":{},"output_dimensionality":8}')

    assert inner(line, "request") == (
        b'{"content":{},"embed_content_config":{"output_dimensionality":8}}'
    )


@given(IDS, st.text())
def test_every_request_comes_back_byte_for_byte(custom_id: str, text: str) -> None:
    body = msgspec.json.encode({"contents": [], "x": text})

    line = wire.write_request(GENERATE, custom_id, body)

    assert b"\n" not in line
    assert wire.read_request(line) == RequestLine(custom_id=custom_id, body=body)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b'{"custom_id":"a"}', "request"),
        (b'{"custom_id":1,"request":{}}', r"\$.custom_id"),
        (b'{"key":"a","request":[]}', r"\$.request"),
        (b'{"key":"a","request":{"x":"\xff"}}', "utf-8"),
        (b'{"key":"a","request":' + DEEP + b"}", "recursion"),
    ],
)
def test_a_line_that_is_no_request_is_refused_with_the_place(line: bytes, where: str) -> None:
    with pytest.raises(Malformed, match=where):
        wire.read_request(line)


# --- creating a job -----------------------------------------------------------------------------

CREATE = wire.Create(
    intent="dn",
    model="publishers/google/models/gemini-x",
    input_file="gs://b/in.jsonl",
    output_prefix="gs://b/out",
    labels={"k": "v"},
)
CREATE_BODY = (
    b'{"displayName":"dn","model":"publishers/google/models/gemini-x",'
    b'"inputConfig":{"instancesFormat":"jsonl","gcsSource":{"uris":["gs://b/in.jsonl"]}},'
    b'"outputConfig":{"predictionsFormat":"jsonl",'
    b'"gcsDestination":{"outputUriPrefix":"gs://b/out"}},"labels":{"k":"v"}}'
)


def test_a_job_is_created_from_an_object_in_a_bucket() -> None:
    assert wire.write_create(CREATE) == CREATE_BODY
    assert wire.read_create(CREATE_BODY) == CREATE


def test_a_job_may_be_created_in_snake_case_without_a_name_or_labels() -> None:
    body = (
        b'{"model":"m","input_config":{"gcs_source":{"uris":["gs://b/i"]}},'
        b'"output_config":{"gcs_destination":{"output_uri_prefix":"gs://b/o"}}}'
    )

    assert wire.read_create(body) == wire.Create(
        model="m", input_file="gs://b/i", output_prefix="gs://b/o"
    )


@pytest.mark.parametrize(
    ("model", "resource"),
    [
        ("gemini-x", "publishers/google/models/gemini-x"),
        ("projects/p/locations/l/models/m", "projects/p/locations/l/models/m"),
    ],
)
def test_a_model_is_googles_unless_it_is_named_in_full(model: str, resource: str) -> None:
    assert wire.resource_of(model) == resource


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b"\xff", DEEP),
        CREATE_BODY.replace(b'"model"', b'"modell"'),
        CREATE_BODY.replace(b'["gs://b/in.jsonl"]', b"[]"),
        CREATE_BODY.replace(b"gcsDestination", b"bigqueryDestination"),
    ],
)
def test_what_creates_no_job_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_create(body)


# --- the job ------------------------------------------------------------------------------------

JOB = "projects/123/locations/us-central1/batchPredictionJobs/999"
HEAD = b'{"name":"%b",' % JOB.encode() + CREATE_BODY[1:-1] + b","
MADE = b'"createTime":"2026-11-01T00:00:00.123456Z"'
OVER = b',"endTime":"2026-11-01T00:00:00.123456Z","updateTime":"2026-11-01T00:00:00.123456Z"'


def job(state: str, phase: Any, **more: Any) -> RemoteBatch:
    about = {"intent": "dn", "created_at": AT, "input_file": "gs://b/in.jsonl", **more}
    return RemoteBatch(id=JOB, status=f"JOB_STATE_{state}", phase=phase, **about)


WRITTEN: dict[str, tuple[bytes, RemoteBatch, dict[str, Any]]] = {
    "pending": (
        HEAD + b'"state":"JOB_STATE_PENDING",' + MADE + b"}",
        job("PENDING", "waiting"),
        {},
    ),
    "succeeded": (
        HEAD
        + b'"state":"JOB_STATE_SUCCEEDED",'
        + MADE
        + OVER
        + b',"outputInfo":{"gcsOutputDirectory":"gs://b/out/prediction-1"},"completionStats":'
        b'{"successfulCount":"2","failedCount":"1","incompleteCount":"0"}}',
        job("SUCCEEDED", "ended", size=3, done=3, results=("gs://b/out/prediction-1",)),
        {"failed": 1, "updated_at": AT, "ended_at": AT},
    ),
    "failed": (
        HEAD
        + b'"state":"JOB_STATE_FAILED",'
        + MADE
        + b',"outputInfo":{"gcsOutputDirectory":"gs://b/out"},"completionStats":'
        b'{"successfulCount":"0","failedCount":"0","incompleteCount":"-1"},'
        b'"error":{"code":7,"message":"no access to the bucket"}}',
        job(
            "FAILED",
            "ended",
            results=("gs://b/out",),
            problems=(Failure(message="no access to the bucket", code="PERMISSION_DENIED"),),
        ),
        {},
    ),
}


@pytest.mark.parametrize(("body", "batch", "more"), WRITTEN.values(), ids=WRITTEN.keys())
def test_a_job_is_written_and_read(body: bytes, batch: RemoteBatch, more: dict[str, Any]) -> None:
    assert wire.write_batch(batch, create=CREATE, **more) == body
    assert wire.read_batch(body) == batch


def ended(state: str = "SUCCEEDED", **more: Any) -> RemoteBatch:
    return RemoteBatch(id=JOB, status=f"JOB_STATE_{state}", phase="ended", **more)


TOLD: dict[str, tuple[str, RemoteBatch]] = {
    "a name": ("", RemoteBatch(id=JOB, status="JOB_STATE_UNSPECIFIED", phase="working")),
    "running, with counts that are not known": (
        ',"state":"JOB_STATE_RUNNING","completionStats":{"incompleteCount":"-1"}',
        RemoteBatch(id=JOB, status="JOB_STATE_RUNNING", phase="working"),
    ),
    "running, and where it will write": (
        ',"state":"JOB_STATE_RUNNING","outputConfig":'
        '{"gcsDestination":{"outputUriPrefix":"gs://b/out"}}',
        RemoteBatch(id=JOB, status="JOB_STATE_RUNNING", phase="working"),
    ),
    "cancelled, and where it was to write": (
        ',"state":"JOB_STATE_CANCELLED","error":{"code":1,"message":"CANCELED"},"outputConfig":'
        '{"gcsDestination":{"outputUriPrefix":"gs://b/out"}}',
        ended("CANCELLED", results=("gs://b/out",)),
    ),
    "a table": (
        ',"state":"JOB_STATE_PARTIALLY_SUCCEEDED","outputInfo":'
        '{"bigqueryOutputTable":"bq://p.d.o"}',
        ended("PARTIALLY_SUCCEEDED", results=("bq://p.d.o",)),
    ),
    "over a quota": (
        ',"state":"JOB_STATE_FAILED","error":{"code":8,"message":"no"}',
        ended(
            "FAILED",
            problems=(Failure(message="no", code="RESOURCE_EXHAUSTED"),),
            over_quota=True,
        ),
    ),
    "an error with details": (
        ',"state":"JOB_STATE_FAILED","error":{"code":3,"message":"no","details":[{"@type":"x"}]}',
        ended("FAILED", problems=(Failure(message="no", code="INVALID_ARGUMENT"),)),
    ),
    "snake_case, numbers as numbers": (
        ',"state":"JOB_STATE_SUCCEEDED","display_name":"dn","completion_stats":'
        '{"successful_count":2,"failed_count":1,"incomplete_count":0},'
        '"output_info":{"gcs_output_directory":"gs://b/o"}',
        ended(intent="dn", size=3, done=3, results=("gs://b/o",)),
    ),
    **{
        state.lower(): (
            f',"state":"JOB_STATE_{state}"',
            RemoteBatch(id=JOB, status=f"JOB_STATE_{state}", phase=phase),
        )
        for state, phase in (
            *(("QUEUED", "waiting"), ("PENDING", "waiting"), ("CANCELLING", "working")),
            *(("PAUSED", "working"), ("UPDATING", "working"), ("EXPIRED", "ended")),
            *(("OF_NEXT_YEAR", "working"),),
        )
    },
}


@pytest.mark.parametrize(("told", "batch"), TOLD.values(), ids=TOLD.keys())
def test_a_job_may_lack_all_but_its_name(told: str, batch: RemoteBatch) -> None:
    body = f'{{"name":"{JOB}"{told}}}'.encode()

    assert wire.read_batch(body) == batch


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"name":1}', DEEP])
def test_what_is_no_job_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_batch(body)


ONE = b'{"name":"j","state":"JOB_STATE_RUNNING"}'
PAGES: list[tuple[bytes, list[bytes], str | None]] = [
    (b"{}", [], None),
    (b'{"batchPredictionJobs":[%b]}' % ONE, [ONE], None),
    (b'{"batchPredictionJobs":[%b,%b],"nextPageToken":"t"}' % (ONE, ONE), [ONE, ONE], "t"),
]


@pytest.mark.parametrize(("body", "listed", "token"), PAGES)
def test_a_page_of_the_list_is_written_and_read(
    body: bytes, listed: list[bytes], token: str | None
) -> None:
    assert wire.write_batches(listed, next_page=token) == body
    assert wire.read_batches(body) == ([wire.read_batch(each) for each in listed], token)


def test_what_is_no_job_on_a_page_is_left_out() -> None:
    found, token = wire.read_batches(b'{"batchPredictionJobs":[5,{},%b],"nextPageToken":""}' % ONE)

    assert [batch.id for batch in found] == ["j"]
    assert token is None


# --- results ------------------------------------------------------------------------------------

RESULTS = golden("vertex_results.jsonl")


def test_recorded_lines_are_read() -> None:
    results = [wire.read_line(line) for line in RESULTS]

    outcomes = [
        read_answer(GENERATE, r.body).outcome
        if r.status == 200
        else read_failure(r.status or 0, r.body)[0]
        for r in results
    ]

    assert [(r.custom_id, r.status) for r in results] == [
        *(("r0-a", 200), ("r1-b", 400), ("r2-c", 429), ("r3-d", 200), ("r4-e", 500)),
    ]
    assert outcomes == ["succeeded", "bad_request", "rate_limited", "blocked", "server_error"]


LINES: dict[str, tuple[bytes, Api, ResultLine]] = {
    "well": (
        b'{"custom_id":"a","status":"","processed_time":"2026-11-01T00:00:00.123+00:00",'
        b'"request":{"contents":[]},"response":{"candidates":[]}}',
        GENERATE,
        ResultLine(custom_id="a", status=200, body=b'{"candidates":[]}'),
    ),
    "an embedding": (
        b'{"key":"a","status":"","processed_time":"2026-11-01T00:00:00.123+00:00",'
        b'"request":{"contents":[]},"response":{"embedding":{}}}',
        EMBED,
        ResultLine(custom_id="a", status=200, body=b'{"embedding":{}}'),
    ),
    "refused": (
        b'{"custom_id":"a","status":"Invalid Argument: {\\"error\\":{\\"code\\":400,'
        b'\\"message\\":\\"bad\\",\\"status\\":\\"INVALID_ARGUMENT\\"}}",'
        b'"processed_time":"2026-11-01T00:00:00.123+00:00","request":{"contents":[]},'
        b'"response":{}}',
        GENERATE,
        ResultLine(
            custom_id="a",
            status=400,
            body=b'{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}',
        ),
    ),
}


@pytest.mark.parametrize(("line", "api", "result"), LINES.values(), ids=LINES.keys())
def test_a_line_of_results_is_written_and_read(line: bytes, api: Api, result: ResultLine) -> None:
    assert wire.write_line(result, api=api, request=b'{"contents":[]}', at=AT) == line
    assert wire.read_line(line) == result


@pytest.mark.parametrize(
    ("result", "status", "outcome"),
    [
        (ResultLine(custom_id="a", status=503, body=b"<html>"), 503, None),
        (ResultLine(custom_id="a", outcome="expired"), 504, None),
        (ResultLine(custom_id="a", outcome="cancelled"), None, "cancelled"),
        (ResultLine(custom_id="a", status=200, body=b"[]"), 500, None),
        (
            ResultLine(custom_id="a", outcome="server_error", failure=Failure(message="no")),
            500,
            None,
        ),
    ],
)
def test_any_other_failure_is_written_as_a_text_that_is_read_as_one(
    result: ResultLine, status: int | None, outcome: str | None
) -> None:
    read = wire.read_line(wire.write_line(result, api=GENERATE, request=b"{}", at=AT))

    assert (read.custom_id, read.status, read.outcome) == ("a", status, outcome)


ASKED = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generation_config":{"top_k":1}}'
ECHOED: dict[str, tuple[bytes, bool]] = {
    "as it was": (ASKED, True),
    "in another order": (
        b'{"generation_config":{"top_k":1},"contents":[{"parts":[{"text":"hi"}],"role":"user"}]}',
        True,
    ),
    "in camelCase, with a number written otherwise": (
        ASKED.replace(b"_config", b"Config").replace(b'"top_k":1', b'"topK":1.0'),
        True,
    ),
    "with a field that is null": (ASKED[:-1] + b',"tools":null}', True),
    "another text": (ASKED.replace(b"hi", b"ho"), False),
    "another number": (ASKED.replace(b":1}", b":2}"), False),
    "with a field more": (ASKED[:-1] + b',"tools":[]}', False),
    "none": (b"5", False),
}


@pytest.mark.parametrize(("request_back", "is_it"), ECHOED.values(), ids=ECHOED.keys())
def test_a_line_without_a_name_tells_which_request_it_was(request_back: bytes, is_it: bool) -> None:
    line = wire.read_line(b'{"status":"","request":%b,"response":{}}' % request_back)

    assert (line.custom_id, line.body) == (None, b"{}")
    assert (line.echo == wire.echo_of(ASKED)) == is_it


def test_an_embedding_without_a_name_tells_which_it_was() -> None:
    body = b'{"content":{"parts":[{"text":"hi"}]},"output_dimensionality":8}'
    back = inner(wire.write_request(EMBED, "k", body), "request")

    line = wire.read_line(b'{"request":%b,"response":{}}' % back)

    assert line.echo == wire.echo_of(body)


def test_a_line_with_a_name_needs_no_more() -> None:
    assert wire.read_line(RESULTS[0]).echo == b""


@pytest.mark.parametrize("body", [b"", b"[", DEEP, b"1" + b"0" * 400])
def test_what_cannot_be_read_is_like_nothing_else(body: bytes) -> None:
    assert wire.echo_of(body) == b""
