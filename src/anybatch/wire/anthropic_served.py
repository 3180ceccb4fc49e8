"""Anthropic's message batches as a server says them; `anthropic_batch` reads what it writes."""

from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from ..core.model import NO_BODY, Failure, Result
from ..core.served import Ending, Order
from . import anthropic_batch as wire
from .anthropic import read_failure, write_error
from .anthropic_batch import write_batches, write_deleted
from .batch import RemoteBatch, ResultLine
from .openai import said
from .openai_served import line_id

__all__ = ["Written", "write_batches", "write_deleted", "write_line", "write_order", "write_tokens"]

_UNRUN = Failure(message="This request could not be executed.")


class Written(NamedTuple):
    """A line, and whether it is an answer."""

    ok: bool
    line: bytes


def write_line(name: str, result: Result | None, *, order: str, n: int, ending: Ending) -> Written:
    """The line of request `n` of an `order`, the client's `name`; None: it never ran."""
    line = _line(name, result, ending)
    ok = line.status is not None and 200 <= line.status < 300
    if line.status is not None and not ok and not wire.is_error(line.body):
        line = replace(line, body=_error(line.status, line.failure, f"req_{line_id(order, n)}"))
    return Written(ok, wire.write_line(line) + b"\n")


def _error(status: int, why: Failure | None, request_id: str) -> bytes:
    """An error as the call would have got it that a line stands for."""
    message = (why or read_failure(status, b"")[1]).message
    return write_error(status if status >= 400 else 500, message, request_id=request_id)


def _line(name: str, result: Result | None, ending: Ending) -> ResultLine:
    if result is None or result.outcome in ("cancelled", "expired"):
        if ending != "completed":
            return ResultLine(custom_id=name, outcome=ending)
        return ResultLine(custom_id=name, status=500, failure=_UNRUN)
    status, why = result.status, result.failure
    if status is not None and 200 <= status < 300:
        if result.body != NO_BODY:
            return ResultLine(custom_id=name, status=status, body=bytes(result.body))
        status = None  # a reply that nobody can read
    if why is not None:
        why = Failure(message=said(why), code=why.code)
    body = b"" if status is None or result.body == NO_BODY else bytes(result.body)
    return ResultLine(custom_id=name, status=status or 500, body=body, failure=why)


def write_tokens(count: int) -> bytes:
    """The answer to a count of tokens."""
    return msgspec.json.encode({"input_tokens": count})


def write_order(order: Order, *, results_url: str, archived_at: datetime | None) -> bytes:
    """A batch object. Nothing is counted before all of it is over, as the service does it."""
    count: int = order.asked["count"]
    over = order.is_over
    left = count - order.completed - order.failed
    cancelled = left if over and order.ending == "cancelled" else 0
    expired = left if over and order.ending == "expired" else 0
    return wire.write_batch(
        RemoteBatch(
            id=order.id,
            status=_status(order),
            phase="ended" if over else "working",
            created_at=order.created_at,
            expires_at=order.expires_at,
            ended_at=order.ended_at,
            size=count,
            done=count if over else 0,
            results=(results_url,) if over and archived_at is None else (),
        ),
        errored=count - order.completed - cancelled - expired if over else 0,
        cancelled=cancelled,
        expired=expired,
        cancelling_at=order.cancelling_at,
        archived_at=archived_at,
    )


def _status(order: Order) -> str:
    if order.is_over:
        return "ended"
    return "canceling" if order.status == "cancelling" else "in_progress"
