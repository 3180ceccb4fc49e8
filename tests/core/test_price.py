"""Quotes and costs against dollars that were worked out by hand or published."""

import pytest

from anybatch.core.model import Usage
from anybatch.core.price import (
    MILLION,
    PRIMED,
    Caching,
    Rate,
    Rates,
    Workload,
    break_even,
    cost,
    packed,
    quote,
)


def rates(
    input: float, output: float, read: float | None, written: float | None, kept: float | None
) -> Rates:
    return Rates(
        tokens_in=Rate(input),
        tokens_out=Rate(output),
        cached=None if read is None else Rate(read),
        written=None if written is None else Rate(written),
        kept=None if kept is None else Rate(kept),
    )


def halved(of: Rates) -> Rates:
    all_of_it = (of.tokens_in, of.tokens_out, of.cached, of.written, of.kept)
    return rates(*(None if rate is None else rate.base / 2 for rate in all_of_it))  # type: ignore[arg-type]


# Published prices of November 2026, dollars for a million tokens.
HAIKU = rates(0.10, 0.50, 0.01, 0.125, 0.20)
SONNET = rates(2.0, 10.0, 0.10, 2.50, 4.00)
OPUS = rates(4.0, 20.0, 0.20, 5.0, 8.0)

TICKETS = Workload(requests=100_000, shared=2_000, own=200, out=20)
EXTRACTIONS = Workload(requests=100_000, shared=1_500, own=1_500, out=300)
RUBRICS = Workload(requests=10_000, shared=11_400, own=1_500, out=700)

COLD, LUKEWARM, WARM = Caching(hits=0), Caching(hits=0.3), Caching(hits=0.98)


@pytest.mark.parametrize(
    ("model", "real_time", "cached", "flat", "cold", "some", "most", "primed"),
    [
        (HAIKU, 23.00, 5.23, 11.50, 14.00, 10.55, 2.73, 2.50),
        (SONNET, 460.0, 84.80, 230.0, 280.0, 208.0, 44.80, 40.00),
        (OPUS, 920.0, 169.60, 460.0, 560.0, 416.0, 89.60, 80.00),
    ],
    ids=["haiku", "sonnet", "opus"],
)
def test_the_published_workload_costs_what_was_published(
    model: Rates,
    real_time: float,
    cached: float,
    flat: float,
    cold: float,
    some: float,
    most: float,
    primed: float,
) -> None:
    batch = halved(model)

    assert quote(TICKETS, model) == pytest.approx(real_time)
    assert quote(TICKETS, model, Caching(hits=0.99)) == pytest.approx(cached, rel=0.02)
    assert quote(TICKETS, batch) == pytest.approx(flat)
    assert quote(TICKETS, batch, COLD) == pytest.approx(cold)
    assert quote(TICKETS, batch, LUKEWARM) == pytest.approx(some, rel=0.02)
    assert quote(TICKETS, batch, WARM) == pytest.approx(most, rel=0.02)
    assert quote(TICKETS, batch, PRIMED) == pytest.approx(primed, rel=0.02)


@pytest.mark.parametrize(
    ("work", "cached", "cold", "most", "primed"),
    [
        (TICKETS, (77, 82), (39, 39), (88, 90), (89, 91)),
        (EXTRACTIONS, (30, 31), (46, 46), (65, 65), (65, 66)),
        (RUBRICS, (62, 65), (41, 41), (80, 82), (81, 83)),
    ],
    ids=["tickets", "extractions", "rubrics"],
)
@pytest.mark.parametrize("model", [HAIKU, SONNET, OPUS], ids=["haiku", "sonnet", "opus"])
def test_the_published_savings_come_out(
    model: Rates,
    work: Workload,
    cached: tuple[int, int],
    cold: tuple[int, int],
    most: tuple[int, int],
    primed: tuple[int, int],
) -> None:
    list_price, batch = quote(work, model), halved(model)

    def saved(dollars: float) -> int:
        return round(100 * (1 - dollars / list_price))

    assert saved(quote(work, batch)) == 50
    assert _within(saved(quote(work, model, Caching(hits=0.99))), cached)
    assert _within(saved(quote(work, batch, COLD)), cold)
    assert _within(saved(quote(work, batch, WARM)), most)
    assert _within(saved(quote(work, batch, PRIMED)), primed)


def _within(found: int, published: tuple[int, int]) -> bool:
    low, high = published
    return low - 1 <= found <= high + 1


@pytest.mark.parametrize(
    ("rows", "haiku", "sonnet", "opus"), [(10, 2.71, 54.25, 108.50), (25, 2.10, 42.10, 84.20)]
)
def test_several_rows_in_one_prompt_cost_what_was_published(
    rows: int, haiku: float, sonnet: float, opus: float
) -> None:
    work = packed(TICKETS, rows)

    assert quote(work, halved(HAIKU)) == pytest.approx(haiku, rel=0.02)
    assert quote(work, halved(SONNET)) == pytest.approx(sonnet, rel=0.02)
    assert quote(work, halved(OPUS)) == pytest.approx(opus, rel=0.02)


def test_a_cache_pays_from_the_published_share_of_hits_on() -> None:
    found = {model: break_even(model, prompt=2_200, kept=False) for model in (HAIKU, SONNET, OPUS)}
    long = {model: break_even(model, prompt=2_200, kept=True) for model in (HAIKU, SONNET, OPUS)}

    assert found[HAIKU] == pytest.approx(0.217, abs=0.001)
    assert found[OPUS] == pytest.approx(0.208, abs=0.001)
    assert long[HAIKU] == pytest.approx(0.526, abs=0.001)
    assert long[SONNET] == pytest.approx(0.513, abs=0.001)


def test_what_is_written_for_nothing_costs_nothing_more_is_even_at_once() -> None:
    assert break_even(rates(1, 5, 0.1, None, None), prompt=5_000, kept=False) == 0.0
    assert break_even(rates(1, 5, None, 1.25, None), prompt=5_000, kept=False) == 1.0


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(tokens_in=1_000_000, tokens_out=0), 2.00),
        (Usage(tokens_in=0, tokens_out=1_000_000), 10.00),
        (Usage(tokens_in=1_000, cached=1_000), 0.0001),
        (Usage(tokens_in=1_000, written=1_000), 0.0025),
        (Usage(tokens_in=1_000, kept=1_000), 0.0040),
        # 100 plain, 200 read, 300 written, 400 kept, 50 answered, of which 20 were thoughts
        (
            Usage(tokens_in=1_000, cached=200, written=300, kept=400, tokens_out=50, reasoning=20),
            (100 * 2 + 200 * 0.1 + 300 * 2.5 + 400 * 4 + 50 * 10) / MILLION,
        ),
    ],
)
def test_each_class_of_tokens_has_its_price(usage: Usage, dollars: float) -> None:
    assert cost(usage, SONNET) == pytest.approx(dollars)


def test_a_long_prompt_costs_more_in_every_token() -> None:
    tiered = Rates(
        tokens_in=Rate(1.0, ((272_000, 2.0),)),
        tokens_out=Rate(5.0, ((272_000, 7.5),)),
        cached=Rate(0.05, ((272_000, 0.1),)),
    )

    at_the_edge = cost(Usage(tokens_in=272_000, cached=72_000, tokens_out=100), tiered)
    beyond = cost(Usage(tokens_in=272_001, cached=72_001, tokens_out=100), tiered)

    assert at_the_edge == pytest.approx((200_000 * 1 + 72_000 * 0.05 + 100 * 5) / MILLION)
    assert beyond == pytest.approx((200_000 * 2 + 72_001 * 0.1 + 100 * 7.5) / MILLION)


def test_heads_that_differ_are_each_written_once() -> None:
    work = Workload(requests=1_000, heads=40, shared=5_000, own=0, out=0)

    dollars = quote(work, SONNET, PRIMED)

    assert dollars == pytest.approx((40 * 5_000 * 4.0 + 960 * 5_000 * 0.1) / MILLION)
