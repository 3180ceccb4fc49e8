"""Gemini's wire: batches, from the input file to the result lines, and Vertex AI's form of them.

Shapes as of the official SDK 3.3, the REST reference and recorded exchanges, checked 2026-11-20.
What is read may be in camelCase or snake_case, its 64-bit numbers texts or numbers; what is written
is in camelCase with texts, and without an error's `details`, at which the official SDK fails.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ..core.model import NO_BODY, Api, Failure, Json
from .answer import (
    COUNT,
    LIST,
    STRING,
    STRINGS,
    UNREADABLE,
    Fields,
    Frame,
    Malformed,
    RequestLine,
    broken_line,
    error_of,
    fields,
    given,
    is_object,
    message_of,
    moment,
    one_line,
    optional,
    readable,
    whole,
    word,
)
from .batch import Phase, RemoteBatch, ResultLine
from .gemini import CODES, code_of, word_of

# --- requests -----------------------------------------------------------------------------------


class _Request(msgspec.Struct):
    request: msgspec.Raw
    key: str | None = None
    metadata: msgspec.Raw = NO_BODY


_REQUEST = msgspec.json.Decoder(_Request)


def write_request(api: Api, custom_id: str, body: bytes) -> bytes:
    """One line of an input file, without its newline. `body` goes out unchanged."""
    return msgspec.json.encode({"key": custom_id, "request": one_line(body)})


def write_inline(api: Api, custom_id: str, body: bytes) -> bytes:
    """One request, as it stands between the separators of `inline_frame`."""
    return msgspec.json.encode({"request": msgspec.Raw(body), "metadata": {"key": custom_id}})


def read_request(line: bytes) -> RequestLine:
    """One line of an input file, or an inline request. Raises Malformed."""
    try:
        line.decode()
        read = _REQUEST.decode(line)
    except UNREADABLE as e:
        raise Malformed(str(e)) from e
    if not is_object(read.request):
        raise Malformed("Expected `object` - at `$.request`")
    key = read.key or optional(STRING, fields(read.metadata).get("key"))
    return RequestLine(custom_id=key or None, body=bytes(read.request))


# --- creating a batch ---------------------------------------------------------------------------


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch is created from: a file, or the requests themselves."""

    intent: str | None = None
    input_file: str | None = None
    requests: tuple[RequestLine, ...] = ()


def write_create(*, input_file: str, api: Api, intent: str) -> bytes:
    """The body that submits an uploaded file, with our mark as its name."""
    # Of embeddings, the official SDKs write this one name in snake_case.
    name = "file_name" if api == "gemini.embed" else "fileName"
    batch = {"displayName": intent, "inputConfig": {name: input_file}}
    return msgspec.json.encode({"batch": batch})


def inline_frame(intent: str) -> Frame:
    """The body that submits requests within itself, around these."""
    head = b'{"batch":{"displayName":%b,"inputConfig":{"requests":{"requests":['
    return Frame(head % msgspec.json.encode(intent), b",", b"]}}}}")


def read_create(body: bytes) -> Create:
    """The body that creates a batch of either kind. Raises Malformed."""
    batch = fields(whole(body, what="a batch").get("batch"))
    source = fields(batch.get("inputConfig"))
    inner = fields(source.get("requests"))
    listed = optional(LIST, inner.get("requests"))
    file = optional(STRING, source.get("fileName"))
    if listed is None and not file:
        raise Malformed("Expected `batch.inputConfig` with a `fileName` or `requests.requests`")
    return Create(
        intent=optional(STRING, batch.get("displayName")),
        input_file=file,
        requests=tuple(read_request(bytes(raw)) for raw in listed or ()),
    )


# --- the batch ----------------------------------------------------------------------------------

_WAITING = frozenset(("PENDING", "QUEUED"))
_ENDED = frozenset(("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"))


def _phase(state: str, *, done: bool) -> Phase:
    """The phase of `BATCH_STATE_X`, which is Vertex AI's `JOB_STATE_X`."""
    _, _, told = state.rpartition("STATE_")
    if done or told in _ENDED:
        return "ended"
    return "waiting" if told in _WAITING else "working"


def read_batch(body: bytes) -> RemoteBatch:
    """A batch's operation. Raises Malformed."""
    return _batch(whole(body, what="a batch operation"))


def _batch(operation: Fields) -> RemoteBatch:
    about = fields(operation.get("metadata")) or operation
    name = _text(operation, "name") or _text(about, "name")
    if name is None:
        raise Malformed("a batch operation has a name, but this has none")
    state = _text(about, "state") or "BATCH_STATE_UNSPECIFIED"
    stats, source = fields(about.get("batchStats")), fields(about.get("inputConfig"))
    outputs = [fields(about.get("output")), fields(operation.get("response"))]
    files = [_text(output, "responsesFile") for output in outputs]
    problems = _problems(state, operation.get("error"), about.get("error"))
    return RemoteBatch(
        id=name,
        status=state,
        phase=_phase(state, done=bytes(operation.get("done", NO_BODY)) == b"true"),
        intent=_text(about, "displayName"),
        created_at=moment(about.get("createTime")),
        size=optional(COUNT, stats.get("requestCount")),
        done=_count(stats, "successfulRequestCount") + _count(stats, "failedRequestCount"),
        input_file=_text(source, "fileName"),
        results=tuple(dict.fromkeys(file for file in files if file)),
        inline=next(filter(None, map(_inline, outputs)), b""),
        problems=problems,
        over_quota=any(problem.code == "RESOURCE_EXHAUSTED" for problem in problems),
    )


def _text(found: Fields, name: str) -> str | None:
    return optional(STRING, found.get(name)) or None


def _count(found: Fields, name: str) -> int:
    return optional(COUNT, found.get(name)) or 0


def _inline(output: Fields) -> bytes:
    """The list of results that an output holds itself."""
    for name in ("inlinedResponses", "inlinedEmbedContentResponses"):
        held = fields(output.get(name)).get("inlinedResponses")
        if optional(LIST, held) is not None:
            return bytes(held or b"")
    return b""


def _problems(state: str, *errors: bytes | None) -> tuple[Failure, ...]:
    """Why nothing ran; that it was cancelled is no problem, although it is told as one."""
    found = [error_of(bytes(error)) for error in errors if error is not None]
    error = next(filter(None, found), None)
    if error is None or state.endswith("_CANCELLED"):
        return ()
    return (Failure(message=message_of(error) or "no reason given", code=word_of(error)),)


_KINDS = {"gemini.generate": "GenerateContentBatch", "gemini.embed": "EmbedContentBatch"}
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."


def write_batch(
    batch: RemoteBatch,
    *,
    api: Api,
    model: str,
    failed: int = 0,
    updated_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> bytes:
    """A batch's operation. `failed` of its `done` requests did not succeed."""
    output = _output(batch, api)
    about = {
        "@type": _TYPE + _KINDS[api],
        "name": batch.id,
        "displayName": batch.intent,
        "model": f"models/{model.removeprefix('models/')}",
        "state": batch.status,
        "createTime": _time(batch.created_at),
        "updateTime": _time(updated_at),
        "endTime": _time(ended_at),
        "batchStats": _stats(batch, failed),
        "inputConfig": batch.input_file and {"fileName": batch.input_file},
        "output": output,
    }
    end: Json = {}
    if batch.phase == "ended":
        error = _error_of(batch)
        kind = {"@type": _TYPE + _KINDS[api] + "Output"}
        end = {"error": error} if error else {"response": {**kind, **(output or {})}}
        end["done"] = True
    return msgspec.json.encode({"name": batch.id, "metadata": given(about), **end})


def _stats(batch: RemoteBatch, failed: int) -> Json | None:
    if batch.size is None:
        return None
    return {
        "requestCount": str(batch.size),
        "successfulRequestCount": str(batch.done - failed),
        "failedRequestCount": str(failed),
        "pendingRequestCount": str(batch.size - batch.done),
    }


def _output(batch: RemoteBatch, api: Api) -> Json | None:
    if batch.results:
        return {"responsesFile": batch.results[0]}
    if not batch.inline:
        return None
    kind = "inlinedEmbedContentResponses" if api == "gemini.embed" else "inlinedResponses"
    return {kind: {"inlinedResponses": msgspec.Raw(batch.inline)}}


def _error_of(batch: RemoteBatch) -> Json | None:
    if batch.status.endswith("_CANCELLED"):
        return {"code": 1, "message": "the batch was cancelled"}
    if not batch.problems:
        return None
    problem = batch.problems[0]
    codes = [code for code, (named, _, _) in CODES.items() if named == problem.code]
    return {"code": codes[0] if codes else 13, "message": problem.message}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def read_batches(body: bytes) -> tuple[list[RemoteBatch], str | None]:
    """A page of the list, and what to ask for the next one with: `pageToken`.

    What is no batch on it is left out. Raises Malformed.
    """
    found = whole(body, what="a page of batch operations")
    return readable(found.get("operations"), read=_batch), _text(found, "nextPageToken")


def write_batches(listed: Sequence[bytes], *, next_page: str | None) -> bytes:
    """A page of the list: batches as written."""
    page = {"operations": [msgspec.Raw(each) for each in listed], "nextPageToken": next_page}
    return msgspec.json.encode(given(page))


# --- results ------------------------------------------------------------------------------------


class _Line(msgspec.Struct):
    key: Any = None
    custom_id: Any = None
    metadata: msgspec.Raw = NO_BODY
    response: msgspec.Raw = NO_BODY
    error: msgspec.Raw = NO_BODY
    status: msgspec.Raw = NO_BODY


_LINE = msgspec.json.Decoder(_Line)


def read_line(line: bytes) -> ResultLine:
    """What became of one request: a line of Gemini's or Vertex AI's results, or an inline result.

    Never raises: a line that cannot be read is a `server_error`.
    """
    try:
        line.decode()
        read = _LINE.decode(line)
    except UNREADABLE as e:
        return broken_line(line, e, id_in=_id_in)
    custom_id = word(read.key) or word(read.custom_id) or _text(fields(read.metadata), "key")
    error = _error_in(read.error) or _error_in(read.status)
    if error is not None:
        return _failed(custom_id, error)
    if is_object(read.response):
        return ResultLine(custom_id=custom_id, status=200, body=bytes(read.response))
    why = Failure(message="the line has neither a response nor an error")
    return ResultLine(custom_id=custom_id, outcome="server_error", failure=why)


def _id_in(line: Json) -> object:
    return line.get("key") or line.get("custom_id") or line["metadata"]["key"]


def read_inline(inline: bytes) -> list[ResultLine]:
    """The results that a batch holds itself. Raises Malformed."""
    listed = optional(LIST, inline)
    if listed is None:
        raise Malformed("a list of results was expected, but this is none")
    return [read_line(bytes(raw)) for raw in listed]


def _error_in(raw: bytes) -> bytes | None:
    """The error that a line's `error` or `status` holds: an object, or Vertex AI's text."""
    said = optional(STRING, raw)
    if said is not None:
        return _told(said) if said.strip() else None
    error = _unwrapped(raw)
    return None if optional(COUNT, fields(error).get("code")) == 0 else error


def _unwrapped(raw: bytes) -> bytes | None:
    """An error without the envelope that it may be in; None for one that says nothing."""
    found = fields(raw)
    inner = found.get("error")
    if inner is not None and is_object(inner):
        return bytes(inner)
    return bytes(raw) if found else None


_PHRASES: Mapping[str, int] = {
    "bad request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "too many requests": 429,
    "internal server error": 500,
    "service unavailable": 503,
    "gateway timeout": 504,
    **{name.replace("_", " ").lower(): status for name, status, _ in CODES.values()},
}
"""How an error told as text may begin."""


def _told(said: str) -> bytes:
    """The error in a text such as `Bad Request: {"error":{…}}`."""
    phrase, brace, rest = said.partition("{")
    error = _unwrapped((brace + rest).encode())
    if error is not None:
        return error
    begins = phrase.split(":")[0].strip().replace("_", " ").lower()
    return msgspec.json.encode({"code": _PHRASES.get(begins, 500), "message": said})


def _failed(custom_id: str | None, error: bytes) -> ResultLine:
    inner = error_of(error)
    code = optional(COUNT, fields(error).get("code")) or 0
    status = code if 100 <= code < 600 else _http_of(word_of({**inner, "code": code}))
    if status == 499:
        why = Failure(message=message_of(inner) or _CANCELLED, code="CANCELLED")
        return ResultLine(custom_id=custom_id, outcome="cancelled", failure=why)
    return ResultLine(custom_id=custom_id, status=status, body=b'{"error":%b}' % error)


_CANCELLED = "cancelled before it ran"


def _http_of(told: str | None) -> int:
    """The HTTP status of a gRPC code's word."""
    return next((status for name, status, _ in CODES.values() if name == told), 500)


def write_line(result: ResultLine) -> bytes:
    """One line of a result file, without its newline. Its errors carry HTTP statuses."""
    return msgspec.json.encode({"key": result.custom_id, **_end(result, grpc=False)})


def write_inline_line(result: ResultLine) -> bytes:
    """One result within a batch. Its errors carry gRPC codes."""
    metadata = {} if result.custom_id is None else {"metadata": {"key": result.custom_id}}
    return msgspec.json.encode({**_end(result, grpc=True), **metadata})


_STATUSES = {"cancelled": 499, "expired": 504}


def _end(result: ResultLine, *, grpc: bool) -> Json:
    status = _STATUSES.get(result.outcome or "") or result.status or 500
    if 200 <= status < 300 and is_object(result.body):
        return {"response": one_line(result.body)}
    status = status if status >= 400 else 500
    said = message_of(error_of(result.body))
    if said is None:
        said = result.failure.message if result.failure is not None else "no reason given"
    return {"error": {"code": code_of(status) if grpc else status, "message": said}}


# --- files --------------------------------------------------------------------------------------

MIME_TYPE = "application/jsonl"
UPLOAD_PATH = "/files"
"""Under the address that has `upload` before its version."""
UPLOAD_ADDRESS = "x-goog-upload-url"
"""The header of the reply to a start that says where the bytes go."""


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is asked for, or as the service said it is."""

    name: str | None = None
    """`files/…`; None: for the service to choose."""
    display_name: str | None = None
    size: int | None = None
    """In bytes."""
    mime_type: str = MIME_TYPE
    state: str | None = None
    """`PROCESSING`, `ACTIVE` or `FAILED`."""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    address: str | None = None


def start_headers(file: RemoteFile) -> dict[str, str]:
    """What announces an upload of `file`, beside the body that `write_start` gives."""
    return {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(file.size or 0),
        "X-Goog-Upload-Header-Content-Type": file.mime_type,
    }


def part_headers(*, offset: int, last: bool) -> dict[str, str]:
    """What goes with each part of the bytes."""
    command = "upload, finalize" if last else "upload"
    return {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}


def write_start(file: RemoteFile) -> bytes:
    """The body that announces an upload."""
    asked = {"name": file.name, "displayName": file.display_name, "mimeType": file.mime_type}
    size = None if file.size is None else str(file.size)
    return msgspec.json.encode({"file": given({**asked, "sizeBytes": size})})


def write_file(file: RemoteFile) -> bytes:
    """A file object. In an envelope, `{"file": …}`, it ends an upload."""
    return msgspec.json.encode(
        given(
            {
                "name": file.name,
                "displayName": file.display_name,
                "mimeType": file.mime_type,
                "sizeBytes": None if file.size is None else str(file.size),
                "createTime": _time(file.created_at),
                "updateTime": _time(file.created_at),
                "expirationTime": _time(file.expires_at),
                "uri": file.address,
                "state": file.state,
            }
        )
    )


def read_file(body: bytes) -> RemoteFile:
    """A file object, or the body that announces or ends an upload. Raises Malformed."""
    found = whole(body, what="a file")
    return _file(fields(found["file"]) if "file" in found else found)


def _file(found: Fields) -> RemoteFile:
    if not found:
        raise Malformed("a file has a name or a size, but this has nothing")
    return RemoteFile(
        name=_text(found, "name"),
        display_name=_text(found, "displayName"),
        size=optional(COUNT, found.get("sizeBytes")),
        mime_type=_text(found, "mimeType") or MIME_TYPE,
        state=_text(found, "state"),
        created_at=moment(found.get("createTime")),
        expires_at=moment(found.get("expirationTime")),
        address=_text(found, "uri"),
    )


def read_files(body: bytes) -> tuple[list[RemoteFile], str | None]:
    """A page of the list of files, and what to ask for the next one with. Raises Malformed."""
    found = whole(body, what="a page of files")
    return readable(found.get("files"), read=_file), _text(found, "nextPageToken")


# --- Vertex AI ----------------------------------------------------------------------------------

_EMBEDDING = {
    "taskType": "task_type",
    "title": "title",
    "outputDimensionality": "output_dimensionality",
}


def write_vertex_request(api: Api, custom_id: str, body: bytes) -> bytes:
    """One line of an input file, without its newline. What stands beside `request` is echoed."""
    return write_request(api, custom_id, _regrouped(body) if api == "gemini.embed" else body)


def _regrouped(body: bytes) -> bytes:
    """An embedding's body with its settings in one field, as batches want them here."""
    found = fields(body)
    config = {own: found[name] for name, own in _EMBEDDING.items() if name in found}
    content = {"content": found.get("content", NO_BODY)}
    return msgspec.json.encode({**content, **({"embed_content_config": config} if config else {})})


def write_vertex_create(
    *,
    model: str,
    input_file: str,
    output_prefix: str,
    intent: str,
    labels: Mapping[str, str] | None = None,
) -> bytes:
    """The body that submits an object in a bucket, with our mark as its name."""
    body = {
        "displayName": intent,
        "model": model if "/" in model else f"publishers/google/models/{model}",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [input_file]}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": output_prefix},
        },
        "labels": dict(labels) if labels else None,
    }
    return msgspec.json.encode(given(body))


def read_vertex_batch(body: bytes) -> RemoteBatch:
    """A batch prediction job. Its `results` are a folder, or a table. Raises Malformed."""
    return _vertex_batch(whole(body, what="a batch prediction job"))


def _vertex_batch(found: Fields) -> RemoteBatch:
    name, state = _text(found, "name"), _text(found, "state") or "JOB_STATE_UNSPECIFIED"
    if name is None:
        raise Malformed("a batch prediction job has a name, but this has none")
    stats, output = fields(found.get("completionStats")), fields(found.get("outputInfo"))
    source = fields(fields(found.get("inputConfig")).get("gcsSource"))
    done = _count(stats, "successfulCount") + _count(stats, "failedCount")
    left = optional(COUNT, stats.get("incompleteCount"))
    places = (_text(output, "gcsOutputDirectory"), _text(output, "bigqueryOutputTable"))
    problems = _problems(state, found.get("error"))
    return RemoteBatch(
        id=name,
        status=state,
        phase=_phase(state, done=False),
        intent=_text(found, "displayName"),
        created_at=moment(found.get("createTime")),
        size=None if left is None else done + left,
        done=done,
        input_file=next(iter(optional(STRINGS, source.get("uris")) or ()), None),
        results=tuple(place for place in places if place),
        problems=problems,
        over_quota=any(problem.code == "RESOURCE_EXHAUSTED" for problem in problems),
    )


def read_vertex_batches(body: bytes) -> tuple[list[RemoteBatch], str | None]:
    """A page of the list, and what to ask for the next one with: `pageToken`. Raises Malformed."""
    found = whole(body, what="a page of batch prediction jobs")
    listed = readable(found.get("batchPredictionJobs"), read=_vertex_batch)
    return listed, _text(found, "nextPageToken")
