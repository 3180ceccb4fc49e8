"""What a plan says against what a service bills: the three published workloads, fewer rows each.

The service counts by the model's own vocabulary, or, where nobody knows that, by one of its own.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from anybatch.core.model import Row, Run, Spec, Usage
from anybatch.core.offers import Offer
from anybatch.core.price import Rates, cost
from anybatch.datasets.source import open_source
from anybatch.engine.quotes import Quoted, quote
from anybatch.engine.workspace import Workspace
from anybatch.providers.vocabularies import counter_for
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import Answer, Call, FakeAnthropic, FakeOpenAI

from .harness import HurriedClock

WORDS = ("card", "transfer", "account", "balance", "refund", "charge", "limit", "travel", "fee")
NEAR = 0.03


class Shape(NamedTuple):
    """Tokens of a request."""

    rows: int
    shared: int
    own: int
    out: int


TICKETS = Shape(200, 2_000, 200, 20)
EXTRACTIONS = Shape(120, 1_500, 1_500, 300)
RUBRICS = Shape(40, 11_400, 1_500, 700)
SHAPES = pytest.mark.parametrize(
    "shape", [TICKETS, EXTRACTIONS, RUBRICS], ids=["tickets", "extractions", "rubrics"]
)


def text_of(tokens: float, chance: random.Random) -> str:
    """So many common words: a token each."""
    return " ".join(chance.choices(WORDS, k=round(tokens)))


def rows_of(shape: Shape, count: int, *, seed: int) -> list[Row]:
    """Rows of which the longest are three times as long as the shortest."""
    chance = random.Random(seed)
    return [{"text": text_of(shape.own * chance.uniform(0.5, 1.5), chance)} for _ in range(count)]


def spec_of(shape: Shape, base_url: str, *, model: str, executor: str) -> Spec:
    provider, _, name = model.partition("/")
    return Spec(
        provider=provider,
        model=name,
        api="anthropic.messages" if provider == "anthropic" else "openai.chat",
        base_url=base_url,
        system=text_of(shape.shared, random.Random(0)),
        prompt="{{ text }}",
        executor=executor,  # type: ignore[arg-type]
        parameters={"max_tokens": 4_096},
    )


def as_openai_counts(call: Call) -> int:
    """As its cookbook has it: three around each message and one for its role, three at the end."""
    said = [message["content"] for message in call.json["messages"]]
    return sum(counter_for("gpt-6-luna").count(said)) + 4 * len(said) + 3


def as_claude_counts(call: Call) -> int:
    """By a vocabulary that nobody knows: by a third more than OpenAI's, and a few around."""
    said = [call.json["system"], *(message["content"] for message in call.json["messages"])]
    return round(1.31 * sum(counter_for("gpt-6-luna").count(said))) + 11


def answering(shape: Shape, count: Callable[[Call], int]) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        longer = random.Random(call.prompt).uniform(0.8, 1.2)
        return Answer("said", tokens_in=count(call), tokens_out=round(shape.out * longer))

    return answer


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    keys = {"OPENAI_API_KEY": "any", "ANTHROPIC_API_KEY": "any"}
    settings = Settings(home=tmp_path / "store", environment=keys)
    with closing(SqliteStore(settings.home)) as store:
        yield Workspace(settings=settings, store=store, clock=HurriedClock())


def ran(workspace: Workspace, rows: list[Row], spec: Spec) -> Run:
    run = workspace.plan(open_source(rows), spec).run
    return asyncio.run(workspace.fulfil(run, stop=asyncio.Event()))


def bill_of(workspace: Workspace, run: Run, rates: Rates) -> tuple[int, float]:
    """All tokens of a run, and what they cost, request by request."""
    usages = [result.usage for result in workspace.results(run) if result is not None]
    assert len(usages) == run.total
    return sum(u.tokens_in + u.tokens_out for u in usages), sum(cost(u, rates) for u in usages)


def dollars(quoted: Quoted, tier: str) -> float:
    (found,) = (o for o in quoted.found if (o.way.tier, o.way.cached) == (tier, "no"))
    assert isinstance(found, Offer)
    return found.dollars


@SHAPES
def test_a_batch_at_openai_is_billed_as_it_was_quoted(shape: Shape, workspace: Workspace) -> None:
    with FakeOpenAI(answer=answering(shape, as_openai_counts)) as service:
        spec = spec_of(shape, service.base_url, model="openai/gpt-6-luna", executor="batch")
        ran(workspace, rows_of(shape, 30, seed=1), spec)
        before = service.ledger.tokens

        rows = rows_of(shape, shape.rows, seed=2)
        quoted = quote(workspace, open_source(rows), spec)
        run = ran(workspace, rows, spec)

        billed = service.ledger.tokens - before
    tokens, bill = bill_of(workspace, run, quoted.tariff.tiers["batch"])
    assert tokens == billed
    assert dollars(quoted, "batch") == pytest.approx(bill, rel=NEAR)


@SHAPES
def test_a_batch_at_anthropic_is_billed_as_it_was_quoted_once_an_earlier_run_has_taught_its_tokens(
    shape: Shape, workspace: Workspace
) -> None:
    with FakeAnthropic(answer=answering(shape, as_claude_counts)) as service:
        spec = spec_of(
            shape, service.base_url, model="anthropic/claude-haiku-5-5", executor="batch"
        )
        ran(workspace, rows_of(shape, 30, seed=1), spec)
        before = service.ledger.tokens

        rows = rows_of(shape, shape.rows, seed=2)
        quoted = quote(workspace, open_source(rows), spec)
        run = ran(workspace, rows, spec)

        billed = service.ledger.tokens - before
    tokens, bill = bill_of(workspace, run, quoted.tariff.tiers["batch"])
    assert tokens == billed
    assert dollars(quoted, "batch") == pytest.approx(bill, rel=NEAR)
    assert "earlier requests were charged" in quoted.measured.how


@SHAPES
def test_calls_in_real_time_are_billed_as_they_were_quoted(
    shape: Shape, workspace: Workspace
) -> None:
    with FakeOpenAI(answer=answering(shape, as_openai_counts)) as service:
        spec = spec_of(shape, service.base_url, model="openai/gpt-6-luna", executor="online")
        ran(workspace, rows_of(shape, 30, seed=1), spec)
        before = len(service.calls.ledger.executions)

        rows = rows_of(shape, shape.rows, seed=2)
        quoted = quote(workspace, open_source(rows), spec)
        ran(workspace, rows, spec)

        billed = service.calls.ledger.executions[before:]
    rates = quoted.tariff.tiers["standard"]
    bill = sum(cost(Usage(tokens_in=e.tokens_in, tokens_out=e.tokens_out), rates) for e in billed)
    assert len(billed) == shape.rows
    assert dollars(quoted, "standard") == pytest.approx(bill, rel=NEAR)


def test_without_any_earlier_run_the_tokens_of_a_known_vocabulary_are_exact(
    workspace: Workspace,
) -> None:
    rows = rows_of(TICKETS, 100, seed=3)
    with FakeOpenAI(answer=answering(TICKETS, as_openai_counts)) as service:
        spec = spec_of(TICKETS, service.base_url, model="openai/gpt-6-luna", executor="batch")

        quoted = quote(workspace, open_source(rows), spec)
        usage = workspace.progress(ran(workspace, rows, spec)).usage

    assert round(quoted.measured.prompt * len(rows)) == usage.tokens_in
    assert quoted.out.source == "the most they may have: 4,096"
