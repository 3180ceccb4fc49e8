"""Batches: created, looked at, listed, cancelled, deleted; and their results."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from ..batches.desk import Desk
from ..batches.ledger import AcceptedBatch, moment
from ..batches.life import Life, fate_of
from ..batches.running import Book
from ..batches.stored import Stored
from ..service.front import Operation
from ..service.http1 import Head, Reply
from ..service.ranges import ranged
from .asked import Quotas, read_asked
from .batch import DAY, Batch
from .cache import PromptCache
from .errors import JSON, refused, unknown
from .pages import page


class Batches:
    """Belongs to the service's thread."""

    def __init__(self, desk: Desk[Quotas], cache: PromptCache) -> None:
        self._desk = desk
        self._cache = cache
        self._book: Book[Batch] = Book(desk.now, unknown)
        self._created = 0

    async def create(self, operation: Operation) -> Reply:
        quotas, raw = self._desk.quotas, operation.body
        if len(raw) > quotas.max_bytes:
            raise refused(413, f"Request exceeds the maximum size of {quotas.max_bytes} bytes")
        rows = read_asked(raw, quotas)
        await self._admit(len(rows))
        stored = Stored.of(rows, self._desk.vault.path())
        batch = self._accepted(stored, hashlib.sha256(raw).hexdigest(), operation.head)
        self._book.add(batch)
        return self._told(batch, operation.head)

    async def poll(self, batch_id: str, head: Head) -> Reply:
        batch = await self._book.looked_at(batch_id)
        batch.archive(self._desk.now())
        return self._told(batch, head)

    async def list(self, head: Head) -> Reply:
        shown = await self._book.shown()
        address = _address(head)
        return json_reply(page(shown, head.query, lambda batch: batch.write(address)))

    async def cancel(self, batch_id: str, head: Head) -> Reply:
        batch = await self._book.known(batch_id)
        async with batch.lock:
            if batch.life.is_over:
                raise refused(400, f"Message batch {batch_id!r} has ended already.")
            if batch.cancelling_at is None:
                batch.cancelling_at = self._desk.now()
                batch.enter("cancelling", batch.cancelling_at)
        return self._told(batch, head)

    async def delete(self, batch_id: str) -> Reply:
        batch = await self._book.known(batch_id)
        if not batch.life.is_over:
            raise refused(400, f"Message batch {batch_id!r} has not ended; cancel it first.")
        batch.discard("deleted")
        self._book.remove(batch_id)
        return json_reply({"id": batch_id, "type": "message_batch_deleted"})

    async def download(self, batch_id: str, headers: Mapping[str, str]) -> Reply:
        batch = await self._book.known(batch_id)
        batch.archive(self._desk.now())
        results = batch.downloaded()
        if results is None:
            raise refused(404, f"Message batch {batch_id!r} has no available results.")
        about = {"content-type": "application/x-jsonl", "etag": f'"{batch.etag}"'}
        if self._desk.ranges:
            return ranged(results, headers, about)
        return Reply(status=200, body=results, headers=about)

    async def settle(self, *, unseen: bool = False) -> None:
        await self._book.settle(unseen=unseen)
        for batch in self._book.all:
            batch.archive(self._desk.now())

    def renew(self) -> None:
        self._book.renew()

    async def _admit(self, rows: int) -> None:
        most = self._desk.quotas.max_queued
        if most is None:
            return
        await self.settle()
        queued = sum(batch.size for batch in self._book.all if not batch.life.is_over)
        if queued + rows > most:
            raise refused(
                429, f"Number of queued batch requests would exceed your limit of {most}."
            )

    def _accepted(self, stored: Stored, sha: str, head: Head) -> Batch:
        self._created += 1
        number, now, desk = self._created, self._desk.now(), self._desk
        fate = fate_of(number, desk.fates)
        if fate.ends == "failed":
            raise ValueError("no batch of this service fails as a whole: have its rows fail")
        life = Life(since=now, expires=now + DAY, phases=fate.phases or desk.phases, fate=fate)
        name = hashlib.sha256(f"{desk.seed}/batch/{number}".encode()).hexdigest()[:24]
        accepted = AcceptedBatch(
            id=f"msgbatch_{name}",
            number=number,
            metadata=None,
            input_file=None,
            input_sha=sha,
            accepted_at=moment(now),
            stage=life.stage,
        )
        version = head.headers["anthropic-version"]
        return Batch(accepted, life, desk, given=stored, version=version, cache=self._cache)

    def _told(self, batch: Batch, head: Head) -> Reply:
        return json_reply(batch.write(_address(head)))


def json_reply(body: Any) -> Reply:
    return Reply(status=200, body=msgspec.json.encode(body), headers=JSON)


def _address(head: Head) -> str:
    """Where the client found us."""
    return f"http://{head.headers.get('host', 'localhost')}"
