"""A result counts once it is committed, and who recorded it knows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from zlib import crc32

import pytest
import pytest_asyncio

from anybatch.core.model import Batch, Result, Run, Segment
from anybatch.effects import unwatched
from anybatch.engine.recorder import Recorder
from anybatch.errors import StoreUnwritable
from anybatch.store.journal import committed_lines, segment_path
from anybatch.store.sqlite import SqliteStore
from anybatch.testing.clock import START

from .harness import spec

DISK_FULL = StoreUnwritable("the disk is full")


class FillsUp(SqliteStore):
    """A store that takes so many commits and no more."""

    room = 1

    def save(self, batch: Batch) -> None:
        if self.room == 0:
            raise DISK_FULL
        self.room -= 1
        super().save(batch)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FillsUp]:
    with closing(FillsUp(tmp_path)) as store:
        run = Run(
            id="run",
            created_at=START,
            source="rows",
            spec=spec(),
            fingerprint="f",
            parts={},
            columns=(),
            total=9,
        )
        batch = Batch(id="b", run_id="run", wave=1, part=0, status="planned", first=0, size=9)
        store.add_run(run, [batch])
        store.folder("run").mkdir()
        yield store


@pytest.fixture
def backlog() -> int:
    return 0


@pytest_asyncio.fixture
async def recorder(store: FillsUp, backlog: int) -> AsyncIterator[Recorder]:
    lease = timedelta(minutes=1)
    claimed = store.claim(
        *store.batches("run"), status="running", owner="me", lease_until=START + lease, window=1
    )
    assert claimed is not None
    with ThreadPoolExecutor(1) as thread:
        yield Recorder(
            claimed,
            backlog=backlog,
            store=store,
            thread=thread,
            probe=unwatched,
            now=lambda: START,
            lease=lease,
            committed=lambda batch: None,
        )


def result(n: int) -> Result:
    return Result(n=n, outcome="succeeded")


async def test_what_is_recorded_is_committed_when_record_returns(
    store: FillsUp, recorder: Recorder
) -> None:
    running = asyncio.create_task(recorder.run())
    await recorder.record(result(3), result(1))

    (batch,) = store.batches("run")
    lines = committed_lines(store.folder("run"), "b", batch.journal)
    assert [line[:6] for _, _, line in lines] == [b'{"n":3', b'{"n":1']
    assert batch.counts == recorder.batch.counts == {"succeeded": 2}
    recorder.close()
    await running


async def test_what_is_committed_has_its_checksum(store: FillsUp, recorder: Recorder) -> None:
    store.room = 2
    running = asyncio.create_task(recorder.run())
    await recorder.record(result(0))
    await recorder.record(result(1), result(2))
    recorder.close()
    await running

    (batch,) = store.batches("run")
    content = segment_path(store.folder("run"), "b", 1).read_bytes()
    assert batch.journal == (Segment(token=1, size=len(content), crc=crc32(content)),)


async def test_after_a_refused_commit_nobody_waits_for_another(
    store: FillsUp, recorder: Recorder
) -> None:
    running = asyncio.create_task(recorder.run())
    await recorder.record(result(0))

    async with asyncio.timeout(10):
        for late in (1, 2):
            with pytest.raises(StoreUnwritable, match="the disk is full"):
                await recorder.record(result(late))
        with pytest.raises(StoreUnwritable, match="the disk is full"):
            await running

    (batch,) = store.batches("run")
    assert batch.counts == recorder.batch.counts == {"succeeded": 1}


async def test_after_a_cancellation_nobody_waits_for_a_commit(recorder: Recorder) -> None:
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])

    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await recorder.record(result(0))


@pytest.mark.parametrize("backlog", [2])
async def test_so_many_as_the_backlog_holds_need_not_be_waited_for(recorder: Recorder) -> None:
    async with asyncio.timeout(10):
        for n in range(2):
            await recorder.record(result(n))  # nobody commits yet
    third = asyncio.create_task(recorder.record(result(2)))
    await asyncio.sleep(0)

    waited = not third.done()
    running = asyncio.create_task(recorder.run())
    await third
    recorder.close()
    await running

    assert waited
    assert recorder.batch.counts == {"succeeded": 3}


@pytest.mark.parametrize("backlog", [1])
async def test_each_commit_lets_as_many_go_on_as_it_made_durable(
    store: FillsUp, recorder: Recorder
) -> None:
    store.room = 1
    waiting = [asyncio.create_task(recorder.record(result(n))) for n in range(3)]
    await asyncio.sleep(0)
    ahead = [task.done() for task in waiting]
    running = asyncio.create_task(recorder.run())
    await asyncio.wait(waiting)
    late = [asyncio.create_task(recorder.record(result(n))) for n in (3, 4)]
    refused = await asyncio.gather(running, *late, return_exceptions=True)

    assert ahead == [True, False, False]
    assert [task.exception() for task in waiting] == [None, None, None]
    assert refused == [DISK_FULL, None, DISK_FULL]
    assert recorder.batch.counts == {"succeeded": 3}
