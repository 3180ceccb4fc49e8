"""The files of a fake service: on disk, in a folder that goes with it."""

import shutil
import tempfile
import weakref
from itertools import count
from pathlib import Path


class Vault:
    """A folder of its own. It is removed by `close()`, or else with the last reference to it."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="anybatch-fake-")
        self._folder = Path(folder)
        self._numbers = count(1)
        self._close = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def path(self) -> Path:
        """Where nothing lies yet."""
        return self._folder / str(next(self._numbers))

    @property
    def is_closed(self) -> bool:
        return not self._close.alive

    def close(self) -> None:
        self._close()
