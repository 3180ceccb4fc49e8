"""How long phases take, and which batches take unusually long."""

import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Batch, Late, Remote
from anybatch.core.timing import ENOUGH, Timing, Usual, is_news, lateness, quantile, span, usual_of

from .given import BATCH

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SECONDS = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(SECONDS, st.floats(0, 1))
def test_a_quantile_lies_among_the_values_and_grows_with_its_share(
    seconds: list[float], share: float
) -> None:
    ordered = sorted(seconds)

    value = quantile(ordered, share)

    assert ordered[0] <= value <= ordered[-1]
    assert quantile(ordered, share / 2) <= value
    assert (quantile(ordered, 0.0), quantile(ordered, 1.0)) == (ordered[0], ordered[-1])


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=200))
def test_quantiles_are_those_of_the_standard_library(seconds: list[float]) -> None:
    ordered = sorted(seconds)
    expected = statistics.quantiles(ordered, n=20, method="inclusive")

    assert quantile(ordered, 0.5) == pytest.approx(expected[9])
    assert quantile(ordered, 0.95) == pytest.approx(expected[18])


def test_nothing_is_usual_before_enough_is_known() -> None:
    timings = [Timing("in_progress", float(second)) for second in range(ENOUGH)]

    assert usual_of(timings[1:]) == {}
    assert usual_of([*timings, Timing("validating", 1.0)]) == {
        "in_progress": Usual(ENOUGH, timedelta(seconds=3.5), timedelta(seconds=6.65))
    }


USUAL = {
    "in_progress": Usual(20, 10 * MINUTE, HOUR),
    "validating": Usual(20, MINUTE / 60, MINUTE / 30),
}
WINDOW = 24 * HOUR


def waiting(**fields: Any) -> Batch:
    """A batch that was submitted when its phase began, unless told otherwise."""
    known: dict[str, Any] = {"status": "in_progress", "phase_since": NOW - MINUTE, "done": 1}
    remote = Remote(**{**known, **fields})
    remote = replace(remote, sent_at=remote.sent_at or remote.phase_since)
    return replace(BATCH, status="running", executor="batch", remote=remote)


LATE: dict[str, tuple[dict[str, Any], Late | None]] = {
    "young": ({}, None),
    "as old as half of them get": ({"phase_since": NOW - 10 * MINUTE}, None),
    "as old as 95 % get": ({"phase_since": NOW - HOUR}, None),
    "older than 95 % get": (
        {"phase_since": NOW - HOUR - MINUTE},
        Late(word="slow", why="95 % are over within 1 h 0 min"),
    ),
    "three times as old, and it moves": (
        {"phase_since": NOW - 4 * HOUR, "progress_at": NOW - HOUR},
        Late(word="slow", why="95 % are over within 1 h 0 min"),
    ),
    "three times as old, and it never moved": (
        {"phase_since": NOW - 4 * HOUR},
        Late(word="stuck", why="nothing moved for 4 h 0 min; 95 % are over within 1 h 0 min"),
    ),
    "three times as old, and it moves no more": (
        {"phase_since": NOW - 9 * HOUR, "progress_at": NOW - 4 * HOUR},
        Late(word="stuck", why="nothing moved for 4 h 0 min; 95 % are over within 1 h 0 min"),
    ),
    "in a phase that takes seconds": ({"status": "validating", "phase_since": NOW - MINUTE}, None),
    "in a phase that takes seconds, for minutes": (
        {"status": "validating", "phase_since": NOW - 2 * MINUTE},
        Late(word="slow", why="95 % are over within 2 s"),
    ),
    "in a phase nobody knows": ({"status": "pondering", "phase_since": NOW - 9 * HOUR}, None),
    "in a phase nobody knows, with no row done": (
        {"status": "pondering", "phase_since": NOW - 15 * HOUR, "done": 0},
        Late(word="stuck", why="no row is done after 15 h 0 min"),
    ),
    "in a phase nobody knows, with rows done": (
        {"status": "pondering", "phase_since": NOW - 15 * HOUR},
        None,
    ),
    "beyond the window": (
        {"sent_at": NOW - 25 * HOUR},
        Late(word="stuck", why="the provider promised an end within 24 h 0 min"),
    ),
}


@pytest.mark.parametrize("what", LATE)
def test_what_is_unusual_about_how_long_a_batch_takes(what: str) -> None:
    fields, late = LATE[what]

    assert lateness(waiting(**fields), usual=USUAL, window=WINDOW, now=NOW) == late


def test_where_a_provider_gives_nothing_up_only_the_others_tell() -> None:
    old = waiting(status="pondering", phase_since=NOW - 99 * HOUR, done=0)

    assert lateness(old, usual=USUAL, window=None, now=NOW) is None


@pytest.mark.parametrize("status", ["planned", "submitting", "ended", "collected", "cleaned"])
def test_only_what_waits_at_a_provider_is_late(status: Any) -> None:
    old = replace(waiting(phase_since=NOW - 99 * HOUR), status=status)

    assert lateness(old, usual=USUAL, window=WINDOW, now=NOW) is None


@pytest.mark.parametrize("status", ["submitting", "running", "ended"])
def test_what_gets_nowhere_is_stuck_wherever_it_is(status: Any) -> None:
    def after(wait: timedelta) -> Late | None:
        remote = Remote(failing_since=NOW - wait, why="HTTP 500")
        batch = replace(BATCH, status=status, remote=remote)
        return lateness(batch, usual={}, window=None, now=NOW)

    assert after(10 * MINUTE) is None
    late = Late(word="stuck", why="no step of it gets through: HTTP 500")
    assert after(11 * MINUTE) == late


SLOW, STUCK = Late(word="slow", why="x"), Late(word="stuck", why="y")


@pytest.mark.parametrize(
    ("late", "known", "news"),
    [
        (None, None, False),
        (None, SLOW, False),
        (SLOW, None, True),
        (SLOW, SLOW, False),
        (replace(SLOW, why="z"), SLOW, False),
        (STUCK, None, True),
        (STUCK, SLOW, True),
        (STUCK, STUCK, False),
        (SLOW, STUCK, False),
    ],
)
def test_each_is_told_once(late: Late | None, known: Late | None, news: bool) -> None:
    assert is_news(late, known) is news


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert span(seconds) == words
