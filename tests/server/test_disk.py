"""A store that cannot be written for a time: orders rest, nobody is sent away, and all goes on."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace

from anybatch.effects import Moment
from anybatch.errors import StoreUnwritable
from anybatch.server import supervisor as supervising
from anybatch.server.check import Checking
from anybatch.server.desk import Desk
from anybatch.server.orders import Orders
from anybatch.server.owners import Owners
from anybatch.server.shared import ServingWorkspace
from anybatch.server.supervisor import Supervisor
from anybatch.settings import Settings
from anybatch.store.blobs import Blobs
from anybatch.store.served import ServedStore
from anybatch.testing import Answer, Call, FakeEndpoint

from ..engine.test_disk import Disk
from .test_check import ORDER, Plain
from .test_operations import root_of
from .world import (
    LIMIT_S,
    ShiftedClock,
    chat,
    client_of,
    create,
    results_of,
    served,
    until,
    until_over,
)

LONG = "x" * 20_000
REST = timedelta(seconds=31)


class Refusing:
    """Refuses an effect so many times."""

    def __init__(self, name: str, times: int) -> None:
        self._name = name
        self.left = times
        self._lock = threading.Lock()

    def __call__(self, name: str, moment: Moment) -> None:
        with self._lock:
            if name != self._name or moment != "before" or not self.left:
                return
            self.left -= 1
        raise StoreUnwritable("the disk is full")


@pytest.mark.parametrize(
    "effect",
    ["plan.mark", "rows.write", "requests.fsync", "plan.unmark", "journal.write", "journal.fsync"],
)
def test_an_order_that_cannot_be_written_rests_alone_and_goes_on(
    effect: str, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    clock, refusing = ShiftedClock(), Refusing(effect, 1)
    with served(tmp_path, endpoint, clock=clock, probe=refusing) as url, client_of(url) as client:
        first = create(client, [chat("a")])
        until(lambda: not refusing.left, "a refusal")
        _, second = until_over(client, create(client, [chat("b")]))
        before = client.batches.retrieve(first.id)
        clock.ahead += REST
        _, first = until_over(client, first)
        output, errors = results_of(client, first)

    assert second.status == "completed"
    assert before.status in ("validating", "in_progress")
    assert (first.status, list(output), errors) == ("completed", ["a"], {})


async def test_what_is_done_beside_the_orders_waits_for_the_store_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, to end an order whose time is over."""
    monkeypatch.setattr(supervising, "_LOOK_EVERY_S", 0.01)
    clock, stop = ShiftedClock(), asyncio.Event()
    refusing = Refusing("store.transaction", 0)
    with closing(ServedStore(tmp_path, probe=refusing)) as store:
        workspace = ServingWorkspace(settings=Settings(home=tmp_path), store=store)
        desk = Desk(store=store, blobs=Blobs(tmp_path), clock=clock)
        orders = Orders(desk, workspace, Owners({}))
        checking = Checking(workspace=workspace, store=store, routes=(), faces={"openai": Plain()})
        store.add_order(replace(ORDER, face="openai", expires_at=desk.clock.now()))
        supervisor = Supervisor(orders, checking)
        supervisor.take_up()
        refusing.left = 3
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run(stop))
            while orders.open:
                clock.ahead += timedelta(seconds=1)
                await asyncio.sleep(0.01)
            stop.set()
        ended = store.order(ORDER.id)

    assert refusing.left == 0
    assert ended is not None
    assert ended.status == "expired"


def test_what_cannot_be_taken_in_is_refused_for_now(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    refusing = Refusing("store.transaction", 0)
    asked = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with served(tmp_path, endpoint, probe=refusing) as url, client_of(url) as client:
        file = client.files.create(file=("in.jsonl", b"{}\n"), purpose="user_data")
        refusing.left = 1
        refused = httpx2.post(f"{url}/batches", json={**asked, "input_file_id": file.id})
        there = httpx2.get(f"{url}/files/{file.id}").status_code
        taken = httpx2.post(f"{url}/batches", json={**asked, "input_file_id": file.id})

    assert (refused.status_code, there, taken.status_code) == (503, 200, 200)
    assert "no room" in refused.json()["error"]["message"]


def is_ready(url: str) -> bool:
    return httpx2.get(root_of(url) + "/ready").status_code == 200


# --- a disk of its own ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    disk.at.mkdir()
    if shutil.which("mount") is None or disk.mount("8m").returncode:
        pytest.skip("a file system of our own needs the right to mount one")
    try:
        yield disk
    finally:
        disk.unmount()


def long_answer(call: Call) -> Answer:
    return Answer(LONG)


def test_on_a_disk_that_is_full_orders_rest_and_with_room_they_go_on(disk: Disk) -> None:
    clock, rows = ShiftedClock(), [chat(f"{n}") for n in range(500)]
    with (
        FakeEndpoint(answer=long_answer) as endpoint,
        served(disk.at / "home", endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        batch = create(client, rows)
        until(lambda: not is_ready(url), "a disk that is full")
        health = httpx2.get(root_of(url) + "/health").status_code
        why = httpx2.get(root_of(url) + "/ready").json()["why"]
        read = client.batches.retrieve(batch.id)
        disk.change("size=64m")
        until(lambda: is_ready(url), "room")
        clock.ahead += REST
        _, batch = until_over(client, batch)
        output, errors = results_of(client, batch)

    assert (health, read.status) == (200, "in_progress")
    assert why in ("the disk is full", "the store cannot be written")
    assert (batch.status, len(output), errors) == ("completed", 500, {})
