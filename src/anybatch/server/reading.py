"""Stored files as an answer: the whole of them, or one stretch of one."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

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
    return _Reading(
        _pieces(file, wanted),
        file,
        status_code=200 if stretch is None else 206,
        media_type=media_type,
        headers=said,
    )


async def read_all(paths: Sequence[Path], *, media_type: str) -> StreamingResponse:
    """What lies at all of these, one behind the other, even if it is deleted from now on.

    Raises FileNotFoundError.
    """
    opened, files = await asyncio.to_thread(_opened, paths)
    sizes = [os.fstat(file.fileno()).st_size for file in files]
    pieces = (_pieces(file, range(size)) for file, size in zip(files, sizes, strict=True))
    headers = {"content-length": str(sum(sizes))}
    return _Reading(chain.from_iterable(pieces), opened, media_type=media_type, headers=headers)


def _opened(paths: Sequence[Path]) -> tuple[ExitStack, list[BinaryIO]]:
    with ExitStack() as stack:
        files: list[BinaryIO] = [stack.enter_context(open(path, "rb")) for path in paths]
        return stack.pop_all(), files


class _Reading(StreamingResponse):
    """What was opened is closed, even if the client goes before the first piece."""

    def __init__(
        self, pieces: Iterator[bytes], opened: AbstractContextManager[Any], **how: Any
    ) -> None:
        super().__init__(iterate_in_threadpool(pieces), **how)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._opened:
            await super().__call__(scope, receive, send)


def _pieces(file: BinaryIO, wanted: range) -> Iterator[bytes]:
    file.seek(wanted.start)
    left = len(wanted)
    while left and (piece := file.read(min(left, _PIECE_BYTES))):
        left -= len(piece)
        yield piece
