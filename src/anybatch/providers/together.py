"""Together: OpenAI's bodies, with files and batches of its own.

An upload is announced to the service, sent to a storage of somebody else's, and then handed over.
A batch is known by the file it was made of.
"""

from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from ..core.model import Failure
from ..core.plan import Limits
from ..wire import together_batch as lines
from ..wire.batch import RemoteBatch
from ..wire.openai import read_failure
from ..wire.openai_batch import write_bare
from .bare_rules import TOGETHER_RULES
from .flow import SLACK, Call, Flow, Refused, Reply, Upload, accept, read
from .openai import BATCHES, OPENAI, UNSAID
from .provider import OPENAI_APIS, Submission, Tiers, Uploaded

_OVERHEAD = 64
"""Bytes that a line adds to its body: its custom_id and its braces."""
_OVER = (400, 409, 422)
"""Refusals to cancel what is over already."""


def upload(file: Upload) -> Flow[str]:
    """Announce the requests, send them where the service says, and hand them over; their id.

    The service knows a content by its checksum, and says so of one that it has already.
    """
    form = lines.write_announcement(file.name, file.sha256)
    reply = yield Call(method="POST", path="/files", form=form)
    if reply.status == 409 and (known := lines.read_known(reply.body)) is not None:
        return known
    address, file_id = _told(reply)
    stored = yield Call(method="PUT", path=address, upload=file, keyless=True)
    if not stored.ok:
        # What the storage says may hold the address, which is a key by itself.
        why = Failure(message=f"the storage of the service answered with HTTP {stored.status}")
        raise Refused("server_error", why, status=stored.status)
    accept((yield Call(method="POST", path=f"{_file(file_id)}/preprocess")), failure=read_failure)
    return file_id


def _told(reply: Reply) -> tuple[str, str]:
    """Where the bytes of an announced upload go, and what they become."""
    address, file_id = reply.headers.get(lines.ADDRESS), reply.headers.get(lines.FILE_ID)
    if reply.status != 302:
        accept(reply, failure=read_failure)
    if not address or not file_id:
        why = Failure(message="the service does not say where to upload to")
        raise Refused("server_error", why, status=reply.status)
    return address, file_id


def list_uploads(prefix: str) -> Flow[list[Uploaded]]:
    """All files whose name begins so. One that is empty was announced and never sent."""
    reply = yield Call(method="GET", path="/files")
    files = read(reply, lines.read_files, failure=read_failure)
    return [Uploaded(id, name) for id, name, size in files if size and name.startswith(prefix)]


def list_results() -> Flow[list[str]]:
    """The ids of all files: those of results are among them."""
    reply = yield Call(method="GET", path="/files")
    return [id for id, _, _ in read(reply, lines.read_files, failure=read_failure)]


def find_upload(name: str) -> Flow[list[str]]:
    """The ids of all files with this name."""
    found = yield from list_uploads(name)
    return [file.id for file in found if file.name == name]


def create(submission: Submission) -> Flow[RemoteBatch]:
    """Submit what was uploaded."""
    assert submission.file is not None
    body = lines.write_create(input_file=submission.file, api=submission.api)
    reply = yield Call(method="POST", path="/batches", body=body, once=True)
    return read(reply, lines.read_created, failure=read_failure)


def listed(since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches made since. The list has one page, in whatever order."""
    reply = yield Call(method="GET", path="/batches")
    seen = read(reply, lines.read_batches, failure=read_failure)
    return [
        batch for batch in seen if batch.created_at is None or batch.created_at >= since - SLACK
    ]


def find(submission: Submission, since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches that were made of our upload: no other one is made of it."""
    seen = yield from listed(since)
    return [batch for batch in seen if batch.input_file == submission.file]


def poll(batch_id: str) -> Flow[RemoteBatch]:
    """How the batch is."""
    reply = yield Call(method="GET", path=_batch(batch_id))
    return read(reply, lines.read_batch, failure=read_failure)


def cancel(batch_id: str) -> Flow[RemoteBatch]:
    """Ask for an end; how the batch is now. One that is over already is simply that."""
    reply = yield Call(method="POST", path=f"{_batch(batch_id)}/cancel", body=b"")
    if reply.status in _OVER:
        return (yield from poll(batch_id))
    return read(reply, lines.read_batch, failure=read_failure)


def _batch(batch_id: str) -> str:
    return f"/batches/{quote(batch_id, safe='')}"


def _file(file_id: str) -> str:
    return f"/files/{quote(file_id, safe='')}"


TOGETHER = replace(
    OPENAI,
    name="together",
    base_url="https://api.together.ai/v1",
    key_env="TOGETHER_API_KEY",
    apis=OPENAI_APIS,
    schemas=None,
    batch=replace(
        BATCHES,
        apis=frozenset(("openai.chat",)),
        limits=Limits(max_requests=50_000, max_bytes=100_000_000, overhead=_OVERHEAD),
        retention=None,
        source="docs.together.ai, batch inference, and the official SDK 3.1.1, checked 2026-11-20",
        write_request=write_bare,
        upload=upload,
        find_upload=find_upload,
        list_uploads=list_uploads,
        list_results=list_results,
        digests=True,
        create=create,
        listed=listed,
        find=find,
        found_by="the upload it was made of",
        poll=poll,
        cancel=cancel,
        rules=TOGETHER_RULES,
    ),
    tiers=Tiers(
        names=frozenset(("standard", "batch")),
        source="docs.together.ai, batch inference, checked 2026-11-20",
    ),
    **UNSAID,
)
"""Base URL and key variable as in the SDK. Nothing is said of how long it keeps files."""
