"""Working on a run from a terminal: signals, progress, delivery, the report."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..core.model import Run
from ..core.states import exit_code
from ..datasets.sink import check_sink
from ..engine.workspace import Pace, Workspace, open_workspace
from ..errors import UsageError
from ..settings import load
from .leave import leave
from .progress import Display, display
from .report import print_json, print_report, report_json

__all__ = ["Delivery", "Pace", "is_at_work", "open_here", "work_on"]

_INTERRUPTED = 130
_PATIENCE_S = 6.0
"""The engine drains for four seconds; what hangs on longer, such as a model, is not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where the joined table goes, and how we talk about it."""

    out: str | None
    force: bool
    raw: bool
    as_json: bool

    def check(self) -> None:
        """Raise UsageError before any work is done for nothing."""
        if self.as_json and self.out == "-":
            raise UsageError("--json and -o - both write to stdout; give one of them")
        if self.out is not None:
            check_sink(self.out, force=self.force)


def open_here(store: Path | None) -> Workspace:
    """The workspace that this folder, this environment and `--store` name."""
    return open_workspace(load(folder=Path.cwd(), environment=os.environ, store=store))


def is_at_work(workspace: Workspace, run: Run) -> bool:
    """Whether another process works on `run`, as far as we can see."""
    return workspace.alive(
        {batch.owner for batch in workspace.store.batches(run.id) if batch.owner}
    )


def work_on(workspace: Workspace, run: Run, *, pace: Pace, delivery: Delivery) -> int:
    """Work on `run` until it is over or interrupted, deliver it, report it; the exit code."""
    interrupted = False
    if run.state in ("open", "cancelling"):
        with display(sys.stderr) as show:
            run, interrupted = asyncio.run(_fulfil(workspace, run, pace=pace, show=show))
    out = delivery.out if run.state == "ended" else None
    if out is not None:
        workspace.deliver(run, out, force=delivery.force, raw=delivery.raw)
    report = workspace.report(run)
    if delivery.as_json:
        print_json(report_json(report, out=out))
    else:
        print_report(report, out=out, interrupted=interrupted)
    return (
        _INTERRUPTED if interrupted else exit_code(report.progress.status, report.progress.counts)
    )


async def _fulfil(workspace: Workspace, run: Run, *, pace: Pace, show: Display) -> tuple[Run, bool]:
    stop = asyncio.Event()
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:
            go()
        interrupted = True
        show.say("stopping: what is in flight may finish, 4 s at most; once more leaves at once")
        stop.set()
        loop.call_later(_PATIENCE_S, go)

    def go() -> NoReturn:
        show.say("left at once; run the same command again and it goes on")
        show.end()
        leave(_INTERRUPTED)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    run = await workspace.fulfil(run, stop=stop, pace=pace, on_progress=show.update)
    return run, interrupted and run.state == "open"
