"""How the requests of a run go out several at a time, and how what comes back is theirs again.

Nothing of it is written down: which requests go together follows from a batch's numbers, so whoever
goes on after a crash puts the same together again.
"""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from ..core.agreement import agree, kind_of
from ..core.model import NO_BODY, Batch, Failure, Json, Request, Result, Run, Spec, Usage
from ..core.packing import (
    APIS,
    TRIED,
    Agreed,
    Compared,
    Heard,
    Pack,
    budget_factor,
    enough_rows,
    labels,
    outcome_of_member,
    packed_schema,
    read_answers,
    shares,
    sizes,
    task_of,
    write_prompt,
)
from ..core.plan import Limits, cut
from ..core.quota import BYTES_PER_TOKEN
from ..core.schema import Checker, answer_columns
from ..core.template import Prompt, compile_prompt
from ..errors import BadSettings
from ..executors.executor import Record
from ..providers.flow import Reply
from ..store.journal import committed_lines
from ..store.requests import RequestFile
from ..store.store import Store
from ..wire.apis import wire_of
from ..wire.jsonl import read_result
from ..wire.prompts import texts_of
from ..wire.translate import write_text
from .answers import Reader

COMPARED = "packs.compared"
"""The event that says what a trial has shown."""

_TOLERANCE = 0.0
"""Numbers are the same or not."""
_ENCODER = msgspec.json.Encoder()

T = TypeVar("T")
Numbers = range | memoryview


class Packer:
    """Puts requests of one run together, and takes their answers apart."""

    def __init__(self, run: Run) -> None:
        spec = run.spec
        assert spec.prompt is not None
        assert spec.model is not None
        self._run_id = run.id
        self._spec = spec
        self._model = spec.model
        self._wire = wire_of(spec.api)
        self._task = task_of(compile_prompt(spec.prompt))
        self._schema = packed_schema(spec.output_schema)
        self._checker = None if spec.output_schema is None else Checker(spec.output_schema)
        around = self._body(spec.system, "".join(self._task), spec.output_schema)
        self._shared = len(_ENCODER.encode(around))
        """So many bytes of each body are the same in all."""

    def _body(self, system: str | None, user: str, schema: Json | None) -> Json:
        return self._wire.write_body(
            self._spec.api,
            model=self._model,
            system=system,
            user=user,
            schema=schema,
            parameters=self._spec.parameters,
        )

    # --- out ---

    def sizes(self, lengths: Iterable[int], rows: int) -> Iterator[int]:
        """How many requests go together. `lengths` are in bytes."""
        return sizes(map(self.own, lengths), rows)

    def own(self, length: int) -> int:
        """How much of a body of this length is its own."""
        return max(0, length - self._shared)

    def together(
        self, requests: RequestFile, numbers: Numbers, rows: int
    ) -> Iterator[Sequence[int]]:
        """Those of `numbers` that go out as one call, up to so many `rows`."""
        start = 0
        for size in self.sizes(_lengths(requests, numbers), rows):
            yield numbers[start : start + size]
            start += size

    def calls(
        self, groups: Iterable[Sequence[int]], done: Container[int]
    ) -> Iterator[tuple[Sequence[int], bool]]:
        """What each call for what is not `done` asks, and whether it is a pack: of a group of which
        some is, the others go alone."""
        for group in groups:
            left = [n for n in group if n not in done]
            if len(left) == len(group):
                yield group, True
            else:
                yield from (([n], False) for n in left)

    def outgoing(
        self, requests: RequestFile, groups: Iterable[Sequence[int]], done: Container[int]
    ) -> Iterator[Request]:
        """These calls."""
        for numbers, is_pack in self.calls(groups, done):
            members = tuple(requests.read(numbers))
            yield self.pack(members) if is_pack else members[0]

    def pack(self, members: tuple[Request, ...]) -> Pack:
        """One call that asks all of these."""
        ids = labels(self._run_id, [member.n for member in members])
        system: str | None = None
        inputs: dict[str, str] = {}
        for id, member in zip(ids, members, strict=True):
            *before, user = texts_of(self._spec.api, msgspec.json.decode(member.body))
            system = before[0] if before else None
            inputs[id] = self._task.own(user)
        found = self._body(system, write_prompt(self._task, inputs), self._schema)
        body, cap = _ENCODER.encode(found), self._wire.budget_of(self._spec.api, found)
        if cap is not None:
            factor = budget_factor(cap, len(members))
            body = self._wire.with_budget(self._spec.api, body, factor=factor)
        return Pack(n=~members[0].n, body=body, members=members, ids=ids)

    # --- back ---

    def unpacked(self, pack: Pack, result: Result) -> list[Result]:
        """What became of each request in `pack`, of which this is the result."""
        usages = shares(result.usage, len(pack.members))
        if result.outcome not in ("succeeded", "truncated"):
            return _all_alike(pack, result, usages)
        said = self._wire.read_answer(self._spec.api, bytes(result.body)).value
        heard = read_answers(said if isinstance(said, str) else "", pack.ids)
        return [
            self._member(replace(result, n=member.n, usage=usage), id, heard)
            for member, id, usage in zip(pack.members, pack.ids, usages, strict=True)
        ]

    def _member(self, result: Result, id: str, heard: Heard) -> Result:
        """`result` as that of one request. Its body is as if it had been asked alone."""
        if id not in heard.answers:
            outcome = "invalid_output" if id in heard.contradicted else "missing_result"
            why = Failure(message=_why_not(result, id, heard))
            return replace(result, outcome=outcome, body=NO_BODY, failure=why)
        text, problem = self._text(heard.answers[id])
        body = write_text(
            self._spec.api,
            text,
            usage=result.usage,
            model=result.model or self._model,
            id=id,
        )
        outcome = "succeeded" if problem is None else "invalid_output"
        failure = None if problem is None else Failure(message=problem)
        return replace(result, outcome=outcome, body=msgspec.Raw(body), failure=failure)

    def _text(self, answer: object) -> tuple[str, str | None]:
        """An answer as the text that a model gives to one request, and what is wrong with it."""
        text = _ENCODER.encode(answer).decode()
        if self._checker is None:
            return (answer if isinstance(answer, str) else text), None
        problem = self._checker.check(text).problem
        if problem is not None and isinstance(answer, str):
            # A label without its object, or JSON within a text.
            bare = self._checker.check(answer).problem
            return (answer, None) if bare is None else (text, problem)
        return text, problem


def _all_alike(pack: Pack, result: Result, usages: Sequence[Usage]) -> list[Result]:
    """The same for each request of a call that was not answered."""
    outcome = outcome_of_member(result.outcome)
    failure = result.failure or Failure(message=result.outcome)
    if outcome != result.outcome:
        many = len(pack.members)
        why = f"asked with {many - 1} others, which came to {result.outcome}: {failure.message}"
        failure = replace(failure, message=why)
    return [
        replace(result, n=member.n, outcome=outcome, failure=failure, usage=usage)
        for member, usage in zip(pack.members, usages, strict=True)
    ]


def _why_not(result: Result, id: str, heard: Heard) -> str:
    if id in heard.contradicted:
        return "asked with others, it has two answers that differ"
    if result.outcome == "truncated":
        return "asked with others, whose answers used up the output budget"
    if heard.problem is not None:
        return f"asked with others; of what was answered, {heard.problem}"
    return "asked with others, and left out of what was answered"


def _lengths(requests: RequestFile, numbers: Numbers) -> Iterator[int]:
    if isinstance(numbers, range):
        entries = requests.entries(numbers.start, len(numbers))
    else:
        entries = (entry for n in numbers for entry in requests.entries(n, 1))
    return (length for _, length, _, _ in entries)


class Packs:
    """The packs of one batch while its calls are under way."""

    def __init__(self, packer: Packer, reader: Reader) -> None:
        self._packer = packer
        self._reader = reader
        self._open: dict[int, Pack] = {}

    def read(self, request: Request, reply: Reply) -> Result:
        """What became of a call, of which this is the reply."""
        if not isinstance(request, Pack):
            return self._reader.read(request, reply)
        return self._reader.heard(request, reply)

    def noted(self, requests: Iterable[Request]) -> Iterator[Request]:
        """The same; which of them are packs is kept in mind."""
        for request in requests:
            if isinstance(request, Pack):
                self._open[request.n] = request
            yield request

    def then(self, record: Record) -> Record:
        """`record`, given what becomes of each request."""

        async def taken_apart(*results: Result) -> None:
            await record(*self._unpacked(results))

        return taken_apart

    def _unpacked(self, results: Iterable[Result]) -> Iterator[Result]:
        for result in results:
            pack = self._open.pop(result.n, None)
            yield from [result] if pack is None else self._packer.unpacked(pack, result)


# --- planning ---


def tried(total: int, *, wanted: int | None, agreement: float) -> int:
    """How many rows are tried, packed and alone, before the others go; 0: none are.

    Raises BadSettings for so few that they cannot show the agreement.
    """
    least = enough_rows(agreement)
    if wanted is not None and 0 < wanted < min(total, least):
        raise BadSettings(
            f"--canary {wanted} rows cannot show an agreement of {agreement:.0%}, even if all "
            f"agree: it takes {least}. Try so many, or ask for less by --pack-agreement"
        )
    return min(total, TRIED if wanted is None else wanted)


_SPOILING = ("stop", "stop_sequences", "response_format", "text", "responseMimeType")
"""Parameters that say where an answer ends, or how it looks: that of several is ours to say."""


def check_packing(spec: Spec, system: Prompt | None) -> None:
    """Raises BadSettings for what cannot be asked several at a time."""
    if spec.pack == 1:
        return
    if spec.prompt is None:
        raise BadSettings("ready-made requests go out as they are: leave out --pack")
    if spec.api not in APIS:
        raise BadSettings(f"{spec.api} answers one row a call: leave out --pack")
    if system is not None and system.columns:
        raise BadSettings(
            f"the system prompt names {', '.join(map(repr, sorted(system.columns)))}, and rows in "
            "one prompt share it: put that into --prompt, or leave out --pack"
        )
    spoiling = [name for name in spec.parameters if name in _SPOILING]
    if spoiling:
        raise BadSettings(f"--set {spoiling[0]} does not go with --pack: leave out one of them")


class Slice(NamedTuple):
    """What one batch takes of the requests that are planned."""

    rows: int
    calls: int
    tokens: int


def slices(
    packer: Packer,
    requests: RequestFile,
    numbers: Numbers,
    *,
    pack: int,
    limits: Limits,
    taken: Iterable[int] = (),
) -> Iterator[Slice]:
    """Cut these requests, so many to a call, into batches within `limits`, which hold for calls.

    Sizes that are `taken` are left out where sizes have to be distinct.
    """
    overhead = 1 + limits.overhead

    def sizes(calls: Iterator[tuple[int, int]]) -> Iterator[int]:
        return cut((length + overhead for _, length in calls), limits, taken=taken)

    for calls in _cut_into(_calls(packer, requests, numbers, pack), sizes):
        tokens = sum(length for _, length in calls) // BYTES_PER_TOKEN
        yield Slice(sum(rows for rows, _ in calls), len(calls), tokens)


def _calls(
    packer: Packer, requests: RequestFile, numbers: Numbers, pack: int
) -> Iterator[tuple[int, int]]:
    """How many requests each call asks, and about how many bytes it has."""
    if pack == 1:
        yield from ((1, length) for length in _lengths(requests, numbers))
        return
    for lengths in _cut_into(_lengths(requests, numbers), partial(packer.sizes, rows=pack)):
        yield len(lengths), lengths[0] + sum(map(packer.own, lengths[1:]))


def _cut_into(
    values: Iterable[T], cut: Callable[[Iterator[T]], Iterator[int]]
) -> Iterator[list[T]]:
    """`values` in slices of the sizes that `cut` makes of them."""
    held: deque[T] = deque()

    def seen() -> Iterator[T]:
        for value in values:
            held.append(value)
            yield value

    for size in cut(seen()):
        yield [held.popleft() for _ in range(size)]


def packed_wave(run: Run, folder: Path, *, limits: Limits, count: int | None = None) -> list[Batch]:
    """The first wave of a run whose rows go several in one prompt.

    The first `run.canary` requests are in it twice, packed and alone. `count`: only so many are
    sent; None: all.
    """
    packer, pack, batches = Packer(run), run.spec.pack, list[Batch]()
    taken: list[int] = []
    with RequestFile(folder) as requests:
        count = requests.count if count is None else count
        tried, rest = range(run.canary), range(run.canary, count)
        for numbers, size, trial in ((tried, pack, True), (tried, 1, False), (rest, pack, False)):
            first = numbers.start
            for found in slices(
                packer, requests, numbers, pack=size, limits=limits, taken=tuple(taken)
            ):
                taken.append(found.calls)
                batch = _planned(run.id, part=len(batches), first=first, size=found.rows)
                batches.append(replace(batch, tokens=found.tokens, pack=size, trial=trial))
                first += found.rows
    return batches


def _planned(run_id: str, *, part: int, first: int, size: int) -> Batch:
    return Batch(
        id=f"{run_id}-1-{part}",
        run_id=run_id,
        wave=1,
        part=part,
        status="planned",
        first=first,
        size=size,
    )


# --- what a trial has shown ---


def compare(store: Store, run: Run) -> Compared:
    """The answers of a trial held against those that the same requests got alone."""
    reader = Reader(run.spec)
    folder = store.folder(run.id)
    packed: dict[int, Result] = {}
    alone: dict[int, Result] = {}
    batches = [batch for batch in store.batches(run.id) if batch.first < run.canary]
    for batch in batches:
        # A later wave's result takes an earlier one's place.
        for _, _, line in committed_lines(folder, batch.id, batch.journal):
            result = read_result(line)
            (packed if batch.trial else alone)[result.n] = result
    valid = [n for n, result in sorted(packed.items()) if result.outcome == "succeeded"]
    both = [n for n in valid if n in alone and alone[n].outcome == "succeeded"]
    pairs = [(reader.value(packed[n]), reader.value(alone[n])) for n in both]
    return Compared(
        rows=len(packed),
        packed=len(valid),
        alone=sum(alone[n].outcome == "succeeded" for n in packed if n in alone),
        fields=tuple(_fields(run, pairs)),
        tokens_packed=_tokens(batch for batch in batches if batch.trial),
        tokens_alone=_tokens(batch for batch in batches if not batch.trial),
    )


def _tokens(batches: Iterable[Batch]) -> int:
    return sum(batch.usage.tokens_in + batch.usage.tokens_out for batch in batches)


def _fields(run: Run, pairs: Sequence[tuple[object, object]]) -> Iterator[Agreed]:
    schema = run.spec.output_schema
    properties = (schema or {}).get("properties")
    for name in answer_columns(schema):
        inner = properties[name] if properties else schema or {"type": "string"}
        kind = kind_of(inner, schema or inner) if isinstance(inner, dict) else "exact"
        values = (
            [(_in(one, name), _in(other, name)) for one, other in pairs] if properties else pairs
        )
        agreed = sum(agree(one, other, kind=kind, tolerance=_TOLERANCE) for one, other in values)
        yield Agreed(name=name, agreed=agreed, of=len(pairs))


def _in(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def known(store: Store, run: Run) -> Compared | None:
    """What a trial of `run` has shown, once that was written down."""
    events = store.events(run.id, COMPARED) if run.spec.pack > 1 else []
    return msgspec.convert(events[-1].fields, Compared) if events else None
