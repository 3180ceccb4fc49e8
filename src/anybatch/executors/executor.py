"""What an executor promises the engine."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, runtime_checkable

from ..core.model import Request, Result
from ..providers.flow import Reply
from .parties import Party

Read = Callable[[Request, Reply], Result]
"""What a reply means: the wire's reading of it, held against the output schema."""

Record = Callable[..., Awaitable[None]]
"""`await record(result, …)`: returns once it is durable, or one of the executor's `backlog`."""


class Hold(Protocol):
    """What may keep new work from being sent, for as long as it likes."""

    @property
    def why(self) -> str | None:
        """Why nothing may be sent; None: it may."""
        ...


class CallExecutor(Protocol):
    """Answers requests one call each."""

    window: int
    """At most so many requests of one batch are sent and not yet durably recorded."""
    backlog: int
    """Of these, so many may have been recorded: `record` need not wait for their commit."""
    drains: bool
    """Whether calls in flight are worth waiting for at a stop: they are paid for."""

    @property
    def waiting(self) -> str | None:
        """Why it is not sending right now, in a few words for the user; None when it is."""
        ...

    def takes(self, requests: int, tokens: int) -> float:
        """Seconds that so much takes at least, by the rate limits that are known by now."""
        ...

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        """Record one result for each of `requests`, in any order.

        After `stop` it sends nothing new and returns once what is in flight has been recorded.
        """
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Lendable(Protocol):
    """An executor that several parties share."""

    def lent(self, party: Party) -> CallExecutor:
        """The same executor, whose calls count as those of `party` among the others'."""
        ...
