"""Calls a minute: who may call now, and who has to wait."""

import math

_MINUTE_S = 60.0


class Rates:
    """What the owners have left of the calls they may make a minute. Belongs to the event loop."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        """When an owner who called no more would have all its calls again."""

    def wait_s(self, owner: str, rpm: int, *, now: float) -> int:
        """Note a call that may be made, and 0; else, noting nothing, in how many seconds it may.

        A minute's calls may come at once.
        """
        due = max(self._due.get(owner, now), now) + _MINUTE_S / rpm
        if due - now > _MINUTE_S + 1e-6:
            return math.ceil(due - now - _MINUTE_S)
        self._due[owner] = due
        return 0
