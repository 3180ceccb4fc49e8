"""Mistral's batch jobs as bytes. Their result lines are OpenAI's, their bodies too.

Shapes as of the official SDK 3.7.0 and recorded exchanges, checked 2026-11-20.
"""

from typing import Any

import msgspec

from ..core.model import Api, Failure
from .batch import Phase, RemoteBatch
from .openai import PATHS
from .openai_batch import INTENT_KEY, MAX_MESSAGE, ROOT, decoded, moment_at

TIMEOUT_HOURS = 24
"""After which the service gives a job up: as it does by default, of a week at most."""

_PHASES: dict[str, Phase] = {
    "QUEUED": "waiting",
    "RUNNING": "working",
    "CANCELLATION_REQUESTED": "working",
    "SUCCESS": "ended",
    "FAILED": "ended",
    "TIMEOUT_EXCEEDED": "ended",
    "CANCELLED": "ended",
}


def write_create(*, input_file: str, api: Api, model: str | None, intent: str) -> bytes:
    """The body that submits an uploaded file, with our mark on it. The model is one for all."""
    job: dict[str, Any] = {
        "endpoint": ROOT + PATHS[api],
        "input_files": [input_file],
        "metadata": {INTENT_KEY: intent},
        "timeout_hours": TIMEOUT_HOURS,
    }
    return msgspec.json.encode(job if model is None else {**job, "model": model})


class _Error(msgspec.Struct):
    message: str | None = None


class _Job(msgspec.Struct):
    id: str
    status: str
    created_at: float | None = None
    total_requests: int | None = None
    completed_requests: int | None = None
    input_files: list[str] | None = None
    output_file: str | None = None
    error_file: str | None = None
    errors: list[_Error] | None = None
    metadata: dict[str, Any] | None = None


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    total: int | None = None


class _File(msgspec.Struct):
    id: str
    filename: str | None = None


def read_batch(body: bytes) -> RemoteBatch:
    """A batch job. Raises ValueError when it is none."""
    job = decoded(body, _Job)
    mark = (job.metadata or {}).get(INTENT_KEY)
    return RemoteBatch(
        id=job.id,
        status=job.status,
        # A word we do not know is one that will change, or it would never be looked at again.
        phase=_PHASES.get(job.status, "working"),
        intent=mark if isinstance(mark, str) else None,
        created_at=moment_at(job.created_at),
        size=job.total_requests or None,
        done=job.completed_requests or 0,
        input_file=next(iter(job.input_files or ()), None),
        results=tuple(file for file in (job.output_file, job.error_file) if file),
        problems=_problems(job),
    )


def _problems(job: _Job) -> tuple[Failure, ...]:
    """Why nothing ran. Of a job that did run, they are what befell single rows."""
    if job.status != "FAILED" or job.output_file:
        return ()
    said = [error.message for error in job.errors or () if error.message]
    return tuple(Failure(message=message[:MAX_MESSAGE]) for message in said or ["no reason given"])


def read_batches(body: bytes) -> tuple[list[RemoteBatch], int | None]:
    """A page of the list, and how many there are on all pages. Raises ValueError."""
    page = decoded(body, _Page)
    return [read_batch(bytes(raw)) for raw in page.data], page.total


def read_files(body: bytes) -> tuple[list[tuple[str, str]], int | None]:
    """The ids and names on a page of the list, and how many there are on all. Raises ValueError."""
    page = decoded(body, _Page)
    files = [decoded(bytes(raw), _File) for raw in page.data]
    return [(file.id, file.filename or "") for file in files], page.total
