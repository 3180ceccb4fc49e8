"""As much of HTTP/1.1 as a fake service needs: keep-alive, both body framings, broken answers."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol
from urllib.parse import parse_qsl, unquote

By = Literal["reset", "close"]
"""How a connection ends: RST, or FIN."""
Framing = Literal["length", "chunked", "close"]
"""What tells where a body ends: its length, a last chunk, or the end of the connection."""

REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on with 0 seconds: closing sends RST and drops what is unsent."""
PIECE: Final = 1 << 18
"""How much of a file is in memory at a time."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's first line and headers; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    keep_alive: bool
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of a file."""

    path: Path
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.start)
            left = self.length
            while left > 0 and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                yield piece

    def part(self, start: int, length: int) -> "Extent":
        return Extent(self.path, self.start + start, length)


def digest_of(content: Extent) -> str:
    """SHA-256, in hex."""
    digest = hashlib.sha256()
    for piece in content.pieces():
        digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back."""

    status: int
    body: bytes | Extent
    headers: Mapping[str, str]


class Body:
    """A request's body as it comes in: in memory, or in a file of its own."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._file: BinaryIO = BytesIO() if path is None else path.open("w+b")

    def write(self, piece: bytes | bytearray) -> None:
        self._file.write(piece)

    def close(self) -> None:
        """Nothing more comes."""
        if self.path is not None:
            self._file.close()

    def read(self) -> bytes:
        if self.path is not None:
            return self.path.read_bytes()
        assert isinstance(self._file, BytesIO)
        return self._file.getvalue()

    def discard(self) -> None:
        """Nobody will read it."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class BadRequest(Exception):
    """What came in is not HTTP/1.1."""


class Application(Protocol):
    """What a connection asks; always from the event loop's thread."""

    def admit(self, head: Head) -> int | None:
        """The call's number; 0 for one that is not counted, None to hang up on it at once."""

    def body(self, head: Head) -> Body:
        """Where the call's body goes."""

    def serve(self, number: int, head: Head, body: Body, connection: "Connection") -> None:
        """Answer; at the end, now or later, call `connection.done()` or `connection.cut()`."""

    def abandoned(self, number: int, head: Head) -> None:
        """The client left before its body was whole."""


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
    path, _, query = parts[1].partition("?")
    return Head(parts[0], unquote(path), headers, keep_alive, dict(parse_qsl(query)))


def write_head(reply: Reply, *, framing: Framing = "length") -> bytes:
    frames = {
        "length": f"content-length: {len(reply.body)}",
        "chunked": "transfer-encoding: chunked",
        "close": "connection: close",
    }
    first = f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}"
    headers = [f"{name}: {text}" for name, text in reply.headers.items()]
    return "\r\n".join([first, *headers, frames[framing], "", ""]).encode("latin-1")


def write_reply(
    reply: Reply, *, framing: Framing = "length", until: int | None = None
) -> Iterator[bytes]:
    """The answer in pieces; of its body, the first `until` bytes and no end."""
    yield write_head(reply, framing=framing)
    for piece in _pieces(reply.body, until):
        yield b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece
    if until is None and framing == "chunked":
        yield b"0\r\n\r\n"


def _pieces(body: bytes | Extent, until: int | None) -> Iterator[bytes]:
    """What goes out of `body`; no piece is empty, for an empty chunk would be the last one."""
    if isinstance(body, Extent):
        length = body.length if until is None else min(until, body.length)
        yield from body.part(0, length).pieces()
    elif part := body[:until]:
        yield part


class _Sized:
    """A body of which the length is known."""

    def __init__(self, head: Head) -> None:
        text = head.headers.get("content-length", "0")
        if not text.isascii() or not text.isdigit():
            raise BadRequest("content-length is not a number")
        self._left = int(text)

    def take(self, buffer: bytearray, body: Body) -> bool:
        """Move what is there into `body`; True when that was the end of it."""
        self._left -= _move(buffer, body, self._left)
        return self._left == 0


class _Chunked:
    """A body in chunks."""

    def __init__(self) -> None:
        self._left = 0
        self._at: Literal["size", "data", "end", "trailers"] = "size"

    def take(self, buffer: bytearray, body: Body) -> bool:
        """Move what is there into `body`; True when that was the end of it."""
        while True:
            if self._at == "data":
                self._left -= _move(buffer, body, self._left)
                if self._left:
                    return False
                self._at = "end"
            elif (line := _take_line(buffer)) is None:
                return False
            elif self._at == "size":
                self._left = _chunk_size(line)
                self._at = "data" if self._left else "trailers"
            elif self._at == "end":
                self._at = "size"
            elif not line:
                return True


def _move(buffer: bytearray, body: Body, most: int) -> int:
    piece = buffer[:most]
    if piece:
        body.write(piece)
        del buffer[: len(piece)]
    return len(piece)


def _take_line(buffer: bytearray) -> bytes | None:
    end = buffer.find(b"\r\n")
    if end < 0:
        return None
    line = bytes(buffer[:end])
    del buffer[: end + 2]
    return line


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise BadRequest("a chunk has no size") from None


class Connection(asyncio.Protocol):
    """One client's connection: requests in turn, each answered before the next is looked at."""

    def __init__(
        self, application: Application, group: asyncio.TaskGroup, connected: "set[Connection]"
    ) -> None:
        self._application = application
        self._group = group
        self._connected = connected
        self._buffer = bytearray()
        self._head: Head | None = None
        self._number = 0
        self._busy = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # So that `flushed` waits for the last byte.
        transport.set_write_buffer_limits(high=0)
        self._connected.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._writable.set()
        self._connected.discard(self)
        if self._head is not None and not self._busy:
            self._body.discard()
            self._application.abandoned(self._number, self._head)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def begin(self, answering: Coroutine[None, None, None]) -> None:
        """Run what answers a call; a client that leaves does not end it, the end of the service
        does.
        """
        self._group.create_task(answering)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        if seconds <= 0:
            act()
        else:
            asyncio.get_running_loop().call_later(seconds, act)

    def write(self, raw: bytes) -> None:
        if not self.lost:
            self._transport.write(raw)

    async def flushed(self) -> None:
        """Wait until all that was written is on its way, or the connection is gone."""
        await self._writable.wait()

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
            bad = Reply(status=400, body=str(error).encode(), headers={})
            for piece in write_reply(bad):
                self.write(piece)
            self.cut("close")

    def _step(self) -> bool:
        """Take one request off the buffer and have it served; False when it is not whole yet."""
        if self._head is None and not self._take_head():
            return False
        assert self._head is not None
        if not self._framing.take(self._buffer, self._body):
            return False
        self._body.close()
        self._busy = True
        self._application.serve(self._number, self._head, self._body, self)
        return True

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = read_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        chunked = head.headers.get("transfer-encoding", "").lower() == "chunked"
        self._framing = _Chunked() if chunked else _Sized(head)
        number = self._application.admit(head)
        if number is None:
            self.cut("reset")
            return False
        self._body = self._application.body(head)
        self._head, self._number = head, number
        if head.headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True
