"""Working on a run from a terminal: signals, progress, delivery, the report."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .. import loops
from ..core.model import Run
from ..datasets.sink import STDOUT, check_sink
from ..engine.compare import begin
from ..engine.events import Progress, Report, code_of
from ..engine.workspace import Pace, Workspace, open_workspace
from ..errors import OutputExists, UnknownRun, UsageError
from ..settings import Settings, load
from ..store.sqlite import DATABASE
from .ask import wants_to_cancel
from .leave import INTERRUPTED, heed_signals, heeded, leave
from .progress import Display, Sums, display
from .report import print_json, print_report, report_json, way_back

__all__ = ["INTERRUPTED", "Delivery", "Pace", "is_at_work", "open_here", "work_on", "work_on_all"]

WAITING = "waiting"

_PATIENCE_S = 4.6
"""The engine drains for four seconds; what hangs on longer is not waited for, and is reported."""
_LATEST_S = 4.8
"""Then we are gone, if even a report takes too long."""

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
    return open_workspace(settings_here(store))


def find_here(word: str, store: Path | None) -> tuple[Workspace, Run]:
    """The same, and a run in it. Raises UnknownRun; a store is not made to look into it."""
    settings = settings_here(store)
    if not has_runs(settings):
        raise UnknownRun(
            f"there is no run {word!r}: nothing was ever kept in {str(settings.home)!r}. Name the "
            "store with --store; `anybatch runs` lists what is in it"
        )
    workspace = open_workspace(settings)
    return workspace, workspace.store.find_run(word)


def settings_here(store: Path | None) -> Settings:
    return load(folder=Path.cwd(), environment=os.environ, store=store)


def has_runs(settings: Settings) -> bool:
    """Whether there is a store, which may be empty, or something that keeps us from knowing."""
    try:
        return (settings.home / DATABASE).exists()
    except OSError:
        return True


def is_at_work(workspace: Workspace, run: Run) -> bool:
    """Whether another process works on `run`, as far as we can see."""
    return workspace.alive(
        {batch.owner for batch in workspace.store.batches(run.id) if batch.owner}
    )


def status_here(workspace: Workspace, look: Progress) -> str:
    """What a run is, as a command line sees it: `waiting` where nobody works on its rows."""
    if look.status != "running" or is_at_work(workspace, look.run):
        return look.status
    return look.status if workspace.is_at_provider(look.run) else WAITING


def work_on(workspace: Workspace, run: Run, *, pace: Pace, delivery: Delivery) -> int:
    """Work on `run` until it is over or interrupted, deliver it, report it; the exit code.

    Raises what kept the table from being written once the report is out.
    """
    interrupted = detached = False
    if run.state in ("open", "cancelling"):
        run, interrupts = _fulfil(workspace, run, pace=pace, delivery=delivery)
        interrupted = interrupts.came and run.state == "open"
        detached = interrupted and workspace.is_at_provider(run)
        if detached and interrupts.asks_to_cancel():
            run = workspace.ask_to_cancel(run)
            run, _ = _fulfil(workspace, run, pace=pace, delivery=delivery)
            interrupted = detached = False
    delivered = _deliver(workspace, run, delivery)
    report = workspace.report(run)
    status = status_here(workspace, report.progress)
    _tell(report, status, delivery, delivered, interrupted=interrupted, detached=detached)
    if delivered.failure is not None:
        raise delivered.failure
    return INTERRUPTED if interrupted else code_of(report.progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivered:
    """What became of the table."""

    out: str | None = None
    """Where it is."""
    said: str | None = None
    failure: Exception | KeyboardInterrupt | None = None


def _tell(
    report: Report,
    status: str,
    delivery: Delivery,
    delivered: _Delivered,
    *,
    interrupted: bool,
    detached: bool,
) -> None:
    """The report, on stdout as JSON or on stderr."""
    if detached:
        print(f"detached: {way_back(report.progress.run)}", file=sys.stderr)
    if delivery.as_json:
        print_json(report_json(report, status=status, out=delivered.out))
    else:
        print_report(report, table=delivered.said, interrupted=interrupted, detached=detached)


def _tell_of_what_hangs(workspace: Workspace, run: Run, delivery: Delivery) -> None:
    """The report of a run that is interrupted, and of which something does not end."""
    report = workspace.report(workspace.store.run(run.id))
    status = status_here(workspace, report.progress)
    detached = workspace.is_at_provider(run)
    _tell(report, status, delivery, _Delivered(), interrupted=True, detached=detached)


def _deliver(workspace: Workspace, run: Run, delivery: Delivery) -> _Delivered:
    out = delivery.out
    if out is None or run.state != "ended":
        return _Delivered()
    try:
        is_new = workspace.deliver(run, out, force=delivery.force, raw=delivery.raw)
    except (Exception, KeyboardInterrupt) as e:
        return _Delivered(
            said=f"the table is not written; get it with: anybatch results {run.id} -o FILE",
            failure=e,
        )
    if out == "-":
        return _Delivered(out=out)
    return _Delivered(
        out=out, said=f"written to {out}" if is_new else f"{out} holds this table already"
    )


def _fulfil(
    workspace: Workspace, run: Run, *, pace: Pace, delivery: Delivery
) -> tuple[Run, "_Interrupts"]:
    """Work on `run`; the run as it is then, and what came in between."""
    with display(sys.stderr) as show:
        hung = partial(_tell_of_what_hangs, workspace, run, delivery)
        interrupts = _Interrupts(show, way_on=way_back(run), hung=hung)

        async def fulfil() -> Run:
            interrupts.watch()
            return await workspace.fulfil(
                run, stop=interrupts.stop, pace=pace, on_progress=show.update
            )

        fulfilled = loops.run(fulfil())
        if interrupts.came:
            interrupts.watch_on(is_over=fulfilled.state != "open")
        else:
            heed_signals()
    return fulfilled, interrupts


def work_on_all(workspace: Workspace, runs: Sequence[Run], *, pace: Pace) -> tuple[list[Run], bool]:
    """Work on several runs until all are over or somebody interrupts; and whether somebody has.

    They go on at the same time, but for those that one provider answers in real time: its limits
    hold for them together, so they go one after the other. Reports each; raises what ended one.
    """
    quiet = Delivery(out=None, force=False, raw=False, as_json=False)

    def hung() -> None:
        for run in runs:
            _tell_of_what_hangs(workspace, run, quiet)

    with display(sys.stderr) as show:
        interrupts = _Interrupts(show, way_on="type the same command again", hung=hung)
        sums = Sums(show, map(workspace.progress, runs))

        async def fulfil(queue: Sequence[Run]) -> None:
            for run in queue:
                if run.state not in ("open", "cancelling") or interrupts.stop.is_set():
                    continue
                begin(workspace, run)
                fulfilled = await workspace.fulfil(
                    run, stop=interrupts.stop, pace=pace, on_progress=sums.update
                )
                if fulfilled.state == "stopped":
                    return  # what stopped it, such as a wrong key, is there for the next one, too

        async def fulfil_all() -> list[BaseException | None]:
            interrupts.watch()
            ended = (_or_stop(fulfil(queue), interrupts.stop) for queue in _queues(runs))
            return await asyncio.gather(*ended, return_exceptions=True)

        errors = [error for error in loops.run(fulfil_all()) if error is not None]
        if interrupts.came:
            interrupts.watch_on(is_over=False)
        else:
            heed_signals()
    if errors:
        raise errors[0]
    now = [workspace.store.run(run.id) for run in runs]
    for run in now:
        _tell_end(workspace, run, quiet, interrupted=interrupts.came and run.state == "open")
    return now, interrupts.came


def _queues(runs: Sequence[Run]) -> list[list[Run]]:
    """Those that go one after the other."""
    queues: dict[str, list[Run]] = {}
    for run in runs:
        by_batch = run.spec.executor == "batch"
        queues.setdefault(run.id if by_batch else f"at {run.spec.provider}", []).append(run)
    return list(queues.values())


async def _or_stop(work: Awaitable[None], stop: asyncio.Event) -> None:
    """Have the others stop, too, if this is ended by an error."""
    try:
        await work
    except BaseException:
        stop.set()
        raise


def _tell_end(workspace: Workspace, run: Run, delivery: Delivery, *, interrupted: bool) -> None:
    report = workspace.report(run)
    status = status_here(workspace, report.progress)
    detached = interrupted and workspace.is_at_provider(run)
    _tell(report, status, delivery, _Delivered(), interrupted=interrupted, detached=detached)


class _Interrupts:
    """What Ctrl-C, SIGTERM and the end of the terminal do while a run is worked on.

    The first one sets `stop`, a later one leaves at once. What does not end for all that is `hung`:
    it is told, and left.
    """

    def __init__(self, show: Display, *, way_on: str, hung: Callable[[], None]) -> None:
        self.stop = asyncio.Event()
        self._show = show
        self._way_on = way_on
        self._hung = hung
        self._first_at: float | None = None
        self._is_typed = False
        """Whether the first one was a Ctrl-C, by somebody who may be asked."""
        # A thread, because whatever hangs may hang in the loop.
        self._latest = threading.Timer(_LATEST_S, self._leave, ("left with something unfinished",))
        self._latest.daemon = True

    @property
    def came(self) -> bool:
        return self._first_at is not None

    def watch(self) -> None:
        """Heed them in the running loop, until it closes."""
        loop = asyncio.get_running_loop()
        for number in heeded():
            loop.add_signal_handler(number, self._heed, number)

    def watch_on(self, *, is_over: bool) -> None:
        """Heed them without a loop: the second of two at once must not cost us the report.

        The table of a run that `is_over` takes the time that it takes.
        """
        if is_over:
            self._latest.cancel()
        for number in heeded():
            signal.signal(number, self._break_off)

    def asks_to_cancel(self) -> bool:
        """Whether somebody wants to have the run cancelled rather than left. Ctrl-C says no."""
        if not self._is_typed:
            return False
        self._latest.cancel()
        return wants_to_cancel()

    def _break_off(self, number: int, frame: FrameType | None) -> None:
        if not self._is_same():
            raise KeyboardInterrupt

    def _heed(self, number: int) -> None:
        if self._first_at is None:
            self._is_typed = number == signal.SIGINT
            self._stop()
        elif not self._is_same():
            self._leave("left at once")

    def _is_same(self) -> bool:
        """Whether a signal that comes now counts as the first one."""
        return self._first_at is not None and time.monotonic() < self._first_at + _AS_ONE_S

    def _stop(self) -> None:
        self._first_at = time.monotonic()
        self._latest.start()
        self._show.say(
            "stopping: what is in flight may finish, 4 s at most; once more leaves at once"
        )
        self.stop.set()
        asyncio.get_running_loop().call_later(_PATIENCE_S, self._give_up)

    def _give_up(self) -> None:
        self._show.end()
        self._hung()
        leave(INTERRUPTED)

    def _leave(self, how: str) -> NoReturn:
        self._show.say(f"{how}; {self._way_on}")
        self._show.end()
        leave(INTERRUPTED)
