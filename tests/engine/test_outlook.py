"""What earlier runs teach: how long answers are, and what a token is."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Row, Run, Spec
from anybatch.core.tokens import Counted
from anybatch.datasets.source import open_source
from anybatch.engine.measure import Out
from anybatch.engine.outlook import learned_of, out_of
from anybatch.engine.sameness import parts_of
from anybatch.engine.sharing import Sharing
from anybatch.engine.workspace import Workspace
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import Answer, Call, FakeEndpoint, Spoiled, Status

from .harness import HurriedClock

AROUND = 7
"""Tokens around the one message of a prompt."""
LABELS = {
    "type": "object",
    "properties": {"label": {"enum": ["bug", "feature request"]}},
    "required": ["label"],
}


class ByWords:
    """A word is a token."""

    counted = Counted("counted by words", 0.3, 0.1)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    settings = Settings(home=tmp_path / "store")
    with closing(SqliteStore(settings.home)) as store:
        yield Workspace(settings=settings, store=store, clock=HurriedClock())


def spec(base_url: str = "http://127.0.0.1:9/v1", **changes: Any) -> Spec:
    asked: dict[str, Any] = {"provider": "lab", "model": "m", "api": "openai.chat"}
    return Spec(**{**asked, "base_url": base_url, "prompt": "Say {{ text }}", **changes})


def rows(count: int) -> list[Row]:
    """The first half are short, the others long."""
    return [{"text": "word " * (1 if n < count / 2 else 21)} for n in range(count)]


def ran(workspace: Workspace, data: list[Row], asked: Spec) -> Run:
    run = workspace.plan(open_source(data), asked, sharing=Sharing(dedupe=False)).run
    return asyncio.run(workspace.fulfil(run, stop=asyncio.Event()))


def counting(factor: float, out: int) -> Callable[[Call], Answer]:
    """A model that charges so much for each word, and answers at so many tokens."""

    def answer(call: Call) -> Answer:
        words = len(call.prompt.split()) + AROUND
        return Answer('{"label": "bug"}', tokens_in=round(words * factor), tokens_out=out)

    return answer


def out(workspace: Workspace, asked: Spec, *, cap: float | None = None) -> Out:
    provider = workspace.provider_of(asked)
    completed = workspace.completed(asked, provider)
    return out_of(workspace.store, completed, parts_of(completed, ""), ByWords(), cap=cap)


# --- how long answers are ---


def test_answers_are_as_long_as_those_to_the_same_prompt_were(workspace: Workspace) -> None:
    with FakeEndpoint(answer=counting(1, 40)) as endpoint:
        ran(workspace, rows(12), spec(endpoint.base_url))
        again, other = (
            out(workspace, spec(endpoint.base_url, prompt=prompt))
            for prompt in ("Say {{ text }}", "Tell {{ text }}")
        )

    assert again == Out(40, 120, "as 12 answers to the same prompt were")
    assert other.source == "nobody knows; a short text is assumed"


def test_what_is_tried_again_is_an_answer_each_time(workspace: Workspace) -> None:
    """Half of the rows are truncated at first, and asked again with twice the budget."""
    asked = spec(parameters={"max_tokens": 30})

    def script(call: Call) -> Spoiled | None:
        return Spoiled("truncated") if call.json["max_tokens"] == 30 and call.number % 2 else None

    with FakeEndpoint(answer=counting(1, 20), script=script) as endpoint:
        asked = spec(endpoint.base_url, parameters={"max_tokens": 30})
        run = ran(workspace, rows(12), asked)
        executed = endpoint.ledger.executions
        found = out(workspace, asked)

    assert workspace.progress(run).counts == {"succeeded": 12}
    assert len(executed) == 18
    mean = sum(one.tokens_out for one in executed) / 18
    assert found == Out(pytest.approx(mean), 30, "as 18 answers to the same prompt were")


def test_what_was_never_answered_shortens_no_answer(workspace: Workspace) -> None:
    def script(call: Call) -> Status | None:
        return Status(400, message="no") if "word word" in call.prompt else None

    with FakeEndpoint(answer=counting(1, 40), script=script) as endpoint:
        run = ran(workspace, rows(24), spec(endpoint.base_url))
        found = out(workspace, spec(endpoint.base_url))

    assert workspace.progress(run).counts == {"succeeded": 12, "bad_request": 12}
    assert found == Out(40, 120, "as 12 answers to the same prompt were")


def test_a_schema_of_words_says_how_long_its_longest_answer_is(workspace: Workspace) -> None:
    found = out(workspace, spec(output_schema=LABELS, parameters={"max_tokens": 500}))

    assert (found.expected, found.most) == (15, 500)
    assert found.source == "as long as the schema lets them be"


@pytest.mark.parametrize(
    "inner", [{"type": "string"}, {"type": "array"}, {"anyOf": [{"type": "null"}]}, {}]
)
def test_a_schema_with_a_text_in_it_says_nothing(workspace: Workspace, inner: Any) -> None:
    schema = {"type": "object", "properties": {"why": inner}}

    found = out(workspace, spec(output_schema=schema, parameters={"max_tokens": 500}))

    assert found == Out(500, 500, "the most they may have: 500")


def test_ready_made_requests_say_how_long_answers_may_be(workspace: Workspace) -> None:
    found = out(workspace, spec(prompt=None), cap=20.0)

    assert found == Out(20, 20, "the most they may have: 20")


def test_embeddings_have_no_answer_to_pay_for(workspace: Workspace) -> None:
    assert out(workspace, spec(api="openai.embeddings")).most == 0


# --- what a token is ---


def test_a_factor_is_learned_from_what_each_request_was_charged(workspace: Workspace) -> None:
    with FakeEndpoint(answer=counting(1.4, 1)) as endpoint:
        ran(workspace, rows(60), spec(endpoint.base_url))

    taught = learned_of(workspace.store, spec(prompt="another"), ByWords())

    assert taught is not None
    assert taught.factor == pytest.approx(1.4, rel=0.02)
    assert (taught.requests, taught.band) == (60, 0.1)


def test_requests_that_were_not_charged_teach_nothing(workspace: Workspace) -> None:
    """The short half is refused: a mean over all would make a token of the others cheaper."""

    def script(call: Call) -> Status | None:
        return Status(400, message="no") if "word word" not in call.prompt else None

    with FakeEndpoint(answer=counting(1.4, 1), script=script) as endpoint:
        run = ran(workspace, rows(60), spec(endpoint.base_url))

    taught = learned_of(workspace.store, spec(), ByWords())

    assert workspace.progress(run).counts["bad_request"] == 30
    assert taught is not None
    assert taught.factor == pytest.approx(1.4, rel=0.02)
    assert taught.requests == 30


def test_a_request_that_was_charged_twice_counts_twice(workspace: Workspace) -> None:
    def script(call: Call) -> Spoiled | None:
        return Spoiled("truncated") if call.json["max_tokens"] == 30 else None

    with FakeEndpoint(answer=counting(1.4, 1), script=script) as endpoint:
        ran(workspace, rows(30), spec(endpoint.base_url, parameters={"max_tokens": 30}))

    taught = learned_of(workspace.store, spec(), ByWords())

    assert taught is not None
    assert taught.factor == pytest.approx(1.4, rel=0.02)
    assert taught.requests == 60


@pytest.mark.parametrize("other", [{"model": "n"}, {"provider": "shop"}])
def test_another_model_teaches_nothing(workspace: Workspace, other: dict[str, str]) -> None:
    with FakeEndpoint(answer=counting(1.4, 1)) as endpoint:
        ran(workspace, rows(60), spec(endpoint.base_url))

    assert learned_of(workspace.store, spec(**other), ByWords()) is None


def test_a_run_that_is_damaged_is_passed_over(workspace: Workspace) -> None:
    with FakeEndpoint(answer=counting(1.4, 1)) as endpoint:
        ran(workspace, rows(60), spec(endpoint.base_url))
        damaged = ran(workspace, rows(62), spec(endpoint.base_url))
    for segment in workspace.store.folder(damaged.id).glob("*-*.jsonl"):
        segment.write_bytes(b"x" * segment.stat().st_size)

    taught = learned_of(workspace.store, spec(), ByWords())

    assert taught is not None
    assert taught.requests == 60
