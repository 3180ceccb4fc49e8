"""A provider's batch API: its conversations held over a connection, each step by itself.

A step that may be repeated is, until it works or was tried often enough. The one that costs money,
`create`, is sent once: whatever leaves in doubt whether it arrived raises Ambiguous.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from ..clock import Clock
from ..core.model import Spec
from ..core.retry import MAX_TRIES, backoff
from ..effects import Probe, unwatched
from ..errors import Ambiguous, TransportError
from ..providers.flow import Call, Flow, ReadFailure, Refused, Reply, Upload
from ..providers.provider import BatchApi, Provider, Submission, Uploaded
from ..wire.apis import wire_of
from ..wire.batch import RemoteBatch
from .auth import headers_for, redacted
from .http import Http
from .limiter import retry_after

T = TypeVar("T")

Polled = RemoteBatch | Refused | TransportError
"""How a batch is, or why that cannot be said."""

_AGAIN = frozenset((408, 425, 429))
"""Refusals that may be over in a moment, beside those for the service's own trouble."""
_UNCLEAR = frozenset((408, 409))
"""Refusals that do not say whether a submission was taken."""


class BatchExecutor:
    """Holds the conversations of `provider`'s batch API. Raises Refused and TransportError."""

    def __init__(
        self,
        provider: Provider,
        *,
        key: str | None,
        spec: Spec,
        deadline: timedelta,
        clock: Clock,
        jitter: Callable[[], float],
        probe: Probe = unwatched,
    ) -> None:
        assert provider.batch is not None
        assert provider.base_url is not None
        self.api: BatchApi = provider.batch
        self._failure: ReadFailure = wire_of(spec.api).read_failure
        self._key = key
        self._clock = clock
        self._jitter = jitter
        self._http = Http(
            provider.base_url,
            headers=headers_for(provider, key, spec.parameters),
            deadline=deadline,
            probe=probe,
        )

    async def close(self) -> None:
        await self._http.close()

    async def upload(self, path: Path, *, name: str) -> str | None:
        """Send the requests ahead of the submission; their id, None where that is not how it goes.

        An upload that was made before, whose answer was lost, is taken instead of a second one.
        """
        if self.api.upload is None:
            return None
        return await self._hold(self.api.upload(Upload(path=path, name=name)))

    async def uploads(self, name: str) -> list[str]:
        """What was uploaded under this name."""
        return [] if self.api.find_upload is None else await self._hold(self.api.find_upload(name))

    async def uploads_like(self, prefix: str) -> list[Uploaded]:
        """All that was uploaded under a name that begins so; nothing where it cannot be listed."""
        listed = self.api.list_uploads
        return [] if listed is None else await self._hold(listed(prefix))

    async def create(self, submission: Submission) -> RemoteBatch:
        """Submit. Raises Ambiguous where the batch may exist although we were not told."""
        return await self._hold(self.api.create(submission))

    async def find(self, submission: Submission, *, since: datetime) -> list[RemoteBatch]:
        """All batches that may be this submission."""
        return await self._hold(self.api.find(submission, since))

    async def poll(self, batch_id: str) -> RemoteBatch:
        return await self._hold(self.api.poll(batch_id))

    async def poll_all(
        self, ids: Collection[str], *, since: datetime, listed: bool
    ) -> dict[str, Polled]:
        """How these batches are, all made since: one by one, or `listed`, a hundred a call.

        A list may lag and leave out, so what it says to be over or does not say is asked for.
        """
        seen: dict[str, Polled] = {}
        if listed:
            for batch in await self._hold(self.api.listed(since)):
                if batch.id in ids and batch.phase != "ended":
                    seen[batch.id] = batch
        for batch_id in ids:
            if batch_id not in seen:
                try:
                    seen[batch_id] = await self.poll(batch_id)
                except (Refused, TransportError) as e:
                    seen[batch_id] = e
        return seen

    async def fetch(self, file: str, to: Path) -> None:
        """Download a file of results, going on where an earlier try broke off."""
        await self._hold(self.api.fetch(file, to))

    async def cancel(self, batch_id: str) -> RemoteBatch:
        return await self._hold(self.api.cancel(batch_id))

    async def delete(self, file: str) -> None:
        await self._hold(self.api.delete(file))

    async def _hold(self, flow: Flow[T]) -> T:
        """Drive a conversation to its end."""
        call = next(flow)
        while True:
            reply = await (self._sent_once(call) if call.once else self._sent(call))
            try:
                call = flow.send(reply)
            except StopIteration as end:
                said: T = end.value
                return said
            except Refused as e:
                if call.once and reply.ok:
                    raise Ambiguous(f"the batch was taken, but {e}") from e
                raise

    async def _sent(self, call: Call) -> Reply:
        """The reply to a call that may be repeated."""
        for tries in range(1, MAX_TRIES + 1):
            reply = None
            try:
                reply = await self._reply(call)
            except TransportError:
                if tries == MAX_TRIES:
                    raise
            else:
                if tries == MAX_TRIES or not self._passes(reply):
                    return reply
            await self._pause(tries, reply)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _sent_once(self, call: Call) -> Reply:
        """The reply to a call that must not arrive twice."""
        for tries in range(1, MAX_TRIES + 1):
            try:
                reply = await self._reply(call)
            except TransportError as e:
                if e.sent:
                    raise Ambiguous(str(e)) from e
                if tries == MAX_TRIES:
                    raise
                await self._pause(tries, None)
                continue
            if reply.status >= 500 or reply.status in _UNCLEAR or _is_foreign(reply):
                raise Ambiguous(f"the submission was answered with HTTP {reply.status}")
            return reply
        raise AssertionError("unreachable: the last try returns or raises")

    async def _reply(self, call: Call) -> Reply:
        reply = await self._http.send(call)
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
        asked = None if reply is None else retry_after(reply.headers, now=self._clock.now())
        wait = backoff(tries, asked=asked, jitter=self._jitter())
        await self._clock.sleep(wait.total_seconds())


def _is_foreign(reply: Reply) -> bool:
    """Whether a refusal is not the service's own: a proxy's may come after the service took it."""
    if reply.ok:
        return False
    try:
        return not isinstance(msgspec.json.decode(reply.body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
