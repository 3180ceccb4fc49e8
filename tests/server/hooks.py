"""Somebody who hears of events: a service on 127.0.0.1 that answers as it is told to."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .world import until

ALLOWED: Mapping[str, Any] = {"webhook_hosts": ["127.0.0.1"]}
"""The settings under which it can be called."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One call."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def at(self) -> int:
        return int(self.headers["webhook-timestamp"])

    @property
    def event(self) -> Any:
        return json.loads(self.body)


def signed_by(heard: Heard, secret: str) -> bool:
    """Whether a call carries a signature of this secret, by the letter of the specification."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = b".".join((heard.id.encode(), str(heard.at).encode(), heard.body))
    expected = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in heard.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What it heard, and how it answers: by the statuses it was given, then by 200."""

    heard: list[Heard] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """What an answer that is no 2xx carries."""
    goes_on: threading.Event = field(default_factory=threading.Event)
    """Cleared, nothing is answered until it is set."""
    url: str = ""

    def __post_init__(self) -> None:
        self.goes_on.set()

    def until_heard(self, count: int = 1, *, path: str | None = None) -> list[Heard]:
        """So many calls, once they have come."""

        def calls() -> list[Heard]:
            return [each for each in self.heard if path is None or each.path == path]

        until(lambda: len(calls()) >= count, f"{count} calls")
        return calls()

    def answer(self) -> int:
        return self.answers.pop(0) if self.answers else 200


@contextmanager
def receiver(answers: Iterable[int] = (), **headers: str) -> Iterator[Receiver]:
    there = Receiver(answers=[*answers], headers=headers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            named = {name.lower(): value for name, value in self.headers.items()}
            there.heard.append(Heard(self.path, named, body))
            there.goes_on.wait(30)
            status = there.answer()
            self.send_response(status)
            for name, value in there.headers.items() if status >= 300 else ():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Tells nobody."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    there.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield there
    finally:
        there.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
