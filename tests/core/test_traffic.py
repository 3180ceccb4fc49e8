"""How many requests come in which time."""

from datetime import timedelta

import pytest

from anybatch.core.traffic import MONTH, YEAR, Traffic, traffic
from anybatch.errors import BadSettings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000/day", Traffic(1000, "day")),
        ("5k/hour", Traffic(5_000, "hour")),
        ("2M/month", Traffic(2_000_000, "month")),
        ("12,500/week", Traffic(12_500, "week")),
        ("1_000", Traffic(1000, "")),
        (" 7/minute ", Traffic(7, "minute")),
    ],
)
def test_a_number_and_a_time_are_understood(text: str, expected: Traffic) -> None:
    assert traffic(text) == expected


def test_a_year_has_365_days_and_a_month_a_twelfth_of_them() -> None:
    daily = Traffic(1000, "day")

    assert daily.times_in(YEAR) == 365
    assert daily.times_in(MONTH) == pytest.approx(365 / 12)
    assert Traffic(1, "month").times_in(YEAR) == pytest.approx(12)
    assert Traffic(1000, "").times_in(timedelta(days=9)) == 1


@pytest.mark.parametrize("text", ["", "many", "1000/fortnight", "-5/day", "1.5/day", "/day", "5/"])
def test_what_is_no_number_is_refused_with_what_may_be_written(text: str) -> None:
    with pytest.raises(BadSettings, match="write 1000/day, or a number alone"):
        traffic(text)


@pytest.mark.parametrize("text", ["0", "0/day", "9999999999999M"])
def test_none_and_too_many_are_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="more than none"):
        traffic(text)
