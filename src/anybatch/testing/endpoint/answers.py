"""Answers, and how they look in OpenAI's six apis."""

import hashlib
import math
import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final, Literal

import msgspec

from ...core.model import Api, Json
from .call import Call, count_tokens
from .instances import instance
from .wordless import finding, picture

Finish = Literal["stop", "length", "content_filter"]

CREATED: Final = 1_893_456_000
"""Every answer's `created`: the same call gets the same answer on any day."""
DIMENSIONS: Final = 8
"""Of an embedding, unless the call asks for another number."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says, in no api's shape."""

    text: str = ""
    """For moderations what is found in the input, in words; for images what they show."""
    _: KW_ONLY
    finish: Finish = "stop"
    refusal: str | None = None
    """Said instead of `text`."""
    vectors: Sequence[Sequence[float]] | None = None
    """One per input of an embeddings call; None: made from the inputs."""
    tokens_in: int | None = None
    """None: counted from the call; likewise `tokens_out` from the text."""
    tokens_out: int | None = None
    cached: int = 0
    written: int = 0
    """Into a prompt cache, for minutes."""
    kept: int = 0
    """Into one, for an hour."""
    reasoning: int = 0


Answerer = Callable[[Call], Answer | str]
Writer = Callable[[Answer, Call], Json]
"""Gives an answer the shape of an api."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What an answer is billed at."""

    used: int
    made: int


def echo(call: Call) -> Answer:
    """The default: says the prompt back, or an instance of the schema that the call asks for."""
    if call.schema is not None:
        made = instance(call.schema, seed=call.prompt)
        return Answer(msgspec.json.encode(made).decode())
    if call.wants_json:
        return Answer(msgspec.json.encode({"echo": call.prompt}).decode())
    return Answer(f"echo: {call.prompt}")


def within_budget(answer: Answer, call: Call) -> Answer:
    """The answer as far as the call's output budget lets the model come."""
    if call.budget is None or count_tokens(answer.text) <= call.budget:
        return answer
    return replace(answer, text=answer.text[: 4 * call.budget], finish="length")


def count(answer: Answer, call: Call) -> Tokens:
    used = call.tokens_in if answer.tokens_in is None else answer.tokens_in
    said = answer.text or answer.refusal or ""
    made = count_tokens(said) + answer.reasoning
    if call.embeds:
        made = 0
    return Tokens(used=used, made=made if answer.tokens_out is None else answer.tokens_out)


def write_answer(answer: Answer, call: Call) -> Json:
    """The answer's body in the shape of the call's api."""
    return WRITERS[call.api](answer, call, count(answer, call))


def _chat(answer: Answer, call: Call, tokens: Tokens) -> Json:
    message: Json = {
        "role": "assistant",
        "content": answer.text if answer.refusal is None else None,
        "refusal": answer.refusal,
        "annotations": [],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return {
        "id": f"chatcmpl-{call.number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": call.model,
        "choices": [choice],
        "usage": _usage(answer, tokens),
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _completions(answer: Answer, call: Call, tokens: Tokens) -> Json:
    text = answer.text if answer.refusal is None else answer.refusal
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": answer.finish}
    return {
        "id": f"cmpl-{call.number}",
        "object": "text_completion",
        "created": CREATED,
        "model": call.model,
        "choices": [choice],
        "usage": _usage(answer, tokens),
    }


def _usage(answer: Answer, tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.used,
        "completion_tokens": tokens.made,
        "total_tokens": tokens.used + tokens.made,
        "prompt_tokens_details": {"cached_tokens": answer.cached},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning},
    }


def _responses(answer: Answer, call: Call, tokens: Tokens) -> Json:
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(answer.finish)
    status = "completed" if reason is None else "incomplete"
    message = {
        "type": "message",
        "id": f"msg_{call.number}",
        "status": status,
        "role": "assistant",
        "content": [_content(answer)],
    }
    return {
        "id": f"resp_{call.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "instructions": call.json.get("instructions"),
        "max_output_tokens": call.budget,
        "model": call.model,
        "output": [message],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": "default",
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "text": call.json.get("text") or {"format": {"type": "text"}},
        "truncation": "disabled",
        "usage": _responses_usage(answer, tokens),
        "metadata": call.json.get("metadata") or {},
    }


def _content(answer: Answer) -> Json:
    if answer.refusal is not None:
        return {"type": "refusal", "refusal": answer.refusal}
    return {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}


def _responses_usage(answer: Answer, tokens: Tokens) -> Json:
    return {
        "input_tokens": tokens.used,
        "input_tokens_details": {"cached_tokens": answer.cached},
        "output_tokens": tokens.made,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning},
        "total_tokens": tokens.used + tokens.made,
    }


def _embeddings(answer: Answer, call: Call, tokens: Tokens) -> Json:
    encode = _base64 if call.json.get("encoding_format") == "base64" else list
    dimensions = call.json.get("dimensions") or DIMENSIONS
    vectors = answer.vectors or [embed(text, dimensions) for text in call.inputs]
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(vectors)
        ],
        "model": call.model,
        "usage": {"prompt_tokens": tokens.used, "total_tokens": tokens.used},
    }


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of length 1 that depends on the text and on nothing else."""
    digest = hashlib.shake_128(text.encode(errors="surrogatepass")).digest(2 * dimensions)
    # No number is 0, so that the length never is.
    numbers = [(number + 0.5) / 2**15 for number in struct.unpack(f"<{dimensions}h", digest)]
    length = math.sqrt(sum(number * number for number in numbers))
    return [round(number / length, 6) for number in numbers]


def _moderation(answer: Answer, call: Call, tokens: Tokens) -> Json:
    said = call.inputs if len(call.inputs) > 1 else [answer.text]
    results = [finding(text) for text in said]
    return {"id": f"modr-{call.number}", "model": call.model, "results": results}


def _images(answer: Answer, call: Call, tokens: Tokens) -> Json:
    shown = [
        f"{answer.text} {number}" if number else answer.text
        for number in range(call.json.get("n") or 1)
    ]
    if call.json.get("response_format") == "url":
        images = [{"url": f"https://images.example/{_name(text)}.png"} for text in shown]
    else:
        images = [{"b64_json": b64encode(picture(text)).decode()} for text in shown]
    usage = {
        "input_tokens": tokens.used,
        "input_tokens_details": {"text_tokens": tokens.used, "image_tokens": 0},
        "output_tokens": tokens.made,
        "total_tokens": tokens.used + tokens.made,
    }
    return {"created": CREATED, "data": images, "output_format": "png", "usage": usage}


def _name(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _base64(vector: Sequence[float]) -> Any:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


WRITERS: Final[dict[Api, Callable[[Answer, Call, Tokens], Json]]] = {
    "openai.chat": _chat,
    "openai.responses": _responses,
    "openai.embeddings": _embeddings,
    "openai.completions": _completions,
    "openai.moderations": _moderation,
    "openai.images": _images,
}
