"""What may go out under a budget, in dollars that were worked out by hand."""

from datetime import UTC, date, datetime
from math import inf
from typing import Any

import pytest

from anybatch.core.budget import (
    Cap,
    Purse,
    Spending,
    is_over,
    out_on,
    purse_of,
    room,
    spent_on,
    worst_call,
    worst_of,
)
from anybatch.core.model import Batch, Remote, Usage
from anybatch.core.offers import Quote, Way
from anybatch.core.price import Rate, Rates, Tariff

NOW = datetime(2026, 11, 20, tzinfo=UTC)
STANDARD = Rates(tokens_in=Rate(2.0), tokens_out=Rate(8.0))
HALF = Rates(tokens_in=Rate(1.0), tokens_out=Rate(4.0), written=Rate(1.25))
QUOTE = Quote(
    at=NOW,
    tariff=Tariff(
        model="m",
        source="a table",
        as_of=date(2026, 11, 20),
        tiers={"standard": STANDARD, "batch": HALF},
    ),
    way=Way(tier="batch", executor="batch"),
    requests=1_000,
    tokens_in=1_000,
    out=100,
    most_out=500,
    band=0.1,
    dollars=0,
    most=0,
    real_time=0,
    flat=0,
)


def batch(**fields: Any) -> Batch:
    plain = {"id": "b", "run_id": "r", "wave": 1, "part": 0, "first": 0, "size": 100}
    return Batch(**{"status": "planned", "tokens": 200_000, **plain, **fields})


def purse(*batches: Batch, dollars: float = 10.0, **fields: Any) -> Purse:
    return purse_of(QUOTE, [Cap(of="the budget", dollars=dollars)], batches, **fields)


ALL = [batch(id=f"b{part}", part=part, tokens=200_000) for part in range(10)]
"""All of the run: judged to have two tokens for each that was counted."""


def test_a_request_may_cost_what_the_longest_prompt_and_answer_do() -> None:
    # 1,100 tokens at $2 and 500 at $8, for a million.
    assert worst_of(purse(*ALL), ALL[0], 1) == pytest.approx(0.0022 + 0.004)
    assert worst_call(purse(*ALL), ALL[0], 8_000) == pytest.approx(0.0062)
    assert worst_call(purse(*ALL), ALL[0], 16_000) == pytest.approx(0.0084)


def test_what_a_cache_may_be_written_with_counts_and_so_does_a_second_budget() -> None:
    sent = batch(executor="batch", budget_factor=2)

    # 1,100 at $1.25, since some services write without being asked; 1,000 at $4.
    assert worst_of(purse(*ALL), sent, 10) == pytest.approx(10 * (0.001375 + 0.004))


def test_a_tier_without_a_price_is_never_affordable() -> None:
    assert worst_of(purse(*ALL), batch(tier="flex"), 1) == inf


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ({}, 0),
        ({"executor": "batch"}, 0),
        ({"executor": "batch", "status": "submitting"}, 0),
        ({"executor": "batch", "status": "submitting", "owner": "me"}, 100),
        ({"executor": "batch", "status": "submitting", "remote": Remote(sent_at=NOW)}, 100),
        ({"executor": "batch", "status": "running"}, 100),
        ({"executor": "batch", "status": "ended", "counts": {"succeeded": 60}}, 40),
        ({"executor": "batch", "status": "collected", "counts": {"succeeded": 100}}, 0),
        ({"status": "running", "window": 8}, 0),
        ({"status": "running", "window": 8, "owner": "me"}, 8),
        ({"status": "running", "window": 8, "owner": "me", "counts": {"succeeded": 97}}, 3),
    ],
)
def test_what_is_out_is_what_may_still_be_charged(given: dict[str, Any], calls: int) -> None:
    one = batch(**given)

    assert out_on(purse(*ALL), one) == pytest.approx(worst_of(purse(*ALL), one, calls))


def test_what_nobody_metered_is_held_against_the_worst() -> None:
    used = Usage(tokens_in=90_000, tokens_out=9_000)
    counts: Any = {"succeeded": 90, "network": 2, "rate_limited": 3, "expired": 5}
    one = batch(status="collected", counts=counts, usage=used)

    assert spent_on(purse(*ALL), one) == pytest.approx(0.18 + 0.072 + 2 * 0.0062)


def test_calls_that_were_made_twice_are_held_against_the_worst_too() -> None:
    assert room(purse(*ALL), ALL) == 10.0
    assert room(purse(*ALL, repeated=16), ALL) == pytest.approx(10.0 - 16 * 0.0062)
    assert room(purse(*ALL, repeated=16), ALL, but=["b0"]) == pytest.approx(10.0 - 16 * 0.0062)


def test_the_cap_that_is_met_first_holds() -> None:
    caps = [
        Cap(of="the budget", dollars=5.0),
        Cap(of="the budget of a day", dollars=20.0, elsewhere=16.0),
    ]

    assert room(purse_of(QUOTE, caps, ALL), ALL) == 4.0


def test_batches_go_as_long_as_all_of_them_fit() -> None:
    sent = [batch(id=f"b{part}", part=part, executor="batch") for part in range(10)]
    each = worst_of(purse(*sent), sent[0], 100)
    money = Spending(purse(*sent, dollars=2.5 * each), sent, {})

    assert [money.lets(one, takes=True) for one in sent[:3]] == [True, True, False]
    # A part of the run that is worth waiting for: 50 of 1,000 rows are not, 100 are.
    assert money.part_of(sent[2]) == 0
    assert Spending(purse(*sent, dollars=each), sent, {}).part_of(sent[0]) == 100
    why = money.why_stopped(sent[2:])
    assert is_over(why)
    assert why.startswith(
        "budget: $0.00 of the budget of $0.84 are spent. What comes next may cost"
    )


def test_a_call_goes_as_long_as_the_next_one_fits() -> None:
    each = worst_of(purse(*ALL), ALL[0], 1)

    assert Spending(purse(*ALL, dollars=each), ALL, {}).lets(ALL[0], takes=True)
    assert not Spending(purse(*ALL, dollars=each), ALL, {"b0": 2 * each}).lets(ALL[0], takes=True)


def test_without_a_purse_everything_goes() -> None:
    money = Spending(None, ALL, {})

    assert money.lets(batch(tier="flex"), takes=True)
    assert money.spares(ALL[0], "flex")
    assert money.affords(ALL[0], 100, tier=None)
