"""OpenAI's cache: who shares a head goes where it is kept, and nothing is kept at a premium."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types.chat import completion_create_params as judge

from anybatch.core.model import Json, Row, Spec
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Workspace
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import FakeOpenAI
from anybatch.testing.endpoint.call import Call

from .caching import GUIDE, questions, tickets
from .harness import HurriedClock

DEAR, CHEAP = "gpt-5.6-luna", "gpt-5-mini"
"""Models that charge a premium for what is kept, and that do not."""
LONG = [{"text": f"{n} " + f"one of a kind {n} " * 400} for n in range(20)]


class Seen:
    """A service, and the bodies that it was given in the order of their rows."""

    def __init__(self, root: Path) -> None:
        self.bodies: list[Json] = []
        clock = HurriedClock()
        self.service = FakeOpenAI(clock=clock, answer=self._answer, shuffle=False)
        self._root, self._clock = root, clock

    def _answer(self, call: Call) -> str:
        self.bodies.append(call.json)
        return "bug"

    def run(self, rows: Sequence[Row], spec: Spec) -> list[Json]:
        at = {"base_url": self.service.base_url, "key_env": ""}
        settings = Settings(home=self._root, providers={"openai": at})
        workspace = Workspace(settings=settings, store=SqliteStore(self._root), clock=self._clock)
        with closing(workspace.store):
            run = workspace.plan(open_source(list(rows)), spec, canary=0).run
            run = asyncio.run(workspace.fulfil(run, stop=asyncio.Event()))
            assert run.state == "ended"
        return self.bodies


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    found = Seen(tmp_path)
    with found.service:
        yield found


def spec(model: str, **changes: Any) -> Spec:
    asked: dict[str, Any] = {
        "provider": "openai",
        "model": model,
        "api": "openai.chat",
        "system": GUIDE,
        "prompt": "{{ text }}",
        "executor": "batch",
        "tail": "batch",
    }
    return Spec(**{**asked, **changes})


def test_who_shares_a_head_has_one_key_and_comes_together(seen: Seen) -> None:
    of_texts = spec(CHEAP, system=None, prompt="{{ context }}\n{{ text }}")

    bodies = seen.run(questions(60), of_texts)

    keys = [body["prompt_cache_key"] for body in bodies]
    assert len(set(keys)) == 5
    assert sum(one != other for one, other in pairwise(keys)) == 4


@pytest.mark.parametrize("rows", [tickets(30), LONG], ids=["one head", "no head"])
def test_in_a_batch_nothing_is_kept_at_a_premium(rows: list[Row], seen: Seen) -> None:
    bodies = seen.run(rows, spec(DEAR, system=GUIDE if rows is not LONG else None))

    assert {msgspec.json.encode(body["prompt_cache_options"]) for body in bodies} == {
        b'{"mode":"explicit"}'
    }
    assert not any(b"prompt_cache_breakpoint" in msgspec.json.encode(body) for body in bodies)


def test_in_real_time_only_the_head_is_kept_at_a_premium(seen: Seen) -> None:
    bodies = seen.run(tickets(300), spec(DEAR, executor="online"))

    marked = [b"prompt_cache_breakpoint" in msgspec.json.encode(body) for body in bodies]
    # The fake keeps nothing, as is seen of the first: so no other asks for it.
    assert marked == [True] + [False] * 299
    assert all(body["prompt_cache_options"] == {"mode": "explicit"} for body in bodies)


@pytest.mark.parametrize("rows", [tickets(30)])
def test_where_nothing_is_known_to_pay_nothing_is_said(rows: list[Row], seen: Seen) -> None:
    bodies = seen.run(rows, spec(CHEAP, system="Sort."))

    assert not any(name.startswith("prompt_cache") for body in bodies for name in body)


def test_the_official_sdk_knows_what_we_say() -> None:
    assert {"prompt_cache_key", "prompt_cache_options"} <= (
        judge.CompletionCreateParamsNonStreaming.__annotations__.keys()
        | judge.CompletionCreateParamsBase.__annotations__.keys()
    )
    assert "mode" in judge.PromptCacheOptions.__annotations__
