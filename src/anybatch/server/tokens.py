"""Tokens a day: what each owner has used of them, and whose orders have to wait.

What is used counts for 24 hours from when it was, and not from when its order began or ended.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import ceil

from ..clock import Clock
from ..core.model import Usage
from ..core.served import Order, TokensUsed
from ..errors import StoreUnwritable
from ..store.served import ServedStore
from .owners import Owners

DAY = timedelta(hours=24)
_STRETCH = timedelta(minutes=10)
"""What is used within so long counts as one: it is free again when the last of it would be."""


class Gate:
    """What the requests of one owner have to pass; closed while it has used its tokens.

    See `executor.Hold`.
    """

    def __init__(self) -> None:
        self.why: str | None = None
        """Why it is closed; None: it is open."""
        self._opened, self._closed = asyncio.Event(), asyncio.Event()

    def close(self, why: str) -> None:
        self.why = why
        self._opened.clear()
        self._closed.set()

    def open(self) -> None:
        self.why = None
        self._closed.clear()
        self._opened.set()

    async def passed(self, *, stop: asyncio.Event) -> bool:
        """Wait until it is open; False if stopped."""
        while self.why is not None and not stop.is_set():
            async with _either(self._opened, stop) as either:
                await either.wait()
        return not stop.is_set()

    def closing(self, stop: asyncio.Event) -> AbstractAsyncContextManager[asyncio.Event]:
        """What is set once the gate closes, or `stop` is set."""
        return _either(self._closed, stop)


@asynccontextmanager
async def _either(*signs: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """What is set once one of `signs` is."""
    either = asyncio.Event()

    async def follow(sign: asyncio.Event) -> None:
        await sign.wait()
        either.set()

    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(follow(sign)) for sign in signs]
        try:
            yield either
        finally:
            for task in following:
                task.cancel()


class Tokens:
    """Belongs to the event loop."""

    def __init__(self, store: ServedStore, clock: Clock, owners: Owners) -> None:
        self._store = store
        self._clock = clock
        self._owners = owners
        self._used: defaultdict[str, deque[tuple[datetime, int]]] = defaultdict(deque)
        """Of each owner: when which stretch began, and what was used in it; the oldest first."""
        self._told: defaultdict[str, int] = defaultdict(int)
        """How much of each open order is counted."""
        self._unsaved: defaultdict[tuple[str, str, datetime], int] = defaultdict(int)
        self._gates: dict[str, Gate] = {}

    def load(self) -> None:
        """Take up what an earlier server has counted. Called before anybody asks."""
        for used in self._store.tokens_used():
            self._told[used.order_id] += used.tokens
            self._add(used.owner, used.at, used.tokens)

    def note(self, order: Order, usage: Usage) -> None:
        """See how much an open order has used; what is new of it was used just now."""
        if self._owners.terms_of(order.owner) is None:
            return  # nobody counts
        total = usage.tokens_in + usage.tokens_out
        more = total - self._told[order.id]
        if more <= 0:
            return
        at = _stretch_of(self._clock.now())
        self._told[order.id] = total
        self._unsaved[order.id, order.owner, at] += more
        self._add(order.owner, at, more)
        self.look(order.owner)

    def forget(self, order: Order) -> None:
        """An order is over: no more of it is to come."""
        self._told.pop(order.id, None)

    def _add(self, owner: str, at: datetime, tokens: int) -> None:
        used = self._used[owner]
        if used and used[-1][0] == at:
            tokens += used.pop()[1]
        used.append((at, tokens))

    def used(self, owner: str) -> int:
        """What an owner has used in the last 24 hours."""
        used, since = self._used[owner], self._clock.now() - DAY
        while used and used[0][0] + _STRETCH <= since:
            used.popleft()
        return sum(tokens for _, tokens in used)

    def gate(self, owner: str) -> Gate:
        """What the requests of an owner have to pass."""
        if owner not in self._gates:
            self._gates[owner] = Gate()
            self.look(owner)
        return self._gates[owner]

    def held(self) -> Mapping[str, str]:
        """The owners whose orders wait, and why."""
        return {owner: gate.why for owner, gate in self._gates.items() if gate.why is not None}

    def look(self, owner: str) -> None:
        """Open or close the gate of an owner, as its tokens and its terms are now."""
        gate = self.gate(owner)
        terms = self._owners.terms_of(owner)
        most = None if terms is None else terms.tokens_a_day
        has = 0 if most is None else self.used(owner)
        is_over = most is not None and has >= most
        if is_over and gate.why is None:
            gate.close(self._why(owner, most or 0, has))
        elif not is_over and gate.why is not None:
            gate.open()

    def look_at_all(self) -> None:
        for owner in self._gates:
            self.look(owner)

    def frees_in_s(self, owner: str, most: int) -> int:
        """So many seconds until an owner that may use `most` may use some again."""
        frees_at = self._frees_at(owner, most, self.used(owner))
        return max(1, ceil((frees_at - self._clock.now()).total_seconds()))

    def _why(self, owner: str, most: int, has: int) -> str:
        at = self._frees_at(owner, most, has).astimezone(UTC)
        return (
            f"its key may use {most:,} tokens in 24 hours and has used {has:,}; it goes on about "
            f"{at:%Y-%m-%d %H:%M} UTC"
        )

    def _frees_at(self, owner: str, most: int, has: int) -> datetime:
        """When enough of what was used is a day old."""
        for at, tokens in self._used[owner]:
            has -= tokens
            if has < most:
                return at + _STRETCH + DAY
        return self._clock.now() + DAY

    async def save(self) -> None:
        """Write down what is new, and forget what does not count any more.

        Raises StoreUnwritable; what is new is so still.
        """
        if not self._unsaved:
            return
        unsaved, self._unsaved = self._unsaved, defaultdict(int)
        used = [
            TokensUsed(order_id=order_id, owner=owner, at=at, tokens=tokens)
            for (order_id, owner, at), tokens in unsaved.items()
        ]
        before = self._clock.now() - DAY - _STRETCH
        try:
            await asyncio.to_thread(self._store.add_tokens_used, used, forget_before=before)
        except StoreUnwritable:
            for what, tokens in unsaved.items():
                self._unsaved[what] += tokens
            raise


def _stretch_of(moment: datetime) -> datetime:
    """When the stretch of time began that a moment is in."""
    seconds = _STRETCH.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
