"""`anybatch run`."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ..api import Ask, uses_cache
from ..clock import SystemClock
from ..core.model import Run, Terms
from ..core.states import RunState
from ..core.terms import NO_TERMS, terms_of
from ..datasets.source import open_source
from ..engine.choosing import plan_with
from ..engine.reuse import Reuse
from ..engine.sharing import EQUAL_ONCE, Sharing
from ..engine.workspace import Pace, Planned, Workspace
from ..errors import BadSettings, UsageError
from .ask import agreed_to_send
from .work import Delivery, open_here, work_on

_PART_WORDS = {
    "base_url": "base URL",
    "data": "content",
    "output_schema": "answer schema",
    "pack": "--pack",
    "parameters": "--set",
    "system": "system prompt",
}
"""How we call the parts of a run, where their own names are not the user's."""

_RESTS: dict[RunState, str] = {"open": "goes on", "cancelling": "is being cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What `anybatch run` is to ask of what, as it was typed."""

    data: str | None
    prompt: str | None
    system: str | None
    model: str
    base_url: str | None
    api: str | None
    executor: str | None
    tail: str = "online"
    cache: str = "auto"
    canary: int | None = None
    keep_remote: bool = False
    sharing: Sharing = EQUAL_ONCE
    schema: str | None
    labels: str | None
    fields: list[str] | None
    parameters: list[str]
    sql: str | None
    bad_rows: str
    yes: bool = False
    again: bool = False
    pack: tuple[int, float | None] = (1, None)
    """How many rows go in one prompt, and how far their answers have to agree with single ones."""
    terms: Terms = NO_TERMS


def wishes_of(typed: Mapping[str, Any]) -> Wishes:
    """The options of `anybatch run` as wishes; they are called alike. Raises BadSettings."""
    terms = terms_of(
        by=typed["by"],
        budget=typed["budget"],
        prefer=typed["prefer"],
        preview=typed["preview"],
        overflow=typed["overflow"],
        now=SystemClock().now(),
    )
    agreement = typed["pack_agreement"]
    made: dict[str, Any] = {
        "canary": 0 if typed["no_canary"] else typed["canary"],
        "parameters": typed["parameters"] or [],
        "sharing": sharing(no_dedupe=typed["no_dedupe"], reuse=typed["reuse"]),
        "terms": terms if agreement is None else replace(terms, agreement=agreement),
        "pack": (typed["pack"], agreement),
    }
    same = {part.name: typed[part.name] for part in fields(Wishes) if part.name not in made}
    return Wishes(**same, **made)


def run_command(wishes: Wishes, store: Path | None, *, pace: Pace, delivery: Delivery) -> int:
    """Plan the run or find it, work on it, deliver it; the exit code."""
    ask = asked(wishes)
    delivery.check(reads=_reads(wishes))
    if wishes.data is None and wishes.sql is None:
        raise UsageError("name the data: anybatch run FILE --prompt …, or --sql with a query")
    workspace = open_here(store)
    try:
        planned = _plan(workspace, wishes, ask, pace=pace, delivery=delivery)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted: nothing was sent") from None
    run = workspace.reopen(
        planned.run,
        canary=wishes.canary,
        keep_remote=wishes.keep_remote,
        agreement=wishes.pack[1],
    )
    _say_which(planned, run)
    if not wishes.yes:
        _confirm(workspace, run)
    return work_on(workspace, run, pace=pace, delivery=delivery)


def _reads(wishes: Wishes) -> list[str | int]:
    """The files that are read, as far as the command names them."""
    data = wishes.data or ""
    texts = [text[1:] for text in (wishes.prompt, wishes.system) if text and text[:1] == "@"]
    quoted = re.split("['\"]", wishes.sql or "")
    stdin = [0] if data == "-" else []
    return [data, data.rpartition("#")[0], wishes.schema or "", *texts, *quoted, *stdin]


def _plan(
    workspace: Workspace, wishes: Wishes, ask: Ask, *, pace: Pace, delivery: Delivery
) -> Planned:
    """The run that stands ready.

    A file in the way is refused now, unless the run is over: then it may be the table itself.
    """
    source, spec = open_source(wishes.data, sql=wishes.sql), ask.spec()
    obstacle = delivery.obstacle()
    if obstacle and (wishes.again or workspace.is_new(source, spec)):
        raise obstacle
    planned = plan_with(
        workspace,
        source,
        spec,
        wishes.terms,
        pace=pace,
        skip_bad_rows=wishes.bad_rows == "skip",
        again=wishes.again,
        canary=wishes.canary,
        keep_remote=wishes.keep_remote,
        sharing=wishes.sharing,
        cache=uses_cache(wishes.cache),
    )
    if obstacle and not workspace.is_over(planned.run):
        if planned.is_new and is_unsent(workspace, planned.run):
            workspace.store.delete(planned.run.id)
        raise obstacle
    return planned


def asked(wishes: Wishes) -> Ask:
    """What is asked of every row. Raises UsageError for what does not fit together."""
    if wishes.bad_rows not in ("fail", "skip"):
        raise BadSettings(f"--bad-rows {wishes.bad_rows!r} is unknown; use fail, skip")
    find_models_here(wishes.schema)
    labels = wishes.labels
    api: Any = wishes.api
    executor: Any = wishes.executor
    tail: Any = wishes.tail
    return Ask(
        model=wishes.model,
        prompt=wishes.prompt,
        system=wishes.system,
        schema=wishes.schema,
        labels=None if labels is None else [label.strip() for label in labels.split(",")],
        fields=wishes.fields,
        api=api,
        executor=executor,
        tail=tail,
        pack=wishes.pack[0],
        base_url=wishes.base_url,
        parameters=dict(map(parameter, wishes.parameters)),
    )


def find_models_here(schema: str | None) -> None:
    """Let `module:Class` name a model beside the data."""
    if schema and ":" in schema:
        sys.path.append(str(Path.cwd()))  # last, so that it stands before no installed module


def sharing(*, no_dedupe: bool, reuse: bool | None) -> Sharing:
    """Which rows need no request of their own. `reuse`: True, or False for always."""
    always: Reuse = "always"
    which = None if reuse is None else "settled" if reuse else always
    return Sharing(dedupe=not no_dedupe, reuse=which)


def parameter(text: str) -> tuple[str, Any]:
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
    if planned.why is not None:
        print(f"chosen: {planned.why}", file=sys.stderr)
    if not planned.is_new:
        rest = _RESTS.get(run.state, "is over; nothing is left to do")
        print(f"run {run.id} of {run.source!r} {rest} (--again starts anew)", file=sys.stderr)
    elif planned.changed and before is not None:
        *parts, last = (_PART_WORDS.get(part, part) for part in planned.changed)
        what = f"{', '.join(parts)} and {last}" if parts else last
        print(f"new run {run.id}: unlike run {before.id}, it has another {what}", file=sys.stderr)
    if planned.remark is not None:
        print(f"note: {planned.remark}", file=sys.stderr)


def _confirm(workspace: Workspace, run: Run) -> None:
    """Ask before many requests leave this machine for the first time."""
    if not is_unsent(workspace, run):
        return
    sure = False
    try:
        sure = agreed_to_send(workspace, run, run.to_send, "requests")
    finally:
        if not sure and is_unsent(workspace, run):
            workspace.store.delete(run.id)
    if not sure:
        raise UsageError("nothing was sent")


def is_unsent(workspace: Workspace, run: Run) -> bool:
    """Whether nobody has ever worked on `run`."""
    return not any(batch.token for batch in workspace.store.batches(run.id))
