"""One executor for each place where requests are answered, however many runs have them answered.

So its connections are shared, and its limits hold for all runs together, in whichever api they ask.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from ..clock import Clock
from ..core.model import Api, Request, Result, Spec
from ..engine.answers import Reader, ServedReader
from ..engine.intake import Intake
from ..engine.readymade import DeclinedRun
from ..engine.workspace import Workspace
from ..executors.batch import BatchExecutor
from ..executors.executor import CallExecutor, Hold, Lendable, Read, Record
from ..executors.limiter import Limiter
from ..executors.parties import ALONE, Party
from ..providers.flow import Reply
from ..providers.local import LOCAL
from ..providers.provider import Provider
from .outages import LOOKS_AT_ONCE, Asking, Heard, Outage, Rests
from .tokens import Gate

T = TypeVar("T")


class _Lent:
    """An executor that others use as well: who is done with it does not close it.

    While the gate of its borrower is closed nothing new is sent, and what is in flight is waited
    for.
    """

    def __init__(
        self,
        executor: CallExecutor,
        gate: Gate,
        *,
        mixed: bool,
        outage: Outage | None = None,
        clock: Clock,
    ) -> None:
        """`mixed`: each request names a model of its own. `outage`: of a place that may be away."""
        self._executor = executor
        self._gate = gate
        self._mixed = mixed
        self._outage = outage
        self._heard = Heard()
        self._clock = clock
        self.window = executor.window
        self.backlog = executor.backlog
        self.drains = executor.drains

    @property
    def waiting(self) -> str | None:
        away = None if self._outage is None else self._outage.why
        return self._gate.why or away or self._executor.waiting

    def takes(self, requests: int, tokens: int) -> float:
        return self._executor.takes(requests, tokens)

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        """What a gate that closes has kept back is left to whoever takes up the batch next."""
        if self._mixed:
            read = _each_by_itself(read)
        if self._outage is not None:
            await self._answer_at(self._outage, requests, read=read, record=record, stop=stop)
        elif await self._gate.passed(stop=stop):
            async with self._gate.closing(stop) as either:
                await self._executor.answer(requests, read=read, record=record, stop=either)

    async def _answer_at(
        self,
        outage: Outage,
        requests: Iterator[Request],
        *,
        read: Read,
        record: Record,
        stop: asyncio.Event,
    ) -> None:
        """While nobody answers there it rests, but for a few requests now and then."""
        asking = Asking(
            outage, requests, read=read, record=record, heard=self._heard, at=self._clock
        )
        while not asking.is_over:
            if not await self._gate.passed(stop=stop) or not await outage.passed(stop):
                return
            async with self._gate.closing(stop) as either, outage.sending(either) as looks:
                await self._executor.answer(
                    asking.requests(most=LOOKS_AT_ONCE if looks else None),
                    read=asking.read,
                    record=asking.record,
                    stop=either,
                )
            if stop.is_set() or self._gate.why is not None:
                return
            await asking.settle()

    async def close(self) -> None:
        """It stays open for the others."""


def _each_by_itself(read: Read) -> Read:
    """`read` for requests of several models: that one is not there is no reason to stop the others,
    as it would be if all of them asked for it."""

    def read_apart(request: Request, reply: Reply) -> Result:
        result = read(request, reply)
        if result.outcome != "not_found_model":
            return result
        return replace(result, outcome="bad_request")

    return read_apart


class Shared:
    """Executors and limits by what they are for, made when they are first wanted."""

    def __init__(self) -> None:
        # Guards both: executors are opened in threads, and two must not load one model twice.
        self._lock = threading.RLock()
        self._executors: dict[bytes, CallExecutor] = {}
        self._limiters: dict[bytes, Limiter] = {}
        self._outages: dict[bytes, Outage] = {}

    def executor(self, key: bytes, new: Callable[[], CallExecutor]) -> CallExecutor:
        return self._kept(self._executors, key, new)

    def limiter(self, key: bytes, new: Callable[[], Limiter]) -> Limiter:
        return self._kept(self._limiters, key, new)

    def outage(self, key: bytes, new: Callable[[], Outage]) -> Outage:
        return self._kept(self._outages, key, new)

    def _kept(self, there: dict[bytes, T], key: bytes, new: Callable[[], T]) -> T:
        with self._lock:
            if key not in there:
                there[key] = new()
            return there[key]

    async def close(self) -> None:
        for executor in self._executors.values():
            await executor.close()
        self._executors.clear()


@dataclass(frozen=True, kw_only=True)
class ServingWorkspace(Workspace):
    """A workspace whose runs share their executors."""

    shared: Shared = field(default_factory=Shared)
    gate: Gate = field(default_factory=Gate)
    """What the requests of its runs have to pass."""
    rests: Rests = field(default_factory=Rests)
    """Told where the requests of a run are asked."""
    asked_in: Api | None = None
    """The api in which the answers of a run are given back; None: in whichever they come."""
    party: Party = ALONE
    """On whose behalf its runs make their calls."""

    def declined(self, *, run_id: str) -> DeclinedRun:
        """A run for requests that are not sent: it has a provider's name, and needs none."""
        intake = Intake(store=self.store, provider=LOCAL, owner=self.owner, probe=self.probe)
        return DeclinedRun(intake, run_id=run_id)

    def executor_for(self, provider: Provider, spec: Spec) -> CallExecutor:
        path = provider.path_of(spec.api, spec.model or "")
        weights = spec.model if provider.base_url is None else None
        parts = (*_place(provider), path, weights, spec.parameters)

        def new() -> CallExecutor:
            return Workspace.executor_for(self, provider, spec)

        executor = self.shared.executor(msgspec.json.encode(parts), new)
        if isinstance(executor, Lendable):
            executor = executor.lent(self.party)
        outage = None
        if provider.base_url is not None:
            place = msgspec.json.encode((*parts, spec.model))
            outage = self.shared.outage(place, partial(Outage, self.clock))
            self.rests.outage = outage
        mixed = spec.model is None
        return _Lent(executor, self.gate, mixed=mixed, outage=outage, clock=self.clock)

    def reader_of(self, spec: Spec) -> Reader:
        return ServedReader(spec, as_they_came=self.asked_in in (None, spec.api))

    def limiter_for(self, provider: Provider) -> Limiter:
        def new() -> Limiter:
            return Workspace.limiter_for(self, provider)

        return self.shared.limiter(msgspec.json.encode(_place(provider)), new)

    def batches_of(
        self, provider: Provider, spec: Spec, *, hold: Hold | None = None
    ) -> BatchExecutor:
        return Workspace.batches_of(self, provider, spec, hold=hold or self.gate)


def _place(provider: Provider) -> tuple[object, ...]:
    """Where requests are answered, as whom and how fast."""
    pace = (provider.key_env, provider.concurrency, provider.rpm, provider.tpm)
    return (provider.name, provider.base_url, *pace)
