"""What clients of our server give and ask for: files, uploads, orders; and what one may become.

An order is a batch as a client asked for it: a run for each place where its requests are answered.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from .model import Api, Json, Usage

OrderStatus = Literal[
    "received",
    "running",
    "finishing",
    "expiring",
    "cancelling",
    "completed",
    "failed",
    "expired",
    "cancelled",
]
"""`received`: its input was not looked at yet. `finishing`: all is answered, and its result files
are being written. `expiring`: its time is over, and what runs is stopped. `failed`: nothing ran,
because its input is not what it must be."""

AFTER: Mapping[OrderStatus, tuple[OrderStatus, ...]] = {
    "received": ("running", "failed", "expiring", "cancelling"),
    "running": ("finishing", "expiring", "cancelling", "failed"),
    "finishing": ("completed", "cancelling", "failed"),
    "expiring": ("expired", "cancelling"),
    "cancelling": ("cancelled",),
    "completed": (),
    "failed": (),
    "expired": (),
    "cancelled": (),
}
"""The legal edges: no order goes back."""

OVER: frozenset[OrderStatus] = frozenset(status for status, after in AFTER.items() if not after)

Ending = Literal["completed", "expired", "cancelled"]
"""How an order ends whose requests ran. What was not answered by then is said in these words."""

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


class Problem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is wrong with the input of an order, in the words of the wire it came by."""

    code: str
    message: str
    line: int | None = None
    """1-based; None: it concerns the whole file."""
    param: str | None = None


class Ready(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request as a client made it."""

    name: str
    """The client's own: its custom_id."""
    model: str
    body: bytes
    asked: bytes | None = None
    """The body as the client made it, where `body` says the same in the words of another api."""


class Declined(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request that is not sent, because it is known what would become of it; the others are."""

    name: str
    status: int
    """The HTTP status that it would have been refused with."""
    message: str
    code: str | None = None


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a client's, or one that was made for it."""

    id: str
    owner: str
    name: str
    """As the client calls it. It is never a path of ours."""
    purpose: str
    size: int
    crc: int
    """CRC-32 of its bytes."""
    created_at: datetime
    expires_at: datetime | None


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that arrives in parts."""

    id: str
    owner: str
    name: str
    purpose: str
    mime_type: str
    size: int
    """How long the whole will be, as the client said."""
    kept_seconds: int | None
    """How long the file is kept; None: until it is deleted."""
    created_at: datetime
    expires_at: datetime
    status: UploadStatus = "pending"
    file_id: str | None = None


class UploadPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an upload."""

    id: str
    upload_id: str
    size: int
    created_at: datetime


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as a client asked for it."""

    id: str
    owner: str
    face: str
    """By which protocol it came."""
    api: Api
    asked: Json
    """What its protocol keeps of it and we do not look at."""
    input_file: str
    input_size: int
    created_at: datetime
    expires_at: datetime
    kept_seconds: int
    """How long its result files are kept."""
    trace: str | None = None
    """The W3C traceparent of the call that asked for it, where calls are traced."""
    status: OrderStatus = "received"
    started_at: datetime | None = None
    finishing_at: datetime | None = None
    cancelling_at: datetime | None = None
    ended_at: datetime | None = None
    total: int | None = None
    """How many requests it has; None: its input was not looked at yet."""
    model: str | None = None
    """The one model that all of them name, if it is one."""
    runs: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    completed: int = 0
    """So many have an answer; known at the end, as what follows."""
    failed: int = 0
    usage: Usage = Usage()
    output_file: str | None = None
    error_file: str | None = None

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def ending(self) -> Ending:
        """How it ends as it stands now."""
        match self.status:
            case "cancelling" | "cancelled":
                return "cancelled"
            case "expiring" | "expired":
                return "expired"
            case _:
                return "completed"


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A call that may be made again, and what it has made."""

    owner: str
    call: str
    """By what it is known: the name that the client gave it, or what it says."""
    digest: str
    """Of what it says."""
    made: str
    """The id of what it has made."""
    at: datetime


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that somebody may call with, and on which terms. The key itself is nowhere."""

    id: str
    owner: str
    hash: str
    made_at: datetime
    revoked_at: datetime | None = None
    weight: int = 1
    """How many orders of its owner are worked on for one of another owner."""
    rpm: int | None = None
    """Calls a minute; None: as many as come, as with the others."""
    max_batches: int | None = None
    tokens_a_day: int | None = None


class TokensUsed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an order has used of its owner's tokens in a stretch of time."""

    order_id: str
    owner: str
    at: datetime
    """When the stretch began."""
    tokens: int


class Sums(NamedTuple):
    """What has become of an order's requests so far."""

    completed: int
    """So many have an answer."""
    failed: int
    """So many were refused. What ran out of time or was cancelled is not among them."""
    usage: Usage
