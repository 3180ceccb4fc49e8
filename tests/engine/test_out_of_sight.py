"""A provider that tells nothing of use of a batch is told of, and not waited for without end.

Nothing is submitted anew meanwhile: the batch may still run. The same command goes on with it.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Run
from anybatch.core.states import exit_code
from anybatch.effects import Moment, Probe
from anybatch.engine.events import Progress
from anybatch.engine.workspace import Workspace
from anybatch.testing import EMPTY, HTML_PAGE, Altered, Crash, Cut, Fault, Phases, Status

from .harness import LIFE_S, HurriedClock, World, rows
from .promises import broken_promises
from .test_crash_of_batches import world_with
from .test_crash_of_other_batches import anthropic, gemini, vertex
from .test_faults import counts_of
from .test_late import events_of, watched

FAST = 100_000
"""A day in less than a second."""


class Trouble:
    """A fault that befalls every call of an operation, until it is over."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self.is_over = False
        self.met = 0

    def __call__(self, call: Any) -> Fault | None:
        if self.is_over:
            return None
        self.met += 1
        return self._fault


@contextmanager
def one_batch(root: Path, **given: Any) -> Iterator[World]:
    """One batch of four rows, over at once, on a clock of its own."""
    with world_with(root, **given) as world:
        world.clock, world.rows, world.in_memory = HurriedClock(FAST), rows(4), True
        yield world


ANSWERS: dict[str, Fault] = {
    "a page for people": HTML_PAGE,
    "an object without its fields": Altered(lambda body: b'{"object": "batch"}'),
    "nothing": EMPTY,
    "a key that is refused": Status(401, code="invalid_api_key"),
    "trouble": Status(500),
}
_QUICK = ("a page for people", "an object without its fields")


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=() if what in _QUICK else pytest.mark.gauntlet) for what in ANSWERS],
)
def test_a_batch_that_is_never_seen_stops_the_run_and_is_fetched_when_it_goes_on(
    what: str, scratch: Path
) -> None:
    trouble = Trouble(ANSWERS[what])

    with one_batch(scratch / "w", faults={"poll": trouble}) as world:
        looks = watched_until_stopped(world)
        stopped = looks[-1]
        (told,) = events_of(world, "batch.stuck")
        said = [line for look in looks for line in look.late]
        trouble.is_over = True
        world.live()

        assert (stopped.status, exit_code(stopped.status, stopped.counts)) == ("stopped", 4)
        assert "no step of batch" in (stopped.run.why or "")
        assert told.fields["why"].startswith("no step of it gets through: ")
        assert any(" is stuck in " in line for line in said)
        assert 10 < trouble.met < 2_500
        assert broken_promises(world) == []
        assert world.service is not None
        assert len(world.service.ledger.batches) == 1


def watched_until_stopped(world: World) -> list[Progress]:
    """A life that delivers nothing, and all that was to be seen of it."""
    looks: list[Progress] = []
    with closing(world):
        workspace = world.open()
        run = workspace.plan(world.source(), world.spec).run
        asyncio.run(fulfilled(workspace, run, looks.append))
    return looks


async def fulfilled(
    workspace: Workspace, run: Run, on_progress: Callable[[Progress], None] = lambda _: None
) -> Run:
    async with asyncio.timeout(LIFE_S):
        return await workspace.fulfil(run, stop=asyncio.Event(), on_progress=on_progress)


OPERATIONS: dict[str, dict[str, Fault]] = {
    "a list": {"create": Cut("executed"), "list": HTML_PAGE},
    "its results": {"download": Status(403)},
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_so_it_is_with_what_cannot_be_looked_for_or_fetched(what: str, scratch: Path) -> None:
    (*first, (operation, fault)) = OPERATIONS[what].items()
    trouble = Trouble(fault)
    faults: dict[str, Any] = {name: [lost] for name, lost in first} | {operation: trouble}

    with one_batch(scratch / "w", faults=faults) as world:
        stopped = watched_until_stopped(world)[-1]
        told = events_of(world, "batch.stuck")
        trouble.is_over = True
        world.live()

        assert (stopped.status, len(told)) == ("stopped", 1)
        assert broken_promises(world) == []
        assert world.service is not None
        assert len(world.service.ledger.batches) == 1


WORLDS: dict[str, Callable[..., AbstractContextManager[World]]] = {
    "anthropic": anthropic,
    "gemini": gemini,
    "vertex": vertex,
}


@pytest.mark.parametrize(
    "provider",
    [
        "anthropic",
        *(pytest.param(name, marks=pytest.mark.gauntlet) for name in ("gemini", "vertex")),
    ],
)
def test_other_batches_are_fetched_before_the_run_stops(provider: str, scratch: Path) -> None:
    unseen: list[str] = []

    def hides_the_first(call: Any) -> Fault | None:
        unseen[:] = unseen or [call.path]
        return HTML_PAGE if call.path in unseen else None

    with WORLDS[provider](scratch / "w", faults={"poll": hides_the_first}) as world:
        world.clock = HurriedClock(FAST)
        stopped = watched_until_stopped(world)[-1]
        unseen[:] = ["/none"]
        world.live()

        assert stopped.status == "stopped"
        assert 0 < stopped.counts["succeeded"] < len(world.rows)
        assert broken_promises(world) == []
        assert world.service is not None
        assert world.service.ledger.repeated_batches == ()


def test_what_passes_within_the_day_is_waited_for_and_no_more_said_of_it(scratch: Path) -> None:
    hidden = range(3, 60)

    def for_a_while(call: Any) -> Fault | None:
        return HTML_PAGE if call.number in hidden else None

    phases = Phases(in_progress=3_600)
    clock = HurriedClock(5_000)
    with world_with(scratch / "w", faults={"poll": for_a_while}, phases=phases, clock=clock) as w:
        w.clock, w.rows, w.in_memory = clock, rows(4), True
        looks = watched(w)

        assert broken_promises(w) == []
        assert len(events_of(w, "batch.stuck")) == 1
        assert looks[-1].late == ()


def test_a_run_that_is_cancelled_meanwhile_is_left_and_wound_up_later(scratch: Path) -> None:
    trouble = Trouble(HTML_PAGE)
    phases = Phases(in_progress=600, cancelling=0.1)

    with one_batch(
        scratch / "w", faults={"poll": trouble, "cancel": trouble}, phases=phases
    ) as world:
        with suppress(Crash):
            world.live(dying_once_there(world))
        left = cancelled(world)
        trouble.is_over = True
        ended = cancelled(world)

        assert (left, ended) == ("cancelling", "ended")
        assert 10 < trouble.met < 2_500
        assert counts_of(world) == {"cancelled": 4}


def test_a_batch_that_nobody_may_cancel_is_asked_now_and_then_and_fetched_at_its_end(
    scratch: Path,
) -> None:
    trouble, clock = Trouble(Status(403)), HurriedClock(1_000)

    with world_with(
        scratch / "w", faults={"cancel": trouble}, phases=Phases(in_progress=600), clock=clock
    ) as world:
        world.clock, world.rows, world.in_memory = clock, rows(4), True
        with suppress(Crash):
            world.live(dying_once_there(world))
        ended = cancelled(world)

        assert ended == "ended"
        assert 1 < trouble.met < 100
        assert counts_of(world) == {"succeeded": 4}


def dying_once_there(world: World) -> Probe:
    assert world.service is not None
    service = world.service

    def probe(name: str, moment: Moment) -> None:
        if service.ledger.batches:
            raise Crash("it is there")

    return probe


def cancelled(world: World) -> str:
    """A life that winds the run up, and the state that it leaves it in."""
    with closing(world):
        workspace = world.open()
        run = workspace.ask_to_cancel(workspace.store.find_run("last"))
        return asyncio.run(fulfilled(workspace, run)).state
