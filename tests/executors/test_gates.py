"""Each kind of call at a batch API is held back by itself, as far as the service wants it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from anybatch.executors.gates import Gate, gates
from anybatch.providers.provider import GatePace
from anybatch.testing import ManualClock

MINUTE = timedelta(minutes=1)


class Callers:
    """Calls through a gate, which note when they went through."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.went: list[float] = []
        self.inside = 0
        self.most_inside = 0

    async def call(self, gate: Gate, *, lasts: float = 0.0) -> None:
        async with gate.passed():
            self.went.append(self._clock.monotonic())
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            if lasts:
                await self._clock.sleep(lasts)
            self.inside -= 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def callers(clock: ManualClock) -> Callers:
    return Callers(clock)


@asynccontextmanager
async def under_way(*calls: object) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        for call in calls:
            tasks.create_task(call)  # type: ignore[arg-type]
        yield


async def pass_time(clock: ManualClock, seconds: float) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        if not await clock.advance_to_next():
            clock.advance(until - clock.monotonic())


async def test_so_many_calls_are_inside_at_once(clock: ManualClock, callers: Callers) -> None:
    gate = Gate("poll", GatePace(at_once=3), clock=clock)

    async with under_way(*(callers.call(gate, lasts=10) for _ in range(7))):
        await pass_time(clock, 40)

    assert callers.most_inside == 3
    assert callers.went == [0, 0, 0, 10, 10, 10, 20]


async def test_so_many_calls_go_through_in_a_time(clock: ManualClock, callers: Callers) -> None:
    gate = Gate("create", GatePace(at_once=9, most=2, every=MINUTE), clock=clock)

    async with under_way(*(callers.call(gate) for _ in range(5))):
        await pass_time(clock, 150)

    assert callers.went == [0, 0, 60, 60, 120]


async def test_a_pause_that_is_asked_for_holds_all_calls_back(
    clock: ManualClock, callers: Callers
) -> None:
    gate = Gate("create", GatePace(), clock=clock)
    gate.refused(timedelta(seconds=20))

    async with under_way(callers.call(gate), callers.call(gate)):
        await clock.advance_to_next()
        assert gate.waiting == "create may go on in 20 s"
        await pass_time(clock, 30)

    assert min(callers.went) >= 20
    assert max(callers.went) <= 22
    assert gate.waiting is None


async def test_an_absurd_pause_is_not_waited_for(clock: ManualClock, callers: Callers) -> None:
    gate = Gate("poll", GatePace(), clock=clock)
    gate.refused(timedelta(seconds=10**9))

    async with under_way(callers.call(gate)):
        await pass_time(clock, 302)

    assert callers.went[0] <= 301


async def test_refusals_set_calls_apart_and_answers_bring_them_together(
    clock: ManualClock, callers: Callers
) -> None:
    gate = Gate("poll", GatePace(at_once=99), clock=clock)
    for _ in range(4):
        gate.refused(None)

    async with under_way(*(callers.call(gate) for _ in range(3))):
        await pass_time(clock, 20)
    apart = [
        later - earlier for earlier, later in zip(callers.went, callers.went[1:], strict=False)
    ]
    for _ in range(60):
        gate.answered()
    clock.advance(60)
    callers.went.clear()
    async with under_way(*(callers.call(gate) for _ in range(3))):
        await clock.advance_to_next()

    assert apart == [4.0, 4.0]
    assert len(set(callers.went)) == 1


async def test_no_refusals_set_calls_further_apart_than_a_minute(
    clock: ManualClock, callers: Callers
) -> None:
    gate = Gate("poll", GatePace(), clock=clock)
    for _ in range(99):
        gate.refused(None)

    async with under_way(callers.call(gate), callers.call(gate)):
        await pass_time(clock, 121)

    assert callers.went == [60, 120]


async def test_a_flood_of_one_kind_holds_no_other_one_up(
    clock: ManualClock, callers: Callers
) -> None:
    all_gates = gates({"poll": GatePace(at_once=1, most=1)}, clock=clock)
    others = Callers(clock)
    all_gates["poll"].refused(timedelta(minutes=4))

    async with under_way(
        *(callers.call(all_gates["poll"], lasts=30) for _ in range(9)),
        *(others.call(all_gates[step]) for step in ("upload", "create", "download", "delete")),
    ):
        await clock.advance_to_next()
        went = list(others.went)
        await pass_time(clock, 1200)

    assert went == [0, 0, 0, 0]
    assert len(callers.went) == 9


async def test_who_gives_up_waiting_leaves_its_place(clock: ManualClock, callers: Callers) -> None:
    gate = Gate("create", GatePace(at_once=1), clock=clock)
    gate.refused(timedelta(seconds=20))
    waiting = asyncio.create_task(callers.call(gate))
    await clock.advance_to_next()

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with under_way(callers.call(gate)):
        await pass_time(clock, 30)

    assert len(callers.went) == 1
