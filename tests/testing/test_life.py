"""What is due in the life of a batch is a function of how far it is and of the time."""

import math
from dataclasses import replace

import pytest

from anybatch.testing import Fate, Phases
from anybatch.testing.batches.life import OVER, Enter, Life, Run, Stage, Step, Validate, next_step

PHASES = Phases(validating=10, in_progress=100, finalizing=20, cancelling=5)
NEW = Life(since=0, expires=1000, phases=PHASES)
WORKING = replace(NEW, total=10, stage="in_progress", since=10)


@pytest.mark.parametrize(
    ("life", "now", "step"),
    [
        (NEW, 9.9, None),
        (NEW, 10, Validate(10)),
        (NEW, 500, Validate(10)),
        (WORKING, 10, None),
        (WORKING, 19.9, None),
        (WORKING, 20, Run(1)),
        (WORKING, 105, Run(9)),
        (WORKING, 500, Run(10)),
        (replace(WORKING, done=5), 60, None),
        (replace(WORKING, done=10), 109, None),
        (replace(WORKING, done=10), 110, Enter("finalizing", 110)),
        (replace(NEW, stage="finalizing", since=110), 129, None),
        (replace(NEW, stage="finalizing", since=110), 500, Enter("completed", 130)),
        (replace(NEW, stage="cancelling", since=60), 64, None),
        (replace(NEW, stage="cancelling", since=60), 65, Enter("cancelled", 65)),
        (replace(WORKING, expires=60), 500, Run(5)),
        (replace(WORKING, expires=60, done=5), 500, Enter("expired", 60)),
        (replace(NEW, stage="finalizing", since=110, expires=120), 500, Enter("expired", 120)),
        (replace(NEW, phases=Phases(validating=math.inf)), 10**9, None),
    ],
)
def test_a_step_is_due_at_its_time(life: Life, now: float, step: Step | None) -> None:
    assert next_step(life, now) == step


@pytest.mark.parametrize(
    ("fate", "done", "step"),
    [
        (Fate(ends="expired", done=4), 0, Run(4)),
        (Fate(ends="expired", done=4), 4, Enter("expired", 110)),
        (Fate(ends="expired", done=40), 0, Run(10)),
        (Fate(ends="cancelled", done=4), 4, Enter("cancelling", 110)),
        (Fate(ends="completed", done=4), 4, Run(10)),
    ],
)
def test_a_fate_says_how_many_rows_are_done_before_the_end(
    fate: Fate, done: int, step: Step
) -> None:
    assert next_step(replace(WORKING, fate=fate, done=done), 110) == step


@pytest.mark.parametrize("stage", sorted(OVER))
def test_nothing_is_due_when_it_is_over(stage: Stage) -> None:
    assert next_step(replace(WORKING, stage=stage), 10**9) is None


def test_each_row_has_its_moment_to_the_last() -> None:
    life = replace(WORKING, total=7, phases=Phases(in_progress=0.7), since=0)

    dues = [next_step(life, n / 10) for n in range(1, 8)]

    assert dues == [Run(n) for n in range(1, 8)]


@pytest.mark.parametrize("length", [0.3, 0.6, 1.1])
def test_the_last_row_is_done_at_the_end_on_any_day(length: float) -> None:
    life = replace(
        WORKING,
        total=40,
        phases=Phases(in_progress=length),
        since=1_790_000_000.123,
        expires=2_000_000_000,
    )

    assert next_step(life, 1_800_000_000) == Run(40)
