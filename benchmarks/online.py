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
from pyreqwest.client import Client, ClientBuilder

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
    return {"rate": asyncio.run(_bare(base_url + "/chat/completions", bodies()))}


def bodies() -> list[bytes]:
    messages = ([{"role": "user", "content": text}] for text in texts())
    return [msgspec.json.encode({"model": "fake-1", "messages": m}) for m in messages]


async def _call(client: Client, url: str, body: bytes) -> None:
    request = client.post(url).header("content-type", "application/json")
    response = await request.body_bytes(body).build().send()
    assert response.status == 200
    await response.bytes()


async def _bare(url: str, bodies: list[bytes]) -> float:
    left = iter(bodies)
    async with ClientBuilder().build() as client:

        async def work() -> None:
            for body in left:
                await _call(client, url, body)

        start = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(CALLS):
                workers.create_task(work())
        return len(bodies) / (time.perf_counter() - start)


def compare() -> bool:
    with endpoint(0.0) as url:
        least, mine = _in_turns(url)
    with endpoint(LATENCY_S - _overhead()) as url:
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


def _overhead() -> float:
    """What a call takes beyond the latency asked for, so that a lone call takes what we say."""
    with endpoint(LATENCY_S) as url:
        lone: float = in_a_process("benchmarks.online", "lone", url).said["seconds_a_call"]
    return lone - LATENCY_S


def lone(base_url: str) -> Mapping[str, Any]:
    """The median time of a call that has the endpoint to itself."""
    return {"seconds_a_call": asyncio.run(_lone(base_url + "/chat/completions"))}


async def _lone(url: str) -> float:
    taken = []
    async with ClientBuilder().build() as client:
        for body in bodies()[:40]:
            start = time.perf_counter()
            await _call(client, url, body)
            taken.append(time.perf_counter() - start)
    return median(taken)


def _in_turns(url: str) -> tuple[float, float]:
    """The median rates of both sides, measured by turns: the machine has its own moods."""
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(TURNS):
        for side, seen in rates.items():
            seen.append(in_a_process("benchmarks.online", side, url).said["rate"])
    return median(rates["bare"]), median(rates["ours"])


if __name__ == "__main__":
    side = {"ours": ours, "bare": bare, "lone": lone}[sys.argv[1]]
    report(lambda: side(sys.argv[2]))
