"""A call and its reply, as data: what a conversation with a service is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to send. `path` is joined to the provider's base URL."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer: nothing of its body is missing."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    """Names in lower case."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300
