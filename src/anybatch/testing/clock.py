"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import Final

START: Final = datetime(2030, 1, 1, tzinfo=UTC)
TURNS: Final = 20
"""How many turns of the event loop woken sleepers get, to reach their next sleep or their end."""

Sleeper = tuple[float, int, asyncio.Future[None]]
"""When it wakes, its place among those that wake at the same moment, and what wakes it."""


class ManualClock:
    """The clock of the engine, moved by hand. Its `monotonic()` starts at 0."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = count()
        self._sleepers: list[Sleeper] = []
        # guards _elapsed and _sleepers: what is under test may sleep in another thread's loop
        self._lock = Lock()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        with self._lock:
            return self._elapsed

    @property
    def sleepers(self) -> int:
        """How many are asleep."""
        with self._lock:
            return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = self._fall_asleep(seconds)
        try:
            await sleeper[2]
        finally:
            self._forget(sleeper)

    def advance(self, seconds: float) -> None:
        """Move time on and wake, in the order of their time, all whose time has come."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds!r}")
        with self._lock:
            self._move_to(self._elapsed + seconds)

    async def advance_to_next(self) -> float:
        """Move to the moment the next sleeper wakes, let the woken run, return the seconds passed.

        Returns 0.0 when nobody falls asleep within some turns of the event loop.
        """
        await _settle()
        passed = self._wake_next()
        await _settle()
        return passed

    def _fall_asleep(self, seconds: float) -> Sleeper:
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            sleeper = (self._elapsed + seconds, next(self._order), future)
            heapq.heappush(self._sleepers, sleeper)
        return sleeper

    def _forget(self, sleeper: Sleeper) -> None:
        with self._lock:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    def _wake_next(self) -> float:
        with self._lock:
            if not self._sleepers:
                return 0.0
            before = self._elapsed
            self._move_to(self._sleepers[0][0])
            return self._elapsed - before

    def _move_to(self, moment: float) -> None:
        self._elapsed = moment
        while self._sleepers and self._sleepers[0][0] <= moment:
            _, _, future = heapq.heappop(self._sleepers)
            future.get_loop().call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    # A sleeper that was cancelled between the call and now is awake already.
    if not future.done():
        future.set_result(None)


async def _settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
