"""What a body and its answer say, in no api's shape, and what all who read and write them share.

Each api's module turns its bodies into a `Conversation` and back, and its answers into an `Answer`
and back. What an api has no words for is refused by name (`NotCarried`).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Literal, NoReturn

import msgspec

from ..core.model import Api, Json, Usage
from ..core.schema import checked, is_strict
from ..core.states import Outcome
from ..errors import BadSchema
from .openai import Answer as Told
from .reading import UNREADABLE
from .strict import Fields, NotCarried

Role = Literal["system", "developer", "user", "assistant"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["flex", "priority"]
Stop = Literal["end", "calls", "sequence", "length", "full", "blocked", "refused"]
"""Why a model stopped. `sequence`: at one of the caller's. `length`: of the answer; `full`: of the
model's whole context. `blocked`: by the service; `refused`: by the model itself."""

EFFORTS: Mapping[str, Effort] = {
    word: word for word in ("none", "minimal", "low", "medium", "high", "xhigh", "max")
}


# --- what is said ---------------------------------------------------------------------------------
# `at` is where each was read: the pointer that a refusal names.


class Text(msgspec.Struct, frozen=True):
    text: str
    at: str = ""


class Image(msgspec.Struct, frozen=True):
    media_type: str
    data: str
    """In base64."""
    detail: str | None = None
    """How closely to look, where that is not left to the service."""
    at: str = ""


class Link(msgspec.Struct, frozen=True):
    """An image that the service is to fetch."""

    url: str
    detail: str | None = None
    at: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """What the assistant said instead of an answer."""

    text: str
    at: str = ""


class Call(msgspec.Struct, frozen=True):
    """A tool that the model asked for."""

    id: str
    name: str
    arguments: str = "{}"
    """JSON as the model wrote it, which may be none."""
    at: str = ""


class Returned(msgspec.Struct, frozen=True):
    """What a tool gave for a call."""

    id: str
    name: str
    parts: tuple[Text | Image | Link, ...] = ()
    failed: bool = False
    at: str = ""


Part = Text | Image | Link | Refusal | Call | Returned


class Turn(msgspec.Struct, frozen=True):
    """What one side said. No two turns of one role follow each other."""

    role: Role
    parts: tuple[Part, ...] = ()


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may ask for."""

    name: str
    parameters: Json
    description: str | None = None
    strict: bool = False
    """Whether every call has to fit `parameters`."""
    at: str = ""


NO_PARAMETERS: Json = {"type": "object", "properties": {}}


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer has to fit."""

    schema: Json
    name: str = "answer"
    description: str | None = None
    strict: bool = True


Output = Schema | Literal["text", "json"]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What a body asks for. Which model is asked stands beside it."""

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    """Whether the model calls a tool."""
    named: tuple[str, ...] = ()
    """The tools it chooses among where one is `required`; empty: all."""
    one_call: bool = False
    """Whether it may ask for one call at a time only."""
    output: Output = "text"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    verbosity: str | None = None
    tier: Tier | None = None
    places: Mapping[str, str] = {}
    """Where each of these was read, by its name here."""

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raise NotCarried for the field of this name."""
        raise NotCarried(self.places.get(name, f"/{name}"), why)

    def refuse_all(self, names: Iterable[str], *, api: Api) -> None:
        """Raises NotCarried for the first of these fields that asks for something."""
        for name in names:
            if getattr(self, name):
                self.refuse(name, f"{api} has nothing like it")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered. What it thought is not part of it: nobody else can go on from it."""

    text: str | None = None
    calls: tuple[Call, ...] = ()
    stop: Stop = "end"
    why: str | None = None
    """What it said of a refusal, or the service of what it blocked."""
    sequence: str | None = None
    """The caller's stop sequence that it ended at, where the service tells."""
    usage: Usage = Usage()
    model: str | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer has around it and a model does not say."""

    id: str
    """The end of its id, behind the prefix of its api: letters, digits, `_` and `-`."""
    created: int
    """Seconds since 1970."""
    model: str
    """What it is said to be from, where the service does not tell."""
    asked: Json = {}
    """The body that it answers, in the api that it is written in."""


_STOPS: Mapping[Outcome, Stop] = {
    "succeeded": "end",
    "truncated": "length",
    "too_long": "full",
    "blocked": "blocked",
    "refused": "refused",
}


def sound(told: Told) -> Told:
    """`told`, if it is of an answer.

    Raises NotCarried where it is of none: no api has words for a service that gave up halfway.
    """
    if told.outcome not in _STOPS:
        raise NotCarried("", told.failure.message if told.failure else told.outcome)
    return told


def answered(
    told: Told,
    *,
    text: str | None,
    calls: Iterable[Call] = (),
    sequence: str | None = None,
) -> Answer:
    """An answer, of which `told` says how it ended and what it took."""
    found, stop = tuple(calls), _STOPS[told.outcome]
    said = told.failure.message if told.failure else None
    if stop == "end" and (found or sequence is not None):
        stop = "calls" if found else "sequence"
    if stop == "refused" or (found and not text):
        text = None
    return Answer(
        text=text,
        calls=found,
        stop=stop,
        why=said if stop in ("blocked", "refused") else None,
        sequence=sequence,
        usage=told.usage,
        model=told.model,
    )


# --- turns as they are read -----------------------------------------------------------------------


class Turns:
    """Turns as they are read: neighbours of one role become one, results find their calls."""

    def __init__(self) -> None:
        self._turns: list[tuple[Role, list[Part]]] = []
        self._numbers = count()
        self._open: dict[str, Call] = {}
        self._last_at = ""

    def add(self, role: Role, parts: Iterable[Part], *, at: str) -> None:
        """Add what `role` says. Raises NotCarried for what it cannot say."""
        said = _heard(parts)
        for part in said:
            if not isinstance(part, _SAID_BY[role]):
                raise _unsaid(part, role)
        self._last_at = at
        if not self._turns or self._turns[-1][0] != role:
            self._turns.append((role, []))
        self._turns[-1][1].extend(said)

    def call(self, id: str | None, name: str, arguments: str, *, at: str) -> Call:
        """A call that was made; without an id it gets one that no other has."""
        made = Call(id or self._new_id(), name, arguments, at)
        if made.id in self._open:
            raise NotCarried(at, f"two calls wait under the id {made.id!r}")
        self._open[made.id] = made
        return made

    def _new_id(self) -> str:
        while (id := f"call_{next(self._numbers)}") in self._open:
            pass
        return id

    def result(
        self,
        id: str | None,
        parts: Iterable[Part],
        *,
        name: str | None = None,
        failed: bool = False,
        at: str,
    ) -> Returned:
        """What a call gave; without an id it is for the first open call of that name."""
        named = (call.id for call in self._open.values() if call.name == name)
        call = self._open.pop(id or next(named, ""), None)
        if call is None:
            raise NotCarried(at, f"no call waits for it: {id or name!r}")
        return Returned(call.id, call.name, tuple(_shown(parts)), failed, at)

    def done(self) -> tuple[Turn, ...]:
        """All of them. Raises NotCarried where the last is the assistant's own."""
        if self._turns and self._turns[-1][0] == "assistant":
            raise NotCarried(
                self._last_at, "an answer that you began is not gone on with elsewhere"
            )
        return tuple(Turn(role, tuple(_results_first(parts))) for role, parts in self._turns)


_SAID_BY: Mapping[Role, tuple[type, ...]] = {
    "system": (Text,),
    "developer": (Text,),
    "user": (Text, Image, Link, Returned),
    "assistant": (Text, Refusal, Call),
}


def _heard(parts: Iterable[Part]) -> list[Part]:
    """Those parts that say something: an empty text says nothing."""
    return [part for part in parts if not (isinstance(part, Text) and not part.text)]


def _shown(parts: Iterable[Part]) -> Iterator[Text | Image | Link]:
    """What a tool gave. Raises NotCarried for what it cannot."""
    for part in _heard(parts):
        if not isinstance(part, Text | Image | Link):
            raise _unsaid(part, "tool")
        yield part


def _unsaid(part: Part, by: str) -> NotCarried:
    return NotCarried(part.at, f"a {type(part).__name__.lower()} of the {by} is not carried")


def _results_first(parts: list[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: not isinstance(part, Returned))


def joined(texts: Iterable[str | None]) -> str | None:
    """The texts as one; None where there is none."""
    found = [text for text in texts if text is not None]
    return "".join(found) if found else None


# --- numbers, images, arguments -------------------------------------------------------------------

NUMBERS = (
    *("max_tokens", "temperature", "top_p", "top_k", "seed"),
    *("frequency_penalty", "presence_penalty"),
)
_WHOLE = frozenset(("max_tokens", "top_k", "seed"))


def read_numbers(found: Fields, names: Mapping[str, str]) -> tuple[Json, dict[str, str]]:
    """The settings that are numbers, and where they stand. `names`: ours -> the api's."""
    taken: Json = {}
    for ours, theirs in names.items():
        value = found.count(theirs) if ours in _WHOLE else found.number(theirs)
        if value is not None and not (ours.endswith("penalty") and value == 0):
            taken[ours] = value
    return taken, {ours: found.at(names[ours]) for ours in taken}


def write_numbers(asked: Conversation, names: Mapping[str, str], *, api: Api) -> Json:
    """The settings that are numbers. Raises NotCarried for one that the api does not know."""
    given = {name: value for name in NUMBERS if (value := getattr(asked, name)) is not None}
    for name in given.keys() - names.keys():
        asked.refuse(name, f"{api} has nothing like it")
    return {names[name]: value for name, value in given.items()}


def image_of(url: str, *, detail: str | None, at: str) -> Image | Link:
    """The image that an address leads to, or that a `data:` address is. Raises NotCarried."""
    if url.startswith(("https://", "http://")):
        return Link(url, detail, at)
    head, _, data = url.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if head != f"data:{media_type};base64" or not media_type.startswith("image/"):
        raise NotCarried(at, "an image is carried by its https address or as data:image/…;base64,…")
    return Image(media_type, data, detail, at)


def url_of(image: Image | Link) -> str:
    if isinstance(image, Link):
        return image.url
    return f"data:{image.media_type};base64,{image.data}"


def no_detail(image: Image | Link, *, api: Api) -> None:
    """Raises NotCarried where it is said how closely to look: only OpenAI's services can."""
    if image.detail is not None:
        raise NotCarried(image.at, f"{api} does not say how closely to look ({image.detail!r})")


def arguments_of(call: Call) -> Json:
    """The arguments as an object. Raises NotCarried where the model wrote something else."""
    try:
        given = msgspec.json.decode(call.arguments or "{}")
    except UNREADABLE as e:
        raise NotCarried(call.at, f"the arguments are no JSON: {e}") from e
    if not isinstance(given, dict):
        raise NotCarried(call.at, "the arguments are no JSON object")
    return given


def as_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def can_be_strict(schema: Json, *, at: str) -> bool:
    """Whether a strict mode takes it. Raises NotCarried where it is no JSON Schema."""
    try:
        return is_strict(checked(schema, where="what is here"))
    except BadSchema as e:
        raise NotCarried(at, str(e)) from e


def described(asked: Schema, conversation: Conversation) -> Json:
    """A schema with what is said of it inside, for apis that have no other place for that."""
    if asked.description is None:
        return asked.schema
    if "description" in asked.schema:
        conversation.refuse("output", "the schema describes itself, and once more beside it")
    return {"description": asked.description, **asked.schema}
