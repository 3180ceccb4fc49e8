"""Several requests in one prompt: put together, and their answers told apart again.

Nothing a model says of them is taken for granted: an answer belongs to the request whose id it
bears, and to none if two that differ bear it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from .agreement import Interval, interval
from .ids import custom_id, pack_id
from .model import Api, Json, Request, Usage
from .plan import Limits, cut
from .schema import closed_object, parse
from .states import Outcome
from .template import Prompt

MOST = 100
"""Rows in one prompt at most: nobody has measured how models do with more."""
MOST_BYTES = 200_000
"""Of what is the rows' own in one prompt: about 50,000 tokens. In far longer prompts each of them
costs more."""
APIS: frozenset[Api] = frozenset(
    ("openai.chat", "openai.responses", "anthropic.messages", "gemini.generate")
)
"""The apis whose answers are texts that can be put together."""
TRIED = 200
"""So many rows are tried first, packed and alone."""

LABEL = 32
"""Tokens that an answer may have around it, its id included."""


class Pack(Request, frozen=True, kw_only=True, gc=False):
    """Requests that go out as one call. Its `n` is the complement of its first one's, so none's."""

    members: tuple[Request, ...]
    ids: tuple[str, ...]
    """By which the members are told apart in it."""


def named(run_id: str, request: Request) -> str:
    """What a call, or a line of a batch, is called at a provider."""
    if isinstance(request, Pack):
        return pack_id(run_id, ~request.n, (member.body for member in request.members))
    return custom_id(run_id, request.n, request.body)


def sizes(lengths: Iterable[int], rows: int) -> Iterator[int]:
    """How many requests go together, one call after the other. `lengths` are what is their own."""
    return cut(lengths, Limits(max_requests=rows, max_bytes=MOST_BYTES))


def shares(usage: Usage, count: int) -> list[Usage]:
    """`usage` in so many parts that sum up to it. What cannot be divided is the first one's."""
    whole: dict[str, int] = msgspec.structs.asdict(usage)
    each = {name: tokens // count for name, tokens in whole.items()}
    first = {name: tokens - each[name] * (count - 1) for name, tokens in whole.items()}
    return [Usage(**first), *[Usage(**each)] * (count - 1)]


def budget_factor(cap: int, count: int) -> int:
    """By what the output budget of one request is multiplied for so many in one call."""
    return -(-(cap + LABEL) * count // cap)


_OF_ITSELF: frozenset[Outcome] = frozenset(
    ("truncated", "refused", "blocked", "too_long", "bad_request")
)


def outcome_of_member(outcome: Outcome) -> Outcome:
    """What the outcome of a call means for each request in it.

    What was made of the whole prompt says nothing of one request: that is still to be answered.
    """
    return "missing_result" if outcome in _OF_ITSELF else outcome


# --- the prompt -----------------------------------------------------------------------------------


class Task(NamedTuple):
    """What all requests of a run ask, around what is their own."""

    head: str
    tail: str

    def own(self, text: str) -> str:
        """What is its own of a text that asks this."""
        head, tail = len(self.head), len(self.tail)
        sound = text.startswith(self.head) and text.endswith(self.tail)
        assert sound, "a text of the run's does not ask its task"
        assert len(text) >= head + tail, "a text of the run's is cut short"
        return text[head : len(text) - tail]


def task_of(prompt: Prompt) -> Task:
    return Task(*prompt.around)


_FORM = '{"answers": [{"id": "…", "answer": …}, …]}'
_GIVE = f"Give every answer under the id of its input, as JSON: {_FORM}"


def write_prompt(task: Task, inputs: Mapping[str, str]) -> str:
    """One prompt for all `inputs`, which stand under their ids. What never changes comes first."""
    tag = _tag([*task, *inputs.values()])
    said = [f"Answer each input below on its own. {_GIVE}"]
    if task.head.strip() or task.tail.strip():
        said = [
            f"For each input below, on its own, do the task, in which <{tag}/> stands for the "
            f"input. {_GIVE}",
            f"<task>\n{task.head}<{tag}/>{task.tail}\n</task>",
        ]
    said += [f'<{tag} id="{id}">\n{text}\n</{tag}>' for id, text in inputs.items()]
    return "\n\n".join(said)


def _tag(texts: Sequence[str]) -> str:
    """A word that marks the inputs, and none of these texts."""
    number, tag = 1, "input"
    while any(f"<{tag}" in text or f"</{tag}" in text for text in texts):
        number += 1
        tag = f"input{number}"
    return tag


_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_LENGTH = 4


def labels(run_id: str, numbers: Sequence[int]) -> tuple[str, ...]:
    """An id for each request, all different and short. They do not count up: whoever makes one up
    seldom hits another."""
    found: dict[str, None] = {}
    for n in numbers:
        turn = 0
        while (label := _label(run_id, n, turn)) in found:
            turn += 1
        found[label] = None
    return tuple(found)


def _label(run_id: str, n: int, turn: int) -> str:
    digest = blake2b(f"{n}.{turn}".encode(), digest_size=_LENGTH, key=run_id.encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest)


# --- the schema -----------------------------------------------------------------------------------

_AT = "#/properties/answers/items/properties/answer"
_DEFINITIONS = ("$defs", "definitions")
_ABOUT = ("$schema", "$id")
"""What a schema says of itself, and not of values."""
_VALUES = ("const", "enum", "default", "examples")
_NAMED = (*_DEFINITIONS, "properties", "patternProperties", "dependentSchemas")
"""Under these stand schemas by names that may be any word."""


def packed_schema(schema: Json | None) -> Json:
    """What the answer to several requests has to fit, each of which has to fit `schema`.

    It is the same for all, whatever their ids: services prepare a schema once.
    """
    answer: Json = {"type": "string"}
    shared: Json = {}
    if schema is not None:
        answer = _moved(schema)
        shared = {name: answer.pop(name) for name in _DEFINITIONS if name in answer}
        for word in _ABOUT:
            answer.pop(word, None)
    item = closed_object({"id": {"type": "string"}, "answer": answer})
    return {**closed_object({"answers": {"type": "array", "items": item}}), **shared}


def _moved(schema: Any) -> Any:
    """`schema` with its references as they are once it stands inside another one."""
    if isinstance(schema, list):
        return [_moved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _moved_under(name, value) for name, value in schema.items()}


def _moved_under(name: str, value: Any) -> Any:
    if name == "$ref" and isinstance(value, str):
        return _reference(value)
    if name in _NAMED and isinstance(value, dict):
        return {each: _moved(inner) for each, inner in value.items()}
    return value if name in _VALUES else _moved(value)


def _reference(pointer: str) -> str:
    """Where a reference leads now: what is defined apart stays at the top."""
    is_path = pointer == "#" or pointer.startswith("#/")
    is_apart = pointer.startswith(tuple(f"#/{name}/" for name in _DEFINITIONS))
    return _AT + pointer.removeprefix("#") if is_path and not is_apart else pointer


# --- the answer -----------------------------------------------------------------------------------


class Heard(NamedTuple):
    """What the answer to several requests says of each."""

    answers: Mapping[str, Any]
    """By id."""
    contradicted: frozenset[str] = frozenset()
    """The ids that have two answers, which are not the same."""
    strangers: int = 0
    """So many answers bear an id that nobody gave."""
    problem: str | None = None
    """Why it cannot be read to its end, if it cannot."""


def read_answers(text: str, ids: Sequence[str]) -> Heard:
    """What `text` says of the requests with these ids."""
    items, problem = _items(text)
    answers: dict[str, Any] = {}
    contradicted: set[str] = set()
    strangers = 0
    for item in items:
        if not isinstance(item, dict) or "answer" not in item:
            continue
        id = str(item.get("id")).strip()
        if id not in ids:
            strangers += 1
        elif id in answers and answers[id] != item["answer"]:
            contradicted.add(id)
        else:
            answers[id] = item["answer"]
    sound = {id: answer for id, answer in answers.items() if id not in contradicted}
    return Heard(sound, frozenset(contradicted), strangers, problem)


def _items(text: str) -> tuple[list[Any], str | None]:
    try:
        value = parse(text)
    except (ValueError, RecursionError) as e:
        return list(_whole_items(text)), f"it is no whole JSON: {e}"
    items = value.get("answers") if isinstance(value, dict) else value
    if not isinstance(items, list):
        return [], "it holds no list of answers"
    return items, None


def _whole_items(text: str) -> Iterator[Any]:
    """The items at the beginning of a list that breaks off, as far as each is whole."""
    rest = _within(text)
    if rest is None:
        return
    scan, at = json.JSONDecoder().raw_decode, 0
    while True:
        while at < len(rest) and rest[at] in " \t\r\n,":
            at += 1
        if not rest.startswith("{", at):
            return
        try:
            _, end = scan(rest, at)
            # Once more, strictly: the standard library takes what is no JSON.
            yield msgspec.json.decode(rest[at:end])
        except (ValueError, RecursionError):
            return
        at = end


def _within(text: str) -> str | None:
    """What follows the bracket that opens the list of answers."""
    rest = text.lstrip()
    for word in ("{", '"answers"', ":"):
        if rest.startswith("["):
            break
        if not rest.startswith(word):
            return None
        rest = rest.removeprefix(word).lstrip()
    return rest[1:] if rest.startswith("[") else None


# --- packed answers held against those that were given alone --------------------------------------


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """How far packed answers are the same as those that were given alone, in one field."""

    name: str
    agreed: int
    of: int

    @property
    def interval(self) -> Interval:
        """Where the share of all rows lies, in 95 of 100 cases."""
        return interval(self.agreed, self.of)

    @property
    def words(self) -> str:
        if not self.of:
            return f"{self.name}: no rows with both"
        low, high = self.interval
        share = f"{self.agreed / self.of:.1%}"
        return f"{self.name}: {share} of {self.of:,} rows ({low:.1%} to {high:.1%})"


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial has shown."""

    rows: int
    """That were tried."""
    packed: int
    """Rows with a valid answer when packed."""
    alone: int
    """Rows with a valid answer when asked alone."""
    fields: tuple[Agreed, ...]
    tokens_packed: int
    """In and out."""
    tokens_alone: int

    def shows(self, agreement: float) -> bool:
        """Whether of all rows so many agree in every field, in 95 of 100 cases."""
        return all(field.interval.low >= agreement for field in self.fields)

    @property
    def words(self) -> str:
        share = self.tokens_packed / self.tokens_alone if self.tokens_alone else 1.0
        return (
            f"packed answers agree with single ones in {', '.join(f.words for f in self.fields)}; "
            f"{self.packed:,} of {self.rows:,} rows had a valid one; packs took {share:.0%} of "
            "the tokens"
        )


def enough_rows(agreement: float) -> int:
    """So many rows have to be tried at least to show this share, if all agree."""
    count = 1
    while interval(count, count).low < agreement:
        count += 1
    return count
