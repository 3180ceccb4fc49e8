"""What is told to stop stops, also where a cancellation is swallowed on its way."""

import asyncio
from datetime import timedelta

import pytest

from anybatch.engine.act import break_off, until

NOW, SOON, LONG = timedelta(0), timedelta(seconds=0.05), timedelta(seconds=30)
ENDS_S = 10.0


class Deaf:
    """Work that swallows the first cancellations, as the HTTP client does now and then."""

    def __init__(self, *, swallows: int) -> None:
        self._swallows = swallows
        self.swallowed = 0

    async def work(self) -> None:
        while True:
            try:
                await asyncio.sleep(LONG.total_seconds())
            except asyncio.CancelledError:
                if self.swallowed == self._swallows:
                    raise
                self.swallowed += 1


async def test_what_ends_by_itself_has_come_to_its_end() -> None:
    stop = asyncio.Event()

    assert await until(asyncio.sleep(0), stop=stop, grace=NOW)


async def test_after_a_stop_there_is_a_grace() -> None:
    stop = asyncio.Event()
    stop.set()

    assert await until(asyncio.sleep(0.01), stop=stop, grace=LONG)
    assert not await until(asyncio.sleep(LONG.total_seconds()), stop=stop, grace=SOON)


@pytest.mark.parametrize("swallows", [0, 1, 3])
async def test_what_swallows_a_cancellation_is_broken_off_all_the_same(swallows: int) -> None:
    deaf, stop = Deaf(swallows=swallows), asyncio.Event()
    stop.set()

    async with asyncio.timeout(ENDS_S):
        came_to_its_end = await until(deaf.work(), stop=stop, grace=NOW)

    assert not came_to_its_end
    assert deaf.swallowed == swallows


async def test_so_it_is_when_we_are_cancelled_ourselves() -> None:
    deaf = Deaf(swallows=2)
    waiting = asyncio.create_task(until(deaf.work(), stop=asyncio.Event(), grace=LONG))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    waiting.cancel()
    async with asyncio.timeout(ENDS_S):
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert deaf.swallowed == 2


@pytest.mark.parametrize("swallows", [1, 3])
async def test_so_it_is_when_we_are_cancelled_again_and_again(swallows: int) -> None:
    deaf = Deaf(swallows=swallows)
    step = asyncio.create_task(until(deaf.work(), stop=asyncio.Event(), grace=LONG))
    await asyncio.sleep(SOON.total_seconds())

    await break_off(step)

    assert step.cancelled()
    assert deaf.swallowed == swallows


async def test_what_goes_wrong_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ExceptionGroup) as raised:
        await until(fails(), stop=asyncio.Event(), grace=NOW)

    assert raised.group_contains(ValueError, match="no")


async def test_what_heeds_nothing_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anybatch.engine.act._CANCELS", 3)
    monkeypatch.setattr("anybatch.engine.act._CANCEL_EVERY", timedelta(milliseconds=1))
    deaf = Deaf(swallows=7)
    task = asyncio.create_task(deaf.work())
    await asyncio.sleep(0)

    await break_off(task)

    assert not task.done()
    assert deaf.swallowed == 3
    monkeypatch.undo()
    await break_off(task)
    assert task.cancelled()
