"""As much of HTTP/1.1 as a fake endpoint needs: keep-alive, both body framings, broken answers."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, Protocol

By = Literal["reset", "close"]
"""How a connection ends: RST, or FIN."""

REASONS = {status.value: status.phrase for status in HTTPStatus}
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on with 0 seconds: closing sends RST and drops what is unsent."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's first line and headers; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    keep_alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class BadRequest(Exception):
    """What came in is not HTTP/1.1."""


class Application(Protocol):
    """What a connection asks; always from the event loop's thread."""

    def opened(self, connection: "Connection") -> None: ...

    def closed(self, connection: "Connection") -> None: ...

    def admit(self, head: Head) -> int | None:
        """The call's number; 0 for one that is not counted, None to hang up on it at once."""

    def serve(self, number: int, head: Head, body: bytes, connection: "Connection") -> None:
        """Answer; at the end, now or later, call `connection.done()` or `connection.cut()`."""


def read_head(raw: bytes) -> Head:
    first, *lines = raw.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("the request line is not HTTP/1.1")
    headers = {}
    for line in lines:
        name, colon, text = line.partition(":")
        if not colon:
            raise BadRequest("a header has no colon")
        headers[name.lower()] = text.strip()
    keep_alive = parts[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Head(parts[0], parts[1].partition("?")[0], headers, keep_alive)


def write_head(reply: Reply, *, chunked: bool = False) -> bytes:
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(reply.body)}"
    first = f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}"
    headers = [f"{name}: {text}" for name, text in reply.headers.items()]
    return "\r\n".join([first, *headers, framing, "", ""]).encode("latin-1")


def write_reply(reply: Reply) -> bytes:
    return write_head(reply) + reply.body


def write_half(reply: Reply, *, chunked: bool) -> bytes:
    """The head and the first half of the body: what a client has when the connection breaks."""
    half = reply.body[: len(reply.body) // 2]
    framed = b"%x\r\n%b\r\n" % (len(half), half) if chunked and half else half
    return write_head(reply, chunked=chunked) + framed


def read_chunked(buffer: bytearray) -> tuple[bytes, int] | None:
    """The body and the length it took in `buffer`; None while its end has not come."""
    body, at = bytearray(), 0
    while (line := buffer.find(b"\r\n", at)) >= 0:
        size = _chunk_size(bytes(buffer[at:line]))
        start, end = line + 2, line + 2 + size
        if size == 0:
            return _after_trailers(buffer, bytes(body), line)
        if len(buffer) < end + 2:
            return None
        body += buffer[start:end]
        at = end + 2
    return None


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise BadRequest("a chunk has no size") from None


def _after_trailers(buffer: bytearray, body: bytes, line: int) -> tuple[bytes, int] | None:
    end = buffer.find(b"\r\n\r\n", line)
    return None if end < 0 else (body, end + 4)


class Connection(asyncio.Protocol):
    """One client's connection: requests in turn, each answered before the next is looked at."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._buffer = bytearray()
        self._head: Head | None = None
        self._number = 0
        self._busy = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._application.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._application.closed(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        if seconds <= 0:
            act()
        else:
            asyncio.get_running_loop().call_later(seconds, act)

    def write(self, raw: bytes) -> None:
        if not self.lost:
            self._transport.write(raw)

    def done(self) -> None:
        """The answer is written; the connection is free for the next request."""
        keep_alive = self._head is None or self._head.keep_alive
        self._head = None
        self._busy = False
        if not keep_alive:
            self.cut("close")
        elif self._buffer:
            # Not at once: a client that pipelines would nest us as deep as its queue is long.
            asyncio.get_running_loop().call_soon(self._advance)

    def cut(self, by: By) -> None:
        """End the connection; what has been written is delivered only if it is on its way."""
        if self.lost:
            return
        self.lost = True
        if by == "close":
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._transport.abort()

    def _advance(self) -> None:
        try:
            while not self._busy and not self.lost and self._step():
                pass
        except BadRequest as error:
            self.write(write_reply(Reply(status=400, body=str(error).encode(), headers={})))
            self.cut("close")

    def _step(self) -> bool:
        """Take one request off the buffer and have it served; False when it is not whole yet."""
        if self._head is None and not self._take_head():
            return False
        assert self._head is not None
        body = self._take_body(self._head)
        if body is None:
            return False
        self._busy = True
        self._application.serve(self._number, self._head, body, self)
        return True

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = read_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        number = self._application.admit(head)
        if number is None:
            self.cut("reset")
            return False
        self._head, self._number = head, number
        if head.headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _take_body(self, head: Head) -> bytes | None:
        if head.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._take_chunked()
        length = _content_length(head)
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _take_chunked(self) -> bytes | None:
        found = read_chunked(self._buffer)
        if found is None:
            return None
        body, taken = found
        del self._buffer[:taken]
        return body


def _content_length(head: Head) -> int:
    text = head.headers.get("content-length", "0")
    if not text.isascii() or not text.isdigit():
        raise BadRequest("content-length is not a number")
    return int(text)
