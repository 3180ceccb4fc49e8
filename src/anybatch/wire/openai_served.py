"""OpenAI's files, uploads and batches as a server says them, and the lines it reads.

The other side of `openai_batch.py`: what is written here is read there. Shapes as of the OpenAPI
description 2.3.0, the official SDK 3.51 and recorded exchanges, checked 2026-11-20.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from ..core.model import NO_BODY, Api, Failure, Json, Result, Usage
from ..core.served import Ending, Order, Problem, Ready, StoredFile, Sums, Upload, UploadPart
from . import openai_batch as lines
from .batch import ResultLine
from .openai import said
from .openai_asked import ENDPOINTS, MAX_REQUESTS, has_halves, shortened

MAX_NAME = 512
"""Characters of a custom_id. How long it may be is not documented."""

_ENCODER = msgspec.json.Encoder()


# --- request lines ------------------------------------------------------------------------------


class _Line(msgspec.Struct, gc=False):
    custom_id: Any = UNSET
    method: Any = UNSET
    url: Any = UNSET
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct, gc=False):
    model: Any = UNSET
    stream: Any = UNSET
    messages: msgspec.Raw = msgspec.Raw()
    texts: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="input")
    prompt: msgspec.Raw = msgspec.Raw()


_ABSENT = msgspec.Raw()
_NOTHING = (_ABSENT, NO_BODY)
"""Compared as they lie: a body is not copied to find out whether it is there."""

_LINE = msgspec.json.Decoder(_Line)
_BODY = msgspec.json.Decoder(_Body)

_NEEDS: Mapping[Api, tuple[str, ...]] = {
    "openai.chat": ("messages",),
    "openai.responses": ("texts", "prompt"),
    "openai.embeddings": ("texts",),
    "openai.completions": ("prompt",),
    "openai.moderations": ("texts",),
    "openai.images": ("prompt",),
}
"""Of these fields a body has at least one."""
_SAID: Mapping[str, str] = {"texts": "input"}
_UTF8_MARK = b"\xef\xbb\xbf"


class RequestReader:
    """Reads the lines of one input file, each held against those before it."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._needs = _NEEDS[ENDPOINTS[endpoint]]
        self._names: set[str] = set()
        """The one thing that grows with the file."""
        self._model: str | None = None
        self._count = 0

    def read(self, number: int, line: bytes) -> Ready | Problem | None:
        """The request on a line, or what is wrong with it, the first thing first; None: nothing
        is on it."""
        try:
            line.decode()  # msgspec leaves what it skips unchecked
            read = _LINE.decode(line)
        except (ValueError, RecursionError):
            return self._unreadable(number, line)
        self._count += 1
        problem = self._around(read)
        if problem is None:
            said = self._body(read.body)
            if isinstance(said, _Body):
                model: str = said.model
                return Ready(name=read.custom_id, model=model, body=bytes(read.body))
            problem = said
        return msgspec.structs.replace(problem, line=number)

    def end(self) -> Problem | None:
        """What is wrong with the file as a whole."""
        if not self._count:
            return Problem(code="empty_file", message="The file has no requests.")
        if self._count > MAX_REQUESTS:
            said = f"The file has {self._count:,} requests; a batch takes {MAX_REQUESTS:,}."
            return Problem(code="invalid_request", message=said)
        return None

    def _unreadable(self, number: int, line: bytes) -> Problem | None:
        if not line.strip():
            return None
        self._count += 1
        said = "This line is not parseable as valid JSON."
        if line.startswith(_UTF8_MARK):
            said += " It begins with a byte order mark; save the file without it."
        elif has_halves(line):
            said += " It has an escape of half a character, as \\ud800 is without its other half."
        return Problem(code="invalid_json_line", message=said, line=number)

    def _around(self, read: _Line) -> Problem | None:
        """What is wrong with a line around its body."""
        for name in ("custom_id", "method", "url"):
            if getattr(read, name) in (UNSET, None):
                return _lacking(name)
        if read.body == _ABSENT:
            return _lacking("body")
        name = read.custom_id
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            said = f"The custom_id has to be a text of 1 to {MAX_NAME} characters."
            return Problem(code="invalid_custom_id", message=said, param="custom_id")
        if name in self._names:
            said = f"The custom_id '{shortened(name)}' was used before: it has to be unique."
            return Problem(code="duplicate_custom_id", message=said, param="custom_id")
        self._names.add(name)
        if read.method != "POST":
            said = "The method has to be POST."
            return Problem(code="invalid_method", message=said, param="method")
        if read.url != self._endpoint:
            said = "The URL provided for this request does not match the batch endpoint."
            return Problem(code="invalid_url", message=said, param="url")
        return None

    def _body(self, raw: msgspec.Raw) -> _Body | Problem:
        """What we look at of a body, or what is wrong with it."""
        try:
            body = _BODY.decode(raw)
        except (ValueError, RecursionError):
            said = "The body has to be a JSON object."
            return Problem(code="invalid_request", message=said, param="body")
        if not isinstance(body.model, str) or not body.model:
            said = "Model parameter is required."
            return Problem(code="invalid_request", message=said, param="body.model")
        self._model = self._model or body.model
        if body.model != self._model:
            said = f"The model '{shortened(body.model)}' is not that of the first line."
            return Problem(code="mismatched_model", message=said, param="body.model")
        if body.stream not in (UNSET, None, False):
            said = "Streaming is not supported in the Batch API."
            return Problem(code="streaming_unsupported", message=said, param="body.stream")
        if all(getattr(body, field) in _NOTHING for field in self._needs):
            field = _SAID.get(self._needs[0], self._needs[0])
            said = f"{field.capitalize()} parameter is required."
            return Problem(code="invalid_request", message=said, param=f"body.{field}")
        return body


def _lacking(field: str) -> Problem:
    said = f"Missing required parameter: '{field}'."
    return Problem(code="missing_required_parameter", message=said, param=field)


def unknown_input(file_id: str) -> Problem:
    """For a batch whose input is not there."""
    said = (
        f"Cannot find file {shortened(file_id)}, or your organization does not have access to it."
    )
    return Problem(code="invalid_request", message=said, param="file_id")


def unserved(model: str, number: int | None) -> Problem:
    """For a model that nothing answers for here."""
    said = f"The provided model '{shortened(model)}' is not supported by the Batch API."
    return Problem(code="model_not_found", message=said, line=number, param="body.model")


# --- result lines -------------------------------------------------------------------------------

_UNANSWERED: Mapping[Ending, Failure] = {
    "completed": Failure(code="server_error", message="This request could not be executed."),
    "expired": Failure(
        code="batch_expired",
        message="This request could not be executed before the completion window expired.",
    ),
    "cancelled": Failure(
        code="batch_cancelled", message="This request was cancelled before it was executed."
    ),
}
"""What is said of a request that was not answered."""


class Written(NamedTuple):
    """A line, and in which of the two files it belongs."""

    ok: bool
    line: bytes


def is_answered(result: Result) -> bool:
    """Whether its reply is one that a real-time call would have got with a 2xx."""
    return result.status is not None and 200 <= result.status < 300 and result.body != NO_BODY


def write_line(name: str, result: Result | None, *, order: str, n: int, ending: Ending) -> Written:
    """The line of request `n` of an `order`, the client's `name`; None: it never ran."""
    ok = result is not None and is_answered(result)
    id = line_id(order, n)
    return Written(ok, lines.write_line(_line(name, result, id, ending)) + b"\n")


def line_id(order: str, n: int) -> str:
    """A name for the line of request `n`: the same however often it is written."""
    return f"{blake2b(order.encode(), digest_size=8).hexdigest()}{n:08x}"


def _line(name: str, result: Result | None, id: str, ending: Ending) -> ResultLine:
    line = ResultLine(custom_id=name, line_id=f"batch_req_{id}", request_id=f"req_{id}")
    if result is None or result.outcome in ("cancelled", "expired"):
        return replace(line, failure=_UNANSWERED[ending])
    status, why = result.status, result.failure
    if is_answered(result):
        return replace(line, status=status, body=bytes(result.body))
    if status is None or 200 <= status < 300:
        return replace(line, failure=why)  # no reply, or one that nobody can read
    failure = why and Failure(message=said(why), code=why.code)
    body = b"" if result.body == NO_BODY else bytes(result.body)
    return replace(line, status=status, body=body, failure=failure)


# --- objects ------------------------------------------------------------------------------------


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())


_STATUSES: Mapping[str, str] = {
    "received": "validating",
    "running": "in_progress",
    "expiring": "in_progress",
    "finishing": "finalizing",
}
"""Where the wire has another word than we."""


def write_batch(order: Order, sums: Sums) -> Json:
    """A batch object."""
    ended = _seconds(order.ended_at)
    return {
        "id": order.id,
        "object": "batch",
        "endpoint": order.asked["endpoint"],
        "model": order.model,
        "errors": _errors(order.problems),
        "input_file_id": order.input_file,
        "completion_window": order.asked["completion_window"],
        "status": _STATUSES.get(order.status, order.status),
        "output_file_id": order.output_file,
        "error_file_id": order.error_file,
        "created_at": _seconds(order.created_at),
        "in_progress_at": _seconds(order.started_at),
        "expires_at": _seconds(order.expires_at),
        "finalizing_at": _seconds(order.finishing_at),
        "completed_at": ended if order.status == "completed" else None,
        "failed_at": ended if order.status == "failed" else None,
        "expired_at": ended if order.status == "expired" else None,
        "cancelling_at": _seconds(order.cancelling_at),
        "cancelled_at": ended if order.status == "cancelled" else None,
        "request_counts": {
            "total": order.total or 0,
            "completed": sums.completed,
            "failed": sums.failed,
        },
        "usage": write_usage(sums.usage),
        # `{}` where none was given: some clients refuse null.
        "metadata": order.asked.get("metadata") or {},
    }


def write_usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.tokens_in + usage.tokens_out,
    }


def _errors(problems: tuple[Problem, ...]) -> Json | None:
    if not problems:
        return None
    return {"object": "list", "data": [msgspec.structs.asdict(problem) for problem in problems]}


def write_file(file: StoredFile) -> Json:
    """A file object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": _seconds(file.created_at),
        "filename": file.name,
        "purpose": file.purpose,
        # Deprecated, and read by clients that wait for it.
        "status": "processed",
        "status_details": None,
        "expires_at": _seconds(file.expires_at),
    }


def write_deleted(id: str) -> Json:
    return {"id": id, "object": "file", "deleted": True}


def write_upload(upload: Upload, file: StoredFile | None = None) -> Json:
    """An upload object, with the file that it has become."""
    written: Json = {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": _seconds(upload.created_at),
        "expires_at": _seconds(upload.expires_at),
        "filename": upload.name,
        "purpose": upload.purpose,
        "status": upload.status,
    }
    return written if file is None else {**written, "file": write_file(file)}


def write_part(part: UploadPart) -> Json:
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": _seconds(part.created_at),
        "upload_id": part.upload_id,
    }


def write_list(listed: Iterable[Json], *, has_more: bool) -> Json:
    """A page of a list."""
    entries = list(listed)
    return {
        "object": "list",
        "data": entries,
        "first_id": entries[0]["id"] if entries else None,
        "last_id": entries[-1]["id"] if entries else None,
        "has_more": has_more,
    }


def write_models(names: Iterable[str], *, at: datetime) -> Json:
    """The list of models."""
    return {"object": "list", "data": list(_models(names, at))}


def _models(names: Iterable[str], at: datetime) -> Iterator[Json]:
    for name in names:
        yield {"id": name, "object": "model", "created": _seconds(at), "owned_by": "anybatch"}
