"""Doing what was decided about one batch: claim it, answer or cancel what is left, let it go."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from ..core.heads import Marked, marked
from ..core.model import Batch, Failure, Json, Request, Result, Run, Spec
from ..core.states import BatchStatus
from ..effects import Probe
from ..errors import StoreCorrupt
from ..executors.executor import CallExecutor, Read, Record
from ..store.files import damaged
from ..store.heads import read_heads
from ..store.journal import committed_lines
from ..store.numbers import read_numbers
from ..store.requests import RequestFile
from ..store.rows import check_rows_are_there
from ..store.store import Event, Store
from ..wire.apis import wire_of
from ..wire.jsonl import number_of
from .answers import Reader
from .heads import Say, saying
from .packing import Packer, Packs
from .recorder import Recorder
from .spending import Allowance
from .waves import numbers_path

DRAIN = timedelta(seconds=4)
"""So long what is in flight may finish after a stop, where it is worth waiting for."""

_CANCELLED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What acting needs: handed down by the engine."""

    run: Run
    store: Store
    owner: str
    lease: timedelta
    now: Callable[[], datetime]
    thread: Executor
    """The one thread that writes."""
    probe: Probe
    committed: Callable[[Batch], None]
    """Called in the event loop after each commit."""
    copies: Sequence[int] | None = None
    """How many rows share each request with another one before them; None: none does."""
    tier_field: str | None = None
    """The field of a body that asks for another tier in real time than the usual one."""
    new_reader: Callable[[Spec], Reader] = Reader

    def event(self, name: str, **fields: Any) -> Event:
        """Something that happens now."""
        happened: Json = fields
        return Event(at=self.now(), name=name, fields=happened)

    def note(self, name: str, **fields: Any) -> None:
        """Write down that something happened."""
        self.store.add_event(self.run.id, self.event(name, **fields))

    def note_open_calls(self, name: str, batch: Batch) -> None:
        """Write down which calls of `batch` may be under way and will be made again."""
        left = batch.size - batch.answered
        lease: Json = {"batch": batch.id, "token": batch.token, "owner": batch.owner}
        # Its window is one of results, of which one call may give several.
        self.note(name, **lease, window=batch.window // batch.pack, left=left)


def claim(
    work: Work, batch: Batch, *, window: int, status: BatchStatus = "running"
) -> Batch | None:
    """Own `batch`, None if somebody else was faster."""
    if batch.owner is not None and batch.window:
        # Noted before the claim: a crash in between must not forget the calls of the dead.
        work.note_open_calls("batch.recovered", batch)
    return work.store.claim(
        batch,
        status=status,
        owner=work.owner,
        lease_until=work.now() + work.lease,
        window=window,
    )


async def answer(
    work: Work,
    batch: Batch,
    executor: CallExecutor,
    *,
    stop: asyncio.Event,
    allowance: Allowance | None = None,
) -> None:
    """Answer what is left of a claimed batch, as far as it may cost, and let it go."""
    reader = work.new_reader(work.run.spec)
    packs = None if batch.pack == 1 else Packs(Packer(work.run), reader)

    async def ask(recorder: Recorder, requests: Iterator[Request]) -> None:
        read: Read = reader.read
        record: Record = recorder.record
        if packs is not None:
            read, record, requests = packs.read, packs.then(record), packs.noted(requests)
        if allowance is not None:
            requests, record = allowance.of(requests), allowance.by(record)
        said = map(say, requests)
        answering = executor.answer(said, read=read, record=record, stop=stop)
        grace = DRAIN if executor.drains else timedelta()
        if not await until(answering, stop=stop, grace=grace):
            work.note_open_calls("batch.abandoned", recorder.batch)

    with RequestFile(work.store.folder(batch.run_id)) as known:
        say = said_by(work, batch, known, marked_in(work, batch))
        await record(work, batch, ask, backlog=executor.backlog, sent=outgoing)


def marked_in(work: Work, batch: Batch) -> Marked:
    """Which of its requests mark their heads, as far as those before it have shown what it pays."""
    heads = read_heads(work.store.folder(batch.run_id))
    return "none" if heads is None else marked(batch, work.store.batches(batch.run_id), heads)


def said_by(work: Work, batch: Batch, requests: RequestFile, which: Marked) -> Say:
    """How the requests of `batch` say to a prompt cache what there is to say."""
    heads = read_heads(work.store.folder(batch.run_id))
    if heads is None:
        return lambda request: request
    return saying(requests, heads, work.run.spec.api, which)


async def cancel(work: Work, batch: Batch) -> None:
    """Give everything left of a claimed batch the outcome `cancelled`, and let it go."""
    failure = Failure(message="cancelled before it was sent")

    async def give_up(recorder: Recorder, requests: Iterator[Request]) -> None:
        while chunk := list(islice(requests, _CANCELLED_AT_ONCE)):
            given_up = [Result(n=r.n, outcome="cancelled", failure=failure) for r in chunk]
            await recorder.record(*given_up)

    await record(work, batch, give_up, backlog=0)


Fill = Callable[[Recorder, Iterator[Request]], Coroutine[Any, Any, None]]


Sent = Callable[[Work, Batch, RequestFile], Iterator[Request]]


async def record(
    work: Work, batch: Batch, fill: Fill, *, backlog: int, sent: Sent | None = None
) -> None:
    """Let `fill` record a result for each request of `batch` that has none, then let it go.

    It is given these requests, or what `sent` makes of them.

    Raises StoreCorrupt at a request that is damaged, once those before it are recorded.
    """
    damage: list[StoreCorrupt] = []
    recorder = Recorder(
        batch,
        backlog=backlog,
        store=work.store,
        thread=work.thread,
        probe=work.probe,
        now=work.now,
        lease=work.lease,
        committed=work.committed,
        copies=work.copies,
    )
    with RequestFile(work.store.folder(batch.run_id)) as requests:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run())
            try:
                await fill(recorder, _sound((sent or left_of)(work, batch, requests), damage))
            finally:
                recorder.close()
    await recorder.let_go()
    if damage:
        raise damage[0]


def _sound(requests: Iterator[Request], damage: list[StoreCorrupt]) -> Iterator[Request]:
    """`requests` up to the first that is damaged: answers under way are paid for and may arrive."""
    try:
        yield from requests
    except StoreCorrupt as e:
        damage.append(e)


def left_of(work: Work, batch: Batch, requests: RequestFile) -> Iterator[Request]:
    """The requests of `batch` without a committed result, as they go out.

    Raises StoreCorrupt if there are not as many results as were counted, or no rows for them.
    """
    done = _answered_in(work, batch)
    left = (n for n in numbers_of(work.store, batch) if n not in done)
    return as_sent(work, batch, requests, left)


def _answered_in(work: Work, batch: Batch) -> set[int]:
    """The requests of `batch` that have a committed result. Raises as `left_of`."""
    folder = work.store.folder(batch.run_id)
    check_rows_are_there(folder)
    lines = committed_lines(folder, batch.id, batch.journal)
    done = {number_of(line) for _, _, line in lines}
    if len(done) != batch.answered:
        found = f"hold {len(done)} results, and the database counts {batch.answered}"
        raise damaged(folder / f"{batch.id}.*.jsonl", found)
    return done


def outgoing(work: Work, batch: Batch, requests: RequestFile) -> Iterator[Request]:
    """The calls that are to be made for `batch`: several of its requests may go as one.

    Raises as `left_of`.
    """
    if batch.pack == 1:
        return left_of(work, batch, requests)
    numbers, done = numbers_of(work.store, batch), _answered_in(work, batch)
    packer = Packer(work.run)
    calls = packer.outgoing(requests, packer.together(requests, numbers, batch.pack), done)
    return (_as_sent(work, call, batch) for call in calls)


def calls_of(work: Work, batch: Batch) -> int:
    """How many there are at a provider that has the batch, or is to have it."""
    if batch.pack == 1:
        return batch.size
    numbers, done = numbers_of(work.store, batch), _answered_in(work, batch)
    packer = Packer(work.run)
    with RequestFile(work.store.folder(batch.run_id)) as requests:
        groups = packer.together(requests, numbers, batch.pack)
        return sum(1 for _ in packer.calls(groups, done))


def as_sent(
    work: Work, batch: Batch, requests: RequestFile, numbers: Iterable[int]
) -> Iterator[Request]:
    """The requests with these numbers, as `batch` sends them."""
    asks_for_tier = batch.executor == "online" and batch.tier is not None
    if batch.budget_factor == 1 and not asks_for_tier:
        return requests.read(numbers)
    return (_as_sent(work, request, batch) for request in requests.read(numbers))


def _as_sent(work: Work, request: Request, batch: Batch) -> Request:
    api = work.run.spec.api
    body = wire_of(api).with_budget(api, request.body, factor=batch.budget_factor)
    if batch.executor == "online" and batch.tier is not None and work.tier_field is not None:
        body = with_field(body, work.tier_field, batch.tier)
    return replace(request, body=body)


def with_field(body: bytes, name: str, value: str) -> bytes:
    """`body` with this field, unless it has it already."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields.setdefault(name, msgspec.Raw(msgspec.json.encode(value)))
    return msgspec.json.encode(fields)


def numbers_of(store: Store, batch: Batch) -> "range | memoryview[int]":
    """The numbers of the requests that `batch` holds, in the order they go out."""
    if batch.ordered:
        return range(batch.first, batch.first + batch.size)
    return read_numbers(numbers_path(store.folder(batch.run_id), batch.id))


async def until(
    answering: Coroutine[Any, Any, None], *, stop: asyncio.Event, grace: timedelta
) -> bool:
    """Await `answering`; after `stop`, for `grace` at most. Whether it came to its end."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(answering)
        stopped = tasks.create_task(stop.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait((task,), timeout=grace.total_seconds())
            return task.done()
        finally:
            stopped.cancel()
            await break_off(task)


_CANCEL_EVERY = timedelta(seconds=0.1)
_CANCELS = 100


async def break_off(task: "asyncio.Task[None]") -> None:
    """Cancel `task` until it is over: now and then the HTTP client swallows a cancellation.

    One that heeds none of many is left to end by itself. Who is cancelled meanwhile hears of it
    then: to leave at once would leave `task` to itself, for a group cancels only once.
    """
    cancelled: asyncio.CancelledError | None = None
    for _ in range(_CANCELS):
        if task.done():
            break
        task.cancel()
        try:
            await asyncio.wait((task,), timeout=_CANCEL_EVERY.total_seconds())
        except asyncio.CancelledError as e:
            cancelled = e
    if cancelled is not None:
        raise cancelled
