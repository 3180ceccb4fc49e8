"""The loop: whose a batch is, when it stops, and what a stop leaves behind."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace as with_
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from anybatch.core.model import Batch, Request, Run
from anybatch.core.plan import Limits
from anybatch.core.retry import standing
from anybatch.core.states import SILENT_AFTER, exit_code
from anybatch.effects import Probe
from anybatch.engine.act import DRAIN
from anybatch.engine.events import Progress
from anybatch.errors import TransportError
from anybatch.executors.executor import CallExecutor, Read, Record
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import FakeEndpoint, ManualClock, Status

from .harness import (
    LEASE,
    TOPICS,
    HurriedClock,
    Model,
    NewWorld,
    SmallBatches,
    World,
    eventually,
    rows,
    spec,
)
from .promises import broken_promises

SECOND = 1.0


def planned(workspace: SmallBatches, world: World) -> Run:
    return workspace.reopen(workspace.plan(world.source(), world.spec).run)


async def fulfil(workspace: SmallBatches, run: Run, *, stop: asyncio.Event | None = None) -> Run:
    return await workspace.fulfil(run, stop=stop or asyncio.Event())


def names_of_events(workspace: SmallBatches, run: Run) -> list[str]:
    return [event.name for event in workspace.store.events(run.id)]


def deliver(workspace: SmallBatches, run: Run, world: World) -> None:
    workspace.deliver(run, world.out, force=True, raw=False)


# --- whose a batch is ---


@pytest.mark.parametrize("owner", ["elsewhere", None])
async def test_two_processes_on_one_store_never_do_the_same_batch(
    owner: str | None, new_world: NewWorld
) -> None:
    with FakeEndpoint(latency=0.002) as endpoint:
        asked = spec(endpoint.base_url)
        world = new_world(spec=asked, endpoint=endpoint, rows=rows(60))
        world.owner = owner or world.owner
        one, other = world.open(), world.open()
        run = planned(one, world)
        if owner is None:  # two threads of one process have one name
            other = with_(other, owner=one.owner)

        async with asyncio.TaskGroup() as both:
            for workspace in (one, other):
                both.create_task(fulfil(workspace, run))

        deliver(one, run, world)
        assert set(endpoint.ledger.by_body.values()) == {1}
        assert broken_promises(world) == []
        assert "batch.recovered" not in names_of_events(one, run)


async def overtaken(world: World) -> list[str]:
    """An owner sleeps past its lease, another one answers everything, the first one wakes up."""
    gate = asyncio.Event()
    world.model, world.clock = Model(gate=gate, voice="stale"), ManualClock()
    sleeper = world.open()
    run = planned(sleeper, world)
    asleep = asyncio.create_task(fulfil(sleeper, run))
    stale = world.model
    await eventually(lambda: stale.executions == 4)

    world.model, world.clock = Model(), ManualClock(world.clock.now() + LEASE)
    overtaker = world.open()
    await fulfil(overtaker, run)
    gate.set()
    await asleep

    deliver(sleeper, run, world)
    lost = names_of_events(sleeper, run).count("batch.lost")
    return [*broken_promises(world), *([] if lost == 2 else [f"{lost} batches were lost"])]


async def test_who_slept_past_the_lease_changes_nothing(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), owner="elsewhere")

    assert await overtaken(world) == []


class Deaf:
    """A model that is asked and never answers, and that heeds only the second cancellation."""

    waiting: str | None = None
    window, backlog, drains = 2, 0, True

    def __init__(self) -> None:
        self.asked = self.swallowed = 0

    def open(self, probe: Probe) -> CallExecutor:
        return self

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        self.asked += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.swallowed += 1
            await asyncio.Event().wait()

    def takes(self, requests: int, tokens: int) -> float:
        return 0.0

    async def close(self) -> None:
        pass


async def test_who_lost_a_batch_leaves_it_even_if_a_cancellation_is_swallowed(
    new_world: NewWorld,
) -> None:
    deaf, clock = Deaf(), ManualClock()
    world = new_world(spec=spec(), owner="elsewhere", model=deaf, clock=clock)
    loser = world.open()
    run = planned(loser, world)
    losing = asyncio.create_task(fulfil(loser, run))
    await eventually(lambda: deaf.asked == 2)
    world.model, world.clock = Model(), ManualClock(clock.now() + LEASE)
    winner = world.open()
    await fulfil(winner, run)

    await eventually(lambda: clock.sleepers >= 2)
    clock.advance(LEASE.total_seconds() / 3 + SECOND)
    await asyncio.wait((losing,), timeout=5)

    assert losing.done()
    assert deaf.swallowed == 2
    assert names_of_events(winner, run).count("batch.lost") == 2
    deliver(winner, run, world)
    assert broken_promises(world) == []


class Closing:
    """A model that tells whoever waits for an answer when it is closed that there will be none."""

    waiting: str | None = None
    window, backlog, drains = 2, 0, True

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._closed = asyncio.Event()

    def open(self, probe: Probe) -> CallExecutor:
        return self

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        self.asked.set()
        await self._closed.wait()
        raise TransportError("the answer was broken off", sent=True)

    async def close(self) -> None:
        self._closed.set()
        await asyncio.sleep(0.05)


async def test_who_is_cancelled_ends_so_and_not_by_what_is_closed_behind_it(
    new_world: NewWorld,
) -> None:
    model = Closing()
    world = new_world(spec=spec(), model=model)
    workspace = world.open()
    working = asyncio.create_task(fulfil(workspace, planned(workspace, world)))
    await model.asked.wait()
    working.cancel()

    with pytest.raises(asyncio.CancelledError):
        await working


class Unpaid(Closing):
    """A model whose answers cost nothing."""

    drains = False


async def test_what_costs_nothing_is_broken_off_at_a_stop_and_noted(new_world: NewWorld) -> None:
    model, stop = Unpaid(), asyncio.Event()
    world = new_world(spec=spec(), model=model)
    workspace = world.open()
    run = planned(workspace, world)
    working = asyncio.create_task(fulfil(workspace, run, stop=stop))
    await model.asked.wait()

    stop.set()
    async with asyncio.timeout(DRAIN.total_seconds() / 2):
        left = await working

    assert left.state == "open"
    assert {batch.owner for batch in workspace.store.batches(run.id)} == {None}
    assert "batch.abandoned" in names_of_events(workspace, run)


class Unfenced(SqliteStore):
    """Takes writes under any lease."""

    def save(self, batch: Batch) -> None:
        newest = next(b for b in self.batches(batch.run_id) if b.id == batch.id)
        super().save(replace(batch, token=newest.token))


async def test_a_store_without_fences_is_noticed(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), owner="elsewhere", new_store=Unfenced)

    noticed: list[str] = []
    try:
        noticed += await overtaken(world)
    except* AssertionError as e:  # a batch went where no batch may go
        noticed.append(str(e))

    assert noticed != []


async def test_a_heartbeat_keeps_a_slow_batch_ours_past_its_lease(new_world: NewWorld) -> None:
    gate, clock = asyncio.Event(), ManualClock()
    slow, idle = Model(gate=gate), Model()
    world = new_world(spec=spec(), owner="elsewhere", clock=clock, rows=rows(8))
    world.model = slow
    owner = world.open()
    run = planned(owner, world)
    working = asyncio.create_task(fulfil(owner, run))
    await eventually(lambda: slow.executions == 4)
    world.model = idle
    waiting = asyncio.create_task(fulfil(world.open(), run))

    third = LEASE / 3
    for _ in range(7):
        await eventually(lambda: clock.sleepers >= 4)
        clock.advance(third.total_seconds() + SECOND)
        await eventually(lambda: leases_last(clock.now() + third, owner, run))
    gate.set()
    await working
    await eventually(lambda: clock.sleepers >= 1)
    clock.advance(LEASE.total_seconds())
    await waiting

    deliver(owner, run, world)
    assert idle.executions == 0
    assert broken_promises(world) == []


def leases_last(until: datetime, workspace: SmallBatches, run: Run) -> bool:
    leases = [batch.lease_until for batch in batches_of(workspace, run)]
    return all(lease is not None and lease > until for lease in leases)


def batches_of(workspace: SmallBatches, run: Run) -> list[Batch]:
    return workspace.store.batches(run.id)


class NoHeartbeat(HurriedClock):
    """Wakes up in time for everything but what renews the leases."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds if seconds < LEASE.total_seconds() / 3 else 1e9)

    def skip(self, time: timedelta) -> None:
        self._start -= time.total_seconds() / self._speed


async def test_who_wakes_up_late_and_is_still_the_owner_goes_on(new_world: NewWorld) -> None:
    gate, clock, looks = asyncio.Event(), NoHeartbeat(), list[Progress]()
    world = new_world(spec=spec(), clock=clock, model=Model(gate=gate), rows=rows(4))
    workspace = world.open()
    run = planned(workspace, world)
    fulfilling = workspace.fulfil(run, stop=asyncio.Event(), on_progress=looks.append)
    working = asyncio.create_task(fulfilling)
    await eventually(lambda: world.executions == 2)

    clock.skip(2 * LEASE)
    looks.clear()
    await eventually(lambda: len(looks) >= 3)
    gate.set()
    await working

    deliver(workspace, run, world)
    assert broken_promises(world) == []
    assert world.repeated == 0


# --- what stops a run ---


async def test_a_wrong_key_stops_the_run_and_the_right_one_answers_every_row(
    new_world: NewWorld,
) -> None:
    with FakeEndpoint(key="right") as endpoint:
        two_batches = {"rows": rows(60), "limits": Limits(max_requests=30)}
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint, **two_batches)
        for key in ("wrong", "wrong too"):
            world.environment["FAKE_API_KEY"] = key
            workspace = world.open()
            stopped = await fulfil(workspace, planned(workspace, world))
            look = workspace.progress(stopped)

            assert stopped.state == look.status == "stopped"
            assert stopped.why is not None
            assert stopped.why.startswith("auth: ")
            # Two commits may be under way when the third refusal is known, each with its calls.
            assert 3 <= look.done <= 3 + 2 * 4
            assert exit_code(look.status, look.counts) == 4

        world.environment["FAKE_API_KEY"] = "right"
        workspace = world.open()
        run = await fulfil(workspace, planned(workspace, world))
        deliver(workspace, run, world)

        assert broken_promises(world) == []
        assert workspace.progress(run).status == "ok"


async def test_where_nobody_answers_a_run_stops_early_and_goes_on_once_somebody_does(
    new_world: NewWorld,
) -> None:
    with FakeEndpoint() as endpoint:
        address = endpoint.base_url
    world = new_world(spec=spec(address), rows=rows(400), limits=Limits(max_requests=200))
    workspace = world.open()
    stopped = await fulfil(workspace, planned(workspace, world))
    look = workspace.progress(stopped)

    assert stopped.state == "stopped"
    assert stopped.why is not None
    assert stopped.why.startswith("network: ")
    assert SILENT_AFTER <= look.done < 100

    port = int(address.rpartition(":")[2].partition("/")[0])
    with FakeEndpoint(port=port) as endpoint:
        world.close()
        world.endpoint = endpoint
        workspace = world.open()
        run = await fulfil(workspace, planned(workspace, world))
        deliver(workspace, run, world)

        assert broken_promises(world) == []
        assert workspace.progress(run).status == "ok"


async def test_money_that_runs_out_keeps_what_was_answered(
    new_world: NewWorld,
) -> None:
    broke = {number: Status(402) for number in range(9, 100)}
    with FakeEndpoint(script=broke) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint)
        workspace = world.open()
        run = await fulfil(workspace, planned(workspace, world))
        look = workspace.progress(run)

    assert run.state == "stopped"
    assert look.counts["succeeded"] == 8
    assert exit_code(look.status, look.counts) == 3


async def test_a_cancellation_from_outside_records_what_is_in_flight(new_world: NewWorld) -> None:
    gate, heard = asyncio.Event(), asyncio.Event()
    world = new_world(spec=spec(), model=Model(gate=gate))
    workspace = world.open()
    run = planned(workspace, world)

    def listen(progress: Progress) -> None:
        if progress.run.state == "cancelling":
            heard.set()

    working = asyncio.create_task(workspace.fulfil(run, stop=asyncio.Event(), on_progress=listen))
    await eventually(lambda: world.executions == 4)
    world.open().ask_to_cancel(run)
    await heard.wait()
    gate.set()
    ended = await working

    deliver(workspace, ended, world)
    assert broken_promises(world, outcomes={"succeeded": 4, "cancelled": 8}) == []
    assert workspace.progress(ended).status == "cancelled"


async def test_a_stop_lets_what_is_in_flight_finish_and_gives_the_batches_back(
    new_world: NewWorld,
) -> None:
    gate, stop = asyncio.Event(), asyncio.Event()
    world = new_world(spec=spec(), model=Model(gate=gate), owner="elsewhere")
    workspace = world.open()
    run = planned(workspace, world)
    working = asyncio.create_task(fulfil(workspace, run, stop=stop))
    await eventually(lambda: world.executions == 4)
    stop.set()
    gate.set()
    left = await working

    assert left.state == "open"
    assert standing(batches_of(workspace, run)) == {"succeeded": 4}
    assert all(batch.owner is None for batch in batches_of(workspace, run))
    # Nobody waits for a lease: the owner is not known to be dead, and hours are left of it.
    await asyncio.to_thread(world.live)
    assert broken_promises(world) == []
    assert world.repeated == 0


async def test_a_stop_does_not_wait_long_for_a_call_that_hangs(new_world: NewWorld) -> None:
    stop = asyncio.Event()
    hanging = Model(gate=asyncio.Event())
    world = new_world(spec=spec(), model=hanging, owner="elsewhere")
    workspace = world.open()
    run = planned(workspace, world)
    working = asyncio.create_task(fulfil(workspace, run, stop=stop))
    await eventually(lambda: world.executions == 4)
    stop.set()
    async with asyncio.timeout(5):
        await working

    hanging.gate = None
    await asyncio.to_thread(world.live)
    assert world.repeated == 4
    # The calls that were given up may have been paid for: the report says so.
    assert broken_promises(world) == []


# --- how requests go out ---


async def test_requests_go_out_by_prefix_and_come_back_in_input_order(new_world: NewWorld) -> None:
    with FakeEndpoint() as endpoint:
        world = new_world(
            spec=spec(endpoint.base_url),
            endpoint=endpoint,
            groups=True,
            limits=Limits(max_requests=100),
            calls=1,
        )
        await asyncio.to_thread(world.live)

        topics = [one.prompt.split(":")[0] for one in endpoint.ledger.executions]
        assert sorted(topics, key=topics.index) == topics
        assert set(topics) == set(TOPICS)
        assert broken_promises(world) == []


async def test_an_engine_without_work_does_not_open_an_executor(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model())
    await asyncio.to_thread(world.live)
    world.model = None  # whoever opens one now opens a real one, to nowhere

    again = world.open()
    run = await fulfil(again, planned(again, world))

    assert run.state == "ended"
    assert run.ended_at is not None
    assert run.ended_at - run.created_at < timedelta(days=1)
