"""OpenAI's Batch API as bytes: request lines, result lines, batches, files and their lists.

Shapes as of the OpenAPI description of 2026-08-21, the official SDK 3.51 and recorded exchanges,
checked 2026-11-20.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from ..core.model import NO_BODY, Api, Failure
from ..core.states import Outcome
from .batch import Phase, RemoteBatch, ResultLine
from .openai import PATHS, write_error

INTENT_KEY = "anybatch"
"""The key of our mark in a batch's metadata."""

WINDOW = "24h"

ROOT = "/v1"
"""What stands before the paths of the apis where lines and batches name them."""

_PHASES: dict[str, Phase] = {
    "validating": "waiting",
    "in_progress": "working",
    "finalizing": "working",
    "cancelling": "working",
    "completed": "ended",
    "failed": "ended",
    "expired": "ended",
    "cancelled": "ended",
}

_OUTCOMES: dict[str, Outcome] = {
    "batch_expired": "expired",
    "batch_cancelled": "cancelled",
    "request_timeout": "server_error",
}

OVER_QUOTA = frozenset(("token_limit_exceeded", "request_limit_exceeded"))
"""Codes of a batch that was taken and then refused, because too much is waiting already."""


# --- request lines ------------------------------------------------------------------------------


def write_request(api: Api, custom_id: str, body: bytes, *, root: str = ROOT) -> bytes:
    """One line of an input file, without its newline. `body` goes out byte for byte."""
    return b'{"custom_id":"%b","method":"POST","url":"%b%b","body":%b}' % (
        custom_id.encode(),
        root.encode(),
        PATHS[api].encode(),
        body,
    )


def write_bare(api: Api, custom_id: str, body: bytes) -> bytes:
    """The same line for who has the batch say where its requests go."""
    return b'{"custom_id":"%b","body":%b}' % (custom_id.encode(), body)


# --- result lines -------------------------------------------------------------------------------


class _Reply(msgspec.Struct):
    status_code: int | None = None
    request_id: msgspec.Raw = NO_BODY
    body: msgspec.Raw = NO_BODY


class _Error(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _Line(msgspec.Struct):
    id: msgspec.Raw = NO_BODY
    custom_id: str | None = None
    response: _Reply | None = None
    error: msgspec.Raw = NO_BODY


_LINE = msgspec.json.Decoder(_Line)
_ERROR = msgspec.json.Decoder(_Error | str | None)


def read_line(line: bytes) -> ResultLine:
    """What a line of an output or error file says. One that cannot be read has no custom_id."""
    try:
        read = _LINE.decode(line)
        line.decode()  # msgspec leaves what it skips unchecked
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return ResultLine(custom_id=None, outcome="server_error", failure=_unreadable(e))
    # An HTTP failure has no `error`: it hides in the response. So the response comes first.
    reply = read.response
    if reply is not None and reply.status_code is not None:
        return ResultLine(
            custom_id=read.custom_id,
            line_id=_id(read.id),
            request_id=_id(reply.request_id),
            status=reply.status_code,
            body=bytes(reply.body),
        )
    error = _error(read.error)
    code = None if error.code is None else str(error.code)
    message = error.message or "the line has neither a response nor an error"
    return ResultLine(
        custom_id=read.custom_id,
        line_id=_id(read.id),
        outcome=_OUTCOMES.get(code or "", "server_error"),
        failure=Failure(message=message[:MAX_MESSAGE], code=code),
    )


MAX_MESSAGE = 500
_MAX_ID = 200


def _id(raw: msgspec.Raw) -> str | None:
    """An id, if it is one: a text of some length."""
    # Escapes are no part of the ids that are given out, and cutting is cheaper than decoding.
    text = bytes(raw)
    if 2 < len(text) <= _MAX_ID and text.startswith(b'"') and b"\\" not in text and text.isascii():
        return text[1:-1].decode()
    return None


def _error(raw: msgspec.Raw) -> _Error:
    """What a line says of its failure: an object, or a text."""
    try:
        said = _ERROR.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        said = bytes(raw).decode(errors="replace")
    return said if isinstance(said, _Error) else _Error(message=said)


def _unreadable(e: Exception) -> Failure:
    return Failure(message=f"a result line that cannot be read: {e}", code="malformed")


def write_line(line: ResultLine) -> bytes:
    """A line of an output or error file, without its newline."""
    said = _without_reply(line) if line.status is None else _with_reply(line, line.status)
    id, custom_id = _ENCODER.encode(line.line_id), _ENCODER.encode(line.custom_id)
    return b'{"id":%b,"custom_id":%b,%b}' % (id, custom_id, said)


_ENCODER = msgspec.json.Encoder()
_UNSAID = Failure(message="no reason given")
_CODES: Mapping[Outcome, str] = {"expired": "batch_expired", "cancelled": "batch_cancelled"}


def _with_reply(line: ResultLine, status: int) -> bytes:
    why = line.failure or _UNSAID
    return b'"response":{"status_code":%d,"request_id":%b,"body":%b},"error":null' % (
        status,
        _ENCODER.encode(line.request_id),
        line.body or write_error(status, why.message, code=why.code),
    )


def _without_reply(line: ResultLine) -> bytes:
    why = line.failure or _UNSAID
    code = why.code or _CODES.get(line.outcome or "server_error", "server_error")
    return b'"response":null,"error":%b' % _ENCODER.encode({"code": code, "message": why.message})


# --- batches ------------------------------------------------------------------------------------


class _Problem(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    line: int | None = None
    param: str | None = None


class _Problems(msgspec.Struct):
    data: list[_Problem] | None = None


class _Counts(msgspec.Struct):
    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: float | None = None
    expires_at: float | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Problems | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, Any] | None = None


class _Page(msgspec.Struct):
    data: list[msgspec.Raw] | None = None
    value: list[msgspec.Raw] | None = None
    """The same in older words of Azure's."""
    has_more: bool | None = None

    @property
    def listed(self) -> list[msgspec.Raw]:
        """What is on it. Raises ValueError for what is no page: that is not an empty one."""
        listed = self.value if self.data is None else self.data
        if listed is None:
            raise ValueError("a page of a list has its entries in `data`, but this has none")
        return listed


class _File(msgspec.Struct):
    id: str
    filename: str | None = None
    status: str | None = None


T = TypeVar("T")


def decoded(body: bytes, kind: type[T]) -> T:
    """The value of `body`. Raises ValueError for anything else than a `kind`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e


def read_batch(body: bytes) -> RemoteBatch:
    """A batch object. Raises ValueError when it is none."""
    read = decoded(body, _Batch)
    counts = read.request_counts or _Counts()
    files = (read.output_file_id, read.error_file_id)
    mark = (read.metadata or {}).get(INTENT_KEY)
    problems = (read.errors.data if read.errors is not None else None) or []
    return RemoteBatch(
        id=read.id,
        status=read.status,
        # A word we do not know is one that will change, or it would never be looked at again.
        phase=_PHASES.get(read.status, "working"),
        intent=mark if isinstance(mark, str) else None,
        created_at=moment_at(read.created_at),
        expires_at=moment_at(read.expires_at),
        size=counts.total or None,
        done=(counts.completed or 0) + (counts.failed or 0),
        input_file=read.input_file_id,
        results=tuple(file for file in files if file),  # the service says "" for none, too
        problems=tuple(_failure(problem) for problem in problems),
        bad_lines={problem.line: _failure(problem) for problem in problems if problem.line},
        over_quota=any(problem.code in OVER_QUOTA for problem in problems),
    )


def _failure(problem: _Problem) -> Failure:
    where = "" if problem.line is None else f"line {problem.line}: "
    said = problem.message or problem.code or "no reason given"
    return Failure(message=(where + said)[:MAX_MESSAGE], code=problem.code)


def moment_at(seconds: float | None) -> datetime | None:
    """The time so many seconds after 1970 began; None where that is no time."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def read_batches(body: bytes) -> tuple[list[RemoteBatch], str | None]:
    """A page of a list, and the cursor of the next one, which is its last id."""
    page = decoded(body, _Page)
    batches = [read_batch(bytes(raw)) for raw in page.listed]
    more = page.has_more is not False and batches
    return batches, batches[-1].id if more else None


def write_create(*, input_file: str, api: Api, intent: str, root: str = ROOT) -> bytes:
    """The body that submits an uploaded file, with our mark on it."""
    return msgspec.json.encode(
        {
            "input_file_id": input_file,
            "endpoint": root + PATHS[api],
            "completion_window": WINDOW,
            "metadata": {INTENT_KEY: intent},
        }
    )


# --- files --------------------------------------------------------------------------------------


def read_file(body: bytes) -> str:
    """The id of a file object. Raises ValueError when it is none."""
    return decoded(body, _File).id


def read_file_status(body: bytes) -> str | None:
    """How far the service is with a file, in its own word. Raises ValueError when it is no file."""
    return decoded(body, _File).status


def read_files(body: bytes) -> tuple[list[tuple[str, str]], str | None]:
    """The ids and names on a page of a list, and the cursor of the next one."""
    page = decoded(body, _Page)
    files = [decoded(bytes(raw), _File) for raw in page.listed]
    more = page.has_more is not False and files
    return [(file.id, file.filename or "") for file in files], files[-1].id if more else None
