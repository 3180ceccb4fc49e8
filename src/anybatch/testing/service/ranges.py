"""Downloads of files, whole or of a stretch."""

import re
from collections.abc import Mapping
from typing import Final

from .http1 import Extent, Reply

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def ranged(content: Extent, headers: Mapping[str, str], about: Mapping[str, str]) -> Reply:
    """The file, or the one stretch of it that is asked for; `about` has its etag."""
    about = {**about, "accept-ranges": "bytes"}
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or headers.get("if-range", about["etag"]) != about["etag"]:
        return Reply(status=200, body=content, headers=about)
    size = content.length
    start, end = _bounds(found[1], found[2], size)
    if start >= min(end, size):
        missed = {**about, "content-range": f"bytes */{size}"}
        return Reply(status=416, body=b"", headers=missed)
    end = min(end, size)
    about = {**about, "content-range": f"bytes {start}-{end - 1}/{size}"}
    return Reply(status=206, body=content.part(start, end - start), headers=about)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """Where a range starts, and where it is over."""
    if first:
        return int(first), int(last) + 1 if last else size
    return max(0, size - int(last or 0)), size
