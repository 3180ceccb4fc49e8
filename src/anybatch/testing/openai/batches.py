"""Batches: created, looked at, listed, cancelled; and what is due is done on each look."""

import hashlib
from collections.abc import Mapping
from typing import Final

from ..batches.ledger import AcceptedBatch, moment
from ..batches.life import Life, fate_of
from ..batches.registry import Registry
from ..service.faults import retry_after
from ..service.http1 import Reply
from .asked import Asked, read_asked
from .batch import Batch
from .desk import Desk
from .errors import Refused, json_reply
from .files import DAY, Files
from .pages import page

HOUR: Final = 3_600


class Batches:
    """Belongs to the service's thread."""

    def __init__(self, desk: Desk, files: Files) -> None:
        self._desk = desk
        self._files = files
        self._registry: Registry[Batch] = Registry(desk.now)

    async def create(self, raw: bytes) -> Reply:
        asked = read_asked(raw)
        await self._admit()
        batch = self._accepted(asked)
        self._registry.add(batch)
        return json_reply(batch.write())

    async def poll(self, batch_id: str) -> Reply:
        batch = self._known(batch_id)
        await self._look(batch)
        batch.looks += 1
        if batch.looks in batch.fate.lost:
            raise _unknown(batch_id)
        return json_reply(batch.write(status=batch.word))

    async def list(self, query: Mapping[str, str]) -> Reply:
        shown = []
        await self._registry.look(*self._registry.all)
        for batch in reversed(self._registry.all):
            batch.lists += 1
            if batch.lists > batch.fate.unlisted:
                shown.append(batch)
        return json_reply(page(shown, query, Batch.write, usual=20, most=100))

    async def cancel(self, batch_id: str) -> Reply:
        batch = self._known(batch_id)
        await self._look(batch)
        async with batch.lock:
            stage = batch.life.stage
            if stage in ("completed", "failed", "expired"):
                message = f"Cannot cancel a batch with status {stage!r}."
                raise Refused(409, message, headers={"x-should-retry": "false"})
            if stage not in ("cancelling", "cancelled"):
                batch.enter("cancelling", self._desk.now())
        return json_reply(batch.write())

    async def settle(self, *, unseen: bool = False) -> None:
        await self._registry.settle(unseen=unseen)
        self._files.expire()

    async def look_away(self) -> None:
        await self._registry.look_away()
        self._files.expire()

    def renew(self) -> None:
        self._registry.renew()

    async def _look(self, batch: Batch) -> None:
        if self._desk.quotas.enqueued_tokens is not None:
            # Those that came first are first to take of the allowance.
            await self._registry.settle(before=batch)
        await self._registry.look(batch)

    async def _admit(self) -> None:
        quotas = self._desk.quotas
        if quotas.max_batches is not None:
            await self.settle()
            there = sum(not batch.life.is_over for batch in self._registry.all)
            if there >= quotas.max_batches:
                raise _too_many(f"Too many batches at once. Limit: {quotas.max_batches}.", 60)
        if quotas.creations_per_hour is not None:
            since = self._desk.now() - HOUR
            recent = [one.created_at for one in self._registry.all if one.created_at > since]
            if len(recent) >= quotas.creations_per_hour:
                limit = f"Too many batches created. Limit: {quotas.creations_per_hour} per hour."
                raise _too_many(limit, recent[0] - since)

    def _accepted(self, asked: Asked) -> Batch:
        number, now = len(self._registry.all) + 1, self._desk.now()
        fate = fate_of(number, self._desk.fates)
        name = hashlib.sha256(f"{self._desk.seed}/batch/{number}".encode()).hexdigest()[:32]
        phases = fate.phases or self._desk.phases
        life = Life(since=now, expires=now + DAY, phases=phases, fate=fate)
        file = self._files.find(asked.input_file_id)
        accepted = AcceptedBatch(
            id=f"batch_{name}",
            number=number,
            metadata=asked.metadata,
            input_file=asked.input_file_id,
            input_sha=None if file is None else file.sha,
            accepted_at=moment(now),
            stage=life.stage,
        )
        return Batch(accepted, asked, life, self._desk, self._files, self._rivals)

    def _rivals(self, batch: Batch, at: float) -> int:
        """How many tokens others have enqueued for the same model."""
        return sum(
            other.tokens
            for other in self._registry.all
            if other is not batch and other.model == batch.model and _is_enqueued(other, at)
        )

    def _known(self, batch_id: str) -> Batch:
        found = self._registry.find(batch_id)
        if found is None:
            raise _unknown(batch_id)
        return found


def _is_enqueued(batch: Batch, at: float) -> bool:
    """Whether it holds tokens at that time: validated, and not over by then."""
    is_over = batch.life.is_over and batch.life.since <= at
    return "in_progress" in batch.life.entered and not is_over


def _unknown(batch_id: str) -> Refused:
    return Refused(404, f"No batch found with id {batch_id!r}.", param="id")


def _too_many(message: str, seconds: float) -> Refused:
    return Refused(429, message, code="rate_limit_exceeded", headers=retry_after(seconds))
