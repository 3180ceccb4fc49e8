"""Online: 10,000 small chat requests, 64 in flight, against an endpoint on this machine.

The other side is a bare loop over the same HTTP client, which keeps nothing. Ours has every result
durable. The endpoint runs in a process of its own, so it shares the cores with either side alike.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from pyreqwest.client import ClientBuilder

from anybatch.api import Ask
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Pace, open_workspace
from anybatch.settings import Settings

from .measure import Line, in_a_process, report, show
from .warm import rate

REQUESTS = 10_000
CALLS = 64
LATENCY_S = 0.05
TURNS = 5


@contextmanager
def endpoint(latency_s: float) -> Iterator[str]:
    """A fake endpoint in another process; its base URL."""
    command = [sys.executable, "-m", "anybatch.testing.endpoint", "--latency", str(latency_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def texts() -> list[str]:
    return [f"Where is parcel number {n}?" for n in range(REQUESTS)]


def ours(base_url: str) -> Mapping[str, Any]:
    folder = Path(tempfile.mkdtemp())
    try:
        workspace = open_workspace(Settings(home=folder))
        ask = Ask(model="bench/fake-1", prompt="{{ text }}", base_url=base_url)
        rows = open_source([{"text": text} for text in texts()])
        pace = Pace(concurrency=CALLS)
        run = workspace.plan(rows, ask.spec(), pace=pace).run
        return {"rate": rate(workspace, run, pace)}
    finally:
        shutil.rmtree(folder)


def bare(base_url: str) -> Mapping[str, Any]:
    messages = ([{"role": "user", "content": text}] for text in texts())
    bodies = [msgspec.json.encode({"model": "fake-1", "messages": m}) for m in messages]
    return {"rate": asyncio.run(_bare(base_url + "/chat/completions", bodies))}


async def _bare(url: str, bodies: list[bytes]) -> float:
    left = iter(bodies)
    async with ClientBuilder().build() as client:

        async def work() -> None:
            for body in left:
                request = client.post(url).header("content-type", "application/json")
                response = await request.body_bytes(body).build().send()
                assert response.status == 200
                await response.bytes()

        start = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(CALLS):
                workers.create_task(work())
        return len(bodies) / (time.perf_counter() - start)


def compare() -> bool:
    with endpoint(0.0) as url:
        least, mine = _in_turns(url)
    with endpoint(LATENCY_S) as url:
        slow_least, slow = _in_turns(url)
    ideal = CALLS / LATENCY_S
    share, slow_share = mine / least, slow / ideal
    lines = [
        Line(
            "instant upstream, share of a bare loop",
            f"{mine:,.0f} of {least:,.0f}/s = {share:.0%}",
            "≥ 60 %",
            share >= 0.6,
        ),
        Line(
            "50 ms upstream, share of the ideal",
            f"{slow:,.0f} of {ideal:,.0f}/s = {slow_share:.0%} (bare {slow_least / ideal:.0%})",
            "≥ 95 %",
            slow_share >= 0.95,
        ),
    ]
    return show(f"Online, {REQUESTS:,} requests, {CALLS} in flight", lines)


def _in_turns(url: str) -> tuple[float, float]:
    """The median rates of both sides, measured by turns: the machine has its own moods."""
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(TURNS):
        for side, seen in rates.items():
            seen.append(in_a_process("benchmarks.online", side, url).said["rate"])
    return median(rates["bare"]), median(rates["ours"])


if __name__ == "__main__":
    side = {"ours": ours, "bare": bare}[sys.argv[1]]
    report(lambda: side(sys.argv[2]))
