"""What the wires share: guards around what others wrote, and the values that batches add.

What a service writes may lack anything. An answer or a result line then says so in its outcome;
an object that nothing can be done without raises `Malformed`, and nothing else is raised.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..core.model import NO_BODY, Api, Failure, Json, Usage
from .batch import ResultLine
from .openai import Answer, Count

T = TypeVar("T")

UNREADABLE = (ValueError, RecursionError)
"""What decoding raises: msgspec's and UTF-8's errors are ValueErrors."""
MAX_MESSAGE = 500


class Malformed(ValueError):
    """What came is not what the wire promises; the message says where."""


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch, as it is sent."""

    custom_id: str | None
    """None: the sender named none, where the wire leaves that open."""
    body: bytes


class Frame(NamedTuple):
    """A body around its requests, so that they can be streamed into it."""

    head: bytes
    separator: bytes
    tail: bytes


# --- fields of which none is certain --------------------------------------------------------------

Tokens = Count | None
"""A count that fits into a journal."""

STRING = msgspec.json.Decoder(str)
STRINGS = msgspec.json.Decoder(list[str])
COUNT = msgspec.json.Decoder(Count, strict=False)
"""A number, or a text with one; one below zero stands for none."""
MOMENT = msgspec.json.Decoder(datetime)
LIST = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])

Fields = dict[str, msgspec.Raw]
"""An object by its names in camelCase, the values not yet read."""


def camel(name: str) -> str:
    """`max_output_tokens` as `maxOutputTokens`; a name in camelCase stays as it is."""
    head, *words = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in words)


def optional(decoder: msgspec.json.Decoder[T], raw: bytes | None) -> T | None:
    """The value of a field; None where it is missing or of another type."""
    if raw is None or raw is NO_BODY:
        return None
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        return None


def fields(raw: bytes | None) -> Fields:
    """The fields of an object; none where `raw` is no object. camelCase wins over snake_case."""
    found = optional(_FIELDS, raw) or {}
    return {**{camel(name): value for name, value in found.items()}, **found}


def whole(body: bytes, *, what: str) -> Fields:
    """The fields of `body`. Raises Malformed."""
    try:
        body.decode()
        _FIELDS.decode(body)
    except UNREADABLE as e:
        raise Malformed(f"{what} was expected, but this is none: {e}") from e
    return fields(body)


def readable(raw: bytes | None, *, read: Callable[[Fields], T]) -> list[T]:
    """What `read` makes of each object in a list; what it raises Malformed for is left out."""
    found: list[T] = []
    for each in optional(LIST, raw) or ():
        with suppress(Malformed):
            found.append(read(fields(each)))
    return found


def text_of(found: Fields, name: str) -> str | None:
    """The text in a field, if it says something."""
    return optional(STRING, found.get(name)) or None


def count_of(found: Fields, name: str) -> int:
    """The count in a field; 0 where there is none."""
    return optional(COUNT, found.get(name)) or 0


def moment(raw: bytes | None) -> datetime | None:
    """A time; one without a zone is in UTC."""
    read = optional(MOMENT, raw)
    return read.replace(tzinfo=UTC) if read and read.tzinfo is None else read


def written(at: datetime | None) -> str | None:
    """A time in UTC as Google's services write it."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def is_object(raw: bytes) -> bool:
    return bytes(raw).lstrip()[:1] == b"{"


_SPACES = bytes.maketrans(b"\r\n", b"  ")


def one_line(body: bytes) -> msgspec.Raw:
    """`body` without line ends: inside JSON's strings they are escaped, so these stand between."""
    return msgspec.Raw(body.translate(_SPACES))


# --- answers, lines, errors -----------------------------------------------------------------------


def guarded(
    api: Api,
    body: bytes,
    *,
    decoder: msgspec.json.Decoder[T],
    read: Callable[[T], Answer],
    spent: Callable[[Fields], Usage],
) -> Answer:
    """What `read` makes of a 2xx reply. A body that is not what the api promises is an answer too:
    a `server_error`, with what was `spent` on it as far as that can be read."""
    try:
        reply = decoder.decode(body)
        body.decode()  # msgspec leaves what it skips unchecked
        return read(reply)
    except (*UNREADABLE, LookupError) as e:
        what = "an empty body" if not body.strip() else f"a body that is no {api} answer: {e}"
        failure = Failure(message=f"200 with {what}", code="malformed")
        return Answer("server_error", usage=spent(fields(body)), failure=failure)


def broken_line(
    line: bytes, error: BaseException, *, id_in: Callable[[Json], object]
) -> ResultLine:
    """What is left of a result line that cannot be read: its id, if even that."""
    why = "an empty line" if not line.strip() else f"a line that is no result: {error}"
    return ResultLine(
        custom_id=_salvaged(line, id_in),
        outcome="server_error",
        failure=Failure(message=f"the results hold {why}", code="malformed"),
    )


def _salvaged(line: bytes, id_in: Callable[[Json], object]) -> str | None:
    # The standard library reads what msgspec refuses: half a surrogate pair, for one.
    try:
        found = id_in(json.loads(line.decode(errors="replace")))
    except (*UNREADABLE, AttributeError, LookupError, TypeError):
        return None
    # Ours are ASCII, so any other is either not ours or damaged.
    return found if isinstance(found, str) and found.isascii() else None


def error_of(body: bytes) -> Json:
    """The inside of an error's envelope; empty where there is nothing like one."""
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return {}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    error = (value.get("error") or value) if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def word(value: object) -> str | None:
    """`value`, if it is a text that says something."""
    return value if isinstance(value, str) and value else None


def message_of(error: Json) -> str | None:
    """What an error says, fit for a user's eyes: never as long as an echoed prompt."""
    said = word(error.get("message"))
    return said[:MAX_MESSAGE] if said else None


# --- bodies ---------------------------------------------------------------------------------------


def with_caps(raw: bytes, names: Iterable[str], *, factor: int) -> bytes:
    """The object `raw` with every cap of these names multiplied."""
    found = _FIELDS.decode(raw)
    for name in names:
        if name in found and type(cap := msgspec.json.decode(found[name])) is int:
            found[name] = msgspec.Raw(msgspec.json.encode(cap * factor))
    return msgspec.json.encode(found)


def given(wanted: Mapping[str, Any]) -> Json:
    """Those of the fields that have a value."""
    return {name: value for name, value in wanted.items() if value is not None}
