"""What a run did cost, from what its attempts used."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.ledger import Spent, dollars_of, priced_like, reckoned, steps_of
from anybatch.core.model import Usage
from anybatch.core.offers import Quote, Way
from anybatch.core.price import MILLION, Rate, Rates, Tariff, cost

STANDARD = Rates(
    tokens_in=Rate(2.0, ((1_000, 4.0),)),
    tokens_out=Rate(10.0, ((1_000, 15.0), (5_000, 20.0))),
    cached=Rate(0.1),
    written=Rate(2.5),
    kept=Rate(4.0),
)
BATCH = Rates(tokens_in=Rate(1.0), tokens_out=Rate(5.0), cached=Rate(0.05), kept=Rate(2.0))
TARIFF = Tariff(
    model="m",
    source="a test",
    as_of=date(2026, 11, 20),
    tiers={"standard": STANDARD, "batch": BATCH},
)
QUOTE = Quote(
    at=datetime(2026, 11, 20, tzinfo=UTC),
    tariff=TARIFF,
    way=Way(tier="batch", executor="batch"),
    requests=10,
    tokens_in=100.0,
    out=10.0,
    most_out=20.0,
    band=0.02,
    dollars=0.002,
    most=0.003,
    real_time=0.004,
    flat=0.002,
)


@given(
    st.integers(0, 9_000),
    st.integers(0, 2_000),
    st.integers(0, 2_000),
    st.integers(0, 2_000),
    st.integers(0, 3_000),
    st.integers(0, 3_000),
)
def test_the_classes_of_a_request_come_to_its_price(
    fresh: int, cached: int, written: int, kept: int, said: int, thought: int
) -> None:
    usage = Usage(
        tokens_in=fresh + cached + written + kept,
        tokens_out=said + thought,
        cached=cached,
        written=written,
        kept=kept,
        reasoning=thought,
    )
    length = priced_like(usage.tokens_in, steps_of(TARIFF))

    for rates in (STANDARD, BATCH):
        assert dollars_of(usage, rates, length=length).total == pytest.approx(cost(usage, rates))


def test_each_class_is_told_apart() -> None:
    usage = Usage(tokens_in=1_000, cached=200, written=300, kept=400, tokens_out=50, reasoning=20)

    found = dollars_of(usage, STANDARD, length=0)

    assert found.fresh == pytest.approx(100 * 2 / MILLION)
    assert found.cached == pytest.approx(200 * 0.1 / MILLION)
    assert found.written == pytest.approx(300 * 2.5 / MILLION)
    assert found.kept == pytest.approx(400 * 4 / MILLION)
    assert found.output == pytest.approx(30 * 10 / MILLION)
    assert found.reasoning == pytest.approx(20 * 10 / MILLION)


def test_counts_that_contradict_one_another_never_make_a_cost_negative() -> None:
    usage = Usage(tokens_in=10, cached=300, tokens_out=1, reasoning=50)

    assert cost(usage, STANDARD) == pytest.approx((300 * 0.1 + 10) / MILLION)
    assert dollars_of(usage, STANDARD, length=10).total == pytest.approx(cost(usage, STANDARD))


@pytest.mark.parametrize(
    ("prompt", "like"), [(0, 0), (1_000, 0), (1_001, 1_001), (5_000, 1_001), (5_001, 5_001)]
)
def test_a_prompt_costs_what_others_of_its_length_do(prompt: int, like: int) -> None:
    assert steps_of(TARIFF) == (1_000, 5_000)
    assert priced_like(prompt, steps_of(TARIFF)) == like


def test_a_run_comes_to_what_its_parts_do() -> None:
    primed = Usage(tokens_in=900, kept=800, tokens_out=10)
    read = Usage(tokens_in=8_100, cached=7_200, tokens_out=90)
    retried = Usage(tokens_in=100, tokens_out=20)
    spent = [
        Spent(tier="batch", attempts=1, usage=primed),
        Spent(tier="batch", attempts=9, usage=read, again=Usage(tokens_in=900, tokens_out=10)),
        Spent(tier="standard", attempts=1, usage=retried),
    ]

    found = reckoned(spent, TARIFF, quote=QUOTE, valid=9)

    batch = (100 * 1 + 800 * 2 + 10 * 5 + 900 * 1 + 7_200 * 0.05 + 90 * 5) / MILLION
    online = (100 * 2 + 20 * 10) / MILLION
    assert [(entry.tier, entry.attempts) for entry in found.entries] == [
        ("batch", 10),
        ("standard", 1),
    ]
    assert found.total == pytest.approx(batch + online)
    assert found.per_valid_row == pytest.approx((batch + online) / 9)
    assert found.real_time == pytest.approx((9_100 * 2 + 120 * 10) / MILLION)
    assert found.flat == pytest.approx((9_100 * 1 + 120 * 5) / MILLION)
    assert found.premium == pytest.approx(800 * (2 - 1) / MILLION)
    assert found.again == pytest.approx((900 * 1 + 10 * 5) / MILLION)
    assert found.retries == pytest.approx(found.again / found.total)  # type: ignore[operator]
    assert found.hits == pytest.approx(7_200 / 9_100)
    assert found.off == pytest.approx(found.total / 0.002 - 1)  # type: ignore[operator]
    assert found.unpriced == []


def test_a_tier_without_a_price_is_named_and_never_costs_what_the_list_says() -> None:
    used = Usage(tokens_in=1_000, tokens_out=100)
    spent = [
        Spent(tier="batch", attempts=1, usage=used),
        Spent(tier="flex", attempts=1, usage=used),
    ]

    found = reckoned(spent, TARIFF, valid=2)

    assert found.unpriced == ["flex"]
    assert found.total is None
    assert found.per_valid_row is None
    assert found.usage == used + used


def test_without_prices_there_are_tokens() -> None:
    used = Usage(tokens_in=1_000, cached=500, tokens_out=100)

    found = reckoned([Spent(tier="standard", attempts=1, usage=used)], None, valid=1)

    assert (found.total, found.real_time, found.flat, found.off) == (None, None, None, None)
    assert (found.usage, found.hits) == (used, 0.5)


def test_a_run_without_a_valid_row_has_no_price_a_row() -> None:
    used = Usage(tokens_in=1_000, tokens_out=100)

    found = reckoned([Spent(tier="batch", attempts=1, usage=used)], TARIFF, valid=0)

    assert found.per_valid_row is None
    assert found.total == pytest.approx(0.0015)
