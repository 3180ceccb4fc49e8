"""The fake service behind the front: which call is which operation, and who performs it."""

import re
from functools import partial
from typing import Final

from ...wire.gemini import read_path
from ..batches.realtime import RealTime
from ..batches.vault import Vault
from ..service.faults import Status
from ..service.front import Operation, Refused
from ..service.http1 import Body, Head, Reply
from .batches import Batches
from .calls import read_call
from .errors import bad_key, failure
from .files import Files

_VERSION: Final = r"/v1(?:beta|alpha)?"
_MODEL: Final = rf"{_VERSION}/(?:models|tunedModels)/[^/:]+"
_ROUTES: Final = (
    ("POST", rf"/upload{_VERSION}/files", "start"),
    ("GET", rf"{_VERSION}/files", "files"),
    ("GET", rf"(?:/download)?{_VERSION}/(?P<name>files/[^/:]+):download", "download"),
    ("GET", rf"{_VERSION}/(?P<name>files/[^/:]+)", "file"),
    ("DELETE", rf"{_VERSION}/(?P<name>files/[^/:]+)", "delete"),
    ("POST", rf"{_MODEL}:(?:batchGenerateContent|asyncBatchEmbedContent)", "create"),
    ("GET", rf"{_VERSION}/batches", "list"),
    ("GET", rf"{_VERSION}/(?P<name>batches/[^/:]+)", "poll"),
    ("POST", rf"{_VERSION}/(?P<name>batches/[^/:]+):cancel", "cancel"),
    ("DELETE", rf"{_VERSION}/(?P<name>batches/[^/:]+)", "remove"),
    ("POST", rf"{_MODEL}:(?:generateContent|embedContent)", "call"),
)
ROUTES: Final = [(method, re.compile(pattern), name) for method, pattern, name in _ROUTES]
"""Method, address, and what that is called; what stands first wins."""


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
        return frozenset((*(name for _, _, name in ROUTES), "upload"))

    def name(self, head: Head) -> str | Reply:
        name, _ = _route(head)
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
        try:
            return await self._performed(operation)
        except Refused as refused:
            return refused.reply

    async def _performed(self, operation: Operation) -> Reply:
        if operation.name in ("create", "list", "poll", "cancel", "remove"):
            return await self._on_batches(operation)
        if operation.name == "call":
            return self._call(operation)
        await self._batches.settle()  # which may make files
        return self._on_files(operation)

    async def _on_batches(self, operation: Operation) -> Reply:
        _, name = _route(operation.head)
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
        _, name = _route(head)
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
        named = read_path(operation.path)
        assert named is not None
        return self._calls.reply(operation.body, partial(read_call, *named))


def _route(head: Head) -> tuple[str, str]:
    """The operation that a call is, and the file or batch that it names; neither if unknown."""
    for method, pattern, name in ROUTES:
        found = pattern.fullmatch(head.path)
        if found is not None and head.method == method:
            return name, found.groupdict().get("name") or ""
    return "", ""
