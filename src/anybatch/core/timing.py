"""How long batches take at a provider, phase by phase, and which of them take too long."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from .model import Batch, Late

ENOUGH = 8
"""So many phases tell how long one takes."""
KEPT = 100
"""So many of each phase are remembered, the newest."""

_LEAST = timedelta(minutes=1)
"""What takes less is not slow, however quick others were: we do not look more often."""
_FAILS_FOR = timedelta(minutes=10)
"""What lasts no longer passes by itself, and nobody needs to hear of it."""
_TIMES_P95 = 3
_SHARE_OF_WINDOW = 0.6
"""Of the provider's window, without a row done."""


class Timing(NamedTuple):
    """How long one batch was in a phase."""

    phase: str
    """The provider's own word."""
    seconds: float


class Usual(NamedTuple):
    """How long a phase takes."""

    known: int
    """Of so many batches."""
    p50: timedelta
    p95: timedelta


def usual_of(timings: Iterable[Timing]) -> dict[str, Usual]:
    """How long each phase takes of which enough is known."""
    by_phase: dict[str, list[float]] = {}
    for timing in timings:
        by_phase.setdefault(timing.phase, []).append(timing.seconds)
    return {
        phase: _usual(sorted(seconds))
        for phase, seconds in by_phase.items()
        if len(seconds) >= ENOUGH
    }


def _usual(ordered: Sequence[float]) -> Usual:
    p50, p95 = (timedelta(seconds=quantile(ordered, share)) for share in (0.5, 0.95))
    return Usual(len(ordered), p50, p95)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which lies this share of them; between two, in proportion."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def lateness(
    batch: Batch, *, usual: Mapping[str, Usual], window: timedelta | None, now: datetime
) -> Late | None:
    """What is unusual about how long a batch is taking; None: nothing is.

    `slow`: longer in its phase than 95 % are. `stuck`: three times that without a row more done, or
    beyond the provider's `window`, or for most of it with no row done at all; or no step of it gets
    through.
    """
    remote = batch.remote
    if remote is None:
        return None
    if remote.failing_since is not None and now - remote.failing_since > _FAILS_FOR:
        return Late(word="stuck", why=f"no step of it gets through: {remote.why}")
    if batch.status != "running" or remote.sent_at is None:
        return None
    age = now - remote.sent_at
    if window is not None and age > window:
        return Late(word="stuck", why=f"the provider promised an end within {_said(window)}")
    if window is not None and age > window * _SHARE_OF_WINDOW and not remote.done:
        return Late(word="stuck", why=f"no row is done after {_said(age)}")
    phase = usual.get(remote.status or "")
    if phase is None or remote.phase_since is None:
        return None
    limit = max(phase.p95, _LEAST)
    moved_at = max(remote.phase_since, remote.progress_at or remote.phase_since)
    if now - moved_at > limit * _TIMES_P95:
        still = f"nothing moved for {_said(now - moved_at)}"
        return Late(word="stuck", why=f"{still}; 95 % are over within {_said(phase.p95)}")
    if now - remote.phase_since > limit:
        return Late(word="slow", why=f"95 % are over within {_said(phase.p95)}")
    return None


def is_news(late: Late | None, known: Late | None) -> bool:
    """Whether there is something to tell that was not told before."""
    return late is not None and (known is None or (late.word, known.word) == ("stuck", "slow"))


def span(seconds: float) -> str:
    """A duration as people say it: 40 s, 3 min 20 s, 2 h 5 min."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _said(length: timedelta) -> str:
    return span(length.total_seconds())
