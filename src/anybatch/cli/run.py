"""`anybatch run`."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import typer

from ..api import Ask
from ..core.model import Api, Run
from ..datasets.source import open_source
from ..engine.workspace import Pace, Planned, Workspace
from ..errors import BadSettings, UsageError
from ..executors.auth import is_on_this_machine
from .work import Delivery, open_here, work_on

_ASK_FROM = 100
"""Runs of fewer rows than this are sent without a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The options of `anybatch run` as they were typed."""

    data: str | None
    prompt: str | None
    system: str | None
    model: str
    base_url: str | None
    api: str
    schema: str | None
    labels: str | None
    fields: tuple[str, ...]
    settings: tuple[str, ...]
    sql: str | None
    bad_rows: str
    concurrency: int | None
    rpm: int | None
    tpm: int | None
    out: str | None
    store: Path | None
    force: bool
    raw: bool
    yes: bool
    again: bool
    as_json: bool


def run_command(wishes: Wishes) -> int:
    """Plan the run or find it, work on it, deliver it; the exit code."""
    ask = _ask(wishes)
    delivery = Delivery(out=wishes.out, force=wishes.force, raw=wishes.raw, as_json=wishes.as_json)
    delivery.check()
    if wishes.data is None and wishes.sql is None:
        raise UsageError("name the data: anybatch run FILE --prompt …, or --sql with a query")
    pace = Pace(concurrency=wishes.concurrency, rpm=wishes.rpm, tpm=wishes.tpm)
    workspace = open_here(wishes.store)
    planned = workspace.plan(
        open_source(wishes.data, sql=wishes.sql),
        ask.spec(),
        pace=pace,
        skip_bad_rows=wishes.bad_rows == "skip",
        again=wishes.again,
    )
    _say_which(planned)
    if planned.is_new and not wishes.yes:
        _confirm(workspace, planned.run)
    return work_on(workspace, workspace.reopen(planned.run), pace=pace, delivery=delivery)


def _ask(wishes: Wishes) -> Ask:
    if wishes.api not in get_args(Api):
        raise BadSettings(f"--api {wishes.api!r} is unknown; use {', '.join(get_args(Api))}")
    if wishes.bad_rows not in ("fail", "skip"):
        raise BadSettings(f"--bad-rows is fail or skip, not {wishes.bad_rows!r}")
    api: Any = wishes.api
    return Ask(
        model=wishes.model,
        prompt=wishes.prompt,
        system=wishes.system,
        schema=wishes.schema,
        labels=tuple(label.strip() for label in wishes.labels.split(",")) if wishes.labels else (),
        fields=wishes.fields,
        api=api,
        base_url=wishes.base_url,
        parameters=dict(map(_parameter, wishes.settings)),
    )


def _parameter(text: str) -> tuple[str, Any]:
    """`name=value`, the value as JSON where it is, as text where it is not."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadSettings(f"--set {text!r}: write it as name=value")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _say_which(planned: Planned) -> None:
    run, before = planned.run, planned.before
    if not planned.is_new:
        rest = "goes on" if run.state in ("open", "stopped") else "is over; nothing is left to do"
        print(f"run {run.id} of {run.source!r} {rest} (--again starts anew)", file=sys.stderr)
    elif planned.changed and before is not None:
        what = ", ".join(planned.changed)
        print(f"new run {run.id}: unlike run {before.id}, it has another {what}", file=sys.stderr)


def _confirm(workspace: Workspace, run: Run) -> None:
    """Ask before many requests leave this machine, where there is somebody to ask."""
    provider = workspace.provider_of(run.spec)
    if run.total < _ASK_FROM or is_on_this_machine(provider):
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or "CI" in os.environ:
        return
    model = f"{provider.name}/{run.spec.model}"
    try:
        typer.confirm(f"Send {run.total:,} requests to {model}?", abort=True, err=True)
    except typer.Abort:
        workspace.store.delete(run.id)
        raise
