"""A submission whose answer is lost is found by the service's clock, or else held back."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.states import exit_code
from anybatch.effects import Moment, Probe
from anybatch.executors.batch import BatchExecutor
from anybatch.testing import Crash, CrashAt, Cut, FakeAnthropic, Fate, Phases, Status

from .harness import Askew, HurriedClock, World, rows, spec
from .promises import broken_promises
from .test_crash_of_batches import LOST_ANSWERS, world_with
from .test_crash_of_other_batches import BY_SIZE, TO_A_BATCH
from .test_quotas import batches_of

HOURS: dict[str, timedelta] = {
    "three hours behind": timedelta(hours=-3),
    "six minutes behind": timedelta(minutes=-6),
    "six minutes ahead": timedelta(minutes=6),
    "three hours ahead": timedelta(hours=3),
}
DONE = Cut("executed")


@contextmanager
def anthropic(root: Path, *, off: timedelta, **given: Any) -> Iterator[World]:
    """A service whose clock is off, and whose batches are known by when they were made."""
    clock = HurriedClock()
    with FakeAnthropic(clock=Askew(clock, off), **given) as service:
        asked = spec(service.base_url, provider="anthropic", api="anthropic.messages", **TO_A_BATCH)
        with World(root=root, spec=asked, service=service, limits=BY_SIZE, clock=clock) as world:
            yield world


@pytest.mark.parametrize("what", ["reset after it is done", "500, done all the same"])
@pytest.mark.parametrize("off", HOURS)
def test_a_submission_is_found_by_the_clock_of_the_service(
    off: str, what: str, scratch: Path
) -> None:
    faults = {"create": [LOST_ANSWERS[what], None, LOST_ANSWERS[what]]}

    with anthropic(scratch / "w", off=HOURS[off], faults=faults) as world:
        world.live()

        assert broken_promises(world) == []


def test_by_our_own_clock_it_would_be_paid_twice(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchExecutor, "there", lambda self, moment: moment)

    with anthropic(scratch / "w", off=timedelta(hours=-3), faults={"create": [DONE]}) as world:
        world.live()
        broken = broken_promises(world)

    assert any("billed twice" in line for line in broken)


@pytest.mark.parametrize("off", HOURS)
def test_so_it_is_when_our_clock_was_set_right_in_between(off: str, scratch: Path) -> None:
    with anthropic(scratch / "w", off=timedelta()) as world:
        right = world.clock
        world.clock = Askew(right, HOURS[off])
        lost_an_answer(world)
        world.clock = right
        world.live()

        assert broken_promises(world) == []


def test_what_was_put_off_while_our_clock_was_ahead_is_not_waited_for(scratch: Path) -> None:
    with anthropic(scratch / "w", off=timedelta(), phases=Phases(in_progress=60)) as world:
        right = world.clock
        world.clock = Askew(right, HOURS["three hours ahead"])
        with suppress(Crash):
            world.live(dying_at_the_second_look(world))
        put_off = [batch.due for batch in batches_of(world) if batch.due is not None]
        world.clock = right
        world.live()

        assert any(due > right.now() + timedelta(hours=2) for due in put_off)
        assert broken_promises(world) == []


def dying_at_the_second_look(world: World) -> Probe:
    assert world.service is not None
    service = world.service

    def probe(name: str, moment: Moment) -> None:
        if service.ledger.operations.get("poll", 0) > 1:
            raise Crash("it was looked at twice")

    return probe


def lost_an_answer(world: World) -> None:
    """A life that ends when a submission went out, before its answer is noted."""
    assert world.service is not None
    for k in range(2, 20, 2):
        world.die(CrashAt(k, only="http.send"))
        if world.service.ledger.batches:
            return
    raise AssertionError("nothing was ever submitted")


def test_a_submission_that_is_long_hidden_is_made_again_and_the_copy_ended(scratch: Path) -> None:
    clock = HurriedClock()
    faults = {"create": [DONE, DONE], "cancel": [Status(400)]}
    hidden = [Fate(unlisted=3)]

    with world_with(
        scratch / "w", faults=faults, batches=hidden, phases=Phases(in_progress=600), clock=clock
    ) as world:
        world.clock, world.rows, world.in_memory = clock, rows(4), True
        world.live()
        broken = broken_promises(world)

        assert world.service is not None
        # What the provider wrote of the copy is no file of ours: it goes when it expires.
        assert [line for line in broken if "_error.jsonl" not in line] == []
        ours, copy = world.service.ledger.batches
        assert (ours.stage, ours.billed, copy.stage, copy.billed) == (
            "completed",
            4,
            "cancelled",
            0,
        )


def test_a_copy_that_we_may_not_end_keeps_nobody_from_what_is_ours(scratch: Path) -> None:
    clock = HurriedClock()
    faults: dict[str, Any] = {"create": [DONE, DONE], "cancel": lambda call: Status(403)}
    hidden = [Fate(unlisted=3)]

    with world_with(
        scratch / "w", faults=faults, batches=hidden, phases=Phases(in_progress=600), clock=clock
    ) as world:
        world.clock, world.rows, world.in_memory = clock, rows(4), True
        world.live()

        broken = broken_promises(world)
        assert [line for line in broken if "outcomes" in line] == []
        assert world.service is not None
        ours, copy = world.service.ledger.batches
        assert (ours.stage, ours.billed) == ("completed", 4)
        assert copy.stage in ("in_progress", "completed")


def never(call: Any) -> Status:
    return Status(404)


def test_what_a_provider_does_not_let_us_look_for_is_held_back(scratch: Path) -> None:
    with world_with(scratch / "w", faults={"create": [DONE], "list": never}) as world:
        run = world.live()

        broken = broken_promises(world, outcomes={"succeeded": 8, "ambiguous": 4})
        assert [line for line in broken if not line.startswith("files were left there")] == []
        assert world.service is not None
        assert [batch.billed for batch in world.service.ledger.batches] == [4, 4, 4]
        with closing(world):
            workspace = world.open()
            look = workspace.progress(workspace.store.run(run.id))
            assert (look.status, exit_code(look.status, look.counts)) == ("partial", 6)
            assert workspace.retriable(run, frozenset(["ambiguous"])) == 4


def test_a_list_that_fails_for_a_while_is_waited_for(scratch: Path) -> None:
    def fails_often(call: Any) -> Status | None:
        return Status(503) if call.number < 40 else None

    with world_with(scratch / "w", faults={"create": [DONE], "list": fails_often}) as world:
        world.live()

        assert broken_promises(world) == []


def test_what_is_to_stay_at_the_provider_stays_there(scratch: Path) -> None:
    with world_with(scratch / "w") as world:
        with closing(world):
            workspace = world.open()
            workspace.plan(world.source(), world.spec, keep_remote=True)
        world.live()

        assert world.service is not None
        left = world.service.ledger.leftover_files
        assert sorted(file.purpose for file in left) == ["batch"] * 3 + ["batch_output"] * 3
        assert world.service.ledger.operations.get("delete", 0) == 0
        broken = broken_promises(world)
        assert [line for line in broken if not line.startswith("files were left there")] == []


def test_a_run_that_is_there_may_be_told_to_leave_all_at_the_provider(scratch: Path) -> None:
    with world_with(scratch / "w") as world:
        world.die(CrashAt(5, only="http.send"))
        with closing(world):
            workspace = world.open()
            run = workspace.reopen(workspace.store.runs()[0], keep_remote=True)
            assert run.keep_remote
        world.live()

        assert world.service is not None
        assert world.service.ledger.operations.get("delete", 0) == 0
