"""A gate for each kind of call at a batch API: a flood at one of them holds no other one up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from math import ceil
from typing import get_args

from ..clock import Clock
from ..core.retry import backoff
from ..providers.provider import GatePace, Step

_FIRST_GAP = timedelta(seconds=0.5)
_WIDEST_GAP = timedelta(minutes=1)
_CLOSING = 0.9
"""With each call that is answered, the gap shrinks to so much of itself."""
_DUST = timedelta(milliseconds=50)
"""A gap below this is none."""
_LOOK_AGAIN = timedelta(seconds=1)
"""A waiting call asks so often whether it may go: the gap may have changed meanwhile."""
_NOTHING = timedelta()


class Gate:
    """Lets so many calls through at once, so many in a time, and so far apart as it was taught.

    Two calls go through a gap apart that doubles with each refusal for too many of them, and
    closes again while they are answered. A pause that the service asks for holds for all.
    """

    def __init__(self, step: Step, pace: GatePace, *, clock: Clock) -> None:
        self._step = step
        self._pace = pace
        self._clock = clock
        self._places = asyncio.Semaphore(pace.at_once)
        # Only the first in line looks at the clock: so who came first goes first.
        self._line = asyncio.Lock()
        self._sent: deque[float] = deque(maxlen=pace.most)
        """When the latest calls went through, as many as may within the pace's time."""
        self._not_before = 0.0
        self._gap = _NOTHING
        self.waiting: str | None = None
        """What is held back here and for how long, in a few words."""

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait for a place and for the moment; the place is kept until the block is left."""
        async with self._places:
            async with self._line:
                await self._moment()
            yield

    async def _moment(self) -> None:
        try:
            while (wait := self._held()) > _NOTHING:
                self.waiting = f"{self._step} may go on in {ceil(wait.total_seconds())} s"
                await self._clock.sleep(min(wait, _LOOK_AGAIN).total_seconds())
        finally:
            self.waiting = None
        now = self._clock.monotonic()
        if self._pace.most is not None:
            self._sent.append(now)
        self._not_before = max(self._not_before, now + self._gap.total_seconds())

    def _held(self) -> timedelta:
        """How long the next call has to wait."""
        earliest = self._not_before
        if self._pace.most is not None and len(self._sent) == self._pace.most:
            earliest = max(earliest, self._sent[0] + self._pace.every.total_seconds())
        return timedelta(seconds=earliest - self._clock.monotonic())

    def answered(self) -> None:
        """A call was taken."""
        self._gap = self._gap * _CLOSING if self._gap > _DUST else _NOTHING

    def refused(self, asked: timedelta | None) -> None:
        """A call was turned away for too many of them; `asked`: to come back after so long."""
        self._gap = min(_WIDEST_GAP, max(_FIRST_GAP, self._gap * 2))
        pause = self._gap if asked is None else backoff(1, asked=asked, jitter=0.0)
        until = self._clock.monotonic() + pause.total_seconds()
        self._not_before = max(self._not_before, until)


def gates(paces: Mapping[Step, GatePace], *, clock: Clock) -> dict[Step, Gate]:
    """One for each kind of call; those that no pace is known of get the usual one."""
    steps: tuple[Step, ...] = get_args(Step)
    return {step: Gate(step, paces.get(step, GatePace()), clock=clock) for step in steps}
