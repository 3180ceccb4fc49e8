"""What is said to a prompt cache: put into a body when it goes out, never into what is stored.

A head is so many characters of a prompt's texts, in the order in which the model reads them. It may
end within a text: then that text is given in two parts, which say the same together.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ..core.model import Api, Json
from .prompts import frame_of, texts_of

_TURNS: Mapping[Api, tuple[str, ...]] = {
    "anthropic.messages": ("system", "messages"),
    "openai.chat": ("messages",),
}
"""The fields whose texts may end with a breakpoint, in the order in which they are read."""

_OWN: Mapping[Api, bytes] = {
    "anthropic.messages": b'"cache_control"',
    "openai.chat": b'"prompt_cache_',
    "openai.responses": b'"prompt_cache_',
}
"""What stands in a body whose writer has said something to the cache: that is left as it is."""

KEYED: frozenset[Api] = frozenset(("openai.chat", "openai.responses"))
"""The apis that take a key for what shares a head, and can be told to keep nothing."""


class Said(NamedTuple):
    """One text of a prompt."""

    role: str
    text: str


class Begins(NamedTuple):
    """How a prompt begins: what stands before all texts, then these; the last may be a part."""

    frame: str
    texts: tuple[Said, ...]

    @property
    def chars(self) -> int:
        return sum(len(said.text) for said in self.texts)


def takes_breakpoints(api: Api) -> bool:
    """Whether the api can be told up to where a prompt is to be kept."""
    return api in _TURNS


def begin_of(api: Api, body: bytes) -> Begins:
    """All texts of a prompt; where there are breakpoints, those that may end with one."""
    return _begin(api, msgspec.json.decode(body))


def _begin(api: Api, body: Json) -> Begins:
    frame = f"{body.get('model')} {frame_of(api, body)}"
    if takes_breakpoints(api):
        return Begins(frame, tuple(Said(spot.role, spot.text) for spot in _spots(api, body)))
    return Begins(frame, tuple(Said("", text) for text in texts_of(api, body)))


def common(one: Begins, other: Begins) -> Begins:
    """How both begin."""
    if one.frame != other.frame:
        return Begins("", ())
    shared: list[Said] = []
    for a, b in zip(one.texts, other.texts, strict=False):
        if a == b:
            shared.append(a)
            continue
        if a.role == b.role and (length := _alike(a.text, b.text)):
            shared.append(Said(a.role, a.text[:length]))
        break
    return Begins(one.frame, tuple(shared))


def _alike(one: str, other: str) -> int:
    """So many characters both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def cut(begins: Begins, chars: int) -> Begins:
    """The first `chars` characters of it."""
    texts: list[Said] = []
    for said in begins.texts:
        if chars <= 0:
            break
        texts.append(Said(said.role, said.text[:chars]))
        chars -= len(said.text)
    return Begins(begins.frame, tuple(texts))


def has(begins: Begins, head: Begins) -> bool:
    """Whether a prompt begins with `head`."""
    count = len(head.texts)
    if not count or begins.frame != head.frame or len(begins.texts) < count:
        return False
    mine, last = begins.texts[count - 1], head.texts[-1]
    return (
        begins.texts[: count - 1] == head.texts[:-1]
        and mine.role == last.role
        and mine.text.startswith(last.text)
    )


def with_breakpoint(api: Api, body: bytes, head: Begins, *, kept: bool) -> bytes:
    """`body` with the end of `head` marked, to be kept for an hour or, if not `kept`, for minutes.

    The same bytes if it begins otherwise, or if its writer has said something to the cache.
    """
    if _OWN[api] in body:
        return body
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    whole = msgspec.json.decode(body)
    if not has(_begin(api, whole), head):
        return body
    spots = iter(_spots(api, whole))
    for said in head.texts:
        spot, last = next(spots), said
    spot.split(len(last.text), _mark(api, kept=kept))
    changed = {name: whole[name] for name in _TURNS[api] if name in whole}
    if api in KEYED:
        changed["prompt_cache_options"] = {"mode": "explicit"}
    return msgspec.json.encode({**fields, **changed})


def _mark(api: Api, *, kept: bool) -> Json:
    if api in KEYED:
        return {"prompt_cache_breakpoint": {"mode": "explicit"}}
    return {"cache_control": {"type": "ephemeral", "ttl": "1h" if kept else "5m"}}


def with_key(api: Api, body: bytes, key: str) -> bytes:
    """`body` with a key that all have that share its head, so that they go where it is kept."""
    return _with_field(api, body, {"prompt_cache_key": key})


def with_nothing_kept(api: Api, body: bytes) -> bytes:
    """`body` with the wish that nothing of it is kept: that has its price, and nobody reads it."""
    return _with_field(api, body, {"prompt_cache_options": {"mode": "explicit"}})


def _with_field(api: Api, body: bytes, field: Json) -> bytes:
    if _OWN[api] in body:
        return body
    return msgspec.json.encode({**msgspec.json.decode(body, type=dict[str, msgspec.Raw]), **field})


class _Spot(NamedTuple):
    """Where a text stands: `holder[key]` is that text, or a part of a list."""

    role: str
    text: str
    holder: Any
    key: Any

    def split(self, at: int, mark: Json) -> None:
        """Mark the text up to `at`; what follows becomes a part of its own."""
        is_part = isinstance(self.holder, list)
        part = self.holder[self.key] if is_part else {"type": "text", "text": self.text}
        parts = [{**part, "text": self.text[:at], **mark}]
        if at < len(self.text):
            parts.append({**part, "text": self.text[at:]})
        if is_part:
            self.holder[self.key : self.key + 1] = parts
        else:
            self.holder[self.key] = parts


def _spots(api: Api, body: Json) -> Iterator[_Spot]:
    """The texts up to the first thing that is none."""
    for field in _TURNS[api]:
        if field not in body:
            continue
        turns = [(field, body, field)] if field == "system" else _turns(body[field])
        for role, holder, key in turns:
            found = _texts(role, holder, key)
            yield from found.spots
            if not found.whole:
                return


def _turns(messages: Any) -> Iterator[tuple[str, Any, Any]]:
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            return
        yield str(message.get("role")), message, "content"


class _Found(NamedTuple):
    spots: list[_Spot]
    whole: bool
    """Whether there is nothing else."""


def _texts(role: str, holder: Any, key: Any) -> _Found:
    content = holder.get(key)
    if isinstance(content, str):
        return _Found([_Spot(role, content, holder, key)] if content else [], True)
    if not isinstance(content, list):
        return _Found([], content is None)
    spots: list[_Spot] = []
    for place, part in enumerate(content):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str) or not text:
            return _Found(spots, False)
        spots.append(_Spot(role, text, content, place))
    return _Found(spots, True)
