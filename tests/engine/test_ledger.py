"""What we say a run did cost is what the service bills, whatever happened on the way."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from anybatch.core.ledger import Cost
from anybatch.core.model import Usage
from anybatch.core.price import Rate, Rates, Tariff, cost
from anybatch.engine.ledger import cost_of, models_of
from anybatch.testing import Answer, CrashAt, FakeEndpoint, FakeOpenAI, Fault, Phases, Unrun
from anybatch.testing.clock import START
from anybatch.testing.endpoint.answers import count

from .harness import Model, NewWorld, World, spec

PRICES = {"input": 2.0, "output": 10.0, "cached": 0.2}
BATCH = {"input": 1.0, "output": 5.0, "cached": 0.1}
SAID = {"openai/fake-1": {**PRICES, "batch": BATCH}}


def rates(said: dict[str, float]) -> Rates:
    return Rates(
        tokens_in=Rate(said["input"]), tokens_out=Rate(said["output"]), cached=Rate(said["cached"])
    )


class Biller:
    """Answers, and keeps what each answer is billed at. Every fifth first answer is cut off."""

    def __init__(self) -> None:
        self.batched: list[Usage] = []
        self.called: list[Usage] = []
        self.cut: list[Usage] = []
        self._seen: set[str] = set()

    def __call__(self, call: Any) -> Answer:
        chance = crc32(call.prompt.encode())
        cut = chance % 5 == 0 and call.prompt not in self._seen
        self._seen.add(call.prompt)
        answer = Answer(
            f"echo: {call.prompt}",
            finish="length" if cut else "stop",
            tokens_in=40,
            cached=chance % 30,
            reasoning=chance % 7,
        )
        tokens = count(answer, call)
        usage = Usage(
            tokens_in=tokens.used,
            tokens_out=tokens.made,
            cached=answer.cached,
            reasoning=answer.reasoning,
        )
        (self.called if call.batch_id is None else self.batched).append(usage)
        if cut:
            self.cut.append(usage)
        return answer

    @property
    def usage(self) -> Usage:
        return sum((*self.batched, *self.called), Usage())

    @property
    def dollars(self) -> float:
        by_batch = sum(cost(usage, rates(BATCH)) for usage in self.batched)
        return by_batch + sum(cost(usage, rates(PRICES)) for usage in self.called)


def expires_twice() -> Any:
    """Two rows never run in their first two batches, so that they go in real time."""
    seen: dict[str, int] = {}

    def fault(call: Any) -> Fault | None:
        seen[call.prompt] = seen.get(call.prompt, 0) + 1
        unlucky = "row 001" in call.prompt or "row 010" in call.prompt
        return Unrun("expired") if unlucky and seen[call.prompt] <= 2 else None

    return fault


@contextmanager
def billed(root: Path, **given: Any) -> Iterator[tuple[World, Biller]]:
    biller = Biller()
    with FakeOpenAI(answer=biller, rows=expires_twice(), **given) as service:
        asked = spec(
            service.base_url, provider="openai", executor="batch", parameters={"max_tokens": 400}
        )
        with World(root=root, spec=asked, service=service, prices=SAID, says=None) as world:
            yield world, biller


def cost_in(world: World) -> Cost:
    workspace = world.open()
    (run,) = workspace.store.runs()
    return cost_of(workspace.store, workspace.settings, run, now=workspace.clock.now())


def test_retries_and_the_tail_are_billed_as_we_say(scratch: Path) -> None:
    with billed(scratch / "world") as (world, biller):
        world.live()
        found = cost_in(world)

        assert biller.called
        assert len(biller.batched) > len(world.rows) - 2
        assert found.usage == biller.usage
        assert found.total == pytest.approx(biller.dollars)
        assert world.service is not None
        tokens = biller.usage.tokens_in + biller.usage.tokens_out
        assert world.service.ledger.tokens + world.service.calls.ledger.tokens == tokens

    again = len(biller.batched) + len(biller.called) - len(world.rows)
    assert again > 0
    assert found.again > 0
    assert {entry.tier for entry in found.entries} == {"batch", "standard"}
    assert found.valid == len(world.rows)
    assert found.quote is not None
    assert found.off is not None


def test_what_was_asked_again_is_what_the_cut_off_answers_cost(scratch: Path) -> None:
    with billed(scratch / "world") as (world, biller):
        world.live()
        found = cost_in(world)

    assert biller.cut
    assert found.again == pytest.approx(sum(cost(usage, rates(BATCH)) for usage in biller.cut))
    assert found.retries == pytest.approx(found.again / biller.dollars)


@pytest.mark.parametrize("seed", range(4))
def test_deaths_change_nothing_of_the_bill(seed: int, scratch: Path) -> None:
    chance = random.Random(seed)
    with billed(scratch / "world") as (world, biller):
        for _ in range(3):
            world.die(CrashAt(chance.randint(1, 200)))
        world.live()
        found = cost_in(world)
        repeated = len(biller.called)

    by_batch = [entry for entry in found.entries if entry.tier == "batch"]
    assert sum((entry.usage for entry in by_batch), Usage()) == sum(biller.batched, Usage())
    # A call in real time that died with its process is billed, and nobody knows what it used.
    assert repeated >= sum(e.attempts for e in found.entries if e.tier == "standard")
    assert found.total is not None
    assert found.total <= biller.dollars * (1 + 1e-9)


def test_what_is_cancelled_is_paid_as_far_as_it_ran(scratch: Path) -> None:
    with billed(scratch / "world", phases=Phases(in_progress=2.0)) as (world, biller):
        assert world.die(CrashAt(20, only="http.send"))
        time.sleep(0.7)  # a third of the rows
        world.live(cancel=True)
        found = cost_in(world)

    assert 0 < len(biller.batched) < len(world.rows)
    assert found.usage == biller.usage
    assert found.total == pytest.approx(biller.dollars)


def test_without_a_quote_todays_prices_count_and_it_is_told(scratch: Path) -> None:
    with billed(scratch / "world") as (world, biller):
        world.prices = {}
        world.live()
        before = cost_in(world)
        world.prices = SAID
        after = cost_in(world)

    assert (before.total, before.quote, before.usage) == (None, None, biller.usage)
    assert after.quote is None
    assert after.total == pytest.approx(biller.dollars)


def test_the_prices_of_the_quote_are_kept(scratch: Path) -> None:
    with billed(scratch / "world") as (world, biller):
        world.live()
        world.prices = {"openai/fake-1": {"input": 99.0, "output": 99.0}}
        found = cost_in(world)

    assert found.total == pytest.approx(biller.dollars)


def test_each_prompt_is_priced_by_its_own_length(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [900, 1_000, 1_001, 5_000]
    tiered = Rates(
        tokens_in=Rate(1.0, ((1_000, 2.0),)),
        tokens_out=Rate(5.0, ((1_000, 7.5),)),
        cached=Rate(0.1, ((1_000, 0.2),)),
    )
    tariff = Tariff(model="m", source="a test", as_of=START.date(), tiers={"standard": tiered})
    monkeypatch.setattr("anybatch.engine.estimates.known_tariff", lambda *a, **k: tariff)
    asked: list[Usage] = []

    def answer(call: Any) -> Answer:
        length = lengths[int(call.prompt[-3:]) % 4]
        asked.append(Usage(tokens_in=length, tokens_out=10, cached=100))
        return Answer("yes", tokens_in=length, tokens_out=10, cached=100)

    with FakeEndpoint(answer=answer) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint, says=None)
        world.live()
        found = cost_in(world)

    assert found.total == pytest.approx(sum(cost(usage, tiered) for usage in asked))
    assert [entry.attempts for entry in found.entries] == [12]
    assert found.usage == sum(asked, Usage())


def test_a_model_in_this_process_has_tokens_and_no_dollars(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anybatch.engine.workspace.weights", lambda model: None)
    world = new_world(spec=spec(None, provider="local", model="smollm2"), model=Model(), says=None)
    world.live()

    found = cost_in(world)

    assert (found.total, found.real_time) == (None, None)
    assert found.usage == Usage(tokens_in=12, tokens_out=12)


def test_the_models_that_answered_are_counted(new_world: NewWorld) -> None:
    with FakeEndpoint() as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint)
        world.live()
        workspace = world.open()
        (run,) = workspace.store.runs()

        assert models_of(workspace.store, run) == {"fake-1": 12}
