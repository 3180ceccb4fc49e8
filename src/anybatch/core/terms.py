"""What is asked of a run besides its answers, from what was typed."""

from datetime import datetime
from math import isfinite

from ..errors import BadSettings
from .deadline import ToLocal, deadline
from .model import Preference, Terms

NO_TERMS = Terms()

_PREFERENCES: dict[str, Preference] = {"cheap": "cheap", "fast": "fast"}


def terms_of(
    *,
    by: str | None,
    budget: float | None,
    prefer: str,
    now: datetime,
    preview: int = 0,
    overflow: str | None = None,
    local: ToLocal = datetime.astimezone,
) -> Terms:
    """Raises BadSettings for a time that is none or is over, and for what is no sum of money."""
    if prefer not in _PREFERENCES:
        raise BadSettings(f"--prefer {prefer!r} is unknown; use cheap, fast")
    if budget is not None and not (isfinite(budget) and budget > 0):
        raise BadSettings(f"--budget {budget!r} is no sum of money; write dollars, as 25 or 0.50")
    if overflow not in (None, "batch"):
        raise BadSettings(f"--overflow {overflow!r} is unknown; use batch")
    if type(preview) is not int or preview < 0:
        raise BadSettings(f"--preview {preview!r} is no number of rows; write it as 50")
    return Terms(
        by=None if by is None else deadline(by, now=now, local=local),
        budget=budget,
        prefer=_PREFERENCES[prefer],
        preview=preview,
        overflow=overflow is not None,
    )
