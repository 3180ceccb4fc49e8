"""A server from its settings: what it is made of, and how long it lives."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from ..clock import Clock, SystemClock
from ..core.served import ApiKey
from ..effects import Probe, unwatched
from ..errors import BadSettings, StoreError, UsageError
from ..providers.registry import checked_url
from ..settings import Settings
from ..store.blobs import Blobs
from ..store.served import ServedStore
from ..store.sqlite import DATABASE
from . import log
from .alone import alone
from .anthropic import AnthropicFace
from .app import Front, application
from .check import Checking
from .connections import Limits, breaking_off, connection_within, limits_of
from .desk import Desk
from .face import Face
from .gemini import GeminiFace
from .health import Health
from .metrics import Calls
from .openai import OpenAIFace
from .orders import Orders
from .owners import Owners, owners_of
from .routes import RouteTable, keyless
from .shared import ServingWorkspace
from .supervisor import Supervisor
from .telemetry import Silent, Telemetry, telemetry_of
from .webhook_calling import Caller
from .webhook_calls import WebhookCalls
from .webhook_settings import WebhookSettings, webhooks_of
from .webhooks import Webhooks

_LEARN_EVERY_S = 1.0
"""So long a revoked key may still be good."""
HOST, PORT = "127.0.0.1", 8000
_SETTINGS = ("host", "port", "keys", "public_url", "webhook_hosts", "webhooks", "patience_s")
_CLOSE_S = 1
"""So long open calls may go on when we stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is served, and where."""

    settings: Settings
    routes: RouteTable
    owners: Owners
    host: str
    port: int
    public_url: str | None = None
    webhooks: WebhookSettings = WebhookSettings()
    limits: Limits = field(default_factory=Limits)
    telemetry: Telemetry = field(default_factory=Silent)

    def reread(self, read: Callable[[], Settings]) -> None:
        """Go by the routes that `read` finds, unless they are not as they must be."""
        try:
            self.routes.take(read())
        except BadSettings as e:
            log.log("routes.kept", why=str(e)[:500])
        else:
            log.log("routes.read", routes=len(self.routes))
            self.warn()

    def warn(self) -> None:
        """Say which routes lack a key. The others are good without it, so nothing is refused."""
        for each in keyless(self.routes.settings, self.routes):
            said = f"the environment variable {each.variable} is not set"
            log.log("route.keyless", route=each.number, model=each.model, why=said)


def serving_of(settings: Settings, *, host: str | None, port: int | None) -> Serving:
    """Raises BadSettings for what cannot be served as it is said."""
    server = settings.server
    for name in server:
        if name not in _SETTINGS:
            raise BadSettings(
                f"[server] in anybatch.toml has {name!r}; it may have {', '.join(_SETTINGS)}"
            )
    host, port = (
        host or server.get("host", HOST),
        server.get("port", PORT) if port is None else port,
    )
    if not isinstance(host, str) or type(port) is not int or not 0 <= port < 65_536:
        raise BadSettings("[server] in anybatch.toml: host is a name, port a number below 65536")
    owners = owners_of(server)
    if (settings.home / DATABASE).exists():
        owners.learn(_stored_keys(settings.home))
    if not (owners.ask_for_keys or _is_this_machine(host)):
        raise BadSettings(
            f"at {host!r} others can call: they need a key. Make one with `anybatch keys add "
            "NAME`, or leave --host out to serve this machine alone"
        )
    routes = RouteTable(settings)
    return Serving(
        settings=routes.settings,
        routes=routes,
        owners=owners,
        host=host,
        port=port,
        public_url=_public_url(server.get("public_url")),
        webhooks=webhooks_of(server, settings.environment),
        limits=limits_of(server),
        telemetry=telemetry_of(settings.environment),
    )


def _public_url(given: object) -> str | None:
    """Where clients reach us, as far as somebody has said so. Raises BadSettings."""
    if given is None:
        return None
    where = "public_url in [server] of anybatch.toml"
    if not isinstance(given, str):
        raise BadSettings(f"{where} must be a text, not {given!r}")
    return checked_url(given, where=where).removesuffix("/v1")


def _stored_keys(home: Path) -> list[ApiKey]:
    store = ServedStore(home)
    try:
        return store.api_keys()
    finally:
        store.close()


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
            log.flush()


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
    telemetry = serving.telemetry
    orders = Orders(desk, workspace, serving.owners, telemetry)
    caller = Caller(serving.webhooks.hosts, probe=workspace.probe)
    webhooks = Webhooks(store, workspace.clock, serving.webhooks, caller=caller, news=orders.news)
    # The last one claims whatever the others do not.
    faces: list[Face] = [
        GeminiFace(desk, orders, serving.routes, public_url=serving.public_url),
        AnthropicFace(desk, orders, public_url=serving.public_url),
        OpenAIFace(desk, orders, serving.routes, more=WebhookCalls(desk, webhooks).routes()),
    ]
    checking = Checking(
        workspace=workspace,
        store=store,
        routes=serving.routes,
        faces={face.name: face for face in faces},
    )
    supervisor = Supervisor(orders, checking)
    await asyncio.to_thread(supervisor.take_up)
    await asyncio.to_thread(webhooks.take_up)
    calls = Calls()
    works = supervisor.works
    health = Health(store, orders, works=works, calls=calls, more=webhooks.metrics)
    await telemetry.observe(health.numbers)
    app = application(
        faces,
        serving.owners,
        health=health,
        calls=calls,
        telemetry=telemetry,
        clock=workspace.clock,
    )
    server = _Server(_config(app, serving.limits))
    serving.warn()
    broken: list[BaseException] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_supervise(supervisor, stop, broken))
        tasks.create_task(_supervise(webhooks, stop, broken))
        tasks.create_task(_listen(server, listener, stop, ready))
        tasks.create_task(_learn_keys(serving.owners, store, stop))
    caller.close()
    await telemetry.close()
    if broken:
        raise broken[0]


async def _supervise(
    loop: Supervisor | Webhooks, stop: asyncio.Event, broken: list[BaseException]
) -> None:
    """Keep it going; if nobody can go on, have the calls under way answered and stop."""
    try:
        await loop.run(stop)
    except asyncio.CancelledError:
        raise
    except BaseException as e:
        broken.append(e)
    finally:
        stop.set()


async def _learn_keys(owners: Owners, store: ServedStore, stop: asyncio.Event) -> None:
    """Go by the keys that are stored, whoever adds or revokes one."""
    while not stop.is_set():
        try:
            owners.learn(await asyncio.to_thread(store.api_keys))
        except StoreError as e:
            log.log("keys.unread", why=str(e)[:300])  # who was known is known until it is mended
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LEARN_EVERY_S)


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


def _config(app: Front, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        breaking_off(app),
        http=connection_within(limits, app.refusal),
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # a proxy's address is `public_url`
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
