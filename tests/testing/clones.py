"""Fakes of services that speak much as OpenAI does: each is OpenAI's in a dialect of its own."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final

import msgspec

from anybatch.core.model import Json
from anybatch.testing import FakeOpenAI
from anybatch.testing.openai.dialect import Dialect
from anybatch.testing.openai.errors import json_reply, write_error
from anybatch.testing.openai.service import OPERATIONS
from anybatch.testing.service.faults import Status
from anybatch.testing.service.front import Operation, Performer
from anybatch.testing.service.http1 import Body, Head, Reply
from anybatch.testing.service.multipart import boundary_of, parts


class Passing:
    """A performer that hands everything on."""

    def __init__(self, performer: Performer) -> None:
        self.performer = performer

    @property
    def operations(self) -> frozenset[str]:
        return self.performer.operations

    def name(self, head: Head) -> str | Reply:
        return self.performer.name(head)

    def body(self, head: Head) -> Body:
        return self.performer.body(head)

    def failure(self, fault: Status) -> Reply:
        return self.performer.failure(fault)

    async def perform(self, operation: Operation) -> Reply:
        return await self.performer.perform(operation)


def with_body(operation: Operation, body: bytes) -> Operation:
    content = Body()
    content.write(body)
    return replace(operation, content=content)


def with_path(operation: Operation, path: str, **query: str) -> Operation:
    return replace(operation, head=replace(operation.head, path=path, query=query))


def decoded(reply: Reply) -> Json:
    assert isinstance(reply.body, bytes)
    found: Json = msgspec.json.decode(reply.body)
    return found


def refused(status: int, message: str) -> Reply:
    return json_reply(write_error(message, "invalid_request_error", None, None), status=status)


def rewritten(operation: Operation, change: Callable[[Json], Json]) -> None:
    """Change every line of an upload, where it lies."""
    path = operation.content.path
    assert path is not None
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(
        b"\n".join(
            msgspec.json.encode(change(msgspec.json.decode(line)))
            if line.startswith(b'{"custom_id"')
            else line
            for line in lines
        )
    )


def addressed(line: Json) -> Json:
    """A line of a name and a body, as OpenAI takes it."""
    assert set(line) == {"custom_id", "body"}
    kind = "chat/completions" if "messages" in line["body"] else "embeddings"
    return {**line, "method": "POST", "url": f"/v1/{kind}"}


# --- Azure --------------------------------------------------------------------------------------

UNREAD: Final = 3
"""So many looks find that an upload has not been read yet."""
EMPTY: Final = "file-of-no-errors-"
VERSION: Final = "2024-10-21"


class Azure(Dialect):
    """With a key of another name, and files that are read after they came."""

    root = "/openai/v1"

    def head(self, head: Head) -> Head:
        headers = {"authorization": "none", **head.headers}
        if "api-key" in headers:
            headers["authorization"] = f"Bearer {headers.pop('api-key')}"
        return replace(head, path=self.path(head), headers=headers)

    def path(self, head: Head) -> str:
        return head.path.replace(self.root, "/v1", 1)

    def performer(self, performer: Performer) -> Performer:
        return AzurePerformer(performer)


class AzureClassic(Azure):
    """Every address says the version, and calls name a deployment."""

    root = "/openai"

    def path(self, head: Head) -> str:
        if head.query.get("api-version") != VERSION:
            return "/no-version"
        path = super().path(head)
        if not path.startswith("/v1/deployments/"):
            return path
        _, _, _, _, called = path.split("/", 4)
        return f"/v1/{called}"

    def performer(self, performer: Performer) -> Performer:
        return ClassicPerformer(performer)


class AzurePerformer(Passing):
    def __init__(self, performer: Performer) -> None:
        super().__init__(performer)
        self._unread: dict[str, int] = {}

    async def perform(self, operation: Operation) -> Reply:
        _, _, kind, *rest = operation.path.split("/")
        if kind == "files" and rest and rest[0].startswith(EMPTY):
            return Reply(status=200, body=b"", headers={})
        if operation.name == "create" and self._is_unread(operation):
            return refused(400, "The input file is not processed.")
        reply = await self.performer.perform(operation)
        if reply.status != 200 or operation.name in ("download", "delete", "files"):
            return reply
        return json_reply(self._told(operation.name, decoded(reply)))

    def _is_unread(self, operation: Operation) -> bool:
        file = msgspec.json.decode(operation.body)["input_file_id"]
        return self._unread.get(file, 0) > 0

    def _told(self, operation: str, told: Json) -> Json:
        match operation:
            case "upload":
                self._unread[told["id"]] = UNREAD
                return {**told, "status": "pending"}
            case "file":
                left = self._unread[told["id"]] = max(0, self._unread.get(told["id"], 0) - 1)
                return {**told, "status": "pending" if left else "processed"}
            case "list":
                return {"value": [_of_azure(one) for one in told["data"]], "has_more": False}
            case _:
                return _of_azure(told)


def _of_azure(batch: Json) -> Json:
    ended = batch["status"] == "completed"
    errors = batch["error_file_id"] or (EMPTY + batch["id"] if ended else None)
    counts = None if not ended else dict.fromkeys(("total", "completed", "failed"))
    return {**batch, "error_file_id": errors, "request_counts": counts}


class ClassicPerformer(AzurePerformer):
    async def perform(self, operation: Operation) -> Reply:
        if operation.name == "upload":
            rewritten(operation, lambda line: {**line, "url": f"/v1{line['url']}"})
        if operation.name == "create":
            asked = msgspec.json.decode(operation.body)
            asked["endpoint"] = f"/v1{asked['endpoint']}"
            operation = with_body(operation, msgspec.json.encode(asked))
        return await super().perform(operation)


class FakeAzure(FakeOpenAI):
    root: ClassVar[str] = Azure.root
    dialect = Azure


class FakeAzureClassic(FakeOpenAI):
    root: ClassVar[str] = AzureClassic.root
    dialect = AzureClassic


# --- Mistral ------------------------------------------------------------------------------------


class Mistral(Dialect):
    """With jobs of its own, and lists whose pages have numbers."""

    def head(self, head: Head) -> Head:
        return replace(head, path=head.path.replace("/v1/batch/jobs", "/v1/batches"))

    def performer(self, performer: Performer) -> Performer:
        return MistralPerformer(performer)


MISTRALS: Final[Mapping[str, str]] = {
    "validating": "QUEUED",
    "in_progress": "RUNNING",
    "finalizing": "RUNNING",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelling": "CANCELLATION_REQUESTED",
    "cancelled": "CANCELLED",
}


class MistralPerformer(Passing):
    def failure(self, fault: Status) -> Reply:
        return _flat(self.performer.failure(fault))

    async def perform(self, operation: Operation) -> Reply:
        match operation.name:
            case "upload":
                rewritten(operation, addressed)
                reply = await self.performer.perform(operation)
            case "create":
                asked = msgspec.json.decode(operation.body)
                (file,) = asked["input_files"]
                assert asked["timeout_hours"] == 24
                assert asked["model"]
                wanted = {"input_file_id": file, "completion_window": "24h"}
                wanted |= {name: asked[name] for name in ("endpoint", "metadata")}
                inner = with_body(operation, msgspec.json.encode(wanted))
                reply = _job(await self.performer.perform(inner))
            case "list" | "files":
                return await self._page(operation)
            case "poll" | "cancel":
                reply = _job(await self.performer.perform(operation))
            case _:
                reply = await self.performer.perform(operation)
        return reply if reply.status < 400 else _flat(reply)

    async def _page(self, operation: Operation) -> Reply:
        """The page of a number, read from a list by cursors."""
        query = operation.head.query
        number, size = int(query["page"]), int(query["page_size"])
        listed: list[Json] = []
        after: dict[str, str] = {}
        while True:
            asked = with_path(operation, operation.path, limit="100", **after)
            page = decoded(await self.performer.perform(asked))
            listed += page["data"]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        shown = listed[number * size :][:size]
        jobs = [_as_job(one) for one in shown] if operation.name == "list" else shown
        return json_reply({"object": "list", "data": jobs, "total": len(listed)})


def _job(reply: Reply) -> Reply:
    return json_reply(_as_job(decoded(reply))) if reply.status == 200 else reply


def _as_job(batch: Json) -> Json:
    counts = batch["request_counts"]
    problems = (batch["errors"] or {}).get("data") or []
    return {
        "id": batch["id"],
        "object": "batch",
        "input_files": [batch["input_file_id"]],
        "endpoint": batch["endpoint"],
        "model": batch["model"],
        "errors": [{"message": problem["message"], "count": 1} for problem in problems],
        "status": MISTRALS.get(batch["status"], batch["status"]),
        "created_at": batch["created_at"],
        "total_requests": counts["total"],
        "completed_requests": counts["completed"] + counts["failed"],
        "succeeded_requests": counts["completed"],
        "failed_requests": counts["failed"],
        "output_file": batch["output_file_id"],
        "error_file": batch["error_file_id"],
        "metadata": batch["metadata"],
    }


def _flat(reply: Reply) -> Reply:
    if not reply.body:
        return reply
    error = decoded(reply)["error"]
    return json_reply({"object": "error", **error}, status=reply.status, headers=reply.headers)


class FakeMistral(FakeOpenAI):
    dialect = Mistral


# --- Together -----------------------------------------------------------------------------------


class Together(Dialect):
    """With uploads in three steps, of which one goes to another host."""

    def performer(self, performer: Performer) -> Performer:
        return TogetherPerformer(performer)


class TogetherPerformer(Passing):
    own = frozenset(("announce", "put", "preprocess"))

    def __init__(self, performer: Performer) -> None:
        super().__init__(performer)
        self._announced: dict[str, Mapping[str, str]] = {}
        """What was said of a file, by its id."""
        self._kept: dict[str, str] = {}
        """The ids under which OpenAI's service keeps them."""
        self._key: Mapping[str, str] = {}
        """With which uploads are announced: the storage is not told."""

    @property
    def operations(self) -> frozenset[str]:
        return self.performer.operations - {"upload"} | self.own

    def name(self, head: Head) -> str | Reply:
        if head.path.startswith("/storage/"):
            return "put"
        if head.path.endswith("/preprocess"):
            return "preprocess"
        name = self.performer.name(head)
        return "announce" if name == "upload" else name

    def body(self, head: Head) -> Body:
        return self.performer.body(head) if self.name(head) == "announce" else Body()

    async def perform(self, operation: Operation) -> Reply:
        match operation.name:
            case "announce":
                return self._announce(operation)
            case "put":
                return await self._put(operation)
            case "preprocess":
                file = operation.path.split("/")[-2]
                return json_reply({"id": file, "object": "file"})
            case "files":
                return await self._files(operation)
            case "create":
                return await self._create(operation)
            case "list":
                asked = with_path(operation, operation.path, limit="100")
                page = decoded(await self.performer.perform(asked))
                return json_reply([self._as_job(one) for one in page["data"]])
            case "poll" | "cancel":
                reply = await self.performer.perform(operation)
                ok = reply.status == 200
                return json_reply(self._as_job(decoded(reply))) if ok else reply
            case _:
                path = operation.path
                for announced, kept in self._kept.items():
                    path = path.replace(announced, kept)
                return await self.performer.perform(with_path(operation, path))

    def _announce(self, operation: Operation) -> Reply:
        assert operation.content.path is not None
        form = parts(operation.content.path, boundary_of(operation.head.headers["content-type"]))
        said = {part.name: part.content.read().decode() for part in form}
        assert said["purpose"] == "batch-api"
        assert said["file_type"] == "jsonl"
        for known, other in self._announced.items():
            if known in self._kept and other["checksum"] == said["checksum"]:
                return json_reply({"file_id": known}, status=409)
        told = operation.head.headers
        self._key = {name: told[name] for name in ("authorization",) if name in told}
        file = f"file-t{len(self._announced)}"
        self._announced[file] = said
        # Another name for this machine is another host to who minds where a key goes.
        host = told["host"].replace("127.0.0.1", "localhost")
        headers = {
            "location": f"http://{host}/storage/{file}?signature=s",
            "x-together-file-id": file,
        }
        return Reply(status=302, body=b"", headers=headers)

    async def _put(self, operation: Operation) -> Reply:
        if {"authorization", "content-type"} & set(operation.head.headers):
            return Reply(status=400, body=b"<Error>Only one auth mechanism</Error>", headers={})
        file = operation.path.split("/")[-1]
        said = self._announced[file]
        if hashlib.sha256(operation.body).hexdigest() != said["checksum"]:
            return Reply(status=400, body=b"<Error>BadDigest</Error>", headers={})
        if file in self._kept:  # the same once more, in the place of the same
            return Reply(status=200, body=b"", headers={})
        reply = await self.performer.perform(self._uploading(operation, said["file_name"]))
        self._kept[file] = decoded(reply)["id"]
        return Reply(status=200, body=b"", headers={})

    def _uploading(self, operation: Operation, name: str) -> Operation:
        """The same as an upload to OpenAI."""
        lines = operation.body.split(b"\n")
        content = b"\n".join(
            msgspec.json.encode(addressed(msgspec.json.decode(line))) for line in lines if line
        )
        form = b"".join(
            (
                b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
                b'--b\r\ncontent-disposition: form-data; name="file"; filename="%b"\r\n\r\n'
                % name.encode(),
                content,
                b"\n\r\n--b--\r\n",
            )
        )
        head = replace(
            operation.head,
            method="POST",
            path="/v1/files",
            headers={**self._key, "content-type": "multipart/form-data; boundary=b"},
        )
        body = self.performer.body(head)
        body.write(form)
        body.close()
        return replace(operation, name="upload", head=head, content=body)

    async def _files(self, operation: Operation) -> Reply:
        asked = with_path(operation, operation.path)
        kept = {one["id"]: one for one in decoded(await self.performer.perform(asked))["data"]}
        listed = []
        for file, said in self._announced.items():
            there = self._kept.get(file)
            if there is None or there in kept:
                size = kept[there]["bytes"] if there else 0
                listed.append({"id": file, "filename": said["file_name"], "bytes": size})
        # What batches have written lies among what was announced, under the same ids as there.
        written = [one for id, one in kept.items() if id not in self._kept.values()]
        listed += [{name: one[name] for name in ("id", "filename", "bytes")} for one in written]
        return json_reply({"data": listed})

    async def _create(self, operation: Operation) -> Reply:
        asked = msgspec.json.decode(operation.body)
        asked["input_file_id"] = self._kept.get(asked["input_file_id"], asked["input_file_id"])
        inner = with_body(operation, msgspec.json.encode(asked))
        reply = await self.performer.perform(inner)
        return json_reply({"job": self._as_job(decoded(reply))}) if reply.status == 200 else reply

    def _as_job(self, batch: Json) -> Json:
        status = {"finalizing": "in_progress", "cancelling": "in_progress"}.get(
            batch["status"], batch["status"]
        )
        problems = (batch["errors"] or {}).get("data") or []
        return {
            "id": batch["id"],
            "status": status.upper(),
            "progress": 0.0,
            "created_at": datetime.fromtimestamp(batch["created_at"], UTC).isoformat(),
            "endpoint": batch["endpoint"],
            "input_file_id": self._file(batch["input_file_id"]),
            "output_file_id": batch["output_file_id"],
            "error_file_id": batch["error_file_id"],
            "error": problems[0]["message"] if problems else None,
        }

    def _file(self, kept: str) -> str:
        return next((file for file, inner in self._kept.items() if inner == kept), kept)


class FakeTogether(FakeOpenAI):
    operations = OPERATIONS - {"upload"} | TogetherPerformer.own
    dialect = Together
