"""A plain client of the fakes that are not OpenAI's: one connection a call, nothing tried again."""

from http.client import HTTPConnection
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from .plain import Answered


class Fake(Protocol):
    @property
    def address(self) -> str: ...


def call(
    fake: Fake,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Answered:
    """`path` may be a whole address; a body that is no bytes goes out as JSON."""
    host, parts = urlsplit(fake.address), urlsplit(path)
    assert host.hostname is not None
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    raw = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
    connection = HTTPConnection(host.hostname, host.port, timeout=5)
    try:
        connection.request(method, target, raw, headers or {})
        response = connection.getresponse()
        there = {name.lower(): text for name, text in response.getheaders()}
        return Answered(response.status, there, response.read())
    finally:
        connection.close()


def ok(answered: Answered) -> Any:
    assert answered.status == 200, answered
    return answered.json


def lines_of(answered: Answered) -> list[Any]:
    assert answered.status in (200, 206), answered
    return [msgspec.json.decode(line) for line in answered.body.splitlines()]
