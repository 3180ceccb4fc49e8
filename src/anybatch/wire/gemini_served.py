"""Gemini's files and batches of the Developer API as a server reads, says and refuses them.

The other side of `gemini_batch.py` and `gemini_files.py`: what is written here is read there.
Shapes as of the official SDK 3.3, the REST reference and recorded exchanges, checked 2026-11-20.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec

from ..core.model import NO_BODY, Failure, Json, Result
from ..core.served import Ending, Order, OrderStatus, Problem, Ready, StoredFile, Sums
from . import gemini_batch as lines
from .batch import RemoteBatch, ResultLine
from .gemini import write_error
from .gemini_files import MIME_TYPE, RemoteFile, read_file
from .openai import said
from .reading import (
    LIST,
    STRING,
    Malformed,
    camel,
    fields,
    given,
    is_object,
    one_line,
    optional,
    whole,
    written,
)

MAX_FILE_BYTES = 2_000_000_000
MAX_CREATE_BYTES = 20_000_000
"""Of a body that creates a batch."""
MAX_REQUESTS = 200_000
"""What ai.google.dev says of all three, batch API and files, checked 2026-11-20."""
LIVES = timedelta(hours=48)
"""A file, and a batch until it has expired."""
KEPT_S = int(timedelta(days=30).total_seconds())
"""How long the results of a batch are kept. The service keeps them for 48 hours; we need not."""
UPLOAD_LIVES = timedelta(hours=24)

# --- refusals -----------------------------------------------------------------------------------


class Refused(Exception):
    """What is answered instead of what was asked for."""

    def __init__(self, status: int, message: str, *, word: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = write_error(status, message, word=word)


def absent(name: str) -> Refused:
    return Refused(404, f"{shortened(name)} is not found.")


def too_late(message: str) -> Refused:
    """For what the state of something does not allow."""
    return Refused(400, message, word="FAILED_PRECONDITION")


def wrong_key() -> Refused:
    """The service has no 401 for it."""
    return Refused(400, "API key not valid. Please pass a valid API key.")


def shortened(value: str) -> str:
    """What is repeated in a message, of whatever length it came."""
    return value if len(value) <= 100 else value[:99] + "…"


# --- what is asked for --------------------------------------------------------------------------


class AskedBatch(NamedTuple):
    """What a client asks for when it creates a batch: a file, or the requests themselves."""

    name: str | None
    input_file: str | None
    requests: tuple[bytes, ...]
    """Each on a line, without its newline."""


def read_create(body: bytes) -> AskedBatch:
    """Raises Refused."""
    try:
        batch = fields(whole(body, what="a batch").get("batch"))
    except Malformed as e:
        raise Refused(400, f"Invalid JSON payload received. {e}") from None
    source = fields(batch.get("inputConfig"))
    file = optional(STRING, source.get("fileName"))
    listed = optional(LIST, fields(source.get("requests")).get("requests"))
    if bool(file) == bool(listed):
        said = "* batch.input_config: either a file_name or requests, at least one, are needed."
        raise Refused(400, said)
    requests = tuple(bytes(one_line(bytes(raw))) for raw in listed or ())
    for place, line in enumerate(requests):
        _check_inline(place, line)
    return AskedBatch(
        name=optional(STRING, batch.get("displayName")), input_file=file or None, requests=requests
    )


def _check_inline(place: int, line: bytes) -> None:
    try:
        lines.read_request(line)
    except Malformed as e:
        where = f"* batch.input_config.requests.requests[{place}]"
        raise Refused(400, f"{where}: {shortened(str(e))}") from None


class AskedPage(NamedTuple):
    """What a client asks for when it lists something."""

    size: int
    after: str | None
    """The id of the last entry that it has seen."""


def read_page(query: Mapping[str, str], *, usual: int, most: int) -> AskedPage:
    """Raises Refused. Larger pages than there are become the largest."""
    asked = {camel(name): value for name, value in query.items()}
    size = asked.get("pageSize") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", size):
        raise Refused(400, f"Invalid value for page_size: {shortened(size)}")
    return AskedPage(min(int(size) or usual, most), asked.get("pageToken") or None)


def unknown_page() -> Refused:
    return Refused(400, "The page token is not one of this list.")


class AskedUpload(NamedTuple):
    """What a client says of a file before it sends it."""

    name: str
    size: int


def read_start(body: bytes, headers: Mapping[str, str]) -> AskedUpload:
    """The call that announces an upload. Raises Refused."""
    if headers.get("x-goog-upload-protocol") != "resumable":
        raise Refused(400, "Only resumable uploads are taken: X-Goog-Upload-Protocol: resumable.")
    try:
        file = read_file(body) if body.strip() not in (b"", b"{}") else RemoteFile()
    except Malformed as e:
        raise Refused(400, f"Invalid JSON payload received. {e}") from None
    if file.name is not None:
        raise Refused(400, "* file.name: this server chooses the names of files itself.")
    announced = number_in(headers, "x-goog-upload-header-content-length")
    size = announced if file.size is None else file.size
    if size is None:
        raise Refused(400, "The X-Goog-Upload-Header-Content-Length of the file is needed.")
    if size > MAX_FILE_BYTES:
        raise Refused(400, f"A file may have at most {MAX_FILE_BYTES} bytes.")
    name = file.display_name or headers.get("x-goog-upload-file-name") or "requests.jsonl"
    return AskedUpload(name[:512], size)


def number_in(headers: Mapping[str, str], name: str) -> int | None:
    """None where there is no number, or one of which nothing has so many bytes."""
    said = headers.get(name, "")
    return int(said) if re.fullmatch(r"[0-9]{1,15}", said) else None


# --- request lines ------------------------------------------------------------------------------


class RequestReader:
    """Reads the lines of one input: a file, or requests that came `inline`."""

    def __init__(self, model: str, *, inline: bool) -> None:
        self._model = model
        self._inline = inline
        self._count = 0

    def read(self, number: int, line: bytes) -> Ready | Problem | None:
        """The request on a line, or what is wrong with it; None: nothing is on it."""
        if not line.strip():
            return None
        self._count += 1
        try:
            read = lines.read_request(line)
        except Malformed as e:
            said = f"Line {number} of the input is not a request: {shortened(str(e))}"
            return Problem(code="INVALID_ARGUMENT", message=said, line=number)
        name = f"{number} {_metadata(line)}" if self._inline else read.custom_id
        return Ready(name=name or "", model=self._model, body=read.body)

    def end(self) -> Problem | None:
        """What is wrong with the input as a whole."""
        if not self._count:
            return Problem(code="INVALID_ARGUMENT", message="The input has no requests.")
        if self._count > MAX_REQUESTS:
            said = f"The input has {self._count:,} requests; a batch takes {MAX_REQUESTS:,}."
            return Problem(code="INVALID_ARGUMENT", message=said)
        return None


def _metadata(line: bytes) -> str:
    """What a client said of a request beside it, to be given back as it is."""
    raw = fields(line).get("metadata", NO_BODY)
    return bytes(raw).decode() if is_object(raw) else ""


def unknown_input(file_id: str) -> Problem:
    """For a batch whose input is not there."""
    return Problem(code="NOT_FOUND", message=f"files/{shortened(file_id)} is not found.")


def unserved(model: str) -> Problem:
    """For a model that nothing answers for here."""
    said = f"models/{shortened(model)} is not found, or is not supported for batches."
    return Problem(code="NOT_FOUND", message=said)


# --- result lines -------------------------------------------------------------------------------

_UNANSWERED: Mapping[Ending, ResultLine] = {
    "completed": ResultLine(
        custom_id=None, failure=Failure(message="This request could not be executed.")
    ),
    "expired": ResultLine(
        custom_id=None,
        outcome="expired",
        failure=Failure(message="The batch expired before this request was executed."),
    ),
    "cancelled": ResultLine(
        custom_id=None,
        outcome="cancelled",
        failure=Failure(message="The batch was cancelled before this request was executed."),
    ),
}


class Written(NamedTuple):
    """A line, and whether it has an answer."""

    ok: bool
    line: bytes


def write_line(name: str, result: Result | None, *, ending: Ending, inline: bool) -> Written:
    """The line of the client's request `name`; `result` is None if it never ran."""
    end = _end(result, ending)
    ok = end.status is not None and 200 <= end.status < 300
    if not inline:
        line = lines.write_line(msgspec.structs.replace(end, custom_id=name or None))
        return Written(ok, line + b"\n")
    line = lines.write_inline_line(end)
    number, _, metadata = name.partition(" ")
    if metadata:
        line = b'%b,"metadata":%b}' % (line[:-1], metadata.encode())
    return Written(ok, b"%b %b\n" % (number.encode(), line))


def inlined(content: bytes) -> bytes:
    """The lines of requests that came inline as one list, in the order in which they came."""
    numbered = (line.split(b" ", 1) for line in content.splitlines())
    ordered = sorted(numbered, key=lambda pair: int(pair[0]))
    return b"[%b]" % b",".join(line for _, line in ordered)


def _end(result: Result | None, ending: Ending) -> ResultLine:
    if result is None or result.outcome in ("cancelled", "expired"):
        return _UNANSWERED[ending]
    status, failure = result.status, result.failure
    is_answer = status is not None and 200 <= status < 300 and is_object(result.body)
    body = bytes(result.body) if is_object(result.body) else b""
    if failure is not None:
        failure = Failure(message=said(failure), code=failure.code)
    status = status if is_answer or (status or 0) >= 400 else None
    return ResultLine(custom_id=None, status=status, body=body, failure=failure)


# --- objects ------------------------------------------------------------------------------------

_STATES: Mapping[OrderStatus, str] = {
    "received": "PENDING",
    "running": "RUNNING",
    "finishing": "RUNNING",
    "expiring": "RUNNING",
    "cancelling": "RUNNING",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "expired": "EXPIRED",
    "cancelled": "CANCELLED",
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of how a batch was asked for."""

    model: str
    name: str | None = None
    inline: bool = False
    """Its requests came with it, and its results go with it."""


def asked_of(order: Order) -> Asked:
    return msgspec.convert(order.asked, Asked)


def write_batch(order: Order, sums: Sums, *, inline: bytes = b"") -> bytes:
    """A batch's operation; `inline`: the list of the results that go with it."""
    asked = asked_of(order)
    moments = (order.created_at, order.started_at, order.finishing_at, order.cancelling_at)
    batch = RemoteBatch(
        id=f"batches/{order.id}",
        status=f"BATCH_STATE_{_STATES[order.status]}",
        phase="ended" if order.is_over else "working",
        intent=asked.name,
        created_at=order.created_at,
        size=order.total,
        done=sums.completed + sums.failed,
        input_file=None if asked.inline else f"files/{order.input_file}",
        results=_results(order, asked),
        inline=inline,
        problems=tuple(Failure(message=p.message, code=p.code) for p in order.problems),
    )
    return lines.write_batch(
        batch,
        api=order.api,
        model=asked.model,
        failed=sums.failed,
        updated_at=max(at for at in (*moments, order.ended_at) if at is not None),
        ended_at=order.ended_at,
    )


def _results(order: Order, asked: Asked) -> tuple[str, ...]:
    if asked.inline or order.output_file is None:
        return ()
    return (f"files/{order.output_file}",)


def write_file(file: StoredFile, *, origin: str, generated: bool) -> Json:
    """A file object, at a server with this origin."""
    address = f"{origin}/v1beta/files/{file.id}"
    about: Json = {
        "name": f"files/{file.id}",
        "displayName": file.name,
        "mimeType": MIME_TYPE,
        "sizeBytes": str(file.size),
        "createTime": written(file.created_at),
        "updateTime": written(file.created_at),
        "expirationTime": written(file.expires_at),
        "uri": address,
        "state": "ACTIVE",
        "source": "GENERATED" if generated else "UPLOADED",
        "downloadUri": f"{address}:download?alt=media" if generated else None,
    }
    return given(about)


def write_files(listed: Sequence[Json], *, next_page: str | None) -> Json:
    """A page of the list of files."""
    return given({"files": listed or None, "nextPageToken": next_page})
