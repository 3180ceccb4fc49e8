"""A provider's batch API over a connection: what waits, and what time it is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Spec
from anybatch.executors.batch import BatchExecutor
from anybatch.providers import registry
from anybatch.testing import Altered, FakeAnthropic, FakeOpenAI, ManualClock, Status

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OFF = timedelta(hours=-3)
PATIENCE_S = 10.0


@asynccontextmanager
async def desk(
    fake: Any, clock: ManualClock, *, name: str = "openai"
) -> AsyncIterator[BatchExecutor]:
    """The batch API of a fake, on a clock that stands still until it is moved."""
    provider = registry.find(name, configured={}, base_url=fake.base_url)
    executor = BatchExecutor(
        provider,
        key=None,
        spec=Spec(provider=name, model="m", api=provider.apis[0]),
        deadline=timedelta(seconds=10),
        clock=clock,
        jitter=lambda: 0.0,
    )
    try:
        yield executor
    finally:
        await executor.close()


def pausing(seconds: int) -> Status:
    return Status(429, headers={"retry-after": str(seconds)})


async def test_looks_that_are_told_to_wait_hold_up_nothing_else(tmp_path: Path) -> None:
    clock, file = ManualClock(), tmp_path / "requests.jsonl"
    file.write_text("{}\n")

    with FakeOpenAI(faults={"list": [pausing(240)]}) as fake:
        async with desk(fake, clock) as executor:
            refused = asyncio.create_task(executor.ask_time())
            async with asyncio.timeout(PATIENCE_S):
                while not clock.sleepers:
                    await asyncio.sleep(0.001)
                looking = asyncio.create_task(executor.poll("batch_1"))
                while executor.waiting is None:
                    await asyncio.sleep(0.001)
                said = executor.waiting
                await executor.upload(file, name="a.jsonl")
                async with executor.creating():
                    pass
                await executor.delete("file-nobody-has")
            assert not looking.done()
            looking.cancel()
            refused.cancel()

    assert said is not None
    assert said.startswith("poll may go on in ")
    assert fake.ledger.operations["upload"] == 1


async def test_a_creation_that_is_told_to_wait_holds_up_no_looks() -> None:
    clock = ManualClock()

    with FakeOpenAI() as fake:
        async with desk(fake, clock) as executor:
            executor._gates["create"].refused(timedelta(minutes=4))
            entering = asyncio.create_task(executor.creating().__aenter__())
            async with asyncio.timeout(PATIENCE_S):
                await executor.ask_time()
            assert not entering.done()
            entering.cancel()

    assert fake.ledger.operations == {"list": 1}


@pytest.mark.parametrize("off", [OFF, -OFF, timedelta(0)])
async def test_the_time_of_the_service_is_learned_from_any_reply(off: timedelta) -> None:
    ours, theirs = ManualClock(NOON), ManualClock(NOON + off)

    with FakeAnthropic(clock=theirs) as fake:
        async with desk(fake, ours, name="anthropic") as executor:
            before = executor.there(NOON)
            await executor.ask_time()
            after = executor.there(NOON)
            await executor.ask_time()

    assert before == NOON
    assert after == NOON + off
    assert fake.ledger.operations == {"list": 1}


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Jan 2030 12:00:00 GMT"])
async def test_a_reply_that_does_not_tell_the_time_is_no_matter(date: str) -> None:
    clock = ManualClock(NOON)

    with FakeOpenAI(faults={"list": [Altered(headers={"date": date})]}) as fake:
        async with desk(fake, clock) as executor:
            await executor.ask_time()
            there = executor.there(NOON)

    assert there == NOON


async def test_a_moment_to_come_back_at_is_one_of_the_service_s_clock() -> None:
    ours, theirs = ManualClock(NOON), ManualClock(NOON + OFF)
    later = format_datetime(NOON + OFF + timedelta(seconds=30), usegmt=True)
    refusal = Status(429, headers={"retry-after": later})

    with FakeOpenAI(clock=theirs, faults={"list": [refusal]}) as fake:
        async with desk(fake, ours) as executor:
            asking = asyncio.create_task(executor.ask_time())
            async with asyncio.timeout(PATIENCE_S):
                while not asking.done():
                    await asyncio.sleep(0.001)
                    if ours.sleepers:
                        await ours.advance_to_next()
            await asking

    assert 30 <= ours.monotonic() < 40
