"""Bodies and answers held against an official SDK's own types, by the SDK that runs this script.

Reads `[[kind, value], …]` as JSON, and writes what is wrong with each: null, or why.
"""

import json
import sys
import typing
from typing import Any

from pydantic import TypeAdapter, ValidationError

# Their types say Iterable, which pydantic looks through once and leaves empty.
typing.Iterable = typing.List  # noqa: UP006

LEFT_TO_OLDER_VERSIONS = ("temperature", "top_p", "top_k")
"""Of Messages: the SDK of today has no such arguments, and still sends them where it is told."""


def openai_chat_body(value: Any) -> Any:
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    return through(CompletionCreateParamsNonStreaming, value)


def openai_chat_answer(value: Any) -> Any:
    from openai.types.chat import ChatCompletion

    return through(ChatCompletion, value)


def openai_responses_body(value: Any) -> Any:
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    return through(ResponseCreateParamsNonStreaming, value)


def openai_responses_answer(value: Any) -> Any:
    from openai.types.responses import Response

    return through(Response, value)


def anthropic_messages_body(value: Any) -> Any:
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    known = {name: value[name] for name in value if name not in LEFT_TO_OLDER_VERSIONS}
    return {**value, **through(MessageCreateParamsNonStreaming, known)}


def anthropic_messages_answer(value: Any) -> Any:
    from anthropic.types import Message

    return through(Message, value)


def gemini_generate_body(value: Any) -> Any:
    from google.genai import types

    parts = {
        "contents": list[types.Content],
        "systemInstruction": types.Content,
        "tools": list[types.Tool],
        "toolConfig": types.ToolConfig,
        "generationConfig": types.GenerationConfig,
        "serviceTier": types.ServiceTier,
    }
    return {name: through(parts[name], value[name]) for name in value}


def gemini_generate_answer(value: Any) -> Any:
    from google.genai.types import GenerateContentResponse

    return through(GenerateContentResponse, value)


def through(kind: Any, value: Any) -> Any:
    """What is left of `value` once it has been a value of the SDK's type."""
    adapter = TypeAdapter(kind)
    dumped = adapter.dump_json(
        adapter.validate_python(value), by_alias=True, exclude_unset=True, warnings=False
    )
    return json.loads(dumped)


def problem(kind: str, value: Any) -> str | None:
    try:
        left = globals()[kind](value)
    except ValidationError as e:
        return str(e)
    return None if left == value else f"of {json.dumps(value)} is left {json.dumps(left)}"


if __name__ == "__main__":
    json.dump([problem(kind, value) for kind, value in json.load(sys.stdin)], sys.stdout)
