"""Rows of batches: each meets its fault and is answered as a call would be; and how it is filed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, TypeAlias, assert_never

import msgspec

from ..endpoint.answers import Answer, Answerer, Writer, embed
from ..endpoint.call import Call
from ..endpoint.ledger import Execution
from ..endpoint.plan import Plan, ask, executed, refused, spoiler
from ..service.faults import Fault, Mangled, Spoiled, Status, Unrun
from ..service.http1 import Reply
from ..service.sending import status_reply
from .ledger import row_key

RowScript: TypeAlias = Callable[[Call], Fault | None] | Mapping[str, Fault]
"""What befalls a row: a function of it, or faults by custom_id."""

OTHERWISE: Final = " (or otherwise)"
"""What a second answer says more than the first."""
FOREIGN: Final = "somebody-elses-"
"""What stands before a name that nobody gave."""

FAILED: Final = b'{"error":{"message":"Failed.","type":"server_error","param":null,"code":null}}'


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row."""

    custom_id: str | None
    status: int | None = None
    """HTTP's, as a call of its own would have got it; None: there is no reply."""
    body: bytes = b""
    """Of that reply."""
    unrun: Literal["expired", "cancelled", "timed_out"] | None = None
    """Why there is no reply."""
    execution: Execution | None = None
    """What is billed."""
    mangled: Mangled | None = None
    otherwise: bytes = b""
    """The second answer of one that is contradicted."""
    key: bytes = b""
    """What it is called in the ledger."""

    @property
    def is_ok(self) -> bool:
        """Whether it stands among the results; the rest stand among the errors.

        Status 0 does: real services have filed it there.
        """
        return self.status is not None and (self.status == 0 or 200 <= self.status < 300)


class Reader(Protocol):
    """Reads a row's body in a provider's shape, or says what is wrong with it."""

    def __call__(
        self, body: bytes, *, number: int, attempt: int, sha: str, custom_id: str, batch_id: str
    ) -> Call | Reply: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What answers and errors look like at a provider."""

    write: Writer
    failure: Callable[[Status], Reply]


class Runner:
    """Runs rows. Belongs to the service's thread."""

    def __init__(self, answer: Answerer, script: RowScript, shape: Shape) -> None:
        self._answer = answer
        self._script = script
        self._shape = shape
        self._number = 0
        self._attempts: Counter[bytes] = Counter()
        self.mistakes: list[Exception] = []
        """What a user's `answer` or script raised."""

    def run(self, custom_id: str, body: bytes, read: Reader, *, batch_id: str) -> Row:
        digest = hashlib.sha256(body)
        sha = digest.digest()
        self._number += 1
        self._attempts[sha] += 1
        call = read(
            body,
            number=self._number,
            attempt=self._attempts[sha],
            sha=digest.hexdigest(),
            custom_id=custom_id,
            batch_id=batch_id,
        )
        if isinstance(call, Reply):
            return _read_off(custom_id, call)
        try:
            row = meet(call, self._fault(call, custom_id), self._answer, self._shape)
        except Exception as mistake:
            # The user's own function failed: the row says so now, and the user hears it at the end.
            self.mistakes.append(mistake)
            said = Status(500, message=f"the test's own code raised {mistake!r}")
            return _read_off(custom_id, self._shape.failure(said))
        return msgspec.structs.replace(row, key=row_key(custom_id, sha))

    def _fault(self, call: Call, custom_id: str) -> Fault | None:
        if callable(self._script):
            return self._script(call)
        return self._script.get(custom_id)


def meet(call: Call, fault: Fault | None, answer: Answerer, shape: Shape) -> Row:
    """What `fault` makes of a row; without one it is answered."""
    match fault:
        case None | Mangled():
            row = _replied(call, executed(call, answer, shape.write))
            return row if fault is None else _mangled(row, fault, call, answer, shape)
        case Spoiled():
            return _replied(call, executed(call, spoiler(fault, answer), shape.write))
        case Status():
            execution = executed(call, answer).execution if fault.executed else None
            reply = status_reply(fault, shape.failure)
            return _replied(call, replace(refused(reply), execution=execution))
        case Unrun(why):
            return Row(custom_id=call.custom_id, unrun=why)
        case _:
            raise ValueError(f"{fault!r} befalls a connection, and {call.custom_id!r} is a row")


def _replied(call: Call, planned: Plan) -> Row:
    return _read_off(call.custom_id, planned.sending.reply, planned.execution)


def _read_off(
    custom_id: str | None, reply: Reply | None, execution: Execution | None = None
) -> Row:
    assert reply is not None
    assert isinstance(reply.body, bytes)
    return Row(custom_id=custom_id, status=reply.status, body=reply.body, execution=execution)


def _mangled(row: Row, fault: Mangled, call: Call, answer: Answerer, shape: Shape) -> Row:
    if fault.how != "contradicted":
        return msgspec.structs.replace(row, mangled=fault)
    second = executed(call, _other(answer), shape.write).sending.reply
    assert second is not None
    return msgspec.structs.replace(row, mangled=fault, otherwise=second.body)


def _other(answer: Answerer) -> Answerer:
    """Gives another answer to the same call."""

    def other(call: Call) -> Answer:
        said = ask(answer, call)
        if call.embeds:
            return replace(said, vectors=[embed(text + OTHERWISE) for text in call.inputs])
        return replace(said, text=said.text + OTHERWISE, refusal=None)

    return other


class Filing:
    """Puts rows into result files, or does not, as they are mangled."""

    def __init__(self, write: Callable[[Row], bytes]) -> None:
        self._write = write
        self._swapped: Row | None = None

    def lines(self, row: Row) -> Iterator[tuple[bool, bytes]]:
        """Lines, and whether each stands among the results; the others are errors."""
        for filed in self._filed(row):
            line = self._write(filed)
            if filed.mangled is not None and filed.mangled.how == "malformed":
                line = line[: len(line) // 2] + b"\n"
            yield filed.is_ok, line

    def rest(self) -> Iterator[tuple[bool, bytes]]:
        """What waited for another to be swapped with."""
        if self._swapped is not None:
            yield self._swapped.is_ok, self._write(self._swapped)
            self._swapped = None

    def _filed(self, row: Row) -> tuple[Row, ...]:
        change = msgspec.structs.replace
        how = None if row.mangled is None else row.mangled.how
        match how:
            case None | "malformed":
                return (row,)
            case "missing":
                return ()
            case "repeated":
                return (row, row)
            case "contradicted":
                return (row, change(row, body=row.otherwise))
            case "both":
                return (row, change(row, status=500, body=FAILED))
            case "foreign":
                return (change(row, custom_id=f"{FOREIGN}{row.custom_id}"),)
            case "unnamed":
                return (change(row, custom_id=None),)
            case "swapped":
                return self._swap(row)
            case _:
                assert_never(how)

    def _swap(self, row: Row) -> tuple[Row, ...]:
        first, self._swapped = self._swapped, None
        if first is None:
            self._swapped = row
            return ()
        change = msgspec.structs.replace
        return change(first, custom_id=row.custom_id), change(row, custom_id=first.custom_id)
