"""What became of each HTTP exchange with a fake service."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from .faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One call to the service and its answer."""

    operation: str
    """`create`, `poll`, …; empty for an address or a key that the service does not know."""
    number: int
    """1-based among those of its operation; 0 without one."""
    method: str
    path: str
    outcome: Literal["answered", "lost", "unexecuted"] = "unexecuted"
    """`lost`: it was executed, and no whole answer went out that says so."""
    status: int | None = None
    """The HTTP status that was sent; None: none was."""
    fault: Fault | None = None


class Exchanges:
    """All of them, in the order of their ends. Read it at any time, from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards _all: the service's thread writes, the test's threads read
        self._all: list[Exchange] = []

    def note(self, exchange: Exchange) -> None:
        with self._lock:
            self._all.append(exchange)

    @property
    def all(self) -> tuple[Exchange, ...]:
        with self._lock:
            return tuple(self._all)

    def of(self, operation: str) -> tuple[Exchange, ...]:
        return tuple(one for one in self.all if one.operation == operation)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there were of each operation."""
        return Counter(one.operation for one in self.all)
