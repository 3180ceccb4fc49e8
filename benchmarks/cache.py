"""Prompt cache: the prompt tokens that a model in this process reads, by the order of the rows.

Rows on the same long text are far from each other in the table. One side has them answered in its
order, the other next to each other, as our runs do; llama.cpp says what it found in its cache. Each
side loads the model itself.
"""

import asyncio
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anybatch.api import Ask
from anybatch.core.model import Row, Spec, Usage
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Pace, Workspace
from anybatch.providers.provider import Provider
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore

from .measure import Line, in_a_process, report, show

MODEL = os.environ.get("ANYBATCH_BENCHMARK_MODEL", "smollm2")
"""Or the path of another one: what is found in a cache does not depend on what a model knows."""
OWN_PACE = Pace()
ROWS = 1_000
CONTEXTS = 40
_PARTS = ("engine", "pump", "valve", "motor", "filter", "switch", "cable", "sensor", "panel")
_FAULTS = ("leaks", "rattles", "smells of smoke", "runs hot", "stops early", "starts late", "hums")
_ASK = Ask(
    model=f"local/{MODEL}",
    prompt="{{ context }}\n{{ question }}",
    # One word is said: what counts here is what is read.
    parameters={"temperature": 0, "grammar": 'root ::= "yes" | "no"'},
)


def context(number: int) -> str:
    """A text of about 150 tokens that is like no other."""
    chance = random.Random(number)
    said = (f"The {chance.choice(_PARTS)} {chance.choice(_FAULTS)}." for _ in range(22))
    return f"Report {number}. {' '.join(said)}"


def table(rows: int, contexts: int) -> Iterator[Row]:
    """Questions on the texts, in no order."""
    chance = random.Random(0)
    for n in range(rows):
        part = _PARTS[n % len(_PARTS)]
        yield {
            "context": context(chance.randrange(contexts)),
            "question": f"{n}: is the {part} ok?",
        }


@dataclass(frozen=True, kw_only=True)
class InTheirOrder(Workspace):
    """Has rows answered as they come."""

    def provider_of(self, spec: Spec, pace: Pace = OWN_PACE) -> Provider:
        return replace(super().provider_of(spec, pace), groups_prefixes=False)


def read(kind: type[Workspace], folder: Path, *, rows: int, contexts: int) -> Usage:
    """What the model was given, and what of it it had read before."""
    store = SqliteStore(folder)
    with closing(store):
        workspace = kind(settings=Settings(home=folder), store=store)
        run = workspace.plan(open_source(table(rows, contexts)), _ASK.spec()).run
        asyncio.run(workspace.fulfil(run, stop=asyncio.Event()))
        return sum((batch.usage for batch in store.batches(run.id)), Usage())


def _side(kind: type[Workspace], folder: Path) -> Mapping[str, Any]:
    used = read(kind, folder, rows=ROWS, contexts=CONTEXTS)
    return {"given": used.tokens_in, "read": used.tokens_in - used.cached}


def compare() -> bool:
    folder = Path(tempfile.mkdtemp())
    try:
        theirs = in_a_process("benchmarks.cache", "theirs", folder / "theirs").said
        ours = in_a_process("benchmarks.cache", "ours", folder / "ours").said
    finally:
        shutil.rmtree(folder)
    share = ours["read"] / theirs["read"]
    figure = f"{ours['read']:,.0f} of {theirs['read']:,.0f} = {share:.0%}"
    lines = [
        Line("prompt tokens read, of those in the table's order", figure, "< 100 %", share < 1),
    ]
    title = f"Prompt cache, {ROWS:,} rows on {CONTEXTS} texts, {ours['given']:,.0f} tokens"
    return show(title, lines)


if __name__ == "__main__":
    side = {"ours": Workspace, "theirs": InTheirOrder}[sys.argv[1]]
    report(lambda: _side(side, Path(sys.argv[2])))
