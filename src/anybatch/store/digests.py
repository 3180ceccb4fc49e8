"""The digests of a run's requests: by them a later run finds those that it would ask again.

8 bytes a request, then a checksum. The file is made when it is first asked for, and goes with its
run. Equal digests say that bodies may be equal, not that they are.
"""

import os
import threading
from array import array
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from zlib import crc32

from ..core.model import Request
from ..effects import Probe, effect
from .files import NewFile, fsync_folder, unwritable
from .requests import RequestFile

_FILE = "requests.digests"
_AT_ONCE = 1024


def digests_of(folder: Path, *, probe: Probe) -> "array[int]":
    """The digest of each request, by number. Raises StoreCorrupt for a request that is damaged."""
    path = folder / _FILE
    with RequestFile(folder) as requests:
        known = _read(path, requests.count)
        if known is not None:
            return known
        digests = array("Q")
        bodies = requests.read(range(requests.count))
        while chunk := list(islice(bodies, _AT_ONCE)):
            digests.frombytes(_digested(chunk))
    _write(path, digests, probe=probe)
    return digests


def digests(requests: Iterable[Request]) -> Iterator[int]:
    """The digest of each of these."""
    for request in requests:
        yield int.from_bytes(_digest(request.body), "little")


def _digested(requests: Iterable[Request]) -> bytes:
    return b"".join([_digest(request.body) for request in requests])


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=8).digest()


def _read(path: Path, count: int) -> "array[int] | None":
    """What the file holds; None if it is not there or not whole: then it is made again."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    listed, checksum = content[:-4], content[-4:]
    if len(listed) != 8 * count or crc32(listed).to_bytes(4, "little") != checksum:
        return None
    found = array("Q")
    found.frombytes(listed)
    return found


def _write(path: Path, digests: "array[int]", *, probe: Probe) -> None:
    """Another process may make the same file at the same time, so it appears whole."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    draft.unlink(missing_ok=True)
    content = digests.tobytes()
    with NewFile(draft, name="digests", probe=probe) as file:
        file.write(content + crc32(content).to_bytes(4, "little"))
        file.sync()
    with effect("digests.rename", probe), unwritable(path):
        os.replace(draft, path)
    fsync_folder(path.parent, probe=probe)
