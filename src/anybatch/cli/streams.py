"""What the command line writes to: what stderr does not take is let go, what stdout does not, told.

Progress and reports are expendable, and the work is not. What was asked for on stdout is no less
than a file: that it did not get there must be known.
"""

import io
import os
import sys
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BUFFER_BYTES = 1 << 16


class Unread(Exception):
    """Whoever read our stdout went away before its end."""


def guard_streams() -> None:
    """Have stdout and stderr do as this module says; those we were started without are nowhere."""
    _fill_closed()
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _over(_Expendable(sys.stderr.fileno(), "w", closefd=False), sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _over(_Told(sys.stdout.fileno(), "w", closefd=False), sys.stdout)


def _fill_closed() -> None:
    """Put nothing in the place of streams we were started without, lest our files take it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # never closed: its number is to be taken
            setattr(sys, name, open(nowhere, mode, closefd=False))


def _over(raw: io.FileIO, before: io.TextIOWrapper) -> io.TextIOWrapper:
    """A text stream over `raw`, otherwise as the one before it."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw, _BUFFER_BYTES),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )


class _Expendable(io.FileIO):
    """A full disk, a terminal that is gone, a reader that left: nothing of it is heard."""

    def write(self, content: "ReadableBuffer", /) -> int:
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


class _Told(io.FileIO):
    """Raises Unread for a reader that left, UsageError for whatever else is not taken."""

    def write(self, content: "ReadableBuffer", /) -> int:
        try:
            return super().write(content)
        except BrokenPipeError as e:
            raise Unread from e
        except OSError as e:
            why = (e.strerror or str(e)).lower()
            raise UsageError(f"cannot write to stdout: {why}; send it somewhere else") from e
