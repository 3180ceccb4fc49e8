"""The life of a batch on a clock: what is due, given how far it is and what time it is.

Nothing here reads a clock or runs a row. A life is a value; `next_step` says what is to be done
about it, and `catch_up` has the batch do it until nothing more is due. Times are seconds since
1970.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, TypeAlias, assert_never, get_args

Stage = Literal[
    "validating",
    "in_progress",
    "finalizing",
    "cancelling",
    "completed",
    "failed",
    "expired",
    "cancelled",
]
End = Literal["completed", "failed", "expired", "cancelled"]
OVER: Final = frozenset[Stage](get_args(End))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """How long each phase of a batch takes, in seconds; `math.inf`: it never ends.

    Rows are done evenly over `in_progress`. A phase of 0 s is over as soon as somebody looks, so
    that without any phases the first look at a batch finds it completed.
    """

    validating: float = 0.0
    in_progress: float = 0.0
    finalizing: float = 0.0
    cancelling: float = 0.0
    seen: bool = False
    """True: each look moves the batch by one phase at most, so that no phase goes by unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a batch failed its validation."""

    code: str
    message: str
    line: int | None = None
    """1-based; None: it concerns the whole batch."""
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What befalls a batch, whatever its rows meet."""

    ends: End = "completed"
    """`failed`: with `problems`, and nothing runs. `expired`, `cancelled`: after `done` rows, when
    `in_progress` would be over."""
    done: int = 0
    problems: Sequence[Problem] = ()
    phases: Phases | None = None
    """None: those of the service."""
    words: Sequence[str] = ()
    """What the first looks are told instead of its status, one a look."""
    lost: Collection[int] = ()
    """Which looks at it (1-based) are told that there is no such batch; `range(3, 6)`, say."""
    unlisted: int = 0
    """How many lists leave it out at first."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Counts that are told instead of the true ones."""
    late_files: int = 0
    """How often each of its result files is not found at first."""
    no_files: bool = False
    """Its result files are made, and their ids are not told."""
    blank_ids: bool = False
    """A file that there is not has the id "" instead of null."""


PLAIN: Final = Fate()

Fates: TypeAlias = Callable[[int], Fate | None] | Mapping[int, Fate] | Sequence[Fate | None]
"""The fate of each batch by its number, 1-based: a function, a mapping, or the first ones'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How far a batch is."""

    stage: Stage = "validating"
    since: float
    """When that stage began."""
    entered: Mapping[Stage, float] = field(default_factory=dict)
    """When each stage after the first began."""
    expires: float
    phases: Phases
    fate: Fate = PLAIN
    total: int = 0
    """How many rows it has; 0 until it is validated."""
    done: int = 0
    """How many of them were run."""

    @property
    def is_over(self) -> bool:
        return self.stage in OVER

    def enter(self, stage: Stage, at: float) -> "Life":
        return replace(self, stage=stage, since=at, entered={**self.entered, stage: at})


@dataclass(frozen=True, slots=True)
class Validate:
    """Look at the input; then enter the next stage, or fail."""

    at: float


@dataclass(frozen=True, slots=True)
class Run:
    """Run rows until so many are done."""

    until: int


@dataclass(frozen=True, slots=True)
class Enter:
    """Enter a stage; an end comes with result files."""

    stage: Stage
    at: float


Step = Validate | Run | Enter


class Living(Protocol):
    """A batch that can be moved on."""

    life: Life

    def validate(self, at: float) -> None: ...

    async def run(self, until: int) -> None: ...

    def enter(self, stage: Stage, at: float) -> None: ...


def fate_of(number: int, fates: Fates) -> Fate:
    if callable(fates):
        return fates(number) or PLAIN
    if isinstance(fates, Mapping):
        return fates.get(number, PLAIN)
    return (fates[number - 1] if number <= len(fates) else None) or PLAIN


async def catch_up(batch: Living, now: float, *, looks: bool) -> None:
    """Have the batch do what is due by `now`; if phases are to be seen, what one look may."""
    seen = batch.life.phases.seen and looks
    while (step := next_step(batch.life, now)) is not None:
        match step:
            case Validate(at):
                batch.validate(at)
            case Run(until):
                await batch.run(until)
                continue
            case Enter(stage, at):
                batch.enter(stage, at)
            case _:
                assert_never(step)
        if seen:
            return


def next_step(life: Life, now: float) -> Step | None:
    """What is due next by `now`; None: nothing."""
    match life.stage:
        case "validating":
            over = life.since + life.phases.validating
            return Validate(over) if now >= over else None
        case "in_progress":
            return _in_progress(life, now)
        case "finalizing":
            over = life.since + life.phases.finalizing
            if life.expires < over:
                return _enter("expired", max(life.since, life.expires), now)
            return _enter("completed", over, now)
        case "cancelling":
            return _enter("cancelled", life.since + life.phases.cancelling, now)
        case "completed" | "failed" | "expired" | "cancelled":
            return None
        case _:
            assert_never(life.stage)


def _in_progress(life: Life, now: float) -> Step | None:
    over = life.since + life.phases.in_progress
    end = min(over, max(life.since, life.expires))
    due = _due(life, min(now, end))
    if life.done < due:
        return Run(due)
    if life.fate.ends == "cancelled":
        return _enter("cancelling", end, now)
    is_cut_short = life.fate.ends == "expired" or end < over
    return _enter("expired" if is_cut_short else "finalizing", end, now)


def _due(life: Life, at: float) -> int:
    """How many rows are done by then."""
    most = life.total if life.fate.ends == "completed" else min(life.fate.done, life.total)
    length = life.phases.in_progress
    if at >= life.since + length:
        return most
    # Float dust must not hold a row back: here, nor above, where it is the larger the later it is.
    return int(most * (at - life.since) / length + 1e-9)


def _enter(stage: Stage, at: float, now: float) -> Enter | None:
    return Enter(stage, at) if now >= at else None
