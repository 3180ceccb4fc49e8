"""Jobs: created from an object, looked at, listed, cancelled, deleted."""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

import msgspec

from ...core.model import Api, Failure
from ...wire import vertex_batch as wire
from ...wire.gcs import read_uri
from ...wire.reading import Malformed, fields
from ..batches.ledger import AcceptedBatch, moment
from ..batches.life import Life, fate_of
from ..batches.running import Book
from ..batches.stored import Stored, lines
from ..gemini.errors import JSON, exhausted, json_reply, refused, unknown
from ..gemini.pages import page
from ..service.front import Operation
from ..service.http1 import Head, Reply
from .desk import Desk
from .job import Given, Job
from .objects import Objects, StoredObject

WINDOW: Final = 96 * 3_600
"""In seconds: what has not ended by then has expired."""
PROJECT: Final = "projects/123456789012"
"""As the service calls it, by its number."""
TERM: Final = re.compile(r'(\w+(?:\.[\w-]+)?)\s*(>=|<=|=|>|<)\s*"?([^"]*)"?')

Wanted = Callable[[Job], bool]


class Jobs:
    """Belongs to the service's thread."""

    def __init__(self, desk: Desk, objects: Objects) -> None:
        self._desk = desk
        self._objects = objects
        self._book: Book[Job] = Book(desk.now, unknown)
        self._created = 0

    async def create(self, location: str, operation: Operation) -> Reply:
        try:
            asked = wire.read_create(operation.body)
        except Malformed as e:
            raise refused(400, f"Invalid JSON payload received. {e}") from None
        await self._admit()
        job = self._accepted(location, asked)
        self._book.add(job)
        return _told(job)

    async def poll(self, name: str) -> Reply:
        return _told(await self._book.looked_at(name))

    async def list(self, location: str, head: Head) -> Reply:
        wanted = _wanted(head.query.get("filter", ""))
        shown = await self._book.shown()
        there = [job for job in shown if job.location == location and wanted(job)]
        chosen, token = page(there, head.query, usual=50, most=100)
        written = [job.write() for job in chosen]
        body = wire.write_batches(written, next_page=token.get("nextPageToken"))
        return Reply(status=200, body=body, headers=JSON)

    async def cancel(self, name: str) -> Reply:
        job = await self._book.known(name)
        async with job.lock:
            if job.life.is_over:
                raise refused(400, f"{name!r} is over already.", word="FAILED_PRECONDITION")
            if job.life.stage != "cancelling":
                job.enter("cancelling", self._desk.now())
        return json_reply({})

    async def delete(self, name: str) -> Reply:
        job = await self._book.known(name)
        if not job.life.is_over:
            raise refused(400, f"{name!r} is not over yet.", word="FAILED_PRECONDITION")
        self._book.remove(name)
        number = name.rpartition("/")[2]
        return json_reply({"name": f"{PROJECT}/operations/{number}", "done": True})

    async def settle(self, *, unseen: bool = False) -> None:
        await self._book.settle(unseen=unseen)

    async def look_away(self) -> None:
        await self._book.look_away()

    def renew(self) -> None:
        self._book.renew()

    async def _admit(self) -> None:
        """Raises Refused for what is too much at once."""
        most = self._desk.quotas.max_batches
        if most is None:
            return
        await self.settle()
        if sum(not job.life.is_over for job in self._book.all) >= most:
            raise exhausted("Quota exceeded for concurrent batch prediction jobs.")

    def _accepted(self, location: str, asked: wire.Create) -> Job:
        self._created += 1
        number, now, desk = self._created, self._desk.now(), self._desk
        fate = fate_of(number, desk.fates)
        digest = hashlib.sha256(f"{desk.seed}/batch/{number}".encode()).hexdigest()
        name = f"{PROJECT}/locations/{location}/batchPredictionJobs/{int(digest[:15], 16)}"
        given = self._given(asked)
        accepted = AcceptedBatch(
            id=name,
            number=number,
            metadata={"displayName": asked.intent or "", **asked.labels},
            input_file=asked.input_file,
            input_sha=given.sha,
            accepted_at=moment(now),
            stage="validating",
        )
        phases = fate.phases or desk.phases
        life = Life(since=now, expires=now + WINDOW, phases=phases, fate=fate)
        return Job(accepted, life, desk, self._objects, asked=asked, given=given)

    def _given(self, asked: wire.Create) -> Given:
        """The rows of a job, moved to where they stay. What is wrong is found when it starts."""
        source = read_uri(asked.input_file)
        stored = None if source is None else self._objects.find(source)
        target = read_uri(asked.output_prefix + "/")
        if stored is None or target is None or not self._objects.is_here(target.bucket):
            return self._unusable(stored, f"Cannot use {asked.input_file}.", "NOT_FOUND")
        try:
            rows = Stored.of(_rows(stored), self._desk.vault.path())
        except Malformed as e:
            return self._unusable(stored, f"Failed to import data. {e}", "INVALID_ARGUMENT")
        if len(rows) > self._desk.quotas.max_rows:
            rows.discard()
            return self._unusable(stored, "The input has too many rows.", "INVALID_ARGUMENT")
        return Given(rows=rows, api=_api_of(rows), sha=stored.sha)

    def _unusable(self, stored: StoredObject | None, message: str, code: str) -> Given:
        none = Stored.of((), self._desk.vault.path())
        why = Failure(message=message, code=code)
        sha = None if stored is None else stored.sha
        return Given(rows=none, api="gemini.generate", sha=sha, problem=why)


def _rows(stored: StoredObject) -> Iterator[tuple[str, bytes]]:
    """The rows in an object. Raises Malformed."""
    for _, line in lines(stored.content):
        row = wire.read_request(line)
        yield row.custom_id or "", row.body


def _api_of(rows: Stored) -> Api:
    """What is asked for, by the first row."""
    for _, body in rows.rows(range(min(1, len(rows)))):
        return "gemini.embed" if "content" in fields(body) else "gemini.generate"
    return "gemini.generate"


def _told(job: Job) -> Reply:
    return Reply(status=200, body=job.write(), headers=JSON)


# --- filters ------------------------------------------------------------------------------------


def _wanted(text: str) -> Wanted:
    """Whether a job is what a filter asks for: as far as clients of ours ask. Raises Refused."""
    terms = [_term(term) for term in text.split(" AND ") if term.strip()]
    return lambda job: all(term(job) for term in terms)


def _term(text: str) -> Wanted:
    found = TERM.fullmatch(text.strip())
    if found is None:
        raise refused(400, f"Invalid filter: {text!r}")
    name, relation, value = found.groups()
    key = name.replace("_", "").lower()
    if key == "createtime":
        return _made(relation, value)
    if relation != "=":
        raise refused(400, f"Invalid filter: {name} has no {relation!r}")
    if key == "displayname":
        return lambda job: job.asked.intent == value
    if key == "state":
        return lambda job: msgspec.json.decode(job.write())["state"] == value
    if key.startswith("labels."):
        return lambda job: job.asked.labels.get(name.partition(".")[2]) == value
    raise refused(400, f"Invalid filter: there is no {name!r}")


def _made(relation: str, value: str) -> Wanted:
    try:
        at = datetime.fromisoformat(value).timestamp()
    except ValueError:
        raise refused(400, f"Invalid filter: {value!r} is no time") from None
    match relation:
        case ">=":
            return lambda job: job.created_at >= at
        case "<=":
            return lambda job: job.created_at <= at
        case ">":
            return lambda job: job.created_at > at
        case "<":
            return lambda job: job.created_at < at
        case _:
            return lambda job: job.created_at == at
