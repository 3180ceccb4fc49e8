"""Batches: CSV in, through a provider's batch API, CSV out; and what waiting for many costs.

The provider is a fake in a process of its own that runs rows at once: what is measured is our own
time of the processor, not the provider's, and not the waiting.
"""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anybatch import loops
from anybatch.api import Ask
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Workspace, open_workspace
from anybatch.settings import Settings

from .measure import Line, in_a_process, report, show
from .rows import write_csv

FEW, MANY = 50_000, 1_000_000
WAITING = 1_000
WATCHED_S = 20.0


@contextmanager
def provider(*options: str) -> Iterator[str]:
    """A fake provider in another process; its base URL."""
    command = [sys.executable, "-m", "anybatch", "fake", "openai", "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["base_url"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _ask(base_url: str) -> Ask:
    prompt = "Which team should answer? {{ text }}"
    return Ask(model="openai/fake-1", prompt=prompt, base_url=base_url, executor="batch")


def through(folder: Path, base_url: str) -> Mapping[str, Any]:
    """A whole run: our time of the processor."""
    before = time.process_time()
    workspace = open_workspace(Settings(home=folder / "store"))
    run = workspace.plan(open_source(folder / "in.csv"), _ask(base_url).spec()).run
    run = loops.run(workspace.fulfil(run, stop=asyncio.Event()))
    workspace.deliver(run, folder / "out.csv", force=False, raw=False)
    assert workspace.progress(run).counts == {"succeeded": run.total}
    return {"cpu": time.process_time() - before}


def waiting(folder: Path, base_url: str) -> Mapping[str, Any]:
    """What it costs to wait for a thousand batches, once all are submitted."""
    table = {"batch_requests": 1}
    settings = Settings(home=folder / "store", providers={"openai": table})
    workspace = open_workspace(settings)
    rows = open_source([{"text": f"row {n}"} for n in range(WAITING)])
    run = workspace.plan(rows, _ask(base_url).spec()).run
    return loops.run(_waited(workspace, run.id))


async def _waited(workspace: Workspace, run_id: str) -> Mapping[str, Any]:
    stop = asyncio.Event()
    working = asyncio.create_task(workspace.fulfil(workspace.store.run(run_id), stop=stop))
    while any(batch.status != "running" for batch in workspace.store.batches(run_id)):
        await asyncio.sleep(1)
    await asyncio.sleep(60)  # the first looks come quickly
    before, start = time.process_time(), time.perf_counter()
    await asyncio.sleep(WATCHED_S)
    used = (time.process_time() - before) / (time.perf_counter() - start)
    stop.set()
    await working
    return {"share": used}


def compare() -> bool:
    few, many = _through(FEW), _through(MANY)
    lines = [
        Line(
            f"{FEW:,} rows, our CPU",
            f"{few.said['cpu']:.1f} s ({few.seconds:.1f} s in all)",
            "≤ 2.0 s",
            few.said["cpu"] <= 2.0,
        ),
        Line(f"{FEW:,} rows, peak memory", f"{few.peak_mb:.0f} MB", "≤ 150 MB", few.peak_mb <= 150),
        Line(
            f"{MANY:,} rows in 20 batches",
            f"{many.seconds:.1f} s (our CPU {many.said['cpu']:.1f} s)",
            "≤ 45 s",
            many.seconds <= 45,
        ),
        Line(
            f"{MANY:,} rows, peak memory", f"{many.peak_mb:.0f} MB", "≤ 300 MB", many.peak_mb <= 300
        ),
    ]
    share = _waiting()
    lines.append(
        Line(f"{WAITING:,} batches waiting, of a core", f"{share:.1%}", "≤ 1 %", share <= 0.01)
    )
    return show("Batches, a provider that answers at once", lines)


def _through(rows: int) -> Any:
    folder = Path(tempfile.mkdtemp())
    try:
        write_csv(folder / "in.csv", rows)
        with provider() as base_url:
            return in_a_process("benchmarks.batches", "through", folder, base_url)
    finally:
        shutil.rmtree(folder)


def _waiting() -> float:
    folder = Path(tempfile.mkdtemp())
    try:
        with provider("--in-progress", "100000") as base_url:
            done = in_a_process("benchmarks.batches", "waiting", folder, base_url)
            share: float = done.said["share"]
            return share
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    side = {"through": through, "waiting": waiting}[sys.argv[1]]
    report(lambda: side(Path(sys.argv[2]), sys.argv[3]))
