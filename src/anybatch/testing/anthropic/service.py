"""The fake service behind the front: which call is which operation, and who performs it."""

from functools import partial
from typing import Final

from ..batches.realtime import RealTime
from ..batches.vault import Vault
from ..service.faults import Status
from ..service.front import Operation
from ..service.http1 import Body, Head, Reply
from ..service.routes import ID, Routes
from .batches import Batches
from .calls import read_call
from .errors import error_reply, failure

_BATCHES: Final = "(?:/v1)?/messages/batches"
ROUTES: Final = Routes(
    ("POST", "(?:/v1)?/messages", "call"),
    ("POST", _BATCHES, "create"),
    ("GET", _BATCHES, "list"),
    ("GET", f"{_BATCHES}/{ID}", "poll"),
    ("POST", f"{_BATCHES}/{ID}/cancel", "cancel"),
    ("DELETE", f"{_BATCHES}/{ID}", "delete"),
    ("GET", f"{_BATCHES}/{ID}/results", "download"),
)
OPERATIONS: Final = ROUTES.names
VERSION: Final = "anthropic-version"


class Service:
    """Performs operations. Belongs to the service's thread."""

    def __init__(self, batches: Batches, calls: RealTime, vault: Vault, *, key: str | None) -> None:
        self._batches = batches
        self._calls = calls
        self._vault = vault
        self._key = key

    @property
    def operations(self) -> frozenset[str]:
        return OPERATIONS

    def name(self, head: Head) -> str | Reply:
        if self._key is not None and _key(head) != self._key:
            return failure(Status(401))
        route = ROUTES.find(head)
        if not route.is_address:
            return failure(Status(404))
        if VERSION not in head.headers:
            return error_reply(400, f"{VERSION}: header is required")
        return route.name or failure(Status(405))

    def body(self, head: Head) -> Body:
        return Body(self._vault.path() if self.name(head) == "create" else None)

    def failure(self, fault: Status) -> Reply:
        return failure(fault)

    async def perform(self, operation: Operation) -> Reply:
        head = operation.head
        id = ROUTES.find(head).id
        match operation.name:
            case "call":
                read = partial(read_call, head.headers[VERSION])
                return self._calls.reply(operation.body, read)
            case "create":
                return await self._batches.create(operation)
            case "poll":
                return await self._batches.poll(id, head)
            case "list":
                return await self._batches.list(head)
            case "cancel":
                return await self._batches.cancel(id, head)
            case "delete":
                return await self._batches.delete(id)
            case "download":
                return await self._batches.download(id, head.headers)
            case name:
                raise ValueError(f"no operation is called {name!r}")


def _key(head: Head) -> str | None:
    """The key that a call carries; where there are two, that of the older header counts."""
    bearer = head.headers.get("authorization", "").removeprefix("Bearer ")
    return head.headers.get("x-api-key") or bearer
