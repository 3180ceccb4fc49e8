"""The commands that change a run: retry, cancel, rm."""

import sys
from pathlib import Path
from typing import Any, get_args

from ..core.model import Run
from ..core.states import Outcome
from ..engine.workspace import Pace, Workspace
from ..errors import UsageError
from .ask import agreed, agreed_to_send, somebody_is_there
from .leftovers import remove, unfetched
from .progress import counted, outcomes
from .report import print_json
from .work import INTERRUPTED, Delivery, find_here, is_at_work, work_on


def retry_command(
    word: str, only: str, store: Path | None, *, pace: Pace, delivery: Delivery, yes: bool
) -> int:
    """Plan a wave of the rows with these outcomes and work on it; the exit code."""
    wanted = _outcomes(only)
    delivery.check()
    if obstacle := delivery.obstacle():
        raise obstacle
    workspace, run = find_here(word, store)
    _check_there_are(wanted, workspace, run)
    count = workspace.retriable(run, wanted)
    if not yes and not agreed_to_send(workspace, run, count, "rows again"):
        raise UsageError("nothing was sent")
    planned = workspace.retry(run, wanted)
    print(f"run {run.id}: asks again for {counted(planned, 'row')}", file=sys.stderr)
    return work_on(workspace, workspace.store.run(run.id), pace=pace, delivery=delivery)


def _check_there_are(wanted: frozenset[Outcome], workspace: Workspace, run: Run) -> None:
    look = workspace.progress(run)
    if wanted.isdisjoint(look.counts):
        raise UsageError(
            f"run {run.id} has no rows that are {' or '.join(sorted(wanted))}; "
            f"it has {outcomes(look) or 'no answers yet'}"
        )


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
    workspace, run = find_here(word, store)
    if run.state == "ended":
        print(f"run {run.id} is over; there is nothing to cancel", file=sys.stderr)
    workspace.check_account(run)
    run = workspace.ask_to_cancel(run)
    delivery = Delivery(out=None, force=False, raw=False, as_json=as_json)
    code = work_on(workspace, run, pace=Pace(), delivery=delivery)
    return INTERRUPTED if code == INTERRUPTED else 0


def rm_command(word: str, store: Path | None, *, yes: bool, as_json: bool) -> None:
    """Delete a run nobody works on."""
    workspace, run = find_here(word, store)
    if is_at_work(workspace, run):
        raise UsageError(f"run {run.id} is being worked on; `anybatch cancel {run.id}` first")
    paid = _paid(workspace, run)
    if not yes and not somebody_is_there():
        raise UsageError(f"{paid}say --yes to forget run {run.id}: nobody is there to be asked")
    if not yes and not agreed(f"{paid}Forget run {run.id} of {run.source!r} with its answers?"):
        raise UsageError(f"run {run.id} is kept")
    left = remove(workspace, run)
    workspace.store.delete(run.id)
    if as_json:
        print_json({"id": run.id, "removed": True, "left_there": left})
        return
    print(f"run {run.id} is gone", file=sys.stderr)
    if left is not None:
        print(
            f"left at {run.spec.provider}: {left}. See what is there with: "
            f"anybatch gc --remote {run.spec.provider}",
            file=sys.stderr,
        )


def _paid(workspace: Workspace, run: Run) -> str:
    """What would be lost of a run at its provider, and the way out; empty where nothing would."""
    there = unfetched(workspace.store.batches(run.id))
    if not there:
        return ""
    return (
        f"{counted(len(there), 'batch', 'batches')} of run {run.id} at {run.spec.provider} will "
        f"be paid for, with answers that are not here yet; `anybatch cancel {run.id}` ends and "
        "fetches them. "
    )
