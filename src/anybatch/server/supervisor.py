"""The loop that keeps every open order going: looked at, answered, delivered.

Each order has one task at a time. Whatever is written down of it is enough to go on from there.
"""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from ..core.model import Run
from ..core.served import Order, OrderStatus, Problem
from ..engine.events import Progress
from ..engine.intake import sweep
from ..errors import StoreUnwritable, UnknownRun
from ..executors.parties import Party
from . import turns
from .check import Checking, check
from .log import log
from .orders import Orders
from .outages import Rests
from .results import Delivered, deliver

_LOOK_EVERY_S = 1.0
_ALIVE_S = 30.0
"""Who has not looked for so long does not work."""
_TIDY_EVERY = timedelta(minutes=1)
_REST = timedelta(seconds=30)
"""So long an order rests that could not be gone on with."""
_LONGEST_REST = timedelta(minutes=30)
"""So long at most one rests whose requests are refused by a provider's batch API: to ask anew is to
send all of a batch."""
_RESTING_BESIDE = 32
"""So many orders leave their places to others while nobody answers them where they are asked."""
_RUNS_KEPT = timedelta(days=30)
"""So long the runs of an order stay that is over."""


class Supervisor:
    """Belongs to the event loop."""

    def __init__(self, orders: Orders, checking: Checking) -> None:
        self._orders = orders
        self._checking = checking
        self._desk = orders.desk
        self._store = orders.store
        self._workspace = orders.workspace
        self._clock = orders.desk.clock
        self._under_way: dict[str, Order] = {}
        """Orders with a task, as they were when it began."""
        self._rests: dict[str, datetime] = {}
        """Orders that are left alone until then."""
        self._held: dict[str, str] = {}
        """Open orders that wait until their owner may use more tokens, or until somebody answers
        them again, each with the reason."""
        self._asked: dict[str, dict[str, Rests]] = {}
        """Where the runs are asked that go on, by their orders."""
        self._refused: Counter[str] = Counter()
        """How often in a row a provider has refused all of an order."""
        self._beside: dict[tuple[str, bool], asyncio.Semaphore] = {}
        """How many more runs may go on of an owner's orders, and of those that only wait."""
        self._tidied: datetime | None = None
        self._unwritten = False
        """Whether the store could not be written when it last looked."""
        self._looked: float | None = None
        """When it last looked what there is to do, by the event loop's clock; None: it is not at
        work."""

    def take_up(self) -> None:
        """Clear away what an earlier server has left half done, and take up what it had accepted.

        Nobody else may be serving from this store.
        """
        sweep(self._store)
        self._desk.sweep()
        self._orders.load()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then nothing more is sent, and what is answered is kept."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                self._looked = loop.time()
                self._orders.changed.clear()
                await self._look_after_all()
                for order in self._turns():
                    self._under_way[order.id] = order
                    tasks.create_task(self._go_on(order, stop))
                await self._wait(stop)
            self._looked = None
        await self._orders.tokens.save()
        await self._workspace.shared.close()

    def works(self) -> bool:
        """Whether it goes on with orders."""
        now = asyncio.get_running_loop().time()
        return self._looked is not None and now - self._looked < _ALIVE_S

    async def _look_after_all(self) -> None:
        """What has to be done beside the orders themselves, as far as the store takes it now."""
        try:
            await self._expire()
            await self._hold()
            await self._tidy()
        except StoreUnwritable as e:
            if not self._unwritten:
                log("store.unwritten", why=str(e)[:500])
            self._unwritten = True
        else:
            self._unwritten = False

    def _turns(self) -> list[Order]:
        now = self._clock.now()
        waiting = [
            order
            for order in self._orders.open.values()
            if order.id not in self._under_way
            and order.id not in self._held
            and self._rests.get(order.id, now) <= now
        ]
        # Those that wait leave their places to others.
        left = set(list(self._orders.resting)[_RESTING_BESIDE:])
        at_work = {
            id: order for id, order in self._under_way.items() if id not in self._held or id in left
        }
        weight = self._orders.owners.weight_of
        return turns.turns(waiting, at_work, weight=weight, lane=self._orders.lane_of)

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until something is new, we are told to stop, or it is time to look at the clock."""
        signs = {
            asyncio.ensure_future(self._orders.changed.wait()),
            asyncio.ensure_future(stop.wait()),
        }
        try:
            await asyncio.wait(signs, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sign in signs:
                sign.cancel()

    # --- one order ---

    async def _go_on(self, order: Order, stop: asyncio.Event) -> None:
        try:
            try:
                if order.total is None:
                    await self._check(order)
                elif await self._fulfil(order, stop):
                    await self._finish(order.id)
            except UnknownRun:
                await self._lose(order)
        except _AllRefused as e:
            wait = min(_LONGEST_REST, _REST * 2.0 ** min(self._refused[order.id], 10))
            self._refused[order.id] += 1
            log("order.rests", order=order.id, why=str(e)[:500])
            await asyncio.to_thread(self._say_why, order, str(e)[:500])
            self._rests[order.id] = self._clock.now() + wait
        except Exception as e:
            # The other orders go on, whatever is wrong with this one. If the disk is full, all
            # rest one after the other until there is room.
            _say_rest(order, e)
            self._rests[order.id] = self._clock.now() + _REST
        finally:
            self._asked.pop(order.id, None)
            del self._under_way[order.id]
            self._orders.changed.set()

    async def _check(self, order: Order) -> None:
        """Look at its input."""
        path = await asyncio.to_thread(self._input_of, order)
        checked = await asyncio.to_thread(check, self._checking, order, path)
        now = self._clock.now()

        def changed(present: Order) -> Order:
            status = _after_check(present, is_well=not checked.problems)
            over = status in ("failed", "cancelled", "expired")
            return replace(
                present,
                status=status,
                total=checked.total,
                model=checked.model,
                runs=checked.runs,
                problems=checked.problems,
                started_at=now if status == "running" else present.started_at,
                ended_at=now if over else None,
            )

        moved = await self._orders.move(order.id, changed)
        log(f"order.{moved.status}", order=order.id, requests=moved.total)

    def _input_of(self, order: Order) -> Path | None:
        file = self._desk.find(order.input_file, owner=order.owner)
        if file is None or file.purpose != self._checking.faces[order.face].input_purpose:
            return None
        return self._desk.blobs.file(file.id)

    async def _fulfil(self, order: Order, stop: asyncio.Event) -> bool:
        """Have its requests answered; whether all of them are over."""
        order = self._orders.open[order.id]
        if order.ending != "completed":
            await self._orders.stop_runs(order)
        # Why they waited when an earlier server looked may be no reason any more.
        why = self._orders.tokens.held().get(order.owner)
        await asyncio.to_thread(self._say_why, order, why)
        runs = await self._run_all(order, stop)
        refused = next((run for run in runs if run.state == "stopped"), None)
        if refused is not None and self._orders.open[order.id].ending == "completed":
            raise _AllRefused(refused.why or "refused")
        self._refused.pop(order.id, None)
        return all(run.state in ("ended", "stopped") for run in runs)

    async def _run_all(self, order: Order, stop: asyncio.Event) -> list[Run]:
        """Go on with its runs, as many at once as its owner may: one that is answered call by call
        and one that waits for a provider's batches always. What is wrong with one is raised when no
        other one goes on.
        """
        going: set[str] = set()
        runs = await asyncio.to_thread(lambda: [self._store.run(run_id) for run_id in order.runs])
        sides: list[asyncio.Task[list[Run | Exception]]] = []
        async with asyncio.TaskGroup() as tasks:
            for waits in (False, True):
                here = [run for run in runs if (run.spec.executor == "batch") == waits]
                works = [partial(self._run_on, order, run.id, going, stop) for run in here]
                places = self._places_beside(order.owner, waits=waits)
                sides.append(tasks.create_task(side_by_side(works, places)))
        told = [each for side in sides for each in side.result()]
        wrong = [each for each in told if isinstance(each, Exception)]
        if wrong:
            raise next((e for e in wrong if isinstance(e, UnknownRun)), wrong[0])
        return [run for run in told if isinstance(run, Run)]

    def _places_beside(self, owner: str, *, waits: bool) -> asyncio.Semaphore:
        times = turns.WAITING_TIMES if waits else 1
        new = asyncio.Semaphore(times * turns.BESIDE_AT_ONCE)
        return self._beside.setdefault((owner, waits), new)

    async def _run_on(self, order: Order, run_id: str, going: set[str], stop: asyncio.Event) -> Run:
        """Go on with a run, and again after a rest if it cannot be gone on with, as long as others
        of its order are `going`: else the order rests."""
        while True:
            going.add(run_id)
            try:
                return await self._run(order, run_id, stop)
            except UnknownRun:
                raise
            except Exception as e:
                going.remove(run_id)
                if not going:
                    raise
                _say_rest(order, e)
                if not await self._rested(going, stop):
                    raise
            finally:
                going.discard(run_id)

    async def _rested(self, going: set[str], stop: asyncio.Event) -> bool:
        """False if none is `going` any more, or we are told to stop."""
        until = self._clock.now() + _REST
        while going and not stop.is_set():
            if self._clock.now() >= until:
                return True
            await asyncio.sleep(_LOOK_EVERY_S)
        return False

    async def _run(self, order: Order, run_id: str, stop: asyncio.Event) -> Run:
        run = await asyncio.to_thread(self._store.run, run_id)
        if run.state == "stopped" and order.ending == "completed":
            run = await asyncio.to_thread(self._workspace.reopen, run)
        if run.state == "ended":
            # It may have been over when it came in, or when we began.
            self._orders.note(order, await asyncio.to_thread(self._workspace.progress, run))
            return run

        def note(look: Progress) -> None:
            self._orders.note(order, look)

        gate, rests = self._orders.tokens.gate(order.owner), Rests()
        weight = partial(self._orders.owners.weight_of, order.owner)
        workspace = dataclasses.replace(
            self._workspace,
            gate=gate,
            rests=rests,
            asked_in=order.api,
            party=Party(order.owner, order.id, weight),
        )
        asked = self._asked.setdefault(order.id, {})
        asked[run.id] = rests
        try:
            return await workspace.fulfil(run, stop=stop, on_progress=note)
        finally:
            asked.pop(run.id, None)

    async def _lose(self, order: Order) -> None:
        """End an order whose requests somebody has removed from the store."""
        problem = Problem(code="server_error", message="Its requests were removed from the server.")
        now = self._clock.now()

        def lost(present: Order) -> Order:
            status = "failed" if present.ending == "completed" else present.ending
            return replace(present, status=status, problems=(problem,), ended_at=now)

        moved = await self._orders.move(order.id, lost)
        log("order.lost", order=order.id, status=moved.status)

    async def _finish(self, order_id: str) -> None:
        """Write its result files, and end it."""
        order = await self._orders.move(order_id, self._finishing)
        face = self._checking.faces[order.face]
        delivered = await asyncio.to_thread(deliver, self._desk, order, face)
        ended = partial(_ended, delivered=delivered, now=self._clock.now())
        order = await self._orders.move(order_id, ended, files=delivered.files)
        log(f"order.{order.status}", order=order.id, requests=order.total, failed=order.failed)

    def _finishing(self, order: Order) -> Order | None:
        if order.status != "running":
            return None
        return replace(order, status="finishing", finishing_at=self._clock.now())

    # --- what holds orders up ---

    def _resting(self) -> dict[str, str]:
        """The orders at whose places nobody answers now, wherever they are asked."""
        resting: dict[str, str] = {}
        for order_id, asked in self._asked.items():
            whys = [rests.why for rests in asked.values()]
            order = self._orders.open.get(order_id)
            if whys and None not in whys and order is not None and order.status == "running":
                resting[order_id] = f"{whys[0]}; it is asked again now and then"
        return resting

    async def _hold(self) -> None:
        """Have the orders wait whose owners have used their tokens or whom nobody answers, and go
        on who may again."""
        tokens = self._orders.tokens
        tokens.look_at_all()
        why = tokens.held()
        held = {
            order.id: why[order.owner]
            for order in self._orders.open.values()
            if order.owner in why and order.status == "running"
        }
        resting = {id: why for id, why in self._resting().items() if id not in held}
        self._orders.resting = resting
        held |= resting
        for order_id in held.keys() ^ self._held.keys():
            order, said = self._orders.open.get(order_id), held.get(order_id)
            if order is None or order.status != "running":
                continue  # it waits no more because nothing more of it is sent
            await asyncio.to_thread(self._say_why, order, said)
            word = "rests" if order_id in resting else "waits"
            if said is None:
                log("order.goes_on", order=order_id)
            else:
                log(f"order.{word}", order=order_id, why=said)
        self._held = held
        await tokens.save()

    def _say_why(self, order: Order, why: str | None) -> None:
        """Write down with the runs of an order why they wait: others look there."""
        for run_id in order.runs:
            run = self._store.run(run_id) if self._store.has_run(run_id) else None
            if run is not None and run.state == "open" and run.why != why:
                self._store.set_state(run, "open", why=why)

    # --- time ---

    async def _expire(self) -> None:
        """Stop what is not done within its time."""
        now = self._clock.now()

        def expiring(order: Order) -> Order | None:
            if order.status not in ("received", "running"):
                return None
            return replace(order, status="expiring")

        for order in list(self._orders.open.values()):
            if order.expires_at <= now and expiring(order) is not None:
                why = self._orders.resting.get(order.id)
                log("order.expires", order=order.id, **({} if why is None else {"why": why}))
                moved = await self._orders.move(order.id, expiring)
                if moved.status == "expiring":
                    await self._orders.stop_runs(moved)

    async def _tidy(self) -> None:
        now = self._clock.now()
        if self._tidied is not None and now < self._tidied + _TIDY_EVERY:
            return
        self._tidied = now
        await asyncio.to_thread(self._forget, now)

    def _forget(self, now: datetime) -> None:
        self._desk.tidy()
        for order in self._store.ended_orders(now - _RUNS_KEPT):
            self._store.forget_runs(order)


class _AllRefused(Exception):
    """A provider takes nothing of an order; it may later."""


def _say_rest(order: Order, e: Exception) -> None:
    log("order.rests", order=order.id, why=f"{type(e).__name__}: {e}"[:500])


T = TypeVar("T")


async def side_by_side(
    works: Sequence[Callable[[], Awaitable[T]]], places: asyncio.Semaphore
) -> list[T | Exception]:
    """What becomes of all `works`, of which one goes on and others where there is a place.

    None of them is broken off because of another one's end.
    """
    left = iter(works)
    told: list[T | Exception] = []
    placed: set[asyncio.Task[Any] | None] = set()

    async def go_on() -> None:
        for work in left:
            try:
                told.append(await work())
            except Exception as e:
                told.append(e)

    async def beside() -> None:
        async with places:
            placed.add(asyncio.current_task())
            await go_on()

    async with asyncio.TaskGroup() as tasks:
        more = {tasks.create_task(beside()) for _ in works[1:]}
        await go_on()
        # Nothing is left that those could begin who wait for a place.
        for task in more - placed:
            task.cancel()
    return told


def _after_check(order: Order, *, is_well: bool) -> OrderStatus:
    """What an order becomes whose input was looked at."""
    match order.status, is_well:
        case "received", True:
            return "running"
        case "received", False:
            return "failed"
        case "cancelling", False:
            return "cancelled"
        case "expiring", False:
            return "expired"
        case status, _:
            return status


def _ended(order: Order, *, delivered: Delivered, now: datetime) -> Order:
    return replace(
        order,
        status=order.ending,
        ended_at=now,
        completed=delivered.completed,
        failed=delivered.failed,
        usage=delivered.usage,
        output_file=None if delivered.output is None else delivered.output.id,
        error_file=None if delivered.errors is None else delivered.errors.id,
    )
