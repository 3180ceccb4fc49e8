"""The fake service behind the front: which call is which operation, and who performs it."""

from typing import Final

from ..batches.vault import Vault
from ..service.faults import Status
from ..service.front import Operation
from ..service.http1 import Body, Head, Reply
from .batches import Batches
from .errors import Refused, failure
from .files import Files

OPERATIONS: Final = {
    ("POST", "files"): "upload",
    ("GET", "files"): "files",
    ("GET", "files/*"): "file",
    ("GET", "files/*/content"): "download",
    ("DELETE", "files/*"): "delete",
    ("POST", "batches"): "create",
    ("GET", "batches"): "list",
    ("GET", "batches/*"): "poll",
    ("POST", "batches/*/cancel"): "cancel",
}
"""Method and address, without `/v1/` and with a star for an id -> what it is called."""
ADDRESSES: Final = {address for _, address in OPERATIONS}


class Service:
    """Performs operations. Belongs to the service's thread."""

    def __init__(self, files: Files, batches: Batches, vault: Vault, *, key: str | None) -> None:
        self._files = files
        self._batches = batches
        self._vault = vault
        self._key = key

    @property
    def operations(self) -> frozenset[str]:
        return frozenset(OPERATIONS.values())

    def name(self, head: Head) -> str | Reply:
        if self._key is not None and head.headers.get("authorization") != f"Bearer {self._key}":
            return failure(Status(401))
        address, _ = _address(head)
        if address not in ADDRESSES:
            message = f"Invalid URL ({head.method} {head.path})"
            return failure(Status(404, message=message, code="unknown_url"))
        name = OPERATIONS.get((head.method, address))
        if name is None:
            return failure(Status(405, message=f"Not allowed to {head.method} on {head.path}."))
        return name

    def body(self, head: Head) -> Body:
        return Body(self._vault.path() if self.name(head) == "upload" else None)

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
            case "upload":
                return self._files.upload(operation)
            case "files":
                await self._batches.settle()  # which may make some
                return self._files.list(head.query)
            case "file":
                return self._files.get(id)
            case "download":
                return self._files.download(id, head.headers)
            case "delete":
                return self._files.delete(id)
            case "create":
                return await self._batches.create(operation.body)
            case "poll":
                return await self._batches.poll(id)
            case "list":
                return await self._batches.list(head.query)
            case "cancel":
                return await self._batches.cancel(id)
            case name:
                raise ValueError(f"no operation is called {name!r}")


def _address(head: Head) -> tuple[str, str]:
    """The address with a star for an id, and that id."""
    kind, *rest = head.path.removeprefix("/v1").strip("/").split("/")
    if not rest:
        return kind, ""
    return "/".join((kind, "*", *rest[1:])), rest[0]
