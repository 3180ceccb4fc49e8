"""What is said at the end of a run, for people and for machines."""

import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from ..core.states import OUTCOMES
from ..engine.events import Progress
from ..engine.workspace import Report
from .progress import outcomes

_STYLES = {"ok": "green", "partial": "yellow", "cancelled": "yellow", "running": "yellow"}


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def progress_json(progress: Progress) -> dict[str, Any]:
    """A run, as machines read it."""
    run = progress.run
    return {
        "id": run.id,
        "status": progress.status,
        "why": run.why,
        "source": run.source,
        "model": _model(progress),
        "api": run.spec.api,
        "created_at": run.created_at.isoformat(),
        "ended_at": None if run.ended_at is None else run.ended_at.isoformat(),
        "total": run.total,
        "skipped": run.skipped,
        "pending": run.total - progress.done,
        "counts": progress.counts,
        "wave": run.wave,
        "tokens_in": progress.usage.tokens_in,
        "tokens_out": progress.usage.tokens_out,
        "tokens_cached": progress.usage.cached,
    }


def report_json(report: Report, *, out: str | None) -> dict[str, Any]:
    """A report, as machines read it."""
    return {
        **progress_json(report.progress),
        "repeated_at_most": report.repeated,
        "errors": [{"message": message, "count": count} for message, count in report.errors],
        "out": out,
    }


def _model(progress: Progress) -> str:
    spec = progress.run.spec
    return spec.provider if spec.model is None else f"{spec.provider}/{spec.model}"


def print_report(report: Report, *, out: str | None, interrupted: bool) -> None:
    """The end of a run in a few lines on stderr."""
    progress, run = report.progress, report.progress.run
    console = Console(stderr=True, highlight=False)
    style = _STYLES.get(progress.status, "red")
    head = Text.assemble((progress.status, f"bold {style}"), f"  run {run.id}: {_sums(progress)}")
    console.print(head, soft_wrap=True)
    for line in _lines(report, out=out, interrupted=interrupted):
        console.print(Text("  " + line), soft_wrap=True)


def _sums(progress: Progress) -> str:
    pending = progress.run.total - progress.done
    said = [f"{progress.run.total:,} rows", outcomes(progress)]
    if pending:
        said.append(f"{pending:,} not answered yet")
    return " = ".join([said[0], " + ".join(filter(None, said[1:]))])


def _lines(report: Report, *, out: str | None, interrupted: bool) -> list[str]:
    progress, run = report.progress, report.progress.run
    usage = progress.usage
    cached = f" ({usage.cached:,} of them cached)" if usage.cached else ""
    said = [f"{usage.tokens_in:,} tokens in{cached}, {usage.tokens_out:,} out"]
    if run.skipped:
        said.append(f"{run.skipped:,} bad rows were left out")
    if report.repeated:
        said.append(f"after a crash at most {report.repeated:,} calls were made a second time")
    said += [f"{count:,} × {message}" for message, count in report.errors]
    if out not in (None, "-"):
        said.append(f"written to {out}")
    said += _ways_on(report, interrupted=interrupted)
    return said


def _ways_on(report: Report, *, interrupted: bool) -> list[str]:
    """What the user can do next, where there is something."""
    progress, run = report.progress, report.progress.run
    if progress.status == "stopped":
        return [f"stopped: {run.why}. Mend that and run the same command again; it goes on"]
    if interrupted or progress.status == "running":
        return ["nothing is lost: run the same command again and it goes on"]
    failed = [o for o in progress.counts if o != "succeeded" and OUTCOMES[o].again != "never"]
    if failed:
        return [f"ask again with: anybatch retry {run.id} --only {','.join(failed)}"]
    return []
