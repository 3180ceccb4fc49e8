"""Group commit: results become durable together, and only so many may wait for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from ..core.model import Batch, Counts, Result, Segment, Usage
from ..effects import Probe
from ..store.journal import SegmentWriter, segment_path
from ..store.store import Store
from ..wire.jsonl import write_line

_GATHER_S = 0.002
"""So long a commit waits for company, unless somebody waits for it: an fsync costs the same for
one result as for many, and two milliseconds are nothing to an answer that takes a second."""


class _Gathering:
    """The results that will be committed together, and who waits for that."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.counts: Counts = {}
        self.usage = Usage()
        self._waiting: list[asyncio.Future[None]] = []
        self._error: BaseException | None = None

    def add(self, result: Result) -> None:
        self.lines.append(write_line(result))
        self.counts[result.outcome] = self.counts.get(result.outcome, 0) + 1
        self.usage += result.usage

    def over(self) -> asyncio.Future[None]:
        """Done when the results are durable, or cannot be: then it raises why."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._error is not None:
            waiting.set_exception(self._error)
        self._waiting.append(waiting)
        return waiting

    def end(self, error: BaseException | None = None) -> None:
        """Tell who waits: it is durable, or it will not be, for this reason."""
        self._error = error
        for waiting in self._waiting:
            if waiting.done():
                continue  # cancelled
            if error is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(error)


class Recorder:
    """Appends results to the journal of one claimed batch.

    While one commit is under way, the results that arrive gather for the next: so a slow disk makes
    commits larger, not rarer to be waited for.
    """

    def __init__(
        self,
        batch: Batch,
        *,
        backlog: int,
        store: Store,
        thread: Executor,
        probe: Probe,
        now: Callable[[], datetime],
        lease: timedelta,
        committed: Callable[[Batch], None],
    ) -> None:
        self.batch = batch
        """As last committed."""
        self._backlog = backlog
        self._store = store
        self._thread = thread
        self._now = now
        self._lease = lease
        self._committed = committed
        path = segment_path(store.folder(batch.run_id), batch.id, batch.token)
        self._segment = SegmentWriter(path, probe=probe)
        self._before = batch.journal
        self._wake = asyncio.Event()
        self._closed = False
        self._gathering = _Gathering()
        self._committing: _Gathering | None = None

    async def record(self, *results: Result) -> None:
        """Return once no more than `backlog` results are recorded and not yet durable.

        Raises what kept results from becoming durable.
        """
        if not self._gathering.lines:
            asyncio.get_running_loop().call_later(_GATHER_S, self._wake.set)
        for result in results:
            self._gathering.add(result)
        while self._pending() > self._backlog:
            self._wake.set()
            await (self._committing or self._gathering).over()

    def _pending(self) -> int:
        being = 0 if self._committing is None else len(self._committing.lines)
        return being + len(self._gathering.lines)

    async def run(self) -> None:
        """Commit what is recorded until closed and empty."""
        try:
            while not self._closed or self._gathering.lines:
                await self._wake.wait()
                self._wake.clear()
                if self._gathering.lines:
                    await self._commit_gathered()
        except BaseException as e:
            # Nothing is committed any more; who records all the same must not wait for it.
            self._gathering.end(e)
            raise
        finally:
            # On the thread that writes: one may be under way still, if we were cancelled.
            self._thread.submit(self._segment.close)

    async def _commit_gathered(self) -> None:
        gathered, self._gathering = self._gathering, _Gathering()
        self._committing = gathered
        counted = replace(
            self.batch,
            counts=_summed(self.batch.counts, gathered.counts),
            usage=self.batch.usage + gathered.usage,
            lease_until=self._now() + self._lease,
        )
        try:
            await self._on_thread(partial(self._write, b"".join(gathered.lines), counted))
        except BaseException as e:
            gathered.end(e)
            raise
        self._committing = None
        gathered.end()
        self._committed(self.batch)

    def _write(self, content: bytes, batch: Batch) -> None:
        """Journal first, then the database: only what it knows of has happened."""
        size = self._segment.append(content)
        segment = Segment(token=batch.token, size=size)
        batch = replace(batch, journal=(*self._before, segment))
        self._store.save(batch)
        self.batch = batch

    async def _on_thread(self, function: Callable[[], None]) -> None:
        """Run a write that a cancellation may outlive but not cut short."""
        written = asyncio.get_running_loop().run_in_executor(self._thread, function)
        # Seen, even if we are cancelled and nobody waits for it any more.
        written.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(written)

    def close(self) -> None:
        """Nothing more will be recorded; `run` commits the rest and returns."""
        self._closed = True
        self._wake.set()

    async def let_go(self) -> None:
        """Give the batch back: collected if every request has its result, else for others."""
        done = self.batch.answered >= self.batch.size
        status = "collected" if done else self.batch.status
        batch = replace(self.batch, status=status, owner=None, lease_until=None)
        await self._on_thread(partial(self._store.save, batch))
        self.batch = batch
        self._committed(batch)


def _summed(a: Counts, b: Counts) -> Counts:
    return {outcome: a.get(outcome, 0) + b.get(outcome, 0) for outcome in {**a, **b}}
