"""kill -9 of the real process, over a real socket: no row lost, none doubled, books in order."""

import csv
import random
from collections import Counter
from pathlib import Path

import pytest

from anybatch.settings import Settings
from anybatch.engine.workspace import open_workspace
from anybatch.store.journal import committed_lines
from anybatch.testing import FakeEndpoint
from anybatch.wire.jsonl import number_of

from .process import anybatch, kill, report, start, until, write_rows

ROWS = 120
CALLS = 6


def words(endpoint: FakeEndpoint, home: Path) -> list[object]:
    return [
        "run",
        home / "in.csv",
        "--prompt",
        "Say {{ text }}",
        "--model",
        "fake/fake-1",
        "--base-url",
        endpoint.base_url,
        "--concurrency",
        CALLS,
        "-o",
        home / "out.csv",
        "--force",
        "--json",
    ]


def journal_and_database_agree(home: Path) -> bool:
    workspace = open_workspace(Settings(home=home / "store"))
    run = workspace.store.find_run("last")
    folder = workspace.store.folder(run.id)
    seen: Counter[int] = Counter()
    for batch in workspace.store.batches(run.id):
        numbers = [number_of(line) for *_, line in committed_lines(folder, batch.id, batch.journal)]
        if len(numbers) != batch.answered:
            return False
        seen.update(numbers)
    workspace.store.close()
    return sorted(seen) == list(range(run.total)) and set(seen.values()) == {1}


@pytest.mark.parametrize("seed", range(30))
def test_a_killed_run_gives_every_row_once_when_typed_again(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])

    with FakeEndpoint(latency=0.004) as endpoint:
        for _ in range(chance.randint(1, 2)):
            seen = len(endpoint.ledger.executions)
            process = start(*words(endpoint, tmp_path), home=tmp_path)
            wanted = seen + chance.randint(0, ROWS // 2)
            until(
                lambda: len(endpoint.ledger.executions) >= min(wanted, ROWS)
                or process.poll() is not None,
                what="calls",
            )
            kill(process)
        finished = anybatch(*words(endpoint, tmp_path), home=tmp_path)
        executed = len(endpoint.ledger.executions)

    said = report(finished)
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert finished.returncode == 0
    assert [row["id"] for row in rows] == [str(n) for n in range(ROWS)]
    assert all(row["answer"] == f"echo: Say row {n}" for n, row in enumerate(rows))
    assert said["counts"] == {"succeeded": ROWS}
    assert executed - ROWS <= said["repeated_at_most"]
    assert journal_and_database_agree(tmp_path)
