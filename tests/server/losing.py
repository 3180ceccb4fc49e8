"""A proxy that loses answers: what a client never hears of has happened all the same."""

import socket
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from anybatch.effects import Moment
from anybatch.store.sqlite import DATABASE

LIMIT_S: Final = 30.0
FAULTS: Final = ("reset", "timeout", "408", "500", "502", "503", "504")
_KEYS: Final = ("authorization", "x-api-key", "x-goog-api-key")
_OF_A_HOP: Final = {"connection", "content-length", "keep-alive", "transfer-encoding", "expect"}
_RESET: Final = struct.pack("ii", 1, 0)
_LOST: Final = b'{"error": {"code": 500, "message": "lost", "status": "INTERNAL"}}'

Calls = Mapping[str, Callable[[str], bool]]
"""By what an owner is called before its fault: which calls of its, by their paths, lose their first
answer. Of an owner whose name begins with `early` the answer is given up before it is there."""


class Leaving:
    """A probe that lets callers go as soon as what they asked for is written down, which is before
    they could have an answer."""

    def __init__(self, home: Path) -> None:
        self._database = home / DATABASE
        self._waiting: dict[str, HTTPConnection] = {}
        self._gone: dict[str, threading.Event] = {}

    def expect(self, owner: str, upstream: HTTPConnection) -> None:
        self._gone[owner] = threading.Event()
        self._waiting[owner] = upstream

    def wait(self, owner: str) -> None:
        """Until the order of this owner is written down and its caller has gone."""
        assert self._gone[owner].wait(LIMIT_S)

    def __call__(self, name: str, moment: Moment) -> None:
        if (name, moment) != ("store.transaction", "after") or not self._waiting:
            return
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            owners = {owner for (owner,) in database.execute("select owner from orders")}
        for owner in owners & self._waiting.keys():
            self._waiting.pop(owner).close()
            self._gone[owner].set()


class Losing(ThreadingHTTPServer):
    """Passes calls on to a server, and loses the first answer to each of those that it is told."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, server: str, owners: Sequence[str], calls: Calls, leaving: Leaving) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.upstream = server.removeprefix("http://")
        self.leaving = leaving
        self.lost: list[str] = []
        """Whose answers were lost."""
        self.seen: list[str] = []
        """Whose calls came that were, or might have been, such a call."""
        self._owners = owners
        self._calls = calls
        self._lock = threading.Lock()  # guards both lists

    def loses(self, owner: str, path: str) -> bool:
        """Whether the answer to this call is lost; it is noted then."""
        if not self._calls[owner.partition("-")[0]](path):
            return False
        with self._lock:
            self.seen.append(owner)
            if owner in self.lost:
                return False
            self.lost.append(owner)
            return True

    def owner_of(self, said: str) -> str | None:
        """Whose key or secret is in what a call says."""
        return next((owner for owner in self._owners if owner in said), None)

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # no word of farewell: a reset is one

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error here."""


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Losing

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""

    def do_GET(self) -> None:
        self._pass()

    def do_DELETE(self) -> None:
        self._pass()

    def do_POST(self) -> None:
        said = " ".join(self.headers.get(name, "") for name in _KEYS)
        owner = self.server.owner_of(f"{said} {unquote(self.path)}")
        if owner is None or not self.server.loses(owner, self.path):
            self._pass()
            return
        early = owner.startswith("early")
        with closing(HTTPConnection(self.server.upstream, timeout=LIMIT_S)) as upstream:
            if early:
                self.server.leaving.expect(owner, upstream)
            self._send(upstream)
            if early:
                self.server.leaving.wait(owner)
            else:
                upstream.getresponse().read()
        self._lose(owner.rpartition("-")[2])

    def _pass(self) -> None:
        with closing(HTTPConnection(self.server.upstream, timeout=LIMIT_S)) as upstream:
            self._send(upstream)
            answer = upstream.getresponse()
            body = answer.read()
        self._answer(answer.status, answer.getheaders(), body)

    def _send(self, upstream: HTTPConnection) -> None:
        """The call as it came."""
        body = self._body()
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _OF_A_HOP:
                upstream.putheader(name, value)
        upstream.putheader("content-length", str(len(body)))
        upstream.endheaders(body)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _lose(self, fault: str) -> None:
        self.close_connection = True
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif fault == "timeout":
            self.connection.settimeout(LIMIT_S)
            with suppress(OSError):
                self.connection.recv(1)  # until it has waited long enough
        else:
            hurry = [("content-type", "application/json"), ("retry-after-ms", "1")]
            self._answer(int(fault), hurry, _LOST)

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_A_HOP:
                self.send_header(name, value)
        if self.close_connection:
            self.send_header("connection", "close")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def losing(server: str, owners: Sequence[str], calls: Calls, leaving: Leaving) -> Iterator[Losing]:
    """A proxy before the server at `server`, where the key of each of `owners` is its name."""
    with Losing(server, owners, calls, leaving) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(LIMIT_S)
