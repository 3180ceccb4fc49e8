"""Lives of one program over one store: each ends by itself or by a crash; the next one goes on.

What a dead process leaves behind is what the next one finds: the store's folder, the service and
the time are the only things two lives share.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from anybatch.core.model import Request, Result, Row, Run, Spec
from anybatch.core.plan import Limits
from anybatch.datasets.source import Source, open_source
from anybatch.effects import Probe, effect, unwatched
from anybatch.engine.owners import this_process
from anybatch.engine.workspace import Pace, Workspace
from anybatch.executors.calls import answer_all
from anybatch.executors.executor import CallExecutor, Read, Record
from anybatch.providers.flow import Reply
from anybatch.providers.provider import Provider
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import FakeEndpoint
from anybatch.testing.clock import START

CALLS = 2
"""Calls in flight at once, of each batch."""
LIMITS = Limits(max_requests=4)
TOPICS = ("ships", "birds", "stars")


def rows(count: int = 12) -> list[Row]:
    """Rows of three topics in turn, so that grouping by topic changes their order."""
    return [{"topic": TOPICS[n % 3], "text": f"row {n:03}"} for n in range(count)]


def spec(base_url: str | None = None, **changes: Any) -> Spec:
    asked = Spec(
        provider="fake",
        model="fake-1",
        api="openai.chat",
        base_url=base_url or "http://127.0.0.1:9/v1",
        prompt="{{ topic }}: {{ text }}",
    )
    return msgspec.structs.replace(asked, **changes)


def prompt_of(row: Row) -> str:
    return f"{row['topic']}: {row['text']}"


class HurriedClock:
    """Time that passes so many times as fast, so that pauses cost a test nothing."""

    def __init__(self, speed: float = 200.0) -> None:
        self._speed = speed
        self._start = time.monotonic()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._start) * self._speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)


@dataclass(frozen=True, kw_only=True)
class SmallBatches(Workspace):
    """A workspace whose providers take few requests a batch and few calls at once."""

    open_executor: Callable[[Probe], CallExecutor] | None = None
    """What answers instead of the provider's own executor."""
    limits: Limits = LIMITS
    calls: int = CALLS
    groups: bool | None = None

    def provider_of(self, spec: Spec, pace: Pace = Pace()) -> Provider:
        found = super().provider_of(spec, pace)
        groups = found.groups_prefixes if self.groups is None else self.groups
        return replace(
            found, limits=self.limits, concurrency=self.calls, groups_prefixes=groups
        )

    def executor_for(self, provider: Provider, spec: Spec) -> CallExecutor:
        if self.open_executor is None:
            return super().executor_for(provider, spec)
        return self.open_executor(self.probe)


@dataclass
class Model:
    """A model in this process that answers at once and counts, as a service's ledger does."""

    asked: list[bytes] = field(default_factory=list)

    @property
    def executions(self) -> int:
        return len(self.asked)

    @property
    def repeated(self) -> int:
        return len(self.asked) - len(set(self.asked))

    def open(self, probe: Probe) -> CallExecutor:
        return _InProcess(self, probe)

    def reply(self, request: Request) -> Reply:
        self.asked.append(request.body)
        said = msgspec.json.decode(request.body)["messages"][-1]["content"]
        choice = {"message": {"content": f"echo: {said}"}, "finish_reason": "stop"}
        answer = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        return Reply(status=200, body=msgspec.json.encode(answer))


class _InProcess:
    """As `Embedded`, with its effects, but for the model."""

    waiting: str | None = None
    window = CALLS

    def __init__(self, model: Model, probe: Probe) -> None:
        self._model = model
        self._probe = probe

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        async def ask(request: Request) -> Result:
            with effect("model.send", self._probe):
                reply = self._model.reply(request)
            await asyncio.sleep(0)
            with effect("model.receive", self._probe):
                return read(request, reply)

        await answer_all(requests, ask=ask, record=record, calls=self.window, stop=stop)

    async def close(self) -> None:
        pass


@dataclass(kw_only=True)
class World:
    """What outlives a process."""

    root: Path
    spec: Spec
    rows: Sequence[Row] = field(default_factory=rows)
    model: Model | None = None
    endpoint: FakeEndpoint | None = None
    clock: HurriedClock = field(default_factory=HurriedClock)
    new_store: Callable[..., SqliteStore] = SqliteStore
    environment: dict[str, str] = field(default_factory=dict)
    expected_repeats: int = 0
    """Calls that are made again on purpose: later waves, and tries after an error."""
    lives: int = 0

    @property
    def out(self) -> Path:
        return self.root / "out" / "answers.jsonl"

    def source(self) -> Source:
        return open_source(list(self.rows))

    def open(self, probe: Probe = unwatched) -> SmallBatches:
        """The workspace of a new process. Every other process takes it for dead.

        The name has our pid, but no process with that pid ever started then.
        """
        self.lives += 1
        self.out.parent.mkdir(parents=True, exist_ok=True)
        settings = Settings(
            home=self.root / "store", environment=self.environment, lease=timedelta(hours=2)
        )
        return SmallBatches(
            settings=settings,
            store=self.new_store(settings.home, probe=probe),
            clock=self.clock,
            owner=f"{this_process()}.{self.lives}",
            probe=probe,
            jitter=lambda: 0.0,
            open_executor=None if self.model is None else self.model.open,
        )

    def live(self, probe: Probe = unwatched) -> Run:
        """One process from its start to its end: what typing the command does."""
        workspace = self.open(probe)
        with closing(workspace.store):
            planned = workspace.plan(self.source(), self.spec)
            run = workspace.reopen(planned.run)
            run = asyncio.run(workspace.fulfil(run, stop=asyncio.Event()))
            workspace.deliver(run, self.out, force=True, raw=False)
            return run

    @property
    def executions(self) -> int:
        if self.model is not None:
            return self.model.executions
        assert self.endpoint is not None
        return len(self.endpoint.ledger.executions)

    @property
    def repeated(self) -> int:
        if self.model is not None:
            return self.model.repeated
        assert self.endpoint is not None
        return self.endpoint.ledger.repeated
