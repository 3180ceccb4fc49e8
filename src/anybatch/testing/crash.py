"""Crash injection: watch the effects of a program go by, or die before or after any one of them.

A crash test runs once under `Watch` to learn the boundaries; then, for each boundary, it runs under
`CrashAt`, restarts, and looks at what is left.
"""

from fnmatch import fnmatchcase
from threading import Lock

from ..effects import Moment

Crossing = tuple[str, Moment]
"""An effect's name and the side of it that was crossed."""


class Crash(BaseException):
    """The process died here.

    Not an `Exception`, so that no `except Exception` in the program under test survives it.
    """


class Watch:
    """A probe that lets everything pass and writes down what passed."""

    def __init__(self, *, only: str = "*") -> None:
        self._only = only
        self._crossings: list[Crossing] = []
        self._lock = Lock()  # guards _crossings: effects happen in several threads

    def __call__(self, name: str, moment: Moment) -> None:
        if not fnmatchcase(name, self._only):
            return
        with self._lock:
            self._crossings.append((name, moment))

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """What has passed so far, in order."""
        with self._lock:
            return tuple(self._crossings)


class CrashAt:
    """A probe that dies at the `k`-th crossing (1-based) of an effect whose name matches `only`.

    A dead process has no more effects: after the crash every crossing of any effect raises again,
    those in `finally` blocks and in other threads included.
    """

    def __init__(self, k: int, *, only: str = "*") -> None:
        if k < 1:
            raise ValueError(f"crossings are counted from 1, and k is {k!r}")
        self._k = k
        self._only = only
        self._seen = 0
        self._at: Crossing | None = None
        self._lock = Lock()  # guards _seen and _at: effects happen in several threads

    def __call__(self, name: str, moment: Moment) -> None:
        with self._lock:
            if self._at is None and fnmatchcase(name, self._only):
                self._count((name, moment))
            at = self._at
        if at is not None:
            raise Crash(f"died {at[1]} {at[0]!r}, crossing {self._k}")

    def _count(self, crossing: Crossing) -> None:
        self._seen += 1
        if self._seen == self._k:
            self._at = crossing

    @property
    def crashed(self) -> bool:
        """Whether it has died; False after a run means that `k` was beyond the last crossing."""
        return self.at is not None

    @property
    def at(self) -> Crossing | None:
        """Where it died."""
        with self._lock:
            return self._at
