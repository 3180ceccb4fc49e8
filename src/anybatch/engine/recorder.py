"""Group commit: results become durable together, and whoever recorded them waits until they are."""

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


class Recorder:
    """Appends results to the journal of one claimed batch.

    While one commit is under way, the results that arrive gather for the next: so a slow disk makes
    commits larger, not rarer to be waited for.
    """

    def __init__(
        self,
        batch: Batch,
        *,
        store: Store,
        thread: Executor,
        probe: Probe,
        now: Callable[[], datetime],
        lease: timedelta,
        committed: Callable[[Batch], None],
    ) -> None:
        self.batch = batch
        """As last committed."""
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
        self._start_gathering()

    def _start_gathering(self) -> None:
        self._lines: list[bytes] = []
        self._counts: Counts = {}
        self._usage: list[Usage] = []
        self._durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def record(self, *results: Result) -> None:
        """Return once `results` are durable. Raises what kept them from being so."""
        for result in results:
            self._lines.append(write_line(result))
            self._counts[result.outcome] = self._counts.get(result.outcome, 0) + 1
            self._usage.append(result.usage)
        self._wake.set()
        await asyncio.shield(self._durable)

    async def run(self) -> None:
        """Commit what is recorded until closed and empty."""
        try:
            while not self._closed or self._lines:
                await self._wake.wait()
                self._wake.clear()
                if self._lines:
                    await self._commit_gathered()
        except BaseException as e:
            # Nothing is committed any more; who records all the same must not wait for it.
            _refuse(self._durable, e)
            raise
        finally:
            # On the thread that writes: one may be under way still, if we were cancelled.
            self._thread.submit(self._segment.close)

    async def _commit_gathered(self) -> None:
        content, durable = b"".join(self._lines), self._durable
        counted = replace(
            self.batch,
            counts=_summed(self.batch.counts, self._counts),
            usage=sum(self._usage, self.batch.usage),
            lease_until=self._now() + self._lease,
        )
        self._start_gathering()
        try:
            await self._on_thread(partial(self._write, content, counted))
        except BaseException as e:
            _refuse(durable, e)
            raise
        durable.set_result(None)
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


def _refuse(durable: asyncio.Future[None], e: BaseException) -> None:
    """Tell who waits for `durable` why it will not come to be."""
    if not durable.done():
        durable.set_exception(e)
        durable.exception()  # seen: nobody may be waiting any more


def _summed(a: Counts, b: Counts) -> Counts:
    return {outcome: a.get(outcome, 0) + b.get(outcome, 0) for outcome in {**a, **b}}
