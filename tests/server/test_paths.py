"""A call's way in and its answer's way out: the same as the long way, with less to do."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.routing import BaseRoute, Match, Route

from anybatch.clock import SystemClock
from anybatch.server.anthropic import AnthropicFace
from anybatch.server.desk import Desk
from anybatch.server.face import Face
from anybatch.server.gemini import GeminiFace
from anybatch.server.openai import OpenAIFace
from anybatch.server.orders import Orders
from anybatch.server.owners import Owners
from anybatch.server.paths import Paths
from anybatch.server.routes import RouteTable
from anybatch.server.shared import ServingWorkspace
from anybatch.server.together import _MOST_BYTES, Together
from anybatch.settings import Settings
from anybatch.store.blobs import Blobs
from anybatch.store.served import ServedStore
from anybatch.testing import FakeEndpoint

from .world import served

METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH")
ODD = (
    "/",
    "",
    "/v1",
    "/v1/files/",
    "//",
    "/v1/models/a/b/c",
    "/v1/batches/a:cancel",
    "/v1/files/é",
)


@pytest.fixture
async def faces(tmp_path: Path) -> Any:
    with closing(ServedStore(tmp_path)) as store:
        workspace = ServingWorkspace(settings=Settings(home=tmp_path), store=store)
        desk = Desk(store=store, blobs=Blobs(tmp_path), clock=SystemClock())
        orders = Orders(desk, workspace, Owners({}))
        table = RouteTable(Settings(home=tmp_path))
        yield [
            GeminiFace(desk, orders, table),
            AnthropicFace(desk, orders),
            OpenAIFace(desk, orders, table),
        ]


def paths_of(routes: list[BaseRoute]) -> Iterator[str]:
    """Of each route one that it takes, and some that are almost like it."""
    yield from ODD
    for route in routes:
        assert isinstance(route, Route)
        names = {name: f"x-{name}" for name in route.param_convertors}
        path = str(route.url_path_for(route.name, **names))
        yield from (path, f"{path}/", f"{path}:cancel", f"{path}/more", path.rpartition("/")[0])


def one_by_one(routes: list[BaseRoute], scope: dict[str, Any]) -> Any:
    """What Starlette finds."""
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            return found
    return None


async def test_a_route_is_found_that_trying_them_one_by_one_finds(faces: list[Face]) -> None:
    for face in faces:
        routes = list(face.routes())
        paths = Paths(routes)
        for path in paths_of(routes):
            for method in METHODS:
                scope = {"type": "http", "method": method, "path": path}
                expected, found = one_by_one(routes, scope), paths.find(scope)
                # One that takes any number of slashes may be left to whoever tries all.
                assert found == expected or (found is None and path.count("/") > 4), (method, path)


def test_what_no_route_takes_is_told_why(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    with served(tmp_path, endpoint) as url:
        nowhere = httpx2.get(f"{url}/nowhere")
        unallowed = httpx2.put(f"{url}/batches/batch_x")
        slash = httpx2.get(f"{url}/batches/")

    assert (nowhere.status_code, nowhere.json()["error"]["type"]) == (404, "invalid_request_error")
    assert (unallowed.status_code, unallowed.headers["allow"]) == (405, "GET, HEAD")
    assert (slash.status_code, slash.headers.get("location")) == (404, None)


# --- what is written together ---


class Wire:
    """A transport that notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.mood = "calm"

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done


def together() -> tuple[Wire, Together]:
    wire: Any = Wire()
    return wire, Together(wire, asyncio.get_running_loop())


async def test_what_is_written_in_one_go_is_sent_at_once() -> None:
    wire, both = together()

    for piece in (b"head ", b"body"):
        both.write(piece)
    before = list(wire.done)
    await asyncio.sleep(0)
    both.write(b"next")
    await asyncio.sleep(0)

    assert before == []
    assert wire.done == [b"head body", b"next"]


async def test_what_was_written_goes_out_before_the_end() -> None:
    wire, both = together()

    both.write(b"last words")
    both.close()
    both.write(b"too late")
    await asyncio.sleep(0)

    assert wire.done == [b"last words", "closed"]
    assert both.is_closing()


async def test_much_is_not_held_back() -> None:
    """Whoever writes much is told to wait by the transport alone."""
    wire, both = together()

    for _ in range(3):
        both.write(b"x" * _MOST_BYTES)

    assert sum(len(sent) for sent in wire.done if isinstance(sent, bytes)) >= 2 * _MOST_BYTES


async def test_the_rest_of_a_transport_is_there() -> None:
    _, both = together()

    assert both.mood == "calm"
