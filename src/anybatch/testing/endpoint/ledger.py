"""What a real service would have billed: every execution, delivered or not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Literal

Outcome = Literal["answered", "lost"]
"""`lost`: executed, and no whole, usable answer went out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of the model."""

    number: int
    """Of the call, 1-based, in the order of arrival."""
    attempt: int
    """1-based: the how-manieth call with exactly this body it was."""
    path: str
    sha: str
    """SHA-256 of the body, in hex."""
    model: str
    prompt: str
    tokens_in: int
    tokens_out: int
    cached: int = 0
    """The part of `tokens_in` that came from a prompt cache."""
    written: int = 0
    """The part that was written into one, for minutes."""
    kept: int = 0
    """The part that was written into one, for an hour."""
    reasoning: int = 0
    """The part of `tokens_out` that was spent thinking."""
    status: int | None
    """The HTTP status that was sent; None: none was."""
    outcome: Outcome


class Ledger:
    """The executions of one endpoint. Read it at any time, from any thread."""

    def __init__(self) -> None:
        # guards all below: the endpoint's thread writes, the test's threads read
        self._lock = Lock()
        self._executions: list[Execution] = []
        self._statuses: Counter[int] = Counter()
        self._received = 0
        self._running = 0
        self._peak = 0

    @property
    def executions(self) -> tuple[Execution, ...]:
        """All of them, in the order they began. One under way counts as `lost` until its end."""
        with self._lock:
            return tuple(self._executions)

    def executions_of(self, prompt: str) -> tuple[Execution, ...]:
        """Those of exactly this prompt."""
        return tuple(one for one in self.executions if one.prompt == prompt)

    @property
    def by_body(self) -> Mapping[str, int]:
        """Executions per body, by its SHA-256."""
        return Counter(one.sha for one in self.executions)

    @property
    def by_prompt(self) -> Mapping[str, int]:
        """Executions per prompt."""
        return Counter(one.prompt for one in self.executions)

    @property
    def repeated(self) -> int:
        """Executions beyond the first of the same body: what was paid for more than once."""
        return sum(times - 1 for times in self.by_body.values())

    @property
    def lost(self) -> int:
        """Executions whose answer never went out whole."""
        return sum(one.outcome == "lost" for one in self.executions)

    @property
    def tokens(self) -> int:
        """All tokens billed, in and out."""
        return sum(one.tokens_in + one.tokens_out for one in self.executions)

    @property
    def received(self) -> int:
        """Calls that arrived with a valid key, executed or not."""
        with self._lock:
            return self._received

    @property
    def statuses(self) -> Mapping[int, int]:
        """How often each HTTP status was sent in answer to them."""
        with self._lock:
            return Counter(self._statuses)

    @property
    def running(self) -> int:
        """Executions that are under way now."""
        with self._lock:
            return self._running

    @property
    def peak(self) -> int:
        """The most executions that were ever under way at once."""
        with self._lock:
            return self._peak

    def arrive(self) -> int:
        """Count a call in and return its number."""
        with self._lock:
            self._received += 1
            return self._received

    def begin(self, execution: Execution | None) -> int | None:
        """Note what a call begins to execute, if anything; returns that entry's place."""
        with self._lock:
            if execution is None:
                return None
            self._running += 1
            self._peak = max(self._peak, self._running)
            self._executions.append(execution)
            return len(self._executions) - 1

    def end(self, place: int | None, *, status: int | None, outcome: Outcome) -> None:
        """Note how the call ended."""
        with self._lock:
            if status is not None:
                self._statuses[status] += 1
            if place is not None:
                self._running -= 1
                ended = replace(self._executions[place], status=status, outcome=outcome)
                self._executions[place] = ended

    def abandon(self) -> None:
        """Note that what was under way will never end: the endpoint has stopped."""
        with self._lock:
            self._running = 0
