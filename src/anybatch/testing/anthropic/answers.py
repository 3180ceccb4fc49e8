"""Answers in the shape of Messages."""

from typing import Final

import msgspec

from ...core.model import Json
from ..batches.rows import Shape
from ..endpoint.answers import Answer, count
from ..endpoint.call import Call
from .calls import Message
from .errors import failure

STOPS: Final = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


def write_message(answer: Answer, call: Call) -> Json:
    assert isinstance(call, Message)
    stop = STOPS[answer.finish] if answer.refusal is None else "refusal"
    tool = call.tool if stop == "end_turn" else None
    details = {"type": "refusal", "category": None, "explanation": answer.refusal}
    return {
        "id": f"msg_{call.number}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [] if stop == "refusal" else [_content(answer, call, tool)],
        "stop_reason": stop if tool is None else "tool_use",
        "stop_sequence": None,
        "stop_details": details if stop == "refusal" else None,
        "usage": _usage(answer, call),
    }


def _content(answer: Answer, call: Call, tool: Json | None) -> Json:
    if tool is None:
        return {"type": "text", "text": answer.text}
    given = msgspec.json.decode(answer.text)
    return {"type": "tool_use", "id": f"toolu_{call.number}", "name": tool["name"], "input": given}


def _usage(answer: Answer, call: Call) -> Json:
    tokens = count(answer, call)
    written = {
        "ephemeral_5m_input_tokens": answer.written,
        "ephemeral_1h_input_tokens": answer.kept,
    }
    return {
        "input_tokens": tokens.used - answer.cached - answer.written - answer.kept,
        "cache_creation_input_tokens": answer.written + answer.kept,
        "cache_read_input_tokens": answer.cached,
        "cache_creation": written,
        "output_tokens": tokens.made,
        "output_tokens_details": {"thinking_tokens": answer.reasoning},
        "service_tier": "standard" if call.batch_id is None else "batch",
    }


SHAPE: Final = Shape(write=write_message, failure=failure)
