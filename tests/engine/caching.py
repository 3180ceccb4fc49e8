"""A service with a prompt cache, and runs whose prompts share long heads."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from anybatch.core.model import Batch, Row, Run, Spec, Usage
from anybatch.core.price import cost
from anybatch.datasets.source import open_source
from anybatch.effects import Probe, unwatched
from anybatch.engine.events import Progress
from anybatch.engine.tariffs import tariff_of
from anybatch.engine.workspace import Workspace
from anybatch.processes import this_process
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import Crash, FakeAnthropic
from anybatch.testing.clock import START

from .harness import LEASE, LIFE_S, HurriedClock

MODEL = "claude-opus-5"
"""Keeps heads from 512 tokens on."""
GUIDE = " ".join(f"Rule {n}: sort with care." for n in range(200))
"""About 1,200 tokens, as the fake counts them."""
CONTEXTS = 5


def tickets(count: int) -> list[Row]:
    return [{"text": f"ticket {n:05} of today"} for n in range(count)]


def questions(count: int, contexts: int = CONTEXTS) -> list[Row]:
    """Questions on long texts, in turn: those on one text are never next to each other."""
    return [{"context": context(n % contexts), "text": f"question {n:05}"} for n in range(count)]


def context(number: int) -> str:
    return " ".join(f"Text {number} says {n}." for n in range(250))


def tickets_spec(**changes: Any) -> Spec:
    asked: dict[str, Any] = {
        "provider": "anthropic",
        "model": MODEL,
        "api": "anthropic.messages",
        "system": GUIDE,
        "prompt": "Sort this: {{ text }}",
        "parameters": {"max_tokens": 20},
        "executor": "batch",
        "tail": "batch",
    }
    return Spec(**{**asked, **changes})


def questions_spec(**changes: Any) -> Spec:
    prompt = "Read this:\n{{ context }}\nNow answer: {{ text }}"
    return tickets_spec(**{"system": None, "prompt": prompt, **changes})


class Skipping(HurriedClock):
    """Time that can be skipped."""

    skipped = timedelta()

    def now(self) -> datetime:
        return super().now() + self.skipped

    def skip(self, span: timedelta) -> None:
        self.skipped += span


@dataclass(kw_only=True)
class Caches:
    """What outlives a process: a store, a service with a cache, and the time."""

    root: Path
    service: FakeAnthropic
    clock: "Skipping" = field(default_factory=lambda: Skipping())
    lives: int = 0

    @property
    def settings(self) -> Settings:
        at = {"base_url": self.service.base_url, "key_env": ""}
        return Settings(
            home=self.root / "store",
            providers={"anthropic": at},
            lease=LEASE,
        )

    def open(self, probe: Probe = unwatched) -> Workspace:
        self.lives += 1
        return Workspace(
            settings=self.settings,
            store=SqliteStore(self.root / "store", probe=probe),
            clock=self.clock,
            owner=f"{this_process()}.{self.lives}",
            probe=probe,
            jitter=lambda: 0.0,
        )

    def plan(self, rows: Sequence[Row], spec: Spec, **asked: Any) -> Run:
        workspace = self.open()
        with closing(workspace.store):
            return workspace.plan(open_source(list(rows)), spec, **asked).run

    def live(self, run: Run, probe: Probe = unwatched) -> Run:
        workspace = self.open(probe)
        with closing(workspace.store):
            return asyncio.run(self._fulfilled(workspace, run))

    def die(self, run: Run, probe: Any) -> bool:
        """One process that dies where `probe` says; False if it came to its end before."""
        with suppress(Crash):
            self.live(run, probe)
        return bool(probe.crashed)

    def live_until(self, run: Run, done: int) -> None:
        """One process that is stopped once so many rows have their results."""
        workspace, stop = self.open(), asyncio.Event()

        def look(progress: Progress) -> None:
            if progress.done >= done:
                stop.set()

        with closing(workspace.store):
            asyncio.run(self._fulfilled(workspace, run, stop=stop, on_progress=look))

    async def _fulfilled(self, workspace: Workspace, run: Run, **given: Any) -> Run:
        async with asyncio.timeout(LIFE_S):
            return await workspace.fulfil(run, **{"stop": asyncio.Event(), **given})

    def ledgers(self) -> tuple[Usage, ...]:
        """What each batch is billed, in the order they came."""
        return tuple(batch.usage for batch in self.service.ledger.batches)

    def batches(self, run: Run) -> list[Batch]:
        store = SqliteStore(self.root / "store")
        with closing(store):
            return store.batches(run.id)

    def bill(self, usage: Usage, tier: str = "batch") -> float:
        """What the service asks for this; no prompt is so long that it costs more."""
        workspace = self.open()
        with closing(workspace.store):
            provider = workspace.provider_of(tickets_spec())
            tariff = tariff_of(self.settings, provider, MODEL, now=START)
        return cost(usage, tariff.tiers[tier])  # type: ignore[index]


def flat(usage: Usage) -> Usage:
    """The same tokens where nothing was kept or read."""
    return Usage(tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)


def read_share(usage: Usage) -> float:
    """Of the heads that went out marked, those that were read."""
    return usage.cached / max(1, usage.cached + usage.written + usage.kept)


@contextmanager
def caches(root: Path, **given: Any) -> Iterator[Caches]:
    root.mkdir(parents=True, exist_ok=True)
    clock = Skipping()  # of both: what is kept is kept for so long
    with FakeAnthropic(clock=clock, answer=lambda call: "bug", **given) as service:
        yield Caches(root=root, service=service, clock=clock)
