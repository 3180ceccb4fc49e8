"""Scripts: which call, operation or row meets which fault."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

from .faults import Fault


class Arrival(Protocol):
    """What a script can know of whatever it is asked about."""

    @property
    def number(self) -> int:
        """1-based, in the order of arrival."""

    @property
    def attempt(self) -> int:
        """1-based: the how-manieth that is exactly like this one."""

    @property
    def sha(self) -> str:
        """A digest of what makes it like another."""

    @property
    def body(self) -> bytes: ...


A = TypeVar("A")

Script: TypeAlias = Callable[[A], Fault | None]
"""Says what befalls an arrival; None: nothing does."""
Scripted: TypeAlias = Callable[[A], Fault | None] | Mapping[int, Fault] | Sequence[Fault | None]
"""A script; or faults by number; or the faults of the first ones, in order."""


def matching(pattern: str, fault: Fault, *, times: int | None = None) -> Script[Arrival]:
    """`fault` for every body in which the regular expression is found.

    With `times`, for the first so many calls of each such body; then it goes well.
    """
    found = re.compile(pattern.encode()).search

    def script(arrival: Arrival) -> Fault | None:
        spared = times is not None and arrival.attempt > times
        return None if spared or not found(arrival.body) else fault

    return script


def at_random(share: float, *faults: Fault, seed: int) -> Script[Arrival]:
    """One of `faults` for this share of the calls.

    Chance depends on the seed, the body and the attempt alone: the same calls meet the same faults
    in whatever order they arrive.
    """
    if not faults:
        raise ValueError("at_random needs at least one fault")

    def script(arrival: Arrival) -> Fault | None:
        chance, choice = _draw(f"{seed}/{arrival.sha}/{arrival.attempt}")
        return faults[choice % len(faults)] if chance < share else None

    return script


def first_of(*scripts: Script[A]) -> Script[A]:
    """What the first script that has something to say says."""

    def script(arrival: A) -> Fault | None:
        return next((fault for one in scripts if (fault := one(arrival)) is not None), None)

    return script


def by_number(scripted: Scripted[A]) -> Mapping[int, Fault]:
    """The faults that hang on a number alone."""
    if callable(scripted):
        return {}
    if isinstance(scripted, Mapping):
        return scripted
    return {place: fault for place, fault in enumerate(scripted, start=1) if fault is not None}


def _draw(seed: str) -> tuple[float, int]:
    """A number from [0, 1) and an independent whole number."""
    digest = hashlib.sha256(seed.encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64, int.from_bytes(digest[8:16])
