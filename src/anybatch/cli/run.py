"""`anybatch run`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec

from ..api import Ask
from ..core.model import Api, Run
from ..datasets.source import open_source
from ..engine.workspace import Pace, Planned, Workspace
from ..errors import BadSettings, UsageError
from ..executors.auth import is_on_this_machine
from .ask import agreed
from .work import Delivery, open_here, work_on

_ASK_FROM = 100
"""Runs of fewer rows than this are sent without a question."""

_PART_WORDS = {
    "base_url": "base URL",
    "data": "content",
    "output_schema": "answer schema",
    "parameters": "--set",
    "system": "system prompt",
}
"""How we call the parts of a run, where their own names are not the user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What `anybatch run` is to ask of what, as it was typed."""

    data: str | None
    prompt: str | None
    system: str | None
    model: str
    base_url: str | None
    api: str
    schema: str | None
    labels: str | None
    fields: list[str] | None
    parameters: list[str]
    sql: str | None
    bad_rows: str
    yes: bool
    again: bool


def run_command(wishes: Wishes, store: Path | None, *, pace: Pace, delivery: Delivery) -> int:
    """Plan the run or find it, work on it, deliver it; the exit code."""
    ask = _ask(wishes)
    delivery.check()
    if wishes.data is None and wishes.sql is None:
        raise UsageError("name the data: anybatch run FILE --prompt …, or --sql with a query")
    workspace = open_here(store)
    planned = workspace.plan(
        open_source(wishes.data, sql=wishes.sql),
        ask.spec(),
        pace=pace,
        skip_bad_rows=wishes.bad_rows == "skip",
        again=wishes.again,
    )
    run = workspace.reopen(planned.run)
    _say_which(planned, run)
    if not wishes.yes:
        _confirm(workspace, run)
    return work_on(workspace, run, pace=pace, delivery=delivery)


def _ask(wishes: Wishes) -> Ask:
    if wishes.api not in get_args(Api):
        raise BadSettings(f"--api {wishes.api!r} is unknown; use {', '.join(get_args(Api))}")
    if wishes.bad_rows not in ("fail", "skip"):
        raise BadSettings(f"--bad-rows is fail or skip, not {wishes.bad_rows!r}")
    if wishes.schema and ":" in wishes.schema:
        # A model beside the data can be named; last, so that it stands before no installed module.
        sys.path.append(str(Path.cwd()))
    labels = wishes.labels
    api: Any = wishes.api
    return Ask(
        model=wishes.model,
        prompt=wishes.prompt,
        system=wishes.system,
        schema=wishes.schema,
        labels=None if labels is None else [label.strip() for label in labels.split(",")],
        fields=wishes.fields,
        api=api,
        base_url=wishes.base_url,
        parameters=dict(map(_parameter, wishes.parameters)),
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


def _say_which(planned: Planned, run: Run) -> None:
    before = planned.before
    if not planned.is_new:
        rest = "goes on" if run.state == "open" else "is over; nothing is left to do"
        print(f"run {run.id} of {run.source!r} {rest} (--again starts anew)", file=sys.stderr)
    elif planned.changed and before is not None:
        *parts, last = (_PART_WORDS.get(part, part) for part in planned.changed)
        what = f"{', '.join(parts)} and {last}" if parts else last
        print(f"new run {run.id}: unlike run {before.id}, it has another {what}", file=sys.stderr)


def _confirm(workspace: Workspace, run: Run) -> None:
    """Ask before many requests leave this machine for the first time."""
    provider = workspace.provider_of(run.spec)
    if run.total < _ASK_FROM or is_on_this_machine(provider) or not _is_unsent(workspace, run):
        return
    sure = False
    try:
        sure = agreed(f"Send {run.total:,} requests to {provider.name}/{run.spec.model}?")
    finally:
        if not sure and _is_unsent(workspace, run):
            workspace.store.delete(run.id)
    if not sure:
        raise UsageError("nothing was sent")


def _is_unsent(workspace: Workspace, run: Run) -> bool:
    """Whether nobody has ever worked on `run`."""
    return not any(batch.token for batch in workspace.store.batches(run.id))
