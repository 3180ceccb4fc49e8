"""How fast and how many at once: rate buckets, an adaptive window, and the service's own wishes.

Times are seconds on a monotonic clock that the caller reads.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from .calls import Sleep, pause

_MINUTE = 60.0
_DAY = 86_400.0
_GROWN_FROM = 16
_SHRINK = 0.7


class Bucket:
    """So much a minute, evenly refilled."""

    def __init__(self, per_minute: float | None, *, now: float, fixed: bool | None = None) -> None:
        self._rate = None if per_minute is None else per_minute / _MINUTE
        self._fixed = per_minute is not None if fixed is None else fixed
        # A tenth of a minute's worth may go out at once; more would be a burst at the start.
        self._capacity = 0.0 if per_minute is None else max(1.0, per_minute / 10)
        self._level = self._capacity
        self._at = now

    def take(self, amount: float, *, now: float) -> float:
        """Take `amount`, going into debt if need be; the seconds to wait before using it."""
        if self._rate is None:
            return 0.0
        self._refill(now)
        self._level -= min(amount, self._capacity)
        return max(0.0, -self._level / self._rate)

    def _refill(self, now: float) -> None:
        gained = (now - self._at) * (self._rate or 0.0)
        self._level = min(self._capacity, self._level + gained)
        self._at = now

    def learn(self, *, limit: float, remaining: float, reset: float, now: float) -> None:
        """Adopt what a reply says of the service's own bucket, unless the user set a rate.

        The window is not told but follows: `limit - remaining` takes `reset` seconds to refill.
        """
        if self._fixed or limit <= 0 or remaining >= limit or reset <= 0:
            return
        window = min(_DAY, max(1.0, reset * limit / (limit - remaining)))
        if self._rate is None:
            self._at, self._level = now, remaining
        self._refill(now)
        self._rate = limit / window
        self._capacity = max(1.0, limit)
        self._level = min(self._level, remaining)


class Window:
    """How many calls may be in flight: grows while the service is healthy, shrinks when it is not.

    Doubles a round trip until the first overload, then grows by one a round trip. However many
    calls of one window report overload, it shrinks once: they all tell of the same moment.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(most, _GROWN_FROM))
        self.in_flight = 0
        self._growing = True
        self._shrunk_at = -1.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a place."""
        while self.in_flight >= int(self.limit):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._wake()
                raise
        self.in_flight += 1

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        places = int(self.limit) - self.in_flight
        while self._waiting and places > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                places -= 1

    def healthy(self) -> None:
        """A call was answered."""
        self.limit = min(self.most, self.limit + (1.0 if self._growing else 1.0 / self.limit))

    def overloaded(self, *, sent_at: float, now: float) -> None:
        """A call sent at `sent_at` was turned away, failed, or timed out."""
        if sent_at <= self._shrunk_at:
            return
        self._growing = False
        self._shrunk_at = now
        self.limit = max(1.0, self.limit * _SHRINK)


class Limiter:
    """Everything that may hold a call back, in one place."""

    def __init__(
        self,
        *,
        calls: int,
        rpm: int | None,
        tpm: int | None,
        monotonic: Callable[[], float],
        sleep: Sleep,
    ) -> None:
        now = monotonic()
        self._requests = Bucket(rpm, now=now)
        self._tokens = Bucket(tpm, now=now)
        self.window = Window(calls)
        self._monotonic = monotonic
        self._sleep = sleep
        self._not_before = 0.0
        self._asleep: dict[str, int] = {}

    @property
    def waiting(self) -> str | None:
        """Why calls are being held back, in a few words."""
        return next(iter(self._asleep), None)

    async def admit(self, tokens: int, *, stop: asyncio.Event) -> bool:
        """Wait until a call of about `tokens` may go out, its place taken; False if stopped."""
        now = self._monotonic()
        waits = {
            "requests per minute": self._requests.take(1, now=now),
            "tokens per minute": self._tokens.take(tokens, now=now),
        }
        reason = max(waits, key=lambda name: waits[name])
        if not await self._rest(waits[reason], reason, stop=stop):
            return False
        await self.window.enter()
        while (left := self._not_before - self._monotonic()) > 0:
            self.window.leave()
            if not await self._rest(left, "the service asked for a pause", stop=stop):
                return False
            await self.window.enter()
        if stop.is_set():
            self.window.leave()
            return False
        return True

    async def _rest(self, seconds: float, reason: str, *, stop: asyncio.Event) -> bool:
        if seconds <= 0:
            return True
        self._asleep[reason] = self._asleep.get(reason, 0) + 1
        try:
            return await pause(seconds, stop=stop, sleep=self._sleep)
        finally:
            self._asleep[reason] -= 1
            if not self._asleep[reason]:
                del self._asleep[reason]

    def hold(self, wait: timedelta) -> None:
        """Nobody sends for `wait`: the service asked one of us, and means us all."""
        self._not_before = max(self._not_before, self._monotonic() + wait.total_seconds())

    def learn(self, headers: Mapping[str, str]) -> None:
        """Read a reply's `x-ratelimit-*` headers."""
        if "x-ratelimit-limit-requests" not in headers:
            return
        now = self._monotonic()
        for kind, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            told = [headers.get(f"x-ratelimit-{what}-{kind}") for what in _TOLD]
            limit, remaining = number(told[0]), number(told[1])
            reset = duration(told[2])
            if limit is not None and remaining is not None and reset is not None:
                bucket.learn(limit=limit, remaining=remaining, reset=reset, now=now)


_TOLD = ("limit", "remaining", "reset")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY}


def number(text: str | None) -> float | None:
    """A header's number, None for anything else."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None


def duration(text: str | None) -> float | None:
    """Seconds of a duration such as `6m0s`, `20ms` or a bare number."""
    if text is None or (plain := number(text)) is not None:
        return None if text is None else plain
    parts = _PART.findall(text)
    return sum(float(count) * _SECONDS[unit] for count, unit in parts) if parts else None


def retry_after(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """What the service asks us to wait, in whichever form: milliseconds, seconds or a date."""
    if (ms := number(headers.get("retry-after-ms"))) is not None:
        return _bounded(ms / 1000)
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := number(text)) is not None:
        return _bounded(seconds)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(timedelta(), moment - now)


def _bounded(seconds: float) -> timedelta:
    return timedelta(seconds=min(seconds, _DAY))
