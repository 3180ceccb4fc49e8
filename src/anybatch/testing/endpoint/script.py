"""Faults, and scripts that say which call meets which fault."""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final, Literal, TypeAlias

from .call import Call
from .http1 import By


@dataclass(frozen=True, slots=True)
class Status:
    """An answer with this HTTP status: OpenAI's error envelope, or `body` as it is."""

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
    """True: the model did run, and it is billed."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks: by RST (`reset`) or by FIN (`close`).

    `unread`: before the body is read. That early only the call's number is known, so a script that
    is a function gets `unexecuted` instead: read, not executed. `executed`: the model did run, no
    byte of the answer goes out. `midway`: half of the answer does. `answered`: all of it does; it
    is the next call on this connection that finds it closed.
    """

    when: Literal["unread", "unexecuted", "executed", "midway", "answered"]
    _: KW_ONLY
    by: By = "reset"
    chunked: bool = False
    """Whether the half answer is chunked; else it has a content-length it does not reach."""


@dataclass(frozen=True, slots=True)
class Stall:
    """No answer comes; after `seconds` the connection is closed."""

    seconds: float
    _: KW_ONLY
    executed: bool = True


@dataclass(frozen=True, slots=True)
class Delay:
    """The answer, or `then`, comes later by `seconds`."""

    seconds: float
    _: KW_ONLY
    then: "Fault | None" = None


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A whole, billed answer that is of no use.

    `truncated`: half of the text, for want of tokens. `filtered`: a content filter stopped it.
    `refused`: the model declines. `off_schema`: valid JSON of the wrong type.
    """

    how: Literal["truncated", "filtered", "refused", "off_schema"]


Fault: TypeAlias = Status | Cut | Stall | Delay | Spoiled

MALFORMED: Final = Status(200, body=b'{"id": "chatcmpl-1", "choices": [{"ind', executed=True)
HTML_PAGE: Final = Status(
    200, body=b"<!doctype html><h1>Please log in</h1>", content_type="text/html", executed=True
)
EMPTY: Final = Status(200, body=b"", executed=True)
BAD_GATEWAY: Final = Status(
    502, body=b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html"
)

Script = Callable[[Call], Fault | None]
"""Says what befalls a call; None: nothing does."""
Scripted: TypeAlias = Script | Mapping[int, Fault] | Sequence[Fault | None]
"""A script; or faults by call number; or the faults of the first calls, in order."""


def matching(pattern: str, fault: Fault, *, times: int | None = None) -> Script:
    """`fault` for every body in which the regular expression is found.

    With `times`, for the first so many calls of each such body; then it goes well.
    """
    found = re.compile(pattern.encode()).search

    def script(call: Call) -> Fault | None:
        spared = times is not None and call.attempt > times
        return None if spared or not found(call.body) else fault

    return script


def at_random(share: float, *faults: Fault, seed: int) -> Script:
    """One of `faults` for this share of the calls.

    Chance depends on the seed, the body and the attempt alone: the same calls meet the same faults
    in whatever order they arrive.
    """
    if not faults:
        raise ValueError("at_random needs at least one fault")

    def script(call: Call) -> Fault | None:
        chance, choice = _draw(f"{seed}/{call.sha}/{call.attempt}")
        return faults[choice % len(faults)] if chance < share else None

    return script


def first_of(*scripts: Script) -> Script:
    """What the first script that has something to say says."""

    def script(call: Call) -> Fault | None:
        return next((fault for one in scripts if (fault := one(call)) is not None), None)

    return script


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


def by_number(scripted: Scripted) -> Mapping[int, Fault]:
    """The faults that hang on a call's number alone."""
    if callable(scripted):
        return {}
    if isinstance(scripted, Mapping):
        return scripted
    return {place: fault for place, fault in enumerate(scripted, start=1) if fault is not None}


def as_script(scripted: Scripted) -> Script:
    if callable(scripted):
        return scripted
    faults = by_number(scripted)
    return lambda call: faults.get(call.number)


def _draw(seed: str) -> tuple[float, int]:
    """A number from [0, 1) and an independent whole number."""
    digest = hashlib.sha256(seed.encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64, int.from_bytes(digest[8:16])
