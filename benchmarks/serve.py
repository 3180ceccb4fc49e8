"""`anybatch serve`: looking at an input, rows from a batch to its output, looks at one and at many.

Server, client and upstream are processes of their own. What the server takes is read from the
system: its time of the processor, and the most memory it ever had.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx2
from msgspec.structs import replace

from anybatch.core.served import Order
from anybatch.datasets.jsonlines import raw_lines
from anybatch.server.check import Checking, check
from anybatch.server.desk import Desk
from anybatch.server.openai import OpenAIFace
from anybatch.server.orders import Orders
from anybatch.server.owners import EVERYBODY, Owners
from anybatch.server.routes import RouteTable
from anybatch.server.shared import ServingWorkspace
from anybatch.settings import Settings
from anybatch.store.blobs import Blobs
from anybatch.store.served import ServedStore
from anybatch.wire.openai_served import RequestReader

from .load import pin
from .measure import Line, in_a_process, report, show
from .online import endpoint

CHAT = "/v1/chat/completions"
LINES, LINE_BYTES = 50_000, 4_000
ROWS, CALLS, LATENCY_S = 10_000, 64, 0.05
LISTED, PAGE = 10_000, 100
ASKING, SECONDS, TURNS = 32, 3.0, 3
_PAGES = 30
"""So often the first and the last page of the list are asked for."""


def compare() -> bool:
    folder = Path(tempfile.mkdtemp())
    try:
        lines = [*_validation(folder), *_rows(folder), *_looks(folder)]
    finally:
        shutil.rmtree(folder)
    return show("Serve", lines)


# --- looking at an input ------------------------------------------------------------------------


def _validation(folder: Path) -> list[Line]:
    path = write_input(folder / "large.jsonl", LINES, LINE_BYTES)
    read = in_a_process("benchmarks.serve", "read", path)
    checked = in_a_process("benchmarks.serve", "checked", path, folder / "checked")
    rates = [path.stat().st_size / 1e9 / each.seconds for each in (read, checked)]
    above = checked.said["above_mb"]
    size = f"{path.stat().st_size / 1e6:,.0f} MB, {LINES:,} lines"
    path.unlink()
    return [
        Line(f"validate {size}: read", f"{rates[0]:.2f} GB/s", "≥ 0.35 GB/s", rates[0] >= 0.35),
        Line("the same, planned and synced", f"{rates[1]:.2f} GB/s", "—", True),
        Line("memory above idle", f"{above:,.0f} MB", "≤ 60 MB", above <= 60),
    ]


def write_input(path: Path, lines: int, size: int) -> Path:
    """`lines` chat requests of about `size` bytes each, the same every time."""
    chance = random.Random(7)
    words = [f"word{chance.randrange(10_000)}" for _ in range(size // 4)]
    with open(path, "wb") as file:
        for n in range(lines):
            start = chance.randrange(len(words) // 2)
            text = " ".join(words[start:])[: size - 180]
            file.write(json.dumps(request(n, text)).encode() + b"\n")
    return path


def request(n: int, text: str) -> dict[str, Any]:
    body = {"model": "fake-1", "messages": [{"role": "user", "content": text}], "max_tokens": 64}
    return {"custom_id": f"request-{n}", "method": "POST", "url": CHAT, "body": body}


def read(path: Path) -> Mapping[str, Any]:
    """Every line held against the rules, and nothing kept."""
    reader, start = RequestReader(CHAT), time.perf_counter()
    with open(path, "rb", buffering=1 << 20) as file:
        for number, line, _ in raw_lines(file, most=1 << 25):
            reader.read(number, line)
    assert reader.end() is None
    return {"seconds": time.perf_counter() - start}


def checked(path: Path, home: Path) -> Mapping[str, Any]:
    """The same as the server does it: a run stands at the end."""
    table = RouteTable(Settings(home=home, routes=({"model": "*", "base_url": "http://[::1]:9"},)))
    with closing(ServedStore(home)) as store:
        workspace = ServingWorkspace(settings=table.settings, store=store)
        desk = Desk(store=store, blobs=Blobs(home), clock=workspace.clock)
        face = OpenAIFace(desk, Orders(desk, workspace, Owners({})), table)
        on = Checking(workspace=workspace, store=store, routes=table, faces={"openai": face})
        before, start = peak_mb(os.getpid()), time.perf_counter()
        done = check(on, order(0), path)
        seconds = time.perf_counter() - start
    assert done.total == LINES, done.problems[:1]
    return {"seconds": seconds, "above_mb": peak_mb(os.getpid()) - before}


def order(n: int) -> Order:
    at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=n)
    return Order(
        id=f"batch_{n:024x}",
        owner=EVERYBODY,
        face="openai",
        api="openai.chat",
        asked={"endpoint": CHAT, "completion_window": "24h", "metadata": {}},
        input_file=f"file-{n:024x}",
        input_size=1,
        created_at=at,
        expires_at=at + timedelta(hours=24),
        kept_seconds=86_400,
    )


# --- rows ---------------------------------------------------------------------------------------


class Taken(NamedTuple):
    """What the rows of one batch took of a server."""

    rate: float
    cpu_ms: float
    peak_mb: float


def _rows(folder: Path) -> list[Line]:
    path = write_input(folder / "rows.jsonl", ROWS, 250)
    instant = [_answered(folder / f"instant{turn}", path, 0.0) for turn in range(TURNS)]
    slow = [_answered(folder / f"slow{turn}", path, LATENCY_S) for turn in range(TURNS)]
    rates = [median(taken.rate for taken in each) for each in (instant, slow)]
    cpu = [median(taken.cpu_ms for taken in each) for each in (instant, slow)]
    peak = max(taken.peak_mb for taken in (*instant, *slow))
    what = f"{ROWS:,} rows, {CALLS} in flight, "
    return [
        Line(f"{what}instant", f"{rates[0]:,.0f} rows/s", "≥ 7,000", rates[0] >= 7_000),
        Line(f"{what}50 ms", f"{rates[1]:,.0f} rows/s", "≥ 1,150", rates[1] >= 1_150),
        Line(
            "CPU of the server a row",
            f"{cpu[0]:.2f} ms, {cpu[1]:.2f} ms",
            "≤ 0.25 ms",
            max(cpu) <= 0.25,
        ),
        Line("peak memory of the server", f"{peak:,.0f} MB", "≤ 150 MB", peak <= 150),
    ]


def _answered(home: Path, path: Path, latency_s: float) -> Taken:
    """From the creation of a batch to the last line of its output."""
    with endpoint(latency_s) as base_url, serving(home, base_url) as server:
        with httpx2.Client(base_url=server.url, timeout=120) as client:
            files = {"file": ("in.jsonl", path.read_bytes())}
            file = client.post("/files", data={"purpose": "batch"}, files=files).json()
            asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
            before, start = server.cpu_s(), time.perf_counter()
            batch = client.post("/batches", json=asked).json()
            while batch["status"] in ("validating", "in_progress", "finalizing"):
                time.sleep(0.02)
                batch = client.get(f"/batches/{batch['id']}").json()
            output = client.get(f"/files/{batch['output_file_id']}/content").content
            seconds = time.perf_counter() - start
        cpu_s = server.cpu_s() - before
        assert output.count(b"\n") == ROWS, batch
        return Taken(ROWS / seconds, cpu_s * 1000 / ROWS, peak_mb(server.pid))


# --- looks --------------------------------------------------------------------------------------


def _looks(folder: Path) -> list[Line]:
    home = folder / "looks"
    with closing(ServedStore(home)) as store:
        for n in range(LISTED):
            store.add_order(_over(n))
    with serving(home, "http://127.0.0.1:9/v1", core=0) as server:
        first, last = _paged(server.url)
        with bare(core=0) as other:
            mine, least = _in_turns(server, other)
    rate, share, slower = mine.rate, mine.rate / least.rate, last / first
    return [
        Line("GET of a batch, on one core", f"{rate:,.0f}/s", "≥ 20,000/s", rate >= 20_000),
        Line("share of a server that does nothing", f"{share:.0%}", "—", True),
        Line(
            "CPU a GET",
            f"{mine.cpu_us:.0f} µs (of nothing: {least.cpu_us:.0f} µs)",
            "≤ 50 µs",
            mine.cpu_us <= 50,
        ),
        Line(
            f"{LISTED:,} batches by cursor: last page",
            f"{slower:.2f} of the first ({first * 1000:.1f} ms)",
            "≤ 1.2",
            slower <= 1.2,
        ),
    ]


def _over(n: int) -> Order:
    """An order that ended long ago."""
    given = order(n)
    return replace(given, status="completed", ended_at=given.created_at, total=1, completed=1)


def _paged(url: str) -> tuple[float, float]:
    """The median times of the first and of the last page, in seconds, asked for by turns."""
    seen, after, last = 0, None, None
    with httpx2.Client(base_url=url, timeout=60) as client:
        while True:
            page, _ = _page(client, after)
            seen, last, after = seen + len(page["data"]), after, page["last_id"]
            if not page["has_more"]:
                break
        assert seen == LISTED
        took = [(_page(client, None)[1], _page(client, last)[1]) for _ in range(_PAGES)]
    first, final = zip(*took, strict=True)
    return median(first), median(final)


def _page(client: httpx2.Client, after: str | None) -> tuple[Any, float]:
    given = {"limit": PAGE} if after is None else {"limit": PAGE, "after": after}
    start = time.perf_counter()
    page = client.get("/batches", params=given).json()
    return page, time.perf_counter() - start


class Looked(NamedTuple):
    """How fast a server answered one call made again and again, and what that took of it."""

    rate: float
    cpu_us: float


def _in_turns(server: "Server", other: "Server") -> tuple[Looked, Looked]:
    """The medians of both, measured by turns: the machine has its own moods."""
    path = f"/v1/batches/{order(LISTED // 2).id}"
    seen = [(_looked(server, path), _looked(other, "/")) for _ in range(TURNS)]
    mine, least = zip(*seen, strict=True)
    return _median(mine), _median(least)


def _median(looks: Iterable[Looked]) -> Looked:
    rates, taken = zip(*looks, strict=True)
    return Looked(median(rates), median(taken))


def _looked(server: "Server", path: str) -> Looked:
    before = server.cpu_s()
    asked = in_a_process("benchmarks.load", "ask", server.port, path, SECONDS, ASKING, 1)
    taken = (server.cpu_s() - before) / asked.said["all"]
    return Looked(asked.said["rate"], taken * 1e6)


@contextmanager
def bare(*, core: int) -> Iterator["Server"]:
    """A server that does nothing but answer."""
    command = [sys.executable, "-m", "benchmarks.load", "answer", str(core)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid)
    finally:
        process.kill()
        process.communicate()


# --- a server in a process of its own -----------------------------------------------------------


class Server(NamedTuple):
    url: str
    pid: int

    @property
    def port(self) -> int:
        return httpx2.URL(self.url).port or 0

    def cpu_s(self) -> float:
        """What it has taken of the processor so far, all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """The most memory that a process ever had."""
    said = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in said.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@contextmanager
def serving(home: Path, base_url: str, *, core: int | None = None) -> Iterator[Server]:
    """`anybatch serve` over `home`, which has `base_url` answer; on one core, if one is given."""
    home.mkdir(parents=True, exist_ok=True)
    route = f'[[routes]]\nmodel = "*"\nbase_url = "{base_url}"\nconcurrency = {CALLS}\n'
    (home / "anybatch.toml").write_text(route)
    command = [sys.executable, "-m", "anybatch", "serve", "--port", "0", "--store", str(home)]
    process = subprocess.Popen(
        [*command, "--config", str(home / "anybatch.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=None if core is None else partial(pin, core),
    )
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().strip(), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


if __name__ == "__main__":
    side, *places = sys.argv[1:]
    work = {"read": read, "checked": checked}[side]
    report(partial(work, *map(Path, places)))
