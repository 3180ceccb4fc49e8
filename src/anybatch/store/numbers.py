"""The requests of a batch that is not a range, listed: 4 bytes a number, then a checksum."""

import os
import sys
import threading
import zlib
from array import array
from collections.abc import Iterable
from pathlib import Path

from ..effects import Probe, effect
from .files import NewFile, committed, damaged, fsync_folder, unwritable


def write_numbers(path: Path, numbers: Iterable[int], *, probe: Probe) -> int:
    """List `numbers` in the file at `path`; how many there are.

    It appears whole: another process may plan the same wave, be first, and read it already.
    """
    listed = array("I", numbers)
    if sys.byteorder == "big":
        listed.byteswap()
    content = listed.tobytes()
    checksum = zlib.crc32(content).to_bytes(4, "little")
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    draft.unlink(missing_ok=True)
    with NewFile(draft, name="numbers", probe=probe) as file:
        file.write(content + checksum)
        file.sync()
    with effect("numbers.rename", probe), unwritable(path):
        os.replace(draft, path)
    fsync_folder(path.parent, probe=probe)
    return len(content) // 4


def read_numbers(path: Path) -> "memoryview[int]":
    """The numbers of a batch that is not a range."""
    with committed(path):
        content = path.read_bytes()
    numbers, checksum = content[:-4], content[-4:]
    # Four zeros would pass for the checksum of nothing.
    if not numbers or zlib.crc32(numbers).to_bytes(4, "little") != checksum:
        raise damaged(path, "does not match its checksum")
    return memoryview(numbers).cast("I")
