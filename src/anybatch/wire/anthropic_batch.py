"""Anthropic's wire: Message Batches, from the create body to the result lines.

Shapes as of the official SDK 2.10, checked 2026-11-20. A batch carries no name of ours, and one
body holds all of its requests.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from ..core.model import NO_BODY, Api, Failure
from ..core.states import Outcome
from .anthropic import read_failure, status_of, write_error
from .batch import Phase, RemoteBatch, ResultLine
from .reading import (
    COUNT,
    STRING,
    UNREADABLE,
    Fields,
    Frame,
    Malformed,
    RequestLine,
    broken_line,
    error_of,
    fields,
    is_object,
    moment,
    one_line,
    optional,
    readable,
    whole,
    word,
)

# --- requests -----------------------------------------------------------------------------------

FRAME = Frame(b'{"requests":[', b",", b"]}")
"""The create body around its requests."""


class _Element(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Create(msgspec.Struct):
    requests: list[_Element]


_CREATE = msgspec.json.Decoder(_Create)


def write_request(api: Api, custom_id: str, body: bytes) -> bytes:
    """One request, as it stands between the separators of `FRAME`. `body` goes out unchanged."""
    return msgspec.json.encode(_Element(custom_id, msgspec.Raw(body)))


def read_create(body: bytes) -> list[RequestLine]:
    """The requests of a create body. Raises Malformed; what is in a body is not looked at."""
    try:
        body.decode()
        elements = _CREATE.decode(body).requests
    except UNREADABLE as e:
        raise Malformed(str(e)) from e
    for number, element in enumerate(elements):
        if not is_object(element.params):
            raise Malformed(f"Expected `object` - at `$.requests[{number}].params`")
    return [RequestLine(custom_id=e.custom_id, body=bytes(e.params)) for e in elements]


# --- the batch ----------------------------------------------------------------------------------

_PHASES: Mapping[str, Phase] = {"in_progress": "working", "canceling": "working", "ended": "ended"}
_OVER = ("succeeded", "errored", "canceled", "expired")


def read_batch(body: bytes) -> RemoteBatch:
    """A batch object. Raises Malformed.

    `results` is the address as it was said. The key goes where it points, so a caller holds it
    against the service's own address first.
    """
    return _batch(whole(body, what="a message batch"))


def _batch(found: Fields) -> RemoteBatch:
    name = optional(STRING, found.get("id"))
    status = optional(STRING, found.get("processing_status"))
    if not name or not status:
        raise Malformed("a message batch has an id and a processing_status, but this has not")
    url = optional(STRING, found.get("results_url"))
    counts = fields(found.get("request_counts"))
    done = sum(_count(counts, kind) for kind in _OVER)
    return RemoteBatch(
        id=name,
        status=status,
        # There is an address once it has ended and not before, whatever a newer word may mean.
        phase="ended" if url else _PHASES.get(status, "working"),
        created_at=moment(found.get("created_at")),
        expires_at=moment(found.get("expires_at")),
        ended_at=moment(found.get("ended_at")),
        size=done + _count(counts, "processing") if counts else None,
        done=done,
        results=(url,) if url else (),
    )


def _count(counts: Fields, kind: str) -> int:
    return optional(COUNT, counts.get(kind)) or 0


def write_batch(
    batch: RemoteBatch,
    *,
    errored: int = 0,
    cancelled: int = 0,
    expired: int = 0,
    cancelling_at: datetime | None = None,
    archived_at: datetime | None = None,
) -> bytes:
    """A batch object. Of the `done` requests, those that did not succeed are told apart."""
    counts = {
        "processing": max(0, (batch.size or 0) - batch.done),
        "succeeded": batch.done - errored - cancelled - expired,
        "errored": errored,
        "canceled": cancelled,
        "expired": expired,
    }
    written = {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": batch.status,
        "request_counts": counts,
        "created_at": _time(batch.created_at),
        "expires_at": _time(batch.expires_at),
        "ended_at": _time(batch.ended_at),
        "cancel_initiated_at": _time(cancelling_at),
        "archived_at": _time(archived_at),
        "results_url": batch.results[0] if batch.results else None,
    }
    return msgspec.json.encode(written)


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="microseconds")


def read_batches(body: bytes) -> tuple[list[RemoteBatch], str | None]:
    """A page of the list, newest first, and what to ask for the next one with: `after_id`.

    What is no batch on it is left out. Raises Malformed.
    """
    found = whole(body, what="a page of message batches")
    more = bytes(found.get("has_more", NO_BODY)) == b"true"
    last = optional(STRING, found.get("last_id"))
    return readable(found.get("data"), read=_batch), last if more else None


def write_batches(listed: Mapping[str, bytes], *, has_more: bool) -> bytes:
    """A page of the list: batches as written, by their ids and in order."""
    ids = list(listed)
    written = {
        "data": [msgspec.Raw(batch) for batch in listed.values()],
        "has_more": has_more,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }
    return msgspec.json.encode(written)


def write_deleted(batch_id: str) -> bytes:
    """The answer to a deletion."""
    return msgspec.json.encode({"id": batch_id, "type": "message_batch_deleted"})


# --- results ------------------------------------------------------------------------------------


class _End(msgspec.Struct, omit_defaults=True):
    type: str = ""
    message: msgspec.Raw = NO_BODY
    error: msgspec.Raw = NO_BODY


class _Line(msgspec.Struct):
    result: _End
    custom_id: str | None = None


_LINE = msgspec.json.Decoder(_Line)

_NOT_RUN: Mapping[str, tuple[Outcome, Failure]] = {
    "canceled": ("cancelled", Failure(message="cancelled before it ran", code="canceled")),
    "expired": ("expired", Failure(message="not run before the batch expired", code="expired")),
}
_ENDS = {outcome: kind for kind, (outcome, _) in _NOT_RUN.items()}


def read_line(line: bytes) -> ResultLine:
    """What became of one request. Never raises: a line that cannot be read is a `server_error`."""
    try:
        line.decode()
        read = _LINE.decode(line)
    except UNREADABLE as e:
        return broken_line(line, e, id_in=lambda value: value["custom_id"])
    return _result(read.custom_id, read.result)


def _result(custom_id: str | None, end: _End) -> ResultLine:
    if end.type == "succeeded" and is_object(end.message):
        return ResultLine(custom_id=custom_id, status=200, body=bytes(end.message))
    if end.type == "errored":
        error = bytes(end.error)
        return ResultLine(custom_id=custom_id, status=status_of(error), body=error)
    if end.type in _NOT_RUN:
        outcome, why = _NOT_RUN[end.type]
        return ResultLine(custom_id=custom_id, outcome=outcome, failure=why)
    why = Failure(message=f"the service says {end.type[:50]!r} of it and nothing more")
    return ResultLine(custom_id=custom_id, outcome="server_error", failure=why)


def write_line(result: ResultLine) -> bytes:
    """One line of a result file, without its newline."""
    return msgspec.json.encode({"custom_id": result.custom_id, "result": _end(result)})


def _end(result: ResultLine) -> _End:
    if result.outcome in _ENDS:
        return _End(type=_ENDS[result.outcome])
    status = result.status or 500
    if 200 <= status < 300 and is_object(result.body):
        return _End(type="succeeded", message=one_line(result.body))
    return _End(type="errored", error=one_line(_error(result, status)))


def is_error(body: bytes) -> bool:
    """Whether it is an error in the service's own envelope."""
    return optional(STRING, fields(body).get("type")) == "error"


def _error(result: ResultLine, status: int) -> bytes:
    """The error as it came, or in the service's envelope if it came in another."""
    if is_error(result.body):
        return result.body
    said = word(error_of(result.body).get("message"))
    if said is None:
        failure = result.failure or read_failure(status, result.body)[1]
        said = failure.message
    return write_error(status if status >= 400 else 500, said)
