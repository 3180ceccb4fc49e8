"""Answers in Gemini's two shapes."""

from collections.abc import Iterable
from typing import Final

import msgspec

from ...core.model import Json
from ..batches.rows import Shape
from ..endpoint.answers import DIMENSIONS, Answer, count, embed
from ..endpoint.call import Call
from ..service.http1 import Reply
from .errors import failure, json_reply

FINISHES: Final = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def write_response(answer: Answer, call: Call) -> Json:
    if call.embeds:
        return _embedding(answer, call)
    usage = _usage(answer, call)
    about = {"modelVersion": call.model, "responseId": f"response-{call.number}"}
    if answer.refusal is not None:
        # What is refused here is the prompt.
        feedback = {"blockReason": "PROHIBITED_CONTENT"}
        return {"promptFeedback": feedback, "usageMetadata": usage, **about}
    candidate: Json = {"finishReason": FINISHES[answer.finish], "index": 0}
    if answer.finish != "content_filter":
        candidate["content"] = {"role": "model", "parts": [{"text": answer.text}]}
    return {"candidates": [candidate], "usageMetadata": usage, **about}


def _usage(answer: Answer, call: Call) -> Json:
    tokens = count(answer, call)
    return {
        "promptTokenCount": tokens.used,
        "candidatesTokenCount": tokens.made - answer.reasoning,
        "thoughtsTokenCount": answer.reasoning,
        "cachedContentTokenCount": answer.cached,
        "totalTokenCount": tokens.used + tokens.made,
    }


def _embedding(answer: Answer, call: Call) -> Json:
    wanted = call.json.get("outputDimensionality") or DIMENSIONS
    vectors = answer.vectors or [embed(call.prompt, wanted)]
    return {"embedding": {"values": list(vectors[0])}, "tokenCount": str(count(answer, call).used)}


def embedded_together(replies: Iterable[Reply]) -> Reply:
    """The answer to several texts at once, made of those to each."""
    embeddings = []
    for reply in replies:
        assert isinstance(reply.body, bytes)
        embeddings.append(msgspec.json.decode(reply.body)["embedding"])
    return json_reply({"embeddings": embeddings})


SHAPE: Final = Shape(write=write_response, failure=failure)
