"""How far a run is, for whoever watches."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..core.budget import is_over
from ..core.ledger import Cost
from ..core.model import Batch, Counts, Run, Usage
from ..core.packing import Compared
from ..core.retry import rows, standing
from ..core.states import RunStatus, exit_code, status_of
from ..store.store import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One look at a run."""

    run: Run
    status: RunStatus
    counts: Counts
    """The rows' present outcomes. Rows without one yet are `total - sum(counts)`."""
    sent: Counts
    """The present outcomes of the requests that were sent, or would have been."""
    usage: Usage
    """Of every attempt, the retried ones included."""
    waiting: str | None
    """Why nothing is being sent, when there is a reason."""
    late: tuple[str, ...] = ()
    """Which batches take unusually long at their provider, a line each."""
    set_aside: int = 0
    """So many results of a provider's are nobody's, or contradict another one; known at the end."""
    compared: Compared | None = None
    """What a trial of packs has shown."""

    @property
    def done(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a run, for its end."""

    progress: Progress
    cost: Cost
    repeated: int
    """At most so many calls were made twice after a crash."""
    set_aside: int = 0
    """So many results of a provider's are nobody's, or contradict another one."""
    were_late: dict[str, int] = field(default_factory=dict)
    """How many batches were `slow` or `stuck` at their provider at some time."""
    errors: list[tuple[str, int]] = field(default_factory=list)
    """The most frequent messages of rows that did not succeed, with their counts."""

    @property
    def lost(self) -> int:
        """Rows of a run that is over of which nothing is known."""
        look = self.progress
        return look.run.total - look.done if look.run.state == "ended" else 0


def progress(
    run: Run,
    batches: Iterable[Batch],
    *,
    waiting: str | None = None,
    set_aside: int = 0,
    compared: Compared | None = None,
) -> Progress:
    """What the batches of a run add up to."""
    seen = list(batches)
    counts = rows(seen) if seen else declined(run)
    return Progress(
        run=run,
        status=status_of(run.state, counts, run.total, set_aside=set_aside),
        counts=counts,
        sent=standing(batch for batch in seen if not batch.reused),
        usage=sum((batch.usage for batch in seen), Usage()),
        waiting=waiting,
        late=tuple(line for batch in seen if (line := late_line(batch)) is not None),
        set_aside=set_aside,
        compared=compared,
    )


def code_of(look: Progress) -> int:
    """The exit code of a process that leaves a run like this."""
    return exit_code(look.status, look.counts, over_budget=is_over(look.run.why))


def declined(run: Run) -> Counts:
    """The counts of a run without batches: one that is over was declined as it came in."""
    return {"bad_request": run.total} if run.state == "ended" and run.total else {}


def late_line(batch: Batch) -> str | None:
    """What is unusual about how long a batch takes at its provider; None: nothing is."""
    remote = batch.remote
    if batch.status in ("collected", "cleaned") or remote is None or remote.late is None:
        return None
    phase = remote.status or batch.status
    return f"batch {batch.id} is {remote.late.word} in {phase}: {remote.late.why}"


REUSED = "answers.reused"
"""The event that tells what a run took over of earlier ones, and what that had taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """What was not sent of a run, though every row of it is answered."""

    rows: int
    copies: int
    """Rows that share the request of another row before them."""
    reused: int
    """Requests that earlier runs had the answers of."""

    @property
    def share(self) -> float:
        """Of what would have been sent, one request a row."""
        return (self.copies + self.reused) / self.rows if self.rows else 0.0


def spared(run: Run) -> Spared:
    """What was not sent of `run`."""
    return Spared(rows=run.total, copies=run.copies, reused=run.reused)


SET_ASIDE = ("results.foreign", "results.conflicting")
"""The events that tell of such results."""


def set_aside(events: Iterable[Event]) -> int:
    """How many results of a provider's bear no name of ours, or contradict another one.

    What was fetched more than once counts once.
    """
    most: dict[tuple[str, str], int] = {}
    for event in events:
        if event.name in SET_ASIDE:
            of = (str(event.fields["batch"]), event.name)
            most[of] = max(most.get(of, 0), int(event.fields["count"]))
    return sum(most.values())


_LATE = ("batch.slow", "batch.stuck")


def were_late(events: Iterable[Event]) -> dict[str, int]:
    """How many batches were slow or stuck at their provider, at whatever time; none: left out."""
    told = {(event.name, str(event.fields["batch"])) for event in events if event.name in _LATE}
    return dict(Counter(name.removeprefix("batch.") for name, _ in told))


def repeated(events: Iterable[Event]) -> int:
    """At most how many calls were made twice because somebody left with calls in flight.

    Each lease of a batch had a window of its own, however many batches its owner worked on.
    """
    open_calls: dict[tuple[str, int], int] = {}
    for event in events:
        if event.name not in ("batch.recovered", "batch.abandoned"):
            continue
        fields: Mapping[str, int] = event.fields
        lease = (str(event.fields["batch"]), fields["token"])
        open_calls[lease] = max(open_calls.get(lease, 0), min(fields["window"], fields["left"]))
    return sum(open_calls.values())
