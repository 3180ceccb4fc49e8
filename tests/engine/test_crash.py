"""Die before and after every effect of a run, start again, and find each result once."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import pytest

from anybatch.core.model import Counts
from anybatch.core.retry import standing
from anybatch.effects import Moment
from anybatch.errors import AnybatchError
from anybatch.testing import (
    CrashAt,
    Crossing,
    FakeEndpoint,
    Spoiled,
    Status,
    Watch,
    first_of,
    matching,
)

from .harness import Model, World, spec
from .promises import broken_promises

# Who dies does not close its files.

NewWorld = Callable[[str], AbstractContextManager[World]]
Deaths = dict[Crossing, list[str]]
"""Where a process died -> what was broken after the next one had come to its end."""

PLANNING = {"plan.mark", "rows.write", "rows.fsync", "requests.write", "requests.fsync"}
PLANNED = {"folder.fsync", "store.transaction", "plan.unmark"}
ANSWERING = {"journal.create", "journal.write", "journal.fsync"}
DELIVERING = {"sink.write", "sink.fsync", "sink.rename"}
EVERYWHERE = PLANNING | PLANNED | ANSWERING | DELIVERING


@pytest.fixture
def in_process(scratch: Path) -> NewWorld:
    """Rows in memory, and a model that answers in this process."""

    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        with World(root=scratch / name, spec=spec(), model=Model(), in_memory=True) as world:
            yield world

    return new_world


@pytest.fixture
def over_a_socket(scratch: Path) -> NewWorld:
    """Rows from a file, grouped by their prefix, and a service that answers."""

    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        with FakeEndpoint() as endpoint:
            asked = spec(endpoint.base_url)
            with World(root=scratch / name, spec=asked, endpoint=endpoint, groups=True) as world:
                yield world

    return new_world


@pytest.fixture
def with_two_waves(scratch: Path) -> NewWorld:
    """A service that fails for a while, and answers that do not fit their budget."""
    budget = {"max_tokens": 16}
    script = first_of(
        matching(r'row 00[37].*"max_tokens":16', Spoiled("truncated")),
        matching(r"row 00[58]", Status(500), times=5),
    )

    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        with FakeEndpoint(script=script) as endpoint:
            asked = spec(endpoint.base_url, parameters=budget)
            with World(root=scratch / name, spec=asked, endpoint=endpoint) as world:
                yield world

    return new_world


def every_death(new_world: NewWorld, *, before: str | None = None) -> Deaths:
    """Die before and after each effect that a run has.

    With `before`, a process before it has died already, on its way into that effect.
    """
    found: Deaths = {}
    for name in effects_of(new_world, before=before):
        found |= deaths_at(name, new_world, before=before)
    return found


def deaths_at(name: str, new_world: NewWorld, *, before: str | None = None) -> Deaths:
    """Die before and after each effect of this name.

    Counted by name, because commits of several results together make the number of all vary.
    """
    found: Deaths = {}
    for k in count(1):
        with new_world(f"{name}-{k}") as world:
            begin(world, before=before)
            probe = CrashAt(k, only=name)
            if not world.die(probe):
                break
            assert probe.at is not None
            broken = broken_after_recovery(world)
            found.setdefault(probe.at, []).extend(broken)
            if NEVER_ENDS in broken:
                break
    return found


NEVER_ENDS = "the next process never ends"


def broken_after_recovery(world: World) -> list[str]:
    try:
        world.live()
    except AnybatchError as e:
        return [f"the next process ends with {e!r}"]
    except TimeoutError:
        return [NEVER_ENDS]
    return broken_promises(world)


def effects_of(new_world: NewWorld, *, before: str | None) -> list[str]:
    watch = Watch()
    with new_world("watched") as world:
        begin(world, before=before)
        world.live(watch)
        assert broken_promises(world) == []
    return sorted({name for name, _ in watch.crossings})


def begin(world: World, *, before: str | None) -> None:
    if before is not None:
        assert world.die(CrashAt(1, only=before))


def crossings(*names: str) -> set[Crossing]:
    moments: tuple[Moment, ...] = ("before", "after")
    return {(name, moment) for name in names for moment in moments}


def broken(deaths: Deaths) -> Deaths:
    return {at: promises for at, promises in deaths.items() if promises}


def test_a_model_in_this_process_dies_anywhere(in_process: NewWorld) -> None:
    deaths = every_death(in_process)

    assert broken(deaths) == {}
    assert set(deaths) >= crossings(*EVERYWHERE, "model.send", "model.receive")


def test_calls_over_a_socket_die_anywhere(over_a_socket: NewWorld) -> None:
    deaths = every_death(over_a_socket)

    assert broken(deaths) == {}
    assert set(deaths) >= crossings(*EVERYWHERE, "numbers.write", "http.send", "http.receive")


def test_the_second_wave_dies_anywhere(with_two_waves: NewWorld) -> None:
    # Only a later wave lists its numbers here, so the first process dies as it plans the second.
    deaths = every_death(with_two_waves, before="numbers.write")

    assert broken(deaths) == {}
    assert set(deaths) >= crossings("numbers.write", "numbers.fsync", "http.send", *ANSWERING)


@pytest.mark.parametrize("seed", range(24))
def test_the_recovery_dies_too(seed: int, over_a_socket: NewWorld) -> None:
    chance = random.Random(seed)

    with over_a_socket("twice") as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(1, 160)))
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("first", ["model.send", "journal.fsync"])
def test_a_cancellation_dies_anywhere(first: str, in_process: NewWorld) -> None:
    for k in count(1):
        with in_process(f"cancelled-{k}") as world:
            world.die(CrashAt(7, only=first))
            executions = world.executions
            probe = CrashAt(k)
            crashed = world.die(probe, cancel=True)
            world.live(cancel=True)

            assert broken_promises(world, outcomes=outcomes_of(world)) == [], probe.at
            assert "cancelled" in outcomes_of(world), probe.at
            assert sum(outcomes_of(world).values()) == 12, probe.at
            if not crashed:
                assert world.executions == executions
                return


def outcomes_of(world: World) -> Counts:
    workspace = world.open()
    counts = standing(workspace.store.batches(workspace.store.find_run("last").id))
    workspace.store.close()
    return counts


def test_a_delivery_that_dies_leaves_the_file_that_was_there(in_process: NewWorld) -> None:
    with in_process("out") as world:
        world.live()
        whole = world.out.read_bytes()
        for k in range(1, 7):
            world.out.write_bytes(b"of yesterday\n")
            assert world.die(CrashAt(k, only="sink.*"))

            assert world.out.read_bytes() in (b"of yesterday\n", whole)
            assert [path.name for path in world.out.parent.iterdir()] == [world.out.name]
