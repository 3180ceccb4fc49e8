"""Embedded: structured answers a second, against llama.cpp's own loop in the same process.

The other side calls the library from as many threads as ours has calls in flight, and keeps
nothing. Each side loads the model itself; only answering is timed.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from anybatch.api import Ask
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Workspace, open_workspace
from anybatch.executors.embedded import weights
from anybatch.providers.local import LOCAL
from anybatch.settings import Settings
from anybatch.store.requests import RequestFile

from .measure import Line, in_a_process, report, show

REQUESTS = 128
_ASK = Ask(
    model="local/smollm2",
    prompt="Sort this ticket. Ticket: {{ text }}",
    labels=("bug", "feature", "question", "billing"),
    parameters={"temperature": 0},
)


def planned(folder: Path) -> tuple[Workspace, Any]:
    workspace = open_workspace(Settings(home=folder))
    texts = [f"I was charged twice for order {n} and the app shows an error" for n in range(REQUESTS)]
    rows = open_source([{"text": text} for text in texts])
    return workspace, workspace.plan(rows, _ASK.spec()).run


def ours(folder: Path) -> Mapping[str, Any]:
    workspace, run = planned(folder)
    moments: list[float] = []
    fulfilling = workspace.fulfil(
        run, stop=asyncio.Event(), on_progress=lambda progress: moments.append(time.perf_counter())
    )
    asyncio.run(fulfilling)
    # The first looks come before the model is loaded; answers are counted from the first batch on.
    started = workspace.store.events(run.id)
    assert workspace.progress(run).counts == {"succeeded": REQUESTS}, started
    results = [result for result in workspace.results(run) if result is not None]
    first = min(result.ms for result in results[: LOCAL.concurrency]) / 1000
    return {"rate": REQUESTS / (moments[-1] - _first_commit(moments) + first)}


def _first_commit(moments: list[float]) -> float:
    """The moment of the first commit: the longest silence before it is the model being loaded."""
    gaps = [b - a for a, b in zip(moments, moments[1:], strict=False)]
    return moments[gaps.index(max(gaps)) + 1]


def bare(folder: Path) -> Mapping[str, Any]:
    import xllamacpp

    from anybatch.executors.embedded import _parameters

    workspace, run = planned(folder)
    with RequestFile(workspace.store.folder(run.id)) as requests:
        bodies = [msgspec.json.decode(r.body) for r in requests.read(range(REQUESTS))]
    parameters = _parameters(
        xllamacpp, weights("smollm2"), name="smollm2", calls=LOCAL.concurrency
    )
    server = xllamacpp.Server(parameters)
    with ThreadPoolExecutor(LOCAL.concurrency) as threads:
        start = time.perf_counter()
        list(threads.map(server.handle_chat_completions, bodies))
        return {"rate": REQUESTS / (time.perf_counter() - start)}


def compare() -> bool:
    folder = Path(tempfile.mkdtemp())
    try:
        least = in_a_process("benchmarks.embedded", "bare", folder / "bare")
        mine = in_a_process("benchmarks.embedded", "ours", folder / "ours")
    finally:
        shutil.rmtree(folder)
    share = mine.said["rate"] / least.said["rate"]
    figure = f"{mine.said['rate']:.1f} of {least.said['rate']:.1f}/s = {share:.0%}"
    lines = [Line("share of llama.cpp's own loop", figure, "≥ 90 %", share >= 0.9)]
    return show(f"Embedded, {REQUESTS} structured answers", lines)


if __name__ == "__main__":
    side = {"ours": ours, "bare": bare}[sys.argv[1]]
    report(lambda: side(Path(sys.argv[2])))
