"""A socket on 127.0.0.1 that is served in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from .http1 import Application, Connection

T = TypeVar("T")

BACKLOG: Final = 4096
"""Connections that may wait to be accepted, so that a burst of clients is not refused."""

_TURNS_TO_ATTACH: Final = 5


class _Stopped(Exception):
    """Ends the group of what is being answered."""


class Server:
    """May be stopped and started again; it keeps its port."""

    def __init__(self, application: Application, *, port: int = 0) -> None:
        self._application = application
        self._connected: set[Connection] = set()
        self._thread: threading.Thread | None = None
        self.port = port
        """0 until it is started, unless it was chosen."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the server's own thread."""
        return threading.current_thread() is self._thread

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        if self._thread is not None:
            raise RuntimeError("the endpoint is started already")
        ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread = None
            raise self._failure

    def stop(self) -> None:
        """Stop listening and drop every connection; from now on connections are refused."""
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._thread = None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the server's thread do something, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as failure:
            self._failure = failure
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)
        # As asyncio does for its own: else an answer in two parts waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.TaskGroup() as group:
                server = await self._listen(group, listener)
                ready.set()
                await self._stopped.wait()
                await self._hang_up(server)
                raise _Stopped
        except* _Stopped:
            pass

    async def _listen(self, group: asyncio.TaskGroup, listener: socket.socket) -> asyncio.Server:
        server = await self._loop.create_server(
            lambda: Connection(self._application, group, self._connected),
            sock=listener,
            backlog=BACKLOG,
        )
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _hang_up(self, server: asyncio.Server) -> None:
        """Close every connection, those included that were accepted a moment ago."""
        for listener in server.sockets:
            self._loop.remove_reader(listener.fileno())
        # A connection just accepted takes some turns of the loop to be known to us.
        for _ in range(_TURNS_TO_ATTACH):
            for connection in tuple(self._connected):
                connection.cut("reset")
            await asyncio.sleep(0)
        server.close()
