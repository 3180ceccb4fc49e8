"""An answerer that understands prompts with several inputs, as `--pack` makes them."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ..core.model import Json
from .endpoint.answers import Answer, Answerer
from .endpoint.call import Call

_INPUT: Final = re.compile(r'<(input\d*) id="([^"]+)">\n(.*?)\n</\1>', re.DOTALL)
_TASK: Final = re.compile(r"<task>\n(.*?)\n</task>", re.DOTALL)


def in_packs(answer: Answerer) -> Answerer:
    """Says to each input of a prompt what `answer` says to it alone, and the same to other prompts.

    An input whose answer is refused or cut short fails the whole call, as with a model.
    """

    def answered(call: Call) -> Answer | str:
        inputs = dict(_inputs(call.prompt))
        if not inputs:
            return answer(call)
        schema = _schema_of_each(call.schema)
        told: list[Json] = []
        for id, prompt in inputs.items():
            alone = answer(_alone(call, prompt, schema))
            said = alone if isinstance(alone, Answer) else Answer(alone)
            if said.refusal is not None or said.finish != "stop":
                return said
            told.append({"id": id, "answer": _value(said.text, schema)})
        return msgspec.json.encode({"answers": told}).decode()

    return answered


def _inputs(prompt: str) -> Iterator[tuple[str, str]]:
    """The inputs of a prompt by their ids, each with the task around it."""
    if not prompt.startswith(("Answer each input below", "For each input below")):
        return
    found = list(_INPUT.finditer(prompt))
    task = _TASK.search(prompt, 0, found[0].start()) if found else None
    for tag, id, text in (match.groups() for match in found):
        yield id, text if task is None else task[1].replace(f"<{tag}/>", text, 1)


def _schema_of_each(schema: Json | None) -> Json | None:
    """What each answer has to fit; None: any text does."""
    if schema is None:
        return None
    each: Json = schema["properties"]["answers"]["items"]["properties"]["answer"]
    shared: Json = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return None if each == {"type": "string"} else {**each, **shared}


def _alone(call: Call, prompt: str, schema: Json | None) -> Call:
    """The call that asks one input by itself."""
    json: Json = _replaced(call.json, call.schema, schema)
    return replace(call, prompt=prompt, json=json)


def _replaced(value: Any, old: Json | None, new: Json | None) -> Any:
    """`value` with one schema in the place of another, or with none where that was."""
    if not isinstance(value, dict):
        return value
    if old is not None and old in value.values():
        return {} if new is None else {k: new if v == old else v for k, v in value.items()}
    return {name: _replaced(inner, old, new) for name, inner in value.items()}


def _value(text: str, schema: Json | None) -> Any:
    try:
        return text if schema is None else msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
