"""What whoever looks after the server has: its health, its numbers, its log, and new routes."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.clock import SystemClock
from anybatch.effects import Moment
from anybatch.errors import BadSettings
from anybatch.server import log
from anybatch.server.desk import Desk
from anybatch.server.health import Health
from anybatch.server.metrics import Calls, Metric, write_metrics
from anybatch.server.orders import Orders
from anybatch.server.owners import Owners, hash_of
from anybatch.server.routes import RouteTable, find
from anybatch.server.shared import ServingWorkspace
from anybatch.settings import Settings
from anybatch.store.blobs import Blobs
from anybatch.store.served import ServedStore
from anybatch.testing import FakeEndpoint

from ..cli.process import anybatch, command, environment
from .world import chat, client_of, create, served, until, until_over

HERE = "http://127.0.0.1:9/v1"


def root_of(url: str) -> str:
    return url.removesuffix("/v1")


# --- health ---


def test_a_server_that_works_is_ready(url: str) -> None:
    health, ready = (httpx2.get(root_of(url) + path) for path in ("/health", "/ready"))

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_health_needs_no_key_and_numbers_do(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    with served(tmp_path, endpoint, keys={"alice": hash_of("key")}) as url:
        paths = ("/health", "/ready", "/metrics")
        statuses = [httpx2.get(root_of(url) + path).status_code for path in paths]
        allowed = httpx2.get(root_of(url) + "/metrics", headers={"x-api-key": "key"})

    assert statuses == [200, 200, 401]
    assert allowed.status_code == 200


async def test_a_store_that_cannot_be_written_is_not_ready(tmp_path: Path) -> None:
    with closing(ServedStore(tmp_path)) as store:
        store._db.execute("pragma query_only = on")
        refused = await ready(store)
        health = await health_of(store).answer("/health")
        store._db.execute("pragma query_only = off")
        taken = await ready(store)

    assert refused == (503, {"status": "not ready", "why": "the store cannot be written"})
    assert health is not None
    assert health.status_code == 200
    assert taken == (200, {"status": "ready"})


async def test_who_does_not_go_on_with_orders_is_not_ready(tmp_path: Path) -> None:
    with closing(ServedStore(tmp_path)) as store:
        status, said = await ready(store, works=False)

    assert (status, said["why"]) == (503, "orders are not worked on")


async def test_who_asks_often_does_not_keep_the_disk_busy(tmp_path: Path) -> None:
    watch = Watch()
    with closing(ServedStore(tmp_path, probe=watch)) as store:
        health, before = health_of(store), len(watch.seen)
        for _ in range(100):
            await health.answer("/ready")

    assert len([name for name in watch.seen[before:] if name == "store.transaction"]) <= 2


class Watch:
    """Notes each effect as it begins."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, name: str, moment: Moment) -> None:
        if moment == "before":
            self.seen.append(name)


def health_of(store: ServedStore, *, works: bool = True) -> Health:
    settings = Settings(home=store.root)
    workspace = ServingWorkspace(settings=settings, store=store)
    desk = Desk(store=store, blobs=Blobs(store.root), clock=SystemClock())
    orders = Orders(desk, workspace, Owners({}))
    return Health(store, orders, works=lambda: works, calls=Calls())


async def ready(store: ServedStore, *, works: bool = True) -> tuple[int, Any]:
    answer = await health_of(store, works=works).answer("/ready")
    assert answer is not None
    return answer.status_code, json.loads(bytes(answer.body))


# --- numbers ---


def test_numbers_tell_of_calls_batches_and_rows_and_name_nobody(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    keys = {"alice": hash_of("a-key")}
    with served(tmp_path, endpoint, keys=keys) as url, client_of(url, "a-key") as client:
        rows = [chat("a"), chat("b"), chat("c", "fail, secret words")]
        _, batch = until_over(client, create(client, rows))
        httpx2.get(f"{url}/nowhere/{batch.id}", headers={"x-api-key": "a-key"})
        answer = httpx2.get(root_of(url) + "/metrics", headers={"x-api-key": "a-key"})

    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'anybatch_batches_ended_total{status="completed"} 1' in lines
    assert 'anybatch_rows_total{outcome="succeeded"} 2' in lines
    assert 'anybatch_rows_total{outcome="bad_request"} 1' in lines
    assert "anybatch_rows_open 0" in lines
    assert "anybatch_calls_in_flight 1" in lines
    created = 'face="openai",method="POST",route="/v1/batches",status="200"'
    assert f"anybatch_calls_total{{{created}}} 1" in lines
    nowhere = 'face="openai",method="GET",route="none",status="404"'
    assert f"anybatch_calls_total{{{nowhere}}} 1" in lines
    for private in ("alice", "a-key", "secret", batch.id, str(tmp_path)):
        assert private not in answer.text


def test_numbers_are_written_as_prometheus_reads_them() -> None:
    label = (("said", 'a "b"\\\n'),)

    text = write_metrics([Metric("n", "counter", "How many.", {label: 3, (): 2.5})])

    assert text == b'# HELP n How many.\n# TYPE n counter\nn{said="a \\"b\\"\\\\\\n"} 3\nn 2.5\n'


# --- the log ---


def test_a_reader_who_is_slow_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowStream()
    monkeypatch.setattr(log.sys, "stderr", slow)
    writer = log.Writer(most=10)

    writer.put(b"first\n")
    assert slow.writes.wait(5)
    began = time.perf_counter()
    for _ in range(1_000):
        writer.put(b"line\n")
    took = time.perf_counter() - began
    waiting = writer.flush(0.01)
    slow.goes_on.set()
    assert writer.flush(5)
    writer.put(b"last\n")
    assert writer.flush(5)

    lines = slow.text.splitlines()
    assert took < 1
    assert not waiting
    assert writer.dropped == 990
    assert lines[:11] == [b"first", *[b"line"] * 10]
    assert (json.loads(lines[11])["event"], json.loads(lines[11])["lines"]) == ("log.dropped", 990)
    assert lines[12:] == [b"last"]


class SlowStream:
    """Somebody who reads nothing until told to."""

    def __init__(self) -> None:
        self.buffer = self
        self.text = b""
        self.writes, self.goes_on = threading.Event(), threading.Event()

    def write(self, text: bytes) -> None:
        self.writes.set()
        assert self.goes_on.wait(5)
        self.text += text

    def flush(self) -> None:
        """Nothing is kept back."""


def test_a_server_whose_log_nobody_reads_goes_on_answering(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    reading, writing = os.pipe()
    said = ["serve", "--port", "0", "--config", str(settings(tmp_path, endpoint.base_url))]
    server = subprocess.Popen(
        command(*said), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=writing, text=True
    )
    os.close(writing)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with httpx2.Client() as client:
            long = f"{url}/files/{'x' * 4000}"
            statuses = {client.get(long, timeout=5).status_code for _ in range(40)}
    finally:
        server.kill()
        server.communicate()
        os.close(reading)

    assert statuses == {404}


# --- routes ---


def settings(folder: Path, base_url: str, model: str = "*") -> Path:
    file = folder / "anybatch.toml"
    file.write_text(f'[[routes]]\nmodel = "{model}"\nbase_url = "{base_url}"\n')
    return file


def test_other_routes_take_the_place_of_the_first(tmp_path: Path) -> None:
    def given(model: str, name: str) -> Settings:
        route = {"model": model, "provider": name, "base_url": HERE, "rpm": 5}
        return Settings(home=tmp_path, routes=(route,))

    table = RouteTable(given("a", "one"))
    known = table.settings.providers

    table.take(given("b", "two"))

    assert (find(table, "a"), len(table)) == (None, 1)
    assert (found := find(table, "b")) is not None
    assert found.provider == "two"
    assert {name: known[name]["rpm"] for name in ("one", "two")} == {"one": 5, "two": 5}


def test_routes_that_are_wrong_change_nothing(tmp_path: Path) -> None:
    table = RouteTable(Settings(home=tmp_path, routes=({"model": "a", "base_url": HERE},)))

    with pytest.raises(BadSettings):
        table.take(Settings(home=tmp_path, routes=({"colour": "red"},)))

    assert find(table, "a") is not None


def test_a_server_that_runs_reads_its_routes_again(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    file = settings(tmp_path, endpoint.base_url, model="old")
    said = ["serve", "--port", "0", "--config", str(file)]
    server = subprocess.Popen(
        command(*said),
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        settings(tmp_path, endpoint.base_url, model="m")
        told = anybatch("serve", "--reload-routes", "--config", str(file), home=tmp_path)
        with client_of(url) as client:
            until(lambda: [each.id for each in client.models.list()] == ["m"], "other routes")
            _, batch = until_over(client, create(client, [chat("a")]))
            file.write_text("[[routes]]\ncolour = 'red'\n")
            server.send_signal(signal.SIGHUP)
            kept = [each.id for each in client.models.list()]
    finally:
        server.terminate()
        _, text = server.communicate()

    events = [json.loads(line)["event"] for line in text.splitlines() if line.startswith("{")]
    assert (told.returncode, str(server.pid) in told.stderr) == (0, True)
    assert (batch.status, batch.request_counts.completed) == ("completed", 1)
    assert kept == ["m"]
    assert "routes.read" in events
    assert "routes.kept" in events


@contextmanager
def serving(folder: Path, config: Path, **variables: str) -> Iterator[tuple[Any, str, Path]]:
    """A process that serves what `config` says, its address, and its log."""
    log_file = folder / "log"
    with log_file.open("wb") as stderr:
        process = subprocess.Popen(
            command("serve", "--port", "0", "--config", str(config)),
            env=environment(folder, **variables),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip(), log_file
    finally:
        process.terminate()
        process.communicate()


def events(log_file: Path, name: str) -> list[dict[str, Any]]:
    lines = log_file.read_text("utf-8").splitlines(keepends=True)
    read = [json.loads(line) for line in lines if line[:1] == "{" and line[-1:] == "\n"]
    return [each for each in read if each["event"] == name]


ROUTE = f'[[routes]]\nmodel = "m"\nbase_url = "{HERE}"\n'
WRONG = {
    f"{ROUTE}{ROUTE}colour = 'red'\n": "[[routes]] number 2 in anybatch.toml has 'colour'",
    f"{ROUTE}[[routes]\n": "(at line 4, column 9)",
    f"{ROUTE}rpm = -1\n": "[providers.127.0.0.1:9] in anybatch.toml: rpm must be",
    f"{ROUTE}[[routes]]\nmodel = 'n'\n": "[[routes]] number 2 in anybatch.toml needs a base_url",
    "colour = 1\n": "has 'colour'; it may have home",
}


def test_routes_that_are_refused_leave_those_that_were(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    config = settings(tmp_path, endpoint.base_url, model="m")
    good = config.read_text("utf-8")
    with serving(tmp_path, config) as (process, url, log_file), client_of(url) as client:
        for count, text in enumerate(WRONG, start=1):
            config.write_text(text)
            process.send_signal(signal.SIGHUP)
            until(lambda count=count: len(events(log_file, "routes.kept")) == count, "a word of it")
        config.unlink()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(events(log_file, "routes.kept")) == len(WRONG) + 1, "a word of it")
        models = [each.id for each in client.models.list()]
        _, batch = until_over(client, create(client, [chat("a")]))
        config.write_text(good.replace('"m"', '"n"'))
        process.send_signal(signal.SIGHUP)
        until(lambda: [each.id for each in client.models.list()] == ["n"], "other routes")
        assert process.poll() is None

    said = [each["why"] for each in events(log_file, "routes.kept")]
    assert [part for part, why in zip(WRONG.values(), said, strict=False) if part not in why] == []
    assert "is not a file" in said[-1]
    assert models == ["m"]
    assert (batch.status, batch.request_counts.completed) == ("completed", 1)
    assert [each["routes"] for each in events(log_file, "routes.read")] == [1]


def test_a_file_of_settings_may_have_any_name(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    (tmp_path / "anybatch.toml").write_text("colour = 'red'\n")
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    config = settings(elsewhere, endpoint.base_url, model="m").rename(elsewhere / "prod.conf")
    with serving(tmp_path, config) as (process, url, log_file), client_of(url) as client:
        before = [each.id for each in client.models.list()]
        settings(elsewhere, endpoint.base_url, model="n").rename(config)
        process.send_signal(signal.SIGHUP)
        until(lambda: [each.id for each in client.models.list()] == ["n"], "other routes")

    assert before == ["m"]
    assert events(log_file, "routes.kept") == []


KEYS = """
[[routes]]
model = "named"
base_url = "https://a.invalid/v1"
api_key_env = "A_KEY"

[[routes]]
model = "known-*"
provider = "openai"

[[routes]]
model = "here"
base_url = "http://127.0.0.1:9/v1"

[[routes]]
model = "here-*"
base_url = "http://127.0.0.1:8/v1"
api_key_env = "B_KEY"

[[routes]]
model = "blank"
base_url = "https://b.invalid/v1"
api_key_env = "C_KEY"

[[routes]]
model = "told"
base_url = "https://c.invalid/v1"
api_key_env = "D_KEY"

[[routes]]
model = "*"
provider = "local"
"""


def test_a_route_without_its_key_is_told_of_at_the_start_and_when_routes_are_read(
    tmp_path: Path,
) -> None:
    config = tmp_path / "anybatch.toml"
    config.write_text(KEYS)
    with serving(tmp_path, config, C_KEY=" ", D_KEY="sk-d") as (process, url, log_file):
        until(lambda: len(events(log_file, "route.keyless")) == 4, "a word of it")
        ready = httpx2.get(root_of(url) + "/ready")
        config.write_text(KEYS.replace("A_KEY", "E_KEY").replace("B_KEY", "D_KEY"))
        process.send_signal(signal.SIGHUP)
        until(lambda: len(events(log_file, "route.keyless")) == 7, "a word of it")

    said = events(log_file, "route.keyless")
    assert [(each["route"], each["model"], each["why"].split()[3]) for each in said] == [
        *((1, "named", "A_KEY"), (2, "known-*", "OPENAI_API_KEY")),
        *((4, "here-*", "B_KEY"), (5, "blank", "C_KEY")),
        *((1, "named", "E_KEY"), (2, "known-*", "OPENAI_API_KEY"), (5, "blank", "C_KEY")),
    ]
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert "sk-d" not in log_file.read_text("utf-8")


def test_where_nobody_serves_nobody_reads_routes_again(tmp_path: Path) -> None:
    told = anybatch("serve", "--reload-routes", home=tmp_path)

    assert (told.returncode, "no server serves" in told.stderr) == (1, True)


# --- stopping ---


def test_a_stop_takes_less_than_five_seconds_whoever_hangs(tmp_path: Path) -> None:
    """An endpoint that does not answer, a client that does not go on, a collector that is deaf."""
    with socket.create_server(("127.0.0.1", 0)) as deaf, FakeEndpoint(latency=60.0) as endpoint:
        deaf_address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        said = ["serve", "--port", "0", "--config", str(settings(tmp_path, endpoint.base_url))]
        server = subprocess.Popen(
            command(*said),
            env=environment(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=deaf_address),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            port = int(url.rsplit(":", 1)[1].removesuffix("/v1"))
            with client_of(url) as client, socket.create_connection(("127.0.0.1", port)) as slow:
                batch = create(client, [chat("a")])
                until(lambda: bool(endpoint.ledger.executions), "a call")
                slow.sendall(b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\n")
                slow.sendall(b"content-length: 100\r\n\r\nhalf")
                began = time.monotonic()
                server.terminate()
                _, text = server.communicate(timeout=30)
                took = time.monotonic() - began
        finally:
            server.kill()
            server.communicate()

    with closing(ServedStore(tmp_path / "store")) as store:
        left = store.order(batch.id)
    assert (server.returncode, left and left.status) == (0, "running"), text
    assert took < 5.5  # half a second of it is for a machine that is busy


def test_who_is_in_a_hurry_says_so_twice(tmp_path: Path) -> None:
    with FakeEndpoint(latency=60.0) as endpoint:
        said = ["serve", "--port", "0", "--config", str(settings(tmp_path, endpoint.base_url))]
        server = subprocess.Popen(
            command(*said), env=environment(tmp_path), stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            with client_of(url) as client:
                create(client, [chat("a")])
                until(lambda: bool(endpoint.ledger.executions), "a call")
            server.terminate()
            time.sleep(0.5)
            began = time.monotonic()
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=30)
            took = time.monotonic() - began
        finally:
            server.kill()
            server.communicate()

    assert server.returncode == 0
    assert took < 2
