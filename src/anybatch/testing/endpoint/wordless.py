"""What answers hold that are no text: findings about one, and pictures."""

import hashlib
import struct
import zlib
from typing import Final

from ...core.model import Json

CATEGORIES: Final = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
_LIKELY, _UNLIKELY = 0.98, 0.001


def finding(text: str) -> Json:
    """What moderation says of a text: it is taken at its word, and is of a category it names."""
    lower = text.lower()
    applies = {category: category in lower for category in CATEGORIES}
    scores = {name: _LIKELY if found else _UNLIKELY for name, found in applies.items()}
    return {
        "flagged": any(applies.values()),
        "categories": applies,
        "category_scores": scores,
        "category_applied_input_types": {
            name: ["text"] if found else [] for name, found in applies.items()
        },
    }


def picture(text: str) -> bytes:
    """A PNG of one pixel, whose colour depends on the text and on nothing else."""
    colour = hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:3]
    size_and_kind = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + colour)
    parts = ((b"IHDR", size_and_kind), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, held) for kind, held in parts)


def _chunk(kind: bytes, held: bytes) -> bytes:
    return struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))
