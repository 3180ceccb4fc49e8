"""Google Cloud Storage's wire: objects in buckets, by its JSON API.

Shapes as of the service's reference, checked 2026-11-20. Its 64-bit numbers are texts.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from .reading import COUNT, Fields, Malformed, given, moment, optional, readable, text_of, whole
from .reading import written as written_at

MIME_TYPE = "application/jsonl"
GRAIN = 1 << 18
"""Every part of an upload but the last is so many bytes long, or a multiple of that."""
UPLOAD_ADDRESS = "location"
"""The header of the reply to a start that says where the bytes go."""
INCOMPLETE = 308
"""The status of a reply to a part that was taken, while others are still to come."""

_URI = re.compile(r"gs://([^/]+)/(.+)", re.DOTALL)
_RECEIVED = re.compile(r"bytes=0-(\d+)")


class Place(NamedTuple):
    """Where an object lies."""

    bucket: str
    name: str

    @property
    def uri(self) -> str:
        return f"gs://{self.bucket}/{self.name}"


def read_uri(uri: str) -> Place | None:
    """The place that `gs://bucket/name` names; None for any other address."""
    found = _URI.fullmatch(uri)
    return None if found is None else Place(found[1], found[2])


# --- addresses ----------------------------------------------------------------------------------


def start_path(place: Place) -> str:
    """Where an upload in parts is announced."""
    name = quote(place.name, safe="")
    return f"/upload/storage/v1/b/{place.bucket}/o?uploadType=resumable&name={name}"


def object_path(place: Place) -> str:
    """Where an object is looked at and deleted."""
    return f"/storage/v1/b/{place.bucket}/o/{quote(place.name, safe='')}"


def content_path(place: Place) -> str:
    """Where its content is read."""
    return f"{object_path(place)}?alt=media"


def list_path(place: Place, token: str | None) -> str:
    """Where all objects are listed whose names begin so."""
    more = "" if token is None else f"&pageToken={quote(token, safe='')}"
    prefix = quote(place.name, safe="")
    return f"/storage/v1/b/{place.bucket}/o?maxResults=1000&prefix={prefix}{more}"


# --- uploads ------------------------------------------------------------------------------------


def start_headers(size: int) -> dict[str, str]:
    """What announces an upload of so many bytes."""
    return {"X-Upload-Content-Type": MIME_TYPE, "X-Upload-Content-Length": str(size)}


def part_headers(*, start: int, length: int, size: int) -> dict[str, str]:
    """What goes with a part of the bytes, of which there are `size` in all."""
    stretch = f"{start}-{start + length - 1}" if length else "*"
    return {"Content-Range": f"bytes {stretch}/{size}"}


def received(headers: Mapping[str, str]) -> int:
    """How many bytes the service has, by the headers of a reply to a part of them."""
    found = _RECEIVED.fullmatch(headers.get("range", ""))
    return 0 if found is None else int(found[1]) + 1


# --- objects ------------------------------------------------------------------------------------


class RemoteObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object as the service said it is."""

    place: Place
    size: int | None = None
    """In bytes."""
    created_at: datetime | None = None


def read_object(body: bytes) -> RemoteObject:
    """What is known of an object. Raises Malformed."""
    return _object(whole(body, what="an object"))


def _object(found: Fields) -> RemoteObject:
    bucket, name = text_of(found, "bucket"), text_of(found, "name")
    if bucket is None or name is None:
        raise Malformed("an object has a bucket and a name, but this has not")
    return RemoteObject(
        place=Place(bucket, name),
        size=optional(COUNT, found.get("size")),
        created_at=moment(found.get("timeCreated")),
    )


def write_object(kept: RemoteObject, *, generation: int, digest: str) -> bytes:
    """What is known of an object. `digest` is of its content: MD5, in base64."""
    about = {
        "kind": "storage#object",
        "id": f"{kept.place.bucket}/{kept.place.name}/{generation}",
        "bucket": kept.place.bucket,
        "name": kept.place.name,
        "generation": str(generation),
        "contentType": MIME_TYPE,
        "size": None if kept.size is None else str(kept.size),
        "md5Hash": digest,
        "timeCreated": written_at(kept.created_at),
        "updated": written_at(kept.created_at),
    }
    return msgspec.json.encode(given(about))


def read_objects(body: bytes) -> tuple[list[RemoteObject], str | None]:
    """A page of the list, and what to ask for the next one with: `pageToken`. Raises Malformed."""
    found = whole(body, what="a page of objects")
    return readable(found.get("items"), read=_object), text_of(found, "nextPageToken")


def write_objects(listed: list[bytes], *, next_page: str | None) -> bytes:
    """A page of the list: objects as written. An empty one has no `items`."""
    items = [msgspec.Raw(each) for each in listed]
    page = {"kind": "storage#objects", "items": items or None, "nextPageToken": next_page}
    return msgspec.json.encode(given(page))


def write_error(status: int, message: str, *, reason: str) -> bytes:
    """An error in the service's envelope, which has no word for the status."""
    one = {"message": message, "domain": "global", "reason": reason}
    return msgspec.json.encode({"error": {"code": status, "message": message, "errors": [one]}})
