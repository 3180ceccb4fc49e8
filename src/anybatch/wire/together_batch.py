"""Together's batches and files as bytes. Their result lines are OpenAI's, their bodies too.

Shapes as of the official SDK 3.1.1 and recorded exchanges, checked 2026-11-20. A batch carries no
mark of ours; it names the file it was made of, which nobody else's does.
"""

from datetime import UTC, datetime

import msgspec

from ..core.model import Api, Failure
from .batch import Phase, RemoteBatch
from .openai import PATHS
from .openai_batch import MAX_MESSAGE, ROOT, WINDOW, decoded

_PHASES: dict[str, Phase] = {
    "VALIDATING": "waiting",
    "IN_PROGRESS": "working",
    "COMPLETED": "ended",
    "FAILED": "ended",
    "EXPIRED": "ended",
    "CANCELLED": "ended",
}

ADDRESS = "location"
FILE_ID = "x-together-file-id"
"""The headers of the reply to an announcement that say where the bytes go, and what they become."""


def write_announcement(name: str, sha256: str) -> dict[str, str]:
    """The form that announces an upload."""
    return {"purpose": "batch-api", "file_name": name, "file_type": "jsonl", "checksum": sha256}


def write_create(*, input_file: str, api: Api) -> bytes:
    """The body that submits an uploaded file."""
    batch = {
        "input_file_id": input_file,
        "endpoint": ROOT + PATHS[api],
        "completion_window": WINDOW,
    }
    return msgspec.json.encode(batch)


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: datetime | None = None
    job_deadline: datetime | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    error: str | None = None


class _Created(msgspec.Struct):
    job: msgspec.Raw


class _File(msgspec.Struct):
    id: str
    filename: str | None = None
    bytes: int | None = None


class _Files(msgspec.Struct):
    data: list[_File]


class _Known(msgspec.Struct):
    file_id: str


def read_created(body: bytes) -> RemoteBatch:
    """The reply to a submission. Raises ValueError when it is none."""
    return read_batch(bytes(decoded(body, _Created).job))


def read_batch(body: bytes) -> RemoteBatch:
    """A batch. Raises ValueError when it is none."""
    return _seen(decoded(body, _Batch))


def read_batches(body: bytes) -> list[RemoteBatch]:
    """The list, which has one page. Raises ValueError when it is none."""
    return [_seen(read) for read in decoded(body, list[_Batch])]


def _seen(read: _Batch) -> RemoteBatch:
    files = (read.output_file_id, read.error_file_id)
    has_failed = read.status == "FAILED" and not any(files)
    why = Failure(message=(read.error or "no reason given")[:MAX_MESSAGE])
    return RemoteBatch(
        id=read.id,
        status=read.status,
        # A word we do not know is one that will change, or it would never be looked at again.
        phase=_PHASES.get(read.status, "working"),
        created_at=_moment(read.created_at),
        expires_at=_moment(read.job_deadline),
        input_file=read.input_file_id,
        results=tuple(file for file in files if file),
        problems=(why,) if has_failed else (),
    )


def _moment(at: datetime | None) -> datetime | None:
    """A time; one without a zone is in UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def read_files(body: bytes) -> list[tuple[str, str, int]]:
    """The ids, names and sizes on the list, which has one page. Raises ValueError."""
    return [(file.id, file.filename or "", file.bytes or 0) for file in decoded(body, _Files).data]


def read_known(body: bytes) -> str | None:
    """Which file has the announced content already; None where that is not said."""
    try:
        return decoded(body, _Known).file_id
    except ValueError:
        return None
