"""A provider's batch API over a connection: what waits, and what time it is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Spec
from anybatch.errors import TransportError
from anybatch.executors.batch import BatchExecutor
from anybatch.executors.executor import Hold
from anybatch.providers import registry
from anybatch.providers.flow import Refused
from anybatch.testing import MALFORMED, Altered, FakeAnthropic, FakeOpenAI, ManualClock, Status

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OFF = timedelta(hours=-3)
PATIENCE_S = 10.0


@asynccontextmanager
async def desk(
    fake: Any, clock: ManualClock, *, name: str = "openai", hold: Hold | None = None
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
        hold=hold,
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


class Held:
    """Nothing new may be sent."""

    why: str | None = "the tokens of the day are used"


async def test_while_there_is_a_hold_nothing_is_uploaded_or_created(tmp_path: Path) -> None:
    hold, file = Held(), tmp_path / "requests.jsonl"
    file.write_text("{}\n")

    with FakeOpenAI() as fake:
        async with desk(fake, ManualClock(), hold=hold) as executor:
            with pytest.raises(TransportError, match="tokens of the day") as refused:
                await executor.upload(file, name="a.jsonl")
            with pytest.raises(TransportError, match="tokens of the day"):
                executor.creating()
            hold.why = None
            await executor.upload(file, name="a.jsonl")
            async with executor.creating():
                pass

    assert not refused.value.sent
    assert fake.ledger.operations["upload"] == 1


HOUR_S = 3_600.0


async def looked(executor: BatchExecutor) -> set[str]:
    """What looking at two batches that nobody knows tells, by a list."""
    seen = await executor.poll_all(["batch_1", "batch_2"], since=NOON, listed=True)
    return {str(one) for one in seen.values()}


async def test_a_list_that_is_refused_is_done_without_for_an_hour() -> None:
    clock = ManualClock(NOON)

    with FakeOpenAI(faults={"list": [Status(403)] * 2}) as fake:
        async with desk(fake, clock) as executor:
            first = await looked(executor)
            await looked(executor)
            asked = dict(fake.ledger.operations)
            clock.advance(HOUR_S)
            await looked(executor)
            clock.advance(HOUR_S)
            await looked(executor)
            await looked(executor)

    assert all("No batch" in said for said in first), first
    assert asked == {"list": 1, "poll": 4}
    assert fake.ledger.operations == {"list": 4, "poll": 10}


async def test_a_list_in_trouble_is_waited_for_and_then_done_without() -> None:
    clock = ManualClock(NOON)

    with FakeOpenAI(faults={"list": [MALFORMED, MALFORMED, None, *[MALFORMED] * 3]}) as fake:
        async with desk(fake, clock) as executor:
            said = [await looked(executor) for _ in range(6)]

    waits = ["the list of batches: " in " ".join(one) for one in said]
    assert waits == [True, True, False, True, True, False]
    assert fake.ledger.operations == {"list": 6, "poll": 4}


@pytest.mark.parametrize(("status", "raised"), [(401, True), (402, True), (403, False)])
async def test_who_may_not_list_may_submit_and_who_is_unknown_may_not(
    status: int, raised: bool
) -> None:
    with FakeAnthropic(faults={"list": [Status(status)]}) as fake:
        async with desk(fake, ManualClock(), name="anthropic") as executor:
            with pytest.raises(Refused) if raised else nullcontext():
                await executor.ask_time()
            told = executor.there(NOON)

    assert told != NOON
