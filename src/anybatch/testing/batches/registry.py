"""All batches of a fake service, moved on by the clock whenever one of them is looked at."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from .life import Living, catch_up

_PATIENCE_S = 0.25
"""So long a look waits at most: hundreds of rows are run by then, and a client is not kept."""


class Registered(Living, Protocol):
    """A batch among others."""

    lock: asyncio.Lock
    """Guards its life and all that it runs: two looks at once may not both do what is due."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Registered)


class Registry(Generic[R]):
    """Belongs to the service's thread."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._batches: dict[str, R] = {}
        self._moving: set[asyncio.Task[None]] = set()

    @property
    def all(self) -> tuple[R, ...]:
        """The oldest first."""
        return tuple(self._batches.values())

    def add(self, batch: R) -> None:
        self._batches[batch.id] = batch

    def remove(self, batch_id: str) -> None:
        del self._batches[batch_id]

    def find(self, batch_id: str) -> R | None:
        return self._batches.get(batch_id)

    async def look(self, *batches: R) -> None:
        """Do what is due in these before somebody sees them.

        What takes long goes on behind their back: a service runs rows while it answers.
        """
        await self._patiently(self._move(batches))

    async def look_away(self) -> None:
        """Do what is due in all before something else is seen that comes of it."""
        await self._patiently(self.settle())

    async def _patiently(self, moving: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(moving)
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)
        done, _ = await asyncio.wait({task}, timeout=_PATIENCE_S)
        for one in done:
            one.result()

    async def _move(self, batches: Sequence[R]) -> None:
        for batch in batches:
            async with batch.lock:
                await catch_up(batch, self._now(), looks=True)

    async def settle(self, *, before: R | None = None, unseen: bool = False) -> None:
        """Do what is due in all batches, or in those older than one, though nobody looks at them.

        Those of which each phase is to be seen stay as they are, unless that no longer matters.
        """
        for batch in self.all:
            if batch is before:
                return
            if unseen or not batch.life.phases.seen:
                async with batch.lock:
                    await catch_up(batch, self._now(), looks=False)

    def renew(self) -> None:
        """Forget the event loop that is gone."""
        for batch in self.all:
            batch.lock = asyncio.Lock()
