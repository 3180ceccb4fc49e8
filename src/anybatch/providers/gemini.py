"""Gemini's Developer API: addresses, limits and the conversations of its Batch API."""

from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from msgspec import structs

from ..core.model import Failure
from ..core.plan import Limits
from ..wire import gemini_batch as lines
from ..wire import gemini_files as files
from ..wire.batch import RemoteBatch
from ..wire.gemini import batch_path_of, read_failure
from . import schemas
from .flow import BEGUN_ANEW, Call, Flow, Refused, Reply, Upload, accept, paged, reaches_back, read
from .gemini_rules import RULES
from .provider import BatchApi, Provider, Submission, Tiers, Uploaded, Within

_UNWANTED = (400, 404, 410, 416)
"""Refusals of bytes, where the upload they are for has ended or has other bytes already."""
_BATCH = "batches/"
"""How the names of batches begin; all others are names of files."""
_FEW_BYTES = 1_000_000
"""A submission may have 20 MB. But its results come within the batch, twice, whenever it is looked
at; and there may be ten times as much of them."""
_OVERHEAD = 64
"""Bytes that a line adds to its body: its key and its braces."""


def upload(file: Upload) -> Flow[str]:
    """Announce the requests, then send them where the service wants them; the name they got.

    Bytes that are sent again after a lost answer are refused, and so are those behind a part that
    did arrive. Then what came of the first time is taken, or the upload begun anew.
    """
    sent = yield from _sent(file)
    for _ in range(BEGUN_ANEW):
        if sent.status in _UNWANTED:
            known = yield from find_upload(file.name)
            if known:
                return known[0]
            sent = yield from _sent(file)
    name = read(sent, files.read_file, failure=read_failure).name
    if name is None:
        raise Refused("server_error", Failure(message="the upload got no name"), status=sent.status)
    return name


def _sent(file: Upload) -> Flow[Reply]:
    """The reply to the bytes of an upload that was begun for them."""
    announced = files.RemoteFile(display_name=file.name, size=file.path.stat().st_size)
    reply = yield Call(
        method="POST",
        path=files.UPLOAD_PATH,
        before="/upload",
        body=files.write_start(announced),
        headers=files.start_headers(announced),
    )
    accept(reply, failure=read_failure)
    address = reply.headers.get(files.UPLOAD_ADDRESS)
    if address is None:
        raise Refused(
            "server_error",
            Failure(message="the service does not say where to upload to"),
            status=reply.status,
        )
    headers = files.part_headers(offset=0, last=True)
    return (yield Call(method="POST", path=address, upload=file, headers=headers))


def list_uploads(prefix: str) -> Flow[list[Uploaded]]:
    """All files whose name begins so, of those that we gave one."""
    kept = yield from paged(_files, files.read_files, failure=read_failure)
    return [
        Uploaded(file.name, file.display_name)
        for file in kept
        if file.name is not None
        and file.display_name is not None
        and file.display_name.startswith(prefix)
    ]


def find_upload(name: str) -> Flow[list[str]]:
    """The names of all files that we called so."""
    found = yield from list_uploads(name)
    return [file.id for file in found if file.name == name]


def create(submission: Submission) -> Flow[RemoteBatch]:
    """Submit what was uploaded, or the requests themselves."""
    assert submission.model is not None
    path = batch_path_of(submission.api, submission.model)
    if submission.file is None:
        within = Upload(path=submission.requests, name=submission.intent)
        reply = yield Call(method="POST", path=path, upload=within, once=True)
        return _seen(read(reply, lines.read_batch, failure=read_failure))
    body = lines.write_create(
        input_file=submission.file, api=submission.api, intent=submission.intent
    )
    reply = yield Call(method="POST", path=path, body=body, once=True)
    return _seen(read(reply, lines.read_batch, failure=read_failure))


def listed(since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches made since. The list begins with the newest, and is read back so far."""
    return (
        yield from paged(
            _batches, lines.read_batches, failure=read_failure, enough=reaches_back(since)
        )
    )


def find(submission: Submission, since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches that bear our mark as their name."""
    seen = yield from listed(since)
    return [batch for batch in seen if batch.intent == submission.intent]


def poll(name: str) -> Flow[RemoteBatch]:
    """How the batch is."""
    reply = yield Call(method="GET", path=f"/{quote(name)}")
    return _seen(read(reply, lines.read_batch, failure=read_failure))


def _seen(batch: RemoteBatch) -> RemoteBatch:
    """`batch` with itself as a file of results, where it holds them, and without those."""
    results = (*batch.results, batch.id) if batch.inline else batch.results
    return structs.replace(batch, results=results, inline=b"")


def fetch(name: str, to: Path) -> Flow[bytes | None]:
    """Download a file of results; those that a batch holds itself."""
    if name.startswith(_BATCH):
        reply = yield Call(method="GET", path=f"/{quote(name)}")
        return read(reply, _results_within, failure=read_failure)
    reply = yield Call(method="GET", path=f"/{quote(name)}:download?alt=media", download=to)
    accept(reply, failure=read_failure)
    return None


def _results_within(body: bytes) -> bytes:
    inline = lines.read_batch(body).inline
    return lines.inline_lines(inline) if inline else b""


def cancel(name: str) -> Flow[RemoteBatch]:
    """Ask for an end; how the batch is now. One that is over already is simply that."""
    reply = yield Call(method="POST", path=f"/{quote(name)}:cancel", body=b"")
    if reply.status not in (400, 404):
        accept(reply, failure=read_failure)
    return (yield from poll(name))


def delete(name: str) -> Flow[None]:
    """Delete a file, or a batch that holds its results.

    A file that the service made itself may not be ours to delete: it expires.
    """
    reply = yield Call(method="DELETE", path=f"/{quote(name)}")
    if reply.status not in (403, 404):
        accept(reply, failure=read_failure)


def _files(cursor: str | None) -> str:
    return "/files?pageSize=100" + _token(cursor)


def _batches(cursor: str | None) -> str:
    return "/batches?pageSize=100" + _token(cursor)


def _token(cursor: str | None) -> str:
    return "" if cursor is None else f"&pageToken={quote(cursor, safe='')}"


BATCHES = BatchApi(
    apis=frozenset(("gemini.generate", "gemini.embed")),
    limits=Limits(max_requests=200_000, max_bytes=2_000_000_000, overhead=_OVERHEAD),
    window=timedelta(hours=48),
    retention=timedelta(hours=48),
    source="ai.google.dev, batch API and files, checked 2026-11-20",
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
    most_waiting=100,
    rules=RULES,
    within=Within(
        max_bytes=_FEW_BYTES,
        framing=lines.inline_frame,
        write_request=lines.write_inline,
    ),
)

GEMINI = Provider(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    key_env="GEMINI_API_KEY",
    apis=("gemini.generate", "gemini.embed"),
    auth="x-goog-api-key",
    schemas=schemas.GEMINI,
    batch=BATCHES,
    tiers=Tiers(
        names=frozenset(("standard", "flex", "priority", "batch")),
        field="serviceTier",
        source="ai.google.dev, flex and batch, and the official SDK 3.3, checked 2026-11-20",
    ),
)
"""Base URL and key variable as in the official SDK 3.3, checked 2026-11-20; `v1beta` is the version
that the guides document files and batches for."""
