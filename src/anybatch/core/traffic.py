"""How many requests there are to be in which time, from what somebody typed."""

import re
from datetime import timedelta
from typing import NamedTuple

from ..errors import BadSettings

_EVERY = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=365) / 12,
    "year": timedelta(days=365),
}
_TRAFFIC = re.compile(r"(\d[\d_,]*)([kM]?)(?:/(\w+))?")
_TIMES = {"": 1, "k": 1_000, "M": 1_000_000}
_MOST = 10**12

MONTH, YEAR = _EVERY["month"], _EVERY["year"]


class Traffic(NamedTuple):
    """So many requests."""

    requests: int
    unit: str
    """In each of these: `day`, `hour`, …; empty: once."""

    def times_in(self, span: timedelta) -> float:
        """How often all of them come in so long a time."""
        return span / _EVERY[self.unit] if self.unit else 1.0


def traffic(text: str) -> Traffic:
    """What `1000/day`, `5k/hour` or `250000` mean. Raises BadSettings."""
    found = _TRAFFIC.fullmatch(text.strip())
    unit = "" if found is None else found[3] or ""
    if found is None or (unit and unit not in _EVERY):
        raise BadSettings(
            f"--requests {text!r}: write 1000/day, or a number alone; also of a "
            f"{', '.join(word for word in _EVERY if word != 'day')}"
        )
    requests = int(re.sub("[_,]", "", found[1])) * _TIMES[found[2]]
    if not 0 < requests <= _MOST:
        raise BadSettings(f"--requests {text!r} must be more than none, and {_MOST:,} at most")
    return Traffic(requests, unit)
