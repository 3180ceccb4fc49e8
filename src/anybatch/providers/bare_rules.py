"""The rules of batch files whose lines are `{"custom_id", "body"}`: Mistral's and Together's.

As of docs.mistral.ai with the official SDK 3.7.0, and docs.together.ai with the official SDK 3.1.1,
checked 2026-11-20. Where the requests go is said by the batch. To which model, Mistral's says too;
a body that names a model names the same.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from ..wire.reading import is_object
from .rules import (
    Look,
    Problem,
    Rules,
    absent,
    decoded,
    listed,
    missing,
    model_problems,
    not_object,
    streamed,
    word,
    wordless,
)


class _Line(msgspec.Struct):
    custom_id: Any = UNSET
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct):
    model: Any = UNSET
    stream: Any = UNSET
    messages: msgspec.Raw = msgspec.Raw()
    texts: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="input")


_LINE = msgspec.json.Decoder(_Line)
_BODY = msgspec.json.Decoder(_Body)


def look(line: bytes, *, longest: int | None, names_model: bool) -> Look:
    """What a line says, and what is wrong with it by itself.

    A custom_id has at most so many characters; `names_model`: each body has to name its model.
    """
    read = decoded(line, _LINE)
    if isinstance(read, Problem):
        return Look(problems=(read,))
    problems = [*_name_problems(read.custom_id, longest), *not_object(bytes(read.body), "body")]
    if not is_object(read.body):
        return Look(name=word(read.custom_id), problems=tuple(problems))
    body = decoded(bytes(read.body), _BODY)
    if isinstance(body, Problem):
        return Look(name=word(read.custom_id), problems=(*problems, body))
    return Look(
        name=word(read.custom_id),
        model=word(body.model),
        problems=(*problems, *_body_problems(body, names_model=names_model)),
    )


def _name_problems(name: object, longest: int | None) -> Iterator[Problem]:
    # The service takes a line without one; nobody can tell then which row its answer is for.
    if name is UNSET:
        yield absent("custom_id")
    elif not word(name):
        said = wordless(name, "custom_id")
        yield Problem(code="invalid_custom_id", param="custom_id", message=said)
    elif longest is not None and len(str(name)) > longest:
        said = f"'custom_id' has more than {longest} characters"
        yield Problem(code="invalid_custom_id", param="custom_id", message=said)


def _body_problems(body: _Body, *, names_model: bool) -> Iterator[Problem]:
    yield from streamed(body.stream, "body.stream")
    if names_model:
        yield from model_problems(body.model, "body.model")
    elif not missing(body.model) and not word(body.model):
        said = "'body.model' is not a name; it may be left out"
        yield Problem(code="invalid_request", param="body.model", message=said)
    if missing(bytes(body.texts)):
        yield from listed(bytes(body.messages), "body.messages")


def _rules(*, longest: int | None, names_model: bool) -> Rules:
    looks = {"v1": partial(look, longest=longest, names_model=names_model)}
    return Rules(looks=looks, name="custom_id", model="body.model")


MISTRAL_RULES = _rules(longest=None, names_model=False)
TOGETHER_RULES = _rules(longest=64, names_model=True)
