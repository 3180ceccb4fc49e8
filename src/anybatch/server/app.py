"""The server as an application: the faces, and what every call passes on its way to them."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from random import getrandbits
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import Clock, SystemClock
from ..errors import StoreUnwritable
from . import openapi
from .connections import broken
from .face import CALLER, FINAL, Admitting, Caller, Face, OverLimit, caller_of
from .forms import TooLarge, take_body
from .health import Health
from .log import log
from .metrics import Calls
from .owners import Owners
from .paths import Paths
from .rates import Rates
from .repeats import delivered
from .telemetry import Silent, Telemetry, Told
from .tries import TRY, Tries

_FOR_ALL = ("/health", "/ready", openapi.WHERE)
"""Whoever looks after the server asks these, and has no key."""
_OUR_MISTAKE = "The server failed at this request; its log says why."
_WRONG_KEY = "Incorrect API key provided: this server asks for one that it was told of."
_FROM_ELSEWHERE = (
    "This server has no keys yet, so it answers only calls that name this machine: this one names "
    "another host, in its Host or its Origin, as one through a proxy or from a page in a browser "
    "does. To be called so, make a key on the server with `anybatch keys add NAME`, and send it."
)
_SHORT_BYTES = 1 << 16
"""A body that is no longer is looked at even where the call is refused."""
_NOWHERE = "none"
"""The route of a call that none takes."""


def application(
    faces: Sequence[Face],
    owners: Owners,
    *,
    health: Health | None = None,
    calls: Calls | None = None,
    telemetry: Telemetry | None = None,
    clock: Clock | None = None,
) -> "Front":
    """The whole server. A call is answered by the first of `faces` that claims it; `health` answers
    for none of them."""
    served = [_Served(face) for face in faces]
    tries = Tries(clock or SystemClock())
    return Front(served, owners, health, calls or Calls(), telemetry or Silent(), tries)


def _nobody() -> None:
    """Answers no call."""


class _Served:
    """A face as an application, and its paths by what answers there."""

    def __init__(self, face: Face) -> None:
        self.face = face
        routes = list(face.routes())
        self._paths = Paths(routes)
        self._handlers = _handlers(face, routes)
        # What no route takes it says the reason of. It sends nobody on to where a slash is missing:
        # the address would be what the caller says we are called (`Host`).
        self._rest = Starlette(routes=routes, exception_handlers=self._handlers)
        self._rest.router.redirect_slashes = False
        self._names = {route.endpoint: route.path for route in routes if isinstance(route, Route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._paths.find(scope)
        if found is None:
            await self._rest(scope, receive, send)
            return
        scope.update(found)
        request = Request(scope, receive, send)
        try:
            response = await scope["endpoint"](request)
        except tuple(self._handlers) as e:
            handler = next(
                self._handlers[kind] for kind in type(e).__mro__ if kind in self._handlers
            )
            response = await handler(request, e)
        await response(scope, receive, send)

    def route(self, scope: Scope) -> str:
        """The pattern that a call was answered by."""
        return self._names.get(scope.get("endpoint", _nobody), _NOWHERE)


Handler = Callable[[Request, Exception], Awaitable[Response]]


def _handlers(face: Face, routes: Sequence[BaseRoute]) -> dict[Any, Handler]:
    """What is said where a call is refused before or beside what its face says of it."""

    async def refused(request: Request, e: Exception) -> Response:
        assert isinstance(e, HTTPException)
        said = f"{e.detail} ({request.method} {request.url.path})"
        response = face.failure(e.status_code, said, request_id=_name_of(request))
        if e.status_code == 405:
            response.headers["allow"] = ", ".join(sorted(_methods(routes, request.scope)))
        return response

    async def over(request: Request, e: Exception) -> Response:
        assert isinstance(e, OverLimit)
        return _too_much(face, e, _name_of(request))

    async def full(request: Request, e: Exception) -> Response:
        log("call.unwritten", path=request.url.path, why=str(e)[:300])
        said = "The server has no room to write this down now: try again later."
        return face.failure(503, said, request_id=_name_of(request))

    async def gone(request: Request, e: Exception) -> Response:
        return face.failure(*broken(request.scope), request_id=_name_of(request))

    return {
        HTTPException: refused,
        OverLimit: over,
        StoreUnwritable: full,
        ClientDisconnect: gone,
    }


def _name_of(request: Request) -> str:
    return caller_of(request).request_id


def _methods(routes: Iterable[BaseRoute], scope: Scope) -> Iterator[str]:
    """Those that the path of a call takes; each may have a route of its own."""
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            yield from route.methods or ()


def _too_much(face: Face, e: OverLimit, name: str) -> Response:
    response = face.failure(429, str(e), request_id=name)
    response.headers["retry-after"] = str(e.wait_s)
    if e.is_final:
        response.headers.update(FINAL)
    return response


def _hearing(answer: Response) -> ASGIApp:
    """`answer`, given once a short body is there: by what it says the next try is known."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if TRY in request.headers and scope["method"] == "POST":
            with suppress(TooLarge, TimeoutError, ClientDisconnect):
                await take_body(request, most=_SHORT_BYTES)
        await answer(scope, receive, send)

    return answered


def request_id() -> str:
    """A name for a call: no secret, so that any chance will do."""
    return f"req_{getrandbits(96):024x}"


def _naming(name: str) -> dict[str, str]:
    """The headers that tell a call its name, in the words of each SDK."""
    return {"x-request-id": name, "request-id": name}


class Front:
    """Gives each call a name, finds out whose it is, and says in the log how it went."""

    def __init__(
        self,
        faces: Sequence[_Served],
        owners: Owners,
        health: Health | None,
        calls: Calls,
        telemetry: Telemetry,
        tries: Tries,
    ) -> None:
        self._faces = faces
        self._owners = owners
        self._rates = Rates()
        self._tries = tries
        self._health = health
        self._calls = calls
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] in _FOR_ALL and (answer := await self._ours(scope)) is not None:
            answer.headers.update(_naming(request_id()))
            await answer(scope, receive, send)
            return
        served = self._served(scope)
        told = Told(name=request_id(), method=scope["method"], face=served.face.name)
        began = time.perf_counter()
        with self._telemetry.call(told, scope):
            owner, failure = await self._answered(served, told, scope, receive, send)
        self._calls.note(face=told.face, method=told.method, route=told.route, status=told.status)
        fields = {"method": told.method, "path": scope["path"], "status": told.status}
        ms = round((time.perf_counter() - began) * 1000, 1)
        more = {} if failure is None else {"failure": failure}
        log("request", id=told.name, **fields, ms=ms, owner=owner, **more)

    def _served(self, scope: Scope) -> _Served:
        return next(each for each in self._faces if each.face.claims(scope))

    def refusal(self, scope: Scope, status: int, message: str, name: str) -> Response:
        """What is said of a call that is none, in the words that it was begun in."""
        return self._served(scope).face.failure(status, message, request_id=name)

    async def _answered(
        self, served: _Served, told: Told, scope: Scope, receive: Receive, send: Send
    ) -> tuple[str | None, str | None]:
        """Have a call answered; whose it is, and what went wrong with us."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
                named = _naming(told.name).items()
                encoded = [(name.encode(), value.encode()) for name, value in named]
                message["headers"] = [*message["headers"], *encoded]
            await send(message)

        owner = self._owners.owner_of(scope["headers"], scope["query_string"])
        if owner is None and isinstance(served.face, Admitting):
            owner = await served.face.admitted(scope)
            if owner is not None and not self._owners.is_known(owner):
                owner = None  # it may call no more, by whatever address
        failure = None
        self._calls.in_flight += 1
        try:
            app = await self._app(served, scope, owner, told.name)
            await delivered(app, scope, receive, sending, self._tries)
        except Exception as e:
            told.failure = type(e).__name__
            failure = f"{told.failure}: {e}"[:300]
            if not told.status:
                answer = served.face.failure(500, _OUR_MISTAKE, request_id=told.name)
                await answer(scope, receive, sending)
        finally:
            self._calls.in_flight -= 1
            told.route = served.route(scope)
        return owner, failure

    async def _app(self, served: _Served, scope: Scope, owner: str | None, name: str) -> ASGIApp:
        """What answers a call."""
        if owner is None:
            if not self._owners.ask_for_keys:
                return served.face.failure(403, _FROM_ELSEWHERE, request_id=name)
            return served.face.failure(401, _WRONG_KEY, request_id=name)
        scope[CALLER] = Caller(owner, name)
        terms = self._owners.terms_of(owner)
        if terms is not None and terms.rpm is not None:
            wait_s = self._rates.wait_s(owner, terms.rpm, now=time.monotonic())
            if wait_s:
                said = f"This key may make {terms.rpm} calls a minute."
                return _hearing(_too_much(served.face, OverLimit(said, wait_s=wait_s), name))
        if (answer := await self._ours(scope)) is not None:
            return answer
        return served

    async def _ours(self, scope: Scope) -> Response | None:
        """The answer to a call that is for no face; None: it is for one."""
        if self._health is None:
            return None
        return await self._health.answer(scope["path"], method=scope["method"])
