"""The fault matrix, cell by cell: whatever befalls a step, no row is lost and none is paid twice.

Each case is marked as the cell it holds; `docs/faults.md` is printed from these marks. A sample of
them runs by default, and all of them for every change: see `.ci/run`.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Counts
from anybatch.core.retry import standing
from anybatch.core.states import BREAKER_AFTER
from anybatch.effects import Moment, Probe
from anybatch.engine.decide import LISTED_FROM
from anybatch.engine.events import set_aside
from anybatch.testing import Crash, Cut, FakeOpenAI, Fault, Phases, Stall
from anybatch.testing.batches.rows import OTHERWISE
from anybatch.testing.fakes import FAKES

from .faults import (
    FATES,
    FILED,
    KINDS,
    LOOKS,
    ROLES,
    Cell,
    Comes,
    called,
    cells,
    fake_of,
    outcome_of,
    unasked,
)
from .harness import HurriedClock, World, rows, spec
from .promises import broken_promises
from .test_crash_of_other_batches import TO_A_BATCH, WORLDS

NewWorld = Callable[..., AbstractContextManager[World]]
BATCHES, ROWS = 3, 12
MANY_ROWS = 28
"""Of seven batches of four, or of one to seven."""
SHORT = timedelta(seconds=0.15)
"""The deadline of a call that is never answered."""


@contextmanager
def openai(root: Path, **given: Any) -> Iterator[World]:
    clock = HurriedClock()
    with FakeOpenAI(clock=clock, **given) as service:
        asked = spec(service.base_url, provider="openai", **TO_A_BATCH)
        with World(root=root, spec=asked, service=service, clock=clock) as world:
            yield world


NEW_WORLDS: dict[str, NewWorld] = {"openai": openai, **WORLDS}


def held(comes_of: Callable[[Comes], bool], *, names: Any) -> list[Any]:
    """The cells of these lines, each marked as what it is."""
    there = [(cell, comes) for cell, comes in cells() if cell.fault in names]
    return [
        pytest.param(cell, comes, id="-".join(cell), marks=_marks(cell, comes))
        for cell, comes in there
        if isinstance(comes, str) and comes_of(comes)
    ]


def _marks(cell: Cell, comes: Comes) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.cell(*cell, comes)]
    if cell.fault in PATIENT or (cell.fault in KINDS and not _is_sample(cell, comes)):
        marks.append(pytest.mark.gauntlet)
    return marks


PATIENT = ("it is away for a while", "it is gone for good")
"""What is waited for."""


QUICK_LOOKS = ("403", "malformed JSON")
"""One that stays and one that may pass: many batches take long."""


def _is_sample(cell: Cell, comes: Comes) -> bool:
    """Whether it is tried by default: of every other group one fault.

    Other ones for each operation, so that each group and most faults befall some.
    """
    if cell.operation == LOOKS:
        return cell.fault in QUICK_LOOKS and cell.provider == fake_of(cell.provider)
    groups = list(dict.fromkeys(kind.group for kind in KINDS.values()))
    group = KINDS[cell.fault].group
    faults = [kind.name for kind in KINDS.values() if kind.group == group and not kind.once]
    turn = list(ROLES).index(cell.provider) + list(ROLES[cell.provider]).index(cell.operation)
    is_its_turn = (groups.index(group) + turn) % 2 == 0
    return comes != "anew" and is_its_turn and cell.fault == faults[turn % len(faults)]


@pytest.mark.parametrize(("cell", "comes"), held(lambda comes: comes != "right", names=KINDS))
def test_it_costs_no_row_and_no_money(cell: Cell, comes: Comes, scratch: Path) -> None:
    with befallen(cell, comes, scratch / "world") as world:
        if ROLES[cell.provider][cell.operation] == "cancel":
            cancelled(world)
        else:
            HOLDS[comes](world, cell)

        assert_met(world, cell)


@contextmanager
def befallen(cell: Cell, comes: Comes, root: Path) -> Iterator[World]:
    """A world in which the fault befalls the operation, twice unless it takes its time."""
    kind, role = KINDS[cell.fault], ROLES[cell.provider][cell.operation]
    if role == "look":
        with looked_at_by_list(cell, root) as world:
            yield world
        return
    faults: dict[str, list[Fault | None]] = {}
    given: dict[str, Any] = {"faults": faults}
    if role == "list":
        faults["create"] = [Cut("executed")]  # so that it is looked for
    if role == "cancel":
        given["phases"] = Phases(in_progress=600, cancelling=5)
    faults[cell.operation] = [kind.fault, None, None if kind.once else kind.fault]
    if comes == "anew":
        faults[cell.operation] = [kind.fault]
    if comes == "stops":
        faults[cell.operation] = [kind.fault] * BREAKER_AFTER
    with NEW_WORLDS[cell.provider](root, **given) as world:
        if isinstance(kind.fault, Stall) and role not in ("upload", "download"):
            world.deadline = SHORT
        yield world


@contextmanager
def looked_at_by_list(cell: Cell, root: Path) -> Iterator[World]:
    """A world of many batches, of which a list tells nothing from its first use to its last.

    What takes its time befalls the first use only.
    """
    kind, services = KINDS[cell.fault], []
    met: list[Any] = []

    def befalls(call: Any) -> Fault | None:
        if len(services[0].ledger.batches) < LISTED_FROM or (met and kind.once):
            return None
        met.append(call)
        return kind.fault

    given = {"faults": {called(cell.operation): befalls}, "phases": Phases(in_progress=240)}
    with NEW_WORLDS[cell.provider](root, **given) as world:
        services.append(world.service)
        world.rows, world.in_memory = rows(MANY_ROWS), True
        world.limits = dataclasses.replace(world.limits, max_requests=LISTED_FROM + 2)
        if not world.limits.distinct_sizes:
            world.limits = dataclasses.replace(world.limits, max_requests=4)
        if isinstance(kind.fault, Stall):
            world.deadline = SHORT
        yield world


def comes_back(world: World, cell: Cell) -> None:
    """Every row, and nothing was made or paid twice."""
    assert world.live().state == "ended"
    assert broken_promises(world) == []
    assert world.service is not None
    assert world.service.ledger.repeated_batches == ()


def cut(world: World, cell: Cell) -> None:
    """Every row comes back, of smaller batches."""
    comes_back(world, cell)
    with closing(world):
        store = world.open().store
        assert store.events(store.find_run("last").id, "batch.cut")


def fails(world: World, cell: Cell) -> None:
    """The rows of the batches that it befell have failed, and nobody pays for them."""
    status = KINDS[cell.fault].status or 400
    world.live()
    found = counts_of(world)
    assert set(found) == {"succeeded", outcome_of(cell.provider, status)}
    assert broken_promises(world, outcomes=found) == []
    assert world.service is not None
    assert world.service.ledger.billed == found["succeeded"]


def stops(world: World, cell: Cell) -> None:
    """Nothing more is sent; typed again, the run goes on and every row comes back."""
    assert world.live().state == "stopped"
    assert world.live().state in ("stopped", "ended")
    assert world.live().state == "ended"
    assert broken_promises(world) == []


def believed(world: World, cell: Cell) -> None:
    """What was said not to be there lies there still, and nothing else is amiss."""
    world.live()
    left = [line for line in broken_promises(world) if not line.startswith("files were left there")]
    assert left == []


def cancelled(world: World) -> None:
    """Rows have an answer or are cancelled, whatever the cancellation met."""
    with suppress(Crash):
        world.live(dying_once_all_are_there(world))
    assert world.live(cancel=True).state == "ended"
    found = counts_of(world)
    assert set(found) <= {"succeeded", "cancelled"}
    assert found.get("cancelled", 0) > 0
    assert broken_promises(world, outcomes=found) == []


HOLDS: dict[Comes, Callable[[World, Cell], None]] = {
    "again": comes_back,
    "found": comes_back,
    "anew": comes_back,
    "cut": cut,
    "fails": fails,
    "stops": stops,
    "believed": believed,
}


def dying_once_all_are_there(world: World) -> Probe:
    assert world.service is not None
    service = world.service

    def probe(name: str, moment: Moment) -> None:
        looked_at = {one.path for one in service.ledger.exchanges_of("poll")}
        if len(looked_at) == BATCHES:
            raise Crash("all batches are there, and known to be ours")

    return probe


def assert_met(world: World, cell: Cell) -> None:
    """That it did befall the operation: else the test has shown nothing."""
    assert world.service is not None
    world.service.stop()  # what hangs there still is put in the books
    exchanges = world.service.ledger.exchanges_of(called(cell.operation))
    assert KINDS[cell.fault].fault in [one.fault for one in exchanges]


def counts_of(world: World) -> Counts:
    """What became of the rows of the last run."""
    workspace = world.open()
    try:
        run = workspace.store.find_run("last")
        return standing(workspace.store.batches(run.id))
    finally:
        world.close()


def reported(world: World) -> int:
    """How many results were set aside and said."""
    workspace = world.open()
    try:
        return set_aside(workspace.store.events(workspace.store.find_run("last").id))
    finally:
        world.close()


AT_THEIR_COST = ("a row is missing", "a row has another's name", "a row has no name")
"""What nobody could find in the results is run again, and paid again."""
SAID = {
    "a row is half a line",
    "a row comes twice, with two answers",
    "a row is answered and has failed",
    "a row has another's name",
    "a row has no name",
}


KNOWN_BY = {"vertex": {"a row has no name"}}
"""What a provider's results tell all the same: Vertex AI's repeat the request."""
IN_SHARDS = {"vertex"}
"""Whose results lie in several files: of two answers nobody can tell which came first."""


@pytest.mark.parametrize(("cell", "comes"), held(lambda comes: comes == "right", names=FILED))
def test_every_row_gets_its_own_answer(cell: Cell, comes: Comes, scratch: Path) -> None:
    how = FILED[cell.fault]
    asked: set[str] = set()

    def once(call: Any) -> Fault | None:
        first = call.prompt not in asked
        asked.add(call.prompt)
        return how if first and "row 005" in call.prompt else None

    with NEW_WORLDS[cell.provider](scratch / "world", rows=once) as world:
        world.live()

        broken = broken_promises(world)
        if cell.provider in IN_SHARDS:
            broken = [line for line in broken if OTHERWISE not in line]
        assert [line for line in broken if "billed twice" not in line] == []
        assert cell.fault in AT_THEIR_COST or broken == [] or how is not None
        assert (reported(world) > 0) == (cell.fault in SAID - KNOWN_BY.get(cell.provider, set()))


GONE = ("it is over without results", "it is gone for good")
"""What was answered is nowhere to be had."""
UNTOLD = ("it expires half way", "somebody cancels it half way")
"""Likewise at Gemini, which tells nothing of what such a batch has done."""


@pytest.mark.parametrize(("cell", "comes"), held(lambda comes: comes == "right", names=FATES))
def test_a_batch_of_which_strange_things_are_said_is_collected(
    cell: Cell, comes: Comes, scratch: Path
) -> None:
    with NEW_WORLDS[cell.provider](scratch / "world", batches=[FATES[cell.fault]]) as world:
        world.live()

        broken = broken_promises(world)
        assert counts_of(world) == {"succeeded": ROWS}
        if cell.fault not in (*GONE, *(UNTOLD if fake_of(cell.provider) == "gemini" else ())):
            assert broken == []


@pytest.mark.parametrize("provider", ROLES)
def test_a_run_asks_for_the_operations_of_the_matrix_and_no_others(
    provider: str, scratch: Path
) -> None:
    phases = Phases(in_progress=600, cancelling=5)
    faults = {"create": [Cut("executed")]}
    with NEW_WORLDS[provider](scratch / "whole", faults=faults) as world:
        world.live()
        asked = asked_of(world)
    with NEW_WORLDS[provider](scratch / "cancelled", phases=phases) as world:
        cancelled(world)
        asked |= asked_of(world)

    assert asked == set(map(called, ROLES[provider]))
    assert set(unasked(provider)).isdisjoint(asked)


def asked_of(world: World) -> set[str]:
    assert world.service is not None
    return set(world.service.ledger.operations)


def test_every_fake_has_a_matrix() -> None:
    assert {fake_of(provider) for provider in ROLES} == set(FAKES)
