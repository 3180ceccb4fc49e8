"""What is done about a call: decided here as a value, performed by the service."""

from dataclasses import dataclass, replace
from typing import Final, assert_never

import msgspec

from ..service.faults import (
    Altered,
    Cut,
    Delay,
    Drip,
    Fault,
    Mangled,
    Spoiled,
    Stall,
    Status,
    Unrun,
)
from ..service.http1 import Reply
from ..service.sending import Sending, alter, cut_short, status_reply
from .answers import Answer, Answerer, Writer, count, within_budget, write_answer
from .call import Call
from .errors import failure
from .ledger import Execution

JSON: Final = {"content-type": "application/json"}
REFUSAL: Final = "I'm sorry, but I cannot help with that."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes out and what is billed."""

    sending: Sending
    execution: Execution | None = None
    delivers: bool = False
    """Whether the client gets what it is billed for."""


def plan(call: Call, fault: Fault | None, answer: Answerer) -> Plan:
    """What `fault` makes of the call; without one it is answered."""
    match fault:
        case None:
            return executed(call, answer)
        case Status():
            return _status(call, fault, answer)
        case Cut():
            return _cut(call, fault, answer)
        case Stall(seconds):
            execution = executed(call, answer).execution if fault.executed else None
            return Plan(sending=Sending(delay=seconds, cut="close"), execution=execution)
        case Delay(seconds):
            return later(plan(call, fault.then, answer), seconds)
        case Spoiled():
            return executed(call, spoiler(fault, answer))
        case Altered():
            return _altered(executed(call, answer), fault)
        case Unrun() | Mangled():
            raise ValueError(f"{fault!r} befalls the rows of a batch, and this is a call")
        case Drip():
            raise ValueError(f"{fault!r} befalls operations on a service, and this is a call")
        case _:
            assert_never(fault)


def later(planned: Plan, seconds: float) -> Plan:
    sending = planned.sending
    return replace(planned, sending=replace(sending, delay=sending.delay + seconds))


def refused(reply: Reply) -> Plan:
    """The call is answered, and nothing is executed."""
    return Plan(sending=Sending(reply=reply))


def ask(answer: Answerer, call: Call) -> Answer:
    said = answer(call)
    return Answer(said) if isinstance(said, str) else said


def executed(call: Call, answer: Answerer, write: Writer = write_answer) -> Plan:
    """The model runs, and its answer goes out in the shape that `write` gives it."""
    said = within_budget(ask(answer, call), call)
    body = msgspec.json.encode(write(said, call))
    reply = Reply(status=200, body=body, headers=JSON)
    return Plan(sending=Sending(reply=reply), execution=_execution(call, said), delivers=True)


def _execution(call: Call, said: Answer) -> Execution:
    tokens = count(said, call)
    return Execution(
        number=call.number,
        attempt=call.attempt,
        path=call.path,
        sha=call.sha,
        model=call.model,
        prompt=call.prompt,
        tokens_in=tokens.used,
        tokens_out=tokens.made,
        cached=said.cached,
        written=said.written,
        kept=said.kept,
        reasoning=said.reasoning,
        status=None,
        outcome="lost",
    )


def _status(call: Call, fault: Status, answer: Answerer) -> Plan:
    execution = executed(call, answer).execution if fault.executed else None
    reply = status_reply(fault, failure)
    return Plan(sending=Sending(reply=reply), execution=execution)


def _cut(call: Call, fault: Cut, answer: Answerer) -> Plan:
    if fault.when in ("unread", "unexecuted"):
        return Plan(sending=Sending(pause=fault.pause, cut=fault.by))
    whole = executed(call, answer)
    assert whole.sending.reply is not None
    sending = cut_short(whole.sending.reply, fault)
    return replace(whole, sending=sending, delivers=sending.is_whole)


def _altered(whole: Plan, fault: Altered) -> Plan:
    reply = whole.sending.reply
    assert reply is not None
    sending = Sending(reply=alter(reply, fault), framing=fault.framing)
    return replace(whole, sending=sending, delivers=False)


def spoiler(fault: Spoiled, answer: Answerer) -> Answerer:
    return lambda call: _spoil(ask(answer, call), fault, call)


def _spoil(said: Answer, fault: Spoiled, call: Call) -> Answer:
    match fault.how:
        case "truncated":
            return replace(said, text=said.text[: len(said.text) // 2], finish="length")
        case "filtered":
            return replace(said, text="", finish="content_filter")
        case "refused":
            return replace(said, text="", refusal=REFUSAL)
        case "off_schema":
            is_list = call.schema is not None and call.schema.get("type") == "array"
            return replace(said, text="{}" if is_list else "[]")
        case _:
            assert_never(fault.how)
