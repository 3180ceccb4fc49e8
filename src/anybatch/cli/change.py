"""The commands that change a run: retry, cancel, rm."""

import sys
from pathlib import Path
from typing import Any, get_args

import typer

from ..core.states import Outcome
from ..engine.workspace import Pace
from ..errors import UsageError
from .work import Delivery, open_here, work_on


def retry_command(
    word: str, only: str, store: Path | None, *, pace: Pace, delivery: Delivery
) -> int:
    """Plan a wave of the rows with these outcomes and work on it; the exit code."""
    outcomes = _outcomes(only)
    delivery.check()
    workspace = open_here(store)
    run = workspace.store.find_run(word)
    planned = workspace.retry(run, outcomes)
    print(f"run {run.id}: {planned:,} rows are asked again", file=sys.stderr)
    return work_on(workspace, workspace.store.run(run.id), pace=pace, delivery=delivery)


def _outcomes(text: str) -> frozenset[Outcome]:
    names: set[Any] = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(names - set(get_args(Outcome)))
    if unknown or not names:
        raise UsageError(
            f"--only {text!r}: {', '.join(map(repr, unknown)) or 'nothing'} is no outcome; "
            f"use {', '.join(get_args(Outcome))}"
        )
    return frozenset(names)


def cancel_command(word: str, store: Path | None, *, as_json: bool) -> int:
    """Mark the run, and wind it up here unless another process is at it."""
    workspace = open_here(store)
    run = workspace.ask_to_cancel(workspace.store.find_run(word))
    delivery = Delivery(out=None, force=False, raw=False, as_json=as_json)
    work_on(workspace, run, pace=Pace(), delivery=delivery)
    return 0


def rm_command(word: str, store: Path | None, *, yes: bool) -> None:
    """Delete a run nobody works on."""
    workspace = open_here(store)
    run = workspace.store.find_run(word)
    owners = {batch.owner for batch in workspace.store.batches(run.id) if batch.owner}
    if workspace.alive(owners):
        raise UsageError(f"run {run.id} is being worked on; `anybatch cancel {run.id}` first")
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Forget run {run.id} of {run.source!r} with its answers?", abort=True)
    workspace.store.delete(run.id)
    print(f"run {run.id} is gone", file=sys.stderr)
