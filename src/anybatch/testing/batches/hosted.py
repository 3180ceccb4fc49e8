"""What the fake of a batch API is from outside: a context manager with an address and books."""

from collections.abc import Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from ..service.http1 import Application
from ..service.server import Server
from .desk import Desk
from .ledger import BatchLedger


class Settled(Protocol):
    """Where the batches are."""

    def settle(self, *, unseen: bool = False) -> Awaitable[None]:
        """Do what is due by now, though nobody looks."""

    def renew(self) -> None:
        """Forget the event loop that is gone."""


class Hosted:
    """Between `start()` and `close()` it may be stopped and started again, as by an outage.

    It keeps its port, its files, its batches and its books. The end of a `with` block closes it.
    """

    operations: ClassVar[frozenset[str]]
    """The names of all that can be asked of it, and can meet a fault."""
    root: ClassVar[str] = "/v1"
    """What stands between the address of the service and those of its operations."""

    def __init__(
        self,
        application: Application,
        *,
        desk: Desk[Any],
        batches: Settled,
        mistakes: Sequence[Sequence[Exception]],
        port: int,
    ) -> None:
        """`mistakes` are those of who answers calls, beside those of who runs rows."""
        self._server = Server(application, port=port)
        self._batches = batches
        self._ledger = desk.ledger
        self._vault = desk.vault
        self._mistakes = (*mistakes, desk.runner.mistakes)

    @property
    def address(self) -> str:
        """Where the service is, without a path."""
        return self._server.address

    @property
    def base_url(self) -> str:
        """The same up to the version of the API: what `--base-url` takes."""
        return f"{self.address}{self.root}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What clients need in their environment beside an address."""
        return {}

    @property
    def ledger(self) -> BatchLedger:
        """The books, with all in them that is due by now, whether or not a client has looked."""
        if self._server.is_running and not self._server.is_here:
            self._server.call(self._settle())
        return self._ledger

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        if self._vault.is_closed:
            raise RuntimeError("it is closed, and its files are gone: make another one")
        self._batches.renew()
        self._server.start()

    def stop(self) -> None:
        """Stop listening and drop every connection; from now on connections are refused."""
        if self._server.is_running:
            self._server.call(self._settle(unseen=True))
            self._server.stop()

    def close(self) -> None:
        """Stop, and remove the files."""
        self.stop()
        self._vault.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        # A test that failed already has its say; one that passed must not hide a broken `answer`.
        mistakes = [mistake for made in self._mistakes for mistake in made]
        if error is None and mistakes:
            raise mistakes[0]

    async def _settle(self, *, unseen: bool = False) -> None:
        await self._batches.settle(unseen=unseen)
