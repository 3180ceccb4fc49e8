"""Files: uploaded, made by batches, listed, read, deleted, expired."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import msgspec

from ...core.model import Json
from ..batches.ledger import KeptFile, moment
from ..service.front import Operation
from ..service.http1 import Extent, Reply, digest_of
from ..service.multipart import BadForm, Part, boundary_of, parts
from ..service.ranges import ranged
from .desk import Desk
from .errors import Refused, invalid, json_reply, missing
from .pages import page

MB: Final = 1_000_000
MAX_FILE_BYTES: Final = 512 * MB
DAY: Final = 86_400
KEPT_SECONDS: Final = 30 * DAY
"""How long the files of batches are kept, unless they are told otherwise."""
PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file as the service keeps it."""

    id: str
    filename: str
    purpose: str
    content: Extent
    sha: str
    created_at: float
    expires_at: float | None


class Files:
    """Belongs to the service's thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._numbers = count(1)
        self._files: dict[str, StoredFile] = {}
        self._late: Counter[str] = Counter()
        """How often each file will not be found."""

    def upload(self, operation: Operation) -> Reply:
        assert operation.content.path is not None
        boundary = boundary_of(operation.head.headers.get("content-type", ""))
        try:
            form = parts(operation.content.path, boundary)
        except BadForm as error:
            raise Refused(400, f"{error}.") from None
        fields = {part.name: _text(part) for part in form if part.filename is None}
        file = next((part for part in form if part.name == "file" and part.filename), None)
        self._check(file, fields)
        assert file is not None
        assert file.filename is not None
        # The form stays as it came; the file is a stretch of it.
        form_path = operation.content.path.rename(self._desk.vault.path())
        stored = self.keep(
            replace(file.content, path=form_path),
            filename=file.filename,
            purpose=fields["purpose"],
            seconds=_lifetime(fields),
            at=self._desk.now(),
        )
        return json_reply(write_file(stored))

    def keep(
        self,
        content: Extent,
        *,
        filename: str,
        purpose: str,
        seconds: float | None,
        at: float,
        batch: str | None = None,
        late: int = 0,
    ) -> StoredFile:
        """Take a file in; the first `late` downloads will not find it."""
        name = hashlib.sha256(f"{self._desk.seed}/file/{next(self._numbers)}".encode()).hexdigest()
        stored = StoredFile(
            id=f"file-{name[:24]}",
            filename=filename,
            purpose=purpose,
            content=content,
            sha=digest_of(content),
            created_at=at,
            expires_at=None if seconds is None else at + seconds,
        )
        self._files[stored.id] = stored
        self._late[stored.id] = late
        self._desk.ledger.keep(
            KeptFile(
                id=stored.id,
                filename=filename,
                purpose=purpose,
                size=content.length,
                sha=stored.sha,
                created_at=moment(at),
                batch=batch,
            )
        )
        return stored

    def find(self, file_id: str) -> StoredFile | None:
        self.expire()
        return self._files.get(file_id)

    def list(self, query: Mapping[str, str]) -> Reply:
        self.expire()
        purpose, order = query.get("purpose"), query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid("order", order, "asc", "desc")
        chosen = [file for file in self._files.values() if purpose in (None, file.purpose)]
        if order == "desc":
            chosen.reverse()
        return json_reply(page(chosen, query, write_file, usual=10_000, most=10_000))

    def get(self, file_id: str) -> Reply:
        return json_reply(write_file(self._known(file_id)))

    def download(self, file_id: str, headers: Mapping[str, str]) -> Reply:
        file = self._known(file_id)
        if self._late[file_id] > 0:
            self._late[file_id] -= 1
            raise _unknown(file_id)
        about = {"content-type": "application/octet-stream", "etag": f'"{file.sha}"'}
        if self._desk.ranges:
            return ranged(file.content, headers, about)
        return Reply(status=200, body=file.content, headers=about)

    def delete(self, file_id: str) -> Reply:
        file = self._known(file_id)
        self._remove(file)
        self._desk.ledger.drop(file_id, "deleted")
        return json_reply({"id": file_id, "object": "file", "deleted": True})

    def expire(self) -> None:
        """Remove the files whose time is over."""
        now = self._desk.now()
        for file in tuple(self._files.values()):
            if file.expires_at is not None and now >= file.expires_at:
                self._remove(file)
                self._desk.ledger.drop(file.id, "expired")

    def _remove(self, file: StoredFile) -> None:
        del self._files[file.id]
        file.content.path.unlink(missing_ok=True)

    def _known(self, file_id: str) -> StoredFile:
        found = self.find(file_id)
        if found is None:
            raise _unknown(file_id)
        return found

    def _check(self, file: Part | None, fields: Mapping[str, str]) -> None:
        if "purpose" not in fields:
            raise missing("purpose")
        if fields["purpose"] not in PURPOSES:
            raise invalid("purpose", fields["purpose"], *PURPOSES)
        if file is None or file.filename is None:
            raise missing("file")
        is_batch = fields["purpose"] == "batch"
        if file.content.length > (self._desk.quotas.max_bytes if is_batch else MAX_FILE_BYTES):
            raise Refused(400, "File is too large.")
        if is_batch:
            _check_format(file)


def write_file(file: StoredFile) -> Json:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.content.length,
        "created_at": int(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
        "expires_at": None if file.expires_at is None else int(file.expires_at),
    }


def seconds_of(given: object, field: str) -> float:
    """What `expires_after` says: an anchor and a number of seconds."""
    if not isinstance(given, dict):
        raise Refused(400, f"Invalid type for {field!r}.", param=field, code="invalid_type")
    if given.get("anchor") != "created_at":
        raise invalid(f"{field}.anchor", given.get("anchor"), "created_at")
    seconds = given.get("seconds")
    if not isinstance(seconds, int) or not 3_600 <= seconds <= KEPT_SECONDS:
        raise invalid(f"{field}.seconds", seconds, "3600 to 2592000")
    return seconds


def _lifetime(fields: Mapping[str, str]) -> float | None:
    given = {
        name.removeprefix("expires_after[").removesuffix("]"): text
        for name, text in fields.items()
        if name.startswith("expires_after[")
    }
    if not given:
        return KEPT_SECONDS if fields["purpose"] == "batch" else None
    text = given.get("seconds", "")
    seconds = int(text) if text.isascii() and text.isdigit() else text
    return seconds_of({**given, "seconds": seconds}, "expires_after")


def _text(part: Part) -> str:
    return part.content.read().decode(errors="replace")


def _check_format(file: Part) -> None:
    """The first look at a batch's input; the second comes with the batch."""
    assert file.filename is not None
    if not file.filename.endswith(".jsonl"):
        raise _misformed("Invalid file format for Batch API. Must be .jsonl")
    if not file.content.length:
        raise _misformed("Invalid file format for Batch API. The file is empty.")
    piece = next(file.content.pieces())
    first, newline, _ = piece.partition(b"\n")
    if not newline and len(piece) < file.content.length:
        return  # a long line, which is looked at with the batch
    try:
        msgspec.json.decode(first)
    except ValueError:
        raise _misformed("Invalid file format for Batch API. Line 1 is not JSON.") from None


def _misformed(message: str) -> Refused:
    return Refused(400, message, more={"detail": {"message": message}})


def _unknown(file_id: str) -> Refused:
    return Refused(404, f"No such File object: {file_id}", param="id")
