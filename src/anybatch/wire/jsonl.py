"""JSON lines: one value a line, split on the byte `\\n` and nothing else.

U+2028 and U+0085 are legal inside JSON, so no function that knows about "lines of text" is used.
"""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from ..core.model import Result

_ENCODER = msgspec.json.Encoder()
_RESULT = msgspec.json.Decoder(Result)

CHUNK = 1 << 20


def write_line(value: object) -> bytes:
    """`value` as one line, its newline included."""
    return _ENCODER.encode(value) + b"\n"


def lines(file: BinaryIO, *, size: int) -> Iterator[bytes]:
    """The whole lines in the first `size` bytes of `file`, without their newlines."""
    rest = b""
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        size -= len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def read_result(line: bytes) -> Result:
    """One line of a journal. Raises msgspec.DecodeError."""
    return _RESULT.decode(line)


def number_of(line: bytes) -> int:
    """The `n` of a journal line, without decoding the rest: it always stands first.

    The line has to be one that was written here: `committed_lines` gives no others.
    """
    return int(line[5 : line.index(b",")])
