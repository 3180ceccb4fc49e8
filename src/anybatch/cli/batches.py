"""How the batches of a run are shown: those answered call by call, and those at a provider."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..core.model import Batch, Remote
from ..core.quota import Quota, reason
from ..core.retry import look_after
from ..core.timing import Usual, span
from ..engine.decide import Clean, Collect, Poll, Recover, Submit, next_step
from ..engine.waiting import remark_on

_OVER = ("collected", "cleaned")


def table(*names: str) -> Table:
    """An empty table that keeps every word, however narrow the terminal is."""
    empty = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        empty.add_column(name, overflow="fold")
    return empty


class About(NamedTuple):
    """What is known of all batches of a run together."""

    usual: Mapping[str, Usual]
    """How long a batch is in each phase at the provider."""
    held: Mapping[str, Quota]
    """Those that may not be submitted yet, by their ids, each with the limit it waits for."""


def batch_json(batch: Batch, about: About, now: datetime) -> dict[str, Any]:
    """A batch, as machines read it: as it is stored, and where it is at a provider."""
    said: dict[str, Any] = msgspec.to_builtins(batch)
    return {**said, **_there(batch, about, now)} if batch.executor == "batch" else said


def _there(batch: Batch, about: About, now: datetime) -> dict[str, Any]:
    """What is known of a batch at its provider. Where there is nothing to wait for, it is null."""
    remote, is_over = batch.remote or Remote(), batch.status in _OVER
    sent = None if is_over else remote.sent_at
    phase = remote.phase_since if batch.status == "running" else None
    usual = about.usual.get(remote.status or "") if batch.status == "running" else None
    is_late = batch.status == "running" and remote.late is not None
    return {
        "remote_id": remote.id,
        "remote_status": remote.status,
        "done": batch.answered if is_over else remote.done,
        "submitted_at": None if remote.sent_at is None else remote.sent_at.isoformat(),
        "age_s": None if sent is None else _since(sent, now),
        "phase_age_s": None if phase is None else _since(phase, now),
        "p50_s": None if usual is None else round(usual.p50.total_seconds()),
        "p95_s": None if usual is None else round(usual.p95.total_seconds()),
        "known": 0 if usual is None else usual.known,
        "late": remote.late.word if is_late and remote.late is not None else None,
        "next": None if batch.status == "cleaned" else _STEPS[type(next_step(batch))],
        "next_look_s": None if batch.status == "cleaned" else round(_until(batch, usual, now)),
        "why": _why(batch, about),
    }


_STEPS: Mapping[type[Any], str] = {
    Submit: "submit",
    Recover: "search",
    Poll: "look",
    Collect: "collect",
    Clean: "clean up",
}
"""The next step, in a word."""


def _since(moment: datetime, now: datetime) -> int:
    return max(0, round((now - moment).total_seconds()))


def _until(batch: Batch, usual: Usual | None, now: datetime) -> float:
    """In so many seconds at most the next step is due.

    A look that saw nothing new is not written down, so of the next one only that much is known.
    """
    due = 0.0 if batch.due is None else max(0.0, (batch.due - now).total_seconds())
    if due or batch.status != "running":
        return due
    since = now - ((batch.remote or Remote()).phase_since or now)
    p50 = None if usual is None else usual.p50
    return look_after(since, usual=p50, jitter=_LATEST).total_seconds()


_LATEST = 1.0


def _why(batch: Batch, about: About) -> str | None:
    """Why it waits, or what is unusual about it."""
    remote = batch.remote or Remote()
    if batch.id in about.held:
        return f"waiting for the {reason(about.held[batch.id])}"
    if remote.late is not None and batch.status == "running":
        return f"{remote.late.word}: {remote.late.why}"
    return remark_on(batch)


def print_batches(batches: Sequence[Batch], about: About, *, on: Console, now: datetime) -> None:
    """A line for each batch; several for each where the terminal has no room for one."""
    called = [batch for batch in batches if batch.executor != "batch"]
    there = [(batch, _there(batch, about, now)) for batch in batches if batch.executor == "batch"]
    if there:
        _print_there(there, on)
    if called:
        on.print(_called(called))


def _called(batches: Sequence[Batch]) -> Table:
    shown = table("batch", "wave", "status", "answered", "owner", "retried")
    for batch in batches:
        answered = f"{batch.answered:,}/{batch.size:,}"
        owner = batch.owner.partition("/")[2] if batch.owner else ""
        retried = f"{sum(batch.retried.values()):,}" if batch.retried else ""
        status = "reused" if batch.reused else batch.status
        cells = (batch.id, str(batch.wave), status, answered, owner, retried)
        shown.add_row(*map(Text, cells))
    return shown


def _print_there(there: Sequence[tuple[Batch, dict[str, Any]]], on: Console) -> None:
    shown = table(
        *("batch", "status", "remote id", "phase", "done", "age", "p50", "p95", "next", "why")
    )
    for batch, said in there:
        shown.add_row(*map(Text, _cells(batch, said)))
    if _width(shown, on) <= on.width:
        on.print(shown)
        return
    for batch, said in there:
        _print_stacked(_cells(batch, said), on)


def _width(shown: Table, on: Console) -> int:
    """How wide it is where nothing has to be folded."""
    return Measurement.get(on, on.options.update(max_width=_ANY_WIDTH), shown).maximum


_ANY_WIDTH = 100_000


def _cells(batch: Batch, said: dict[str, Any]) -> tuple[str, ...]:
    """The age is that in the present phase, as the usual ones beside it are."""
    late = f" ({said['late']})" if said["late"] else ""
    return (
        batch.id,
        batch.status,
        said["remote_id"] or "",
        (said["remote_status"] or "") + late,
        f"{said['done']:,}/{batch.size:,}",
        *(_span(said[key]) for key in ("phase_age_s", "p50_s", "p95_s")),
        _next(said),
        said["why"] or "",
    )


def _span(seconds: int | None) -> str:
    return "" if seconds is None else span(seconds)


def _next(said: dict[str, Any]) -> str:
    step, seconds = said["next"], said["next_look_s"]
    if step is None:
        return ""
    when = "within" if step == _STEPS[Poll] else "in"
    return f"{step} {when} {span(seconds)}" if seconds else f"{step} now"


def _print_stacked(cells: tuple[str, ...], on: Console) -> None:
    """The same, over as many lines as it takes."""
    name, status, remote_id, phase, done, age, p50, p95, step, why = cells
    on.print(Text.assemble((name, "bold"), f" {status}"))
    usual = p50 and f"p50 {p50}, p95 {p95}"
    words = (phase, done, age and f"for {age}", usual, step and f"next: {step}")
    for line in (remote_id, " · ".join(filter(None, words)), why):
        if line:
            on.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2)))
