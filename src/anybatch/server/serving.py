"""A server from its settings: what it is made of, and how long it lives."""

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from ..clock import Clock, SystemClock
from ..effects import Probe, unwatched
from ..errors import BadSettings, UsageError
from ..settings import Settings
from ..store.blobs import Blobs
from ..store.files import unwritable
from ..store.served import ServedStore
from .app import application
from .check import Checking
from .desk import Desk
from .face import Face
from .openai import OpenAIFace
from .orders import Orders
from .owners import Owners, owners_of
from .routes import Route, routes_of, with_routes
from .shared import ServingWorkspace
from .supervisor import Supervisor

HOST, PORT = "127.0.0.1", 8000
_CLOSE_S = 1
"""So long open calls may go on when we stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is served, and where."""

    settings: Settings
    routes: tuple[Route, ...]
    owners: Owners
    host: str
    port: int


def serving_of(settings: Settings, *, host: str | None, port: int | None) -> Serving:
    """Raises BadSettings for what cannot be served as it is said."""
    server = settings.server
    for name in server:
        if name not in ("host", "port", "keys"):
            raise BadSettings(
                f"[server] in anybatch.toml has {name!r}; it may have host, port, keys"
            )
    host, port = (
        host or server.get("host", HOST),
        server.get("port", PORT) if port is None else port,
    )
    if not isinstance(host, str) or type(port) is not int or not 0 <= port < 65_536:
        raise BadSettings("[server] in anybatch.toml: host is a name, port a number below 65536")
    owners = owners_of(server)
    if not (owners.ask_for_keys or _is_this_machine(host)):
        raise BadSettings(
            f"at {host!r} others can call: they need a key. Put the SHA-256 of one under "
            "[server.keys] in anybatch.toml, or leave --host out to serve this machine alone"
        )
    routes = routes_of(settings)
    return Serving(
        settings=with_routes(settings, routes),
        routes=routes,
        owners=owners,
        host=host,
        port=port,
    )


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def serve(
    serving: Serving,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    clock: Clock | None = None,
    probe: Probe = unwatched,
) -> None:
    """Serve until `stop` is set; `ready` is told the address once calls are taken."""
    with alone(serving.settings.home), _listening(serving) as listener:
        store = ServedStore(serving.settings.home, probe=probe)
        workspace = ServingWorkspace(
            settings=serving.settings, store=store, clock=clock or SystemClock(), probe=probe
        )
        try:
            await _serve(serving, store, workspace, listener, stop=stop, ready=ready)
        finally:
            store.close()


async def _serve(
    serving: Serving,
    store: ServedStore,
    workspace: ServingWorkspace,
    listener: socket.socket,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None],
) -> None:
    blobs = Blobs(serving.settings.home, probe=workspace.probe)
    desk = Desk(store=store, blobs=blobs, clock=workspace.clock)
    orders = Orders(desk, workspace)
    # The last one claims whatever the others do not.
    faces: list[Face] = [OpenAIFace(desk, orders, serving.routes)]
    checking = Checking(
        workspace=workspace,
        store=store,
        routes=serving.routes,
        faces={face.name: face for face in faces},
    )
    supervisor = Supervisor(orders, checking)
    await asyncio.to_thread(supervisor.take_up)
    server = _Server(_config(application(faces, serving.owners)))
    broken: list[BaseException] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_supervise(supervisor, stop, broken))
        tasks.create_task(_listen(server, listener, stop, ready))
    if broken:
        raise broken[0]


async def _supervise(
    supervisor: Supervisor, stop: asyncio.Event, broken: list[BaseException]
) -> None:
    """Keep orders going; if nobody can go on, have the calls under way answered and stop."""
    try:
        await supervisor.run(stop)
    except asyncio.CancelledError:
        raise
    except BaseException as e:
        broken.append(e)
    finally:
        stop.set()


async def _listen(
    server: "_Server", listener: socket.socket, stop: asyncio.Event, ready: Callable[[str], None]
) -> None:
    async with asyncio.TaskGroup() as tasks:
        calls = tasks.create_task(server.serve(sockets=[listener]))
        host, port = listener.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        await stop.wait()
        server.should_exit = True
        await calls


class _Server(uvicorn.Server):
    """Signals are ours to heed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_CLOSE_S,
    )


@contextmanager
def _listening(serving: Serving) -> Iterator[socket.socket]:
    """A socket that listens; connections wait in it until they are served."""
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((serving.host, serving.port))
        listener.listen(2048)
    except OSError as e:
        listener.close()
        raise UsageError(
            f"{serving.host}:{serving.port} is not to be had: {e.strerror or e}. "
            "Choose another --port, or 0 for any"
        ) from e
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the only server of this store. Raises UsageError if there is one."""
    with unwritable(home):
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise UsageError(
                f"another server serves from {str(home)!r}; stop it, or choose another --store"
            ) from e
        yield
    finally:
        os.close(lock)
