"""The manual clock moves when it is told to, and wakes sleepers in order."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from anybatch.testing import ManualClock

START = datetime(2031, 5, 1, 12, tzinfo=UTC)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(START)

    clock.advance(1.5)

    assert clock.now() == START + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_its_moments_have_a_zone() -> None:
    assert ManualClock().now().tzinfo is UTC


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-1)


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    clock, woken = ManualClock(), list[int]()

    async def sleeper(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (30, 10, 20):
            group.create_task(sleeper(seconds))
        await settle()
        clock.advance(60)

    assert woken == [10, 20, 30]


async def test_who_sleeps_longer_stays_asleep() -> None:
    clock = ManualClock()
    async with asyncio.TaskGroup() as group:
        group.create_task(clock.sleep(10))
        group.create_task(clock.sleep(20))
        await settle()

        clock.advance(10)

        assert clock.sleepers == 1
        clock.advance(10)


async def test_advancing_to_the_next_sleeper_stops_at_its_moment() -> None:
    clock, woken = ManualClock(), list[float]()

    async def sleeper() -> None:
        for seconds in (3, 4):
            await clock.sleep(seconds)
            woken.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper())
        passed = [await clock.advance_to_next() for _ in range(3)]

    assert woken == [3, 7]
    assert passed == [3, 4, 0]


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await clock.sleep(10)

    assert clock.sleepers == 0


async def test_sleeping_no_time_does_not_wait() -> None:
    clock = ManualClock()

    await clock.sleep(0)

    assert clock.monotonic() == 0


async def test_a_sleeper_in_another_thread_is_woken() -> None:
    clock = ManualClock()
    asleep = asyncio.create_task(asyncio.to_thread(asyncio.run, clock.sleep(5)))
    while not clock.sleepers:
        await asyncio.sleep(0)

    clock.advance(5)

    await asleep
    assert clock.sleepers == 0
