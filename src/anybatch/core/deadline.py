"""When a run is to be done, from what somebody typed."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from ..errors import BadSettings

ToLocal = Callable[[datetime], datetime]
"""A moment, or one that names no time zone and is meant here, in the caller's time zone.
`datetime.astimezone` does so for the machine's own."""

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_SPAN = re.compile(r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m(?:in)?)?(?:(\d{1,8})s)?")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}\S*")
_MOST = timedelta(days=365)


def deadline(text: str, *, now: datetime, local: ToLocal) -> datetime:
    """The moment that `text` means, in UTC: the next 06:00, 4h or 1d12h from now, or an ISO time.

    What names no time zone is meant in the caller's. Raises BadSettings, for what is over too.
    """
    word = text.strip()
    at = _by_clock(word, now, local) or _by_span(word, now) or _by_moment(word, local)
    if at is None:
        raise BadSettings(
            f"--by {text!r} is no time: write 06:00, 4h, 30m or 2026-11-21T06:00, as your clock "
            "shows it, or with Z for UTC"
        )
    if at <= now:
        raise BadSettings(
            f"--by {text!r} is over: it is {local(now):%Y-%m-%d %H:%M %Z} now. Name a later time, "
            "or so much from now as 4h"
        )
    if at - now > _MOST:
        raise BadSettings(f"--by {text!r} is more than a year away; name an earlier time")
    return at


def _by_clock(word: str, now: datetime, local: ToLocal) -> datetime | None:
    found = _CLOCK.fullmatch(word)
    if found is None:
        return None
    here = local(now)
    hours = time(int(found[1]), int(found[2]))
    days = (here.date() + timedelta(days=ahead) for ahead in range(2))
    moments = (local(datetime.combine(day, hours)).astimezone(UTC) for day in days)
    return next(at for at in moments if at > now)


def _by_span(word: str, now: datetime) -> datetime | None:
    found = _SPAN.fullmatch(word)
    if found is None or not word:
        return None
    days, hours, minutes, seconds = (int(count or 0) for count in found.groups())
    return now.astimezone(UTC) + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _by_moment(word: str, local: ToLocal) -> datetime | None:
    if _MOMENT.fullmatch(word) is None:
        return None
    try:
        at = datetime.fromisoformat(word)
        return (local(at) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
