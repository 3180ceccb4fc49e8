"""How long batches take is learned, and a batch that takes longer is told of, once."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.model import Batch, Remote
from anybatch.core.plan import Limits
from anybatch.core.timing import ENOUGH, Timing
from anybatch.engine.events import Progress
from anybatch.store.store import Event
from anybatch.testing import CrashAt, Fate, Phases

from .harness import HurriedClock, World, rows
from .promises import broken_promises
from .test_crash_of_batches import world_with

QUICK, LONG = Phases(in_progress=60), Phases(in_progress=900)


@contextmanager
def one_batch(root: Path, **given: Any) -> Iterator[World]:
    """One batch, on one clock with its provider."""
    clock = HurriedClock(1_000)
    with world_with(root, **{"phases": QUICK, "clock": clock, **given}) as world:
        world.clock, world.rows, world.in_memory = clock, rows(24), True
        world.limits = Limits(max_requests=99)
        yield world


def knows(world: World, **seconds: float) -> None:
    """Let it be known how long phases take."""
    with closing(world):
        store = world.open().store
        run = world.open().plan(world.source(), world.spec).run
        (batch,) = store.batches(run.id)
        timings = [Timing(phase, length) for phase, length in seconds.items()]
        store.save(batch, timings=timings * ENOUGH)


def watched(world: World) -> list[Progress]:
    looks: list[Progress] = []
    with closing(world):
        workspace = world.open()
        run = workspace.plan(world.source(), world.spec).run
        done = workspace.fulfil(run, stop=asyncio.Event(), on_progress=looks.append)
        workspace.deliver(asyncio.run(done), world.out, force=True, raw=False)
    return looks


def events_of(world: World, *names: str) -> list[Event]:
    with closing(world):
        store = world.open().store
        return store.events(store.runs()[0].id, *names)


def timings_of(world: World) -> dict[str, list[float]]:
    """By phase, what is known in seconds."""
    with closing(world):
        store = world.open().store
        found: dict[str, list[float]] = {}
        for phase, seconds in store.timings(store.runs()[0].queue):
            found.setdefault(phase, []).append(seconds)
        return found


def test_how_long_each_phase_takes_is_learned(scratch: Path) -> None:
    phases = Phases(validating=100, in_progress=300, finalizing=150)

    with one_batch(scratch / "w", phases=phases) as world:
        world.live()
        learned = timings_of(world)

    assert set(learned) == {"validating", "in_progress", "finalizing"}
    assert all(len(seconds) == 1 for seconds in learned.values())
    assert learned["validating"][0] == pytest.approx(100, rel=0.5)
    assert learned["in_progress"][0] == pytest.approx(300, rel=0.5)
    assert learned["finalizing"][0] == pytest.approx(150, rel=0.5)


@pytest.mark.parametrize("ends", ["failed", "cancelled"])
def test_of_what_never_ran_nothing_is_learned_but_how_long_it_was_looked_at(
    ends: Any, scratch: Path
) -> None:
    fates = [Fate(ends=ends)] * 3

    with one_batch(scratch / "w", batches=fates, phases=Phases(validating=20)) as world:
        world.live()

        assert "failed" not in timings_of(world)
        assert ends != "failed" or timings_of(world) == {}


def test_what_happened_while_nobody_looked_teaches_nothing(scratch: Path) -> None:
    with one_batch(scratch / "w", phases=Phases(in_progress=60)) as world:
        world.die(CrashAt(9, only="http.send"))
        asyncio.run(world.clock.sleep(900))
        world.live()

        assert broken_promises(world) == []
        assert "in_progress" not in timings_of(world)


def test_a_batch_that_is_slow_is_told_of_once(scratch: Path) -> None:
    with one_batch(scratch / "w", phases=LONG) as world:
        knows(world, in_progress=50.0)
        looks = watched(world)
        told = events_of(world, "batch.slow", "batch.stuck")

        assert broken_promises(world) == []
        assert [event.name for event in told] == ["batch.slow"]
        assert told[0].fields["why"] == "95 % are over within 50 s"
        assert told[0].fields["phase"] == "in_progress"
        lines = {line for look in looks for line in look.late}
        (line,) = lines
        assert line.endswith(" is slow in in_progress: 95 % are over within 50 s")
        assert any("in_progress (slow)" in (look.waiting or "") for look in looks)
        assert looks[-1].late == ()


def test_a_batch_in_which_nothing_moves_is_stuck(scratch: Path) -> None:
    with one_batch(scratch / "w", phases=Phases(validating=900)) as world:
        knows(world, validating=50.0)
        world.live()
        told = events_of(world, "batch.slow", "batch.stuck")

        assert [event.name for event in told] == ["batch.slow", "batch.stuck"]
        assert "nothing moved for" in told[1].fields["why"]
        with closing(world):
            workspace = world.open()
            report = workspace.report(workspace.store.runs()[0])
        assert report.were_late == {"slow": 1, "stuck": 1}


def test_who_comes_after_a_crash_says_it_no_second_time(scratch: Path) -> None:
    with one_batch(scratch / "w", phases=LONG) as world:
        knows(world, in_progress=50.0)
        died = CrashAt(70, only="http.send")
        world.die(died)
        before = events_of(world, "batch.slow")
        world.live()

        assert died.crashed
        assert len(before) == len(events_of(world, "batch.slow")) == 1


def test_a_batch_that_is_known_to_take_long_is_not_looked_at_often(scratch: Path) -> None:
    polls = {}
    for name, seconds in (("unknown", {}), ("known", {"in_progress": 900.0})):
        with one_batch(scratch / name, phases=LONG) as world:
            if seconds:
                knows(world, **seconds)
            world.live()
            assert world.service is not None
            polls[name] = world.service.ledger.operations["poll"]

    assert polls["known"] < polls["unknown"] / 2


def test_progress_is_seen_to_move(scratch: Path) -> None:
    seen: list[Batch] = []

    with one_batch(scratch / "w", phases=LONG) as world:
        watched(world)
        with closing(world):
            store = world.open().store
            seen = store.batches(store.runs()[0].id)

    remote = seen[0].remote or Remote()
    assert remote.progress_at is not None
    assert remote.sent_at is not None
    assert remote.progress_at - remote.sent_at > timedelta(seconds=100)
    assert replace(remote, late=None) == remote
