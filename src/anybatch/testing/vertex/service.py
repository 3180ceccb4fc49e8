"""The fake service behind the front: which call is which operation, and who performs it."""

from functools import partial
from typing import Final

from ...wire.gcs import Place
from ...wire.gemini import read_path
from ..batches.realtime import RealTime
from ..batches.vault import Vault
from ..gemini.calls import read_call
from ..service.faults import Status
from ..service.front import Operation
from ..service.http1 import Body, Head, Reply
from ..service.routes import Routes
from .errors import failure
from .jobs import PROJECT, Jobs
from .objects import Objects
from .tokens import Tokens

_PLACE: Final = r"/v1(?:beta1)?/projects/[^/]+/locations"
_JOB: Final = rf"{_PLACE}/(?P<id>[^/]+/batchPredictionJobs/[^/:]+)"
_MODEL: Final = rf"{_PLACE}/[^/]+/publishers/google/models/[^/:]+"
_OBJECTS: Final = r"/storage/v1/b/(?P<id>[^/]+)/o"
_OBJECT: Final = r"(?:/download)?/storage/v1/b/(?P<id>[^/]+/o/.+)"
ROUTES: Final = Routes(
    ("POST", rf"/upload{_OBJECTS}", "start"),
    ("PUT", rf"/upload{_OBJECTS}", "upload"),
    ("GET", _OBJECTS, "objects"),
    ("GET", _OBJECT, "object"),
    ("DELETE", _OBJECT, "delete"),
    ("POST", rf"{_PLACE}/(?P<id>[^/]+)/batchPredictionJobs", "create"),
    ("GET", rf"{_PLACE}/(?P<id>[^/]+)/batchPredictionJobs", "list"),
    ("GET", _JOB, "poll"),
    ("POST", rf"{_JOB}:cancel", "cancel"),
    ("DELETE", _JOB, "remove"),
    ("POST", rf"{_MODEL}:(?:generateContent|embedContent)", "call"),
    ("POST", r"/token", "token"),
    ("GET", r"/(?:computeMetadata/v1/instance/service-accounts/default/token)?", "token"),
)
OPERATIONS: Final = ROUTES.names | {"put", "download"}
ON_OBJECTS: Final = ("start", "put", "upload", "objects", "object", "download", "delete")


class Service:
    """Performs operations. Belongs to the service's thread."""

    def __init__(
        self, objects: Objects, jobs: Jobs, calls: RealTime, vault: Vault, tokens: Tokens
    ) -> None:
        self._objects = objects
        self._jobs = jobs
        self._calls = calls
        self._vault = vault
        self._tokens = tokens

    @property
    def operations(self) -> frozenset[str]:
        return OPERATIONS

    def name(self, head: Head) -> str | Reply:
        name = _name(head)
        if name in ("upload", "token"):
            return name  # the address of the one is its key, and the other gives keys
        return self._tokens.refusal(head) or name or failure(Status(404))

    def body(self, head: Head) -> Body:
        return Body(self._vault.path() if self.name(head) in ("upload", "put") else None)

    def failure(self, fault: Status) -> Reply:
        return failure(fault)

    async def perform(self, operation: Operation) -> Reply:
        match operation.name:
            case "token":
                return self._tokens.exchange(operation)
            case "call":
                return self._call(operation)
            case name if name in ON_OBJECTS:
                await self._jobs.look_away()  # which may write objects
                return self._on_objects(operation)
            case _:
                return await self._on_jobs(operation)

    async def _on_jobs(self, operation: Operation) -> Reply:
        there = ROUTES.find(operation.head).id
        match operation.name:
            case "create":
                return await self._jobs.create(there, operation)
            case "list":
                return await self._jobs.list(there, operation.head)
        name = f"{PROJECT}/locations/{there}"
        match operation.name:
            case "poll":
                return await self._jobs.poll(name)
            case "cancel":
                return await self._jobs.cancel(name)
            case _:
                return await self._jobs.delete(name)

    def _on_objects(self, operation: Operation) -> Reply:
        head = operation.head
        bucket, _, name = ROUTES.find(head).id.partition("/o/")
        match operation.name:
            case "start":
                return self._objects.start(bucket, operation)
            case "put":
                return self._objects.put(bucket, operation)
            case "upload":
                return self._objects.upload(operation)
            case "objects":
                return self._objects.list(bucket, head)
            case "object":
                return self._objects.get(Place(bucket, name))
            case "download":
                return self._objects.download(Place(bucket, name), head.headers)
            case _:
                return self._objects.delete(Place(bucket, name))

    def _call(self, operation: Operation) -> Reply:
        named = read_path(operation.path)
        assert named is not None
        return self._calls.reply(operation.body, partial(read_call, *named))


def _name(head: Head) -> str:
    """The operation that a call is: some are told by their query."""
    name = ROUTES.find(head).name
    if name == "start" and head.query.get("uploadType") == "media":
        return "put"
    if name == "upload" and "upload_id" not in head.query:
        return ""
    return "download" if name == "object" and head.query.get("alt") == "media" else name
