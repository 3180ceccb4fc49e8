"""Embedded: structured answers a second, against llama.cpp's own loop in the same process.

The other side calls the library from as many threads as ours has calls in flight, and keeps
nothing. Each side loads the model itself; only answering is timed.
"""

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
from anybatch.core.model import Run
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Pace, Workspace, open_workspace
from anybatch.executors.embedded import server_parameters, weights
from anybatch.providers.local import LOCAL
from anybatch.settings import Settings
from anybatch.store.requests import RequestFile

from .measure import Line, in_a_process, report, show
from .warm import rate

REQUESTS = 128
_ASK = Ask(
    model="local/smollm2",
    prompt="Sort this ticket. Ticket: {{ text }}",
    labels=("bug", "feature", "question", "billing"),
    parameters={"temperature": 0},
)


def planned(folder: Path) -> tuple[Workspace, Run]:
    workspace = open_workspace(Settings(home=folder))
    texts = (f"I was charged twice for order {n} and the app fails" for n in range(REQUESTS))
    return workspace, workspace.plan(open_source({"text": t} for t in texts), _ASK.spec()).run


def ours(folder: Path) -> Mapping[str, Any]:
    workspace, run = planned(folder)
    return {"rate": rate(workspace, run, Pace())}


def bare(folder: Path) -> Mapping[str, Any]:
    import xllamacpp

    workspace, run = planned(folder)
    with RequestFile(workspace.store.folder(run.id)) as requests:
        bodies = [msgspec.json.decode(r.body) for r in requests.read(range(REQUESTS))]
    path = weights("smollm2")
    parameters = server_parameters(xllamacpp, path, name="smollm2", calls=LOCAL.concurrency)
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
