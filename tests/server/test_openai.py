"""OpenAI's protocol as its official SDK judges it, over a real socket."""

import gzip
import hashlib
import io
import time
from typing import Any

import httpx2
import openai
import pytest
from openai.types import Batch, FileObject

from anybatch.testing import FakeEndpoint

from .world import (
    CHAT,
    chat,
    create,
    jsonl,
    lines_of,
    results_of,
    said,
    until_over,
    upload,
)

# --- batches ---


def test_a_batch_goes_from_a_file_to_files(client: openai.OpenAI) -> None:
    rows = [*(chat(f"r{n}", f"prompt {n}") for n in range(5)), chat("bad", "fail")]

    statuses, batch = until_over(client, create(client, rows, metadata={"of": "life"}))

    output, errors = results_of(client, batch)
    assert statuses == [s for s in ORDER if s in statuses]
    assert (statuses[0], statuses[-1]) == ("validating", "completed")
    assert {name: said(line) for name, line in output.items()} == {
        f"r{n}": f"echo: prompt {n}" for n in range(5)
    }
    assert list(errors) == ["bad"]
    assert errors["bad"]["error"] is None
    assert errors["bad"]["response"]["status_code"] == 400
    assert errors["bad"]["response"]["body"]["error"] == {
        "message": "Not this one.",
        "type": "invalid_request_error",
        "param": None,
        "code": "no_way",
    }
    assert batch.metadata == {"of": "life"}
    assert batch.request_counts.to_dict() == {"total": 6, "completed": 5, "failed": 1}
    assert batch.model == "m"


ORDER = ("validating", "in_progress", "finalizing", "completed")


def test_all_that_happens_to_a_batch_has_its_time(client: openai.OpenAI) -> None:
    before = int(time.time())

    _, batch = until_over(client, create(client, [chat("a")]))

    moments = [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at]
    assert moments == sorted(moments)
    assert before <= moments[0] <= moments[-1] <= time.time()
    assert batch.expires_at == batch.created_at + 86_400
    assert batch.failed_at is batch.expired_at is batch.cancelled_at is batch.cancelling_at is None


def test_what_it_took_is_the_sum_of_its_lines(client: openai.OpenAI) -> None:
    _, batch = until_over(client, create(client, [chat(f"r{n}", "x" * n) for n in range(9)]))

    output, _ = results_of(client, batch)
    usages = [line["response"]["body"]["usage"] for line in output.values()]
    assert batch.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages) > 0
    assert batch.usage.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens
    assert batch.usage.input_tokens_details.to_dict()["cache_write_tokens"] == 0


def test_objects_are_what_the_sdks_own_types_say(client: openai.OpenAI) -> None:
    given = create(client, [chat("a"), chat("bad", "fail")])
    _, batch = until_over(client, given)

    for seen in (given, batch):
        assert Batch.model_validate(seen.to_dict(), strict=True) == seen
    for file_id in (batch.input_file_id, batch.output_file_id, batch.error_file_id):
        file = client.files.retrieve(file_id)
        assert FileObject.model_validate(file.to_dict(), strict=True) == file


def test_a_batch_without_metadata_has_an_empty_table(client: openai.OpenAI) -> None:
    assert create(client, [chat("a")]).metadata == {}


def test_a_batch_without_failures_has_no_error_file(client: openai.OpenAI) -> None:
    _, batch = until_over(client, create(client, [chat("a")]))

    assert batch.error_file_id is None
    assert batch.errors is None


def test_a_batch_of_which_every_line_fails_is_completed(client: openai.OpenAI) -> None:
    _, batch = until_over(client, create(client, [chat("a", "fail"), chat("b", "fail")]))

    assert batch.status == "completed"
    assert batch.output_file_id is None
    assert batch.request_counts.to_dict() == {"total": 2, "completed": 0, "failed": 2}


def test_result_files_are_kept_as_long_as_was_asked(client: openai.OpenAI) -> None:
    after = {"anchor": "created_at", "seconds": 7200}

    _, batch = until_over(client, create(client, [chat("a")], output_expires_after=after))

    file = client.files.retrieve(batch.output_file_id)
    assert file.purpose == "batch_output"
    assert file.expires_at - file.created_at == 7200


@pytest.mark.parametrize(("window", "hours"), [("1h", 1), ("24h", 24), ("168h", 168)])
def test_any_window_of_whole_hours_is_taken(client: openai.OpenAI, window: str, hours: int) -> None:
    batch = create(client, [chat("a")], window=window)

    assert batch.completion_window == window
    assert batch.expires_at - batch.created_at == hours * 3600


BODIES = {
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": ["hi", "there"]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/moderations": {"input": "hi"},
}


@pytest.mark.parametrize("path", BODIES)
def test_every_api_that_the_model_behind_has_is_answered(client: openai.OpenAI, path: str) -> None:
    body = {"model": "m", **BODIES[path]}
    row = {"custom_id": "a", "method": "POST", "url": path, "body": body}

    _, batch = until_over(client, create(client, [row], path))

    output, _ = results_of(client, batch)
    assert output["a"]["response"]["status_code"] == 200


def test_names_come_back_as_they_were_given(client: openai.OpenAI) -> None:
    names = ["1", "ünï", 'a"b', "\u2028", " ", "x" * 512, "../../etc/passwd"]

    _, batch = until_over(client, create(client, [chat(name) for name in names]))

    assert sorted(results_of(client, batch)[0]) == sorted(names)


def test_bodies_go_out_as_they_were_written(client: openai.OpenAI, endpoint: FakeEndpoint) -> None:
    body = b'{"model": "m",  "messages":[{"role":"user","content":"as \\u0069s"}], "n":1}'
    line = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":%b}' % body

    until_over(client, create(client, [line]))

    shas = {execution.sha for execution in endpoint.ledger.executions}
    assert hashlib.sha256(body).hexdigest() in shas


def test_the_answers_so_far_are_readable(client: openai.OpenAI, url: str) -> None:
    _, batch = until_over(client, create(client, [chat("a"), chat("bad", "fail")]))

    reply = httpx2.get(f"{url}/batches/{batch.id}/output")

    assert reply.headers["anybatch-output"] == "complete"
    assert reply.content == client.files.content(batch.output_file_id).content


# --- what is refused ---


def refusal(call: Any, *args: Any, **kwargs: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as raised:
        call(*args, **kwargs)
    assert raised.value.request_id
    return raised.value


GOOD: dict[str, Any] = {
    "input_file_id": "file-x",
    "endpoint": CHAT,
    "completion_window": "24h",
}


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"input_file_id": None}, "missing_required_parameter", "input_file_id"),
        ({"input_file_id": 5}, "invalid_type", "input_file_id"),
        ({"endpoint": "/v1/fun"}, "invalid_value", "endpoint"),
        ({"completion_window": "0h"}, "invalid_value", "completion_window"),
        ({"completion_window": "169h"}, "invalid_value", "completion_window"),
        ({"completion_window": "1d"}, "invalid_value", "completion_window"),
        ({"metadata": {"tags": ["a"]}}, "invalid_type", "metadata.tags"),
        ({"metadata": []}, "invalid_type", "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, None, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "string_above_max_length", "metadata.a"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 60}},
            "invalid_value",
            "output_expires_after.seconds",
        ),
        (
            {"output_expires_after": {"anchor": "now", "seconds": 3600}},
            "invalid_value",
            "output_expires_after.anchor",
        ),
    ],
)
def test_what_is_wrong_with_a_creation_is_said_at_once(
    client: openai.OpenAI, changes: dict[str, Any], code: str | None, param: str
) -> None:
    e = refusal(client.batches.create, **(GOOD | changes))

    assert isinstance(e, openai.BadRequestError)
    assert (e.code, e.param) == (code, param)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(url: str, body: bytes) -> None:
    reply = httpx2.post(f"{url}/batches", content=body)

    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_never_ends_is_refused(url: str) -> None:
    reply = httpx2.post(f"{url}/batches", content=b" " * 2_000_000)

    assert reply.status_code == 413


def test_a_batch_of_a_file_that_is_not_there_fails_later(client: openai.OpenAI) -> None:
    _, batch = until_over(client, client.batches.create(**GOOD))

    (problem,) = batch.errors.data
    assert batch.status == "failed"
    assert (problem.code, problem.param, problem.line) == ("invalid_request", "file_id", None)


def test_every_bad_line_is_told_with_its_number_and_nothing_runs(
    client: openai.OpenAI, endpoint: FakeEndpoint
) -> None:
    ran = len(endpoint.ledger.executions)
    other = {"model": "n", "messages": [{"role": "user", "content": "hi"}]}
    rows = [chat("a"), b"{", chat("a"), b"", chat("b", body=other), chat("c", url="/v1/x")]

    statuses, batch = until_over(client, create(client, rows))

    assert statuses[-1] == "failed"
    assert [(p.code, p.line, p.param) for p in batch.errors.data] == [
        ("invalid_json_line", 2, None),
        ("duplicate_custom_id", 3, "custom_id"),
        ("mismatched_model", 5, "body.model"),
        ("invalid_url", 6, "url"),
    ]
    assert batch.failed_at >= batch.created_at
    assert batch.request_counts.total == 0
    assert batch.output_file_id is batch.error_file_id is batch.in_progress_at is None
    assert len(endpoint.ledger.executions) == ran


def test_an_unknown_batch_is_not_found(client: openai.OpenAI) -> None:
    for call in (client.batches.retrieve, client.batches.cancel):
        assert isinstance(refusal(call, "batch_none"), openai.NotFoundError)


def test_a_cancellation_that_comes_too_late_is_a_conflict_that_is_not_tried_again(
    client: openai.OpenAI,
) -> None:
    _, batch = until_over(client, create(client, [chat("a")]))

    e = refusal(client.batches.cancel, batch.id)

    assert isinstance(e, openai.ConflictError)
    assert e.response.headers["x-should-retry"] == "false"
    assert "'completed'" in e.message


@pytest.mark.parametrize("path", ["/nothing", "/batches/a/b/c", "/chat/completions"])
def test_a_path_that_is_not_there_is_said_in_the_envelope(url: str, path: str) -> None:
    reply = httpx2.get(url + path)

    assert reply.status_code == 404
    assert path in reply.json()["error"]["message"]
    assert reply.headers["x-request-id"]


def test_a_method_that_is_not_there_is_said_in_the_envelope(url: str) -> None:
    reply = httpx2.put(f"{url}/batches")

    assert reply.status_code == 405
    assert reply.json()["error"]["message"]


# --- lists ---


def test_batches_are_walked_the_newest_first(client: openai.OpenAI) -> None:
    made = [create(client, [chat("a")]).id for _ in range(5)]

    listed = [batch.id for batch in client.batches.list(limit=2)]

    assert listed[:5] == made[::-1]
    assert len(listed) == len(set(listed))


def test_the_last_page_says_that_it_is(client: openai.OpenAI) -> None:
    create(client, [chat("a")])
    first = client.batches.list(limit=1)
    whole = client.batches.list(limit=100)

    assert first.has_more is True
    assert whole.has_more is False
    assert whole.to_dict()["first_id"] == first.data[0].id
    assert client.batches.list(limit=1, after=whole.data[-1].id).data == []


def test_files_are_walked_from_either_end_and_by_purpose(client: openai.OpenAI) -> None:
    made = [upload(client, [chat("a")]).id for _ in range(3)]
    other = client.files.create(file=("notes.txt", b"x"), purpose="user_data").id

    newest = [file.id for file in client.files.list(limit=2, purpose="batch")]
    oldest = [file.id for file in client.files.list(limit=2, order="asc", purpose="batch")]
    all_of_them = [file.id for file in client.files.list(limit=1)]

    assert newest[:3] == made[::-1]
    assert oldest == newest[::-1]
    assert other in all_of_them
    assert other not in newest


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ({"limit": 0}, "limit", "integer_below_min_value"),
        ({"limit": 101}, "limit", "integer_above_max_value"),
        ({"limit": "x"}, "limit", "invalid_type"),
        ({"after": "batch_none"}, "after", "invalid_value"),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    client: openai.OpenAI, query: dict[str, Any], param: str, code: str
) -> None:
    e = refusal(client.batches.list, **query)

    assert (e.status_code, e.param, e.code) == (400, param, code)


# --- files ---


def test_a_file_comes_back_as_it_went_in(client: openai.OpenAI) -> None:
    content = bytes(range(256)) * 1000

    file = client.files.create(file=("../wéird name.bin", content), purpose="user_data")

    assert file.filename.endswith("wéird name.bin")
    assert (file.bytes, file.status, file.expires_at) == (len(content), "processed", None)
    assert client.files.content(file.id).content == content
    assert client.files.wait_for_processing(file.id).id == file.id


def test_parts_of_a_file_are_read_by_range(client: openai.OpenAI, url: str) -> None:
    file = client.files.create(file=("a.bin", b"0123456789"), purpose="user_data")
    path = f"{url}/files/{file.id}/content"

    def ranged(what: str) -> httpx2.Response:
        return httpx2.get(path, headers={"range": f"bytes={what}"})

    assert (ranged("2-4").status_code, ranged("2-4").content) == (206, b"234")
    assert ranged("2-4").headers["content-range"] == "bytes 2-4/10"
    assert ranged("7-").content == b"789"
    assert ranged("-2").content == b"89"
    assert ranged("10-").status_code == 416


def test_a_deleted_file_is_gone(client: openai.OpenAI) -> None:
    file = upload(client, [chat("a")])

    assert client.files.delete(file.id).deleted is True
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        assert isinstance(refusal(call, file.id), openai.NotFoundError)


def test_a_file_lives_as_long_as_it_is_told(client: openai.OpenAI) -> None:
    told = upload(client, [chat("a")], expires_after={"anchor": "created_at", "seconds": 3600})
    untold = upload(client, [chat("a")])

    assert told.expires_at - told.created_at == 3600
    assert untold.expires_at - untold.created_at == 30 * 86_400


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.txt", b"{}", "Invalid file format for Batch API. Must be .jsonl"),
        ("in.jsonl", b"", "Invalid file format for Batch API. The file is empty."),
        ("in.jsonl", b"hello\n", "Invalid file format for Batch API. Line 1 is not JSON."),
        ("in.jsonl", b'"\\\\ud800\n', "Invalid file format for Batch API. Line 1 is not JSON."),
        ("in.jsonl", b"\n \r\nhello\n{}", "Invalid file format for Batch API. Line 3 is not JSON."),
        ("in.jsonl", b"\n \r\n\n", "Invalid file format for Batch API. The file is empty."),
    ],
)
def test_a_file_that_cannot_be_a_batch_is_refused_at_once(
    client: openai.OpenAI, name: str, content: bytes, message: str
) -> None:
    e = refusal(client.files.create, file=(name, content), purpose="batch")

    assert isinstance(e, openai.BadRequestError)
    assert message in e.message


def test_lines_with_nothing_on_them_count_and_are_passed_over(client: openai.OpenAI) -> None:
    blank = [b"", b" \r", b""]
    good = create(client, [*blank, chat("a"), *blank, chat("b"), *blank])
    bad = create(client, [*blank, chat("a"), *blank, b"hello"])

    _, completed = until_over(client, good)
    _, failed = until_over(client, bad)

    assert set(results_of(client, completed)[0]) == {"a", "b"}
    assert [(e.code, e.line) for e in failed.errors.data] == [("invalid_json_line", 8)]


def test_half_a_character_on_the_first_line_is_wrong_with_that_line(client: openai.OpenAI) -> None:
    half = jsonl([chat("a", prompt="ZZ")]).replace(b"ZZ", b"\\\\ \\uD83D \\ude00").rstrip()
    _, failed = until_over(client, create(client, [half, chat("b")]))

    (error,) = failed.errors.data
    assert (error.code, error.line) == ("invalid_json_line", 1)
    assert "half a character" in error.message


@pytest.mark.parametrize("lines", [100, 100_000])
def test_a_file_may_begin_with_any_number_of_blank_lines(client: openai.OpenAI, lines: int) -> None:
    given = create(client, [b""] * lines + [chat("a")])
    _, batch = until_over(client, given)

    assert (batch.status, batch.request_counts.completed) == ("completed", 1)


FILE = ("in.jsonl", io.BytesIO(jsonl([chat("a")])))
MULTIPART = "multipart/form-data; boundary=b"
PURPOSE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
CONTENT = b'--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n{}\r\n'
END = b"--b--\r\n"


@pytest.mark.parametrize("form", [PURPOSE + CONTENT, CONTENT + PURPOSE], ids=["python", "js"])
def test_the_parts_of_a_form_come_in_either_order(url: str, form: bytes) -> None:
    reply = httpx2.post(f"{url}/files", content=form + END, headers={"content-type": MULTIPART})

    assert reply.json()["bytes"] == 2
    assert reply.json()["filename"] == "in.jsonl"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("filename*=UTF-8''%e2%82%ac%20x.jsonl", "€ x.jsonl"),
        ("filename=\"plain.jsonl\"; filename*=utf-8'en'%C3%A9.jsonl", "é.jsonl"),
        ("FileName*=ISO-8859-1''%e9.jsonl; filename=\"plain.jsonl\"", "é.jsonl"),
        ("filename=\"; filename*=utf-8''x.jsonl\"", "; filename*=utf-8''x.jsonl"),
    ],
)
def test_a_file_may_be_named_in_the_extended_notation(url: str, given: str, name: str) -> None:
    content = CONTENT.replace(b'filename="in.jsonl"', given.encode())
    headers = {"content-type": MULTIPART}

    reply = httpx2.post(f"{url}/files", content=PURPOSE + content + END, headers=headers)

    assert reply.json()["filename"] == name


@pytest.mark.parametrize("given", ["utf-8''%ff.jsonl", "klingon''x.jsonl"])
def test_an_extended_name_that_cannot_be_read_is_refused(url: str, given: str) -> None:
    content = CONTENT.replace(b'filename="in.jsonl"', f"filename*={given}".encode())
    headers = {"content-type": MULTIPART}

    reply = httpx2.post(f"{url}/files", content=PURPOSE + content + END, headers=headers)

    assert reply.status_code == 400
    assert "name of the file" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("form", "kind", "param"),
    [
        (CONTENT + END, MULTIPART, "purpose"),
        (PURPOSE + END, MULTIPART, "file"),
        (PURPOSE.replace(b"batch", b"fun") + CONTENT + END, MULTIPART, "purpose"),
        (PURPOSE + CONTENT, MULTIPART, None),
        (PURPOSE + CONTENT + CONTENT + END, MULTIPART, None),
        (PURPOSE + PURPOSE + CONTENT + END, MULTIPART, None),
        (PURPOSE + CONTENT + PURPOSE.replace(b"batch", b"evals") + END, MULTIPART, None),
        (PURPOSE.replace(b"batch", b"\xff") + END, MULTIPART, None),
        (b"", MULTIPART, None),
        (b"{}", "application/json", None),
        (PURPOSE, "multipart/form-data", None),
    ],
)
def test_a_form_that_is_none_is_refused(
    url: str, form: bytes, kind: str, param: str | None
) -> None:
    reply = httpx2.post(f"{url}/files", content=form, headers={"content-type": kind})

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"".join(PURPOSE.replace(b"purpose", b"p%d" % n) for n in range(40)) + END, {}, 413),
        (PURPOSE.replace(b"batch", b"x" * 100_000) + END, {}, 413),
        (b"--b\r\nContent-Disposition: " + b"x" * 100_000, {}, 413),
        (b"--b\r\n" + b"X-A: b\r\n" * 100, {}, 413),
        (gzip.compress(PURPOSE + CONTENT + END), {"content-encoding": "gzip"}, 400),
        (b"x" * 1_000_000, {}, 400),
    ],
    ids=["parts", "field", "header", "headers", "gzip", "noise"],
)
def test_a_form_that_is_meant_to_harm_is_refused(
    url: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    reply = httpx2.post(
        f"{url}/files", content=body, headers={"content-type": MULTIPART, **headers}
    )

    assert reply.status_code == status
    assert reply.json()["error"]["message"]


# --- uploads ---


def begin(client: openai.OpenAI, content: bytes, **changes: Any) -> Any:
    asked = {
        "bytes": len(content),
        "filename": "in.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "batch",
    }
    return client.uploads.create(**(asked | changes))  # type: ignore[arg-type]


def test_a_file_that_comes_in_parts_becomes_a_batch(client: openai.OpenAI) -> None:
    content = jsonl([chat(f"r{n}") for n in range(40)])

    upload = client.uploads.upload_file_chunked(
        file=content,
        filename="in.jsonl",
        bytes=len(content),
        mime_type="application/jsonl",
        purpose="batch",
        part_size=1000,
        md5=hashlib.md5(content).hexdigest(),
    )

    assert upload.status == "completed"
    assert upload.file is not None
    assert client.files.content(upload.file.id).content == content
    given = client.batches.create(**(GOOD | {"input_file_id": upload.file.id}))
    assert len(results_of(client, until_over(client, given)[1])[0]) == 40


def test_a_file_is_made_of_the_parts_that_are_named_in_that_order(client: openai.OpenAI) -> None:
    made = begin(client, b"{}\n{}\n")
    first, second = (client.uploads.parts.create(made.id, data=b).id for b in (b"{}\n", b"{}\n"))

    file = client.uploads.complete(made.id, part_ids=[second, first]).file

    assert file is not None
    assert client.files.content(file.id).content == b"{}\n{}\n"


def test_an_upload_that_is_not_what_was_said_is_refused_and_may_be_mended(
    client: openai.OpenAI,
) -> None:
    made = begin(client, b"{}")
    part = client.uploads.parts.create(made.id, data=b"{}").id
    complete = client.uploads.complete

    assert refusal(complete, made.id, part_ids=[]).param == "part_ids"
    assert refusal(complete, made.id, part_ids=["part_none"]).param == "part_ids"
    assert refusal(complete, made.id, part_ids=[part], md5="0" * 32).param == "md5"
    assert refusal(client.uploads.parts.create, made.id, data=b"more").param == "data"
    assert complete(made.id, part_ids=[part]).status == "completed"


def test_an_upload_that_is_completed_twice_is_one_file(client: openai.OpenAI) -> None:
    made = begin(client, b"{}")
    part = client.uploads.parts.create(made.id, data=b"{}").id

    first, second = (client.uploads.complete(made.id, part_ids=[part]).file for _ in range(2))

    assert first is not None
    assert first == second


def test_a_cancelled_upload_takes_nothing_more(client: openai.OpenAI) -> None:
    made = begin(client, b"{}")
    part = client.uploads.parts.create(made.id, data=b"{}").id

    assert client.uploads.cancel(made.id).status == "cancelled"
    assert client.uploads.cancel(made.id).status == "cancelled"
    for call, more in (
        (client.uploads.parts.create, {"data": b"x"}),
        (client.uploads.complete, {"part_ids": [part]}),
    ):
        assert isinstance(refusal(call, made.id, **more), openai.BadRequestError)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": 9 * 1024**3}, "bytes"),
        ({"purpose": "fun"}, "purpose"),
        ({"filename": None}, "filename"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
    ],
)
def test_an_upload_that_cannot_be_is_refused(
    client: openai.OpenAI, changes: dict[str, Any], param: str
) -> None:
    assert refusal(begin, client, b"{}", **changes).param == param


def test_an_unknown_upload_is_not_found(client: openai.OpenAI) -> None:
    e = refusal(client.uploads.complete, "upload_none", part_ids=[])

    assert isinstance(e, openai.NotFoundError)


# --- models ---


def test_a_model_that_is_answered_is_known(client: openai.OpenAI) -> None:
    assert client.models.retrieve("any/model").id == "any/model"
    assert client.models.list().data == []


async def test_the_asynchronous_client_is_served_alike(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="any") as client:
        file = await client.files.create(file=("in.jsonl", jsonl([chat("a")])), purpose="batch")
        batch = await client.batches.create(**(GOOD | {"input_file_id": file.id}))
        while batch.status != "completed":
            batch = await client.batches.retrieve(batch.id)
        listed = [each.id async for each in client.batches.list(limit=1)]

    assert batch.id in listed


def test_lines_of_a_large_result_stream(client: openai.OpenAI) -> None:
    _, batch = until_over(client, create(client, [chat(f"r{n}", "x" * 2000) for n in range(300)]))

    with client.files.with_streaming_response.content(batch.output_file_id) as reply:
        lines = list(reply.iter_lines())

    assert len(lines) == 300 == len(lines_of(client, batch.output_file_id))


def test_equal_requests_of_a_batch_are_each_answered_and_each_paid_for(
    client: openai.OpenAI, endpoint: FakeEndpoint
) -> None:
    before = len(endpoint.ledger.executions)

    _, batch = until_over(client, create(client, [chat(f"r{n}", "the same") for n in range(5)]))

    output, _ = results_of(client, batch)
    assert {said(line) for line in output.values()} == {"echo: the same"}
    assert len(output) == 5
    assert len(endpoint.ledger.executions) - before == 5
