"""`FakeEndpoint`: the fake service on a real socket, in a thread of its own."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from .answers import Answerer, echo
from .call import Call
from .http1 import Connection
from .ledger import Ledger
from .limits import Gate, Limits
from .script import Scripted
from .service import Manner, Service

BACKLOG: Final = 4096
"""Connections that may wait to be accepted, so that a burst of clients is not refused."""


_TURNS_TO_ATTACH = 5


class FakeEndpoint:
    """An OpenAI-compatible endpoint on 127.0.0.1 that answers, fails and counts as you tell it.

        with FakeEndpoint(script=[Status(500)]) as endpoint:
            client = openai.OpenAI(base_url=endpoint.base_url, api_key="any")
            ...
        assert len(endpoint.ledger.executions) == 1

    It may be stopped and started again; it keeps its port and its ledger.
    """

    def __init__(
        self,
        *,
        answer: Answerer = echo,
        script: Scripted = (),
        latency: float | Callable[[Call], float] = 0.0,
        key: str | None = None,
        models: Sequence[str] = ("fake-1",),
        rpm: int | None = None,
        tpm: int | None = None,
        max_in_flight: int | None = None,
        burst: float = 1.0,
        port: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger = Ledger()
        limits = Limits(rpm=rpm, tpm=tpm, max_in_flight=max_in_flight, burst=burst)
        manner = Manner(answer=answer, script=script, latency=latency, key=key, models=models)
        self._service = Service(manner, Gate(limits, monotonic), self.ledger)
        self._port = port
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"http://127.0.0.1:{self._port}/v1"

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
        self.ledger.abandon()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        # A test that failed already has its say; one that passed must not hide a broken `answer`.
        if error is None and self._service.mistakes:
            raise self._service.mistakes[0]

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
        server = await self._loop.create_server(
            lambda: Connection(self._service), "127.0.0.1", self._port, backlog=BACKLOG
        )
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopped.wait()
        await self._hang_up(server)

    async def _hang_up(self, server: asyncio.Server) -> None:
        """Close every connection, those included that were accepted a moment ago."""
        for listener in server.sockets:
            self._loop.remove_reader(listener.fileno())
        # A connection just accepted takes some turns of the loop to be known to us.
        for _ in range(_TURNS_TO_ATTACH):
            for connection in tuple(self._service.connections):
                connection.cut("reset")
            await asyncio.sleep(0)
        server.close()
