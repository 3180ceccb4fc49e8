"""What must hold of a world once a process in it came to its end, whatever happened before."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from anybatch.core.model import Batch, Counts, Run, Usage
from anybatch.core.retry import rows
from anybatch.engine.events import repeated
from anybatch.store.journal import committed_lines
from anybatch.store.store import Store
from anybatch.wire.jsonl import read_result

from .harness import CALLS, World


def broken_promises(world: World, *, outcomes: Counts | None = None, repeats: int = 0) -> list[str]:
    """One line for each promise that does not hold; `outcomes` None: every row succeeded.

    `repeats` are the calls that were made again on purpose.
    """
    workspace = world.open()
    store = workspace.store
    try:
        runs = store.runs()
        if len(runs) != 1:
            return [f"there are {len(runs)} runs"]
        return [
            *_run_has_ended(store, runs[0], outcomes or {"succeeded": len(world.rows)}),
            *_journals_and_database_agree(store, runs[0]),
            *_nothing_is_left_over(world, store),
            *_each_row_came_out_once(world),
            *_no_more_was_repeated_than_reported(world, store, runs[0], repeats),
            *_nothing_was_paid_twice(world),
        ]
    finally:
        store.close()


def _run_has_ended(store: Store, run: Run, outcomes: Counts) -> Iterator[str]:
    if run.state != "ended":
        yield f"the run is {run.state}, not ended"
    batches = store.batches(run.id)
    if rows(batches) != outcomes:
        yield f"outcomes are {rows(batches)}, not {outcomes}"
    for batch in batches:
        over = "collected" if batch.remote is None else "cleaned"
        if batch.status != over or batch.owner is not None:
            yield f"batch {batch.id} is {batch.status}, owned by {batch.owner}"


def _journals_and_database_agree(store: Store, run: Run) -> Iterator[str]:
    for batch in store.batches(run.id):
        yield from _journal_and_row_agree(store, batch)


def _journal_and_row_agree(store: Store, batch: Batch) -> Iterator[str]:
    folder = store.folder(batch.run_id)
    lines = committed_lines(folder, batch.id, batch.journal)
    results = [read_result(line) for _, _, line in lines]
    counts = Counter(result.outcome for result in results)
    if counts != batch.counts:
        yield f"batch {batch.id} counts {batch.counts}, its journal {dict(counts)}"
    if len({result.n for result in results}) != batch.size or len(results) != batch.size:
        yield f"batch {batch.id} of {batch.size} holds {sorted(r.n for r in results)}"
    if sum((result.usage for result in results), Usage()) != batch.usage:
        yield f"batch {batch.id} used {batch.usage}, its journal says otherwise"


def _nothing_is_left_over(world: World, store: Store) -> Iterator[str]:
    planned = {path.name for path in (store.root / "runs").iterdir()}
    if others := planned - {run.id for run in store.runs()}:
        yield f"{others} belong to no run"
    written = [path.name for path in world.out.parent.iterdir()]
    if written != [world.out.name]:
        yield f"the output folder holds {written}"


def _each_row_came_out_once(world: World) -> Iterator[str]:
    written = [msgspec.json.decode(line) for line in world.out.read_bytes().splitlines()]
    if [row["text"] for row in written] != [row["text"] for row in world.rows]:
        yield f"rows came out as {[row['text'] for row in written]}"
    for row in written if world.says is not None else ():
        answer = world.says(row) if row["_outcome"] == "succeeded" else None
        if row["answer"] != answer:
            yield f"row {row['text']!r} is {row['_outcome']} with {row['answer']!r}"


def _no_more_was_repeated_than_reported(
    world: World, store: Store, run: Run, repeats: int
) -> Iterator[str]:
    reported = repeated(store.events(run.id))
    if world.repeated > reported + repeats:
        yield f"{world.repeated} calls were repeated, reported are at most {reported}"
    batches_at_once = 2
    window = CALLS if world.endpoint is None else 2 * CALLS
    most = (world.lives - 1) * batches_at_once * window
    if reported > most:
        yield f"{reported} calls are said to be repeated, but {most} is the most there can be"


def _nothing_was_paid_twice(world: World) -> Iterator[str]:
    """What a provider of batches says: what it billed, and what still lies there."""
    if world.service is None:
        return
    ledger = world.service.ledger
    billed = Counter(batch.input_sha for batch in ledger.batches if batch.billed)
    if any(times > 1 for times in billed.values()):
        yield f"batches were submitted twice, and billed: {billed}"
    if ledger.billed_twice:
        yield f"{len(ledger.billed_twice)} rows were billed twice"
    if ledger.leftover_files:
        yield f"files were left there: {[file.filename for file in ledger.leftover_files]}"
