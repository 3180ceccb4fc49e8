"""Two runs of the same rows held against each other: how far they agree, and what each cost."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest
from itertools import compress
from statistics import fmean, median
from typing import Any, NamedTuple

import msgspec

from ..core.agreement import (
    Interval,
    Kind,
    Mean,
    agree,
    by_chance,
    cosine,
    interval,
    kind_of,
    mean,
    similarity,
)
from ..core.ledger import Cost
from ..core.model import COLUMNS, Batch, Counts, Result, Row, Run
from ..datasets.sample import Sample, sample
from ..datasets.source import Source
from ..errors import UsageError
from ..store.journal import committed_lines
from ..store.rows import read_rows
from ..store.store import Event, Store
from ..wire.jsonl import read_result
from .answers import Reader
from .delivery import layout_of, results
from .intake import BadRows
from .ledger import cost_of
from .workspace import Workspace

SHOWN = 50
"""So many rows of those that differ most are kept to be shown."""
_CHANGES = 3
"""So many of the most frequent pairs of different values are told,"""
_CHANGES_KNOWN = 1_000
"""and so many are told apart."""
_BEGUN = "run.begun"
_ENCODER = msgspec.json.Encoder()


class Share(NamedTuple):
    """So many of so many."""

    number: int
    of: int

    @property
    def value(self) -> float | None:
        return self.number / self.of if self.of else None

    @property
    def interval(self) -> Interval:
        return interval(self.number, self.of)


class Change(NamedTuple):
    """A value on one side that is another one on the other."""

    one: Any
    other: Any
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """How far both sides agree on a field of the answer, of rows that both have a valid one of."""

    name: str
    kind: Kind
    agreed: Share
    likeness: Mean | None = None
    """How similar texts are, or the cosine of numbers."""
    incomparable: int = 0
    """So many pairs have no cosine: they are not lists of equally many numbers."""
    changes: tuple[Change, ...] = ()
    """What the most frequent different values are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two runs."""

    run: Run
    status: str
    counts: Counts
    pending: int
    cost: Cost
    unpriced: str | None
    """Why nobody can say what it cost; None: it is said."""
    seconds: float | None
    """From its start to its end; None: it has none yet."""
    call_ms: float | None
    """The median time of a call; None: it made none by itself."""

    @property
    def valid(self) -> int:
        return self.counts.get("succeeded", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row to which both sides have a valid answer, and not the same."""

    n: int
    """Its number in the first run."""
    row: Row
    answers: tuple[tuple[str, Any, Any], ...]
    """The fields that differ: name, and both values as they are shown."""
    likeness: float
    """The mean over all fields, 1 where they are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two runs of the same rows have in common, and what not."""

    sides: tuple[Side, Side]
    differs: tuple[str, ...]
    """The parts of what was asked that are not the same."""
    rows: int
    """That both runs have."""
    both: int
    """Rows that both have a valid answer to: only these are held against each other."""
    only: tuple[int, int]
    """Rows to which the first side alone has one, and those of the second."""
    fields: tuple[Field, ...]
    unshared: tuple[tuple[str, ...], tuple[str, ...]]
    """The fields that the first side alone has, and those of the second."""
    whole: Share | None
    """Rows whose answers agree in every field; None: there is nothing that could agree."""
    differences: tuple[Difference, ...]
    """The rows that differ most, these first."""
    tolerance: float

    @property
    def neither(self) -> int:
        return self.rows - self.both - sum(self.only)

    @property
    def by_chance(self) -> float:
        """How often the shares of valid rows differ so much by chance."""
        return by_chance(*self.only)


def draw(source: Source, size: int, *, seed: int, skip_bad_rows: bool) -> Sample:
    """`size` rows of `source` by chance. Raises BadInput."""
    bad = BadRows(source.name, skip=skip_bad_rows)
    return sample(source, size, seed=seed, on_bad_row=bad)


def begin(workspace: Workspace, run: Run) -> None:
    """Write down that `run` is worked on from now on, if it is for the first time."""
    if not workspace.store.events(run.id, _BEGUN):
        event = Event(at=workspace.clock.now(), name=_BEGUN, fields={})
        workspace.store.add_event(run.id, event)


def check_pair(one: Run, other: Run) -> None:
    """Raise UsageError if two runs cannot be compared."""
    if one.id == other.id:
        raise UsageError(
            f"both are run {one.id}: nothing differs. Name two runs, or with a FILE what is "
            "another on the second side, as --with-model"
        )
    if one.parts["data"] != other.parts["data"]:
        raise UsageError(
            f"run {one.id} is of {one.source!r} and run {other.id} of {other.source!r}, and the "
            "rows are not the same; compare runs of the same data"
        )


def compare(workspace: Workspace, one: Run, other: Run, *, tolerance: float) -> Comparison:
    """How far the answers of two runs of the same rows agree. Raises UsageError."""
    check_pair(one, other)
    store = workspace.store
    tally = _Tally(one, other, tolerance)
    for row, left, right in _pairs(store, one, other):
        tally.add(row, left, right)
    differs = (name for name, part in one.parts.items() if other.parts.get(name) != part)
    return Comparison(
        sides=(_side(workspace, one), _side(workspace, other)),
        differs=tuple(differs),
        rows=tally.rows,
        both=tally.both,
        only=(tally.only[0], tally.only[1]),
        fields=tuple(each.counted() for each in tally.fields),
        unshared=tally.unshared,
        whole=Share(tally.whole, tally.both) if tally.fields else None,
        differences=tally.differences,
        tolerance=tolerance,
    )


# --- the rows of both ---


def _pairs(
    store: Store, one: Run, other: Run
) -> Iterator[tuple[tuple[int, Row], Result | None, Result | None]]:
    """Each row that both runs have, and what became of it in each."""
    if not one.skipped and not other.skipped:
        rows = enumerate(read_rows(store.folder(one.id), count=one.total))
        yield from zip(rows, results(store, one), results(store, other), strict=True)
        return
    # Which rows were left out is told by what is in them, so equal ones were all kept or none.
    kept = _marks(store, one), _marks(store, other)
    in_both = set(kept[0]).intersection(kept[1])
    left, right = (
        compress(zip(rows, found, strict=True), (mark in in_both for mark in marks))
        for rows, found, marks in (
            (enumerate(read_rows(store.folder(run.id), count=run.total)), results(store, run), mine)
            for run, mine in zip((one, other), kept, strict=True)
        )
    )
    for (row, mine), (_, theirs) in zip(left, right, strict=True):
        yield row, mine, theirs


def _marks(store: Store, run: Run) -> list[bytes]:
    rows = read_rows(store.folder(run.id), count=run.total)
    return [blake2b(_ENCODER.encode(row), digest_size=16).digest() for row in rows]


# --- their answers ---


class _Tally:
    """What two runs agree on, counted row by row."""

    def __init__(self, one: Run, other: Run, tolerance: float) -> None:
        self._readers = Reader(one.spec), Reader(other.spec)
        self._cells = _cells_of(one), _cells_of(other)
        kinds = kinds_of(one), kinds_of(other)
        pairs = _paired(*map(tuple, kinds))
        self.fields = [
            _FieldTally(names, _common(kinds[0][names[0]], kinds[1][names[1]]), tolerance)
            for names in pairs
        ]
        self.unshared = (
            tuple(name for name in kinds[0] if name not in (pair[0] for pair in pairs)),
            tuple(name for name in kinds[1] if name not in (pair[1] for pair in pairs)),
        )
        self.rows = self.both = self.whole = 0
        self.only = [0, 0]
        self._differences: list[Difference] = []

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Those that differ most, these first."""
        return tuple(nsmallest(SHOWN, self._differences, key=_by_likeness))

    def add(self, numbered: tuple[int, Row], left: Result | None, right: Result | None) -> None:
        self.rows += 1
        values = [_value(*each) for each in zip(self._readers, (left, right), strict=True)]
        if None in values:
            for side in (0, 1):
                self.only[side] += values[side] is not None
            return
        self.both += 1
        if self.fields:
            self._compare(numbered, values)

    def _compare(self, numbered: tuple[int, Row], values: Sequence["_Valid | None"]) -> None:
        likenesses, different = [], []
        for field in self.fields:
            one, other = (
                cell(None if valid is None else valid.value, name)
                for cell, valid, name in zip(self._cells, values, field.names, strict=True)
            )
            agreed, likeness = field.add(one, other)
            likenesses.append(likeness)
            if not agreed:
                different.append((field.name, field.told(one), field.told(other)))
        if not different:
            self.whole += 1
            return
        number, row = numbered
        self._differences.append(
            Difference(n=number, row=row, answers=tuple(different), likeness=fmean(likenesses))
        )
        if len(self._differences) > 2 * SHOWN:
            self._differences = list(self.differences)


def _by_likeness(difference: Difference) -> tuple[float, int]:
    return difference.likeness, difference.n


class _Valid(NamedTuple):
    """A valid answer, which may be null."""

    value: Any


def _value(reader: Reader, result: Result | None) -> _Valid | None:
    if result is None or result.outcome != "succeeded":
        return None
    return _Valid(reader.value(result))


Cell = Callable[[Any, str], Any]


def _cells_of(run: Run) -> Cell:
    """What gives a field of an answer: as the joined table has it."""
    return _part if layout_of(run).fields else _whole


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _whole(value: Any, name: str) -> Any:
    return value


def kinds_of(run: Run) -> dict[str, Kind]:
    """The fields of an answer, and how each is compared; a picture is not."""
    spec = run.spec
    if spec.api == "openai.images":
        return {}
    if spec.api in COLUMNS:
        return {name: _OF_COLUMNS[name] for name in COLUMNS[spec.api]}
    schema = spec.output_schema
    if schema is None:
        return {"answer": "text"}
    properties = schema.get("properties") or {"answer": schema}
    return {name: kind_of(inner, schema) for name, inner in properties.items()}


_OF_COLUMNS: dict[str, Kind] = {
    "embedding": "direction",
    "flagged": "exact",
    "categories": "exact",
    "scores": "direction",
}


def _paired(one: Sequence[str], other: Sequence[str]) -> list[tuple[str, str]]:
    """Which field of one side belongs to which of the other: that of the same name; or both,
    where each has but one."""
    shared = [(name, name) for name in one if name in other]
    return [(one[0], other[0])] if not shared and len(one) == len(other) == 1 else shared


def _common(one: Kind, other: Kind) -> Kind:
    """How values of two kinds are compared."""
    if one == other:
        return one
    return "number" if {one, other} == {"number", "exact"} else "exact"


class _FieldTally:
    """One field, counted."""

    def __init__(self, names: tuple[str, str], kind: Kind, tolerance: float) -> None:
        self.names = names
        self.name = names[0] if names[0] == names[1] else " / ".join(names)
        self._kind = kind
        self._tolerance = tolerance
        self._agreed = self._of = self._incomparable = 0
        self._likenesses: list[float] = []
        self._changes: Counter[tuple[Any, Any]] = Counter()

    def add(self, one: Any, other: Any) -> tuple[bool, float]:
        """Whether two values agree, and how alike they are."""
        agreed, likeness = self._held(one, other)
        self._of += 1
        self._agreed += agreed
        if not agreed and self._kind == "exact":
            self._note(one, other)
        return agreed, likeness

    def told(self, value: Any) -> Any:
        """A value as it is shown: of a long list of numbers how many they are."""
        is_list = self._kind == "direction" and isinstance(value, list)
        return f"{len(value)} numbers" if is_list else value

    def _held(self, one: Any, other: Any) -> tuple[bool, float]:
        if self._kind == "direction":
            found = cosine(one, other)
            if found is None:
                self._incomparable += 1
                return False, 0.0
            self._likenesses.append(found)
            return found >= 1 - self._tolerance, found
        agreed = agree(one, other, kind=self._kind, tolerance=self._tolerance)
        if self._kind != "text":
            return agreed, float(agreed)
        self._likenesses.append(similarity(one, other))
        return agreed, self._likenesses[-1]

    def _note(self, one: Any, other: Any) -> None:
        pair = (one, other)
        plain = all(value is None or isinstance(value, str | int | float) for value in pair)
        if plain and (pair in self._changes or len(self._changes) < _CHANGES_KNOWN):
            self._changes[pair] += 1

    def counted(self) -> Field:
        return Field(
            name=self.name,
            kind=self._kind,
            agreed=Share(self._agreed, self._of),
            likeness=mean(self._likenesses, lowest=-1.0 if self._kind == "direction" else 0.0),
            incomparable=self._incomparable,
            changes=tuple(
                Change(one, other, times)
                for (one, other), times in self._changes.most_common(_CHANGES)
            ),
        )


# --- what they cost ---


def _side(workspace: Workspace, run: Run) -> Side:
    look = workspace.progress(run)
    cost = cost_of(workspace.store, workspace.settings, run, now=workspace.clock.now())
    return Side(
        run=run,
        status=look.status,
        counts=look.counts,
        pending=run.total - look.done,
        cost=cost,
        unpriced=_unpriced(run, cost),
        seconds=_seconds(workspace.store, run),
        call_ms=_call_ms(workspace.store, run),
    )


def _unpriced(run: Run, cost: Cost) -> str | None:
    if run.spec.executor == "embedded":
        return "it is a model in this process"
    if cost.tariff is None:
        model = "/".join(filter(None, (run.spec.provider, run.spec.model)))
        return f'nobody has said one; say it as [prices."{model}"] in anybatch.toml'
    if cost.unpriced:
        tiers = ", ".join(cost.unpriced)
        return f"{cost.tariff.source} has none of {cost.tariff.model} for {tiers}"
    return None


def _results(store: Store, batch: Batch) -> Iterator[Result]:
    folder = store.folder(batch.run_id)
    for _, _, line in committed_lines(folder, batch.id, batch.journal):
        yield read_result(line)


def _seconds(store: Store, run: Run) -> float | None:
    if run.ended_at is None:
        return None
    begun = [event.at for event in store.events(run.id, _BEGUN)]
    return (run.ended_at - (begun[0] if begun else run.created_at)).total_seconds()


def _call_ms(store: Store, run: Run) -> float | None:
    calls = (batch for batch in store.batches(run.id) if batch.executor != "batch")
    took = [result.ms for batch in calls for result in _results(store, batch) if result.ms]
    return median(took) if took else None
