"""OpenAI's wire from the server's side: what is written here is read by the client's side."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from anybatch.core.model import Failure, Result, Usage
from anybatch.core.served import (
    AFTER,
    OVER,
    Order,
    Problem,
    Ready,
    StoredFile,
    Sums,
    Upload,
    UploadPart,
)
from anybatch.core.states import OUTCOMES
from anybatch.wire import openai_asked as asking
from anybatch.wire import openai_batch as client
from anybatch.wire import openai_served as wire
from anybatch.wire.openai import read_error, write_error
from anybatch.wire.openai_asked import Refused
from anybatch.wire.openai_served import RequestReader

CHAT = "/v1/chat/completions"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MESSAGES = [{"role": "user", "content": "hi"}]


def line(**changes: Any) -> bytes:
    whole = {
        "custom_id": "a",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "m", "messages": MESSAGES},
    } | changes
    return msgspec.json.encode({k: v for k, v in whole.items() if v is not ...})


def body(**changes: Any) -> dict[str, Any]:
    whole = {"model": "m", "messages": MESSAGES} | changes
    return {k: v for k, v in whole.items() if v is not ...}


def problem_of(*lines: bytes, endpoint: str = CHAT) -> tuple[str, int | None, str | None] | None:
    """Code, line and param of the first thing that is wrong."""
    reader = RequestReader(endpoint)
    found = [reader.read(number, line) for number, line in enumerate(lines, start=1)]
    problems = [one for one in (*found, reader.end()) if isinstance(one, Problem)]
    return (problems[0].code, problems[0].line, problems[0].param) if problems else None


# --- request lines ---


@pytest.mark.parametrize("api", asking.ENDPOINTS.values())
def test_what_a_client_writes_is_read(api: Any) -> None:
    endpoint = next(path for path, each in asking.ENDPOINTS.items() if each == api)
    needs = {"messages": [], "input": "x", "prompt": "x"}
    said = msgspec.json.encode({"model": "m", **needs})

    read = RequestReader(endpoint).read(1, client.write_request(api, "näme", said))

    assert read == Ready(name="näme", model="m", body=said)


def test_a_body_is_kept_byte_for_byte() -> None:
    said = b'{ "messages":[],\t"model" : "m","n":1.0}'
    whole = b'{"body":%b,"url":"/v1/chat/completions","method":"POST","custom_id":"a"}\r' % said

    read = RequestReader(CHAT).read(1, whole)

    assert isinstance(read, Ready)
    assert read.body == said


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b"7", "invalid_json_line", None),
        (b'{"custom_id":"\xff"}', "invalid_json_line", None),
        (b"\xef\xbb\xbf" + line(), "invalid_json_line", None),
        (b"[" * 100_000, "invalid_json_line", None),
        (line(custom_id=...), "missing_required_parameter", "custom_id"),
        (line(custom_id=None), "missing_required_parameter", "custom_id"),
        (line(method=...), "missing_required_parameter", "method"),
        (line(url=...), "missing_required_parameter", "url"),
        (line(body=...), "missing_required_parameter", "body"),
        (line(custom_id=7), "invalid_custom_id", "custom_id"),
        (line(custom_id=""), "invalid_custom_id", "custom_id"),
        (line(custom_id="x" * 513), "invalid_custom_id", "custom_id"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url="/v1/embeddings"), "invalid_url", "url"),
        (line(url=["x"]), "invalid_url", "url"),
        (line(body=[]), "invalid_request", "body"),
        (line(body=None), "invalid_request", "body"),
        (line(body=body(model=...)), "invalid_request", "body.model"),
        (line(body=body(model="")), "invalid_request", "body.model"),
        (line(body=body(model=5)), "invalid_request", "body.model"),
        (line(body=body(messages=...)), "invalid_request", "body.messages"),
        (line(body=body(messages=None)), "invalid_request", "body.messages"),
        (line(body=body(stream=True)), "streaming_unsupported", "body.stream"),
    ],
)
def test_what_is_wrong_with_a_line_has_a_code_and_a_place(
    bad: bytes, code: str, param: str | None
) -> None:
    assert problem_of(line(custom_id="before"), bad) == (code, 2, param)


def test_names_are_unique_and_models_are_one() -> None:
    other = line(custom_id="b", body=body(model="n"))

    assert problem_of(line(), line()) == ("duplicate_custom_id", 2, "custom_id")
    assert problem_of(line(), other) == ("mismatched_model", 2, "body.model")


def test_a_file_has_requests_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem_of() == ("empty_file", None, None)
    assert problem_of(b"", b"  ") == ("empty_file", None, None)
    monkeypatch.setattr(wire, "MAX_REQUESTS", 1)
    assert problem_of(line(), line(custom_id="b")) == ("invalid_request", None, None)


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [
        ("/v1/responses", "input"),
        ("/v1/embeddings", "input"),
        ("/v1/completions", "prompt"),
        ("/v1/moderations", "input"),
        ("/v1/images/generations", "prompt"),
    ],
)
def test_every_api_asks_for_its_own(endpoint: str, field: str) -> None:
    without = line(url=endpoint, body={"model": "m"})
    with_it = line(url=endpoint, body={"model": "m", field: "x"})

    assert problem_of(without, endpoint=endpoint) == ("invalid_request", 1, f"body.{field}")
    assert problem_of(with_it, endpoint=endpoint) is None


def test_streaming_may_be_declined() -> None:
    assert problem_of(line(body=body(stream=False))) is None


def test_other_things_that_keep_a_batch_from_running_have_their_codes() -> None:
    unknown, unserved = wire.unknown_input("file-x"), wire.unserved("m", 3)

    assert (unknown.code, unknown.param, unknown.line) == ("invalid_request", "file_id", None)
    assert (unserved.code, unserved.param, unserved.line) == ("model_not_found", "body.model", 3)
    assert "file-x" in unknown.message


# --- result lines ---

ANSWER = msgspec.Raw(b'{"id":"x","choices":[]}')


def written(result: Result | None, *, ending: Any = "completed") -> tuple[bool, bytes]:
    return wire.write_line("näme", result, order="batch_1", n=7, ending=ending)


def test_an_answer_is_a_line_of_the_output_as_openai_writes_it() -> None:
    ok, content = written(Result(n=7, outcome="succeeded", status=200, body=ANSWER))

    assert ok
    id = content[len(b'{"id":"batch_req_') :].split(b'"')[0]
    assert len(id) == 24
    assert content == (
        b'{"id":"batch_req_%b","custom_id":"n\xc3\xa4me","response":{"status_code":200,'
        b'"request_id":"req_%b","body":{"id":"x","choices":[]}},"error":null}\n' % (id, id)
    )


def test_a_line_of_the_output_is_read_by_the_clients_side() -> None:
    _, content = written(Result(n=7, outcome="succeeded", status=201, body=ANSWER))

    read = client.read_line(content)
    assert (read.custom_id, read.status, read.body) == ("näme", 201, bytes(ANSWER))
    assert client.write_line(read) + b"\n" == content


@pytest.mark.parametrize(
    "outcome", ["truncated", "refused", "blocked", "invalid_output", "succeeded"]
)
def test_whatever_was_answered_with_a_2xx_is_an_answer(outcome: Any) -> None:
    result = Result(n=7, outcome=outcome, status=200, body=ANSWER, failure=Failure(message="x"))

    assert written(result)[0]


def test_a_refusal_is_a_line_of_the_errors_with_its_status_and_no_error() -> None:
    failure = Failure(message="HTTP 429: Slow down.", code="rate_limit_exceeded")

    ok, content = written(Result(n=7, outcome="rate_limited", status=429, failure=failure))
    read = client.read_line(content)

    assert not ok
    assert (read.custom_id, read.status, read.outcome) == ("näme", 429, None)
    assert read_error(read.body) == Failure(message="Slow down.", code="rate_limit_exceeded")
    assert msgspec.json.decode(content)["error"] is None


@pytest.mark.parametrize(
    ("result", "ending", "code", "outcome"),
    [
        (Result(n=7, outcome="cancelled"), "expired", "batch_expired", "expired"),
        (Result(n=7, outcome="cancelled"), "cancelled", "batch_cancelled", "cancelled"),
        (Result(n=7, outcome="expired"), "expired", "batch_expired", "expired"),
        (None, "expired", "batch_expired", "expired"),
        (None, "cancelled", "batch_cancelled", "cancelled"),
        (None, "completed", "server_error", "server_error"),
        (
            Result(n=7, outcome="network", failure=Failure(message="no answer")),
            "completed",
            "server_error",
            "server_error",
        ),
        (
            Result(n=7, outcome="server_error", status=200, failure=Failure(message="?", code="c")),
            "completed",
            "c",
            "server_error",
        ),
    ],
)
def test_what_was_not_answered_is_a_line_of_the_errors_without_a_response(
    result: Result | None, ending: Any, code: str, outcome: str
) -> None:
    ok, content = written(result, ending=ending)
    read = client.read_line(content)

    assert not ok
    assert (read.custom_id, read.status, read.outcome) == ("näme", None, outcome)
    assert read.failure is not None
    assert read.failure.code == code
    assert msgspec.json.decode(content)["response"] is None


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("status", [None, 0, 200, 400, 503])
def test_every_result_is_one_line_that_can_be_read(outcome: Any, status: int | None) -> None:
    result = Result(n=7, outcome=outcome, status=status, failure=Failure(message='a "b"\n'))

    _, content = written(result)

    assert content.count(b"\n") == 1
    assert client.read_line(content).custom_id == "näme"


# --- objects ---

ORDER = Order(
    id="batch_1",
    owner="me",
    face="openai",
    api="openai.chat",
    asked={"endpoint": CHAT, "completion_window": "24h", "metadata": {"anybatch": "mark"}},
    input_file="file-in",
    input_size=9,
    created_at=AT,
    expires_at=AT + timedelta(days=1),
    kept_seconds=3600,
    total=4,
    model="m",
)
SUMS = Sums(completed=2, failed=1, usage=Usage(tokens_in=3, tokens_out=2, cached=1, reasoning=1))


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


@pytest.mark.parametrize("status", AFTER)
def test_a_batch_is_read_by_the_clients_side_in_every_status(status: Any) -> None:
    order = msgspec.structs.replace(
        ORDER, status=status, ended_at=AT if status in OVER else None, output_file="file-out"
    )

    read = client.read_batch(encoded(wire.write_batch(order, SUMS)))

    assert (read.phase == "ended") == (status in OVER)
    assert (read.id, read.intent, read.size, read.done) == ("batch_1", "mark", 4, 3)
    assert (read.created_at, read.expires_at) == (AT, AT + timedelta(days=1))
    assert read.results == ("file-out",)


def test_a_batch_looks_as_openais_do() -> None:
    order = msgspec.structs.replace(ORDER, status="running", started_at=AT)

    assert wire.write_batch(order, SUMS) == {
        "id": "batch_1",
        "object": "batch",
        "endpoint": CHAT,
        "model": "m",
        "errors": None,
        "input_file_id": "file-in",
        "completion_window": "24h",
        "status": "in_progress",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": 1795176000,
        "in_progress_at": 1795176000,
        "expires_at": 1795262400,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 4, "completed": 2, "failed": 1},
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 5,
        },
        "metadata": {"anybatch": "mark"},
    }


def test_what_is_wrong_with_an_input_is_read_by_the_clients_side() -> None:
    problem = Problem(code="invalid_url", message="Not there.", line=2, param="url")
    order = msgspec.structs.replace(ORDER, status="failed", problems=(problem,))

    written = wire.write_batch(order, SUMS)
    read = client.read_batch(encoded(written))

    said = {"code": "invalid_url", "message": "Not there.", "line": 2, "param": "url"}
    assert written["errors"] == {"object": "list", "data": [said]}
    assert read.bad_lines[2].code == "invalid_url"


def test_what_a_client_asks_for_is_read() -> None:
    asked = client.write_create(input_file="file-in", api="openai.chat", intent="mark")

    read = asking.read_create(asked)

    assert (read.input_file, read.endpoint, read.hours) == ("file-in", CHAT, 24)
    assert read.metadata == {"anybatch": "mark"}


FILE = StoredFile(
    id="file-1",
    owner="me",
    name="in.jsonl",
    purpose="batch",
    size=170,
    crc=0,
    created_at=AT,
    expires_at=AT + timedelta(days=30),
)


def test_files_and_lists_of_them_are_read_by_the_clients_side() -> None:
    file = wire.write_file(FILE)
    page = encoded(wire.write_list([file], has_more=True))

    assert client.read_file(encoded(file)) == "file-1"
    assert client.read_file_status(encoded(file)) == "processed"
    assert client.read_files(page) == ([("file-1", "in.jsonl")], "file-1")
    assert file["expires_at"] - file["created_at"] == 2_592_000


def test_lists_of_batches_are_read_by_the_clients_side() -> None:
    batch = wire.write_batch(ORDER, SUMS)

    more = client.read_batches(encoded(wire.write_list([batch], has_more=True)))
    last = client.read_batches(encoded(wire.write_list([batch], has_more=False)))
    none = client.read_batches(encoded(wire.write_list([], has_more=False)))

    assert ([one.id for one in more[0]], more[1]) == (["batch_1"], "batch_1")
    assert last[1] is None
    assert none == ([], None)


def test_uploads_and_their_parts_look_as_openais_do() -> None:
    upload = Upload(
        id="upload_1",
        owner="me",
        name="in.jsonl",
        purpose="batch",
        mime_type="application/jsonl",
        size=170,
        kept_seconds=None,
        created_at=AT,
        expires_at=AT + timedelta(hours=1),
    )
    part = UploadPart(id="part_1", upload_id="upload_1", size=9, created_at=AT)

    assert wire.write_upload(upload) == {
        "id": "upload_1",
        "object": "upload",
        "bytes": 170,
        "created_at": 1795176000,
        "expires_at": 1795179600,
        "filename": "in.jsonl",
        "purpose": "batch",
        "status": "pending",
    }
    assert wire.write_upload(upload, FILE)["file"] == wire.write_file(FILE)
    assert wire.write_part(part) == {
        "id": "part_1",
        "object": "upload.part",
        "created_at": 1795176000,
        "upload_id": "upload_1",
    }


# --- refusals ---


def refusal(call: Any, *args: Any, **kwargs: Any) -> Any:
    with pytest.raises(Refused) as raised:
        call(*args, **kwargs)
    return msgspec.json.decode(raised.value.body)["error"]


def test_a_refusal_is_read_by_the_clients_side() -> None:
    refused = asking.missing("endpoint")

    assert refused.status == 400
    assert read_error(refused.body) == Failure(
        message="Missing required parameter: 'endpoint'.", code="missing_required_parameter"
    )


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (500, "server_error")]
)
def test_the_type_of_an_error_follows_from_its_status(status: int, kind: str) -> None:
    assert msgspec.json.decode(write_error(status, "x"))["error"]["type"] == kind


def test_what_a_refusal_repeats_is_short() -> None:
    asked = encoded({"input_file_id": "f", "endpoint": "x" * 10_000, "completion_window": "24h"})

    assert len(refusal(asking.read_create, asked)["message"]) < 500


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": "fun"}, "purpose"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "1e4",
            },
            "expires_after.seconds",
        ),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "9" * 9,
            },
            "expires_after.seconds",
        ),
    ],
)
def test_a_form_that_says_too_little_or_too_much_is_refused(
    fields: dict[str, str], param: str
) -> None:
    assert refusal(asking.read_file_form, fields, filename="in.jsonl")["param"] == param


def test_a_form_says_how_long_a_file_is_kept() -> None:
    told = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    read = asking.read_file_form

    assert read({"purpose": "batch", **told}, filename="a").kept_seconds == 3600
    assert read({"purpose": "batch"}, filename="a").kept_seconds == 30 * 86_400
    assert read({"purpose": "user_data"}, filename="a").kept_seconds is None


def test_an_input_that_is_too_large_is_refused() -> None:
    e = refusal(asking.check_input_file, "a.jsonl", b"{}", size=asking.MAX_INPUT_BYTES + 1)

    assert e["message"] == "File is too large."


def test_a_long_first_line_is_left_to_the_batch() -> None:
    asking.check_input_file("a.jsonl", b'{"a":', size=1000)
