"""Faults and fates in words, for who has nothing but a command line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from .batches.life import End, Fate
from .batches.rows import RowScript
from .service.faults import (
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Cut,
    Delay,
    Fault,
    Mangled,
    Spoiled,
    Stall,
    Status,
    Unrun,
)
from .service.front import Faults, Operation
from .service.script import Scripted, at_random, by_number

WORDS: Final[Mapping[str, Fault | None]] = {
    "ok": None,
    "lost": Status(500, executed=True),
    "cut": Cut("executed"),
    "half": Cut("midway"),
    "undone": Cut("unexecuted"),
    "html": HTML_PAGE,
    "empty": EMPTY,
    "malformed": MALFORMED,
}
TIMED: Final[Mapping[str, Callable[[float], Fault]]] = {"late": Delay, "stall": Stall}
"""Words with seconds behind a colon."""
USUAL: Final[Sequence[Fault]] = (
    Status(500, executed=True),
    Status(503),
    Status(429),
    Cut("executed"),
    Cut("midway"),
    Cut("unexecuted"),
)
"""What befalls exchanges."""
USUAL_OF_ROWS: Final[Sequence[Fault]] = (
    Status(400),
    Status(500),
    Unrun("expired"),
    Spoiled("truncated"),
    Spoiled("refused"),
    Mangled("missing"),
)


def fault_of(word: str) -> Fault | None:
    """`lost`, `429` or `late:2` as a fault. Raises ValueError for what is none."""
    name, _, number = word.partition(":")
    if word in WORDS:
        return WORDS[word]
    if name in TIMED and number:
        return TIMED[name](float(number))
    if word.isdigit() and 400 <= int(word) <= 599:
        return Status(int(word))
    known = ", ".join((*WORDS, *(f"{name}:SECONDS" for name in TIMED)))
    raise ValueError(f"{word!r} is no fault; there are {known} and HTTP statuses")


def faults_of(told: Iterable[str], operations: Iterable[str], *, share: float, seed: int) -> Faults:
    """`create=lost,429` for each operation; beyond that, `share` of all exchanges fail.

    Raises ValueError for what is not understood.
    """
    first = dict(map(_told, told))
    chance = at_random(share, *USUAL, seed=seed)
    if not share:
        return first
    return {name: _either(first.get(name, ()), chance) for name in {*operations, *first}}


def row_faults_of(share: float, *, seed: int) -> RowScript | None:
    """This share of the rows fail."""
    return at_random(share, *USUAL_OF_ROWS, seed=seed) if share else None


def _told(told: str) -> tuple[str, Scripted[Operation]]:
    operation, found, words = told.partition("=")
    if not operation or not found:
        raise ValueError(f"{told!r} is not of the form OPERATION=FAULT,…")
    return operation, [fault_of(word) for word in words.split(",")]


def _either(
    first: Scripted[Operation], chance: Callable[[Operation], Fault | None]
) -> Scripted[Operation]:
    by_turn = by_number(first)

    def script(operation: Operation) -> Fault | None:
        return by_turn.get(operation.number) or chance(operation)

    return script


def fate_of(told: str, ends: Sequence[End]) -> Fate:
    """`expired:6` as a fate: after six rows. Raises ValueError for what is none of `ends`."""
    word, _, done = told.partition(":")
    for end in ends:
        if word == end:
            return Fate(ends=end, done=int(done or 0))
    raise ValueError(f"no batch of its ends as {word!r}; one ends as {', '.join(ends)}")
