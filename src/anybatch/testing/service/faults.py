"""Faults: what can befall a call, an operation on a service, or a row of a batch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final, Literal, TypeAlias

from .http1 import By, Framing


@dataclass(frozen=True, slots=True)
class Status:
    """An answer with this HTTP status: the service's error envelope, or `body` as it is."""

    status: int
    _: KW_ONLY
    message: str | None = None
    """None: the usual words for this status; likewise `type` and `code`."""
    type: str | None = None
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    executed: bool = False
    """True: the model did run, and it is billed; an operation was performed all the same."""

    def __post_init__(self) -> None:
        if self.body is not None and not isinstance(self.body, bytes):
            kind = type(self.body).__name__
            raise TypeError(f"body is the bytes that go out, and not of type {kind}; encode it")


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks: by RST (`reset`) or by FIN (`close`).

    `unread`: before the body is read. That early only the call's number is known, so a script that
    is a function gets `unexecuted` instead: read, not executed. `executed`: the model did run, no
    byte of the answer goes out. `midway`: a part of the answer does. `answered`: all of it does; it
    is the next call on this connection that finds it closed.
    """

    when: Literal["unread", "unexecuted", "executed", "midway", "answered"]
    _: KW_ONLY
    by: By = "reset"
    chunked: bool = False
    """The same as `framing="chunked"`."""
    framing: Framing = "length"
    """Of the part that goes out: with a content-length that it does not reach, in chunks without a
    last one, or with no sign at all that more was to come."""
    at: int | None = None
    """How many bytes of the body go out midway; None: half of them."""
    pause: float = 0.0
    """Seconds of silence before the connection breaks."""

    @property
    def framed(self) -> Framing:
        return "chunked" if self.chunked else self.framing


@dataclass(frozen=True, slots=True)
class Stall:
    """No answer comes; after `seconds` the connection is closed."""

    seconds: float
    _: KW_ONLY
    executed: bool = True


@dataclass(frozen=True, slots=True)
class Delay:
    """The answer, or `then`, comes later by `seconds`. What is executed is executed at once."""

    seconds: float
    _: KW_ONLY
    then: "Fault | None" = None


@dataclass(frozen=True, slots=True)
class Drip:
    """A true answer that comes bit by bit. For operations."""

    seconds: float
    """From the first bit to the last."""
    _: KW_ONLY
    bits: int = 10


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A whole, billed answer of the model that is of no use. For calls and rows.

    `truncated`: half of the text, for want of tokens. `filtered`: a content filter stopped it.
    `refused`: the model declines. `off_schema`: valid JSON of the wrong type.
    """

    how: Literal["truncated", "filtered", "refused", "off_schema"]


Alteration = Literal["half", "empty", "html", "bom", "crlf", "nested"]


@dataclass(frozen=True, slots=True)
class Altered:
    """A true answer, altered on its way. For calls and operations."""

    how: Callable[[bytes], bytes] | Literal["half", "empty", "html", "bom", "crlf", "nested"] = (
        bytes
    )
    """What becomes of the body. `half` of it, whole as far as HTTP can tell; nothing; a page for
    people; a byte order mark before it; CRLF for each LF; JSON that is nested too deep to be read.
    """
    _: KW_ONLY
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """More of them, or others in their place."""
    framing: Framing = "length"

    @property
    def is_true(self) -> bool:
        """Whether the body is what it was."""
        return self.how is bytes


@dataclass(frozen=True, slots=True)
class Unrun:
    """A row of a batch that never ran: it is in the results as an error, and it is not billed."""

    why: Literal["expired", "cancelled", "timed_out"]


@dataclass(frozen=True, slots=True)
class Mangled:
    """A row of a batch that ran and is billed, and whose result is not filed as it should be.

    `missing`: in no result file. `repeated`: twice. `contradicted`: twice, with two answers.
    `both`: among the results, and among the errors as one. `foreign`: under a name that nobody
    gave. `unnamed`: under none. `swapped`: under the name of the next row that is swapped, which
    gets this one's; an odd one out keeps its own. `malformed`: half a line.
    """

    how: Literal[
        "missing",
        "repeated",
        "contradicted",
        "both",
        "foreign",
        "unnamed",
        "swapped",
        "malformed",
    ]


Fault: TypeAlias = Status | Cut | Stall | Delay | Drip | Spoiled | Altered | Unrun | Mangled

MALFORMED: Final = Status(200, body=b'{"id": "chatcmpl-1", "choices": [{"ind', executed=True)
HTML_PAGE: Final = Status(
    200, body=b"<!doctype html><h1>Please log in</h1>", content_type="text/html", executed=True
)
EMPTY: Final = Status(200, body=b"", executed=True)
BAD_GATEWAY: Final = Status(
    502, body=b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html"
)

NESTED: Final = 100_000
"""How deep `nested` is."""


def altered(body: bytes, fault: Altered) -> bytes:
    match fault.how:
        case "half":
            return body[: len(body) // 2]
        case "empty":
            return b""
        case "html":
            return HTML_PAGE.body or b""
        case "bom":
            return b"\xef\xbb\xbf" + body
        case "crlf":
            return body.replace(b"\n", b"\r\n")
        case "nested":
            return b"[" * NESTED + b"]" * NESTED
        case how:
            return how(body)


def retry_after(
    seconds: float,
    *,
    form: Literal["seconds", "float", "ms", "date"] = "seconds",
    now: datetime | None = None,
) -> dict[str, str]:
    """The header that asks a client to wait, in each form it comes in; a date needs `now`."""
    match form:
        case "seconds":
            return {"retry-after": str(math.ceil(seconds))}
        case "float":
            return {"retry-after": str(float(seconds))}
        case "ms":
            return {"retry-after-ms": str(math.ceil(seconds * 1000))}
        case "date":
            if now is None:
                raise ValueError("a date needs `now`")
            return {"retry-after": format_datetime(now + timedelta(seconds=seconds), usegmt=True)}
