"""Questions, where there is somebody to answer them."""

import os
import sys

import typer

from ..core.model import Run
from ..engine.workspace import Workspace
from ..executors.auth import is_on_this_machine

_ASK_FROM = 100
"""Fewer requests than this are sent without a question."""


def somebody_is_there() -> bool:
    """Whether a question would be seen and could be answered."""
    return sys.stdin.isatty() and sys.stderr.isatty() and "CI" not in os.environ


def agreed(question: str) -> bool:
    """Whether somebody says yes. True where nobody is there to be asked."""
    if not somebody_is_there():
        return True
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        print(file=sys.stderr)  # the cursor still stands behind the question
        raise


def wants_to_cancel() -> bool:
    """Whether somebody says that a run is to be cancelled rather than left to its provider.

    Whatever else is said means no: what goes on can be cancelled later.
    """
    if not somebody_is_there():
        return False
    try:
        said = typer.prompt("The provider goes on. Detach or cancel?", default="detach", err=True)
    except typer.Abort:
        print(file=sys.stderr)  # the cursor still stands behind the question
        return False
    return str(said).strip().lower() in ("c", "cancel")


def agreed_to_send(workspace: Workspace, run: Run, count: int, what: str) -> bool:
    """Whether so many requests may leave this machine. Where they stay here, nobody is asked."""
    provider = workspace.provider_of(run.spec)
    if count < _ASK_FROM or is_on_this_machine(provider):
        return True
    where = "/".join(filter(None, (provider.name, run.spec.model)))
    return agreed(f"Send {count:,} {what} to {where}?")
