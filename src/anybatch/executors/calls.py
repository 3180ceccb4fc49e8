"""Answering with so many calls at a time: what every executor of single calls does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from ..core.model import Request, Result
from .executor import Record

Ask = Callable[[Request], Awaitable[Result | None]]
"""One request's whole story, tries included; None: stopped before it was sent (again)."""


async def answer_all(
    requests: Iterator[Request], *, ask: Ask, record: Record, calls: int, stop: asyncio.Event
) -> None:
    """Ask for every request, `calls` at a time.

    A worker goes on to its next request when `record` lets it: so a crash can repeat no more than
    `calls` requests and those that `record` lets go on before their result is durable.
    """

    async def work() -> None:
        task = asyncio.current_task()
        for request in requests:
            if stop.is_set():
                return
            result = await ask(request)
            if result is None:
                return
            await record(result)
            if task is not None and task.cancelling():
                return  # the HTTP client may swallow a cancellation that comes with an answer

    async with asyncio.TaskGroup() as workers:
        for _ in range(calls):
            workers.create_task(work())


async def pause(seconds: float, *, stop: asyncio.Event, sleep: "Sleep") -> bool:
    """Sleep for `seconds`; False if `stop` came first."""

    async def slept() -> None:
        await sleep(seconds)

    async with asyncio.TaskGroup() as tasks:
        either = tasks.create_task(stop.wait()), tasks.create_task(slept())
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for task in either:
            task.cancel()
    return not stop.is_set()


Sleep = Callable[[float], Awaitable[None]]
