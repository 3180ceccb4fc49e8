"""The front of a fake service: each operation gets a number, meets its fault, is performed, noted.

A provider's fake is a `Performer` behind this front: it names the operations, performs them and
writes errors in its envelope. What can go wrong on the way is done here, for all of them.
"""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Protocol, TypeAlias

from .exchanges import Exchange
from .faults import Altered, Cut, Delay, Drip, Fault, Stall, Status
from .http1 import Body, Connection, Head, Reply
from .multipart import boundary_of, digest_without
from .script import Scripted, by_number
from .sending import Sending, alter, cut_short, send, status_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A call to the service, read whole."""

    name: str
    number: int
    """1-based among those of its name, in the order of arrival."""
    attempt: int
    """1-based: the how-manieth that is exactly like this one."""
    sha: str
    """SHA-256 of its method, address and body."""
    head: Head
    content: Body

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def body(self) -> bytes:
        return self.content.read()


Faults: TypeAlias = Mapping[str, Scripted[Operation]]
"""For each operation by its name: a script, or faults by number, or those of the first ones."""


class Refused(Exception):
    """An operation that is answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Performer(Protocol):
    """What a provider's fake does; always in the service's thread."""

    @property
    def operations(self) -> frozenset[str]:
        """The names of all there are."""

    def name(self, head: Head) -> str | Reply:
        """The operation's name; or the answer to an address or a key that is not known."""

    def body(self, head: Head) -> Body:
        """Where the body of a call goes. What is not moved away from there is removed."""

    async def perform(self, operation: Operation) -> Reply:
        """Raises Refused for what is answered with an error; it may return that error as well."""

    def failure(self, fault: Status) -> Reply:
        """An error in the service's envelope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What is done about an operation: what goes out, and whether it was performed."""

    sending: Sending
    executed: bool = True
    is_true: bool = False
    """Whether what goes out says what was done."""


class Front:
    """An application of the HTTP server. Belongs to the service's thread."""

    def __init__(
        self,
        performer: Performer,
        faults: Faults,
        note: Callable[[Exchange], None],
        *,
        latency: float = 0.0,
        request_id: str = "x-request-id",
        now: Callable[[], float] = time.time,
    ) -> None:
        """`request_id` is the header in which each answer has a name of its own.

        `now` is what each answer tells the time by.
        """
        _check(faults, performer.operations)
        self._performer = performer
        self._faults = faults
        self._note = note
        self._latency = latency
        self._request_id = request_id
        self._now = now
        self._numbers: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self.mistakes: list[Exception] = []
        """What a user's function raised."""

    def admit(self, head: Head) -> int | None:
        name = self._performer.name(head)
        if isinstance(name, Reply):
            return 0
        self._numbers[name] += 1
        number = self._numbers[name]
        fault = by_number(self._faults.get(name, ())).get(number)
        if not isinstance(fault, Cut) or fault.when != "unread":
            return number
        self._note(replace(_exchange(name, number, head), fault=fault))
        return None

    def body(self, head: Head) -> Body:
        name = self._performer.name(head)
        return Body() if isinstance(name, Reply) else self._performer.body(head)

    def abandoned(self, number: int, head: Head) -> None:
        name = self._performer.name(head)
        if isinstance(name, str):
            self._note(_exchange(name, number, head))

    def serve(self, number: int, head: Head, body: Body, connection: Connection) -> None:
        name = self._performer.name(head)
        if isinstance(name, Reply):
            refused = Treatment(sending=Sending(reply=name), executed=False)
            connection.begin(self._send(refused, _exchange("", 0, head), connection))
            return
        sha = fingerprint(head, body)
        self._attempts[sha] += 1
        operation = Operation(
            name=name,
            number=number,
            attempt=self._attempts[sha],
            sha=sha,
            head=head,
            content=body,
        )
        connection.begin(self._answer(operation, connection))

    async def _answer(self, operation: Operation, connection: Connection) -> None:
        exchange = _exchange(operation.name, operation.number, operation.head)
        try:
            fault = self._fault(operation)
            exchange = replace(exchange, fault=fault)
            treatment = await treat(operation, fault, self._performer)
        except Exception as mistake:
            # The user's own function failed. Say so to the client now, and to the user at the end.
            self.mistakes.append(mistake)
            failed = Status(500, message=f"the test's own code raised {mistake!r}")
            reply = self._performer.failure(failed)
            treatment = Treatment(sending=Sending(reply=reply), executed=False)
        finally:
            operation.content.discard()
        await self._send(treatment, exchange, connection)

    def _fault(self, operation: Operation) -> Fault | None:
        scripted = self._faults.get(operation.name, ())
        if callable(scripted):
            return scripted(operation)
        return by_number(scripted).get(operation.number)

    async def _send(self, treatment: Treatment, exchange: Exchange, connection: Connection) -> None:
        sending = treatment.sending
        try:
            if delay := sending.delay + self._latency:
                await asyncio.sleep(delay)
        finally:
            # Noted before it is sent: who has the answer in hand finds it noted.
            self._note(_ended(exchange, treatment, gone=connection.lost))
        if sending.reply is not None:
            date = formatdate(self._now(), usegmt=True)
            headers = {"date": date, **sending.reply.headers}
            headers[self._request_id] = _request_id(exchange)
            sending = replace(sending, reply=replace(sending.reply, headers=headers))
        try:
            await send(sending, connection)
        except OSError:
            # The file was removed while its answer waited; no other client may suffer from that.
            connection.cut("reset")


async def treat(operation: Operation, fault: Fault | None, performer: Performer) -> Treatment:
    """Perform the operation, unless the fault comes before that, and say what goes out."""
    match fault:
        case None:
            reply = await performed(operation, performer)
            return Treatment(sending=Sending(reply=reply), is_true=True)
        case Status():
            if fault.executed:
                await performed(operation, performer)
            sending = Sending(reply=status_reply(fault, performer.failure))
            return Treatment(sending=sending, executed=fault.executed)
        case Cut(when="unread" | "unexecuted"):
            return Treatment(sending=Sending(pause=fault.pause, cut=fault.by), executed=False)
        case Cut():
            reply = await performed(operation, performer)
            return Treatment(sending=cut_short(reply, fault), is_true=True)
        case Stall(seconds):
            if fault.executed:
                await performed(operation, performer)
            sending = Sending(delay=seconds, cut="close")
            return Treatment(sending=sending, executed=fault.executed)
        case Delay(seconds):
            then = await treat(operation, fault.then, performer)
            delay = then.sending.delay + seconds
            return replace(then, sending=replace(then.sending, delay=delay))
        case Drip():
            reply = await performed(operation, performer)
            return Treatment(sending=Sending(reply=reply, drip=fault), is_true=True)
        case Altered():
            reply = alter(await performed(operation, performer), fault)
            sending = Sending(reply=reply, framing=fault.framing)
            return Treatment(sending=sending, is_true=fault.is_true)
        case _:
            raise ValueError(f"{fault!r} befalls calls to a model, and this is {operation.name!r}")


async def performed(operation: Operation, performer: Performer) -> Reply:
    try:
        return await performer.perform(operation)
    except Refused as refused:
        return refused.reply


def fingerprint(head: Head, body: Body) -> str:
    """SHA-256 of what makes a call like another."""
    digest = hashlib.sha256(f"{head.method} {head.path} {sorted(head.query.items())} ".encode())
    if body.path is None:
        digest.update(body.read())
    else:
        digest.update(digest_without(body.path, boundary_of(head.headers.get("content-type", ""))))
    return digest.hexdigest()


def _check(faults: Faults, operations: frozenset[str]) -> None:
    unknown = sorted(set(faults) - operations)
    if unknown:
        there_are = ", ".join(sorted(operations))
        raise ValueError(f"no operation is called {unknown[0]!r}; there are {there_are}")


def _exchange(name: str, number: int, head: Head) -> Exchange:
    return Exchange(operation=name, number=number, method=head.method, path=head.path)


def _ended(exchange: Exchange, treatment: Treatment, *, gone: bool) -> Exchange:
    reply = None if gone else treatment.sending.reply
    if not treatment.executed:
        return replace(exchange, status=None if reply is None else reply.status)
    told = reply is not None and treatment.is_true and treatment.sending.is_whole
    return replace(
        exchange,
        status=None if reply is None else reply.status,
        outcome="answered" if told else "lost",
    )


def _request_id(exchange: Exchange) -> str:
    return f"req_{exchange.operation or 'unknown'}_{exchange.number}"
