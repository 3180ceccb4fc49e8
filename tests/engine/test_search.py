"""Batches without a mark are guessed, and a guess is never ended, and never kept from its owner."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.model import Remote, Run
from anybatch.core.retry import standing
from anybatch.effects import Moment, Probe, unwatched
from anybatch.engine.workspace import Workspace
from anybatch.testing import Altered, Crash, Cut, FakeAnthropic, Fate, Fault, Phases, Status

from .harness import LEASE, LIFE_S, HurriedClock, World, eventually, rows, spec
from .test_crash_of_other_batches import TO_A_BATCH, created_by_somebody_else

SIZE = 4
"""Rows of each run, which makes its one batch as large as all others."""
DONE, UNDONE = Cut("executed"), Cut("unexecuted")
QUEUE = 600
"""So many seconds a batch runs."""


@contextmanager
def anthropic(root: Path, **given: Any) -> Iterator[World]:
    """A service whose batches are known by their size and their time, and runs of one batch."""
    clock = HurriedClock(1_000)
    with FakeAnthropic(clock=clock, **{"phases": Phases(in_progress=QUEUE), **given}) as service:
        asked = spec(service.base_url, provider="anthropic", api="anthropic.messages", **TO_A_BATCH)
        with World(
            root=root, spec=asked, service=service, clock=clock, rows=rows(SIZE), in_memory=True
        ) as world:
            yield world


@dataclass(frozen=True)
class Typed:
    """A run, as somebody types its command."""

    world: World
    prompt: str

    def open(self, probe: Probe = unwatched) -> tuple[Workspace, Run]:
        workspace = self.world.open(probe)
        asked = replace(self.world.spec, prompt=self.prompt + ": {{ text }}")
        return workspace, workspace.reopen(workspace.plan(self.world.source(), asked).run)

    def remote(self) -> Remote:
        """What the store knows of its batch at the provider."""
        with closing(self.world):
            workspace, run = self.open()
            (batch,) = workspace.store.batches(run.id)
            return batch.remote or Remote()

    def until(self, reached: Callable[[Remote], bool]) -> None:
        """A life that ends once so much is known of its batch."""
        with closing(self.world):
            workspace, run = self.open()

            async def some() -> None:
                stop = asyncio.Event()
                working = asyncio.create_task(workspace.fulfil(run, stop=stop))
                await eventually(lambda: reached(_known(workspace, run)) or working.done())
                stop.set()
                await working

            asyncio.run(some())

    def guesses(self, batch_id: str) -> None:
        """A life that ends once it has guessed its batch, which then is said to be this one."""
        self.until(guess)
        with closing(self.world):
            workspace, run = self.open()
            (batch,) = workspace.store.batches(run.id)
            until = self.world.clock.now() + LEASE
            claimed = workspace.store.claim(
                batch, status="running", owner=workspace.owner, lease_until=until, window=0
            )
            assert claimed is not None
            said = replace(claimed.remote or Remote(), id=batch_id)
            workspace.store.save(replace(claimed, remote=said, owner=None, lease_until=None))

    def to_the_end(self, *, cancel: bool = False) -> Run:
        with closing(self.world):
            workspace, run = self.open()
            if cancel:
                run = workspace.ask_to_cancel(run)
            return asyncio.run(fulfilled(workspace, run))

    def counts(self) -> dict[str, int]:
        with closing(self.world):
            workspace, run = self.open()
            return {str(o): n for o, n in standing(workspace.store.batches(run.id)).items()}


def _known(workspace: Workspace, run: Run) -> Remote:
    (batch,) = workspace.store.batches(run.id)
    return batch.remote or Remote()


async def fulfilled(workspace: Workspace, run: Run) -> Run:
    async with asyncio.timeout(LIFE_S):
        return await workspace.fulfil(run, stop=asyncio.Event())


def killed_in_doubt(typed: Typed) -> None:
    """A life that ends when its submission was taken, before that is noted."""
    service = typed.world.service
    assert service is not None
    there = len(service.ledger.batches)

    def probe(name: str, moment: Moment) -> None:
        if len(service.ledger.batches) > there:
            raise Crash("it was taken")

    with closing(typed.world), suppress(Crash):
        workspace, run = typed.open(probe)
        asyncio.run(fulfilled(workspace, run))


def both_to_the_end(one: Typed, other: Typed) -> None:
    """Two processes on one store at the same time."""

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            for workspace, run in (one.open(), other.open()):
                tasks.create_task(fulfilled(workspace, run))

    with closing(one.world):
        asyncio.run(both())


def guess(remote: Remote) -> bool:
    return remote.guessed


def crosswise(world: World) -> tuple[Typed, Typed]:
    """Two runs in doubt, each of which has guessed the other's batch."""
    one, other = Typed(world, "one"), Typed(world, "other")
    for typed in (one, other):
        killed_in_doubt(typed)
    assert world.service is not None
    ids = [batch.id for batch in world.service.ledger.batches]
    one.guesses(ids[1])
    other.guesses(ids[0])
    return one, other


def billed_once(world: World, batches: int) -> bool:
    assert world.service is not None
    ledger = world.service.ledger
    return (len(ledger.batches), ledger.billed, dict(ledger.billed_twice)) == (
        batches,
        batches * SIZE,
        {},
    )


@pytest.mark.parametrize("together", [False, True])
def test_two_runs_that_guessed_each_other_s_batch_swap(together: bool, scratch: Path) -> None:
    with anthropic(scratch / "w") as world:
        one, other = crosswise(world)
        if together:
            both_to_the_end(one, other)
        for typed in (one, other):
            typed.to_the_end()

        assert one.counts() == other.counts() == {"succeeded": SIZE}
        assert billed_once(world, 2)


def test_so_they_do_where_one_of_them_comes_back_when_the_other_is_long_over(
    scratch: Path,
) -> None:
    with anthropic(scratch / "w") as world:
        one, other = crosswise(world)
        other.to_the_end()
        left = other.counts()
        one.to_the_end()

        assert left == one.counts() == {"succeeded": SIZE}
        assert billed_once(world, 2)


def test_three_runs_in_doubt_share_three_batches(scratch: Path) -> None:
    with anthropic(scratch / "w") as world:
        all_of_them = [Typed(world, name) for name in ("one", "two", "three")]
        for typed in all_of_them:
            killed_in_doubt(typed)
        for typed in reversed(all_of_them):
            typed.until(guess)
        for typed in all_of_them:
            typed.to_the_end()

        assert [typed.counts() for typed in all_of_them] == [{"succeeded": SIZE}] * 3
        assert billed_once(world, 3)


def test_what_was_guessed_and_is_deleted_by_its_owner_was_not_ours(scratch: Path) -> None:
    gone: list[str] = []

    def deleted(call: Any) -> Fault | None:
        return Status(404) if gone and gone[0] in call.path else None

    with anthropic(scratch / "w", faults={"poll": deleted, "create": [None, DONE]}) as world:
        theirs = created_by_somebody_else(world, size=SIZE)
        ours = Typed(world, "ours")
        ours.guesses(theirs)
        gone.append(theirs)
        ours.to_the_end()

        assert ours.counts() == {"succeeded": SIZE}
        assert billed_once(world, 2)


def test_a_guess_whose_results_come_without_names_at_first_is_fetched_again(scratch: Path) -> None:
    faults = {"create": [DONE], "download": [Altered("empty")] * 2}

    with anthropic(scratch / "w", faults=faults) as world:
        ours = Typed(world, "ours")
        ours.to_the_end()

        assert ours.counts() == {"succeeded": SIZE}
        assert billed_once(world, 1)


@pytest.mark.parametrize("what", ["theirs", "ours"])
def test_a_run_that_is_cancelled_ends_nobody_s_batch_on_a_guess(what: str, scratch: Path) -> None:
    lost = UNDONE if what == "theirs" else DONE

    with anthropic(scratch / "w", faults={"create": [None, lost]}) as world:
        theirs = created_by_somebody_else(world, size=SIZE)
        ours = Typed(world, "ours")
        ours.until(guess)
        ended = ours.to_the_end(cancel=True)

        assert world.service is not None
        stages = {batch.id: (batch.stage, batch.billed) for batch in world.service.ledger.batches}
        assert stages.pop(theirs) == ("completed", SIZE)
        assert world.service.ledger.operations.get("cancel", 0) == 0
        assert ended.state == "ended"
        if what == "theirs":
            assert (ours.counts(), stages) == ({"cancelled": SIZE}, {})
        else:
            assert ours.counts() == {"succeeded": SIZE}


def test_what_is_told_of_in_the_answer_is_cancelled(scratch: Path) -> None:
    with anthropic(scratch / "w", batches=[Fate()]) as world:
        ours = Typed(world, "ours")
        ours.until(lambda remote: remote.id is not None)
        ours.to_the_end(cancel=True)

        assert ours.counts() == {"cancelled": SIZE}
        assert world.service is not None
        assert world.service.ledger.operations["cancel"] == 1
