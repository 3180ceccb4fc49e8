"""Batches: created from a file or from rows, looked at, listed, cancelled, deleted."""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Final, NamedTuple

import msgspec

from ...core.model import Failure
from ...wire import gemini_batch as wire
from ...wire.gemini import read_path
from ...wire.reading import Malformed, RequestLine
from ..batches.ledger import AcceptedBatch, moment
from ..batches.life import Life, fate_of
from ..batches.running import Book
from ..batches.stored import Stored, lines
from ..endpoint.call import Call
from ..service.front import Operation, Refused
from ..service.http1 import Extent, Head, Reply
from .batch import Asked, Batch
from .calls import read_call
from .desk import Desk
from .errors import JSON, exhausted, json_reply, refused, unknown
from .files import Files
from .pages import page

WINDOW: Final = 48 * 3_600
"""In seconds: what has not ended by then has expired."""


class Given(NamedTuple):
    """What a batch is made of."""

    rows: Stored
    sha: str
    """Of the input, in hex."""
    problem: Failure | None = None
    """Why it is not readable."""


class Batches:
    """Belongs to the service's thread."""

    def __init__(self, desk: Desk, files: Files) -> None:
        self._desk = desk
        self._files = files
        self._book: Book[Batch] = Book(desk.now, unknown)
        self._created = 0

    async def create(self, operation: Operation) -> Reply:
        raw, most = operation.body, self._desk.quotas.max_inline_bytes
        if len(raw) > most:
            raise refused(400, f"Request payload size exceeds the limit: {most} bytes.")
        try:
            create = wire.read_create(raw)
        except Malformed as e:
            raise refused(400, f"Invalid JSON payload received. {e}") from None
        asked = _asked(operation.path, create)
        given = self._given(asked, create.requests)
        try:
            tokens = self._tokens(asked, given.rows)
            await self._admit(asked.model, tokens)
        except Refused:
            given.rows.discard()
            raise
        batch = self._accepted(asked, given, tokens)
        self._book.add(batch)
        return _told(batch)

    async def poll(self, name: str) -> Reply:
        return _told(await self._book.looked_at(name))

    async def list(self, head: Head) -> Reply:
        shown = await self._book.shown()
        chosen, token = page(shown, head.query, usual=20, most=1_000)
        operations = [msgspec.Raw(batch.write(listed=True)) for batch in chosen]
        return json_reply({"operations": operations, **token} if operations else {})

    async def cancel(self, name: str) -> Reply:
        batch = await self._book.known(name)
        async with batch.lock:
            if batch.life.is_over:
                word = "FAILED_PRECONDITION"
                raise refused(400, f"{name!r} is over already.", word=word)
            if batch.life.stage != "cancelling":
                batch.enter("cancelling", self._desk.now())
        return json_reply({})

    async def delete(self, name: str) -> Reply:
        await self._book.known(name)
        self._book.remove(name)
        return json_reply({})

    async def settle(self, *, unseen: bool = False) -> None:
        await self._book.settle(unseen=unseen)
        self._files.expire()

    async def look_away(self) -> None:
        await self._book.look_away()
        self._files.expire()

    def renew(self) -> None:
        self._book.renew()

    def _given(self, asked: Asked, requests: tuple[RequestLine, ...]) -> Given:
        """The rows of a batch, moved to where they stay. Raises Refused."""
        path = self._desk.vault.path()
        if asked.input_file is None:
            named = [(row.custom_id or "", row.body) for row in requests]
            digest = hashlib.sha256(msgspec.json.encode(named)).hexdigest()
            return Given(Stored.of(named, path), digest)
        file = self._files.find(asked.input_file)
        if file is None:
            raise unknown(asked.input_file)
        try:
            return Given(Stored.of(_lines(file.content), path), file.sha)
        except Malformed as e:
            why = Failure(message=f"The input file is not readable: {e}", code="INVALID_ARGUMENT")
            return Given(Stored.of((), path), file.sha, why)

    def _tokens(self, asked: Asked, rows: Stored) -> int:
        """Of all prompts, where that matters."""
        if self._desk.quotas.enqueued_tokens is None:
            return 0
        read = partial(read_call, asked.api, asked.model, number=0, attempt=0, sha="")
        calls = (read(body) for _, body in rows.rows(range(len(rows))))
        return sum(call.tokens_in for call in calls if isinstance(call, Call))

    async def _admit(self, model: str, tokens: int) -> None:
        """Raises Refused for what is too much at once."""
        quotas = self._desk.quotas
        await self.settle()
        there = [batch for batch in self._book.all if not batch.life.is_over]
        if quotas.max_batches is not None and len(there) >= quotas.max_batches:
            raise exhausted("Resource has been exhausted (e.g. check quota).")
        if quotas.enqueued_tokens is None:
            return
        enqueued = sum(batch.tokens for batch in there if batch.asked.model == model)
        if enqueued + tokens > quotas.enqueued_tokens:
            raise exhausted("You exceeded your current quota: enqueued batch tokens.")

    def _accepted(self, asked: Asked, given: Given, tokens: int) -> Batch:
        self._created += 1
        number, now, desk = self._created, self._desk.now(), self._desk
        fate = fate_of(number, desk.fates)
        name = hashlib.sha256(f"{desk.seed}/batch/{number}".encode()).hexdigest()[:24]
        accepted = AcceptedBatch(
            id=f"batches/{name}",
            number=number,
            metadata=None if asked.intent is None else {"displayName": asked.intent},
            input_file=asked.input_file,
            input_sha=given.sha,
            accepted_at=moment(now),
            stage="validating",
        )
        phases = fate.phases or desk.phases
        life = Life(since=now, expires=now + WINDOW, phases=phases, fate=fate)
        return Batch(
            accepted,
            life,
            desk,
            self._files,
            asked=asked,
            rows=given.rows,
            problem=given.problem,
            tokens=tokens,
        )


def _asked(path: str, create: wire.Create) -> Asked:
    named = read_path(path)
    assert named is not None
    api, model = named
    return Asked(api=api, model=model, intent=create.intent, input_file=create.input_file)


def _lines(content: Extent) -> Iterator[tuple[str, bytes]]:
    """The rows in a file. Raises Malformed."""
    for _, line in lines(content):
        row = wire.read_request(line)
        yield row.custom_id or "", row.body


def _told(batch: Batch) -> Reply:
    return Reply(status=200, body=batch.write(), headers=JSON)
