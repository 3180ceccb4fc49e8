"""Working on a run from a terminal: signals, progress, delivery, the report."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .. import loops
from ..core.model import Run
from ..core.states import exit_code
from ..datasets.sink import STDOUT, check_sink
from ..engine.workspace import Pace, Workspace, open_workspace
from ..errors import OutputExists, UsageError
from ..settings import load
from .ask import wants_to_cancel
from .leave import leave
from .progress import Display, display
from .report import print_json, print_report, report_json, way_back

__all__ = ["INTERRUPTED", "Delivery", "Pace", "is_at_work", "open_here", "work_on"]

INTERRUPTED = 130
_PATIENCE_S = 6.0
"""The engine drains for four seconds; what hangs on longer, such as a model, is not waited for."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AS_ONE_S = 0.5
"""Within so long, several are one: `timeout` and terminals signal the process and its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where the joined table goes, and how we talk about it."""

    out: str | None
    force: bool
    raw: bool
    as_json: bool

    def check(self, *, reads: Iterable[str | int] = ()) -> None:
        """Raise UsageError before any work is done for nothing.

        `reads` are the files that are read, by name or descriptor: none of them may be written.
        """
        if self.as_json and self.out == "-":
            raise UsageError("--json and -o - both write to stdout; give one of them")
        if self.out is None:
            return
        check_sink(self.out, force=True)
        if self.out not in STDOUT and any(_is_same_file(self.out, file) for file in reads):
            raise UsageError(f"-o {self.out!r} is a file that is read; give the table another name")

    def obstacle(self) -> OutputExists | None:
        """What to raise about a file that is in the way."""
        try:
            if self.out is not None:
                check_sink(self.out, force=self.force)
        except OutputExists as e:
            return e
        return None


def _is_same_file(out: str, file: str | int) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samefile(out, file)
    return False


def open_here(store: Path | None) -> Workspace:
    """The workspace that this folder, this environment and `--store` name."""
    return open_workspace(load(folder=Path.cwd(), environment=os.environ, store=store))


def is_at_work(workspace: Workspace, run: Run) -> bool:
    """Whether another process works on `run`, as far as we can see."""
    return workspace.alive(
        {batch.owner for batch in workspace.store.batches(run.id) if batch.owner}
    )


def work_on(workspace: Workspace, run: Run, *, pace: Pace, delivery: Delivery) -> int:
    """Work on `run` until it is over or interrupted, deliver it, report it; the exit code.

    Raises what kept the table from being written once the report is out.
    """
    interrupted = detached = False
    if run.state in ("open", "cancelling"):
        run, interrupts = _fulfil(workspace, run, pace=pace)
        interrupted = interrupts.came and run.state == "open"
        detached = interrupted and workspace.is_at_provider(run)
        if detached and interrupts.asks_to_cancel():
            run, _ = _fulfil(workspace, workspace.ask_to_cancel(run), pace=pace)
            interrupted = detached = False
    delivered = _deliver(workspace, run, delivery)
    report = workspace.report(run)
    if detached:
        print(f"detached: {way_back(run)}", file=sys.stderr)
    if delivery.as_json:
        print_json(report_json(report, out=delivered.out))
    else:
        print_report(report, table=delivered.said, interrupted=interrupted, detached=detached)
    if delivered.failure is not None:
        raise delivered.failure
    return INTERRUPTED if interrupted else exit_code(report.progress.status, report.progress.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivered:
    """What became of the table."""

    out: str | None = None
    """Where it is."""
    said: str | None = None
    failure: Exception | None = None


def _deliver(workspace: Workspace, run: Run, delivery: Delivery) -> _Delivered:
    out = delivery.out
    if out is None or run.state != "ended":
        return _Delivered()
    try:
        is_new = workspace.deliver(run, out, force=delivery.force, raw=delivery.raw)
    except BrokenPipeError:
        raise
    except Exception as e:
        return _Delivered(
            said=f"the table is not written; get it with: anybatch results {run.id} -o FILE",
            failure=e,
        )
    if out == "-":
        return _Delivered(out=out)
    return _Delivered(
        out=out, said=f"written to {out}" if is_new else f"{out} holds this table already"
    )


def _fulfil(workspace: Workspace, run: Run, *, pace: Pace) -> tuple[Run, "_Interrupts"]:
    """Work on `run`; the run as it is then, and what came in between."""
    with display(sys.stderr) as show:
        interrupts = _Interrupts(show, way_on=way_back(run))

        async def fulfil() -> Run:
            interrupts.watch()
            return await workspace.fulfil(
                run, stop=interrupts.stop, pace=pace, on_progress=show.update
            )

        fulfilled = loops.run(fulfil())
        if interrupts.came:
            interrupts.watch_on()
    return fulfilled, interrupts


class _Interrupts:
    """What Ctrl-C and SIGTERM do: the first one sets `stop`, a later one leaves at once."""

    def __init__(self, show: Display, *, way_on: str) -> None:
        self.stop = asyncio.Event()
        self._show = show
        self._way_on = way_on
        self._first_at: float | None = None
        self._is_typed = False
        """Whether the first one was a Ctrl-C, by somebody who may be asked."""

    @property
    def came(self) -> bool:
        return self._first_at is not None

    def watch(self) -> None:
        """Heed them in the running loop, until it closes."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._heed, number)

    def watch_on(self) -> None:
        """Heed them without a loop: the second of two at once must not cost us the report."""
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self._heed(signal.SIGINT))

    def asks_to_cancel(self) -> bool:
        """Whether somebody wants to have the run cancelled rather than left. Ctrl-C says no."""
        if not self._is_typed:
            return False
        before = signal.signal(signal.SIGINT, lambda *_: self._break_off())
        try:
            return wants_to_cancel()
        finally:
            signal.signal(signal.SIGINT, before)

    def _break_off(self) -> None:
        if not self._is_same():
            raise KeyboardInterrupt

    def _heed(self, number: int) -> None:
        if self._first_at is None:
            self._is_typed = number == signal.SIGINT
            self._stop()
        elif not self._is_same():
            self._leave()

    def _is_same(self) -> bool:
        """Whether a signal that comes now counts as the first one."""
        return self._first_at is not None and time.monotonic() < self._first_at + _AS_ONE_S

    def _stop(self) -> None:
        self._first_at = time.monotonic()
        self._show.say(
            "stopping: what is in flight may finish, 4 s at most; once more leaves at once"
        )
        self.stop.set()
        asyncio.get_running_loop().call_later(_PATIENCE_S, self._leave)

    def _leave(self) -> NoReturn:
        self._show.say(f"left at once; {self._way_on}")
        self._show.end()
        leave(INTERRUPTED)
