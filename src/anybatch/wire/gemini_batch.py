"""Gemini's wire: batches of the Developer API, from the input file to the result lines.

Shapes as of the official SDK 3.3, the REST reference and recorded exchanges, checked 2026-11-20.
What is read may be in camelCase or snake_case, its 64-bit numbers texts or numbers; what is written
is in camelCase with texts, and without an error's `details`, at which the official SDK fails.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ..core.model import NO_BODY, Api, Failure, Json
from .batch import Phase, RemoteBatch, ResultLine
from .gemini import CODES, code_of, word_of
from .reading import (
    COUNT,
    LIST,
    STRING,
    UNREADABLE,
    Fields,
    Frame,
    Malformed,
    RequestLine,
    broken_line,
    count_of,
    error_of,
    fields,
    given,
    is_object,
    message_of,
    moment,
    one_line,
    optional,
    readable,
    text_of,
    whole,
    word,
    written,
)

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


def phase_of(state: str, *, done: bool) -> Phase:
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
    name = text_of(operation, "name") or text_of(about, "name")
    if name is None:
        raise Malformed("a batch operation has a name, but this has none")
    state = text_of(about, "state") or "BATCH_STATE_UNSPECIFIED"
    stats, source = fields(about.get("batchStats")), fields(about.get("inputConfig"))
    outputs = [fields(about.get("output")), fields(operation.get("response"))]
    files = [text_of(output, "responsesFile") for output in outputs]
    problems = problems_of(state, operation.get("error"), about.get("error"))
    return RemoteBatch(
        id=name,
        status=state,
        phase=phase_of(state, done=bytes(operation.get("done", NO_BODY)) == b"true"),
        intent=text_of(about, "displayName"),
        created_at=moment(about.get("createTime")),
        size=optional(COUNT, stats.get("requestCount")),
        done=count_of(stats, "successfulRequestCount") + count_of(stats, "failedRequestCount"),
        input_file=text_of(source, "fileName"),
        results=tuple(dict.fromkeys(file for file in files if file)),
        inline=next(filter(None, map(_inline, outputs)), b""),
        problems=problems,
        over_quota=any(problem.code == "RESOURCE_EXHAUSTED" for problem in problems),
    )


def _inline(output: Fields) -> bytes:
    """The list of results that an output holds itself."""
    for name in ("inlinedResponses", "inlinedEmbedContentResponses"):
        held = fields(output.get(name)).get("inlinedResponses")
        if optional(LIST, held) is not None:
            return bytes(held or b"")
    return b""


def problems_of(state: str, *errors: bytes | None) -> tuple[Failure, ...]:
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
        "createTime": written(batch.created_at),
        "updateTime": written(updated_at),
        "endTime": written(ended_at),
        "batchStats": _stats(batch, failed),
        "inputConfig": batch.input_file and {"fileName": batch.input_file},
        "output": output,
    }
    end: Json = {}
    if batch.phase == "ended":
        error = write_error(batch, cancelled="the batch was cancelled")
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


def write_error(batch: RemoteBatch, *, cancelled: str) -> Json | None:
    """Why it has failed, in gRPC's codes; in which words it was `cancelled` differs by service."""
    if batch.status.endswith("_CANCELLED"):
        return {"code": 1, "message": cancelled}
    if not batch.problems:
        return None
    problem = batch.problems[0]
    codes = [code for code, (named, _, _) in CODES.items() if named == problem.code]
    return {"code": codes[0] if codes else 13, "message": problem.message}


def read_batches(body: bytes) -> tuple[list[RemoteBatch], str | None]:
    """A page of the list, and what to ask for the next one with: `pageToken`.

    What is no batch on it is left out. Raises Malformed.
    """
    found = whole(body, what="a page of batch operations")
    return readable(found.get("operations"), read=_batch), text_of(found, "nextPageToken")


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
    custom_id = word(read.key) or word(read.custom_id) or text_of(fields(read.metadata), "key")
    error = _error_in(read.error) or _error_in(read.status)
    if error is not None:
        return _failed(custom_id, error)
    if is_object(read.response):
        return ResultLine(custom_id=custom_id, status=200, body=bytes(read.response))
    why = Failure(message="the line has neither a response nor an error")
    return ResultLine(custom_id=custom_id, outcome="server_error", failure=why)


def _id_in(line: Json) -> object:
    return line.get("key") or line.get("custom_id") or line["metadata"]["key"]


def inline_lines(inline: bytes) -> bytes:
    """The results that a batch holds itself, one a line. Raises Malformed."""
    listed = optional(LIST, inline)
    if listed is None:
        raise Malformed("a list of results was expected, but this is none")
    return b"".join(bytes(one_line(bytes(raw))) + b"\n" for raw in listed)


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
    error = error_of(result.body)
    said = message_of(error)
    if said is None:
        said = result.failure.message if result.failure is not None else "no reason given"
    details = {"details": error["details"]} if isinstance(error.get("details"), list) else {}
    return {"error": {"code": code_of(status) if grpc else status, "message": said, **details}}
