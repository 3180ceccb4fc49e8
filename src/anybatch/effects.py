"""The boundary that every effect on the world passes: a write, an fsync, a transaction, a call.

In production it is open and costs a function call. Tests put a probe there to watch the effects go
by, or to die before or after any one of them.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Literal

Moment = Literal["before", "after"]
Probe = Callable[[str, Moment], None]
"""Called with the effect's name (`journal.write`, `http.send`, …); it may raise."""


def unwatched(name: str, moment: Moment) -> None:
    """The probe of production: lets everything pass."""


class effect:
    """Mark the body as one effect. A body that raises has no "after".

    A class, because calls pass here by the thousand and a generator costs three times as much.
    """

    __slots__ = ("_name", "_probe")

    def __init__(self, name: str, probe: Probe) -> None:
        self._name = name
        self._probe = probe

    def __enter__(self) -> None:
        self._probe(self._name, "before")

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        if kind is None:
            self._probe(self._name, "after")
