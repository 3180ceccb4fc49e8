"""The fake service behind the front: which call is which operation, and who performs it."""

from functools import partial
from typing import Final

from ...wire.gemini import read_path
from ..batches.realtime import RealTime
from ..batches.vault import Vault
from ..service.faults import Status
from ..service.front import Operation
from ..service.http1 import Body, Head, Reply
from ..service.routes import Routes
from .answers import embedded_together
from .batches import Batches
from .calls import read_call, texts_in
from .errors import bad_key, failure
from .files import Files

_VERSION: Final = r"/v1(?:beta|alpha)?"
_MODEL: Final = rf"{_VERSION}/(?:models|tunedModels)/[^/:]+"
_FILE: Final = r"(?P<id>files/[^/:]+)"
_BATCH: Final = r"(?P<id>batches/[^/:]+)"
ROUTES: Final = Routes(
    ("POST", rf"/upload{_VERSION}/files", "start"),
    ("GET", rf"{_VERSION}/files", "files"),
    ("GET", rf"(?:/download)?{_VERSION}/{_FILE}:download", "download"),
    ("GET", rf"{_VERSION}/{_FILE}", "file"),
    ("DELETE", rf"{_VERSION}/{_FILE}", "delete"),
    ("POST", rf"{_MODEL}:(?:batchGenerateContent|asyncBatchEmbedContent)", "create"),
    ("GET", rf"{_VERSION}/batches", "list"),
    ("GET", rf"{_VERSION}/{_BATCH}", "poll"),
    ("POST", rf"{_VERSION}/{_BATCH}:cancel", "cancel"),
    ("DELETE", rf"{_VERSION}/{_BATCH}", "remove"),
    ("POST", rf"{_MODEL}:(?:generateContent|embedContent|batchEmbedContents)", "call"),
)
_TOGETHER: Final = ":batchEmbedContents"
OPERATIONS: Final = ROUTES.names | {"upload"}


class Service:
    """Performs operations. Belongs to the service's thread."""

    def __init__(
        self, files: Files, batches: Batches, calls: RealTime, vault: Vault, *, key: str | None
    ) -> None:
        self._files = files
        self._batches = batches
        self._calls = calls
        self._vault = vault
        self._key = key

    @property
    def operations(self) -> frozenset[str]:
        return OPERATIONS

    def name(self, head: Head) -> str | Reply:
        name = ROUTES.find(head).name
        if name == "start" and "upload_id" in head.query:
            return "upload"  # whose address is its key
        key = head.headers.get("x-goog-api-key") or head.query.get("key")
        if self._key is not None and key != self._key:
            return bad_key(key)
        return name or failure(Status(404))

    def body(self, head: Head) -> Body:
        return Body(self._vault.path() if self.name(head) in ("upload", "create") else None)

    def failure(self, fault: Status) -> Reply:
        return failure(fault)

    async def perform(self, operation: Operation) -> Reply:
        if operation.name in ("create", "list", "poll", "cancel", "remove"):
            return await self._on_batches(operation)
        if operation.name == "call":
            return self._call(operation)
        await self._batches.look_away()  # which may make files
        return self._on_files(operation)

    async def _on_batches(self, operation: Operation) -> Reply:
        name = ROUTES.find(operation.head).id
        match operation.name:
            case "create":
                return await self._batches.create(operation)
            case "list":
                return await self._batches.list(operation.head)
            case "poll":
                return await self._batches.poll(name)
            case "cancel":
                return await self._batches.cancel(name)
            case _:
                return await self._batches.delete(name)

    def _on_files(self, operation: Operation) -> Reply:
        head = operation.head
        name = ROUTES.find(head).id
        match operation.name:
            case "start":
                return self._files.start(operation)
            case "upload":
                return self._files.upload(operation)
            case "files":
                return self._files.list(head)
            case "file":
                return self._files.get(name, head)
            case "download":
                return self._files.download(name, head.headers)
            case _:
                return self._files.delete(name)

    def _call(self, operation: Operation) -> Reply:
        if operation.path.endswith(_TOGETHER):
            return self._embed(operation)
        named = read_path(operation.path)
        assert named is not None
        return self._calls.reply(operation.body, partial(read_call, *named))

    def _embed(self, operation: Operation) -> Reply:
        """Texts that come together, each booked by itself; a refusal of one is the answer."""
        named = read_path(operation.path.removesuffix(_TOGETHER) + ":embedContent")
        assert named is not None
        read = partial(read_call, *named)
        replies = [self._calls.reply(body, read) for body in texts_in(operation.body)]
        refused = next((reply for reply in replies if reply.status != 200), None)
        return refused or embedded_together(replies)
