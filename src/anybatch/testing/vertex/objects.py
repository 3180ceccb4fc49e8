"""The bucket: objects uploaded at once or in parts, written by jobs, listed, read, deleted."""

import hashlib
import re
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...wire import gcs
from ...wire.gcs import Place, RemoteObject
from ..batches.ledger import KeptFile, moment
from ..gemini.errors import JSON
from ..gemini.pages import page
from ..service.front import Operation
from ..service.http1 import Extent, Head, Reply, digest_of
from ..service.ranges import ranged
from .desk import Desk
from .errors import no_object, storage_refused

PART: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as the bucket keeps it."""

    place: Place
    generation: int
    content: Extent
    sha: str
    created_at: float

    @property
    def id(self) -> str:
        """What lists are walked by."""
        return self.place.name

    @property
    def entry(self) -> str:
        """What it is called in the books: another one of the same name is another one."""
        return f"{self.place.uri}#{self.generation}"

    def write(self) -> bytes:
        about = RemoteObject(
            place=self.place, size=self.content.length, created_at=moment(self.created_at)
        )
        digest = hashlib.md5(self.content.read(), usedforsecurity=False).digest()
        return gcs.write_object(
            about, generation=self.generation, digest=b64encode(digest).decode()
        )


@dataclass
class Upload:
    """An object that comes in."""

    place: Place
    path: Path
    received: int = 0
    made: StoredObject | None = None
    """What came of it, once it is whole."""


class Objects:
    """Belongs to the service's thread."""

    def __init__(self, desk: Desk, *, bucket: str) -> None:
        self._desk = desk
        self._bucket = bucket
        self._made = 0
        self._objects: dict[str, StoredObject] = {}
        self._uploads: dict[str, Upload] = {}
        self._late: Counter[str] = Counter()
        """How often each object will not be found."""

    def start(self, bucket: str, operation: Operation) -> Reply:
        self._check(bucket)
        place = _named(bucket, operation.head)
        # Who knows this may upload, with a token or without one.
        token = secrets.token_urlsafe(24)
        self._uploads[token] = Upload(place, self._desk.vault.path())
        self._uploads[token].path.touch()
        host = operation.head.headers.get("host", "localhost")
        query = f"uploadType=resumable&upload_id={token}"
        url = f"http://{host}{operation.head.path}?{query}"
        return Reply(status=200, body=b"", headers={gcs.UPLOAD_ADDRESS: url})

    def put(self, bucket: str, operation: Operation) -> Reply:
        """Take an object in whole."""
        self._check(bucket)
        path = self._desk.vault.path()
        _moved(operation).rename(path)
        content = Extent(path, 0, path.stat().st_size)
        return _told(self.keep(_named(bucket, operation.head), content))

    def upload(self, operation: Operation) -> Reply:
        """Take a part in, or say how much is there. What is there already is passed over."""
        head = operation.head
        upload = self._uploads.get(head.query["upload_id"])
        if upload is None:
            raise storage_refused(404, "No such upload.")
        if upload.made is not None:
            return _told(upload.made)
        path = _moved(operation)
        start, size = _part(head, path.stat().st_size)
        if start > upload.received:
            raise storage_refused(400, f"The part begins at {start}, not {upload.received}.")
        _take(upload, path, start=start, size=size)
        if upload.received != size:
            headers = {"range": f"bytes=0-{upload.received - 1}"} if upload.received else {}
            return Reply(status=gcs.INCOMPLETE, body=b"", headers=headers)
        upload.made = self.keep(upload.place, Extent(upload.path, 0, upload.received))
        return _told(upload.made)

    def keep(
        self,
        place: Place,
        content: Extent,
        *,
        at: float | None = None,
        batch: str | None = None,
        late: int = 0,
    ) -> StoredObject:
        """Take an object in, in the place of one of this name; the first `late` reads miss it."""
        self._made += 1
        stored = StoredObject(
            place=place,
            generation=self._made,
            content=content,
            sha=digest_of(content),
            created_at=self._desk.now() if at is None else at,
        )
        before = self._objects.pop(place.name, None)
        if before is not None:
            self._drop(before)
        self._objects[place.name] = stored
        self._late[place.name] = late
        kept = KeptFile(
            id=stored.entry,
            filename=place.name,
            purpose="batch" if batch is None else "batch_output",
            size=content.length,
            sha=stored.sha,
            created_at=moment(stored.created_at),
            batch=batch,
        )
        self._desk.ledger.keep(kept)
        return stored

    def find(self, place: Place) -> StoredObject | None:
        return self._objects.get(place.name) if place.bucket == self._bucket else None

    def is_here(self, bucket: str) -> bool:
        """Whether there is such a bucket."""
        return bucket == self._bucket

    def list(self, bucket: str, head: Head) -> Reply:
        self._check(bucket)
        prefix = head.query.get("prefix", "")
        named = [self._objects[name] for name in sorted(self._objects) if name.startswith(prefix)]
        query = {**head.query, "pageSize": head.query.get("maxResults", "")}
        chosen, token = page(named, query, usual=1_000, most=1_000)
        written = [each.write() for each in chosen]
        body = gcs.write_objects(written, next_page=token.get("nextPageToken"))
        return Reply(status=200, body=body, headers=JSON)

    def get(self, place: Place) -> Reply:
        return _told(self._known(place))

    def download(self, place: Place, headers: Mapping[str, str]) -> Reply:
        stored = self._known(place)
        if self._late[place.name] > 0:
            self._late[place.name] -= 1
            raise no_object(*place)
        about = {"content-type": gcs.MIME_TYPE, "etag": f'"{stored.sha}"'}
        if self._desk.ranges:
            return ranged(stored.content, headers, about)
        return Reply(status=200, body=stored.content, headers=about)

    def delete(self, place: Place) -> Reply:
        self._drop(self._known(place))
        del self._objects[place.name]
        return Reply(status=204, body=b"", headers={})

    def _drop(self, stored: StoredObject) -> None:
        stored.content.path.unlink(missing_ok=True)
        self._desk.ledger.drop(stored.entry, "deleted")

    def _known(self, place: Place) -> StoredObject:
        self._check(place.bucket)
        found = self.find(place)
        if found is None:
            raise no_object(*place)
        return found

    def _check(self, bucket: str) -> None:
        if not self.is_here(bucket):
            raise storage_refused(404, "The specified bucket does not exist.")


def _told(stored: StoredObject) -> Reply:
    return Reply(status=200, body=stored.write(), headers=JSON)


def _named(bucket: str, head: Head) -> Place:
    name = head.query.get("name")
    if not name:
        raise storage_refused(400, "Required parameter: name")
    return Place(bucket, name)


def _moved(operation: Operation) -> Path:
    """The file that the body of a call was put into."""
    assert operation.content.path is not None
    return operation.content.path


def _part(head: Head, length: int) -> tuple[int, int | None]:
    """Where a part begins, and how large the whole is; None: that is not said yet."""
    told = head.headers.get("content-range")
    if told is None:
        return 0, length
    found = PART.fullmatch(told)
    if found is None or (found[1] and int(found[2]) - int(found[1]) + 1 != length):
        raise storage_refused(400, f"Failed to parse Content-Range header: {told!r}")
    return int(found[1] or 0), None if found[3] == "*" else int(found[3])


def _take(upload: Upload, part: Path, *, start: int, size: int | None) -> None:
    """Put behind what is there what is new in a part: of all but the last, whole grains."""
    length = part.stat().st_size
    if not length:
        return
    end = start + length
    if end != size:
        end -= end % gcs.GRAIN
    with upload.path.open("ab") as file:
        for piece in _pieces(part, upload.received - start, max(0, end - upload.received)):
            upload.received += file.write(piece)


def _pieces(part: Path, start: int, length: int) -> Iterator[bytes]:
    return Extent(part, start, length).pieces()
