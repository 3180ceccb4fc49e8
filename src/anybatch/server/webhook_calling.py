"""One call to an address that somebody else chose: looked up, checked, and called there alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple, Protocol

from ..core.addresses import BadAddress, Target, is_public, read_target
from ..effects import Probe, effect, unwatched
from ..errors import BadSettings, TransportError
from ..executors.http import post_to
from ..providers.flow import NO_HEADERS, Reply

DEADLINE = timedelta(seconds=20)
"""For all of a call. Standard Webhooks 1.0.0 recommends 15 to 30 seconds; checked 2026-11-20."""
_ADDRESSES = 3
"""So many of a host's addresses are tried, if there is no connection to those before."""
_LOOKUPS = 32
"""Names that are looked up at once: who answers slowly for his own holds up no others."""
NOT_PUBLIC = "its host has no public address"
"""Whether it has another one, or none at all, is nobody's business."""

Resolve = Callable[[str, int], Sequence[str]]
"""The IP addresses of a host, given its name and a port. It may block; raises OSError."""


class Post(Protocol):
    """See `executors.http.post_to`."""

    def __call__(
        self, ip: str, url: str, *, headers: Mapping[str, str], body: bytes, deadline: timedelta
    ) -> Awaitable[Reply]: ...


class Interrupted(Exception):
    """We stop, and what came of a call is not known."""


class Outcome(NamedTuple):
    """What became of a call."""

    status: int | None
    """None: no answer came."""
    headers: Mapping[str, str] = NO_HEADERS
    why: str | None = None
    """Why none came: in our words, for nobody else is told what lies in our network."""


def look_up(host: str, port: int) -> Sequence[str]:
    """By the system's own means."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class Caller:
    """Belongs to the event loop."""

    def __init__(
        self,
        hosts: frozenset[str],
        *,
        resolve: Resolve = look_up,
        post: Post = post_to,
        deadline: timedelta = DEADLINE,
        probe: Probe = unwatched,
    ) -> None:
        self._hosts = hosts
        self._deadline = deadline
        self._limits: set[asyncio.Timeout] = set()
        """Of what is under way."""
        self._latest: float | None = None
        """When we stop, by the event loop's clock; None: nobody said so."""
        self._resolve = resolve
        self._post = post
        self._sending = effect("webhook.send", probe)
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="anybatch-look-up")

    def hurry(self, patience_s: float) -> None:
        """Let what is under way go on for so long and no longer."""
        self._latest = asyncio.get_running_loop().time() + patience_s
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(min(limit.when() or self._latest, self._latest))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        """Raises TimeoutError when the deadline is over."""
        until = asyncio.get_running_loop().time() + self._deadline.total_seconds()
        if self._latest is not None:
            until = min(until, self._latest)
        async with asyncio.timeout_at(until) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    def read(self, url: str) -> Target:
        """Raises BadAddress for what is not called."""
        return read_target(url, allowed=self._hosts)

    async def check(self, url: str) -> Target:
        """Where an address leads. Raises BadAddress where that is nothing public, and TimeoutError
        if we stop before that is known."""
        target = self.read(url)
        try:
            async with self._limited():
                await self._addresses(target)
        except TimeoutError:
            if self._latest is not None:
                raise
            raise BadAddress(NOT_PUBLIC) from None
        return target

    async def _addresses(self, target: Target) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, self._resolve, target.host, target.port
            )
        except (OSError, UnicodeError):
            raise BadAddress(NOT_PUBLIC) from None
        # All of them: which one is called is not for whoever rules its name to choose.
        if not found or not (target.is_allowed or all(map(is_public, found))):
            raise BadAddress(NOT_PUBLIC)
        return found

    async def call(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Outcome:
        """What came of a POST there. Raises Interrupted."""
        try:
            async with self._limited():
                return await self._call(url, headers=headers, body=body)
        except TimeoutError:
            if self._latest is not None:
                raise Interrupted from None
            seconds = self._deadline.total_seconds()
            return Outcome(None, why=f"no answer came within {seconds:.0f} seconds")

    async def _call(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Outcome:
        try:
            target = self.read(url)  # the settings may have changed since it was taken
            addresses = await self._addresses(target)
        except BadAddress as e:
            return Outcome(None, why=str(e))
        for ip in addresses[:_ADDRESSES]:
            try:
                with self._sending:
                    reply = await self._post(
                        ip, target.url, headers=headers, body=body, deadline=self._deadline
                    )
            except TransportError as e:
                if e.sent:
                    return Outcome(None, why="no answer came")
            except BadSettings:
                return Outcome(None, why="its address cannot be called")
            else:
                return Outcome(reply.status, reply.headers)
        return Outcome(None, why="no connection")
