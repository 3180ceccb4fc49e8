"""A stored file as an answer: the whole of it, or one stretch."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

_PIECE_BYTES = 1 << 18
_STRETCH = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class PastTheEnd(Exception):
    """A stretch was asked for that begins where the file has ended."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size:,} bytes.")
        self.size = size


def stretch_of(asked: str, size: int) -> range | None:
    """The bytes that a Range header asks for, of a file with `size`; None: all of them.

    What is no single stretch is not looked at, as RFC 9110 allows. Raises PastTheEnd.
    """
    found = _STRETCH.fullmatch(asked.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        stretch = range(max(size - int(last), 0), size)
    else:
        stretch = range(int(first), min(int(last) + 1, size) if last else size)
        if last and int(last) < int(first):
            return None
    if not stretch:
        raise PastTheEnd(size)
    return stretch


async def read_answer(
    request: Request,
    path: Path,
    *,
    name: str,
    media_type: str = "application/octet-stream",
    headers: Mapping[str, str] | None = None,
) -> StreamingResponse:
    """What lies at `path`, as far as it is asked for. `name` is its own, and it never changes.

    Raises FileNotFoundError and PastTheEnd. What is deleted from now on is read to its end.
    """
    file = await asyncio.to_thread(open, path, "rb")
    try:
        size = os.fstat(file.fileno()).st_size
        etag = f'"{name}"'
        asked = request.headers.get("range", "")
        if request.headers.get("if-range", etag) != etag:
            asked = ""
        stretch = stretch_of(asked, size)
    except BaseException:
        file.close()
        raise
    said = {"accept-ranges": "bytes", "etag": etag, **(headers or {})}
    if stretch is not None:
        said["content-range"] = f"bytes {stretch.start}-{stretch.stop - 1}/{size}"
    wanted = range(size) if stretch is None else stretch
    said["content-length"] = str(len(wanted))
    return StreamingResponse(
        iterate_in_threadpool(_pieces(file, wanted)),
        status_code=200 if stretch is None else 206,
        media_type=media_type,
        headers=said,
    )


def _pieces(file: BinaryIO, wanted: range) -> Iterator[bytes]:
    with file:
        file.seek(wanted.start)
        left = len(wanted)
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece
