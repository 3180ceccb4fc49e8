"""What a connection may ask of us: how long we wait for it, how much it may say before we know what
it wants, and how many there may be.

uvicorn has no bounds for these. Bodies are bounded by who takes them in: `forms.py`.
"""

import asyncio
import resource
import secrets
from asyncio import TimerHandle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple, cast

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..errors import BadSettings
from .log import log
from .together import Together

_PATIENCE_S, _MOST_PATIENCE_S = 60, 3_600
_MOST = 4_096
_KEPT_FILES = 128
"""So many open files are left for others than connections and what they read and write."""


def most_connections() -> int:
    """So many that each may have a file open as well, as far as this process may open any."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST
    return max(16, min(_MOST, (files - _KEPT_FILES) // 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient we are with who calls."""

    patience: timedelta = timedelta(seconds=_PATIENCE_S)
    """So long we wait for what comes before a body, for each next piece of a body, and for who does
    not read what is answered."""
    least_bytes_s: int = 1_024
    """So much of a body has to come a second, on the whole, once `patience` is over."""
    head_bytes: int = 64 * 1024
    """Of what is said before a body, behind it, or between its pieces."""
    connections: int = field(default_factory=most_connections)

    def due_s(self, received: int) -> float:
        """So long after its beginning a body may last of which so much has come."""
        return self.patience.total_seconds() + received / self.least_bytes_s


class Broken(NamedTuple):
    """What is said of a call that is none any more."""

    status: int
    message: str


_BROKEN = "anybatch.broken"
_CUT_OFF = Broken(400, "The body ended before it was complete.")


def broken(scope: Scope) -> Broken:
    """Why there is no more of a call's body."""
    why: Broken = scope.get(_BROKEN, _CUT_OFF)
    return why


def breaking_off(app: ASGIApp) -> ASGIApp:
    """`app`, to which a call that breaks in its body is as one whose client has gone: but the
    client is there, and hears the answer."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        async def receiving() -> Message:
            message = await receive()
            return {"type": "http.disconnect"} if _BROKEN in scope else message

        await app(scope, receiving, send)

    return called


Refusal = Callable[[Scope, int, str, str], Response]
"""What is said of a call of which the path and the headers are known as far as they came; last, by
which name."""


class Connection(HttpToolsProtocol):
    """One connection, within limits. Belongs to the event loop."""

    limits: ClassVar[Limits] = Limits()
    refusal: ClassVar[Refusal]

    _in_body = False
    """Whether a call has begun of which the body is not complete."""
    _broken: Broken | None = None
    """What is wrong with what came: nothing that comes behind it is looked at."""
    _has_ended = False
    """Whether the client sends nothing more."""
    _moved = False
    """Whether what came last got us any further."""
    _stuck_bytes = 0
    """So much came since anything did."""
    _waiting: TimerHandle | None = None
    _unread: TimerHandle | None = None
    """Since the client reads no more of what it is answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._together = Together(transport, self.loop)
        super().connection_made(self._together)  # type: ignore[arg-type]
        if len(self.connections) > self.limits.connections:
            self._has_ended = True  # nobody waits for what it wants
            self._refuse(503, "Too many connections are open: try again in a moment.")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        self._is_read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._broken is not None or self.transport.is_closing():
            return
        self._moved = False
        super().data_received(data)
        if self._broken is not None or self.transport.is_closing():
            return
        self._stuck_bytes = 0 if self._moved else self._stuck_bytes + len(data)
        if self._stuck_bytes > self.limits.head_bytes:
            self._refuse_head()
        elif self._is_answering():
            self._wait_no_more()  # who answers waits for the body, or for nobody
        elif self._waiting is None:
            self._wait()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Who has sent all of a call and hangs up has gone; who has not may still listen."""
        self._has_ended, self._together.lingers = True, False
        if self._in_body and self._is_answering():
            self._refuse(*_CUT_OFF)
            return True
        if self._stuck_bytes and not self._is_answering():
            self._refuse(400, "The head of the call ended before it was complete.")
        return False

    def pause_writing(self) -> None:
        super().pause_writing()
        seconds = self.limits.patience.total_seconds()
        self._unread = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._is_read()
        super().resume_writing()

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_headers_complete(self) -> None:
        self._moved = True
        self.scope["anybatch.limits"] = self.limits  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved, self._in_body = True, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._broken is not None and not self._is_answering():
            self._say_why(self._broken)

    def _wait(self) -> None:
        """For a call to begin, or for the rest of one that is answered already."""
        seconds = self.limits.patience.total_seconds()
        self._waiting = self.loop.call_later(seconds, self._too_slow)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_slow(self) -> None:
        if self._stuck_bytes:
            self._refuse(408, "The head of the call did not arrive in time.")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says to what is no HTTP, and to an address too long to be read."""
        if len(getattr(self, "url", b"")) >= self.limits.head_bytes:
            self._refuse_head()
        else:
            self._refuse(400, msg)

    def _refuse_head(self) -> None:
        self._refuse(431, f"The head of a call has at most {self.limits.head_bytes:,} bytes.")

    def _refuse(self, status: int, message: str) -> None:
        """Say so, once all that was asked before is answered, and hang up."""
        self._wait_no_more()
        if self._broken is not None or self.transport.is_closing():
            return
        log("connection.refused", status=status, why=message)
        self._broken = Broken(status, message)
        self._together.lingers = not self._has_ended
        if not self._is_answering():
            self._say_why(self._broken)
        elif self._in_body:  # who answers it says so
            cast(Scope, self.scope)[_BROKEN] = self._broken
            self.cycle.keep_alive = False
            self.cycle.message_event.set()

    def _say_why(self, why: Broken) -> None:
        """Unless it was a call that has got its answer before all of it was there."""
        if self.transport.is_closing():
            return
        if not self._in_body:
            name = f"req_{secrets.token_hex(12)}"
            self._write(type(self).refusal(self._begun(), *why, name), name)
        self.transport.close()

    def _write(self, answer: Response, name: str) -> None:
        answer.headers.update(
            {"x-request-id": name, "request-id": name, "connection": "close"},
        )
        head = b"".join(b"%b: %b\r\n" % each for each in answer.raw_headers)
        self.transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + answer.body)

    def _begun(self) -> Scope:
        """What is known of a call that did not get as far as to its body."""
        path = getattr(self, "url", b"").partition(b"?")
        return {
            "type": "http",
            "path": path[0].decode("latin-1"),
            "query_string": path[2],
            "headers": list(self.headers or ()),
        }


def connection_within(limits: Limits, refusal: Refusal) -> type[Connection]:
    """Connections with these limits, on which `refusal` says what is no call."""
    return type("Connection", (Connection,), {"limits": limits, "refusal": staticmethod(refusal)})


def limits_of(server: Mapping[str, Any]) -> Limits:
    """The limits in the `[server]` table. Raises BadSettings."""
    seconds = server.get("patience_s", _PATIENCE_S)
    if type(seconds) not in (int, float) or not 0 < seconds <= _MOST_PATIENCE_S:
        raise BadSettings(
            "patience_s in [server] of anybatch.toml: so many seconds the next bytes of a call are "
            f"waited for, a number above 0 and up to {_MOST_PATIENCE_S}, not {seconds!r}"
        )
    return Limits(patience=timedelta(seconds=seconds))
