"""Group commit: results become durable together, and only so many may wait for it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from ..core.model import Batch, Counts, Remote, Result, Segment, Usage
from ..core.retry import summed
from ..effects import Probe
from ..store.journal import SegmentWriter, segment_path
from ..store.store import Store
from ..wire.jsonl import write_line

_GATHER_S = 0.005
"""So long a commit waits for company, unless somebody waits for it: an fsync costs the same for
one result as for many, and five milliseconds are nothing to an answer that takes a second."""


class _Gathering:
    """The results that will be committed together."""

    def __init__(self, copies: Sequence[int] | None) -> None:
        self._copies_of = copies
        self.lines: list[bytes] = []
        self.counts: Counts = {}
        self.copies: Counts = {}
        self.usage = Usage()

    def add(self, result: Result) -> None:
        self.lines.append(write_line(result))
        self.counts[result.outcome] = self.counts.get(result.outcome, 0) + 1
        self.usage += result.usage
        if self._copies_of is not None and (copies := self._copies_of[result.n]):
            self.copies[result.outcome] = self.copies.get(result.outcome, 0) + copies


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
        copies: Sequence[int] | None = None,
    ) -> None:
        """`copies`: how many rows share each request with another before them; None: none does."""
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
        self._copies = copies
        self._gathering = _Gathering(copies)
        self._pending = 0
        """So many results are recorded and not yet durable."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Those who recorded more than the backlog takes, in that order."""
        self._error: BaseException | None = None
        self._later: tuple[Remote, datetime] | None = None

    async def record(self, *results: Result) -> None:
        """Return once no more than `backlog` of those who recorded are ahead of their commit.

        Raises what kept results from becoming durable.
        """
        if self._error is not None:
            raise self._error
        if not self._gathering.lines:
            asyncio.get_running_loop().call_later(_GATHER_S, self._wake.set)
        for result in results:
            self._gathering.add(result)
        self._pending += len(results)
        if len(self._gathering.lines) >= max(1, self._backlog):
            self._wake.set()
        if self._pending - len(self._waiting) > self._backlog:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place

    def _durable(self, count: int) -> None:
        """So many more results are durable: as many may go on who waited for that."""
        self._pending -= count
        while self._waiting and self._pending - len(self._waiting) < self._backlog:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)

    def _broken(self, error: BaseException) -> None:
        """Nothing is committed any more: nobody must wait for it."""
        self._error = error
        for place in self._waiting:
            if not place.done():
                place.set_exception(error)

    async def run(self) -> None:
        """Commit what is recorded until closed and empty."""
        try:
            while not self._closed or self._gathering.lines:
                await self._wake.wait()
                self._wake.clear()
                if self._gathering.lines:
                    await self._commit_gathered()
        except BaseException as e:
            self._broken(e)
            raise
        finally:
            # On the thread that writes: one may be under way still, if we were cancelled.
            self._thread.submit(self._segment.close)

    async def _commit_gathered(self) -> None:
        gathered, self._gathering = self._gathering, _Gathering(self._copies)
        counted = replace(
            self.batch,
            counts=summed(self.batch.counts, gathered.counts),
            copies=summed(self.batch.copies, gathered.copies),
            usage=self.batch.usage + gathered.usage,
            lease_until=self._now() + self._lease,
        )
        await self._on_thread(partial(self._write, b"".join(gathered.lines), counted))
        self._durable(len(gathered.lines))
        self._committed(self.batch)

    def _write(self, content: bytes, batch: Batch) -> None:
        """Journal first, then the database: only what it knows of has happened."""
        size = self._segment.append(content)
        segment = Segment(token=batch.token, size=size, crc=self._segment.crc)
        batch = replace(batch, journal=(*self._before, segment))
        self._store.save(batch)
        self.batch = batch

    async def _on_thread(self, function: Callable[[], None]) -> None:
        """Run a write that a cancellation may outlive but not cut short."""
        written = asyncio.get_running_loop().run_in_executor(self._thread, function)
        # Seen, even if we are cancelled and nobody waits for it any more.
        written.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(written)

    def postpone(self, remote: Remote, *, due: datetime) -> None:
        """Unless all is answered, the batch is not taken up again before `due`."""
        self._later = (remote, due)

    def close(self) -> None:
        """Nothing more will be recorded; `run` commits the rest and returns."""
        self._closed = True
        self._wake.set()

    async def let_go(self) -> None:
        """Give the batch back: collected if every request has its result, else for others."""
        batch = replace(self.batch, owner=None, lease_until=None)
        if batch.answered >= batch.size:
            batch = replace(batch, status="collected")
        elif self._later is not None:
            remote, due = self._later
            batch = replace(batch, remote=remote, due=due)
        await self._on_thread(partial(self._store.save, batch))
        self.batch = batch
        self._committed(batch)
