"""How an answer goes out: whole or in part, now or later, and what happens to the connection."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .faults import Altered, Cut, Drip, Status, altered
from .http1 import By, Connection, Extent, Framing, Reply, write_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What goes out, when, and how the connection ends."""

    reply: Reply | None = None
    """None: no byte."""
    until: int | None = None
    """How much of the body goes out; None: all, and then its end."""
    framing: Framing = "length"
    delay: float = 0.0
    """Seconds before it begins."""
    drip: Drip | None = None
    """None: it goes out at once."""
    pause: float = 0.0
    """Seconds between the last byte and the end of the connection."""
    cut: By | None = None
    """None: the connection goes on."""

    @property
    def is_whole(self) -> bool:
        return self.reply is not None and self.until is None


def cut_short(reply: Reply, fault: Cut) -> Sending:
    """What goes out of an answer that was made, before the connection breaks."""
    if fault.when == "executed":
        return Sending(pause=fault.pause, cut=fault.by)
    half = len(reply.body) // 2 if fault.at is None else fault.at
    return Sending(
        reply=reply,
        until=half if fault.when == "midway" else None,
        framing=fault.framed,
        pause=fault.pause,
        cut=fault.by,
    )


def alter(reply: Reply, fault: Altered) -> Reply:
    kind = {} if fault.content_type is None else {"content-type": fault.content_type}
    reply = replace(reply, headers={**reply.headers, **fault.headers, **kind})
    if fault.is_true:
        return reply
    body = reply.body.read() if isinstance(reply.body, Extent) else reply.body
    return replace(reply, body=altered(body, fault))


def status_reply(fault: Status, envelope: Callable[[Status], Reply]) -> Reply:
    """The answer that a script asks for: with its body, or in the service's envelope."""
    if fault.body is None:
        return envelope(fault)
    headers = {"content-type": fault.content_type, **fault.headers}
    return Reply(status=fault.status, body=fault.body, headers=headers)


async def send(sending: Sending, connection: Connection) -> None:
    """Write what goes out, piece by piece as fast as the client reads; `delay` is over by now."""
    if sending.reply is not None:
        written = write_reply(sending.reply, framing=sending.framing, until=sending.until)
        drip = sending.drip
        for piece in written if drip is None else dripped(b"".join(written), drip):
            connection.write(piece)
            await connection.flushed()
            if connection.lost:
                return
            if drip is not None:
                await asyncio.sleep(drip.seconds / drip.bits)
    if sending.pause:
        await asyncio.sleep(sending.pause)
    end(sending, connection)


def dripped(answer: bytes, drip: Drip) -> Iterator[bytes]:
    size = -(-len(answer) // drip.bits)
    return (answer[start : start + size] for start in range(0, len(answer), size))


def send_at_once(sending: Sending, connection: Connection) -> None:
    """The same for an answer that is small."""
    if sending.reply is not None:
        written = write_reply(sending.reply, framing=sending.framing, until=sending.until)
        connection.write(b"".join(written))
    connection.later(sending.pause, lambda: end(sending, connection))


def end(sending: Sending, connection: Connection) -> None:
    by = sending.cut or ("close" if sending.framing == "close" else None)
    if by is None:
        connection.done()
    else:
        connection.cut(by)
