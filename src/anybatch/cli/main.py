"""The entry point, and the border where an error becomes one line and an exit code."""

import os
import sys
import traceback
from typing import NoReturn

import typer

from ..errors import AnybatchError
from .app import app
from .leave import leave
from .options import Errors

USAGE = 1
UNEXPECTED = 4
INTERRUPTED = 130
_MAX_WHAT = 300


def main() -> NoReturn:
    """Run the command line; the exit codes are those of `core.states.exit_code`, 1 for misuse."""
    _fill_closed_streams()
    errors = Errors()
    try:
        code = app(args=sys.argv[1:], prog_name="anybatch", standalone_mode=False, obj=errors)
    except Exception as e:
        line, code = _understood(e)
        if errors.with_traceback:
            traceback.print_exc()
        elif line:
            print("anybatch: " + " ".join(line.split()), file=sys.stderr)
    except KeyboardInterrupt:  # the second of two at once, while the first one is being told
        code = INTERRUPTED
    leave(code or 0)


def _fill_closed_streams() -> None:
    """Put nothing in the place of streams we were started without, lest our files take it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _understood(e: Exception) -> tuple[str, int]:
    """What is said about `e`, and its exit code. Nothing is said where the help has been shown."""
    match e:
        case AnybatchError():
            return str(e), e.exit_code
        case typer.TyperException():
            said = e.format_message().rstrip(".")
            return said and f"{said}. `{_command(e)} --help` shows what there is.", USAGE
        case typer.Abort():
            return "not confirmed; nothing was done", USAGE
        case _:
            what = f"{type(e).__name__}: {e}"[:_MAX_WHAT]
            return f"a mistake of ours, {what}. Show us what --debug says", UNEXPECTED


def _command(e: typer.TyperException) -> str:
    """The command that was misused, as far as it is known."""
    context = getattr(e, "ctx", None)
    return "anybatch" if context is None else str(context.command_path)
