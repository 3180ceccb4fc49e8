"""A run with a deadline, a budget or a preview, through a provider that takes its time."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.budget import is_over, purse_of, spent_on
from anybatch.core.model import Batch, Run, Terms
from anybatch.core.plan import Limits
from anybatch.engine.workspace import Pace
from anybatch.errors import OverBudget, UsageError
from anybatch.providers.prices import UnknownPrice
from anybatch.testing import CrashAt, Phases, Status
from anybatch.testing.endpoint import FakeEndpoint
from anybatch.testing.endpoint.call import Call

from .harness import HurriedClock, World, rows
from .promises import broken_promises
from .test_crash_of_batches import world_with
from .test_late import events_of

HOUR = timedelta(hours=1)
SOON = timedelta(minutes=20)
SLOW = Phases(in_progress=80 * 60, cancelling=60)
ROWS = 24
PRICES: dict[str, Any] = {
    "openai/fake-1": {
        "input": 2.0,
        "output": 8.0,
        "batch": {"input": 1.0, "output": 4.0},
        "flex": {"input": 1.0, "output": 4.0},
    }
}


@contextmanager
def world_of(root: Path, *, most: int = 99, speed: float = 1_000, **given: Any) -> Iterator[World]:
    """A few rows for a slow provider, on one clock with it."""
    clock = HurriedClock(speed)
    with world_with(root, **{"phases": SLOW, "clock": clock, **given}) as world:
        world.clock, world.rows, world.in_memory = clock, rows(ROWS), True
        world.limits = Limits(max_requests=most)
        world.spec = replace(world.spec, tail="online", parameters={"max_tokens": 20})
        world.prices = PRICES
        yield world


def by(world: World, length: timedelta, **more: Any) -> Terms:
    return Terms(by=world.clock.now() + length, **more)


def batches_of(world: World) -> list[Batch]:
    with closing(world):
        store = world.open().store
        return store.batches(store.runs()[0].id)


def paid_for(world: World) -> Counter[str]:
    """How often each row was paid for, by the hash of its body, whichever way it went."""
    service = world.service
    assert service is not None
    return Counter(service.ledger.billed_by_body) + Counter(service.calls.ledger.by_body)


def spent_by(world: World, run: Run) -> float:
    with closing(world):
        store = world.open().store
        quote = store.quote(run.id)
        assert quote is not None
        batches = store.batches(run.id)
        purse = purse_of(quote, (), batches)
        return sum(spent_on(purse, batch) for batch in batches)


def test_what_would_be_late_is_taken_back_and_answered_in_real_time(scratch: Path) -> None:
    # Slow enough for a busy machine: what is taken back has ten minutes to come.
    with world_of(scratch / "w", speed=200) as world:
        world.terms = by(world, SOON)
        run = world.live()
        broken, paid = broken_promises(world), paid_for(world)
        (cancelled,) = events_of(world, "batch.cancelled")
        (first, second) = batches_of(world)
        assert world.service is not None
        (there,) = world.service.ledger.batches

    assert broken == []
    assert run.ended_at is not None
    assert run.ended_at <= world.terms.by  # type: ignore[operator]
    assert cancelled.fields["rescue"] is True
    # What the batch had done by then is kept, and no row was paid for twice.
    assert 0 < there.executed < ROWS
    assert len(paid) == ROWS
    assert set(paid.values()) == {1}
    assert first.counts == {"succeeded": there.executed, "expired": ROWS - there.executed}
    # There is time enough for the cheaper way.
    assert (second.executor, second.tier, second.size) == ("online", "flex", ROWS - there.executed)


def test_a_batch_that_is_in_time_is_left_alone(scratch: Path) -> None:
    with world_of(scratch / "w", phases=Phases(in_progress=600)) as world:
        world.terms = by(world, HOUR)
        world.live()
        broken = broken_promises(world)
        assert world.service is not None
        calls = world.service.calls.ledger.executions

    assert broken == []
    assert calls == ()


@pytest.mark.parametrize("seed", range(6))
def test_a_rescue_that_is_killed_pays_for_no_row_twice(seed: int, scratch: Path) -> None:
    chance = random.Random(seed)

    with world_of(scratch / "w") as world:
        world.terms = by(world, SOON)
        for _ in range(3):
            world.die(CrashAt(chance.randint(20, 140)))
        run = world.live()
        broken, paid = broken_promises(world), paid_for(world)

    assert broken == []
    assert run.state == "ended"
    assert len(paid) == ROWS
    # What a killed process had called for may be called for again: that is told.
    assert paid.total() - ROWS <= 2 * 2 * 2 * 3


def test_batches_that_are_not_sent_yet_go_directly_once_there_is_a_deadline(
    scratch: Path,
) -> None:
    with world_of(scratch / "w", most=12, max_batches=1) as world:
        world.spec = replace(world.spec, executor=None)
        stopped = world.die(CrashAt(30))
        world.spec = replace(world.spec, executor="batch")
        assert stopped
        world.terms = by(world, HOUR / 4)
        run = world.live()
        executors = Counter(batch.executor for batch in batches_of(world))

    assert run.state == "ended"
    assert executors["online"] > 0


def test_how_it_goes_is_chosen_by_the_deadline(scratch: Path) -> None:
    asked: list[Call] = []

    def answer(call: Call) -> str:
        asked.append(call)
        return f"echo: {call.prompt}"

    with world_of(scratch / "w", answer=answer) as world:
        world.spec = replace(world.spec, executor=None, base_url=None)
        world.providers = {"openai": {"base_url": world.service.base_url}}  # type: ignore[union-attr]
        world.terms = by(world, HOUR * 2)
        run = world.live()
        (batch,) = batches_of(world)

    assert run.spec.executor == "online"
    assert batch.tier == "flex"
    assert len(asked) == ROWS
    assert {call.json["service_tier"] for call in asked} == {"flex"}


def test_what_flex_has_no_room_for_goes_at_the_usual_price(scratch: Path) -> None:
    def full(call: Call) -> Status | None:
        return Status(429) if call.json.get("service_tier") == "flex" else None

    with (
        FakeEndpoint(script=full) as endpoint,
        world_of(scratch / "w", calls=endpoint) as world,
    ):
        world.spec = replace(world.spec, executor=None, base_url=None)
        world.providers = {"openai": {"base_url": world.service.base_url}}  # type: ignore[union-attr]
        world.terms = by(world, HOUR * 2)
        world.live()
        flex, usual = batches_of(world)

    assert (flex.tier, flex.counts) == ("flex", {"rate_limited": ROWS})
    assert (usual.tier, usual.counts) == (None, {"succeeded": ROWS})


def test_a_deadline_that_nothing_meets_is_refused_with_the_earliest(scratch: Path) -> None:
    with world_of(scratch / "w") as world:
        world.terms = by(world, timedelta(seconds=20))
        with pytest.raises(UsageError, match=r"the earliest is real-time, within .* for \$0\.0"):
            world.live()
        assert world.open().store.runs() == []


def test_a_budget_below_the_cheapest_offer_is_refused_with_the_shortfall(scratch: Path) -> None:
    with world_of(scratch / "w") as world:
        world.terms = Terms(budget=0.000_1)
        with pytest.raises(OverBudget, match=r"\$0\.00\d+ more than the budget of \$0\.00010"):
            world.live()
        assert world.open().store.runs() == []


def test_a_budget_without_a_price_is_refused_with_the_way_to_say_it(scratch: Path) -> None:
    with world_of(scratch / "w") as world:
        world.prices = {}
        world.terms = Terms(budget=5.0)
        with pytest.raises(UnknownPrice, match=r'\[prices\."openai/fake-1"\] with input ='):
            world.live()


@pytest.mark.parametrize("executor", ["batch", "online"])
def test_a_run_stops_at_its_budget_and_goes_on_with_a_higher_one(
    executor: Any, scratch: Path
) -> None:
    def wordy(call: Call) -> str:
        """As long as it may be."""
        return f"echo: {call.prompt}".ljust(79)

    quick = Phases(in_progress=60)
    with world_of(scratch / "w", most=6, phases=quick, answer=wordy) as world:
        world.says = None
        world.spec = replace(world.spec, executor=executor)
        enough = 1.0
        with closing(world):
            workspace, terms = world.open(), Terms(budget=enough)
            run = workspace.plan(world.source(), world.spec, terms=terms).run
            quote = workspace.store.quote(run.id)
        assert quote is not None
        world.terms = Terms(budget=quote.most * 0.6)
        stopped = world.live()
        spent = spent_by(world, stopped)
        answered = sum(batch.answered for batch in batches_of(world))
        world.terms = Terms(budget=enough)
        ended = world.live()
        paid = paid_for(world)

    assert stopped.state == "stopped"
    assert is_over(stopped.why)
    assert 0 < answered < ROWS
    assert spent <= quote.most * 0.6
    assert (ended.id, ended.state) == (stopped.id, "ended")
    assert len(paid) == ROWS
    assert set(paid.values()) == {1}


def test_the_first_rows_are_answered_ahead_of_the_batch(scratch: Path) -> None:
    with world_of(scratch / "w", phases=Phases(in_progress=60)) as world:
        world.terms = Terms(preview=5)
        world.live()
        broken = broken_promises(world)
        assert world.service is not None
        shown = {one.prompt for one in world.service.calls.ledger.executions}
        (there,) = world.service.ledger.batches

    assert broken == []
    assert shown == {f"{row['topic']}: {row['text']}" for row in world.rows[:5]}
    assert there.billed == ROWS - 5


@pytest.mark.parametrize("preview", [ROWS, 1_000])
def test_a_preview_of_all_rows_leaves_nothing_for_a_batch(preview: int, scratch: Path) -> None:
    with world_of(scratch / "w") as world:
        world.terms = Terms(preview=preview)
        world.live()
        broken = broken_promises(world)
        assert world.service is not None
        there = world.service.ledger.batches

    assert broken == []
    assert there == ()


def test_what_does_not_fit_through_a_rate_limit_goes_by_batch(scratch: Path) -> None:
    with world_of(scratch / "w", phases=Phases(in_progress=60)) as world:
        world.rows = rows(100)
        world.terms, world.pace = Terms(overflow=True), Pace(rpm=4)
        world.live()
        broken, paid = broken_promises(world), paid_for(world)
        by_executor = Counter[str]()
        for batch in batches_of(world):
            by_executor[batch.executor] += batch.size

    assert broken == []
    assert by_executor == {"online": 60, "batch": 40}
    assert len(paid) == 100
    assert set(paid.values()) == {1}


def test_what_fits_through_a_rate_limit_does_not(scratch: Path) -> None:
    with world_of(scratch / "w") as world:
        world.terms, world.pace = Terms(overflow=True), Pace(rpm=6_000)
        world.live()
        assert world.service is not None
        there = world.service.ledger.batches

    assert there == ()


def test_other_terms_are_not_another_run(scratch: Path) -> None:
    with world_of(scratch / "w", phases=Phases(in_progress=60)) as world:
        first = world.live()
        world.terms = by(world, HOUR)
        second = world.live()
        world.terms = Terms()
        third = world.live()

    assert first.id == second.id == third.id
    assert second.terms.by is not None
    assert third.terms == second.terms
