"""What earlier runs teach of a new one: how long answers are, and what a token is."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ..core.model import EMBEDDINGS, Json, Run, Spec
from ..core.tokens import Counter, Learned, learned
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


def out_of(store: Store, spec: Spec, parts: dict[str, str], counter: Counter) -> Out:
    """How long answers are: as earlier runs had them that asked the same, the canary's included;
    else as the schema has it; else nobody knows."""
    cap = budget_of(spec.api, spec.parameters)
    if spec.api in EMBEDDINGS:
        return Out(0, 0, "embeddings have none")
    seen = _seen(run for run in _alike(store, parts))
    for answers, tokens in (_answered(store, run) for run in seen):
        if answers >= _ENOUGH:
            mean = tokens / answers
            return Out(mean, cap or 3 * mean, f"as {answers:,} answers to the same prompt were")
    longest = None if spec.output_schema is None else _longest(spec.output_schema, counter)
    if longest is not None:
        return Out(longest, max(longest, cap or 0), "as long as the schema lets them be")
    if cap is not None:
        return Out(cap, cap, f"the most they may have: {cap:,}")
    return Out(_ASSUMED, _ASSUMED_MOST, "nobody knows; a short text is assumed")


def _alike(store: Store, parts: dict[str, str]) -> Iterator[Run]:
    for run in store.runs(most=_RUNS):
        if all(run.parts.get(name) == parts.get(name) for name in _ALIKE):
            yield run


def _seen(runs: Iterable[Run]) -> Iterator[Run]:
    return islice(runs, _RUNS)


def _answered(store: Store, run: Run) -> tuple[int, int]:
    """How many answers a run has so far, and their tokens."""
    batches = store.batches(run.id)
    answers = sum(batch.counts.get("succeeded", 0) for batch in batches)
    return answers, sum(batch.usage.tokens_out for batch in batches)


def _longest(schema: Json, counter: Counter) -> float | None:
    """The most tokens of an answer that fits `schema`; None if it may be of any length."""
    return _longest_of(schema, counter)


def _longest_of(schema: Any, counter: Counter) -> float | None:
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
    for run in store.runs(most=_RUNS):
        same = (run.spec.provider, run.spec.model, run.spec.api) == (
            spec.provider,
            spec.model,
            spec.api,
        )
        if not same or run.state != "ended":
            continue
        batches = store.batches(run.id)
        calls = sum(sum(batch.counts.values()) for batch in batches)
        charged = sum(batch.usage.tokens_in for batch in batches)
        with RequestFile(store.folder(run.id)) as requests:
            numbers = range(min(requests.count, _REQUESTS))
            counted = tokens_of([r.body for r in requests.read(numbers)], run.spec.api, counter)
        if calls and counted:
            share = charged / calls * len(counted)
            found = learned(sum(counted), round(share), requests=len(counted))
            if found is not None:
                return found
    return None
