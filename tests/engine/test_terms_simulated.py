"""Thousands of runs in virtual time: what a deadline and a budget promise, whatever happens.

What has to hold of each is in `kept`. A few hundred of them go with every test run, and all 10,000
with the gauntlet; the last tests take parts of the deciding away and see the promises broken.
"""

from collections import Counter
from datetime import timedelta

import pytest

from anybatch.core import budget, rescue
from anybatch.engine import decide, spending
from anybatch.engine.decide import Poll, Replan

from .simulated import (
    TICK,
    End,
    Life,
    life_of,
    must_be_in_time,
    simulate,
    stopped_for_money,
    worst_case,
)

SAMPLE = 300
A_LOOK = TICK
"""Time goes by in steps of this: what is over is seen so much later."""
A_DEATH = 2 * TICK
"""What each costs: until the next process begins, and until it looks."""
ABOVE_FLAT = 1.02


def kept(life: Life) -> Counter[str]:
    """Simulate one run and hold it to its promises; what it was an example of.

    On the way it is asserted that no row goes out that is answered or may still run. Here: it costs
    no more than its budget, but for what was wrong about what is out at once; it is in time if an
    offer could meet that (see `must_be_in_time`); and it has all answers, unless it stopped for
    money or may give rows up.
    """
    end = simulate(life)
    if end is None:
        return Counter(refused=1)
    said = Counter({end.run.state: 1, "rescued": bool(end.rescued), "died": bool(end.deaths)})
    if life.terms.budget is not None:
        too_long = (life.wrong - 1) * end.exposed
        assert end.billed <= life.terms.budget + too_long + 1e-9, f"{life.seed} costs too much"
        said["has a budget"] += 1
    if must_be_in_time(life, end):
        assert end.run.state == "ended", f"{life.seed}: {end.run.why}"
        latest = life.terms.by + A_LOOK + end.deaths * A_DEATH  # type: ignore[operator]
        assert end.at <= latest, f"{life.seed} is late by {end.at - latest}"
        said["is in time"] += 1
    if end.run.state == "ended" and not may_give_up(life):
        assert end.answered == life.rows, f"{life.seed} has rows without an answer"
    assert end.run.state == "ended" or stopped_for_money(end), f"{life.seed}: {end.run.why}"
    if went_flat(life, end):
        flat = worst_case(life) / 2 * life.wrong
        assert end.billed <= flat * ABOVE_FLAT, f"{life.seed} costs more than a flat batch"
        said["went flat"] += 1
    return said


def may_give_up(life: Life) -> bool:
    """Whether rows may fail, or be left to expire by the provider, as often as they are asked."""
    return bool(life.fails) or life.learned is None


def went_flat(life: Life, end: End) -> bool:
    """Whether all of it went by batch, and nothing was done twice."""
    other = end.rescued or end.replanned or end.deaths or may_give_up(life)
    return not other and end.run.spec.executor == "batch"


def examples(count: int, first: int = 0) -> Counter[str]:
    return sum((kept(life_of(seed)) for seed in range(first, first + count)), Counter[str]())


def test_some_hundred_runs_keep_to_their_budget_and_their_deadline() -> None:
    said = examples(SAMPLE)

    # Of everything that may happen there are enough.
    for what, least in {
        "ended": 150,
        "stopped": 10,
        "refused": 10,
        "rescued": 10,
        "died": 60,
        "has a budget": 100,
        "is in time": 50,
        "went flat": 20,
    }.items():
        assert said[what] >= least, said


@pytest.mark.gauntlet
@pytest.mark.parametrize("first", range(0, 10_000, 500))
def test_ten_thousand_runs_keep_to_their_budget_and_their_deadline(first: int) -> None:
    assert examples(500, first)["ended"] > 250


# --- what is taken away is missed ---


def is_noticed(tries: int = 120) -> bool:
    """Whether one of so many runs breaks a promise."""
    try:
        examples(tries)
    except AssertionError:
        return True
    return False


def test_a_budget_that_holds_no_batch_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget.Spending, "lets", lambda *_, **__: True)

    assert is_noticed()


def test_a_budget_that_holds_no_call_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lets(self: spending.Allowance, request: object) -> bool:
        return True

    monkeypatch.setattr(spending.Allowance, "lets", lets)

    assert is_noticed()


def test_dead_calls_that_nobody_counts_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_twice", lambda *_: 0.0)

    assert is_noticed(SAMPLE)


def test_a_rescue_that_does_not_wait_for_the_end_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instead = decide._instead

    def at_once(action: object, *others: object, **more: object) -> object:
        done = instead(action, *others, **more)  # type: ignore[arg-type]
        if done is not None and isinstance(action, Poll):
            return Replan(batch=done.batch, executor="online")
        return done

    monkeypatch.setattr(decide, "_instead", at_once)

    assert is_noticed()


def test_a_late_batch_that_is_left_where_it_is_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rescue.Deadline, "is_missed_by", lambda *_: False)

    assert is_noticed(SAMPLE)


def test_a_rescue_without_a_margin_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "TAKING_BACK", timedelta())

    assert is_noticed(SAMPLE)
