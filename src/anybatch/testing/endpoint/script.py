"""Scripts of calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ..service.faults import Fault
from ..service.script import by_number
from .call import Call

Script = Callable[[Call], Fault | None]
"""Says what befalls a call; None: nothing does."""
Scripted: TypeAlias = Script | Mapping[int, Fault] | Sequence[Fault | None]
"""A script; or faults by call number; or the faults of the first calls, in order."""


def as_script(scripted: Scripted) -> Script:
    if callable(scripted):
        return scripted
    faults = by_number(scripted)
    return lambda call: faults.get(call.number)
