"""Big files by their ids: what clients uploaded, and what was made for them.

One appears whole, under its name, or not at all.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

from ..effects import Probe, effect, unwatched
from .files import NewFile, fsync_folder, unwritable

_CHUNK = 1 << 20


class Blob:
    """A file while it is written: under a name that nobody looks for, until it is kept."""

    def __init__(self, path: Path, *, probe: Probe) -> None:
        self.path = path
        self._probe = probe
        self._file = NewFile(path, name="blob", probe=probe)
        self._open = True
        self.size = 0
        self.crc = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def write(self, content: bytes | bytearray) -> None:
        """Append `content`. Raises StoreUnwritable."""
        self._file.write(content)
        self.size += len(content)
        self.crc = crc32(content, self.crc)
        self._digest.update(content)

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return self._digest.hexdigest()

    def keep(self, as_: Path) -> None:
        """Make it durable under its name."""
        self._file.sync()
        self._close()
        with effect("blob.rename", self._probe), unwritable(as_):
            self.path.rename(as_)
        fsync_folder(as_.parent, probe=self._probe)

    def discard(self) -> None:
        """Forget it, if it was not kept."""
        if self._open:
            self._close()
            self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        self._file.__exit__(None, None, None)
        self._open = False


class Blobs:
    """The big files of a store: those of clients, and the parts of those that are not whole yet."""

    def __init__(self, root: Path, *, probe: Probe = unwatched) -> None:
        self._probe = probe
        self._incoming = root / "incoming"
        self._files = root / "files"
        self._parts = root / "parts"
        self._begun = 0
        with unwritable(root):
            for folder in (self._incoming, self._files, self._parts):
                folder.mkdir(parents=True, exist_ok=True)

    def begin(self) -> Blob:
        """A file that is written now."""
        self._begun += 1
        return Blob(self._incoming / f"{os.getpid()}-{self._begun}", probe=self._probe)

    def file(self, file_id: str) -> Path:
        """Where a file lies. Only ids of our own making are asked for."""
        return self._files / file_id

    def part(self, part_id: str) -> Path:
        return self._parts / part_id

    def remove_file(self, file_id: str) -> None:
        self.file(file_id).unlink(missing_ok=True)

    def remove_parts(self, part_ids: Iterable[str]) -> None:
        for part_id in part_ids:
            self.part(part_id).unlink(missing_ok=True)

    def sweep(self, *, files: set[str], parts: set[str]) -> None:
        """Remove what nobody knows of: whoever died left it. Nobody else may be writing."""
        for folder, known in ((self._incoming, set()), (self._files, files), (self._parts, parts)):
            for path in folder.iterdir():
                if path.name not in known:
                    path.unlink()

    def join(self, part_ids: Iterable[str]) -> tuple[Blob, str]:
        """A file made of these parts, and its MD5 in hex."""
        blob, digest = self.begin(), hashlib.md5(usedforsecurity=False)
        try:
            for part_id in part_ids:
                for chunk in _chunks(self.part(part_id)):
                    blob.write(chunk)
                    digest.update(chunk)
        except BaseException:
            blob.discard()
            raise
        return blob, digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
