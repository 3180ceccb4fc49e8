"""Mistral: OpenAI's bodies and files, and batch jobs of its own."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import quote

from ..core.plan import Limits
from ..wire import mistral_batch as lines
from ..wire.batch import RemoteBatch
from ..wire.openai import read_failure
from ..wire.openai_batch import write_bare
from .bare_rules import MISTRAL_RULES
from .flow import Call, Flow, reaches_back, read
from .openai import BATCHES, OPENAI, UNSAID
from .provider import Submission, Tiers, Uploaded

T = TypeVar("T")

_PATH = "/batch/jobs"
_OVERHEAD = 64
"""Bytes that a line adds to its body: its custom_id and its braces."""
_OVER = (400, 409, 422)
"""Refusals to cancel what is over already."""
_PAGES, _PAGE = 100, 100
"""So many pages of a list are read at most, with so many entries each."""


def create(submission: Submission) -> Flow[RemoteBatch]:
    """Submit what was uploaded."""
    assert submission.file is not None
    body = lines.write_create(
        input_file=submission.file,
        api=submission.api,
        model=submission.model,
        intent=submission.intent,
    )
    reply = yield Call(method="POST", path=_PATH, body=body, once=True)
    return read(reply, lines.read_batch, failure=read_failure)


def listed(since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches made since. The list begins with the newest, and is read back so far."""
    seen = yield from _numbered(
        f"{_PATH}?order_by=-created", lines.read_batches, enough=reaches_back(since)
    )
    # While a page is read, a new batch may push an old one onto the next.
    return list({batch.id: batch for batch in seen}.values())


def find(submission: Submission, since: datetime) -> Flow[list[RemoteBatch]]:
    """All batches with our mark."""
    seen = yield from listed(since)
    return [batch for batch in seen if batch.intent == submission.intent]


def poll(batch_id: str) -> Flow[RemoteBatch]:
    """How the batch is."""
    reply = yield Call(method="GET", path=_path(batch_id))
    return read(reply, lines.read_batch, failure=read_failure)


def cancel(batch_id: str) -> Flow[RemoteBatch]:
    """Ask for an end; how the batch is now. One that is over already is simply that."""
    reply = yield Call(method="POST", path=f"{_path(batch_id)}/cancel", body=b"")
    if reply.status in _OVER:
        return (yield from poll(batch_id))
    return read(reply, lines.read_batch, failure=read_failure)


def list_uploads(prefix: str) -> Flow[list[Uploaded]]:
    """All batch files whose name begins so."""
    files = yield from _numbered("/files?purpose=batch", lines.read_files)
    return [Uploaded(*file) for file in dict.fromkeys(files) if file[1].startswith(prefix)]


def list_results() -> Flow[list[str]]:
    """The ids of all batch files: those of results are among them."""
    files = yield from _numbered("/files?purpose=batch", lines.read_files)
    return [id for id, _ in dict.fromkeys(files)]


def find_upload(name: str) -> Flow[list[str]]:
    """The ids of all batch files with this name."""
    found = yield from list_uploads(name)
    return [file.id for file in found if file.name == name]


def _path(batch_id: str) -> str:
    return f"{_PATH}/{quote(batch_id, safe='')}"


def _numbered(
    path: str,
    reader: Callable[[bytes], tuple[list[T], int | None]],
    *,
    enough: Callable[[list[T]], bool] = lambda page: False,
) -> Flow[list[T]]:
    """All that is listed, page by page, until one is `enough`. Here pages have numbers."""
    listed: list[T] = []
    for number in range(_PAGES):
        address = f"{path}&page={number}&page_size={_PAGE}"
        reply = yield Call(method="GET", path=address)
        page, total = read(reply, reader, failure=read_failure)
        listed += page
        is_last = len(page) < _PAGE if total is None else len(listed) >= total
        if not page or is_last or enough(page):
            break
    return listed


MISTRAL = replace(
    OPENAI,
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    key_env="MISTRAL_API_KEY",
    apis=("openai.chat", "openai.embeddings"),
    schemas=None,
    batch=replace(
        BATCHES,
        apis=frozenset(("openai.chat", "openai.embeddings")),
        limits=Limits(max_requests=100_000, max_bytes=512_000_000, overhead=_OVERHEAD),
        window=timedelta(hours=lines.TIMEOUT_HOURS),
        retention=timedelta(hours=24),
        source="docs.mistral.ai, known limitations, and the official SDK 3.7.0, checked 2026-11-20",
        write_request=write_bare,
        create=create,
        listed=listed,
        find=find,
        poll=poll,
        cancel=cancel,
        find_upload=find_upload,
        list_uploads=list_uploads,
        list_results=list_results,
        rules=MISTRAL_RULES,
    ),
    tiers=Tiers(
        names=frozenset(("standard", "batch")),
        source="docs.mistral.ai, batch inference, checked 2026-11-20",
    ),
    **UNSAID,
)
"""Of its own pages, one keeps results for a day and another for ever; one takes 100,000 rows a
batch, another a million in all. These are the smaller figures. Base URL and key variable as in the
SDK."""
