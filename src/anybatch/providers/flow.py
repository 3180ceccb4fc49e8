"""A call and its reply, as data: what a conversation with a service is made of."""

from collections.abc import Mapping

import msgspec

NO_HEADERS: Mapping[str, str] = {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What to send. `path` is joined to the provider's base URL."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = NO_HEADERS


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: nothing of its body is missing."""

    status: int
    body: bytes
    headers: Mapping[str, str] = NO_HEADERS
    """Names in lower case."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300
