"""A call to Messages, or a row of a batch: what can be read off its body."""

from typing import Any, Final

import msgspec

from ...core.model import Json
from ...wire.anthropic import SAMPLING, VERSION
from ..endpoint.call import Call, count_tokens, dig, prompt_of, text_of
from ..service.http1 import Reply
from .errors import error_reply

FORBIDDEN: Final = ("stream", "speed", "fallbacks")
"""In a batch."""


class Message(Call, frozen=True, kw_only=True):
    """A call in the shape of Messages."""

    @property
    def tool(self) -> Json | None:
        """The tool that the model is made to call."""
        chosen = dig(self.json, "tool_choice") or {}
        named = chosen.get("name") if chosen.get("type") == "tool" else None
        tools = self.json.get("tools") or []
        return next((tool for tool in tools if named and tool.get("name") == named), None)

    @property
    def schema(self) -> Json | None:
        if self.tool is not None:
            return dig(self.tool, "input_schema")
        return dig(self.json, "output_config", "format", "schema")

    @property
    def wants_json(self) -> bool:
        return False

    @property
    def budget(self) -> int | None:
        return int(self.json["max_tokens"])


def read_call(
    version: str,
    body: bytes,
    *,
    number: int,
    attempt: int,
    sha: str,
    custom_id: str | None = None,
    batch_id: str | None = None,
) -> Message | Reply:
    """The call, or the error that a body like this gets under this API version."""
    try:
        json: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return error_reply(400, "The request body is not valid JSON.")
    problem = _problem(json, version, batched=batch_id is not None)
    if problem is not None:
        return error_reply(400, problem)
    said = [(str(turn.get("role", "")), text_of(turn.get("content"))) for turn in json["messages"]]
    system = text_of(json.get("system"))
    return Message(
        number=number,
        attempt=attempt,
        path="/messages",
        api="anthropic.messages",
        headers={},
        body=body,
        sha=sha,
        json=json,
        model=json["model"],
        prompt=prompt_of("openai.chat", said),
        tokens_in=sum(count_tokens(text) for text in (system, *(text for _, text in said))),
        custom_id=custom_id,
        batch_id=batch_id,
    )


def _problem(json: Any, version: str, *, batched: bool) -> str | None:
    """What is wrong with a body; None: nothing."""
    if not isinstance(json, dict):
        return "Input should be a valid dictionary"
    for field, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if field not in json:
            return f"{field}: Field required"
        if type(json[field]) is not kind:
            return f"{field}: Input should be a valid {kind.__name__}"
    return _wrong_field(json, version, batched=batched) or _wrong_turn(json["messages"])


def _wrong_field(json: Json, version: str, *, batched: bool) -> str | None:
    if json["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    extra = sorted(SAMPLING & json.keys()) if version >= VERSION else []
    extra += [field for field in FORBIDDEN if batched and json.get(field)]
    if extra:
        return f"{extra[0]}: Extra inputs are not permitted"
    return "stream: This fake does not stream" if json.get("stream") else None


def _wrong_turn(turns: list[Any]) -> str | None:
    if not turns:
        return "messages: at least one message is required"
    for place, turn in enumerate(turns):
        if not isinstance(turn, dict):
            return f"messages.{place}: Input should be a valid dictionary"
        if turn.get("role") not in ("user", "assistant"):
            return f"messages.{place}.role: Input should be 'user' or 'assistant'"
        if not isinstance(turn.get("content"), str | list):
            return f"messages.{place}.content: Field required"
    return None
