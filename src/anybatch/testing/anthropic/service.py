"""The fake service behind the front: which call is which operation, and who performs it."""

from functools import partial
from typing import Final

from ..batches.realtime import RealTime
from ..batches.vault import Vault
from ..service.faults import Status
from ..service.front import Operation, Refused
from ..service.http1 import Body, Head, Reply
from .batches import Batches
from .calls import read_call
from .errors import error_reply, failure

OPERATIONS: Final = {
    ("POST", "messages"): "call",
    ("POST", "messages/batches"): "create",
    ("GET", "messages/batches"): "list",
    ("GET", "messages/batches/*"): "poll",
    ("POST", "messages/batches/*/cancel"): "cancel",
    ("DELETE", "messages/batches/*"): "delete",
    ("GET", "messages/batches/*/results"): "download",
}
"""Method and address, without `/v1/` and with a star for an id -> what it is called."""
ADDRESSES: Final = {address for _, address in OPERATIONS}
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
        return frozenset(OPERATIONS.values())

    def name(self, head: Head) -> str | Reply:
        if self._key is not None and _key(head) != self._key:
            return failure(Status(401))
        address, _ = _address(head)
        if address not in ADDRESSES:
            return failure(Status(404))
        if VERSION not in head.headers:
            return error_reply(400, f"{VERSION}: header is required")
        return OPERATIONS.get((head.method, address)) or failure(Status(405))

    def body(self, head: Head) -> Body:
        return Body(self._vault.path() if self.name(head) == "create" else None)

    def failure(self, fault: Status) -> Reply:
        return failure(fault)

    async def perform(self, operation: Operation) -> Reply:
        try:
            return await self._performed(operation)
        except Refused as refused:
            return refused.reply

    async def _performed(self, operation: Operation) -> Reply:
        head = operation.head
        _, id = _address(head)
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


def _address(head: Head) -> tuple[str, str]:
    """The address with a star for an id, and that id."""
    parts = head.path.removeprefix("/v1").strip("/").split("/")
    if len(parts) < 3:
        return "/".join(parts), ""
    return "/".join((*parts[:2], "*", *parts[3:])), parts[2]
