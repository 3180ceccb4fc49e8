"""`FakeEndpoint`: the fake service on a real socket, in a thread of its own."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from ..service.server import Server
from .answers import Answerer, echo
from .call import Call
from .ledger import Ledger
from .limits import Gate, Limits
from .script import Scripted
from .service import Manner, Service


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
        self._server = Server(self._service, port=port)

    @property
    def service(self) -> Service:
        """What answers behind the socket, for a fake that serves more at its own address."""
        return self._service

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"{self._server.address}/v1"

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        self._server.start()

    def stop(self) -> None:
        """Stop listening and drop every connection; from now on connections are refused."""
        self._server.stop()
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
