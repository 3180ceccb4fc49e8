"""One executor for each place where requests are answered, however many runs have them answered.

So its connections are shared, and its limits hold for all runs together.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from ..core.model import Request, Spec
from ..engine.intake import Intake
from ..engine.readymade import DeclinedRun
from ..engine.workspace import Workspace
from ..executors.executor import CallExecutor, Read, Record
from ..providers.local import LOCAL
from ..providers.provider import Provider


class _Lent:
    """An executor that others use as well: who is done with it does not close it."""

    def __init__(self, executor: CallExecutor) -> None:
        self._executor = executor
        self.window = executor.window
        self.backlog = executor.backlog

    @property
    def waiting(self) -> str | None:
        return self._executor.waiting

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        await self._executor.answer(requests, read=read, record=record, stop=stop)

    async def close(self) -> None:
        """It stays open for the others."""


class Executors:
    """Executors by what they answer, opened when they are first wanted."""

    def __init__(self) -> None:
        # Guards `_open`: executors are opened in threads, and two must not load one model twice.
        self._lock = threading.Lock()
        self._open: dict[bytes, CallExecutor] = {}

    def lend(self, key: bytes, new: Callable[[], CallExecutor]) -> CallExecutor:
        with self._lock:
            if key not in self._open:
                self._open[key] = new()
            return _Lent(self._open[key])

    async def close(self) -> None:
        for executor in self._open.values():
            await executor.close()
        self._open.clear()


@dataclass(frozen=True, kw_only=True)
class ServingWorkspace(Workspace):
    """A workspace whose runs share their executors."""

    executors: Executors = field(default_factory=Executors)

    def declined(self, *, run_id: str) -> DeclinedRun:
        """A run for requests that are not sent: it has a provider's name, and needs none."""
        intake = Intake(store=self.store, provider=LOCAL, owner=self.owner, probe=self.probe)
        return DeclinedRun(intake, run_id=run_id)

    def executor_for(self, provider: Provider, spec: Spec) -> CallExecutor:
        path = provider.path_of(spec.api, spec.model or "")
        weights = spec.model if provider.base_url is None else None
        pace = (provider.key_env, provider.concurrency, provider.rpm, provider.tpm)
        parts = (provider.name, provider.base_url, path, weights, spec.parameters, pace)

        def new() -> CallExecutor:
            return Workspace.executor_for(self, provider, spec)

        return self.executors.lend(msgspec.json.encode(parts), new)
