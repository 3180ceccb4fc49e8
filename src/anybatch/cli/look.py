"""The commands that look: runs, status, watch, results, show-request."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from ..core.model import Run
from ..datasets.sink import check_sink
from ..engine.events import Progress, code_of
from ..engine.workspace import Workspace
from ..errors import UsageError
from .batches import About, batch_json, print_batches, table
from .progress import counted, display, outcomes
from .report import print_json, print_report, progress_json, report_json
from .work import find_here, has_runs, is_at_work, open_here, settings_here, status_here

_WATCH_EVERY_S = 0.5
_NAMED = 3
_IDLE = "for a process to take it up again"
_JSON_TO_STDOUT = "-:jsonl"


def runs_command(store: Path | None, *, as_json: bool) -> None:
    """A table of runs, or a JSON array."""
    settings = settings_here(store)
    workspace = open_here(store) if has_runs(settings) else None
    looks = [] if workspace is None else _looks_at_all(workspace)
    if as_json:
        print_json([progress_json(look, status=status) for look, status in looks])
        return
    if not looks:
        print(f"there are no runs in {str(settings.home)!r} yet", file=sys.stderr)
        return
    shown = table("run", "status", "started", "source", "model", "rows", "outcomes")
    for look, status in looks:
        said = progress_json(look)
        started = look.run.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        if look.waiting is not None:
            status = f"{status}, waits: {look.waiting}"
        cells = (look.run.id, status, started, look.run.source, said["model"])
        shown.add_row(*map(Text, (*cells, f"{look.run.total:,}", outcomes(look))))
    _console().print(shown)


def _looks_at_all(workspace: Workspace) -> list[tuple[Progress, str]]:
    """Each run, and what it is."""
    _say_strays(workspace)
    looks = [workspace.progress(run) for run in workspace.store.runs()]
    return [(look, status_here(workspace, look)) for look in looks]


def _say_strays(workspace: Workspace) -> None:
    """A line on stderr where there are folders of runs that the database does not know."""
    names = [path.name for path in workspace.store.strays()]
    if names:
        more = ", …" if len(names) > _NAMED else ""
        where = str(workspace.settings.home / "runs")
        print(
            f"{counted(len(names), 'folder')} in {where!r} of no run that the database knows: "
            f"{', '.join(names[:_NAMED])}{more}. Restore anybatch.db from a backup, or remove them",
            file=sys.stderr,
        )


def status_command(word: str, store: Path | None, *, as_json: bool) -> None:
    """One run and its batches."""
    workspace, run = find_here(word, store)
    look = workspace.progress(run)
    batches, now = workspace.store.batches(run.id), workspace.clock.now()
    if as_json:
        about = about_batches(workspace, run)
        said = [batch_json(batch, about, now) for batch in batches]
        status = status_here(workspace, look)
        print_json({**progress_json(look, status=status), "batches": said})
        return
    console = _console()
    print_report(workspace.report(run), on=console, at_work=is_at_work(workspace, run))
    print_batches(batches, about_batches(workspace, run), on=console, now=now)


def about_batches(workspace: Workspace, run: Run) -> About:
    """What is known of all batches of `run` together."""
    return About(usual=workspace.usual(run), held=workspace.held(run))


def _console() -> Console:
    """Stdout; as wide as it takes where nobody sees its edge."""
    return Console(width=None if sys.stdout.isatty() else 10_000)


def watch_command(word: str, store: Path | None, *, as_json: bool) -> int:
    """Show progress until the run is over; its exit code."""
    workspace, run = find_here(word, store)
    if as_json:
        _watch_as_json(workspace, run)
    else:
        with display(sys.stderr) as show:
            for look in _looks(workspace, run):
                show.update(look)
        print_report(workspace.report(workspace.store.run(run.id)))
    look = workspace.progress(workspace.store.run(run.id))
    return code_of(look)


def _watch_as_json(workspace: Workspace, run: Run) -> None:
    """A line whenever something has changed; the last one tells all that the report does."""
    before = None
    for look in _looks(workspace, run):
        said = {**progress_json(look), "waiting": look.waiting}
        if said != before:
            print_json(said)
        before = said
    report = workspace.report(workspace.store.run(run.id))
    print_json({**report_json(report, out=None), "waiting": None})


def _looks(workspace: Workspace, run: Run) -> Iterator[Progress]:
    """A look at `run` twice a second, for as long as it is not over."""
    while True:
        run = workspace.store.run(run.id)
        look = workspace.progress(run)
        if look.status != "running":
            return
        yield look if is_at_work(workspace, run) else replace(look, waiting=_IDLE)
        time.sleep(_WATCH_EVERY_S)


def results_command(
    word: str, store: Path | None, out: str | None, *, force: bool, raw: bool, as_json: bool
) -> int:
    """Write the joined table; the run's exit code."""
    if as_json and out not in (None, "-"):
        raise UsageError(f"--json writes to stdout and -o to {out!r}; give one of them")
    out = _JSON_TO_STDOUT if as_json else out or "-"
    check_sink(out, force=True)
    workspace, run = find_here(word, store)
    if not workspace.deliver(run, out, force=force, raw=raw):
        print(f"{out} holds this table already", file=sys.stderr)
    look = workspace.progress(run)
    return code_of(look)


def show_request_command(word: str, n: int, store: Path | None, *, as_json: bool) -> None:
    """The bytes of one request on stdout, and a newline only for a terminal."""
    workspace, run = find_here(word, store)
    request = workspace.request(run, n)
    if as_json:
        body = msgspec.Raw(request.body)
        print_json({"run": run.id, "n": n, "api": run.spec.api, "body": body})
        return
    sys.stdout.buffer.write(request.body)
    if sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
