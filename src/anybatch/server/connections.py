"""What a connection may ask of us: how long we wait for it, how much it may say before we know what
it wants, and how many there may be.

uvicorn has no bounds for these. Bodies are bounded by who takes them in: `forms.py`.
"""

import asyncio
import resource
import secrets
from asyncio import TimerHandle
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..errors import BadSettings
from ..wire.openai import write_error
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


class Connection(HttpToolsProtocol):
    """One connection, within limits. Belongs to the event loop."""

    limits: ClassVar[Limits] = Limits()

    _moved = False
    """Whether what came last got us any further."""
    _stuck_bytes = 0
    """So much came since anything did."""
    _waiting: TimerHandle | None = None
    _unread: TimerHandle | None = None
    """Since the client reads no more of what it is answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Together(transport, self.loop))  # type: ignore[arg-type]
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "Too many connections are open: try again in a moment.")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        self._is_read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._moved = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._stuck_bytes = 0 if self._moved else self._stuck_bytes + len(data)
        if self._stuck_bytes > self.limits.head_bytes:
            self._refuse(431, f"The head of a call has at most {self.limits.head_bytes:,} bytes.")
        elif self._is_answering():
            self._wait_no_more()  # who answers waits for the body, or for nobody
        elif self._waiting is None:
            self._wait()

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

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        super().on_message_complete()

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
        """What uvicorn says to what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        """Say so and hang up. In whose words nobody knows yet: these are the usual face's."""
        self._wait_no_more()
        if self.transport.is_closing():
            return
        log("connection.refused", status=status, why=message)
        if not self._is_answering():
            body = write_error(status, message)
            name = f"req_{secrets.token_hex(12)}"
            head = (
                f"content-type: application/json\r\nx-request-id: {name}\r\nconnection: close\r\n"
            )
            length = f"content-length: {len(body)}\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + (head + length).encode() + body)
        self.transport.close()


def connection_within(limits: Limits) -> type[Connection]:
    """Connections with these limits."""
    return type("Connection", (Connection,), {"limits": limits})


def limits_of(server: Mapping[str, Any]) -> Limits:
    """The limits in the `[server]` table. Raises BadSettings."""
    seconds = server.get("patience_s", _PATIENCE_S)
    if type(seconds) not in (int, float) or not 0 < seconds <= _MOST_PATIENCE_S:
        raise BadSettings(
            "patience_s in [server] of anybatch.toml: so many seconds the next bytes of a call are "
            f"waited for, a number above 0 and up to {_MOST_PATIENCE_S}, not {seconds!r}"
        )
    return Limits(patience=timedelta(seconds=seconds))
