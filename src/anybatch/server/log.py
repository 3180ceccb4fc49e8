"""What the server says of itself: one JSON object a line, on stderr. No body, key or prompt.

A thread writes it, so that a reader of stderr who is slow makes nobody wait. What such a reader
leaves over is dropped, and how much that was is said. The thread takes many lines at once: each
time it wakes, whoever serves has to wait for the interpreter.
"""

import sys
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()
_MOST = 10_000
"""So many lines wait at most."""
_AT_ONCE = 256
_GATHER_S = 0.02
"""So long the next lines gather while none is left."""


class Writer:
    """Lines on their way to stderr. Its thread lives as long as some come."""

    def __init__(self, most: int = _MOST) -> None:
        # Guards what follows.
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._most = most
        self._has_thread = False
        self._untold = 0
        self.dropped = 0

    def put(self, line: bytes) -> None:
        """Never waits for a reader."""
        with self._changed:
            if len(self._lines) >= self._most:
                self.dropped += 1
                self._untold += 1
                return
            if self._untold:
                self._lines.append(_line("log.dropped", lines=self._untold))
                self._untold = 0
            self._lines.append(line)
            if not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._write, name="anybatch-log", daemon=True).start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written, so long at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._has_thread, timeout=timeout_s)

    def _write(self) -> None:
        while True:
            with self._changed:
                if not self._lines:
                    self._has_thread = False
                    self._changed.notify_all()
                    return
                several = min(len(self._lines), _AT_ONCE)
                text = b"".join(self._lines.popleft() for _ in range(several))
                is_all = not self._lines
            # Whoever listened may have gone: that is no reason to stop serving.
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.buffer.write(text)
                sys.stderr.buffer.flush()
            if is_all:
                time.sleep(_GATHER_S)


def _line(event: str, **fields: Any) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return _ENCODER.encode({"at": at, "event": event, **fields}) + b"\n"


_WRITER = Writer()


def log(event: str, **fields: Any) -> None:
    """Say that something happened."""
    _WRITER.put(_line(event, **fields))


def flush(timeout_s: float = 1.0) -> bool:
    """Wait until all that was said is written; whether it is."""
    return _WRITER.flush(timeout_s)


def dropped() -> int:
    """How many lines were dropped because nobody read them."""
    return _WRITER.dropped
