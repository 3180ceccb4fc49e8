"""A transport that sends what was written in one go with one call of the system.

uvicorn writes the head of an answer and its body apart, and uvloop sends each at once.
"""

import asyncio
from typing import Any

_MOST_BYTES = 1 << 16
_LINGERS_S = 1.0


class Together:
    """A transport; all but writing is the one's that it stands for. Belongs to the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        """What was written since the event loop last came by."""
        self._bytes = 0
        self.lingers = False
        """Whether what still comes is read for a while after closing: a system that closes with
        something unread tells the other side to forget what it was answered."""
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        self._bytes += len(data)
        if self._bytes > _MOST_BYTES:
            self._send()  # only what is sent can tell its writer to wait

    def _send(self) -> None:
        if self._held and not self._transport.is_closing():
            self._transport.write(b"".join(self._held))
        self._held.clear()
        self._bytes = 0

    def is_closing(self) -> bool:
        return self._is_closed or self._transport.is_closing()

    def close(self) -> None:
        self._send()
        if self.lingers and not self.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(_LINGERS_S, self._transport.close)
        elif not self._is_closed:
            self._transport.close()
        self._is_closed = True
