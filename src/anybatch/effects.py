"""The boundary that every effect on the world passes: a write, an fsync, a transaction, a call.

In production it is open and costs a function call. Tests put a probe there to watch the effects go
by, or to die before or after any one of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Moment = Literal["before", "after"]
Probe = Callable[[str, Moment], None]
"""Called with the effect's name (`journal.write`, `http.send`, …); it may raise."""


def unwatched(name: str, moment: Moment) -> None:
    """The probe of production: lets everything pass."""


@contextmanager
def effect(name: str, probe: Probe) -> Iterator[None]:
    """Mark the body as one effect. A body that raises has no "after"."""
    probe(name, "before")
    yield
    probe(name, "after")
