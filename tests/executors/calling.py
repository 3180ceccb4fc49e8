"""Answering requests through an executor, from a fake endpoint on a clock that runs fast."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from anybatch.core.model import Api, Json, Request, Result, Spec
from anybatch.engine.answers import Reader
from anybatch.executors.executor import CallExecutor
from anybatch.executors.online import Online
from anybatch.providers.compatible import at


class FastClock:
    """A real clock on which time passes `speed` times as fast, so that backoff costs no time."""

    def __init__(self, speed: float = 100.0) -> None:
        self._speed = speed
        self._start = time.monotonic()

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._start) * self._speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)


def online(
    base_url: str,
    *,
    api: Api = "openai.chat",
    key: str | None = None,
    concurrency: int = 64,
    rpm: int | None = None,
    tpm: int | None = None,
    deadline: timedelta = timedelta(seconds=10),
    clock: FastClock | None = None,
) -> Online:
    provider = at(base_url, name="fake", key_env="FAKE_API_KEY")
    return Online(
        replace(provider, concurrency=concurrency, rpm=rpm, tpm=tpm),
        spec=Spec(provider=provider.name, model="fake-1", api=api),
        key=key,
        deadline=deadline,
        clock=clock or FastClock(),
        jitter=Random(1).random,
    )


def chat(text: str, **fields: Any) -> Json:
    return {"model": "fake-1", "messages": [{"role": "user", "content": text}], **fields}


def requests(bodies: Sequence[Json]) -> Iterator[Request]:
    return (Request(n=n, body=msgspec.json.encode(body)) for n, body in enumerate(bodies))


def reader(api: Api = "openai.chat", schema: Json | None = None) -> Reader:
    return Reader(Spec(provider="fake", model="fake-1", api=api, output_schema=schema))


class Records:
    """What was recorded, in the order it was; `stop` is set at the `stop_after`-th result."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.results: list[Result] = []
        self.stop = asyncio.Event()
        self._stop_after = stop_after

    async def record(self, *results: Result) -> None:
        self.results += results
        if self._stop_after is not None and len(self.results) >= self._stop_after:
            self.stop.set()


async def answers(
    executor: CallExecutor,
    bodies: Sequence[Json],
    *,
    reads: Reader | None = None,
    records: Records | None = None,
) -> list[Result]:
    """The results of `bodies`, in their order. The executor stays open."""
    records = records or Records()
    reads = reads or reader()
    async with asyncio.timeout(60):
        await executor.answer(
            requests(bodies), read=reads.read, record=records.record, stop=records.stop
        )
    return sorted(records.results, key=lambda result: result.n)


async def answers_of(
    executor: CallExecutor, bodies: Sequence[Json], *, reads: Reader | None = None
) -> list[Result]:
    """The results of `bodies`, in their order; then the executor is closed."""
    try:
        return await answers(executor, bodies, reads=reads)
    finally:
        await executor.close()
