"""A provider's batch API: its conversations held over a connection, each step by itself.

A step that may be repeated is, until it works or was tried often enough. The one that costs money,
`create`, is sent once: whatever leaves in doubt whether it arrived raises Ambiguous. Each kind of
call has a gate of its own.
"""

from asyncio import to_thread
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import file_digest
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from ..clock import Clock
from ..core.model import Failure, Spec
from ..core.retry import MAX_TRIES, backoff
from ..effects import Probe, unwatched
from ..errors import Ambiguous, TransportError
from ..providers.flow import Call, Flow, ReadFailure, Refused, Reply, Upload, is_foreign
from ..providers.provider import BatchApi, Provider, Step, Submission, Uploaded
from ..wire.apis import wire_of
from ..wire.batch import RemoteBatch
from .auth import Key, headers_for, redacted, renewable
from .executor import Hold
from .gates import Gate, gates
from .http import Http
from .limiter import retry_after

T = TypeVar("T")

Polled = RemoteBatch | Refused | TransportError
"""How a batch is, or why that cannot be said."""

_AGAIN = frozenset((408, 425, 429))
"""Refusals that may be over in a moment, beside those for the service's own trouble."""
_UNKNOWN_KEY = 401
_UNCLEAR = frozenset((408, 409))
"""Refusals that do not say whether a submission was taken."""
_LISTS_TRIED = 3
"""A list that fails so often in a row is left alone, and batches are looked at one by one."""
_LIST_AGAIN = timedelta(hours=1)
"""For so long."""
_NEVER_REACHED = timedelta(days=3650)
"""No batch was made so late: a list of such ends with its first page."""


class BatchExecutor:
    """Holds the conversations of `provider`'s batch API. Raises Refused and TransportError."""

    def __init__(
        self,
        provider: Provider,
        *,
        key: Key | None,
        spec: Spec,
        deadline: timedelta,
        clock: Clock,
        jitter: Callable[[], float],
        hold: Hold | None = None,
        probe: Probe = unwatched,
    ) -> None:
        """While there is a `hold`, no batch is uploaded or created, and TransportError says why."""
        assert provider.batch is not None
        assert provider.base_url is not None
        self.api: BatchApi = provider.batch
        self._failure: ReadFailure = wire_of(spec.api).read_failure
        self._key = key
        self._clock = clock
        self._jitter = jitter
        self._held_by = hold
        self._gates = gates(self.api.paces, clock=clock)
        self._ahead: timedelta | None = None
        """By so much the service's clock is ahead of ours; None: it has not told the time yet."""
        self._lists_failed = 0
        """So often in a row a list of batches told nothing."""
        self._not_listed_before = 0.0
        """A list that was given up is left alone until then."""
        self._http = Http(
            provider.base_url,
            headers=headers_for(provider, key, spec),
            deadline=deadline,
            hosts=provider.hosts,
            credentials=renewable(key),
            probe=probe,
        )

    async def close(self) -> None:
        await self._http.close()

    # --- what is held back, and what time it is there ---

    @property
    def waiting(self) -> str | None:
        """Which calls are held back, and for how long; None: none are."""
        return next((gate.waiting for gate in self._gates.values() if gate.waiting), None)

    def there(self, moment: datetime) -> datetime:
        """A moment of ours by the service's clock, as far as its replies tell it."""
        return moment if self._ahead is None else moment + self._ahead

    async def ask_time(self) -> None:
        """Have the service tell its time, by something that costs nothing.

        A refusal tells it as well, and is raised only if a submission would meet the same: whoever
        may not list batches may make some all the same.
        """
        if self._ahead is not None:
            return
        try:
            await self._hold("poll", self.api.listed(self._clock.now() + _NEVER_REACHED))
        except Refused as e:
            if e.status == _UNKNOWN_KEY or e.outcome == "billing":
                raise

    def _heed_time(self, reply: Reply) -> None:
        try:
            told = parsedate_to_datetime(reply.headers.get("date", ""))
        except (ValueError, OverflowError):
            return
        told = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
        self._ahead = told - self._clock.now()

    # --- steps ---

    async def upload(self, path: Path, *, name: str) -> str | None:
        """Send the requests ahead of the submission; their id, None where that is not how it goes.

        An upload that was made before, whose answer was lost, is taken instead of a second one.
        """
        if self.api.upload is None:
            return None
        self._check_hold()
        file = Upload(path=path, name=name)
        if self.api.digests:
            file = replace(file, sha256=await to_thread(_digest, path))
        return await self._hold("upload", self.api.upload(file))

    async def uploads(self, name: str) -> list[str]:
        """What was uploaded under this name."""
        found = self.api.find_upload
        return [] if found is None else await self._hold("delete", found(name))

    async def uploads_like(self, prefix: str) -> list[Uploaded]:
        """All that was uploaded under a name that begins so; nothing where it cannot be listed."""
        listed = self.api.list_uploads
        return [] if listed is None else await self._hold("delete", listed(prefix))

    async def made_since(self, moment: datetime) -> list[RemoteBatch]:
        """All batches of the account that were made since, as a list tells of them."""
        return await self._hold("poll", self.api.listed(moment))

    async def results_kept(self) -> list[str]:
        """The files of results that lie there; none where each is a part of its batch."""
        listed = self.api.list_results
        return [] if listed is None else await self._hold("delete", listed())

    async def fetch_start(self, file: str, to: Path) -> None:
        """Download the beginning of a file of results, or all of it where that is not possible."""
        start = self.api.fetch_start
        if start is None:
            await self.fetch(file, to)
        else:
            await self._hold("download", start(file, to))

    def creating(self) -> AbstractAsyncContextManager[None]:
        """Wait until a batch may be created; in the block, one `create` goes out without a wait.

        So that a submission is announced when it goes out, and not when it begins to wait.
        """
        self._check_hold()
        return self._gates["create"].passed()

    def _check_hold(self) -> None:
        if self._held_by is not None and self._held_by.why is not None:
            raise TransportError(self._held_by.why, sent=False)

    async def create(self, submission: Submission) -> RemoteBatch:
        """Submit. Raises Ambiguous where the batch may exist although we were not told."""
        # What else it asks on its way is no submission, and `creating` holds the only place.
        return await self._hold("poll", self.api.create(submission))

    async def find(self, submission: Submission, *, since: datetime) -> list[RemoteBatch]:
        """All batches that may be this submission, made since by the service's clock."""
        return await self._hold("poll", self.api.find(submission, since))

    async def poll(self, batch_id: str) -> RemoteBatch:
        return _about(batch_id, await self._hold("poll", self.api.poll(batch_id)))

    async def poll_all(
        self, ids: Collection[str], *, since: datetime, listed: bool
    ) -> dict[str, Polled]:
        """How these batches are, all made since by the service's clock: one by one, or `listed`, a
        hundred a call.

        A list may lag and leave out, so what it says to be over or does not say is asked for. While
        a list that fails is waited for, that is what is said of each batch.
        """
        seen: dict[str, Polled] = {}
        if listed:
            try:
                running = await self._running(since)
            except TransportError as e:
                return dict.fromkeys(ids, e)
            seen |= {batch.id: batch for batch in running if batch.id in ids}
        for batch_id in ids:
            if batch_id not in seen:
                try:
                    seen[batch_id] = await self.poll(batch_id)
                except (Refused, TransportError) as e:
                    seen[batch_id] = e
        return seen

    async def _running(self, since: datetime) -> list[RemoteBatch]:
        """The batches that are not over by the word of a list; none while lists are given up.

        A refusal that stays gives them up at once, trouble when it has lasted: until then it is
        waited for. Raises TransportError where it is.
        """
        if self._clock.monotonic() < self._not_listed_before:
            return []
        try:
            listed = await self._hold("poll", self.api.listed(since))
        except (Refused, TransportError) as e:
            self._lists_failed += 1
            if self._lists_failed < _LISTS_TRIED and _may_pass(e):
                raise TransportError(f"the list of batches: {e}", sent=True) from e
            self._not_listed_before = self._clock.monotonic() + _LIST_AGAIN.total_seconds()
            return []
        self._lists_failed = 0
        return [batch for batch in listed if batch.phase != "ended"]

    async def fetch(self, file: str, to: Path) -> None:
        """Download a file of results, going on where an earlier try broke off."""
        held = await self._hold("download", self.api.fetch(file, to))
        if held is not None:
            part = to.with_name(to.name + ".part")
            part.write_bytes(held)
            part.replace(to)

    async def cancel(self, batch_id: str) -> RemoteBatch:
        return _about(batch_id, await self._hold("poll", self.api.cancel(batch_id)))

    async def delete(self, file: str) -> None:
        await self._hold("delete", self.api.delete(file))

    # --- conversations ---

    async def _hold(self, step: Step, flow: Flow[T]) -> T:
        """Drive a conversation to its end."""
        gate = self._gates[step]
        call = next(flow)
        while True:
            if call.pause:
                await self._clock.sleep(call.pause.total_seconds())
            reply = await (self._sent_once(call) if call.once else self._sent(call, gate))
            try:
                call = flow.send(reply)
            except StopIteration as end:
                said: T = end.value
                return said
            except Refused as e:
                if call.once and reply.ok:
                    raise Ambiguous(f"the batch was taken, but {e}") from e
                raise

    async def _sent(self, call: Call, gate: Gate) -> Reply:
        """The reply to a call that may be repeated."""
        for tries in range(1, MAX_TRIES + 1):
            reply = None
            try:
                async with gate.passed():
                    reply = await self._reply(call, gate)
            except TransportError:
                if tries == MAX_TRIES:
                    raise
            else:
                if tries == MAX_TRIES or not self._passes(reply):
                    return reply
            await self._pause(tries, reply)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _sent_once(self, call: Call) -> Reply:
        """The reply to a call that must not arrive twice. Its gate was passed before."""
        for tries in range(1, MAX_TRIES + 1):
            try:
                reply = await self._reply(call, self._gates["create"])
            except TransportError as e:
                if e.sent:
                    raise Ambiguous(str(e)) from e
                if tries == MAX_TRIES:
                    raise
                await self._pause(tries, None)
                continue
            if reply.status >= 500 or reply.status in _UNCLEAR or is_foreign(reply):
                raise Ambiguous(f"the submission was answered with HTTP {reply.status}")
            return reply
        raise AssertionError("unreachable: the last try returns or raises")

    async def _reply(self, call: Call, gate: Gate) -> Reply:
        reply = await self._http.send(call)
        self._heed_time(reply)
        if reply.status == 429:
            gate.refused(self._asked(reply))
        else:
            gate.answered()
        if reply.ok:
            return reply
        body = redacted(reply.body, self._key)
        return Reply(status=reply.status, body=body, headers=reply.headers)

    def _passes(self, reply: Reply) -> bool:
        """Whether a refusal may be over in a moment."""
        if reply.status == 429:
            return self._failure(reply.status, reply.body)[0] == "rate_limited"
        return reply.status >= 500 or reply.status in _AGAIN

    async def _pause(self, tries: int, reply: Reply | None) -> None:
        asked = None if reply is None else self._asked(reply)
        wait = backoff(tries, asked=asked, jitter=self._jitter())
        await self._clock.sleep(wait.total_seconds())

    def _asked(self, reply: Reply) -> timedelta | None:
        """How long the service asks us to wait; a moment that it names is one of its own clock."""
        return retry_after(reply.headers, now=self.there(self._clock.now()))


def _may_pass(e: Refused | TransportError) -> bool:
    return isinstance(e, TransportError) or e.outcome in ("rate_limited", "server_error")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _about(batch_id: str, told: RemoteBatch) -> RemoteBatch:
    """`told`, if it is of the batch that was asked about. Raises Refused for any other."""
    if told.id == batch_id:
        return told
    said = f"asked about batch {batch_id!r}, the service tells of {told.id!r}"
    raise Refused("server_error", Failure(message=said), status=200)
