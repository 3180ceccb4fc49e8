"""What a store promises. One contract suite (`tests/store/contract.py`) holds every kind to it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from ..core.model import Batch, Json, Queue, Run
from ..core.offers import Quote
from ..core.quota import Load, Quota
from ..core.states import BatchStatus, RunState
from ..core.timing import Timing

PLANNING = ".planning"
"""Ends the name of the file that says who plans the run whose folder is beside it."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a run."""

    at: datetime
    name: str
    fields: Json


class Store(Protocol):
    """Runs, batches, leases and events. Every method is one transaction; any thread may call.

    Writes to a batch are fenced: they carry the batch's lease token and raise LeaseLost, changing
    nothing, when a newer one has been given out.
    """

    root: Path

    def folder(self, run_id: str) -> Path:
        """Where the files of a run live."""
        ...

    def add_run(
        self,
        run: Run,
        batches: Sequence[Batch],
        *,
        quote: Quote | None = None,
        unless_same: bool = False,
    ) -> Run:
        """Write down a run, its planned batches and what it was said to cost, all or nothing; the
        run that stands then.

        With `unless_same`, a run with the same fingerprint that is there already stays alone: of
        two processes that plan the same at the same time, one adds it and both get it.
        """
        ...

    def run(self, run_id: str) -> Run:
        """Raises UnknownRun."""
        ...

    def has_run(self, run_id: str) -> bool:
        """Whether a run with exactly this id was added."""
        ...

    def find_run(self, word: str) -> Run:
        """The run that `word` means: an id, the start of one, or `last`. Raises UnknownRun."""
        ...

    def runs(self, *, most: int = 100) -> list[Run]:
        """The newest first."""
        ...

    def same_run(self, fingerprint: str) -> Run | None:
        """The newest run with this fingerprint."""
        ...

    def latest_of(self, source: str) -> Run | None:
        """The newest run of this source, whatever was asked of it."""
        ...

    def news(self) -> tuple[int, int]:
        """Another value than before once there is something to read that a caller cannot know.

        That is: somebody else wrote, or a run got another state, another wave or other batches, or
        something was learned of a provider's limits.
        """
        ...

    def batches(self, run_id: str) -> list[Batch]:
        """In the order they were planned."""
        ...

    def claim(
        self,
        batch: Batch,
        *,
        status: BatchStatus,
        owner: str,
        lease_until: datetime,
        window: int,
    ) -> Batch | None:
        """Own `batch` from the state it was seen in, under a new token; None if it has moved.

        Raises StoreCorrupt if somebody had this token before: then the database forgot it.
        """
        ...

    def renew(self, batch: Batch, *, lease_until: datetime) -> bool:
        """Stay its owner; False if another one is."""
        ...

    def save(
        self, batch: Batch, *, event: Event | None = None, timings: Sequence[Timing] = ()
    ) -> None:
        """Commit status, journal, counts, copies, usage, window, ownership. Raises LeaseLost.

        With it what happened to the run, and how long batches were in which phases: of each of its
        queue's phases the latest are kept.
        A status that may not follow the present one (`core.states.NEXT`) is a mistake of ours, here
        and in `claim`: it raises AssertionError and changes nothing.
        """
        ...

    def cut(self, batch: Batch, into: Sequence[Batch], *, event: Event) -> None:
        """Put `into` in the place of a claimed batch that holds no result, all or nothing.

        They hold its requests, and get places behind the other batches of its wave. Raises
        LeaseLost.
        """
        ...

    def add_wave(self, run: Run, batches: Sequence[Batch], retried: Sequence[Batch]) -> bool:
        """Plan `batches` as wave `run.wave + 1`; False, changing nothing, if somebody has.

        `retried` are the batches whose results they take over, with their new counts of
        what was `retried`.
        """
        ...

    def set_state(
        self,
        run: Run,
        state: RunState,
        *,
        why: str | None = None,
        ended_at: datetime | None = None,
    ) -> bool:
        """Move `run` from the state it was seen in; False if it has moved."""
        ...

    def save_wishes(self, run: Run) -> None:
        """Commit what the caller may change of a run that is there: its terms, its canary, what is
        kept at the provider, and whose account that is.
        """
        ...

    def quote(self, run_id: str) -> Quote | None:
        """What a run was said to cost; None: nobody said."""
        ...

    def delete(self, run_id: str) -> None:
        """Forget a run and its files."""
        ...

    def strays(self) -> list[Path]:
        """Folders of runs that were planned and that nobody knows of, by name.

        The database has lost them, or somebody put them there. They are left alone.
        """
        ...

    def add_event(self, run_id: str, event: Event) -> None:
        """Raises UnknownRun, if the run was deleted in the meantime."""
        ...

    def events(self, run_id: str, *names: str) -> list[Event]:
        """In the order they were added, whatever the clock said; with `names`, no others."""
        ...

    def waiting_elsewhere(self, queue: Queue, *, but: str, since: datetime) -> Load:
        """What batches of all other runs than `but` wait there, of those sent since."""
        ...

    def timings(self, queue: Queue) -> list[Timing]:
        """How long the latest batches were in each phase there, the oldest first."""
        ...

    def learn(self, queue: Queue, quota: Quota) -> None:
        """Keep a limit, instead of what was known of the same measure."""
        ...

    def quotas(self, queue: Queue) -> list[Quota]:
        """The limits that were learned there, at whatever time."""
        ...

    def close(self) -> None: ...
