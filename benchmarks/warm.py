"""A workspace whose executor is open already: connections made ready, a model loaded."""

import asyncio
import time
from dataclasses import dataclass

from anybatch import loops
from anybatch.core.model import Run, Spec
from anybatch.engine.workspace import Pace, Workspace
from anybatch.executors.executor import CallExecutor
from anybatch.providers.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm(Workspace):
    """Gives every run the same executor."""

    executor: CallExecutor

    def executor_for(self, provider: Provider, spec: Spec) -> CallExecutor:
        return self.executor


def rate(cold: Workspace, run: Run, pace: Pace) -> float:
    """Durable answers a second for `run`, from the first request on."""
    executor = cold.executor_for(cold.provider_of(run.spec, pace), run.spec)
    warm = Warm(settings=cold.settings, store=cold.store, executor=executor)
    start = time.perf_counter()
    loops.run(warm.fulfil(run, stop=asyncio.Event(), pace=pace))
    seconds = time.perf_counter() - start
    assert warm.progress(run).counts == {"succeeded": run.total}
    return run.total / seconds
