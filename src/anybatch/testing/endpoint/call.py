"""A call as the endpoint received it, and what can be read off its body."""

from typing import Any, Final

import msgspec

from ...core.model import Api, Json

PATHS: Final[dict[str, Api]] = {
    "/chat/completions": "openai.chat",
    "/responses": "openai.responses",
    "/embeddings": "openai.embeddings",
    "/completions": "openai.completions",
    "/moderations": "openai.moderations",
    "/images/generations": "openai.images",
}

BUDGETS: Final[dict[Api, tuple[str, ...]]] = {
    "openai.chat": ("max_completion_tokens", "max_tokens"),
    "openai.responses": ("max_output_tokens",),
    "openai.embeddings": (),
    "openai.completions": ("max_tokens",),
    "openai.moderations": (),
    "openai.images": (),
}
"""The fields that bound an answer's length."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call, or one row of a batch, read whole."""

    number: int
    """1-based, in the order of arrival at this endpoint; of a row, in the order of execution."""
    attempt: int
    """1-based: the how-manieth call with exactly this body it is."""
    path: str
    """Without `/v1`."""
    api: Api
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    sha: str
    """SHA-256 of the body, in hex."""
    json: Json
    model: str
    prompt: str
    """The last user message; for apis without messages the inputs, one per line."""
    tokens_in: int
    custom_id: str | None = None
    """Its name as a row of a batch; None: it is a call of its own."""
    batch_id: str | None = None

    @property
    def schema(self) -> Json | None:
        """The JSON Schema the answer must fit, if the call has one."""
        if self.api == "openai.responses":
            return dig(self.json, "text", "format", "schema")
        return dig(self.json, "response_format", "json_schema", "schema")

    @property
    def embeds(self) -> bool:
        """Whether it asks for vectors."""
        return self.api in ("openai.embeddings", "gemini.embed")

    @property
    def wants_json(self) -> bool:
        """Whether the call asks for some JSON object without a schema."""
        chosen = (
            dig(self.json, "text", "format")
            if self.api == "openai.responses"
            else dig(self.json, "response_format")
        )
        return chosen is not None and chosen.get("type") == "json_object"

    @property
    def budget(self) -> int | None:
        """How many tokens the answer may have."""
        found = (self.json.get(field) for field in BUDGETS[self.api])
        return next((budget for budget in found if isinstance(budget, int)), None)

    @property
    def inputs(self) -> list[str]:
        """The texts to embed, to complete, to moderate or to draw."""
        return [text for _, text in messages(self.api, self.json)]


def count_tokens(text: str) -> int:
    """Four characters to a token: near enough for a fake, and the same everywhere."""
    return -(-len(text) // 4)


def messages(api: Api, body: Json) -> list[tuple[str, str]]:
    """Role and text of everything the model is given."""
    match api:
        case "openai.chat":
            return [_message(message) for message in body["messages"]]
        case "openai.responses":
            return _responses_messages(body)
        case "openai.embeddings":
            return [("user", text) for text in _texts(body["input"])]
        case "openai.moderations":
            return [("user", text) for text in _moderated(body["input"])]
        case "openai.images":
            return [("user", _texts(body["prompt"])[0])]
        case "openai.completions":
            return [("user", text) for text in _texts(body["prompt"])]
        case _:
            raise ValueError(f"this endpoint does not speak {api!r}")


def prompt_of(api: Api, said: list[tuple[str, str]]) -> str:
    if api in ("openai.chat", "openai.responses"):
        return next((text for role, text in reversed(said) if role == "user"), "")
    return "\n".join(text for _, text in said)


def _responses_messages(body: Json) -> list[tuple[str, str]]:
    instructions, given = body.get("instructions"), body["input"]
    system = [("system", instructions)] if isinstance(instructions, str) else []
    if isinstance(given, str):
        return [*system, ("user", given)]
    return [*system, *(_message(message) for message in given)]


def _message(message: Json) -> tuple[str, str]:
    return str(message.get("role", "")), text_of(message.get("content"))


def text_of(content: Any) -> str:
    """A message's content is a text or a list of parts, of which some have a text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


def _texts(given: Any) -> list[str]:
    """One text, several, one list of token numbers, or several of those."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [" ".join(map(str, given))]
    return [part if isinstance(part, str) else " ".join(map(str, part)) for part in given]


def _moderated(given: Any) -> list[str]:
    """One text, several, or one input in parts, of which some have a text."""
    in_parts = isinstance(given, list) and bool(given) and isinstance(given[0], dict)
    return [text_of(given)] if in_parts else _texts(given)


def dig(body: Json, *names: str) -> Json | None:
    found: Any = body
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None
