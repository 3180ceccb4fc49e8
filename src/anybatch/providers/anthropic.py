"""Anthropic: addresses, limits and the conversations of its Message Batches API."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from msgspec.structs import replace

from ..core.model import Json
from ..core.plan import Limits
from ..wire import anthropic_batch as lines
from ..wire.anthropic import api_version_for, read_failure
from ..wire.batch import RemoteBatch
from . import schemas
from .anthropic_rules import RULES
from .flow import NO_HEADERS, SLACK, Call, Flow, Upload, accept, paged, reaches_back, read
from .provider import BatchApi, GatePace, Provider, Step, Submission, Tiers

_PATH = "/messages/batches"
_OVERHEAD = 64
"""Bytes that an element adds to its body: its custom_id and its braces."""
_START_BYTES = 1_000_000
"""Enough for a first line."""


def create(submission: Submission) -> Flow[RemoteBatch]:
    """Submit all requests in one body."""
    sent = Upload(path=submission.requests, name=submission.intent)
    reply = yield Call(method="POST", path=_PATH, upload=sent, once=True)
    return _seen(read(reply, lines.read_batch, failure=read_failure))


def listed(since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches made since. The list begins with the newest, and is read back so far."""
    seen = yield from paged(
        _page, lines.read_batches, failure=read_failure, enough=reaches_back(since)
    )
    return [_seen(batch) for batch in seen]


def find(submission: Submission, since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches of this size that were made since: the wire carries no mark of ours.

    Our batches differ in size for that; the names in their results confirm which was found.
    """
    return [
        batch
        for batch in (yield from listed(since))
        if batch.size == submission.size
        and batch.created_at is not None
        and batch.created_at >= since - SLACK
    ]


def poll(batch_id: str) -> Flow[RemoteBatch]:
    """How the batch is."""
    reply = yield Call(method="GET", path=_path(batch_id))
    return _seen(read(reply, lines.read_batch, failure=read_failure))


def fetch(batch_id: str, to: Path, *, headers: Mapping[str, str] = NO_HEADERS) -> Flow[None]:
    """Download the results. The address that the service tells is not followed: it gets the key."""
    path = f"{_path(batch_id)}/results"
    reply = yield Call(method="GET", path=path, headers=headers, download=to)
    accept(reply, failure=read_failure)


def fetch_start(batch_id: str, to: Path) -> Flow[None]:
    """Download the first results; all of them where the service gives no part."""
    return (yield from fetch(batch_id, to, headers={"range": f"bytes=0-{_START_BYTES - 1}"}))


def cancel(batch_id: str) -> Flow[RemoteBatch]:
    """Ask for an end; how the batch is now. One that is over already is simply that."""
    reply = yield Call(method="POST", path=f"{_path(batch_id)}/cancel", body=b"")
    if reply.status in (400, 409):
        return (yield from poll(batch_id))
    return _seen(read(reply, lines.read_batch, failure=read_failure))


def delete(batch_id: str) -> Flow[None]:
    """Delete a batch that has ended, and its results with it."""
    reply = yield Call(method="DELETE", path=_path(batch_id))
    if reply.status != 404:
        accept(reply, failure=read_failure)


def _seen(batch: RemoteBatch) -> RemoteBatch:
    """`batch` with its own id as the file of its results, which have no other."""
    return replace(batch, results=(batch.id,) if batch.results else ())


def _path(batch_id: str) -> str:
    return f"{_PATH}/{quote(batch_id, safe='')}"


def _page(cursor: str | None) -> str:
    after = "" if cursor is None else f"&after_id={quote(cursor, safe='')}"
    return f"{_PATH}?limit=1000{after}"


def headers(parameters: Json | None) -> Mapping[str, str]:
    """The API version: the newer one takes no sampling parameters."""
    return {"anthropic-version": api_version_for(parameters)}


_PACES: Mapping[Step, GatePace] = {
    "create": GatePace(most=100),
    "poll": GatePace(most=500),
    "download": GatePace(most=200),
    "delete": GatePace(most=200),
}
"""Shares of the 1,000 calls a minute that the smallest accounts have for all of them together."""

BATCHES = BatchApi(
    apis=frozenset(("anthropic.messages",)),
    limits=Limits(
        max_requests=100_000, max_bytes=256_000_000, overhead=_OVERHEAD, distinct_sizes=True
    ),
    window=timedelta(hours=24),
    retention=timedelta(days=29),
    source="platform.claude.com, batch processing and rate limits, checked 2026-11-20",
    framing=lines.FRAME,
    write_request=lines.write_request,
    read_line=lines.read_line,
    upload=None,
    find_upload=None,
    create=create,
    listed=listed,
    find=find,
    poll=poll,
    fetch=fetch,
    cancel=cancel,
    delete=delete,
    fetch_start=fetch_start,
    marks=False,
    found_by="its size and its time, confirmed by its results",
    paces=_PACES,
    rules=RULES,
)

ANTHROPIC = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com/v1",
    key_env="ANTHROPIC_API_KEY",
    token_env="ANTHROPIC_AUTH_TOKEN",
    apis=("anthropic.messages",),
    auth="x-api-key",
    headers=headers,
    schemas=schemas.ANTHROPIC,
    batch=BATCHES,
    tiers=Tiers(
        names=frozenset(("standard", "priority", "batch")),
        source="the official SDK 2.10, `service_tier` of an answer's usage, checked 2026-11-20",
    ),
)
"""Base URL and variables as in the official SDK 2.10, checked 2026-11-20: where both are set, the
key wins. It goes into `x-api-key`, which every version takes."""
