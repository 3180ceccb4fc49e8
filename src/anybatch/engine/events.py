"""How far a run is, for whoever watches."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..core.model import Batch, Counts, Run, Usage
from ..core.retry import standing
from ..core.states import RunStatus, status_of
from ..store.store import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One look at a run."""

    run: Run
    status: RunStatus
    counts: Counts
    """The rows' present outcomes. Rows without one yet are `total - sum(counts)`."""
    usage: Usage
    """Of every attempt, the retried ones included."""
    waiting: str | None
    """Why nothing is being sent, when there is a reason."""

    @property
    def done(self) -> int:
        return sum(self.counts.values())


def progress(run: Run, batches: Iterable[Batch], *, waiting: str | None = None) -> Progress:
    """What the batches of a run add up to."""
    seen = list(batches)
    counts = standing(seen)
    return Progress(
        run=run,
        status=status_of(run.state, counts, run.total),
        counts=counts,
        usage=sum((batch.usage for batch in seen), Usage()),
        waiting=waiting,
    )


_SET_ASIDE = ("results.foreign", "results.conflicting")


def set_aside(events: Iterable[Event]) -> int:
    """How many results of a provider's bear no name of ours, or contradict another one."""
    return sum(int(event.fields["count"]) for event in events if event.name in _SET_ASIDE)


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
