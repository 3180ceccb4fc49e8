"""OpenAI: addresses, limits and the conversations of its Batch API."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from ..core.model import Api
from ..core.plan import Limits
from ..wire import openai_batch as lines
from ..wire.batch import RemoteBatch
from ..wire.openai import read_failure
from . import schemas
from .asked import Asked
from .flow import Call, Flow, Upload, accept, paged, reaches_back, read
from .openai_rules import RULES
from .provider import (
    OPENAI_APIS,
    BatchApi,
    GatePace,
    Provider,
    Step,
    Submission,
    Tiers,
    Uploaded,
)

_OVERHEAD = 160
"""Bytes that a line adds to its body: its custom_id, method and url."""


def upload(file: Upload) -> Flow[str]:
    """Send the requests; the id of the file they became."""
    sent = replace(file, fields={"purpose": "batch"})
    reply = yield Call(method="POST", path="/files", upload=sent)
    return read(reply, lines.read_file, failure=read_failure)


def list_uploads(prefix: str) -> Flow[list[Uploaded]]:
    """All batch input files whose name begins so."""
    path = partial(_page, "/files?purpose=batch&limit=1000")
    files = yield from paged(path, lines.read_files, failure=read_failure)
    return [Uploaded(file, name) for file, name in files if name.startswith(prefix)]


def list_results() -> Flow[list[str]]:
    """The ids of all files that batches have written."""
    path = partial(_page, "/files?purpose=batch_output&limit=1000")
    files = yield from paged(path, lines.read_files, failure=read_failure)
    return [file for file, _ in files]


def find_upload(name: str) -> Flow[list[str]]:
    """The ids of all batch input files with this name."""
    found = yield from list_uploads(name)
    return [file.id for file in found if file.name == name]


def create(submission: Submission, *, root: str = lines.ROOT) -> Flow[RemoteBatch]:
    """Submit what was uploaded."""
    assert submission.file is not None
    body = lines.write_create(
        input_file=submission.file, api=submission.api, intent=submission.intent, root=root
    )
    reply = yield Call(method="POST", path="/batches", body=body, once=True)
    return read(reply, lines.read_batch, failure=read_failure)


def listed(since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches made since. The list begins with the newest, and is read back so far."""
    path = partial(_page, "/batches?limit=100")
    return (
        yield from paged(path, lines.read_batches, failure=read_failure, enough=reaches_back(since))
    )


def find(submission: Submission, since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches with our mark."""
    seen = yield from listed(since)
    return [batch for batch in seen if batch.intent == submission.intent]


def poll(batch_id: str) -> Flow[RemoteBatch]:
    """How the batch is."""
    reply = yield Call(method="GET", path=f"/batches/{quote(batch_id, safe='')}")
    return read(reply, lines.read_batch, failure=read_failure)


def fetch(file: str, to: Path) -> Flow[None]:
    """Download a file of results."""
    path = f"/files/{quote(file, safe='')}/content"
    reply = yield Call(method="GET", path=path, download=to)
    accept(reply, failure=read_failure)


def cancel(batch_id: str) -> Flow[RemoteBatch]:
    """Ask for an end; how the batch is now. One that is over already is simply that."""
    reply = yield Call(method="POST", path=f"/batches/{quote(batch_id, safe='')}/cancel", body=b"")
    if reply.status == 409:
        return (yield from poll(batch_id))
    return read(reply, lines.read_batch, failure=read_failure)


def delete(file: str) -> Flow[None]:
    """Delete a file."""
    reply = yield Call(method="DELETE", path=f"/files/{quote(file, safe='')}")
    if reply.status != 404:
        accept(reply, failure=read_failure)


def _page(path: str, cursor: str | None) -> str:
    return path if cursor is None else f"{path}&after={quote(cursor, safe='')}"


APIS: tuple[Api, ...] = (*OPENAI_APIS, "openai.moderations", "openai.images")

BATCHES = BatchApi(
    apis=frozenset(APIS),
    limits=Limits(max_requests=50_000, max_bytes=200_000_000, overhead=_OVERHEAD),
    window=timedelta(hours=24),
    retention=timedelta(days=30),
    source="OpenAI's batch guide and OpenAPI description 2.3.0, checked 2026-11-20",
    framing=(b"", b"\n", b"\n"),
    write_request=lines.write_request,
    read_line=lines.read_line,
    upload=upload,
    find_upload=find_upload,
    create=create,
    listed=listed,
    find=find,
    poll=poll,
    fetch=fetch,
    cancel=cancel,
    delete=delete,
    list_uploads=list_uploads,
    list_results=list_results,
    rules=RULES,
)

_PACES: Mapping[Step, GatePace] = {"create": GatePace(most=2_000, every=timedelta(hours=1))}
"""As the guide has it; those that speak the same wire have limits of their own."""

# --- whose account it is --------------------------------------------------------------------------

_ORGANIZATION = Asked(
    name="organization",
    form=r"[A-Za-z0-9._-]+",
    words="the id of an organization, such as 'org-…'",
    variable="OPENAI_ORG_ID",
)
_PROJECT = Asked(
    name="project",
    form=r"[A-Za-z0-9._-]+",
    words="the id of a project, such as 'proj_…'",
    variable="OPENAI_PROJECT_ID",
)
_SCOPE: Mapping[str, str] = {
    _ORGANIZATION.name: "openai-organization",
    _PROJECT.name: "openai-project",
}
"""The headers that say it. A key without them means its owner's default ones."""


def placed(found: Provider, said: Mapping[str, str]) -> Provider:
    """`found` for the organization and the project that its caller names."""
    named = {name: said[name] for name in _SCOPE if said.get(name)}
    headers = {_SCOPE[name]: value for name, value in named.items()}
    return dataclasses.replace(found, scope=named, scope_headers=headers)


OPENAI = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    apis=APIS,
    schemas=schemas.OPENAI,
    batch=dataclasses.replace(BATCHES, paces=_PACES),
    tiers=Tiers(
        names=frozenset(("standard", "flex", "priority", "batch")),
        field="service_tier",
        source="OpenAI's guides to batch and flex, and the official SDK 3.51, checked 2026-11-20",
    ),
    asks=(_ORGANIZATION, _PROJECT),
    placed=placed,
)
"""Base URL, variables and their headers as in the official SDK 3.51, checked 2026-11-20."""

UNSAID: Mapping[str, Any] = {"asks": (), "placed": None}
"""For its copies, which have neither organizations nor projects of it."""
