"""The fake service behind the front: which call is which operation, and who performs it."""

from typing import Final

from ..batches.vault import Vault
from ..service.faults import Status
from ..service.front import Operation
from ..service.http1 import Body, Head, Reply
from ..service.routes import ID, Routes
from .batches import Batches
from .errors import failure
from .files import Files

_ROOT: Final = "(?:/v1)?"
ROUTES: Final = Routes(
    ("POST", f"{_ROOT}/files", "upload"),
    ("GET", f"{_ROOT}/files", "files"),
    ("GET", f"{_ROOT}/files/{ID}", "file"),
    ("GET", f"{_ROOT}/files/{ID}/content", "download"),
    ("DELETE", f"{_ROOT}/files/{ID}", "delete"),
    ("POST", f"{_ROOT}/batches", "create"),
    ("GET", f"{_ROOT}/batches", "list"),
    ("GET", f"{_ROOT}/batches/{ID}", "poll"),
    ("POST", f"{_ROOT}/batches/{ID}/cancel", "cancel"),
)
OPERATIONS: Final = ROUTES.names


class Service:
    """Performs operations. Belongs to the service's thread."""

    def __init__(self, files: Files, batches: Batches, vault: Vault, *, key: str | None) -> None:
        self._files = files
        self._batches = batches
        self._vault = vault
        self._key = key

    @property
    def operations(self) -> frozenset[str]:
        return OPERATIONS

    def name(self, head: Head) -> str | Reply:
        if self._key is not None and head.headers.get("authorization") != f"Bearer {self._key}":
            return failure(Status(401))
        route = ROUTES.find(head)
        if not route.is_address:
            message = f"Invalid URL ({head.method} {head.path})"
            return failure(Status(404, message=message, code="unknown_url"))
        refused = Status(405, message=f"Not allowed to {head.method} on {head.path}.")
        return route.name or failure(refused)

    def body(self, head: Head) -> Body:
        return Body(self._vault.path() if self.name(head) == "upload" else None)

    def failure(self, fault: Status) -> Reply:
        return failure(fault)

    async def perform(self, operation: Operation) -> Reply:
        head = operation.head
        id = ROUTES.find(head).id
        match operation.name:
            case "upload":
                return self._files.upload(operation)
            case "files":
                await self._batches.look_away()  # which may make some
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
