"""A run that is killed at random moments and typed again until it ends; and what must hold then."""

import csv
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path

from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings
from anybatch.store.journal import committed_lines
from anybatch.testing import FakeEndpoint, FakeVertex
from anybatch.testing.batches.hosted import Hosted
from anybatch.wire.jsonl import number_of

from .process import anybatch, kill, report, start, until, write_rows

CALLS = 6
EXCHANGES = 30
"""A run of batches is killed within so many exchanges with its provider."""


def words(home: Path, *model: object) -> list[object]:
    data = ["run", home / "in.csv", "--prompt", "Say {{ text }}"]
    return [*data, *model, "-o", home / "out.csv", "--force", "--json"]


def call_by_call(endpoint: FakeEndpoint) -> list[object]:
    """The words that have rows answered by calls to `endpoint`."""
    return ["--model", "fake/fake-1", "--base-url", endpoint.base_url, "--concurrency", CALLS]


def by_batch(provider: str) -> list[object]:
    """The words that send rows through the batch API of a provider that the settings lead to."""
    return ["--model", f"{provider}/fake-1", "--executor", "batch"]


def settings(provider: str, service: Hosted, *, most: int) -> str:
    """The settings that lead to `service`, with batches of so many rows at most."""
    lines = [
        "search_seconds = 0.3",
        f"[providers.{provider}]",
        f'base_url = "{service.base_url}"',
        f"batch_requests = {most}",
    ]
    if isinstance(service, FakeVertex):
        lines += [f'storage_url = "{service.address}"', 'bucket = "my-bucket/runs"']
    return "\n".join([*lines, f'[prices."{provider}/fake-1"]', PRICES])


PRICES = """input = 2.0
output = 2.0
batch = {input = 1.0, output = 1.0}
"""
"""A million tokens in a batch cost a dollar, whichever way they go."""


def most_rows(provider: str, *, rows: int, batches: int) -> int:
    """So many rows a batch may have to make about as many batches.

    Anthropic's differ in size: it is one less from each to the next.
    """
    larger = (batches - 1) / 2 if provider == "anthropic" else 0
    return ceil(rows / batches + larger)


def kill_and_type_again(
    endpoint: FakeEndpoint,
    home: Path,
    *,
    rows: int,
    kills: int,
    chance: random.Random,
    more: Sequence[object] = (),
) -> None:
    """Put `rows` rows through `endpoint`, killed so often; check every promise at the end.

    `more` is typed, too.
    """
    write_rows(home / "in.csv", [f"row {n}" for n in range(rows)])
    typed = words(home, *call_by_call(endpoint), *more)

    def progress() -> int:
        return len(endpoint.ledger.executions)

    for _ in range(kills):
        wanted = min(rows, progress() + chance.randint(0, rows // 2))
        _kill_once(typed, home, when=lambda wanted=wanted: progress() >= wanted)  # type: ignore[misc]
    _every_row_comes_out(typed, home, rows=rows)


def kill_batches_and_type_again(
    provider: str,
    service: Hosted,
    home: Path,
    *,
    rows: int,
    kills: int,
    chance: random.Random,
    pack: int = 1,
) -> None:
    """The same through a batch API, killed after so many exchanges with it, and a moment more."""
    write_rows(home / "in.csv", [f"row {n}" for n in range(rows)])
    most = most_rows(provider, rows=rows // pack, batches=chance.randint(7, 11))
    (home / "anybatch.toml").write_text(settings(provider, service, most=most))
    packed = ["--pack", pack, "--no-canary"] if pack > 1 else []
    typed = words(home, *by_batch(provider), *packed)

    def progress() -> int:
        return len(service.ledger.exchanges)

    for _ in range(kills):
        wanted = progress() + chance.randint(0, EXCHANGES)
        moment = chance.random() * 0.02
        _kill_once(
            typed,
            home,
            when=lambda wanted=wanted: progress() >= wanted,
            moment=moment,  # type: ignore[misc]
        )
    _every_row_comes_out(typed, home, rows=rows)


def _every_row_comes_out(typed: list[object], home: Path, *, rows: int) -> None:
    finished = anybatch(*typed, home=home)
    said = report(finished)
    with open(home / "out.csv", newline="") as file:
        answered = list(csv.DictReader(file))
    assert finished.returncode == 0
    assert [row["id"] for row in answered] == [str(n) for n in range(rows)]
    assert all(row["answer"] == f"echo: Say row {n}" for n, row in enumerate(answered))
    assert said["counts"] == {"succeeded": rows}
    assert books_agree(home)


def _kill_once(
    typed: list[object], home: Path, *, when: Callable[[], bool], moment: float = 0.0
) -> None:
    process = start(*typed, home=home)
    until(lambda: when() or process.poll() is not None, what="the moment to kill")
    time.sleep(moment)
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
        if batch.trial:
            continue  # its rows are asked once more, and that counts
        lines = committed_lines(folder, batch.id, batch.journal)
        numbers = [number_of(line) for *_, line in lines]
        if len(numbers) != batch.answered or len(set(numbers)) != len(numbers):
            return False
        standing.update(numbers)
    retried = sum(sum(batch.retried.values()) for batch in workspace.store.batches(run.id))
    workspace.store.close()
    return (
        sorted(standing) == list(range(run.requests)) and standing.total() == run.requests + retried
    )
