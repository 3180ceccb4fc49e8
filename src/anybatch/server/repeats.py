"""Calls that are made again because their answer was lost: the same call gets the same answer.

A client may name a call (`Idempotency-Key`). The official SDKs do not; they say how often they have
tried (`x-stainless-retry-count`), and what says the same is then the same call.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TypeVar

import msgspec
from starlette.requests import Request

from ..clock import Clock
from ..core.served import Answered
from ..store.served import ServedStore
from .face import Absent, caller_of

T = TypeVar("T")

Answers = Callable[[str], Answered | None]
"""What is to be written down with something made, given its id."""

REMEMBERED = timedelta(hours=24)
"""So long a call is known by the name that its client gave it."""
TRIED_AGAIN = timedelta(minutes=15)
"""So long an SDK may try a call again."""


class Reused(Exception):
    """A name that was given to a call was given to another one before."""


def to_nobody(made: str) -> None:
    """For what is no answer that anybody will ask for again."""
    return None


def digest_of(*said: object) -> str:
    """Of all that a call says."""
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()


class Repeats:
    """Belongs to the event loop."""

    def __init__(self, store: ServedStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        # Each guards one call: who makes it again while it is under way waits for its end.
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._users: Counter[tuple[str, str]] = Counter()

    async def once(
        self,
        request: Request,
        digest: str,
        *,
        make: Callable[[Answers], Awaitable[T]],
        find: Callable[[str], Awaitable[T]],
    ) -> T:
        """What `make` makes, or what it made when the same call came before, which `find` finds.

        Raises Reused for a name that belongs to a call which said something else.
        """
        owner, path = caller_of(request).owner, request.url.path
        key = request.headers.get("idempotency-key")
        digest = digest_of(path, digest)
        call = f"sdk {digest}" if key is None else f"key {digest_of(key)}"
        async with self._alone((owner, call)):
            known = await self._known(call, owner=owner, is_named=key is not None)
            if known is not None and known.digest != digest:
                raise Reused
            if known is not None and (key is not None or _is_again(request)):
                try:
                    return await find(known.made)
                except Absent:
                    pass  # it was deleted since: who asks for it wants another
            now = self._clock.now()

            def answers(made: str) -> Answered:
                return Answered(owner=owner, call=call, digest=digest, made=made, at=now)

            return await make(answers)

    async def _known(self, call: str, *, owner: str, is_named: bool) -> Answered | None:
        since = self._clock.now() - (REMEMBERED if is_named else TRIED_AGAIN)
        return await asyncio.to_thread(self._store.answer_to, call, owner=owner, since=since)

    @asynccontextmanager
    async def _alone(self, call: tuple[str, str]) -> AsyncIterator[None]:
        with self._used(call) as lock:
            async with lock:
                yield

    @contextmanager
    def _used(self, call: tuple[str, str]) -> Iterator[asyncio.Lock]:
        self._users[call] += 1
        try:
            yield self._locks.setdefault(call, asyncio.Lock())
        finally:
            self._users[call] -= 1
            if not self._users[call]:
                del self._users[call], self._locks[call]


def _is_again(request: Request) -> bool:
    """Whether an SDK says that it has tried before."""
    return request.headers.get("x-stainless-retry-count", "0") not in ("", "0")
