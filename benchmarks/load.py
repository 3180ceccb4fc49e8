"""A client that makes the same call again and again, and a server that does nothing but answer.

`python -m benchmarks.load ask PORT PATH SECONDS CALLS CORE`; `answer CORE` prints its port.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from anybatch import loops

from .measure import report

_OK = b"HTTP/1.1 200"
_WARM_S = 0.5


def pin(core: int) -> None:
    """Keep this process to one core, where the system lets us choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


class _Asking(asyncio.Protocol):
    """One connection: the next call goes out when the last one is answered."""

    def __init__(self, call: bytes) -> None:
        self._call = call
        self.answered = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._call)

    def data_received(self, data: bytes) -> None:
        # An answer is small, and its first line is never in two pieces.
        if data.startswith(_OK):
            self.answered += 1
            self._transport.write(self._call)
        elif not data.startswith(b"{"):
            raise AssertionError(data[:200])


def ask(port: int, path: str, seconds: float, calls: int, core: int) -> Mapping[str, Any]:
    """How many answers a second come when `calls` connections ask all the time."""
    pin(core)
    return loops.run(_ask(port, path, seconds, calls))


async def _ask(port: int, path: str, seconds: float, calls: int) -> Mapping[str, Any]:
    loop = asyncio.get_running_loop()
    call = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer any\r\n\r\n"
    asking = []
    for _ in range(calls):
        _, one = await loop.create_connection(lambda: _Asking(call.encode()), "127.0.0.1", port)
        asking.append(one)
    await asyncio.sleep(_WARM_S)
    before, start = sum(one.answered for one in asking), time.perf_counter()
    await asyncio.sleep(seconds)
    took, after = time.perf_counter() - start, sum(one.answered for one in asking)
    assert after > before, "nothing was answered"
    return {"all": after, "rate": (after - before) / took}


_BODY = json.dumps({"id": "batch_" + "0" * 24, "object": "batch", "more": "x" * 800}).encode()
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))],
}


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_START)
    await send({"type": "http.response.body", "body": _BODY})


def answer(core: int) -> None:
    """The least that our HTTP server can do: the same bytes for every call."""
    pin(core)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        _bare, log_config=None, access_log=False, lifespan="off", server_header=False
    )
    loops.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "answer":
        answer(int(words[0]))
    else:
        port, path, seconds, calls, core = words
        report(lambda: ask(int(port), path, float(seconds), int(calls), int(core)))
