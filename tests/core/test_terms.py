"""`--by`, `--budget` and `--prefer`, as they are typed."""

from datetime import UTC, datetime, timedelta

import pytest

from anybatch.core.model import Terms
from anybatch.core.terms import terms_of
from anybatch.errors import BadSettings

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_nothing_that_is_typed_asks_for_nothing() -> None:
    assert terms_of(by=None, budget=None, prefer="cheap", now=NOW) == Terms()


def test_a_time_a_sum_and_a_preference_are_taken() -> None:
    terms = terms_of(by="4h", budget=25.0, prefer="fast", now=NOW)

    assert terms == Terms(by=NOW + timedelta(hours=4), budget=25.0, prefer="fast")


def test_a_time_of_day_is_that_of_the_machine_unless_told_otherwise() -> None:
    ours = terms_of(by="06:00", budget=None, prefer="cheap", now=NOW).by
    utc = terms_of(
        by="06:00",
        budget=None,
        prefer="cheap",
        now=NOW,
        local=lambda at: at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC),
    ).by

    assert ours is not None
    assert ours.astimezone().hour == 6
    assert utc == datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_sum_of_money_is_refused(budget: float) -> None:
    with pytest.raises(BadSettings, match=r"write dollars, as 25 or 0\.50"):
        terms_of(by=None, budget=budget, prefer="cheap", now=NOW)


def test_an_unknown_preference_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BadSettings, match="use cheap, fast"):
        terms_of(by=None, budget=None, prefer="quick", now=NOW)
