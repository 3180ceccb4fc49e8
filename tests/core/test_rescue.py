"""When a batch is taken back or goes another way, to the second."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.budget import Spending
from anybatch.core.model import Batch, Remote
from anybatch.core.rescue import TAKING_BACK, Deadline, Direct, again, left_in, whole
from anybatch.core.timing import Usual

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DIRECT = Direct(first=timedelta(seconds=2), each=timedelta(seconds=1))
NEEDED = timedelta(seconds=(2 + 600) * 1.5)
MONEY = Spending(None, (), {})


def batch(**fields: Any) -> Batch:
    plain = {"id": "b", "run_id": "r", "wave": 1, "part": 0, "first": 0, "size": 600}
    return Batch(**{"status": "running", "executor": "batch", **plain, **fields})


def sent(ago: timedelta, **fields: Any) -> Batch:
    return batch(remote=Remote(id="batch_1", sent_at=NOW - ago, **fields))


def deadline(within: timedelta, takes: timedelta | None, **fields: Any) -> Deadline:
    given = {"insists": False, "direct": DIRECT, "left": 600, "now": NOW, **fields}
    return Deadline(by=NOW + within, takes=takes, **given)


LAST_CALL = TAKING_BACK + NEEDED
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("within", "takes", "ago", "missed"),
    [
        # It has the time that 95 of 100 take, and ends in time if it is one of them.
        (LAST_CALL - SECOND, HOUR, HOUR - MINUTE, False),
        # It takes longer than these: then it has until the last moment.
        (LAST_CALL + SECOND, HOUR, HOUR + MINUTE, False),
        (LAST_CALL, HOUR, HOUR + MINUTE, True),
        # By then even one of these would be late.
        (LAST_CALL, 2 * HOUR, HOUR, True),
        (2 * HOUR, 24 * HOUR, HOUR, False),
        (LAST_CALL, 24 * HOUR, HOUR, True),
        (LAST_CALL, None, HOUR, True),
        # What is over is over.
        (-SECOND, HOUR, 2 * HOUR, False),
    ],
)
def test_a_batch_is_taken_back_at_the_last_moment_and_not_before(
    within: timedelta, takes: timedelta | None, ago: timedelta, missed: bool
) -> None:
    assert deadline(within, takes).is_missed_by(sent(ago)) is missed


@pytest.mark.parametrize("known", [{"cancelled": True}, {"guessed": True}])
def test_what_is_cancelled_or_only_guessed_is_left_alone(known: dict[str, bool]) -> None:
    assert not deadline(MINUTE, HOUR).is_missed_by(sent(2 * HOUR, **known))


@pytest.mark.parametrize(
    ("within", "takes", "insists", "held", "near"),
    [
        (HOUR, HOUR, False, False, False),
        (HOUR - SECOND, HOUR, False, False, True),
        (HOUR, None, False, False, True),
        # The caller wants it tried.
        (HOUR - SECOND, HOUR, True, False, False),
        (LAST_CALL, HOUR, True, False, True),
        # It would be in time if it went now, and others are before it.
        (LAST_CALL, MINUTE, False, False, False),
        (LAST_CALL, MINUTE, False, True, True),
        (LAST_CALL + SECOND, MINUTE, False, True, False),
        (-SECOND, HOUR, False, False, False),
    ],
)
def test_a_batch_that_is_not_sent_goes_directly_if_it_would_be_late(
    within: timedelta, takes: timedelta | None, insists: bool, held: bool, near: bool
) -> None:
    assert deadline(within, takes, insists=insists).is_too_near(held=held) is near


def test_what_is_left_is_what_has_no_answer_that_stands() -> None:
    over = batch(status="cleaned", counts={"succeeded": 300, "expired": 200, "refused": 100})
    there = sent(HOUR, done=250)
    half = batch(executor="online", counts={"succeeded": 500, "rate_limited": 50})

    assert left_in([over], budgeted=True) == 200
    assert left_in([replace(over, retried={"expired": 200})], budgeted=True) == 0
    assert left_in([there], budgeted=True) == 350
    assert left_in([half], budgeted=True) == 50
    assert left_in([batch(status="planned"), there, half, over], budgeted=True) == 1200


def test_flex_is_taken_where_it_is_in_time() -> None:
    flex = replace(DIRECT, flex=True)

    assert flex.tier_by(NOW + 4 * NEEDED, 600, now=NOW) == "flex"
    assert flex.tier_by(NOW + 4 * NEEDED - SECOND, 600, now=NOW) is None
    assert DIRECT.tier_by(NOW + 4 * NEEDED, 600, now=NOW) is None
    assert flex.tier_by(None, 600, now=NOW) is None


def test_what_is_learned_goes_before_the_word_of_the_provider() -> None:
    usual = {"a": Usual(8, MINUTE, HOUR), "b": Usual(8, MINUTE, HOUR / 2)}

    assert whole(usual, 24 * HOUR) == HOUR * 1.5
    assert whole({}, 24 * HOUR) == 24 * HOUR
    assert whole({}, None) is None


def test_rows_of_a_rescue_go_in_real_time_and_others_as_they_did() -> None:
    rescued = batch(status="cleaned", remote=Remote(rescued=True, cancelled=True))
    usual = batch(status="cleaned", remote=Remote())
    flex = batch(executor="online", tier="flex", counts={"rate_limited": 3})

    assert again(rescued, "expired", by=None, money=MONEY) == ("online", None)
    assert again(usual, "expired", by=None, money=MONEY) is None
    assert again(usual, "expired", by=deadline(2 * HOUR, HOUR), money=MONEY) is None
    assert again(usual, "expired", by=deadline(HOUR / 2, HOUR), money=MONEY) == ("online", None)
    assert again(flex, "rate_limited", by=None, money=MONEY) == ("online", None)
    assert again(flex, "invalid_output", by=None, money=MONEY) == ("online", "flex")
