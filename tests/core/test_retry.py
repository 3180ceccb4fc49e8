"""What is tried again, when, and what stops a run."""

from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Batch, Counts, Failure, Remote
from anybatch.core.retry import (
    backoff,
    invalid_in_canary,
    left_to_retry,
    look_after,
    next_factor,
    pause_before,
    refusal_of,
    standing,
    tripped,
)
from anybatch.core.states import OUTCOMES, SILENT_AFTER, TRIPPING, Outcome

from .given import BATCH, batches

TRIES = st.integers(1, 10_000)
JITTER = st.floats(0, 1, exclude_max=True)
SECOND = timedelta(seconds=1)

AS_IS_ONCE = [1, None, None]
AS_IS_TWICE = [1, 1, None]
NEVER = [None, None, None]

NEXT_FACTORS: dict[Outcome, list[int | None]] = {
    "succeeded": NEVER,
    "invalid_output": AS_IS_ONCE,
    "truncated": [2, None, None],
    "refused": NEVER,
    "blocked": NEVER,
    "expired": AS_IS_TWICE,
    "cancelled": NEVER,
    "rate_limited": AS_IS_TWICE,
    "server_error": AS_IS_TWICE,
    "network": AS_IS_TWICE,
    "too_long": NEVER,
    "bad_request": NEVER,
    "auth": NEVER,
    "billing": NEVER,
    "not_found_model": NEVER,
    "missing_result": AS_IS_TWICE,
    "ambiguous": NEVER,
}
"""The budget factor of the next wave, after the first, second and third attempt."""


@given(TRIES, JITTER)
def test_a_pause_is_between_a_quarter_and_thirty_seconds(tries: int, jitter: float) -> None:
    pause = backoff(tries, asked=None, jitter=jitter)

    assert 0.25 * SECOND <= pause <= 30 * SECOND


@given(TRIES, JITTER)
def test_a_pause_never_shrinks_with_more_failures(tries: int, jitter: float) -> None:
    pause, after = (backoff(t, asked=None, jitter=jitter) for t in (tries, tries + 1))

    assert pause <= after


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    earliest, latest = (backoff(3, asked=None, jitter=jitter) for jitter in (0.0, 0.999))

    assert (earliest, latest) == (SECOND, pytest.approx(2 * SECOND, abs=SECOND / 100))


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(minutes=5)), TRIES, JITTER)
def test_what_the_service_asks_for_is_waited_and_a_little_more(asked, tries, jitter) -> None:
    pause = backoff(tries, asked=asked, jitter=jitter)

    assert asked < pause <= asked + 3 * SECOND


@given(st.timedeltas(min_value=timedelta(minutes=5)), TRIES, JITTER)
def test_no_service_can_make_us_wait_for_ever(asked, tries: int, jitter: float) -> None:
    pause = backoff(tries, asked=asked, jitter=jitter)

    assert pause <= timedelta(minutes=5, seconds=3)


def test_a_wish_that_lies_in_the_past_is_no_wish() -> None:
    pause = backoff(1, asked=timedelta(days=-1), jitter=0.0)

    assert timedelta() < pause < SECOND


AGES = st.timedeltas(timedelta(0), timedelta(days=3))
USUAL = st.none() | st.timedeltas(timedelta(0), timedelta(days=2))


@given(AGES, USUAL, JITTER)
def test_looks_are_from_a_second_to_five_minutes_apart(age, usual, jitter: float) -> None:
    wait = look_after(age, usual=usual, jitter=jitter)

    assert 0.9 * SECOND <= wait <= 330 * SECOND


@given(AGES, USUAL)
def test_who_knows_how_long_it_takes_looks_no_more_often(age, usual) -> None:
    knowing, unknowing = (look_after(age, usual=known, jitter=0.5) for known in (usual, None))

    assert knowing >= unknowing


def looks_until(end: timedelta, *, usual: timedelta | None) -> int:
    age, looks = timedelta(), 0
    while age < end:
        age += look_after(age, usual=usual, jitter=0.5)
        looks += 1
    return looks


def test_a_batch_that_takes_hours_is_looked_at_often_only_where_nobody_knows_that() -> None:
    half_a_day = timedelta(hours=12)

    assert looks_until(half_a_day, usual=None) == 204
    assert looks_until(half_a_day, usual=timedelta(hours=10)) == 144


@pytest.mark.parametrize(
    ("age", "wait"), [(0, 1), (5, 1), (60, 6), (150, 15), (3_000, 300), (90_000, 300)]
)
def test_early_looks_come_quickly(age: int, wait: int) -> None:
    assert look_after(age * SECOND, jitter=0.5) == wait * SECOND


@pytest.mark.parametrize(
    ("age", "wait"), [(0, 300), (600, 300), (6_600, 60 * 11), (7_100, 71 * 10), (7_200, 720)]
)
def test_near_the_usual_end_looks_come_as_the_age_has_it(age: int, wait: int) -> None:
    usual = timedelta(hours=2)

    assert look_after(age * SECOND, usual=usual, jitter=0.5) == min(300, wait) * SECOND


def test_waves_rest_longer_each_time() -> None:
    rests = [pause_before(attempt) for attempt in (2, 3, 4)]

    assert rests == [2 * SECOND, 4 * SECOND, 8 * SECOND]


def test_every_outcome_is_in_the_table_of_next_factors() -> None:
    assert set(NEXT_FACTORS) == set(OUTCOMES) == set(get_args(Outcome))


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("outcome", NEXT_FACTORS)
def test_an_outcome_is_tried_again_as_its_rule_says(outcome: Outcome, attempt: int) -> None:
    batch = replace(BATCH, attempt=attempt)

    factor = next_factor(outcome, batch, budgeted=True)

    assert factor == NEXT_FACTORS[outcome][attempt - 1]


def test_a_truncated_answer_without_a_cap_is_left_at_that() -> None:
    assert next_factor("truncated", BATCH, budgeted=False) is None


def test_an_output_budget_is_doubled_once() -> None:
    doubled = replace(BATCH, budget_factor=2)

    assert next_factor("truncated", doubled, budgeted=True) is None
    assert next_factor("network", doubled, budgeted=True) == 2


@given(batches(), st.booleans())
def test_what_is_left_to_retry_is_what_no_wave_has_taken_over(batch, budgeted: bool) -> None:
    left = left_to_retry(batch, budgeted=budgeted)

    for outcome, count in batch.counts.items():
        again = next_factor(outcome, batch, budgeted=budgeted) is not None
        expected = count - batch.retried[outcome] if again else 0
        assert left.get(outcome, 0) == expected
    assert 0 not in left.values()


@given(st.lists(batches(), max_size=6))
def test_what_stands_is_what_was_answered_less_what_was_taken_over(seen) -> None:
    counts = standing(seen)

    answered = sum(batch.answered for batch in seen)
    retried = sum(sum(batch.retried.values()) for batch in seen)
    assert sum(counts.values()) == answered - retried
    assert all(count > 0 for count in counts.values())


@pytest.mark.parametrize("rows", [10, 20, 30, 70, 1_000])
def test_the_first_rows_are_enough_if_nine_of_ten_are_valid(rows: int) -> None:
    few = rows // 10
    enough: Counts = {"succeeded": rows - few, "invalid_output": few, "expired": 99}
    too_few: Counts = {"succeeded": rows - few - 1, "invalid_output": few + 1}

    assert invalid_in_canary(enough) is None
    assert invalid_in_canary(too_few) == (few + 1, rows)


@given(st.lists(batches(), max_size=4))
def test_a_run_stops_at_three_failures_that_all_others_would_repeat(some: list[Batch]) -> None:
    assume(standing(some).keys() != {"network"})
    cause = tripped(some)

    tripping = {o: c for o, c in standing(some).items() if o in TRIPPING}
    assert (cause is not None) == (sum(tripping.values()) >= 3)
    assert cause is None or tripping[cause] == max(tripping.values())


def test_a_run_stops_when_nobody_answers() -> None:
    nobody = replace(BATCH, counts={"network": SILENT_AFTER})

    assert tripped([nobody]) == "network"
    assert tripped([replace(nobody, counts={"network": SILENT_AFTER - 1})]) is None
    assert tripped([nobody, replace(BATCH, counts={"bad_request": 1})]) is None
    assert tripped([replace(nobody, retried=nobody.counts)]) is None


REFUSED: dict[str, Remote | None] = {
    "before anything was sent": None,
    "when it was submitted": Remote(input_file="file-1"),
    "after it was taken": Remote(id="batch_1", failed=(Failure(message="no credit"),)),
}


@pytest.mark.parametrize("when", REFUSED)
def test_a_batch_that_is_refused_is_one_error_however_many_rows_it_holds(when: str) -> None:
    refused = replace(BATCH, executor="batch", remote=REFUSED[when], counts={"billing": 10})
    asked_again = replace(refused, retried={"billing": 10})

    assert tripped([refused] * 2) is None
    assert tripped([refused] * 3) == "billing"
    assert tripped([refused, refused, asked_again]) is None
    assert refusal_of([refused]) == "billing"
    assert refusal_of([asked_again]) is None


def test_of_a_batch_that_was_run_each_line_that_says_so_is_an_error() -> None:
    ran = replace(BATCH, executor="batch", remote=Remote(id="batch_1"))

    assert tripped([replace(ran, counts={"succeeded": 8, "auth": 2})]) is None
    assert tripped([replace(ran, counts={"succeeded": 7, "auth": 3})]) == "auth"
