"""What a model in this process has read, it does not read again: so rows on a text keep apart."""

import asyncio
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from anybatch.core.model import Row, Spec, Usage
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Pace, Workspace
from anybatch.providers.provider import Provider
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore

TEXTS = 3
TWO = Pace(concurrency=2)


@dataclass(frozen=True, kw_only=True)
class InTheirOrder(Workspace):
    """Has rows answered as they come."""

    def provider_of(self, spec: Spec, pace: Pace = TWO) -> Provider:
        return replace(super().provider_of(spec, pace), groups_prefixes=False)


def rows(name: str) -> list[Row]:
    """Two rows on each text, next to each other; texts of other names share nothing."""
    texts = [f"{name} {n}: " + f"pump {n} leaks and valve {n} sticks. " * 4 for n in range(TEXTS)]
    return [{"text": text, "ask": f"{n}?"} for text in texts for n in range(2)]


def read(kind: type[Workspace], folder: Path) -> Usage:
    spec = Spec(
        provider="local",
        model="smollm2",
        api="openai.chat",
        prompt="{{ text }}\n{{ ask }}",
        parameters={"temperature": 0, "grammar": 'root ::= "yes" | "no"'},
    )
    store = SqliteStore(folder)
    with closing(store):
        workspace = kind(settings=Settings(home=folder), store=store)
        planned = workspace.plan(open_source(rows(kind.__name__)), spec, pace=TWO)
        run = asyncio.run(workspace.fulfil(planned.run, stop=asyncio.Event(), pace=TWO))
        assert workspace.progress(run).counts == {"succeeded": 2 * TEXTS}
        return sum((batch.usage for batch in store.batches(run.id)), Usage())


def test_rows_on_one_text_read_it_once(tmp_path: Path) -> None:
    ours, theirs = (read(kind, tmp_path / kind.__name__) for kind in (Workspace, InTheirOrder))

    assert ours.cached > theirs.cached
    assert ours.tokens_in - ours.cached < theirs.tokens_in - theirs.cached
