"""Lives of one program over one store: each ends by itself or by a crash; the next one goes on.

What a dead process leaves behind is what the next one finds: the store's folder, the service and
the time are the only things two lives share.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from anybatch.clock import Clock
from anybatch.core.model import Request, Result, Row, Run, Spec, Terms
from anybatch.core.plan import Limits
from anybatch.core.terms import NO_TERMS
from anybatch.datasets.source import Source, open_source
from anybatch.effects import Probe, effect, unwatched
from anybatch.engine.choosing import plan_with
from anybatch.engine.workspace import Pace, Workspace
from anybatch.executors.calls import answer_all
from anybatch.executors.executor import CallExecutor, Read, Record
from anybatch.processes import this_process
from anybatch.providers.flow import Reply
from anybatch.providers.provider import Provider
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import (
    Crash,
    CrashAt,
    FakeAnthropic,
    FakeEndpoint,
    FakeGemini,
    FakeOpenAI,
    FakeVertex,
)
from anybatch.testing.clock import START

LIFE_S = 120.0
"""A process that is not over by then never will be."""
CALLS = 2
"""Calls in flight at once, of each batch."""
LIMITS = Limits(max_requests=4)
NO_PACE = Pace()
LEASE = timedelta(hours=2)
TOPICS = ("ships", "birds", "stars")


def rows(count: int = 12) -> list[Row]:
    """Rows of three topics in turn, so that grouping by topic changes their order."""
    return [{"topic": TOPICS[n % 3], "text": f"row {n:03}"} for n in range(count)]


NOWHERE = "http://127.0.0.1:9/v1"
"""For a spec that is answered by a model in this process."""


def spec(base_url: str | None = NOWHERE, **changes: Any) -> Spec:
    asked = Spec(
        provider="fake",
        model="fake-1",
        api="openai.chat",
        base_url=base_url,
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


class Askew:
    """A clock that is off by so much."""

    def __init__(self, clock: Clock, off: timedelta) -> None:
        self._clock = clock
        self._off = off
        self.monotonic = clock.monotonic
        self.sleep = clock.sleep

    def now(self) -> datetime:
        return self._clock.now() + self._off


@dataclass(frozen=True, kw_only=True)
class SmallBatches(Workspace):
    """A workspace whose providers take few requests a batch and few calls at once."""

    open_executor: Callable[[Probe], CallExecutor] | None = None
    """What answers instead of the provider's own executor."""
    limits: Limits = LIMITS
    calls: int = CALLS
    groups: bool | None = None
    within: bool = False
    """Whether small batches go without an upload, where they can."""

    def provider_of(self, spec: Spec, pace: Pace = NO_PACE) -> Provider:
        found = super().provider_of(spec, pace)
        groups = found.groups_prefixes if self.groups is None else self.groups
        batch = None if found.batch is None else replace(found.batch, limits=self.limits)
        if batch is not None and not self.within:
            batch = replace(batch, within=None)
        return replace(
            found,
            limits=self.limits,
            concurrency=self.calls,
            groups_prefixes=groups,
            batch=batch,
        )

    def executor_for(self, provider: Provider, spec: Spec) -> CallExecutor:
        if self.open_executor is None:
            return super().executor_for(provider, spec)
        return self.open_executor(self.probe)


@dataclass
class Model:
    """A model in this process that counts, as a service's ledger does."""

    asked: list[bytes] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """What its answers wait for; None: nothing."""
    voice: str = "echo"

    @property
    def executions(self) -> int:
        return len(self.asked)

    @property
    def repeated(self) -> int:
        return len(self.asked) - len(set(self.asked))

    def use(self, file: Path) -> None:
        """Take the rows from `file` instead."""
        self._file = file

    def open(self, probe: Probe) -> CallExecutor:
        return _InProcess(self, probe)

    def reply(self, request: Request) -> Reply:
        self.asked.append(request.body)
        said = msgspec.json.decode(request.body)["messages"][-1]["content"]
        choice = {"message": {"content": f"{self.voice}: {said}"}, "finish_reason": "stop"}
        answer = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        return Reply(status=200, body=msgspec.json.encode(answer))


class _InProcess:
    """As `Embedded`, with its effects, but for the model."""

    waiting: str | None = None
    window = CALLS
    backlog = 0
    drains = False

    def __init__(self, model: Model, probe: Probe) -> None:
        self._model = model
        self._probe = probe

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        async def ask(request: Request) -> Result:
            with effect("model.send", self._probe):
                reply = self._model.reply(request)
            await (asyncio.sleep(0) if self._model.gate is None else self._model.gate.wait())
            with effect("model.receive", self._probe):
                return read(request, reply)

        await answer_all(requests, ask=ask, record=record, calls=self.window, stop=stop)

    def takes(self, requests: int, tokens: int) -> float:
        return 0.0

    async def close(self) -> None:
        pass


@dataclass(kw_only=True)
class World:
    """What outlives a process."""

    root: Path
    spec: Spec
    rows: Sequence[Row] = field(default_factory=rows)
    in_memory: bool = False
    """Whether the rows are handed over, or come from a file."""
    says: Callable[[Row], str] | None = lambda row: f"echo: {prompt_of(row)}"
    """What a row is answered; None: what a real model says."""
    model: Model | None = None
    endpoint: FakeEndpoint | None = None
    """What answers, where no model does."""
    service: FakeOpenAI | FakeAnthropic | FakeGemini | FakeVertex | None = None
    """A provider that takes batches."""
    groups: bool = False
    within: bool = False
    """Whether small batches go without an upload, where they can."""
    limits: Limits = LIMITS
    calls: int = CALLS
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the user says that models cost."""
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the user says of providers."""
    terms: Terms = NO_TERMS
    pace: Pace = NO_PACE
    environment: dict[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=HurriedClock)
    search: timedelta = timedelta(minutes=3)
    """So long a submission is looked for whose answer was lost."""
    deadline: timedelta = timedelta(minutes=10)
    """Of a call."""
    new_store: Callable[..., SqliteStore] = SqliteStore
    owner: str = field(default_factory=this_process)
    wishes: dict[str, Any] = field(default_factory=dict)
    """How its run is planned, beyond what is asked."""
    canary: int | None = None
    """So many rows go first; None: as is usual."""
    lives: int = 0

    def __post_init__(self) -> None:
        self._opened: list[SqliteStore] = []
        self.out.parent.mkdir(parents=True)
        self._file = self.root / "rows.jsonl"
        self._file.write_bytes(msgspec.json.Encoder().encode_lines(self.rows))

    @property
    def out(self) -> Path:
        return self.root / "out" / "answers.jsonl"

    @property
    def executions(self) -> int:
        return self._counted.executions

    @property
    def repeated(self) -> int:
        return self._counted.repeated

    @property
    def _counted(self) -> "Model | Bill":
        endpoint = self.service.calls if self.service is not None else self.endpoint
        return Bill(endpoint) if endpoint is not None else self.model or Model()

    def source(self) -> Source:
        return open_source(list(self.rows) if self.in_memory else self._file)

    def use(self, file: Path) -> None:
        """Take the rows from `file` instead."""
        self._file = file

    def open(self, probe: Probe = unwatched) -> SmallBatches:
        """The workspace of a new process, which takes all that were before it for dead.

        Their names have our pid, but no process with that pid started when they say.
        """
        self.lives += 1
        settings = Settings(
            home=self.root / "store",
            lease=LEASE,
            environment=self.environment,
            prices=self.prices,
            providers=self.providers,
            deadline=self.deadline,
            search=self.search,
        )
        store = self.new_store(settings.home, probe=probe)
        self._opened.append(store)
        return SmallBatches(
            settings=settings,
            store=store,
            clock=self.clock,
            owner=f"{self.owner}.{self.lives}",
            probe=probe,
            jitter=lambda: 0.0,
            open_executor=None if self.model is None else self.model.open,
            groups=self.groups,
            within=self.within,
            limits=self.limits,
            calls=self.calls,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        shutil.rmtree(self.root)

    def close(self) -> None:
        """Close what the processes that are no more had open."""
        while self._opened:
            self._opened.pop().close()

    def live(self, probe: Probe = unwatched, *, cancel: bool = False) -> Run:
        """One process from its start to its end: what typing the command does."""
        with closing(self):
            workspace = self.open(probe)
            wishes = {"canary": self.canary, **self.wishes}
            planned = plan_with(
                workspace, self.source(), self.spec, self.terms, pace=self.pace, **wishes
            )
            run = workspace.reopen(planned.run)
            if cancel:
                run = workspace.ask_to_cancel(run)
            run = asyncio.run(self._fulfilled(workspace, run))
            workspace.deliver(run, self.out, force=True, raw=False)
            return run

    async def _fulfilled(self, workspace: Workspace, run: Run) -> Run:
        async with asyncio.timeout(LIFE_S):
            return await workspace.fulfil(run, stop=asyncio.Event(), pace=self.pace)

    def die(self, probe: CrashAt, *, cancel: bool = False) -> bool:
        """One process that dies where `probe` says; False if it came to its end before."""
        with suppress(Crash):
            self.live(probe, cancel=cancel)
        return probe.crashed


@dataclass(frozen=True, slots=True)
class Bill:
    """What an endpoint's ledger says, in the words of `Model`."""

    endpoint: FakeEndpoint

    @property
    def executions(self) -> int:
        return len(self.endpoint.ledger.executions)

    @property
    def repeated(self) -> int:
        return self.endpoint.ledger.repeated


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds, which other tasks and threads see to."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


NewWorld = Callable[..., World]
