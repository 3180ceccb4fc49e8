"""A call to a model, or a row of a batch: what can be read off its body."""

from typing import Any

import msgspec

from ...core.model import Api, Json
from ...wire.reading import LIST, camel, fields, optional
from ..endpoint.call import Call, count_tokens, dig, text_of
from ..service.http1 import Reply
from .errors import error_reply, refused


class Generation(Call, frozen=True, kw_only=True):
    """A call in Gemini's shape, its names in camelCase."""

    @property
    def config(self) -> Json:
        return {camel(name): value for name, value in (dig(self.json, _CONFIG) or {}).items()}

    @property
    def schema(self) -> Json | None:
        found = self.config.get("responseJsonSchema") or self.config.get("responseSchema")
        return found if isinstance(found, dict) else None

    @property
    def wants_json(self) -> bool:
        return self.schema is None and self.config.get("responseMimeType") == "application/json"

    @property
    def budget(self) -> int | None:
        budget = self.config.get("maxOutputTokens")
        return budget if isinstance(budget, int) else None

    @property
    def inputs(self) -> list[str]:
        return [self.prompt]


_CONFIG = "generationConfig"


def read_call(
    api: Api,
    model: str,
    body: bytes,
    *,
    number: int,
    attempt: int,
    sha: str,
    custom_id: str | None = None,
    batch_id: str | None = None,
) -> Generation | Reply:
    """The call, or the error that a body like this gets."""
    try:
        json: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return error_reply(400, "Invalid JSON payload received.")
    if not isinstance(json, dict):
        return error_reply(400, "Invalid value: expected an object.")
    json = {camel(name): value for name, value in json.items()}
    try:
        said = _embedded(json) if api == "gemini.embed" else _generated(json)
    except (LookupError, TypeError, AttributeError):
        field = "content" if api == "gemini.embed" else "contents"
        return error_reply(400, f"* {field}: {field} is not specified or not readable")
    return Generation(
        number=number,
        attempt=attempt,
        path=f"/models/{model}",
        api=api,
        headers={},
        body=body,
        sha=sha,
        json=json,
        model=model,
        prompt=next((text for role, text in reversed(said) if role == "user"), ""),
        tokens_in=sum(count_tokens(text) for _, text in said),
        custom_id=custom_id,
        batch_id=batch_id,
    )


def texts_in(body: bytes) -> list[bytes]:
    """The single calls that one for several embeddings is made of. Raises Refused."""
    each = optional(LIST, fields(body).get("requests"))
    if not each:
        raise refused(400, "* requests: requests is not specified or not readable")
    return [bytes(one) for one in each]


def _generated(json: Json) -> list[tuple[str, str]]:
    system = text_of((json.get("systemInstruction") or {}).get("parts"))
    turns = [(str(turn.get("role") or "user"), _text(turn)) for turn in json["contents"]]
    turns[0]  # at least one
    return [("system", system), *turns]


def _embedded(json: Json) -> list[tuple[str, str]]:
    return [("user", _text(json["content"]))]


def _text(content: Any) -> str:
    return text_of(list(content["parts"]))
