"""The loop: look at what is written down, decide, act, until the run is over or we must stop.

Any number of processes may run it over one store. They meet only in the database.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar, assert_never

import msgspec
from msgspec.structs import replace

from ..clock import Clock
from ..core.model import Batch, Run, Spec
from ..core.packing import Compared
from ..core.plan import LimitsOf
from ..core.quota import Load, Quota
from ..core.retry import tripped
from ..core.states import TRIPPING, BatchStatus, RunState
from ..core.timing import Usual, usual_of
from ..effects import Probe, unwatched
from ..errors import LeaseLost
from ..executors.batch import BatchExecutor
from ..executors.executor import CallExecutor
from ..processes import dead_among
from ..store.copies import copies_of
from ..store.store import Store
from . import act, remote
from .act import Work
from .answers import Reader
from .bounds import UNBOUNDED, Bounds
from .crowding import waiting_elsewhere
from .decide import (
    LONGEST_PAUSE,
    Action,
    Alert,
    Answer,
    Cancel,
    CancelRemote,
    Clean,
    Collect,
    Compare,
    Finish,
    Leave,
    Poll,
    Recover,
    Remotely,
    Replan,
    Retry,
    Snapshot,
    Stop,
    Submit,
    decide,
    held_back,
    way_again,
)
from .events import SET_ASIDE, Progress, progress, set_aside
from .packing import COMPARED, compare, known
from .spending import Spending
from .steps import RemoteWork
from .waiting import waiting_for
from .waves import due_again, in_time, plan_wave

_LOOK_EVERY = timedelta(seconds=1)
_REPORT_EVERY = timedelta(milliseconds=100)
_AT_ONCE = 2
"""Batches under way in one process: one fills the gap while the other's stragglers end."""
_LEARN_EVERY = timedelta(minutes=1)
"""So often it is read how long batches take at a provider."""
_OVERFLOW_AFTER = timedelta(minutes=10)
"""What takes longer in real time, for its rate limits, goes by batch if that is asked for."""

_STATUS: Mapping[type[Remotely], BatchStatus] = {
    Submit: "submitting",
    Recover: "submitting",
    CancelRemote: "running",
    Collect: "ended",
    Clean: "collected",
    Replan: "submitting",
}
"""The status under which a batch is claimed for each step."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtProvider:
    """What is known of how a provider treats batches."""

    window: timedelta | None = None
    """After which it gives up what it has not run; None: it never does."""
    quotas: tuple[Quota, ...] = ()
    """The limits that it states of what may wait there at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What it takes to fulfil runs; `fulfil` does it."""

    store: Store
    open_executor: Callable[[], CallExecutor]
    """Called at most once, in a thread, when there is a first request to answer."""
    open_batches: Callable[[], BatchExecutor]
    """Likewise, for the first step of a batch that goes through a provider's batch API."""
    limits_of: LimitsOf
    owner: str
    clock: Clock
    jitter: Callable[[], float]
    lease: timedelta
    search: timedelta
    at_provider: AtProvider = AtProvider()
    bounds: Callable[[Run, Sequence[Batch]], Bounds] = lambda run, batches: UNBOUNDED
    """What holds a run back or drives it on, which may change while it goes on."""
    tier_field: str | None = None
    """The field of a body that asks for another tier in real time than the usual one."""
    probe: Probe = unwatched
    on_progress: Callable[[Progress], None] = lambda progress: None
    new_reader: Callable[[Spec], Reader] = Reader
    """What reads the answers of a run."""

    async def fulfil(self, run: Run, *, stop: asyncio.Event) -> Run:
        """Work on `run` until it has ended or stopped, or `stop` is set; the run as it is then."""
        with ThreadPoolExecutor(1, thread_name_prefix="anybatch-store") as thread:
            try:
                return await _Fulfilment(self, run, thread, stop).go()
            except BaseExceptionGroup as group:
                raise _first_leaf(group) from group


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first thing that went wrong: what is grouped with it followed from it."""
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


class _Ours(NamedTuple):
    """A batch as we claimed it, and the task that works on it."""

    batch: Batch
    task: asyncio.Task[None]
    step: type[Action]


class _Fulfilment:
    """One `fulfil` under way: which batches are ours, and what was seen of all of them."""

    def __init__(
        self, engine: Engine, run: Run, thread: ThreadPoolExecutor, stop: asyncio.Event
    ) -> None:
        self._engine = engine
        self._store = engine.store
        self._clock = engine.clock
        self._run = run
        self._thread = thread
        self._stop = stop
        self._halt = asyncio.Event()
        """Set: send nothing more. We leave, the run was cancelled, or the breaker tripped."""
        self._ours: dict[str, _Ours] = {}
        self._seen: dict[str, Batch] = {}
        self._news: tuple[int, int] | None = None
        self._executor: CallExecutor | None = None
        self._batches: BatchExecutor | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looks: dict[str, datetime] = {}
        """When we look again at batches in which we last saw nothing new."""
        self._looked: dict[str, datetime] = {}
        """When we last saw how each batch at a provider is."""
        self._quotas = engine.at_provider.quotas
        self._elsewhere = Load()
        """What waits at the provider of other runs."""
        self._usual: Mapping[str, Usual] = {}
        self._learns_at = 0.0
        self._bounds = UNBOUNDED
        self._spending = Spending(lambda: self._seen.values())
        self._held: Mapping[str, Quota] = {}
        """The batches that may not be submitted yet, each with the limit it waits for."""
        self._set_aside = 0
        self._began = engine.clock.now()
        self._compared: Compared | None = None
        """What a trial of packs has shown."""
        self._leaves = False
        """Whether to end though the run is not over: of what is left nothing can be learned."""
        self._next_report = 0.0
        self._work = Work(
            run=run,
            store=engine.store,
            owner=engine.owner,
            lease=engine.lease,
            now=engine.clock.now,
            thread=thread,
            probe=engine.probe,
            committed=self._committed,
            copies=copies_of(engine.store.folder(run.id), run),
            tier_field=engine.tier_field,
            new_reader=engine.new_reader,
        )

    async def go(self) -> Run:
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._heartbeat(tasks)),
                    tasks.create_task(self._heed_stop()),
                ]
                try:
                    await self._loop(tasks)
                finally:
                    for task in background:
                        task.cancel()
        finally:
            # Not before: whoever waits for an answer would take its end for a failure.
            for executor in (self._executor, self._batches):
                if executor is not None:
                    await executor.close()
        return self._run

    async def _heed_stop(self) -> None:
        await self._stop.wait()
        self._halt.set()

    async def _loop(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._look()
            self._heed()
            if not self._halt.is_set():
                seen, now = self._snapshot(), self._clock.now()
                self._held = held_back(seen, now)
                for action in decide(seen, now):
                    await self._act(action, tasks)
            stopped = self._leaves or self._stop.is_set()
            over = stopped or self._run.state in ("ended", "stopped")
            if over and not self._ours and self._looking is None:
                return
            await self._wait()

    def _heed(self) -> None:
        """Halt if the caller or the run's state says so; decide again once our batches are back."""
        if self._stop.is_set() or (self._ours and self._run.state != "open"):
            self._halt.set()
        elif not self._ours:
            self._halt.clear()

    async def _look(self) -> None:
        """Read what is written down, unless all that is new is ours: that we know."""
        news = await self._on_thread(self._store.news)
        if news != self._news:
            self._news = news
            await self._on_thread(self._read)
        self._spending.look(self._bounds.purse)
        if self._run.spec.executor == "batch" and self._clock.monotonic() >= self._learns_at:
            self._learns_at = self._clock.monotonic() + _LEARN_EVERY.total_seconds()
            await self._on_thread(self._learn)
        self._report()

    def _read(self) -> None:
        self._run = self._store.run(self._run.id)
        self._seen = {batch.id: batch for batch in self._store.batches(self._run.id)}
        if self._run.state == "ended":
            self._set_aside = set_aside(self._store.events(self._run.id, *SET_ASIDE))
        if self._run.spec.executor == "batch":
            self._read_of_provider()
        self._bind()

    def _bind(self) -> None:
        self._bounds = self._engine.bounds(self._run, tuple(self._seen.values()))

    def _learn(self) -> None:
        self._usual = usual_of(self._store.timings(self._run.queue))

    def _read_of_provider(self) -> None:
        """What is known of its limits, and what waits there of other runs."""
        known, now = self._engine.at_provider, self._clock.now()
        self._quotas = (*known.quotas, *self._store.quotas(self._run.queue))
        self._elsewhere = waiting_elsewhere(self._store, self._run, window=known.window, now=now)

    def _snapshot(self) -> Snapshot:
        owners = {batch.owner for batch in self._seen.values() if batch.owner is not None}
        steps = Counter(ours.step for ours in self._ours.values())
        return Snapshot(
            run=self._run,
            batches=tuple(self._seen.values()),
            dead=dead_among(owners - {self._engine.owner}),
            ours=frozenset(self._ours),
            free=_AT_ONCE - steps[Answer] - steps[Cancel],
            under_way={kind: steps[kind] for kind in _STATUS},
            quotas=self._quotas,
            elsewhere=self._elsewhere,
            usual=self._usual,
            window=self._engine.at_provider.window,
            looking=self._looking is not None,
            looks=self._looks,
            longest_pause=max(LONGEST_PAUSE, self._engine.search),
            began=self._began,
            purse=self._bounds.purse,
            unpriced=self._bounds.unpriced,
            least=self._spending.least,
            direct=self._bounds.direct,
            overflows=self._overflows(),
            compared=self._compared,
        )

    def _overflows(self) -> bool:
        """Whether what is left takes too long in real time, by the rate limits that are known."""
        if not self._run.terms.overflow or self._executor is None:
            return False
        left = [b for b in self._seen.values() if b.executor == "online" and not b.answered]
        requests, tokens = sum(b.size for b in left), sum(b.tokens for b in left)
        return self._executor.takes(requests, tokens) > _OVERFLOW_AFTER.total_seconds()

    async def _act(self, action: Action, tasks: asyncio.TaskGroup) -> None:
        match action:
            case Answer(batch=batch):
                executor = await self._opened()
                work = partial(self._answer, executor)
                window = executor.window * batch.pack
                await self._take(Answer, batch, tasks, work, window=window)
            case Cancel(batch=batch):
                await self._take(Cancel, batch, tasks, partial(act.cancel, self._work))
            case Alert(batch=batch, late=late):
                tell = partial(remote.alert, self._work, late)
                await self._take(Alert, batch, tasks, tell, status=batch.status)
            case Submit() | Recover() | CancelRemote() | Collect() | Clean() | Replan():
                await self._take_step(action, tasks)
            case Poll(batches=batches):
                on = await self._remotely()
                self._looking = tasks.create_task(self._look_at(on, batches))
            case Compare():
                await self._on_thread(self._compare)
            case Retry():
                await self._on_thread(self._plan_wave)
            case Stop(why=why):
                await self._settle("stopped", why=why)
            case Leave():
                self._leaves = True
            case Finish():
                await self._settle("ended")
            case _:
                assert_never(action)

    async def _opened(self) -> CallExecutor:
        if self._executor is None:
            self._executor = await asyncio.to_thread(self._engine.open_executor)
        return self._executor

    async def _answer(self, executor: CallExecutor, batch: Batch) -> None:
        with self._spending.allowed(batch) as allowance:
            await act.answer(self._work, batch, executor, stop=self._halt, allowance=allowance)

    async def _remotely(self) -> RemoteWork:
        """What steps at a provider need; connections are opened at the first one."""
        if self._batches is None:
            self._batches = await asyncio.to_thread(self._engine.open_batches)
        return RemoteWork(
            work=self._work,
            executor=self._batches,
            jitter=self._engine.jitter,
            limits_of=self._engine.limits_of,
            search=self._engine.search,
            usual=self._usual,
            looked=self._looked,
        )

    async def _look_at(self, on: RemoteWork, batches: Collection[Batch]) -> None:
        """See how batches at a provider are, and leave it if we are told to stop."""

        async def look() -> None:
            self._looks |= await remote.look(on, batches)

        try:
            await act.until(look(), stop=self._stop, grace=act.DRAIN)
        except* LeaseLost:
            pass  # whoever has the batch now looks at it as well
        finally:
            self._looking = None

    async def _take_step(self, action: Remotely, tasks: asyncio.TaskGroup) -> None:
        """Take a step of a batch at its provider, and leave it if we are told to stop."""
        on = await self._remotely()

        async def step(batch: Batch) -> None:
            await act.until(remote.take(on, action, batch), stop=self._stop, grace=act.DRAIN)

        kind = type(action)
        await self._take(kind, action.batch, tasks, step, status=_STATUS[kind])

    async def _take(
        self,
        step: type[Action],
        batch: Batch,
        tasks: asyncio.TaskGroup,
        work: Callable[[Batch], Awaitable[None]],
        *,
        window: int = 0,
        status: BatchStatus = "running",
    ) -> None:
        """Claim `batch` and have `work` done on it."""
        claim = partial(act.claim, self._work, batch, window=window, status=status)
        claimed = await self._on_thread(claim)
        if claimed is None:
            self._news = None  # what we saw of it is no longer so
            return
        self._seen[claimed.id] = claimed
        if batch.owner is not None and batch.window:
            await self._on_thread(self._bind)  # what the dead may have spent is known now
        self._spending.look(self._bounds.purse)
        task = tasks.create_task(self._own(claimed, work))
        self._ours[claimed.id] = _Ours(claimed, task, step)

    async def _own(self, batch: Batch, work: Callable[[Batch], Awaitable[None]]) -> None:
        try:
            await work(batch)
        except* LeaseLost:
            await self._note_lost(batch)
        finally:
            del self._ours[batch.id]

    async def _note_lost(self, batch: Batch) -> None:
        note = partial(self._work.note, "batch.lost", batch=batch.id, owner=batch.owner)
        await self._on_thread(note)

    def _compare(self) -> None:
        """See what a trial of packs has shown, unless another process has said so."""
        self._compared = known(self._store, self._run)
        if self._compared is None:
            self._compared = compare(self._store, self._run)
            fields = msgspec.to_builtins(self._compared)
            self._work.note(COMPARED, **fields)
        self._report()

    def _plan_wave(self) -> None:
        seen, now = self._snapshot(), self._clock.now()
        planned = plan_wave(
            self._run,
            self._store,
            in_time(due_again(self._run), lambda batch, why: way_again(batch, why, seen, now)),
            limits_of=self._engine.limits_of,
            now=now,
            probe=self._engine.probe,
        )
        if planned:
            self._work.note("wave.planned", wave=self._run.wave + 1, requests=planned)

    async def _settle(self, state: RunState, *, why: str | None = None) -> None:
        ended_at = self._clock.now() if state == "ended" else None
        settle = partial(self._store.set_state, self._run, state, why=why, ended_at=ended_at)
        if await self._on_thread(settle):
            await self._on_thread(partial(self._work.note, f"run.{state}", why=why))
        await self._look()

    def _committed(self, batch: Batch) -> None:
        """Called after every commit, up to a thousand times a second."""
        # Who works on a batch does not know which of its results a new wave took over meanwhile.
        seen = self._seen[batch.id]
        self._seen[batch.id] = replace(
            batch, retried=seen.retried, copies_retried=seen.copies_retried
        )
        if not TRIPPING.isdisjoint(batch.counts) and tripped(self._seen.values()):
            self._halt.set()
        if self._clock.monotonic() >= self._next_report:
            self._report()

    def _report(self) -> None:
        self._next_report = self._clock.monotonic() + _REPORT_EVERY.total_seconds()
        look = progress(
            self._run,
            self._seen.values(),
            waiting=self._waiting(),
            set_aside=self._set_aside,
            compared=self._compared,
        )
        self._engine.on_progress(look)

    def _waiting(self) -> str | None:
        """Why nothing is sent, when there is a reason."""
        for executor in (self._executor, self._batches):
            if executor is not None and executor.waiting is not None:
                return executor.waiting
        return waiting_for(
            self._seen.values(),
            self._held,
            self._clock.now(),
            looks=self._looks,
            looking=self._looking is not None,
        )

    async def _wait(self) -> None:
        """Until one of our batches is done, we are told to stop, or it is time to look again."""
        timer = asyncio.ensure_future(self._clock.sleep(_LOOK_EVERY.total_seconds()))
        signs: set[asyncio.Future[Any]] = {timer}
        if not self._stop.is_set():
            signs.add(asyncio.ensure_future(self._stop.wait()))
        tasks = {ours.task for ours in self._ours.values()}
        if self._looking is not None:
            tasks.add(self._looking)
        try:
            await asyncio.wait(signs | tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sign in signs:
                sign.cancel()

    async def _heartbeat(self, tasks: asyncio.TaskGroup) -> None:
        """Renew our leases on the clock, however slow the work is."""
        lost: set[asyncio.Task[None]] = set()
        while True:
            await self._clock.sleep(self._engine.lease.total_seconds() / 3)
            for claimed, task, _ in list(self._ours.values()):
                until = self._clock.now() + self._engine.lease
                renew = partial(self._store.renew, claimed, lease_until=until)
                if task in lost or await self._on_thread(renew) or task.done():
                    continue
                lost.add(task)
                tasks.create_task(act.break_off(task))
                await self._note_lost(claimed)

    async def _on_thread(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function)
