"""What is done about a call: decided here as a value, performed by the service."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, assert_never

import msgspec

from .answers import Answer, Answerer, count, within_budget, write_answer
from .call import Call
from .errors import error_reply
from .http1 import By, Reply
from .ledger import Execution
from .script import Cut, Delay, Fault, Spoiled, Stall, Status

JSON: Final = {"content-type": "application/json"}
REFUSAL: Final = "I'm sorry, but I cannot help with that."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes out, when, how the connection ends and what is billed."""

    reply: Reply | None = None
    share: Literal["whole", "half", "chunked half"] = "whole"
    delay: float = 0.0
    cut: By | None = None
    execution: Execution | None = None
    delivers: bool = False
    """Whether the client gets what it is billed for."""


def plan(call: Call, fault: Fault | None, answer: Answerer) -> Plan:
    """What `fault` makes of the call; without one it is answered."""
    match fault:
        case None:
            return _executed(call, answer)
        case Status():
            return _status(call, fault, answer)
        case Cut():
            return _cut(call, fault, answer)
        case Stall(seconds):
            execution = _executed(call, answer).execution if fault.executed else None
            return Plan(delay=seconds, cut="close", execution=execution)
        case Delay(seconds):
            then = plan(call, fault.then, answer)
            return replace(then, delay=then.delay + seconds)
        case Spoiled():
            return _executed(call, lambda call: _spoil(_ask(answer, call), fault, call))
        case _:
            assert_never(fault)


def _executed(call: Call, answer: Answerer) -> Plan:
    said = within_budget(_ask(answer, call), call)
    body = msgspec.json.encode(write_answer(said, call))
    reply = Reply(status=200, body=body, headers=JSON)
    return Plan(reply=reply, execution=_execution(call, said), delivers=True)


def _ask(answer: Answerer, call: Call) -> Answer:
    said = answer(call)
    return Answer(said) if isinstance(said, str) else said


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
        status=None,
        outcome="lost",
    )


def _status(call: Call, fault: Status, answer: Answerer) -> Plan:
    execution = _executed(call, answer).execution if fault.executed else None
    if fault.body is None:
        reply = error_reply(
            fault.status,
            message=fault.message,
            type=fault.type,
            code=fault.code,
            param=fault.param,
            headers=fault.headers,
        )
    else:
        headers: Mapping[str, str] = {"content-type": fault.content_type, **fault.headers}
        reply = Reply(status=fault.status, body=fault.body, headers=headers)
    return Plan(reply=reply, execution=execution)


def _cut(call: Call, fault: Cut, answer: Answerer) -> Plan:
    if fault.when in ("unread", "unexecuted"):
        return Plan(cut=fault.by)
    whole = replace(_executed(call, answer), cut=fault.by)
    if fault.when == "answered":
        return whole
    if fault.when == "executed":
        return replace(whole, reply=None, delivers=False)
    return replace(whole, share="chunked half" if fault.chunked else "half", delivers=False)


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
