"""Gemini's wire: files of the Developer API, and how they are uploaded.

Shapes as of the official SDK 3.3, the REST reference and recorded exchanges, checked 2026-11-20.
What is read may be in camelCase or snake_case, its 64-bit numbers texts or numbers; what is written
is in camelCase with texts.
"""

from datetime import datetime

import msgspec

from .reading import (
    COUNT,
    Fields,
    Malformed,
    fields,
    given,
    moment,
    optional,
    readable,
    text_of,
    whole,
    written,
)

MIME_TYPE = "application/jsonl"
UPLOAD_PATH = "/files"
"""Under the address that has `upload` before its version."""
UPLOAD_ADDRESS = "x-goog-upload-url"
"""The header of the reply to a start that says where the bytes go."""


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is asked for, or as the service said it is."""

    name: str | None = None
    """`files/…`; None: for the service to choose."""
    display_name: str | None = None
    size: int | None = None
    """In bytes."""
    mime_type: str = MIME_TYPE
    state: str | None = None
    """`PROCESSING`, `ACTIVE` or `FAILED`."""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    address: str | None = None


def start_headers(file: RemoteFile) -> dict[str, str]:
    """What announces an upload of `file`, beside the body that `write_start` gives."""
    return {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(file.size or 0),
        "X-Goog-Upload-Header-Content-Type": file.mime_type,
    }


def part_headers(*, offset: int, last: bool) -> dict[str, str]:
    """What goes with each part of the bytes."""
    command = "upload, finalize" if last else "upload"
    return {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}


def write_start(file: RemoteFile) -> bytes:
    """The body that announces an upload."""
    asked = {"name": file.name, "displayName": file.display_name, "mimeType": file.mime_type}
    size = None if file.size is None else str(file.size)
    return msgspec.json.encode({"file": given({**asked, "sizeBytes": size})})


def write_file(file: RemoteFile) -> bytes:
    """A file object. In an envelope, `{"file": …}`, it ends an upload."""
    return msgspec.json.encode(
        given(
            {
                "name": file.name,
                "displayName": file.display_name,
                "mimeType": file.mime_type,
                "sizeBytes": None if file.size is None else str(file.size),
                "createTime": written(file.created_at),
                "updateTime": written(file.created_at),
                "expirationTime": written(file.expires_at),
                "uri": file.address,
                "state": file.state,
            }
        )
    )


def read_file(body: bytes) -> RemoteFile:
    """A file object, or the body that announces or ends an upload. Raises Malformed."""
    found = whole(body, what="a file")
    return _file(fields(found["file"]) if "file" in found else found)


def _file(found: Fields) -> RemoteFile:
    if not found:
        raise Malformed("a file has a name or a size, but this has nothing")
    return RemoteFile(
        name=text_of(found, "name"),
        display_name=text_of(found, "displayName"),
        size=optional(COUNT, found.get("sizeBytes")),
        mime_type=text_of(found, "mimeType") or MIME_TYPE,
        state=text_of(found, "state"),
        created_at=moment(found.get("createTime")),
        expires_at=moment(found.get("expirationTime")),
        address=text_of(found, "uri"),
    )


def read_files(body: bytes) -> tuple[list[RemoteFile], str | None]:
    """A page of the list of files, and what to ask for the next one with. Raises Malformed."""
    found = whole(body, what="a page of files")
    return readable(found.get("files"), read=_file), text_of(found, "nextPageToken")
