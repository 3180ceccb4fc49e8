"""Calls that are made again because their answer was lost: the same call gets the same answer.

A client may name a call (`Idempotency-Key`). Most official SDKs do not; they say how often they
have tried (`x-stainless-retry-count`), and what says the same is then the same call. Who says
neither is owed the answer until it went out to a client that was still there; until then, what says
the same is the same call.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import Clock
from ..core.served import Answered
from ..store.served import ServedStore
from .face import CALLER, Absent, caller_of
from .tries import TRIED_AGAIN, TRY, Tries, settled

T = TypeVar("T")

Answers = Callable[[str], Answered | None]
"""What is to be written down with something made, given its id."""

REMEMBERED = timedelta(hours=24)
"""So long a call is known by the name that its client gave it."""
_NAME = "idempotency-key"
_DELIVERY, _TRIES = "anybatch.delivery", "anybatch.tries"


class Reused(Exception):
    """A name that was given to a call was given to another one before."""


def to_nobody(made: str) -> None:
    """For what is no answer that anybody will ask for again."""
    return None


class Delivery:
    """How the answer to one call goes out."""

    def __init__(self, held: AsyncExitStack) -> None:
        self.held = held
        """What is held until the answer is out, or lost."""
        self.settle: Callable[[], Awaitable[None]] | None = None
        """What is done once it is out; None: nothing is."""


async def delivered(app: ASGIApp, scope: Scope, receive: Receive, send: Send, tries: Tries) -> None:
    """Have `app` answer a call. What was made is owed no longer once the answer is out, and a try
    that is refused is one of `tries`.

    It is lost where the client had gone before it was ready. What becomes of it further on, nobody
    here can see. A server that dies before it has noted that the answer is out owes it still.
    """
    if scope["method"] != "POST":
        await app(scope, receive, send)
        return
    was_there = False
    scope[_TRIES] = tries

    async def sending(message: Message) -> None:
        nonlocal was_there
        if message["type"] == "http.response.start" and message["status"] >= 400:
            caller = scope.get(CALLER)
            if caller is not None:
                tries.made_nothing(scope, caller.owner)
        if delivery.settle is not None and message["type"] == "http.response.start":
            gone = await Request(scope, receive).is_disconnected()
            was_there = message["status"] < 300 and not gone
        await send(message)

    async with AsyncExitStack() as held:
        delivery = scope[_DELIVERY] = Delivery(held)
        await app(scope, receive, sending)
        if was_there and delivery.settle is not None:
            await delivery.settle()


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
        digest = digest_of(path, digest)
        key, tries = request.headers.get(_NAME) or None, request.headers.get(TRY)
        if key is None and tries is None:
            return await self._owed(request, digest, make=make, find=find)
        call = f"sdk {digest}" if key is None else f"key {digest_of(key)}"
        async with self._alone((owner, call)):
            known = await self._known(call, owner=owner, is_named=key is not None)
            if known is not None and known.digest != digest:
                raise Reused
            if key is not None:
                return await self._made(owner, call, digest, known, make=make, find=find)
            story: Tries = request.scope[_TRIES]
            since = None if known is None else known.at
            if story.is_first(request.scope, owner, since=since):
                known = None  # what was made was made for another call
            try:
                made = await self._made(owner, call, digest, known, make=make, find=find)
            except Exception:
                # Before the next try has its turn.
                story.made_nothing(request.scope, owner)
                raise
            settled(request.scope)
            return made

    async def done_once(
        self,
        request: Request,
        digest: str,
        *,
        do: Callable[[], Awaitable[str]],
    ) -> str:
        """What came of something that makes nothing which could be found again: a call that has a
        name does it once. Who dies before that is written down has it done again."""

        async def make(answers: Answers) -> str:
            said = await do()
            await asyncio.to_thread(self._store.note_answer, answers(said))
            return said

        async def find(said: str) -> str:
            return said

        if not request.headers.get(_NAME):
            return await do()
        return await self.once(request, digest, make=make, find=find)

    async def alike(self, request: Request, do: Callable[[], Awaitable[T]]) -> T:
        """The same for what says nothing but its path and comes to the same however often it is
        done: it is done again, but not under the name of another call."""
        done: list[T] = []

        async def noted() -> str:
            done.append(await do())
            return ""

        await self.done_once(request, "", do=noted)
        return done[0] if done else await do()

    async def _owed(
        self,
        request: Request,
        digest: str,
        *,
        make: Callable[[Answers], Awaitable[T]],
        find: Callable[[str], Awaitable[T]],
    ) -> T:
        """The same for a client that says nothing of its tries. Who says the same meanwhile waits
        until it is clear what became of the answer: it may want another one."""
        owner, call = caller_of(request).owner, f"owed {digest}"
        delivery: Delivery = request.scope[_DELIVERY]
        await delivery.held.enter_async_context(self._alone((owner, call)))
        delivery.settle = partial(asyncio.to_thread, self._store.forget_answer, call, owner=owner)
        known = await self._known(call, owner=owner, is_named=False)
        return await self._made(owner, call, digest, known, make=make, find=find)

    async def _made(
        self,
        owner: str,
        call: str,
        digest: str,
        known: Answered | None,
        *,
        make: Callable[[Answers], Awaitable[T]],
        find: Callable[[str], Awaitable[T]],
    ) -> T:
        """What this call has made before, if that is `known` and there; else what it makes."""
        if known is not None:
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
