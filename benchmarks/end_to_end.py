"""End to end: one million rows, CSV in, CSV out, answered at once in this process."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from anybatch import loops
from anybatch.api import Ask
from anybatch.core.model import Request, Spec
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Workspace
from anybatch.executors.executor import CallExecutor, Read, Record
from anybatch.providers.flow import Reply
from anybatch.providers.provider import Provider
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore

from .measure import Line, in_a_process, report, show
from .rows import write_csv

ROWS = 1_000_000
_REPLY = Reply(
    status=200,
    body=b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"payments"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":21,"completion_tokens":1,"total_tokens":22}}',
)


class Null:
    """Answers everything at once with the same words. A `CallExecutor`."""

    window = 1_000
    backlog = 0
    drains = False
    waiting: str | None = None

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        while chunk := list(islice(requests, self.window)):
            await record(*[read(request, _REPLY) for request in chunk])

    async def close(self) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NullWorkspace(Workspace):
    """A workspace whose every provider is the null executor."""

    def executor_for(self, provider: Provider, spec: Spec) -> CallExecutor:
        return Null()


def ours(folder: Path) -> Mapping[str, Any]:
    settings = Settings(home=folder / "store")
    workspace = NullWorkspace(settings=settings, store=SqliteStore(settings.home))
    ask = Ask(
        model="bench/m",
        prompt="Which team should answer? {{ text }}",
        base_url="http://127.0.0.1:9/v1",
    )
    start = time.perf_counter()
    planned = workspace.plan(open_source(folder / "in.csv"), ask.spec())
    planned_at = time.perf_counter()
    run = loops.run(workspace.fulfil(planned.run, stop=asyncio.Event()))
    answered_at = time.perf_counter()
    workspace.deliver(run, folder / "out.csv", force=False, raw=False)
    delivered_at = time.perf_counter()
    assert workspace.progress(run).counts == {"succeeded": run.total}
    return {
        "plan": planned_at - start,
        "answer": answered_at - planned_at,
        "deliver": delivered_at - answered_at,
    }


def compare(rows: int = ROWS) -> bool:
    folder = Path(tempfile.mkdtemp())
    try:
        write_csv(folder / "in.csv", rows)
        mine = in_a_process("benchmarks.end_to_end", folder)
    finally:
        shutil.rmtree(folder)
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in mine.said.items())
    lines = [
        Line("seconds", f"{mine.seconds:.1f} ({parts})", "≤ 25", mine.seconds <= 25),
        Line("peak memory", f"{mine.peak_mb:,.0f} MB", "≤ 300 MB", mine.peak_mb <= 300),
    ]
    return show(f"End to end, {rows:,} rows, null executor", lines)


if __name__ == "__main__":
    report(lambda: ours(Path(sys.argv[1])))
