"""Files: uploaded in parts, made by batches, listed, read, deleted, expired."""

import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...core.model import Json
from ...wire.gemini_files import RemoteFile, read_file
from ...wire.reading import Malformed
from ..batches.ledger import KeptFile, moment
from ..service.front import Operation
from ..service.http1 import Extent, Head, Reply, digest_of
from ..service.ranges import ranged
from .desk import Desk
from .errors import json_reply, refused, unknown
from .pages import page

KEPT_SECONDS: Final = 48 * 3_600
COMMAND: Final = "x-goog-upload-command"
OFFSET: Final = "x-goog-upload-offset"
STATUS: Final = "x-goog-upload-status"
RECEIVED: Final = "x-goog-upload-size-received"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file as the service keeps it."""

    id: str
    """`files/…`."""
    asked: RemoteFile
    content: Extent
    sha: str
    created_at: float
    batch: str | None
    """The batch that made it; None: it was uploaded."""

    @property
    def expires_at(self) -> float:
        return self.created_at + KEPT_SECONDS


@dataclass
class Upload:
    """A file that comes in."""

    asked: RemoteFile
    path: Path
    received: int = 0
    is_final: bool = False


class Files:
    """Belongs to the service's thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._made = 0
        self._files: dict[str, StoredFile] = {}
        self._uploads: dict[str, Upload] = {}
        self._late: Counter[str] = Counter()
        """How often each file will not be found."""

    def start(self, operation: Operation) -> Reply:
        try:
            asked = read_file(operation.body or b"{}")
        except Malformed:
            asked = RemoteFile()  # nothing need be said of it
        size = asked.size or _number(operation.head, "x-goog-upload-header-content-length")
        if size > self._desk.quotas.max_bytes:
            raise refused(400, f"A file may have at most {self._desk.quotas.max_bytes} bytes.")
        if asked.name in self._files:
            raise refused(409, f"{asked.name!r} exists already.")
        # The call that brings the bytes carries no key: who knows this may upload.
        token = secrets.token_urlsafe(24)
        self._uploads[token] = Upload(asked, self._desk.vault.path())
        self._uploads[token].path.touch()
        host = operation.head.headers.get("host", "localhost")
        query = f"upload_id={token}&upload_protocol=resumable"
        url = f"http://{host}{operation.head.path}?{query}"
        return json_reply({}, headers={"x-goog-upload-url": url, STATUS: "active"})

    def upload(self, operation: Operation) -> Reply:
        """Take a part in, or say how much is there."""
        head = operation.head
        upload = self._uploads.get(head.query["upload_id"])
        if upload is None:
            raise unknown("this upload")
        commands = {word.strip() for word in head.headers.get(COMMAND, "").split(",")}
        if "query" in commands:
            status = "final" if upload.is_final else "active"
            return json_reply({}, headers={STATUS: status, RECEIVED: str(upload.received)})
        if upload.is_final:
            raise refused(400, "Upload has already been terminated.")
        if "upload" in commands:
            _take(upload, operation)
        if "finalize" not in commands:
            return json_reply({}, headers={STATUS: "active"})
        upload.is_final = True
        content = Extent(upload.path, 0, upload.received)
        stored = self.keep(upload.asked, content, at=self._desk.now())
        return json_reply({"file": self._written(stored, head)}, headers={STATUS: "final"})

    def keep(
        self,
        asked: RemoteFile,
        content: Extent,
        *,
        at: float,
        batch: str | None = None,
        late: int = 0,
    ) -> StoredFile:
        """Take a file in; the first `late` downloads will not find it."""
        self._made += 1
        name = asked.name or f"files/{secrets.token_hex(6)}{self._made:06}"
        stored = StoredFile(
            id=name,
            asked=asked,
            content=content,
            sha=digest_of(content),
            created_at=at,
            batch=batch,
        )
        self._files[name] = stored
        self._late[name] = late
        kept = KeptFile(
            id=name,
            filename=asked.display_name or name,
            purpose="batch" if batch is None else "batch_output",
            size=content.length,
            sha=stored.sha,
            created_at=moment(at),
            batch=batch,
        )
        self._desk.ledger.keep(kept)
        return stored

    def find(self, name: str) -> StoredFile | None:
        self.expire()
        return self._files.get(name)

    def list(self, head: Head) -> Reply:
        self.expire()
        newest = list(reversed(self._files.values()))
        chosen, token = page(newest, head.query, usual=10, most=100)
        files = [self._written(file, head) for file in chosen]
        return json_reply({"files": files, **token} if files else {})

    def get(self, name: str, head: Head) -> Reply:
        return json_reply(self._written(self._known(name), head))

    def download(self, name: str, headers: Mapping[str, str]) -> Reply:
        file = self._known(name)
        if file.batch is None:
            raise refused(400, f"{name!r} was uploaded: only what was generated is downloaded.")
        if self._late[name] > 0:
            self._late[name] -= 1
            raise unknown(name)
        about = {"content-type": "application/jsonl", "etag": f'"{file.sha}"'}
        if self._desk.ranges:
            return ranged(file.content, headers, about)
        return Reply(status=200, body=file.content, headers=about)

    def delete(self, name: str) -> Reply:
        file = self._known(name)
        self._remove(file)
        self._desk.ledger.drop(name, "deleted")
        return json_reply({})

    def expire(self) -> None:
        """Remove the files whose time is over."""
        now = self._desk.now()
        for file in tuple(self._files.values()):
            if now >= file.expires_at:
                self._remove(file)
                self._desk.ledger.drop(file.id, "expired")

    def _remove(self, file: StoredFile) -> None:
        del self._files[file.id]
        file.content.path.unlink(missing_ok=True)

    def _known(self, name: str) -> StoredFile:
        found = self.find(name)
        if found is None:
            raise unknown(name)
        return found

    def _written(self, file: StoredFile, head: Head) -> Json:
        uri = f"http://{head.headers.get('host', 'localhost')}/v1beta/{file.id}"
        written = {
            "name": file.id,
            "mimeType": file.asked.mime_type,
            "sizeBytes": str(file.content.length),
            "createTime": time_of(file.created_at),
            "updateTime": time_of(file.created_at),
            "expirationTime": time_of(file.expires_at),
            "sha256Hash": b64encode(file.sha.encode()).decode(),
            "uri": uri,
            "state": "ACTIVE",
            "source": "UPLOADED" if file.batch is None else "GENERATED",
        }
        if file.asked.display_name is not None:
            written["displayName"] = file.asked.display_name
        if file.batch is not None:
            written["downloadUri"] = f"{uri}:download?alt=media"
        return written


def time_of(at: float) -> str:
    return moment(at).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _take(upload: Upload, operation: Operation) -> None:
    """Put a part behind those that are there."""
    offset = _number(operation.head, OFFSET)
    if offset != upload.received:
        raise refused(400, f"The offset is {offset}, but {upload.received} bytes are there.")
    part = operation.content.path
    assert part is not None
    size = part.stat().st_size
    if upload.received:
        with upload.path.open("ab") as file:
            file.writelines(Extent(part, 0, size).pieces())
    else:
        part.rename(upload.path)
    upload.received += size


def _number(head: Head, name: str) -> int:
    text = head.headers.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() else 0
