"""When a run is to be done, from what somebody typed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.deadline import deadline
from anybatch.errors import BadSettings

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # 13:00 in Berlin


def here(at: datetime) -> datetime:
    return at.replace(tzinfo=BERLIN) if at.tzinfo is None else at.astimezone(BERLIN)


def by(text: str, now: datetime = NOW) -> datetime:
    return deadline(text, now=now, local=here)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("06:00", datetime(2026, 11, 21, 5, 0, tzinfo=UTC)),
        ("6:00", datetime(2026, 11, 21, 5, 0, tzinfo=UTC)),
        ("23:59", datetime(2026, 11, 20, 22, 59, tzinfo=UTC)),
        ("13:01", datetime(2026, 11, 20, 12, 1, tzinfo=UTC)),
        ("13:00", datetime(2026, 11, 21, 12, 0, tzinfo=UTC)),
        ("4h", NOW + timedelta(hours=4)),
        ("1h30m", NOW + timedelta(minutes=90)),
        ("90min", NOW + timedelta(minutes=90)),
        ("1d12h", NOW + timedelta(hours=36)),
        ("45s", NOW + timedelta(seconds=45)),
        (" 4h ", NOW + timedelta(hours=4)),
        ("2026-11-21T06:00", datetime(2026, 11, 21, 5, 0, tzinfo=UTC)),
        ("2026-11-21 06:00", datetime(2026, 11, 21, 5, 0, tzinfo=UTC)),
        ("2026-11-21T06:00:00Z", datetime(2026, 11, 21, 6, 0, tzinfo=UTC)),
        ("2026-11-21T06:00+09:00", datetime(2026, 11, 20, 21, 0, tzinfo=UTC)),
    ],
)
def test_a_time_of_day_a_span_and_a_moment_are_understood(text: str, at: datetime) -> None:
    assert by(text) == at


def test_a_time_of_day_is_that_of_the_callers_clock_when_it_is_changed_in_between() -> None:
    evening = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)  # the clock goes back in that night

    at = by("06:00", evening)

    assert (at - evening, here(at).hour) == (timedelta(hours=9), 6)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 2**32))
def test_the_next_such_time_is_within_a_day_and_a_changed_clock(
    hour: int, minute: int, seconds: int
) -> None:
    now = datetime.fromtimestamp(seconds, UTC)

    ahead = by(f"{hour:02}:{minute:02}", now) - now

    assert timedelta(0) < ahead <= timedelta(hours=25)


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "6", "12:60", "4", "h", "-4h", "2026-11-21", "2026-13-01T00:00"]
)
def test_what_is_no_time_is_refused_with_what_may_be_written(text: str) -> None:
    with pytest.raises(BadSettings, match="is no time: write 06:00, 4h"):
        by(text)


@pytest.mark.parametrize(
    "text", ["0h", "2026-11-20T12:59", "2026-11-20T12:00Z", "1999-01-01T00:00"]
)
def test_what_is_over_is_refused_with_the_time_that_it_is_now(text: str) -> None:
    with pytest.raises(BadSettings, match="is over: it is 2026-11-20 13:00 CET now"):
        by(text)


@pytest.mark.parametrize("text", ["366d", "9999h999999m", "9999-12-31T23:59"])
def test_what_is_more_than_a_year_away_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="more than a year away"):
        by(text)
