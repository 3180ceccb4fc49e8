"""What a provider does not take for now waits in our queue; what it never takes is cut."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Batch, Row
from anybatch.core.plan import Limits
from anybatch.core.quota import Quota
from anybatch.engine.events import Progress
from anybatch.engine.waves import numbers_path
from anybatch.store.numbers import read_numbers
from anybatch.store.store import Event
from anybatch.testing import CrashAt, Fate, Phases, Problem, Status

from .harness import HurriedClock, World, rows
from .promises import broken_promises
from .test_crash import broken, every_death
from .test_crash_of_batches import LOST_ANSWERS, world_with
from .test_crash_of_other_batches import anthropic, gemini

WORKING = Phases(in_progress=60)
SMALL, ALL = Limits(max_requests=4), Limits(max_requests=99)
TOKENS_OF_FOUR_ROWS = 16
"""As the fake counts them."""
OVER_QUOTA = Fate(ends="failed", problems=[Problem(code="token_limit_exceeded", message="no")])


@contextmanager
def openai(
    root: Path, *, limits: Limits = SMALL, speed: float = 600.0, **given: Any
) -> Iterator[World]:
    """A provider on the clock of the engine, so that what waits there waits for a while."""
    clock = HurriedClock(speed)
    with world_with(root, **{"phases": WORKING, "clock": clock, **given}) as world:
        world.clock, world.limits = clock, limits
        yield world


def batches_of(world: World) -> list[Batch]:
    with closing(world):
        store = world.open().store
        return store.batches(store.find_run("last").id)


def events_of(world: World, *names: str) -> list[Event]:
    with closing(world):
        store = world.open().store
        return store.events(store.find_run("last").id, *names)


def quotas_of(world: World) -> list[Quota]:
    with closing(world):
        store = world.open().store
        return store.quotas(store.find_run("last").queue)


def refused(world: World) -> int:
    """How many batches were made, and refused for too much waiting."""
    assert world.service is not None
    return sum(batch.stage == "failed" for batch in world.service.ledger.batches)


def watched(world: World) -> list[Progress]:
    """A life, and all that was to be seen of it."""
    looks: list[Progress] = []
    with closing(world):
        workspace = world.open()
        run = workspace.plan(world.source(), world.spec).run
        done = workspace.fulfil(run, stop=asyncio.Event(), on_progress=looks.append)
        workspace.deliver(asyncio.run(done), world.out, force=True, raw=False)
    return looks


def test_batches_wait_for_one_another_where_the_provider_takes_no_more(scratch: Path) -> None:
    with openai(scratch / "w", enqueued_tokens=TOKENS_OF_FOUR_ROWS) as world:
        looks = watched(world)
        (quota,) = quotas_of(world)

        assert broken_promises(world) == []
        assert (quota.measure, quota.said) == ("tokens", TOKENS_OF_FOUR_ROWS)
        assert [batch.size for batch in batches_of(world)] == [4, 4, 4]
        assert 1 <= refused(world) <= 3
        said = f"waiting for the enqueued-token limit of {TOKENS_OF_FOUR_ROWS} learned at 2030-"
        assert any(said in look.waiting for look in looks if look.waiting is not None)


def test_what_was_learned_holds_for_the_next_run(scratch: Path) -> None:
    with openai(scratch / "w", enqueued_tokens=TOKENS_OF_FOUR_ROWS) as world:
        world.live()
        before = refused(world)
        world.rows = [{"topic": "ships", "text": f"new {n:03}"} for n in range(12)]
        world.in_memory = True
        world.live()

        assert world.service is not None
        assert refused(world) == before > 0
        assert world.service.ledger.billed == 24


def test_a_refusal_at_once_is_learned_from_too(scratch: Path) -> None:
    with openai(scratch / "w", max_batches=1) as world:
        world.live()

        assert broken_promises(world) == []
        assert [(quota.measure, quota.ceiling) for quota in quotas_of(world)] == [("batches", 1)]
        assert world.service is not None
        creates = world.service.ledger.exchanges_of("create")
        assert [one.status for one in creates].count(429) <= 4


def test_a_limit_on_how_often_is_waited_out_and_not_taken_for_one_on_how_much(
    scratch: Path,
) -> None:
    with openai(scratch / "w", creations_per_hour=2, speed=5_000) as world:
        world.live()

        assert broken_promises(world) == []
        assert quotas_of(world) == []


LIMITED: dict[str, Callable[..., AbstractContextManager[World]]] = {
    "openai": lambda root, **given: openai(root, enqueued_tokens=9, **given),
    "anthropic": lambda root, **given: anthropic(root, max_queued=5, phases=WORKING, **given),
}


@pytest.mark.parametrize("provider", LIMITED)
def test_a_batch_that_is_too_large_alone_is_cut_until_it_gets_through(
    provider: str, scratch: Path
) -> None:
    with LIMITED[provider](scratch / "w") as world:
        world.limits = Limits(max_requests=99, distinct_sizes=provider == "anthropic")
        world.live()
        batches = batches_of(world)

        assert broken_promises(world) == []
        assert len(batches) > 1
        (cut, *_) = events_of(world, "batch.cut")
        assert set(cut.fields["into"]) == {batch.id for batch in batches}
        assert cut.fields["batch"] not in {batch.id for batch in batches}


def test_what_a_provider_says_nothing_of_is_halved_when_it_was_refused_alone_thrice(
    scratch: Path,
) -> None:
    with openai(scratch / "w", limits=ALL, batches=[OVER_QUOTA] * 3) as world:
        world.live()

        assert broken_promises(world) == []
        assert [batch.size for batch in batches_of(world)] == [6, 6]
        assert len(events_of(world, "batch.over_quota")) == 3
        assert quotas_of(world) == []


TOO_LARGE: dict[str, tuple[Callable[..., AbstractContextManager[World]], dict[str, Any]]] = {
    "openai": (openai, {"max_bytes": 900}),
    "anthropic": (anthropic, {"max_bytes": 500}),
    "a proxy": (openai, {"faults": {"create": lambda call: PROXY if call.number < 4 else None}}),
}
PROXY = Status(413, body=b"<html>413 Request Entity Too Large</html>")


@pytest.mark.parametrize("who", TOO_LARGE)
def test_a_batch_of_too_many_bytes_is_cut_until_it_gets_through(who: str, scratch: Path) -> None:
    new_world, given = TOO_LARGE[who]

    with new_world(scratch / "w", **given) as world:
        world.limits = Limits(max_requests=99, distinct_sizes=who == "anthropic")
        world.live()

        assert broken_promises(world) == []
        assert len(batches_of(world)) > 2
        assert {event.fields["measure"] for event in events_of(world, "batch.cut")} == {"requests"}


def test_a_row_that_is_too_large_alone_fails_and_the_others_come_back(scratch: Path) -> None:
    given: list[Row] = [{"topic": "x", "text": f"{n:03}"} for n in range(12)]
    given[5]["text"] = "y" * 9_000

    with anthropic(scratch / "w", max_bytes=5_000) as world:
        world.limits = Limits(max_requests=99, distinct_sizes=True)
        world.rows, world.in_memory = given, True
        world.live()

        assert broken_promises(world, outcomes={"succeeded": 11, "too_long": 1}) == []
        assert world.service is not None
        assert world.service.ledger.billed == 11


def test_a_batch_of_a_later_wave_is_cut_with_its_list_of_numbers(scratch: Path) -> None:
    expires = Fate(ends="expired", done=2)

    with openai(scratch / "w", limits=ALL, batches=[expires, *[OVER_QUOTA] * 3]) as world:
        world.live()
        first, *pieces = batches_of(world)

        assert broken_promises(world) == []
        with closing(world):
            folder = world.open().store.folder(first.run_id)
            listed = [list(read_numbers(numbers_path(folder, piece.id))) for piece in pieces]
        assert [len(numbers) for numbers in listed] == [piece.size for piece in pieces] == [5, 5]
        assert len(set(chain.from_iterable(listed))) == 10


def test_the_first_rows_that_hold_back_the_others_may_be_cut(scratch: Path) -> None:
    given: list[Row] = [{"topic": "x", "text": f"row {n}"} for n in range(1_030)]

    with openai(
        scratch / "w", limits=Limits(max_requests=2_000), batches=[OVER_QUOTA] * 3
    ) as world:
        world.rows, world.in_memory = given, True
        world.live()

        assert broken_promises(world) == []
        assert sorted(batch.size for batch in batches_of(world)) == [5, 5, 1_020]


def test_one_request_that_never_gets_through_is_told_to_be_turned_away(scratch: Path) -> None:
    with openai(scratch / "w", limits=ALL, enqueued_tokens=1, speed=20_000) as world:
        world.rows, world.in_memory = rows(1), True
        world.live()

        assert broken_promises(world, outcomes={"rate_limited": 1}) == []


@pytest.mark.parametrize("what", ["reset after it is done", "reset before it is done"])
def test_a_lost_submission_is_not_taken_for_an_earlier_one_that_was_refused(
    what: str, scratch: Path
) -> None:
    faults = {"create": [None, LOST_ANSWERS[what]]}

    with openai(scratch / "w", limits=ALL, batches=[OVER_QUOTA], faults=faults) as world:
        world.live()

        assert broken_promises(world) == []
        assert events_of(world, "batch.doubled") == []
        assert len(events_of(world, "batch.over_quota")) == 1


def test_a_run_is_not_held_up_for_long_by_batches_that_nobody_looks_after(scratch: Path) -> None:
    with openai(scratch / "w", max_batches=1, phases=Phases(in_progress=600)) as world:
        world.limits = ALL
        world.die(CrashAt(5, only="http.send"))
        world.rows = [{"topic": "ships", "text": f"new {n:03}"} for n in range(12)]
        world.in_memory = True
        looks = watched(world)

        assert world.service is not None
        assert world.service.ledger.billed == 24
        assert any("Too many batches" in look.waiting for look in looks if look.waiting is not None)


@contextmanager
def too_large(root: Path) -> Iterator[World]:
    """One batch of four rows, which gets through as two or more."""
    with openai(root, limits=ALL, enqueued_tokens=9, phases=Phases()) as world:
        world.rows, world.in_memory = rows(4), True
        yield world


@pytest.mark.gauntlet
def test_a_batch_that_is_cut_dies_anywhere(scratch: Path) -> None:
    deaths = every_death(lambda name: too_large(scratch / name))

    assert broken(deaths) == {}


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_that_is_cut_dies_often(seed: int, scratch: Path) -> None:
    chance = random.Random(seed)

    with too_large(scratch / "w") as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(20, 140)))
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("seed", range(4))
def test_batches_that_wait_for_room_die_often(seed: int, scratch: Path) -> None:
    chance = random.Random(seed)

    with openai(scratch / "w", enqueued_tokens=TOKENS_OF_FOUR_ROWS) as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(20, 200)))
        world.live()

        assert broken_promises(world) == []


def test_a_job_that_fails_for_want_of_quota_is_made_again(scratch: Path) -> None:
    failed = Fate(ends="failed", problems=[Problem(code="RESOURCE_EXHAUSTED", message="no")])

    with gemini(scratch / "w", batches=[None, failed, failed, failed]) as world:
        world.live()

        assert broken_promises(world) == []
