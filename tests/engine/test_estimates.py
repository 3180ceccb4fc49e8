"""A run that is planned says what it will cost, without holding anybody up."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from anybatch.core.model import Row
from anybatch.core.offers import Quote
from anybatch.core.price import Rate, Rates
from anybatch.engine import estimates
from anybatch.engine.measure import tokens_of
from anybatch.engine.workspace import Planned
from anybatch.errors import BadSettings
from anybatch.providers.vocabularies import counter_for
from anybatch.store.requests import RequestFile
from anybatch.testing import FakeOpenAI
from anybatch.testing.clock import START

from .harness import Model, NewWorld, World, spec

LAB = {"fake/gpt-4o": {"input": 2.0, "output": 8.0, "cached": 0.5}}


def planned(world: World) -> tuple[Planned, Quote | None]:
    workspace = world.open()
    done = workspace.plan(world.source(), world.spec)
    return done, workspace.store.quote(done.run.id)


def test_a_planned_run_keeps_what_it_was_said_to_cost(new_world: NewWorld) -> None:
    world = new_world(spec=spec(model="gpt-4o", parameters={"max_tokens": 50}), prices=LAB)

    done, quote = planned(world)

    assert quote is not None
    assert (quote.at.date(), quote.tariff.as_of) == (START.date(), START.date())
    assert quote.tariff.tiers == {
        "standard": Rates(tokens_in=Rate(2.0), tokens_out=Rate(8.0), cached=Rate(0.5))
    }
    assert (quote.requests, quote.out, quote.most_out, quote.flat) == (12, 50, 50, None)
    with RequestFile(world.root / "store" / "runs" / done.run.id) as requests:
        bodies = [request.body for request in requests.read(range(12))]
    tokens = sum(tokens_of(bodies, "openai.chat", counter_for("gpt-4o")))
    assert quote.dollars == pytest.approx((tokens * 2 + 12 * 50 * 8) / 1e6)
    assert quote.dollars == quote.real_time == quote.most


def test_a_run_of_an_unknown_model_has_no_quote_and_is_planned_all_the_same(
    new_world: NewWorld,
) -> None:
    done, quote = planned(new_world(spec=spec()))

    assert done.is_new
    assert quote is None


def test_a_run_by_a_tier_without_a_price_has_no_quote(new_world: NewWorld) -> None:
    with FakeOpenAI() as service:
        prices = {"openai/fake-1": {"input": 1.0, "output": 2.0}}
        asked = spec(service.base_url, provider="openai", executor="batch")
        world = new_world(spec=asked, service=service, prices=prices)

        done, quote = planned(world)

    assert done.is_new
    assert quote is None


def test_a_model_in_this_process_costs_nothing_and_has_its_tokens_told(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anybatch.engine.workspace.weights", lambda model: None)
    asked = spec(None, provider="local", model="smollm2")
    _, quote = planned(new_world(spec=asked, model=Model()))

    assert quote is not None
    assert quote.dollars == quote.most == quote.real_time == 0
    assert quote.tokens_in > 3
    assert quote.way.executor == "embedded"


def test_a_price_that_cannot_be_read_is_said_before_anything_is_sent(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), prices={"fake/fake-1": {"input": "much"}})

    with pytest.raises(BadSettings, match="fake/fake-1"):
        planned(world)

    assert list((world.root / "store" / "runs").iterdir()) == []


def test_a_sample_tells_of_all(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [f"{n}: " + "a ship sails " * (n % 90) for n in range(3_000)]
    rows: list[Row] = [{"topic": "ships", "text": text} for text in said]
    asked = spec(model="gpt-4o")
    monkeypatch.setattr(estimates, "_SAMPLE", 3_000)
    _, exact = planned(new_world(spec=asked, rows=rows, prices=LAB))
    monkeypatch.setattr(estimates, "_SAMPLE", 200)
    _, sampled = planned(new_world(spec=asked, rows=rows, prices=LAB))

    assert exact is not None
    assert sampled is not None
    assert sampled.dollars == pytest.approx(exact.dollars, rel=0.02)
    assert sampled.band > exact.band
    assert sampled.requests == exact.requests == 3_000


def test_a_quote_survives_its_store(new_world: NewWorld) -> None:
    world = new_world(spec=spec(model="gpt-4o"), prices=LAB)
    done, quote = planned(world)
    world.close()

    again = world.open().store.quote(done.run.id)

    assert again == quote
    assert again is not None
    assert again.tariff.as_of == date(START.year, START.month, START.day)
    assert msgspec.json.encode(again)


def test_ready_made_requests_say_themselves_how_long_answers_may_be(
    new_world: NewWorld, tmp_path: Path
) -> None:
    world = new_world(spec=spec(model="gpt-4o", prompt=None), prices=LAB)
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    lines = [
        {"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": each}
        for n, each in enumerate(({**body, "max_tokens": 30}, {**body, "max_tokens": 50}))
    ]
    file = tmp_path / "requests.jsonl"
    file.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    world.use(file)

    _, quote = planned(world)

    assert quote is not None
    assert (quote.requests, quote.out, quote.most_out) == (2, 40, 40)
