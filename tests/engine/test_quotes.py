"""Every way a dataset could be answered: which there are, which is taken, and how that is told."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Spec, Terms
from anybatch.core.offers import Choice, NoOffer, Offer
from anybatch.core.quota import Quota
from anybatch.core.timing import ENOUGH, Timing
from anybatch.core.traffic import traffic
from anybatch.datasets.source import open_source
from anybatch.engine.calculator import Shape, reckon
from anybatch.engine.quotes import Quoted, quote
from anybatch.engine.workspace import Workspace
from anybatch.errors import BadSettings, UsageError
from anybatch.providers.prices import UnknownPrice
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import ManualClock

CHEAP = {"input": 0.1, "output": 0.5, "cached": 0.01, "written": 0.125, "kept": 0.2}
HALF = {name: dollars / 2 for name, dollars in CHEAP.items()}
SHAPE = Shape(tokens_in=2_200, tokens_out=20, shared=2_000)
PLAIN, FLEX, BATCH = "real-time", "flex", "batch"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    prices = {
        "openai/m": {**CHEAP, "batch": HALF, "flex": HALF},
        "anthropic/m": {**CHEAP, "batch": HALF},
        "anthropic/claude-opus-5": {**CHEAP, "batch": HALF},
        "openai/unbatched": {"input": 1.0, "output": 5.0},
    }
    settings = Settings(home=tmp_path / "store", prices=prices)
    with closing(SqliteStore(settings.home)) as store:
        yield Workspace(settings=settings, store=store, clock=ManualClock())


def spec(model: str = "openai/m", **changes: Any) -> Spec:
    provider, _, name = model.partition("/")
    api = "anthropic.messages" if provider == "anthropic" else "openai.chat"
    return Spec(**{"provider": provider, "model": name, "api": api, **changes})


def of_tickets(workspace: Workspace, asked: Spec, *, terms: Terms = Terms()) -> Quoted:  # noqa: B008
    return reckon(workspace, asked, traffic("100000"), SHAPE, terms=terms)


def dollars(quoted: Quoted) -> dict[str, float | None]:
    return {o.way.words: o.dollars if isinstance(o, Offer) else None for o in quoted.found}


def taken(quoted: Quoted) -> str:
    assert isinstance(quoted.choice, Choice), quoted.choice
    return quoted.choice.offer.way.words


def test_openai_offers_flex_and_a_cache_in_real_time(workspace: Workspace) -> None:
    found = dollars(of_tickets(workspace, spec()))

    assert list(found) == [PLAIN, "real-time + cache", FLEX, BATCH]
    assert found[PLAIN] == pytest.approx(23.0)
    assert found[BATCH] == found[FLEX] == pytest.approx(11.5)
    assert found["real-time + cache"] == pytest.approx(5.23, rel=0.001)


def test_anthropic_offers_batches_whose_cache_is_primed(workspace: Workspace) -> None:
    found = dollars(of_tickets(workspace, spec("anthropic/claude-opus-5")))

    assert list(found) == [PLAIN, "real-time + cache", BATCH, "batch + primed cache"]
    assert found["batch + primed cache"] == pytest.approx(2.5, rel=0.001)


def test_a_head_below_the_models_floor_is_not_cached(workspace: Workspace) -> None:
    assert list(dollars(of_tickets(workspace, spec("anthropic/m")))) == [PLAIN, BATCH]


def test_a_tier_without_a_price_is_named_and_never_priced_as_list(workspace: Workspace) -> None:
    quoted = of_tickets(workspace, spec("openai/unbatched"))

    assert dollars(quoted)[BATCH] is None
    assert taken(quoted) == PLAIN


def test_the_cheapest_in_time_is_taken_or_the_fastest_for_the_money(workspace: Workspace) -> None:
    now = workspace.clock.now()
    soon = Terms(by=now + timedelta(hours=2))

    assert taken(of_tickets(workspace, spec())) == "real-time + cache"
    assert taken(of_tickets(workspace, spec(executor="batch"))) == BATCH
    assert taken(of_tickets(workspace, spec("anthropic/m"), terms=soon)) == PLAIN
    assert taken(of_tickets(workspace, spec("anthropic/m"), terms=Terms(prefer="fast"))) == PLAIN
    assert (
        taken(of_tickets(workspace, spec("anthropic/m"), terms=Terms(prefer="fast", budget=12)))
        == BATCH
    )


def test_a_deadline_that_nothing_meets_names_the_earliest_and_its_price(
    workspace: Workspace,
) -> None:
    soon = Terms(by=workspace.clock.now() + timedelta(minutes=5))

    choice = of_tickets(workspace, spec("anthropic/m"), terms=soon).choice

    assert isinstance(choice, NoOffer)
    assert "the earliest is real-time, within 52 min" in choice.why
    assert choice.why.endswith("for $23.00")
    assert not choice.for_money


def test_a_budget_that_nothing_meets_names_the_shortfall(workspace: Workspace) -> None:
    choice = of_tickets(workspace, spec("anthropic/m"), terms=Terms(budget=10)).choice

    assert isinstance(choice, NoOffer)
    assert "the cheapest offer, batch, costs $11.50: $1.50 more than the budget" in choice.why
    assert choice.for_money


def test_who_asks_for_one_way_is_told_of_all_and_gets_that(workspace: Workspace) -> None:
    quoted = of_tickets(workspace, spec("anthropic/m", executor="online"))

    assert BATCH in dollars(quoted)
    assert taken(quoted) == PLAIN


def test_an_address_of_ones_own_is_asked_in_real_time_unless_told_otherwise(
    workspace: Workspace,
) -> None:
    there = "http://127.0.0.1:9/v1"

    assert taken(of_tickets(workspace, spec(base_url=there, executor="batch"))) == BATCH
    assert taken(of_tickets(workspace, spec(base_url=there))) in (PLAIN, FLEX)


def test_a_limit_that_will_make_it_wait_is_named(workspace: Workspace) -> None:
    settings = {"openai": {"rpm": 60}}
    slow = Workspace(
        settings=Settings(
            home=workspace.settings.home, prices=workspace.settings.prices, providers=settings
        ),
        store=workspace.store,
        clock=workspace.clock,
    )

    first = of_tickets(slow, spec()).found[0]

    assert isinstance(first, Offer)
    assert first.waits == ("60 requests a minute",)
    assert first.takes.p50 == pytest.approx(timedelta(minutes=100_000 / 60), rel=0.01)


def test_how_long_batches_take_is_the_providers_word_until_it_is_learned(
    workspace: Workspace,
) -> None:
    keyed = replace(
        workspace, settings=replace(workspace.settings, environment={"ANTHROPIC_API_KEY": "any"})
    )
    before = of_tickets(keyed, spec("anthropic/m")).found[-1]
    run = keyed.plan(open_source([{"text": "a"}]), spec("anthropic/m", prompt="x")).run
    (batch,) = keyed.store.batches(run.id)
    phases = [Timing("in_progress", 3_600.0), Timing("ended", 60.0)]
    keyed.store.save(batch, timings=phases * ENOUGH)

    after = of_tickets(keyed, spec("anthropic/m")).found[-1]
    without_a_key = of_tickets(workspace, spec("anthropic/m")).found[-1]

    assert isinstance(before, Offer)
    assert isinstance(after, Offer)
    assert isinstance(without_a_key, Offer)
    assert (before.takes.p95, before.takes.source) == (timedelta(hours=24), "the provider's word")
    assert (after.takes.p95, after.takes.source) == (
        timedelta(minutes=61),
        f"learned from {ENOUGH} batches",
    )
    assert without_a_key.takes == before.takes


def test_a_limit_that_was_learned_makes_batches_wait_until_it_is_forgotten(
    workspace: Workspace,
) -> None:
    keyed = replace(
        workspace, settings=replace(workspace.settings, environment={"ANTHROPIC_API_KEY": "any"})
    )
    run = keyed.plan(open_source([{"text": "a"}]), spec("anthropic/m", prompt="x")).run
    for age in (timedelta(hours=1), timedelta(days=2)):
        learned_at = keyed.clock.now() - age
        limit = Quota(measure="tokens", ceiling=1_000_000, said=1_000_000, learned_at=learned_at)
        keyed.store.learn(run.queue, limit)
        batch = of_tickets(keyed, spec("anthropic/m")).found[-1]

        assert isinstance(batch, Offer)
        is_known = age < timedelta(days=1)
        assert [why.split(" learned")[0] for why in batch.waits] == (
            ["the enqueued-token limit of 1,000,000"] if is_known else []
        )


def test_the_same_table_costs_what_its_numbers_cost(workspace: Workspace) -> None:
    rows = [{"text": "a"}] * 4
    quoted = quote(workspace, open_source(rows), spec(prompt="{{ text }}"))
    numbers = Shape(tokens_in=round(quoted.measured.prompt), tokens_out=round(quoted.out.expected))

    reckoned = reckon(workspace, spec(), traffic("4"), numbers)

    assert dollars(reckoned)[BATCH] == pytest.approx(dollars(quoted)[BATCH])


def test_equal_requests_are_priced_once_beside(workspace: Workspace) -> None:
    rows = [{"text": f"text {n % 5}"} for n in range(20)]

    quoted = quote(workspace, open_source(rows), spec(prompt="{{ text }}"))

    for plain, fewer in zip(quoted.found, quoted.after_dedupe, strict=True):
        assert isinstance(plain, Offer)
        assert isinstance(fewer, Offer)
        assert fewer.dollars == pytest.approx(plain.dollars / 4)


def test_nobodys_model_is_refused_before_the_data_is_read(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("text\n" + '"never closed\n' * 9)

    with pytest.raises(UnknownPrice, match="nobody has said what openai/nope costs"):
        quote(workspace, open_source(tmp_path / "in.csv"), spec("openai/nope", prompt="x"))


def test_what_the_run_would_refuse_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="has no batch API"):
        quote(
            workspace,
            open_source([{"text": "a"}]),
            spec("openai/m", provider="lab", base_url="http://127.0.0.1:9/v1", executor="batch"),
        )
    with pytest.raises(UsageError, match=r"does not take gemini\.generate"):
        quote(workspace, open_source([{"text": "a"}]), spec(api="gemini.generate", prompt="x"))


def test_more_shared_tokens_than_there_are_are_refused() -> None:
    with pytest.raises(BadSettings, match="name no more"):
        Shape(tokens_in=10, tokens_out=1, shared=11)


def test_a_model_in_this_process_costs_nothing(workspace: Workspace) -> None:
    quoted = of_tickets(workspace, spec("local/smollm2"))

    assert dollars(quoted) == {PLAIN: 0.0}
    assert quoted.found[0].way.executor == "embedded"


def test_packs_are_priced_beside_the_rest_and_one_of_them_is_taken(workspace: Workspace) -> None:
    quoted = of_tickets(workspace, spec(pack=10))
    found = dollars(quoted)

    assert found[BATCH] == pytest.approx(11.5)
    assert found["batch, 10 rows a prompt"] == pytest.approx(2.71, rel=0.02)
    assert taken(quoted) == "flex, 10 rows a prompt"
    assert not any("cache, 10" in way for way in found)
