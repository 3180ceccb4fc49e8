"""`anybatch compare`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from ..api import Ask
from ..core.model import Run, Spec
from ..core.states import exit_code
from ..datasets.sample import Sample
from ..datasets.source import open_source
from ..engine.compare import compare, draw
from ..engine.workspace import Pace, Planned, Workspace
from ..errors import BadSettings, OutputExists, UsageError
from .ask import agreed_to_send
from .comparison import Shown, comparison_json, print_comparison
from .leave import INTERRUPTED
from .pages.comparison import is_page, write_page
from .report import print_json
from .run import find_models_here, is_unsent, parameter
from .work import find_here, open_here, work_on_all

_OF_RUNS = frozenset(("data", "other", "tolerance", "html", "force", "as_json", "store", "debug"))
"""What may be said of two runs that are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was typed, by the names of the options."""

    data: str | None
    other: str | None
    prompt: str | None
    system: str | None
    model: str
    base_url: str | None
    api: Any
    executor: Any
    pack: int
    parameters: list[str] | None
    sql: str | None
    bad_rows: str
    schema: str | None
    labels: str | None
    fields: list[str] | None
    with_model: str | None
    with_prompt: str | None
    with_system: str | None
    with_base_url: str | None
    with_api: Any
    with_executor: Any
    with_pack: int | None
    with_parameters: list[str] | None
    with_schema: str | None
    with_labels: str | None
    with_fields: list[str] | None
    rows: int
    seed: int
    tolerance: float
    concurrency: int | None
    rpm: int | None
    tpm: int | None
    html: Path | None
    force: bool
    as_json: bool
    store: Path | None
    yes: bool
    debug: bool


def compare_command(context: typer.Context) -> int:
    """Compare two runs, or make them first; the exit code."""
    typed = Typed(**context.params)
    if typed.html is not None:
        _check_page(typed.html, force=typed.force)
    if typed.other is None:
        return _compare_settings(typed)
    given = (name for name in context.params if _is_given(context, name))
    if unfit := next((name for name in given if name not in _OF_RUNS), None):
        raise UsageError(
            f"{_option(context, unfit)} says what is to be asked, and two runs are compared as "
            "they are; leave it out"
        )
    workspace, one = find_here(typed.data or "", typed.store)
    _show(workspace, one, workspace.store.find_run(typed.other), typed, drawn=None)
    return 0


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _option(context: typer.Context, name: str) -> str:
    """What an option is called on the command line."""
    return next(each.opts[0] for each in context.command.params if each.name == name)


def _check_page(path: Path, *, force: bool) -> None:
    """Raise UsageError now for what could not be written at the end."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {str(path)!r}: a page is called .html; give it such a name")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {str(path.parent)!r} does not exist. Create it first")
    if path.exists() and not path.is_file():
        raise UsageError(f"{str(path)!r} is not a file. Give --html another name")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {str(path.parent)!r} is read-only. Choose another one")
    if path.exists() and not force and not is_page(path):
        raise OutputExists(f"{str(path)!r} exists. Choose another name, or overwrite with --force.")


# --- what is asked ---


def _sides(typed: Typed) -> tuple[Ask, Ask]:
    """What is asked on each side."""
    if typed.bad_rows not in ("fail", "skip"):
        raise BadSettings(f"--bad-rows {typed.bad_rows!r} is unknown; use fail, skip")
    find_models_here(typed.schema)
    find_models_here(typed.with_schema)
    first = Ask(
        model=typed.model,
        prompt=typed.prompt,
        system=typed.system,
        schema=typed.schema,
        labels=_labels(typed.labels),
        fields=typed.fields or None,
        api=typed.api,
        base_url=typed.base_url,
        parameters=dict(map(parameter, typed.parameters or [])),
        executor=typed.executor,
        pack=typed.pack,
    )
    return first, _second(first, typed)


def _second(first: Ask, typed: Typed) -> Ask:
    """The same, but for what is said `--with`. An empty text takes something away."""
    model = typed.with_model or first.model
    changes: dict[str, Any] = {"model": model}
    if model.partition("/")[0] != first.model.partition("/")[0]:
        changes["base_url"] = None  # nobody else's key is for that address
    for name in ("prompt", "system", "base_url", "api", "executor"):
        if (said := getattr(typed, f"with_{name}")) is not None:
            changes[name] = said or None
    if typed.with_pack is not None:
        changes["pack"] = typed.with_pack
    if typed.with_parameters:
        changes["parameters"] = dict(map(parameter, typed.with_parameters))
    shape = (typed.with_schema, typed.with_labels, typed.with_fields or None)
    if any(said is not None for said in shape):
        changes["schema"] = typed.with_schema or None
        changes["labels"] = _labels(typed.with_labels or None)
        changes["fields"] = typed.with_fields or None
    return replace(first, **changes)


def _labels(said: str | None) -> list[str] | None:
    return None if said is None else [label.strip() for label in said.split(",")]


# --- two runs of a sample ---


def _compare_settings(typed: Typed) -> int:
    """Make both runs or go on with them, and compare them once they are over."""
    specs = [ask.spec() for ask in _sides(typed)]
    if specs[0] == specs[1]:
        raise UsageError("both sides ask the same; say what is another, as --with-model")
    if typed.data is None and typed.sql is None:
        raise UsageError("name the data: anybatch compare FILE --prompt … --with-model …")
    skip = typed.bad_rows == "skip"
    workspace = open_here(typed.store)
    pace = Pace(concurrency=typed.concurrency, rpm=typed.rpm, tpm=typed.tpm)
    try:
        source = open_source(typed.data, sql=typed.sql)
        drawn = draw(source, typed.rows, seed=typed.seed, skip_bad_rows=skip)
        planned = _plan(workspace, drawn, specs, pace=pace, skip_bad_rows=skip)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted: nothing was sent") from None
    runs = [workspace.reopen(each.run) for each in planned]
    if not typed.yes:
        _confirm(workspace, planned)
    runs, interrupted = work_on_all(workspace, runs, pace=pace)
    if all(run.state == "ended" for run in runs):
        _show(workspace, runs[0], runs[1], typed, drawn=drawn)
    else:
        print(
            "the comparison comes once both runs are over: type the same command again",
            file=sys.stderr,
        )
    return INTERRUPTED if interrupted else max(_codes(workspace, runs))


def _codes(workspace: Workspace, runs: Sequence[Run]) -> list[int]:
    """The exit codes of runs; of one that did not get its turn there is none."""
    looks = [workspace.progress(run) for run in runs]
    return [exit_code(look.status, look.counts) for look in looks if look.status != "running"]


def _plan(
    workspace: Workspace,
    drawn: Sample,
    specs: Sequence[Spec],
    *,
    pace: Pace,
    skip_bad_rows: bool,
) -> list[Planned]:
    """Both runs; neither stays if the other cannot be."""
    planned: list[Planned] = []
    try:
        for spec in specs:
            # Packs are not tried here against single answers: that is what the other side is for.
            canary = 0 if spec.pack > 1 else None
            new = workspace.plan(
                drawn.source, spec, pace=pace, skip_bad_rows=skip_bad_rows, canary=canary
            )
            planned.append(new)
        if planned[0].run.id == planned[1].run.id:
            raise UsageError("both sides come to the same run; say what is another")
    except BaseException:
        _forget(workspace, planned)
        raise
    return planned


def _forget(workspace: Workspace, planned: Sequence[Planned]) -> None:
    """Delete what was planned now and nobody has worked on."""
    for each in planned:
        run = each.run
        if each.is_new and workspace.store.has_run(run.id) and is_unsent(workspace, run):
            workspace.store.delete(run.id)


def _confirm(workspace: Workspace, planned: Sequence[Planned]) -> None:
    """Ask before many requests leave this machine for the first time."""
    sure = False
    try:
        unsent = [each.run for each in planned if is_unsent(workspace, each.run)]
        sure = all(agreed_to_send(workspace, run, run.total, "requests") for run in unsent)
    finally:
        if not sure:
            _forget(workspace, planned)
    if not sure:
        raise UsageError("nothing was sent")


def _show(
    workspace: Workspace, one: Run, other: Run, typed: Typed, *, drawn: Sample | None
) -> None:
    """The comparison, wherever it was asked for."""
    compared = compare(workspace, one, other, tolerance=typed.tolerance)
    shown = Shown(compared, drawn=drawn)
    if typed.html is not None:
        write_page(shown, typed.html)
        print(f"written to {typed.html}", file=sys.stderr)
    if typed.as_json:
        print_json(comparison_json(shown))
    else:
        print_comparison(shown)
