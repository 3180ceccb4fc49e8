"""The two tables are complete, and every run has one status and one exit code."""

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.states import (
    NEXT,
    OUTCOMES,
    BatchStatus,
    Outcome,
    RunState,
    RunStatus,
    exit_code,
    status_of,
)

from .given import OUTCOMES as ANY_OUTCOME

MIXES = st.lists(ANY_OUTCOME, max_size=20).map(Counter)
STATES = st.sampled_from(get_args(RunState))


def test_every_outcome_has_a_rule() -> None:
    assert tuple(OUTCOMES) == get_args(Outcome)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_rule_is_consistent(outcome: Outcome) -> None:
    rule = OUTCOMES[outcome]

    assert rule.meaning
    assert (rule.waves > 1) == (rule.again in ("as_is", "double_budget"))
    assert not rule.trips_breaker or rule.again == "after_fix"


def test_every_edge_leads_to_a_known_status() -> None:
    known = set(get_args(BatchStatus))

    assert set(NEXT) == known
    assert {status for edges in NEXT.values() for status in edges} <= known


def test_every_status_is_reached_from_planned_and_leads_to_cleaned() -> None:
    assert reached_from("planned") == set(get_args(BatchStatus))
    assert all("cleaned" in reached_from(status) for status in NEXT)


def reached_from(status: BatchStatus) -> set[BatchStatus]:
    found, left = set[BatchStatus](), [status]
    while left:
        found.add(status := left.pop())
        left += [after for after in NEXT[status] if after not in found]
    return found


@given(STATES, MIXES, st.integers(0, 5))
def test_every_mix_of_outcomes_has_one_status(state, counts, unanswered: int) -> None:
    total = counts.total() + unanswered

    status = status_of(state, counts, total)

    assert status in get_args(RunStatus)
    assert (status == "ok") == (state == "ended" and counts["succeeded"] == total)
    assert (status == "running") == (state in ("open", "cancelling"))


@pytest.mark.parametrize(
    ("counts", "total", "status"),
    [
        ({}, 0, "ok"),
        ({"succeeded": 2}, 2, "ok"),
        ({"succeeded": 1, "refused": 1}, 2, "partial"),
        ({"refused": 2}, 2, "failed"),
        ({"succeeded": 1, "cancelled": 1}, 2, "cancelled"),
    ],
)
def test_an_ended_run_says_how_it_ended(counts, total: int, status: RunStatus) -> None:
    assert status_of("ended", counts, total) == status


EXIT_CODES = [
    ("ok", {"succeeded": 1}, 0),
    ("partial", {"succeeded": 1, "refused": 1}, 3),
    ("cancelled", {"cancelled": 1}, 3),
    ("failed", {"refused": 1}, 4),
    ("stopped", {"auth": 3}, 4),
    ("stopped", {"auth": 3, "succeeded": 1}, 3),
    ("running", {}, 130),
    ("partial", {"succeeded": 1, "ambiguous": 1}, 6),
    ("failed", {"ambiguous": 1}, 6),
]


@pytest.mark.parametrize(("status", "counts", "code"), EXIT_CODES)
def test_a_status_has_its_exit_code(status: RunStatus, counts, code: int) -> None:
    assert exit_code(status, counts) == code


@given(st.sampled_from(get_args(RunStatus)), MIXES)
def test_every_status_has_an_exit_code(status: RunStatus, counts) -> None:
    code = exit_code(status, counts)

    assert code in (0, 3, 4, 6, 130)
