"""What earlier runs teach of a new one: how long answers are, and what a token is."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from ..core.model import EMBEDDINGS, Batch, Run, Spec, Usage
from ..core.states import Outcome
from ..core.tokens import Counter, Learned, learned
from ..errors import StoreError
from ..store.journal import committed_lines
from ..store.requests import RequestFile
from ..store.store import Store
from ..wire.apis import budget_of
from .measure import Out, tokens_of

_ALIKE = ("prompt", "system", "output_schema", "model", "provider", "api", "parameters")
"""The parts of a run that decide how long its answers are."""
_RUNS = 20
"""So many of the newest runs are looked at."""
_ENOUGH = 10
"""So many answers tell how long one is."""
_REQUESTS = 500
"""So many requests of an earlier run are counted again."""
_ASSUMED = 256
_ASSUMED_MOST = 4_096
_WORDS_OF_JSON = 4
"""Tokens of braces, quotes and colons around a value."""


_HAVE_ANSWERS: tuple[Outcome, ...] = (
    "succeeded",
    "invalid_output",
    "truncated",
    "refused",
    "blocked",
)
"""The outcomes of calls that a model has answered: others use no tokens."""


def out_of(
    store: Store,
    spec: Spec,
    parts: dict[str, str],
    counter: Counter,
    *,
    cap: float | None = None,
) -> Out:
    """How long answers are: as earlier runs had them that asked the same, the canary's included;
    else as the schema has it; else as long as they may be; else nobody knows.

    `cap` is the most that one may have, where requests say so themselves.
    """
    cap = cap or budget_of(spec.api, spec.parameters)
    if spec.api in EMBEDDINGS:
        return Out(0, 0, "embeddings have none")
    for run in _alike(store, spec, parts):
        answers, tokens = _answered(_asked_alone(store, run))
        if answers >= _ENOUGH:
            mean = tokens / answers
            return Out(mean, cap or 3 * mean, f"as {answers:,} answers to the same prompt were")
    longest = None if spec.output_schema is None else _longest_of(spec.output_schema, counter)
    if longest is not None:
        return Out(longest, max(longest, cap or 0), "as long as the schema lets them be")
    if cap is not None:
        return Out(cap, cap, f"the most they may have: {cap:,.0f}")
    return Out(_ASSUMED, _ASSUMED_MOST, "nobody knows; a short text is assumed")


def _alike(store: Store, spec: Spec, parts: dict[str, str]) -> Iterator[Run]:
    """Runs that asked the same; of ready-made requests nobody knows that without their data."""
    if spec.prompt is None:
        return
    for run in store.runs(most=_RUNS):
        if all(run.parts.get(name) == parts.get(name) for name in _ALIKE):
            yield run


def _asked_alone(store: Store, run: Run) -> list[Batch]:
    """The batches whose requests went out as they are: packs are charged for more, and for less."""
    return [batch for batch in store.batches(run.id) if batch.pack == 1]


def _answered(batches: Sequence[Batch]) -> tuple[int, int]:
    """How many answers there are, valid or not and those that were tried again included, and the
    tokens of all of them."""
    paid = [batch for batch in batches if not batch.reused]
    answers = sum(batch.counts.get(outcome, 0) for batch in paid for outcome in _HAVE_ANSWERS)
    return answers, sum(batch.usage.tokens_out for batch in paid)


def _longest_of(schema: Any, counter: Counter) -> float | None:
    """The most tokens of an answer that fits a schema; None if it may be of any length."""
    if not isinstance(schema, dict):
        return None
    if "enum" in schema:
        words = [str(word) for word in schema["enum"]]
        return max(counter.count(words), default=0) + _WORDS_OF_JSON
    if schema.get("type") in ("boolean", "integer", "number", "null"):
        return 2 + _WORDS_OF_JSON
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict):
        return None
    total = float(_WORDS_OF_JSON)
    for name, inner in properties.items():
        longest = _longest_of(inner, counter)
        if longest is None:
            return None
        total += longest + counter.count([name])[0] + _WORDS_OF_JSON
    return total


def learned_of(store: Store, spec: Spec, counter: Counter) -> Learned | None:
    """What the newest run at the same model was charged for what `counter` counts in it."""
    same = (spec.provider, spec.model, spec.api)
    for run in store.runs(most=_RUNS):
        if (run.spec.provider, run.spec.model, run.spec.api) != same:
            continue
        try:
            pairs = _pairs(store, run, counter)
        except (StoreError, OSError):
            continue  # damaged, or deleted meanwhile: who asks for it hears of it
        found = learned(pairs, taught=counter.counted.taught)
        if found is not None:
            return found
    return None


class _Charged(msgspec.Struct):
    """Of a line of a journal, what it was charged."""

    n: int
    usage: Usage = Usage()


_decode = msgspec.json.Decoder(_Charged).decode


def _pairs(store: Store, run: Run, counter: Counter) -> list[tuple[int, int]]:
    """What is counted and what was charged of some requests, each time that one was charged."""
    charged = list(islice(_charged(store, run), _REQUESTS))
    numbers = sorted({each.n for each in charged})
    if not numbers:
        return []
    with RequestFile(store.folder(run.id)) as requests:
        bodies = [request.body for request in requests.read(numbers)]
    counted = dict(zip(numbers, tokens_of(bodies, run.spec.api, counter), strict=True))
    return [(counted[each.n], each.usage.tokens_in) for each in charged]


def _charged(store: Store, run: Run) -> Iterator[_Charged]:
    folder = store.folder(run.id)
    for batch in _asked_alone(store, run):
        for _, _, line in committed_lines(folder, batch.id, batch.journal):
            result = _decode(line)
            if result.usage.tokens_in:
                yield result
