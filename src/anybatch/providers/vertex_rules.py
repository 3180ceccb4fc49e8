"""The rules of Vertex AI's batch files: `{"custom_id", "request"}`, one a line.

As of docs.cloud.google.com and the official SDK 3.4, checked 2026-11-20. A request is the one that
Gemini's own API takes, less what batches have not. Its name may stand in `custom_id` or in `key`:
whatever stands beside the request comes back with the answer.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from ..wire.reading import LIST, Fields, camel, fields, is_object, optional
from . import gemini_rules as gemini
from .rules import Look, Problem, Rules, absent, decoded, missing, not_object, word, wordless


class _Line(msgspec.Struct):
    custom_id: Any = UNSET
    key: Any = UNSET
    request: msgspec.Raw = msgspec.Raw()


_LINE = msgspec.json.Decoder(_Line)


def look(line: bytes) -> Look:
    """What a line says, and what is wrong with it by itself."""
    read = decoded(line, _LINE)
    if isinstance(read, Problem):
        return Look(problems=(read,))
    name = read.key if read.custom_id is UNSET else read.custom_id
    problems = [*_name_problems(name), *not_object(bytes(read.request), "request")]
    if not is_object(read.request):
        return Look(name=word(name), problems=tuple(problems))
    request = fields(read.request)
    endpoint = gemini.endpoint_of(request)
    problems += [*gemini.request_problems(request, endpoint), *_batch_problems(request)]
    return Look(
        name=word(name),
        model=gemini.model_of(request),
        endpoint=endpoint,
        problems=tuple(problems),
    )


def _name_problems(name: object) -> Iterator[Problem]:
    # The service takes a line without one; nobody can tell then which row its answer is for.
    if name is UNSET:
        yield absent("custom_id")
    elif not word(name):
        said = wordless(name, "custom_id")
        yield Problem(code="invalid_custom_id", param="custom_id", message=said)


def _batch_problems(request: Fields) -> Iterator[Problem]:
    """What is taken in real time and not in a batch."""
    if not missing(bytes(request.get("cachedContent", b"null"))):
        said = "a batch takes no explicit cache; leave it out"
        yield Problem(code="forbidden_field", param="request.cachedContent", message=said)
    tools = optional(LIST, request.get("tools")) or []
    for place, raw in enumerate(tools):
        found = fields(raw)
        for name in dict.fromkeys(map(camel, found)):
            if is_object(found[name]) and not fields(found[name]):
                said = f"a batch takes no empty {name!r}; give it a field, were it null"
                param = f"request.tools[{place}].{name}"
                yield Problem(code="invalid_value", param=param, message=said)


RULES = Rules(
    looks={"v1": look},
    name="custom_id",
    model="request.model",
    endpoint="request",
    endpoints=gemini.RULES.endpoints,
)
