"""How fast and how many at once: rate buckets, an adaptive window, and the service's own wishes.

Times are seconds on a monotonic clock that the caller reads.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import ceil

from ..core.model import Usage
from .calls import Sleep, pause
from .parties import ALONE, Line, Party

_MINUTE = 60.0
_DAY = 86_400.0
_PATIENCE = 120.0
"""So many seconds at most a call waits for what we make of a service's headers. If we are wrong,
its next reply says so, and there is one only if a call goes out."""
_MOMENT = 1e9
"""A number from here on is no duration but a moment, in seconds since 1970 or in parts of them."""
_DUST = 1e-6
"""Less than this is not waited for: it is what floating point leaves over."""

_GROWN_FROM = 32
_SHRINK = 0.7
_PROBE = 16.0
"""So many times slower the window grows where it last was too large."""
_MEMORY = 64.0
"""Over so many calls, or a window if that is more, the share of failures is taken."""
_TOO_MANY = 0.1

_LOOK_AGAIN = 1.0
"""Seconds after which a waiting call asks anew: limits may have been learned meanwhile."""


class Bucket:
    """So much a minute, evenly refilled.

    A call may go once its amount is there; one larger than the bucket, once that is full, and what
    it takes beyond is owed by those that follow.
    """

    def __init__(self, per_minute: float | None, *, now: float) -> None:
        self._fixed = per_minute is not None
        self._rate = None if per_minute is None else per_minute / _MINUTE
        # A second's worth may go out at once; more would be a burst at the start.
        self._capacity = max(1.0, self._rate or 0.0)
        self._level = self._capacity
        self._at = now

    @property
    def unlimited(self) -> bool:
        return self._rate is None

    def minutes(self, amount: float) -> float:
        """How long so much takes, evenly; 0 where no rate is known."""
        return 0.0 if self._rate is None else amount / (self._rate * _MINUTE)

    def wait(self, amount: float, *, now: float) -> float:
        """Seconds until `amount` may be taken."""
        if self._rate is None:
            return 0.0
        self._refill(now)
        missing = min(amount, self._capacity) - self._level
        return 0.0 if missing < _DUST else missing / self._rate

    def take(self, amount: float, *, now: float) -> None:
        """Take `amount`; a negative one is given back."""
        self._refill(now)
        self._level -= amount
        if not self._fixed:
            # What a service told is not worth more debt than it can be waited for.
            self._level = max(self._level, -self._capacity)

    def _refill(self, now: float) -> None:
        gained = (now - self._at) * (self._rate or 0.0)
        self._level = min(self._capacity, self._level + gained)
        self._at = now

    def learn(
        self, *, limit: float, remaining: float, reset: float, longest: float, now: float
    ) -> None:
        """Adopt what a reply says of the service's own bucket, unless the user set a rate.

        The window is not told but follows: `limit - remaining` takes `reset` seconds to refill. It
        is no longer than `longest` seconds.
        """
        if self._fixed or limit < 1 or remaining >= limit or reset <= 0:
            return
        self._refill(now)
        window = min(longest, max(1.0, reset * limit / (limit - remaining)))
        first = self._rate is None
        self._rate = limit / window
        self._capacity = max(1.0, limit)
        # Calls under way are in our level and not yet in `remaining`.
        self._level = remaining if first else min(self._level, remaining)


class Window:
    """How many calls may be in flight: grows while the service is healthy, shrinks when it is not.

    Doubles a round trip until the first overload, then grows by one a round trip, and by far less
    where it last was too large. However many calls of one window report overload, it shrinks once:
    they all tell of the same moment.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(most, _GROWN_FROM))
        self.in_flight = 0
        self._ceiling: float | None = None
        """Where it last was too large; None: it never was."""
        self._shrunk_at = -1.0
        self._failing = 0.0
        """The share of late calls that failed."""
        self._waiting = Line()

    def entered(self) -> bool:
        """Take a place, if one is free and nobody waits for it."""
        if self._waiting or self.in_flight >= int(self.limit):
            return False
        self.in_flight += 1
        return True

    async def enter(self, party: Party = ALONE) -> None:
        """Take a place for `party`, waiting in line for it."""
        if self.entered():
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(party, place)
        self._hand_out()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free places to those in line; a place is theirs before they run again."""
        while self._waiting and self.in_flight < int(self.limit):
            place = self._waiting.take()
            if place is not None:
                self.in_flight += 1
                place.set_result(None)

    def healthy(self) -> None:
        """A call was answered."""
        if self.limit == self.most and not self._failing:
            return
        self._failing -= self._failing / self._memory
        self.limit = min(self.most, self.limit + self._step)
        self._hand_out()

    @property
    def _step(self) -> float:
        if self._ceiling is None:
            return 1.0
        near = self._ceiling - 1 <= self.limit < self._ceiling
        return 1.0 / self.limit / (_PROBE if near else 1.0)

    @property
    def _memory(self) -> float:
        return max(_MEMORY, self.limit)

    def failed(self, *, sent_at: float, now: float) -> None:
        """A call sent at `sent_at` failed, which is taken for overload once a tenth of them do."""
        self._failing += (1.0 - self._failing) / self._memory
        if self._failing > _TOO_MANY:
            self.overloaded(sent_at=sent_at, now=now)

    def overloaded(self, *, sent_at: float, now: float) -> None:
        """A call sent at `sent_at` was turned away for there being too many."""
        if sent_at <= self._shrunk_at:
            return
        self._failing = 0.0
        self._shrunk_at = now
        self._ceiling = self.limit
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
        # Only the first in line looks at the clock and the buckets; so who came first goes first,
        # and nobody sleeps by a rate that is no longer true.
        self._line = asyncio.Lock()
        self.waiting: str | None = None
        """Why calls are being held back, in a few words, and for how long if that is a while."""

    async def admit(self, tokens: int, *, stop: asyncio.Event, party: Party = ALONE) -> bool:
        """Wait until a call of about `tokens` may go out, its place taken; False if stopped."""
        if self._is_open() and not stop.is_set() and self.window.entered():
            return True  # as it mostly is
        await self.window.enter(party)
        admitted = False
        try:
            admitted = not stop.is_set() and self._is_open()
            if not admitted:
                async with self._line:
                    admitted = await self._passed(tokens, stop=stop)
        finally:
            if not admitted:
                self.window.leave()
        return admitted

    def _is_open(self) -> bool:
        """Whether no rate is known and no pause was asked for: then there is no line."""
        unlimited = self._requests.unlimited and self._tokens.unlimited
        return unlimited and (not self._not_before or self._not_before <= self._monotonic())

    async def _passed(self, tokens: int, *, stop: asyncio.Event) -> bool:
        try:
            while not stop.is_set():
                seconds, why = self._held(tokens)
                if seconds <= _DUST:
                    self._requests.take(1, now=self._monotonic())
                    self._tokens.take(tokens, now=self._monotonic())
                    return True
                self.waiting = why if seconds <= _LOOK_AGAIN else f"{why}, {ceil(seconds)} s"
                await pause(min(seconds, _LOOK_AGAIN), stop=stop, sleep=self._sleep)
            return False
        finally:
            self.waiting = None

    def _held(self, tokens: int) -> tuple[float, str]:
        """How long the next call must wait at least, and for what."""
        now = self._monotonic()
        return max(
            (self._not_before - now, "the service asked for a pause"),
            (self._requests.wait(1, now=now), "requests per minute"),
            (self._tokens.wait(tokens, now=now), "tokens per minute"),
        )

    def takes(self, requests: int, tokens: int) -> float:
        """Seconds that so much takes at least, by the rates that are known by now."""
        now = self._monotonic()
        pause = max(0.0, self._not_before - now)
        minutes = max(self._requests.minutes(requests), self._tokens.minutes(tokens))
        return pause + minutes * _MINUTE

    def settle(self, guessed: int, usage: Usage) -> None:
        """A call admitted at `guessed` tokens was answered with `usage`, if it says any."""
        if self._tokens.unlimited:
            return
        used = usage.tokens_in + usage.tokens_out
        if used:
            self._tokens.take(used - guessed, now=self._monotonic())

    def hold(self, wait: timedelta) -> None:
        """Nobody sends for `wait`: the service asked one of us, and means us all."""
        self._not_before = max(self._not_before, self._monotonic() + wait.total_seconds())

    def learn(self, headers: Mapping[str, str], *, now: datetime | None = None) -> None:
        """Read a reply's `x-ratelimit-*` headers.

        Some services write a moment instead of a duration; without `now` it teaches nothing.
        """
        for kind, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            limit = number(headers.get(f"x-ratelimit-limit-{kind}"))
            if limit is None:
                continue
            remaining = number(headers.get(f"x-ratelimit-remaining-{kind}"))
            told = headers.get(f"x-ratelimit-reset-{kind}")
            reset = duration(told, now=now)
            if remaining is None or reset is None:
                continue
            # A bare number may be milliseconds. Who writes `2h` means it, and a limit a day too.
            longest = _PATIENCE
            if kind == "requests" and number(told) is None:
                longest = min(_DAY, _PATIENCE * limit)
            at = self._monotonic()
            bucket.learn(limit=limit, remaining=remaining, reset=reset, longest=longest, now=at)


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY}


def number(text: str | None) -> float | None:
    """A header's number, None for anything else."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None


def duration(text: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds of a duration such as `6m0s`, `20ms` or a bare number, or until a moment as a number.

    A moment is read only if we are told what it is `now`.
    """
    if text is None:
        return None
    if (plain := number(text)) is not None:
        return plain if plain < _MOMENT else _until(plain, now)
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(text))


def _until(moment: float, now: datetime | None) -> float | None:
    """Seconds from `now` until `moment`, in seconds since 1970 or in thousandths and so on."""
    while moment >= _MOMENT * 1000:
        moment /= 1000
    return None if now is None else max(0.0, moment - now.timestamp())


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
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _bounded((moment - now).total_seconds())


def _bounded(seconds: float) -> timedelta:
    return timedelta(seconds=max(0.0, min(seconds, _DAY)))
