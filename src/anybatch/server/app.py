"""The server as an application: the faces, and what every call passes on its way to them."""

import secrets
import time
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .face import Admitting, Caller, Face, OverLimit
from .health import Health
from .log import log
from .metrics import Calls
from .owners import Owners
from .rates import Rates

_FOR_ALL = ("/health", "/ready")
"""Whoever looks after the server asks these, and has no key."""
_NOWHERE = "none"
"""The route of a call that none takes."""


def application(
    faces: Sequence[Face],
    owners: Owners,
    *,
    health: Health | None = None,
    calls: Calls | None = None,
) -> ASGIApp:
    """The whole server. A call is answered by the first of `faces` that claims it; `health` answers
    for none of them."""
    return Front([_Served(face) for face in faces], owners, health, calls or Calls())


def _nobody() -> None:
    """Answers no call."""


class _Served:
    """A face, the application made of it, and its paths by what answers there."""

    def __init__(self, face: Face) -> None:
        self.face = face
        routes = list(face.routes())
        self.app = _app_of(face, routes)
        self._paths = {route.endpoint: route.path for route in routes if isinstance(route, Route)}

    def route(self, scope: Scope) -> str:
        """The pattern that a call was answered by."""
        return self._paths.get(scope.get("endpoint", _nobody), _NOWHERE)


def _app_of(face: Face, routes: Sequence[BaseRoute]) -> ASGIApp:
    async def refused(request: Request, e: Exception) -> Response:
        assert isinstance(e, HTTPException)
        said = f"{e.detail} ({request.method} {request.url.path})"
        return face.failure(e.status_code, said)

    async def over(request: Request, e: Exception) -> Response:
        assert isinstance(e, OverLimit)
        return _too_much(face, e)

    async def broken(request: Request, e: Exception) -> Response:
        return face.failure(500, "The server failed at this request; its log says why.")

    handlers = {HTTPException: refused, OverLimit: over, Exception: broken}
    return Starlette(routes=routes, exception_handlers=handlers)


def _too_much(face: Face, e: OverLimit) -> Response:
    response = face.failure(429, str(e))
    if e.wait_s is not None:
        response.headers["retry-after"] = str(e.wait_s)
    return response


def request_id() -> str:
    return f"req_{secrets.token_hex(12)}"


class Front:
    """Gives each call a name, finds out whose it is, and says in the log how it went."""

    def __init__(
        self, faces: Sequence[_Served], owners: Owners, health: Health | None, calls: Calls
    ) -> None:
        self._faces = faces
        self._owners = owners
        self._rates = Rates()
        self._health = health
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] in _FOR_ALL and (answer := await self._ours(scope)) is not None:
            await answer(scope, receive, send)
            return
        served = next(each for each in self._faces if each.face.claims(scope))
        name, began = request_id(), time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = [(b"x-request-id", name.encode()), (b"request-id", name.encode())]
                message["headers"] = [*message["headers"], *named]
            await send(message)

        owner = self._owners.owner_of(scope["headers"])
        if owner is None and isinstance(served.face, Admitting):
            owner = await served.face.admitted(scope)
        failure = None
        self._calls.in_flight += 1
        try:
            app = await self._app(served, scope, owner, name)
            await app(scope, receive, sending)
        except Exception as e:
            # Starlette has answered it, unless the client had gone.
            failure = f"{type(e).__name__}: {e}"[:300]
        finally:
            self._calls.in_flight -= 1
        method, route = scope["method"], served.route(scope)
        self._calls.note(face=served.face.name, method=method, route=route, status=status)
        fields = {"method": method, "path": scope["path"], "status": status}
        ms = round((time.perf_counter() - began) * 1000, 1)
        more = {} if failure is None else {"failure": failure}
        log("request", id=name, **fields, ms=ms, owner=owner, **more)

    async def _app(self, served: _Served, scope: Scope, owner: str | None, name: str) -> ASGIApp:
        """What answers a call."""
        if owner is None:
            said = "Incorrect API key provided: this server asks for one that it was told of."
            return served.face.failure(401, said)
        terms = self._owners.terms_of(owner)
        if terms is not None and terms.rpm is not None:
            wait_s = self._rates.wait_s(owner, terms.rpm, now=time.monotonic())
            if wait_s:
                said = f"This key may make {terms.rpm} calls a minute."
                return _too_much(served.face, OverLimit(said, wait_s=wait_s))
        if (answer := await self._ours(scope)) is not None:
            return answer
        scope["anybatch.caller"] = Caller(owner, name)
        return served.app

    async def _ours(self, scope: Scope) -> Response | None:
        """The answer to a call that is for no face; None: it is for one."""
        if self._health is None or scope["method"] not in ("GET", "HEAD"):
            return None
        return await self._health.answer(scope["path"])
