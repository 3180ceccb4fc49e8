"""The server as an application: the faces, and what every call passes on its way to them."""

import secrets
import time
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .face import Caller, Face
from .log import log
from .owners import Owners


def application(faces: Sequence[Face], owners: Owners) -> ASGIApp:
    """The whole server. A call is answered by the first of `faces` that claims it."""
    return Front([(face, _app_of(face)) for face in faces], owners=owners)


def _app_of(face: Face) -> ASGIApp:
    async def refused(request: Request, e: Exception) -> Response:
        assert isinstance(e, HTTPException)
        said = f"{e.detail} ({request.method} {request.url.path})"
        return face.failure(e.status_code, said)

    async def broken(request: Request, e: Exception) -> Response:
        return face.failure(500, "The server failed at this request; its log says why.")

    return Starlette(
        routes=face.routes(), exception_handlers={HTTPException: refused, Exception: broken}
    )


def request_id() -> str:
    return f"req_{secrets.token_hex(12)}"


class Front:
    """Gives each call a name, finds out whose it is, and says in the log how it went."""

    def __init__(self, faces: Sequence[tuple[Face, ASGIApp]], *, owners: Owners) -> None:
        self._faces = faces
        self._owners = owners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        face, app = next(each for each in self._faces if each[0].claims(scope))
        name, began = request_id(), time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        owner = self._owners.owner_of(scope["headers"])
        failure = None
        try:
            if owner is None:
                said = "Incorrect API key provided: this server asks for one that it was told of."
                await face.failure(401, said)(scope, receive, sending)
            else:
                scope["anybatch.caller"] = Caller(owner, name)
                await app(scope, receive, sending)
        except Exception as e:
            # Starlette has answered it, unless the client had gone.
            failure = f"{type(e).__name__}: {e}"[:300]
        fields = {"method": scope["method"], "path": scope["path"], "status": status}
        ms = round((time.perf_counter() - began) * 1000, 1)
        more = {} if failure is None else {"failure": failure}
        log("request", id=name, **fields, ms=ms, owner=owner, **more)
