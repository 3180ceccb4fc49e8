"""What the requests of a run share, as it was found when the run was planned: one small file."""

from pathlib import Path
from zlib import crc32

import msgspec

from ..core.heads import Heads
from ..effects import Probe
from .files import committed, damaged, replace_whole

FILE = "heads.json"


def write_heads(folder: Path, heads: Heads, *, probe: Probe) -> None:
    """Keep `heads` beside the requests: what goes out later says the same to the cache."""
    content = msgspec.json.encode(heads)
    replace_whole(folder / FILE, b"%b\n%d\n" % (content, crc32(content)), name="heads", probe=probe)


def read_heads(folder: Path) -> Heads | None:
    """None: nothing is said to a cache. Raises StoreCorrupt."""
    path = folder / FILE
    if not path.exists():
        return None
    with committed(path):
        content, _, checksum = path.read_bytes().partition(b"\n")
    if checksum != b"%d\n" % crc32(content):
        raise damaged(path, "does not match its checksum")
    return msgspec.json.decode(content, type=Heads)
