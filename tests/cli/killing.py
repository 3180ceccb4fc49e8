"""A run that is killed at random moments and typed again until it ends; and what must hold then."""

import csv
import random
from collections import Counter
from pathlib import Path

from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings
from anybatch.store.journal import committed_lines
from anybatch.testing import FakeEndpoint
from anybatch.wire.jsonl import number_of

from .process import anybatch, kill, report, start, until, write_rows

CALLS = 6


def words(endpoint: FakeEndpoint, home: Path) -> list[object]:
    model = ["--model", "fake/fake-1", "--base-url", endpoint.base_url, "--concurrency", CALLS]
    data = ["run", home / "in.csv", "--prompt", "Say {{ text }}"]
    return [*data, *model, "-o", home / "out.csv", "--force", "--json"]


def kill_and_type_again(
    endpoint: FakeEndpoint, home: Path, *, rows: int, kills: int, chance: random.Random
) -> None:
    """Put `rows` rows through `endpoint`, killed so often; check every promise at the end."""
    write_rows(home / "in.csv", [f"row {n}" for n in range(rows)])
    for _ in range(kills):
        _kill_once(endpoint, home, rows=rows, chance=chance)
    finished = anybatch(*words(endpoint, home), home=home)
    said = report(finished)
    with open(home / "out.csv", newline="") as file:
        answered = list(csv.DictReader(file))
    assert finished.returncode == 0
    assert [row["id"] for row in answered] == [str(n) for n in range(rows)]
    assert all(row["answer"] == f"echo: Say row {n}" for n, row in enumerate(answered))
    assert said["counts"] == {"succeeded": rows}
    assert books_agree(home)


def _kill_once(endpoint: FakeEndpoint, home: Path, *, rows: int, chance: random.Random) -> None:
    before = len(endpoint.ledger.executions)
    process = start(*words(endpoint, home), home=home)
    wanted = min(rows, before + chance.randint(0, rows // 2))
    until(
        lambda: len(endpoint.ledger.executions) >= wanted or process.poll() is not None,
        what="calls",
    )
    kill(process)


def repeated_at_most(home: Path) -> int:
    """What the report of the last run says of calls made twice."""
    workspace = open_workspace(Settings(home=home / "store"))
    said = workspace.report(workspace.store.find_run("last")).repeated
    workspace.store.close()
    return said


def books_agree(home: Path) -> bool:
    """Whether journal and database tell the same, and of every row exactly one standing result."""
    workspace = open_workspace(Settings(home=home / "store"))
    run = workspace.store.find_run("last")
    folder = workspace.store.folder(run.id)
    standing: Counter[int] = Counter()
    for batch in workspace.store.batches(run.id):
        lines = committed_lines(folder, batch.id, batch.journal)
        numbers = [number_of(line) for *_, line in lines]
        if len(numbers) != batch.answered or len(set(numbers)) != len(numbers):
            return False
        standing.update(numbers)
    retried = sum(sum(batch.retried.values()) for batch in workspace.store.batches(run.id))
    workspace.store.close()
    return sorted(standing) == list(range(run.total)) and standing.total() == run.total + retried
