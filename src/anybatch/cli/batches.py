"""How the batches of a run are shown: those answered call by call, and those at a provider."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..core.model import Batch, Remote
from .progress import span

_OVER = ("collected", "cleaned")


def table(*names: str) -> Table:
    """An empty table that keeps every word, however narrow the terminal is."""
    empty = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        empty.add_column(name, overflow="fold")
    return empty


def batch_json(batch: Batch, now: datetime) -> dict[str, Any]:
    """A batch, as machines read it: as it is stored, and where it is at a provider."""
    said: dict[str, Any] = msgspec.to_builtins(batch)
    return {**said, **_there(batch, now)} if batch.executor == "batch" else said


def _there(batch: Batch, now: datetime) -> dict[str, Any]:
    """What is known of a batch at its provider. Where there is nothing to wait for, it is null."""
    remote, is_over = batch.remote or Remote(), batch.status in _OVER
    sent = remote.sent_at
    return {
        "remote_id": remote.id,
        "remote_status": remote.status,
        "done": batch.answered if is_over else remote.done,
        "submitted_at": None if sent is None else sent.isoformat(),
        "age_s": None if sent is None or is_over else max(0, round((now - sent).total_seconds())),
        "next_look_s": None if batch.status == "cleaned" else _until(batch, now),
        "why": remote.why,
    }


def _until(batch: Batch, now: datetime) -> int:
    """In so many seconds the next step is due."""
    return 0 if batch.due is None else max(0, round((batch.due - now).total_seconds()))


def print_batches(batches: Sequence[Batch], *, on: Console, now: datetime) -> None:
    """A line for each batch; several for each where the terminal has no room for one."""
    called = [batch for batch in batches if batch.executor != "batch"]
    there = [(batch, _there(batch, now)) for batch in batches if batch.executor == "batch"]
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
        cells = (batch.id, str(batch.wave), batch.status, answered, owner, retried)
        shown.add_row(*map(Text, cells))
    return shown


def _print_there(there: Sequence[tuple[Batch, dict[str, Any]]], on: Console) -> None:
    shown = table("batch", "status", "remote id", "there", "done", "age", "next look", "why")
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
    age, look = said["age_s"], said["next_look_s"]
    return (
        batch.id,
        batch.status,
        said["remote_id"] or "",
        said["remote_status"] or "",
        f"{said['done']:,}/{batch.size:,}",
        "" if age is None else span(age),
        "" if look is None else f"in {span(look)}" if look else "due",
        said["why"] or "",
    )


def _print_stacked(cells: tuple[str, ...], on: Console) -> None:
    """The same, over as many lines as it takes."""
    name, status, remote_id, word, done, age, look, why = cells
    on.print(Text.assemble((name, "bold"), f" {status}"))
    words = (word, done, age and f"{age} old", look and f"next look {look}")
    for line in (remote_id, " · ".join(filter(None, words)), why):
        if line:
            on.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2)))
