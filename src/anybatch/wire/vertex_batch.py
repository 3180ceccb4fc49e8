"""Vertex AI's wire: batch prediction jobs over objects in a bucket, and their lines.

Shapes as of the official SDK 3.3 in Vertex mode, the discovery document of 2026-11-06 and recorded
results, checked 2026-11-20. What stands beside `request` in a line comes back beside its response:
`custom_id` in recorded results of generateContent, `key` in the documents on embeddings.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from ..core.model import NO_BODY, Api, Json
from . import gemini_batch
from .batch import RemoteBatch, ResultLine
from .gemini import CODES, code_of
from .gemini_batch import phase_of, problems_of
from .reading import (
    COUNT,
    STRINGS,
    UNREADABLE,
    Fields,
    Malformed,
    RequestLine,
    camel,
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
    written,
)

PATH = "/batchPredictionJobs"
"""Of the list of jobs, under the base URL that names project and location."""

# --- requests -----------------------------------------------------------------------------------

_EMBEDDING = {
    "taskType": "task_type",
    "title": "title",
    "outputDimensionality": "output_dimensionality",
}
"""Of an embedding's settings, what each is called here."""


def write_request(api: Api, custom_id: str, body: bytes) -> bytes:
    """One line of an input file, without its newline."""
    if api == "gemini.embed":
        return msgspec.json.encode({"key": custom_id, "request": _regrouped(body)})
    return msgspec.json.encode({"custom_id": custom_id, "request": one_line(body)})


def _regrouped(body: bytes) -> Json:
    """An embedding's body with its settings in one field."""
    found = fields(bytes(one_line(body)))
    config = {own: found[name] for name, own in _EMBEDDING.items() if name in found}
    content = {"content": found.get("content", NO_BODY)}
    return {**content, **({"embed_content_config": config} if config else {})}


class _Request(msgspec.Struct):
    request: msgspec.Raw
    custom_id: str | None = None
    key: str | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def read_request(line: bytes) -> RequestLine:
    """One line of an input file; an embedding's settings are put back into its body.

    Raises Malformed.
    """
    try:
        line.decode()
        read = _REQUEST.decode(line)
    except UNREADABLE as e:
        raise Malformed(str(e)) from e
    if not is_object(read.request):
        raise Malformed("Expected `object` - at `$.request`")
    return RequestLine(custom_id=read.custom_id or read.key or None, body=_flat(read.request))


def _flat(request: bytes) -> bytes:
    found = fields(request)
    config = fields(found.get("embedContentConfig"))
    if not config:
        return bytes(request)
    settings = {name: config[name] for name in _EMBEDDING if name in config}
    return msgspec.json.encode({"content": found.get("content", NO_BODY), **settings})


# --- creating a job -----------------------------------------------------------------------------


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is created from: an object in a bucket, and where its results are to go."""

    intent: str | None = None
    model: str
    input_file: str
    output_prefix: str
    labels: Mapping[str, str] = {}


def resource_of(model: str) -> str:
    """A model's name as the service has it: Google's own models may be named without theirs."""
    return model if "/" in model else f"publishers/google/models/{model}"


def write_create(create: Create) -> bytes:
    """The body that submits an object in a bucket, with our mark as its name."""
    body = {
        "displayName": create.intent,
        "model": create.model,
        "inputConfig": _input(create.input_file),
        "outputConfig": _output(create.output_prefix),
        "labels": dict(create.labels) or None,
    }
    return msgspec.json.encode(given(body))


def _input(uri: str) -> Json:
    return {"instancesFormat": "jsonl", "gcsSource": {"uris": [uri]}}


def _output(prefix: str) -> Json:
    return {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": prefix}}


def read_create(body: bytes) -> Create:
    """The body that creates a job. Raises Malformed."""
    found = whole(body, what="a batch prediction job")
    model, source, target = text_of(found, "model"), _source(found), _target(found)
    if model is None or source is None or target is None:
        raise Malformed("Expected a `model`, a `gcsSource` and a `gcsDestination`")
    return Create(
        intent=text_of(found, "displayName"),
        model=model,
        input_file=source,
        output_prefix=target,
        labels=_labels(found),
    )


_LABELS = msgspec.json.Decoder(dict[str, str])


def _labels(found: Fields) -> dict[str, str]:
    return optional(_LABELS, found.get("labels")) or {}


def _source(found: Fields) -> str | None:
    source = fields(fields(found.get("inputConfig")).get("gcsSource"))
    return next(iter(optional(STRINGS, source.get("uris")) or ()), None)


def _target(found: Fields) -> str | None:
    target = fields(fields(found.get("outputConfig")).get("gcsDestination"))
    return text_of(target, "outputUriPrefix")


# --- the job ------------------------------------------------------------------------------------


def read_batch(body: bytes) -> RemoteBatch:
    """A batch prediction job. Raises Malformed.

    Its `results` are the folder they lie in, once it has ended: the one it tells, else what we
    asked it to write to; or a table.
    """
    return _batch(whole(body, what="a batch prediction job"))


def _batch(found: Fields) -> RemoteBatch:
    name, state = text_of(found, "name"), text_of(found, "state") or "JOB_STATE_UNSPECIFIED"
    if name is None:
        raise Malformed("a batch prediction job has a name, but this has none")
    phase, problems = phase_of(state, done=False), problems_of(state, found.get("error"))
    stats, output = fields(found.get("completionStats")), fields(found.get("outputInfo"))
    done = count_of(stats, "successfulCount") + count_of(stats, "failedCount")
    left = optional(COUNT, stats.get("incompleteCount"))
    told = (text_of(output, "gcsOutputDirectory"), text_of(output, "bigqueryOutputTable"))
    places = tuple(place for place in (*told, _target(found)) if place)[:1]
    return RemoteBatch(
        id=name,
        status=state,
        phase=phase,
        intent=text_of(found, "displayName"),
        created_at=moment(found.get("createTime")),
        size=None if left is None else done + left,
        done=done,
        input_file=_source(found),
        results=places if phase == "ended" else (),
        problems=problems,
        over_quota=any(problem.code == "RESOURCE_EXHAUSTED" for problem in problems),
    )


def write_batch(
    batch: RemoteBatch,
    *,
    create: Create,
    failed: int = 0,
    updated_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> bytes:
    """A batch prediction job. `failed` of its `done` requests did not succeed."""
    about = {
        "name": batch.id,
        "displayName": batch.intent,
        "model": create.model,
        "inputConfig": _input(create.input_file),
        "outputConfig": _output(create.output_prefix),
        "labels": dict(create.labels) or None,
        "state": batch.status,
        "createTime": written(batch.created_at),
        "endTime": written(ended_at),
        "updateTime": written(updated_at),
        "outputInfo": {"gcsOutputDirectory": batch.results[0]} if batch.results else None,
        "completionStats": _stats(batch, failed),
        "error": gemini_batch.write_error(batch, cancelled="CANCELED"),
    }
    return msgspec.json.encode(given(about))


def _stats(batch: RemoteBatch, failed: int) -> Json | None:
    if batch.phase != "ended":
        return None
    left = -1 if batch.size is None else batch.size - batch.done
    return {
        "successfulCount": str(batch.done - failed),
        "failedCount": str(failed),
        "incompleteCount": str(left),
    }


def read_batches(body: bytes) -> tuple[list[RemoteBatch], str | None]:
    """A page of the list, and what to ask for the next one with: `pageToken`.

    What is no job on it is left out. Raises Malformed.
    """
    found = whole(body, what="a page of batch prediction jobs")
    listed = readable(found.get("batchPredictionJobs"), read=_batch)
    return listed, text_of(found, "nextPageToken")


def write_batches(listed: list[bytes], *, next_page: str | None) -> bytes:
    """A page of the list: jobs as written."""
    jobs = [msgspec.Raw(each) for each in listed]
    return msgspec.json.encode(
        given({"batchPredictionJobs": jobs or None, "nextPageToken": next_page})
    )


# --- results ------------------------------------------------------------------------------------


def read_line(line: bytes) -> ResultLine:
    """What became of one request. A line without a name tells which request it was.

    Never raises: a line that cannot be read is a `server_error`.
    """
    result = gemini_batch.read_line(line)
    request = None if result.custom_id is not None else fields(line).get("request")
    return result if request is None else replace(result, echo=echo_of(_flat(bytes(request))))


def echo_of(body: bytes) -> bytes:
    """A digest of a body, however its names and numbers are spelled; empty for none."""
    try:
        plain = _plain(msgspec.json.decode(body))
    except (*UNREADABLE, OverflowError):
        return b""
    written = msgspec.json.encode(plain, order="deterministic")
    return blake2b(written, digest_size=16).digest()


def _plain(value: Any) -> Any:
    """`value` without what a service may add, leave out or write otherwise."""
    match value:
        case dict():
            return {camel(k): _plain(v) for k, v in value.items() if v is not None}
        case list():
            return [_plain(each) for each in value]
        case int() if not isinstance(value, bool):
            return float(value)
    return value


def write_line(result: ResultLine, *, api: Api, request: bytes, at: datetime) -> bytes:
    """One line of results, without its newline: the request comes back in it."""
    name = "key" if api == "gemini.embed" else "custom_id"
    line = {
        name: result.custom_id,
        "status": _said(result),
        "processed_time": at.isoformat(timespec="milliseconds"),
        "request": one_line(request),
        "response": one_line(result.body) if _is_well(result) else {},
    }
    return msgspec.json.encode(given(line))


def _is_well(result: ResultLine) -> bool:
    return result.status is not None and 200 <= result.status < 300 and is_object(result.body)


_STATUSES = {"cancelled": 499, "expired": 504}


def _said(result: ResultLine) -> str:
    """Empty for a request that went well, else what went wrong, as a text."""
    if _is_well(result):
        return ""
    status = _STATUSES.get(result.outcome or "") or result.status or 500
    status = status if status >= 400 else 500
    word = CODES[code_of(status)][0]
    said = message_of(error_of(result.body))
    if said is None:
        said = result.failure.message if result.failure is not None else "no reason given"
    error = {"error": {"code": status, "message": said, "status": word}}
    return f"{word.replace('_', ' ').title()}: {msgspec.json.encode(error).decode()}"
