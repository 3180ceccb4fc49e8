"""All batches of a fake service, moved on by the clock whenever one of them is looked at."""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from .life import Living, catch_up


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

    async def look(self, batch: R) -> None:
        """Do what is due in this batch before somebody sees it."""
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
