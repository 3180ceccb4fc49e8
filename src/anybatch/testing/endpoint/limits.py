"""The rate limits a fake endpoint enforces: requests and tokens a minute, calls at once."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the endpoint lets through; None: as much as comes."""

    rpm: int | None = None
    """Requests a minute."""
    tpm: int | None = None
    """Tokens a minute: those of the prompt and the output budget, or else of the answer."""
    max_in_flight: int | None = None
    burst: float = 1.0
    """The part of a minute's allowance that may be used at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a call is not let through, and when to come again."""

    message: str
    seconds: float


class Bucket:
    """An allowance that refills evenly: `per_minute` in all, at most `capacity` kept."""

    def __init__(self, per_minute: int, *, burst: float, now: float) -> None:
        self.per_minute = per_minute
        self._capacity = max(1.0, per_minute * burst)
        self._level = self._capacity
        self._at = now

    def level(self, now: float) -> float:
        refilled = self._level + (now - self._at) * self.per_minute / 60
        self._level, self._at = min(self._capacity, refilled), now
        return self._level

    def take(self, amount: float, now: float) -> None:
        self._level = self.level(now) - amount

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; 0 when it is, or when it never will be and all is."""
        missing = min(amount, self._capacity) - self.level(now)
        # Float dust must not turn away the client that waited as long as it was told to.
        return 0.0 if missing < 1e-6 else missing * 60 / self.per_minute

    def headers(self, kind: str, now: float) -> dict[str, str]:
        level = self.level(now)
        refill = (self._capacity - level) * 60 / self.per_minute
        return {
            f"x-ratelimit-limit-{kind}": str(self.per_minute),
            f"x-ratelimit-remaining-{kind}": str(max(0, math.floor(level))),
            f"x-ratelimit-reset-{kind}": _duration(refill),
        }


class Gate:
    """Lets calls through or turns them away. Belongs to the endpoint's thread."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        now = monotonic()
        self._buckets = {
            kind: Bucket(per_minute, burst=limits.burst, now=now)
            for kind, per_minute in (("requests", limits.rpm), ("tokens", limits.tpm))
            if per_minute is not None
        }

    def enter(self, *, tokens: int, running: int) -> Refusal | None:
        """Take the call's part of the allowance; or take nothing, and say why not."""
        most = self._limits.max_in_flight
        if most is not None and running >= most:
            return Refusal(message=f"Too many concurrent requests. Limit: {most}.", seconds=0.05)
        now = self._monotonic()
        amounts = {"requests": 1, "tokens": tokens}
        for kind, bucket in self._buckets.items():
            if seconds := bucket.wait(amounts[kind], now):
                return _refusal(kind, bucket, seconds)
        for kind, bucket in self._buckets.items():
            bucket.take(amounts[kind], now)
        return None

    def headers(self) -> Mapping[str, str]:
        """The `x-ratelimit-…` headers that stand on every answer."""
        if not self._buckets:
            return {}
        now = self._monotonic()
        headers: dict[str, str] = {}
        for kind, bucket in self._buckets.items():
            headers |= bucket.headers(kind, now)
        return headers


def _refusal(kind: str, bucket: Bucket, seconds: float) -> Refusal:
    limit = f"Limit: {bucket.per_minute} {kind} per minute."
    return Refusal(
        message=f"Rate limit reached. {limit} Please try again in {seconds:.3f}s.", seconds=seconds
    )


def _duration(seconds: float) -> str:
    """As OpenAI writes it: `12ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 1000) / 1000:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s"
