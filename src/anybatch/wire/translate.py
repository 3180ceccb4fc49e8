"""A body of one api as a body of another, and its answer back: between all that can say the same.

Each api's module reads into a `Conversation` and writes from one, so there is nothing here about
any two of them. What cannot be carried is refused by name: `NotCarried` has the JSON pointer to it.
Some of what a body holds is left out, and `LEFT_OUT` names all of that. From an answer is left out
what was thought, and what a service tells of its own accord: ratings, tiers, fingerprints.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from ..core.model import Api, Json, Usage
from . import (
    anthropic,
    anthropic_messages,
    embeddings,
    gemini_generate,
    openai_chat,
    openai_responses,
)
from .conversation import Answer, Frame
from .reading import UNREADABLE
from .strict import NotCarried

LEFT_OUT: Mapping[Api, frozenset[str]] = {
    "openai.chat": openai_chat.LEFT_OUT,
    "openai.responses": openai_chat.LEFT_OUT | openai_responses.OF_ITEMS,
    "openai.embeddings": embeddings.LEFT_OUT,
    "anthropic.messages": anthropic_messages.LEFT_OUT,
    "gemini.generate": gemini_generate.LEFT_OUT,
    "gemini.embed": frozenset(),
}
"""The fields of a body that are left out, whatever they say, because nothing depends on them."""


class _Asking(NamedTuple):
    """What a body is written with beside what it says."""

    model: str
    budget: int


class _Speech(NamedTuple):
    """How an api says what some others say, too."""

    kind: str
    """Those of one kind can be carried into each other."""
    read_body: Callable[[bytes], Any]
    write_body: Callable[[Any, _Asking], Json]
    read_answer: Callable[[bytes, Frame], Any]
    write_answer: Callable[[Any, Frame], Json]


_SPEECHES: Mapping[Api, _Speech] = {
    "openai.chat": _Speech(
        "conversation",
        openai_chat.read_body,
        lambda said, asking: openai_chat.write_body(said, model=asking.model),
        lambda body, frame: openai_chat.read_answer(body, id=frame.id),
        openai_chat.write_answer,
    ),
    "openai.responses": _Speech(
        "conversation",
        openai_responses.read_body,
        lambda said, asking: openai_responses.write_body(said, model=asking.model),
        lambda body, frame: openai_responses.read_answer(body, id=frame.id),
        openai_responses.write_answer,
    ),
    "anthropic.messages": _Speech(
        "conversation",
        anthropic_messages.read_body,
        lambda said, asking: anthropic_messages.write_body(said, **asking._asdict()),
        lambda body, frame: anthropic_messages.read_answer(body, id=frame.id),
        anthropic_messages.write_answer,
    ),
    "gemini.generate": _Speech(
        "conversation",
        gemini_generate.read_body,
        lambda said, asking: gemini_generate.write_body(said),
        lambda body, frame: gemini_generate.read_answer(body, id=frame.id),
        gemini_generate.write_answer,
    ),
    "openai.embeddings": _Speech(
        "vector",
        embeddings.read_openai,
        lambda wanted, asking: embeddings.write_openai(wanted, model=asking.model),
        lambda body, frame: embeddings.read_openai_answer(body),
        embeddings.write_openai_answer,
    ),
    "gemini.embed": _Speech(
        "vector",
        embeddings.read_gemini,
        lambda wanted, asking: embeddings.write_gemini(wanted),
        lambda body, frame: embeddings.read_gemini_answer(body),
        embeddings.write_gemini_answer,
    ),
}


def can_translate(source: Api, target: Api) -> bool:
    """Whether a body of `source` can become one of `target`, if it asks for nothing special."""
    if source == target:
        return True
    both = _SPEECHES.get(source), _SPEECHES.get(target)
    return both[0] is not None and both[1] is not None and both[0].kind == both[1].kind


def translate_body(
    body: bytes,
    *,
    source: Api,
    target: Api,
    model: str,
    budget: int = anthropic.DEFAULT_BUDGET,
) -> bytes:
    """`body` as one of `target` that asks `model`; the same bytes where the api is the same.

    `budget` caps the output where `target` needs a cap and none is given. Raises NotCarried.
    """
    if source == target:
        return body
    reader, writer = _both(source, target)
    asking = _Asking(model, budget)
    with _shallow():
        return msgspec.json.encode(writer.write_body(reader.read_body(body), asking))


def translate_answer(
    body: bytes,
    *,
    source: Api,
    target: Api,
    asked: bytes,
    model: str,
    id: str,
    created: int,
) -> bytes:
    """The body of a 2xx reply as one of `target`; the same bytes where the api is the same.

    `asked` is the body that it answers, as the caller wrote it in `target`; `model` what it asked
    for. `id` makes the answer's and its calls' ids (letters, digits, `_` and `-`), and `created` is
    in seconds since 1970. Raises NotCarried.
    """
    if source == target:
        return body
    reader, writer = _both(source, target)
    with _shallow():
        frame = Frame(id=id, created=created, model=model, asked=_decoded(asked))
        return msgspec.json.encode(writer.write_answer(reader.read_answer(body, frame), frame))


def write_text(api: Api, text: str, *, usage: Usage, model: str, id: str) -> bytes:
    """The body of a 2xx reply that says `text`, of an api whose answers are texts.

    `id` is as in `translate_answer`. When it was said is not told.
    """
    answer = Answer(text=text, usage=usage, model=model)
    frame = Frame(id=id, created=0, model=model)
    return msgspec.json.encode(_SPEECHES[api].write_answer(answer, frame))


def _both(source: Api, target: Api) -> tuple[_Speech, _Speech]:
    if not can_translate(source, target):
        raise NotCarried("", f"what {source} asks for, {target} has no words for")
    return _SPEECHES[source], _SPEECHES[target]


@contextmanager
def _shallow() -> Iterator[None]:
    """Raises NotCarried for a value in which others are nested too deeply to be looked at."""
    try:
        yield
    except RecursionError as e:
        raise NotCarried("", "it is nested too deeply") from e


def _decoded(asked: bytes) -> Json:
    """The caller's own body; an answer repeats some of it."""
    try:
        return msgspec.json.decode(asked, type=Json)
    except UNREADABLE as e:
        raise NotCarried("", f"what was asked is no JSON object: {e}") from e
