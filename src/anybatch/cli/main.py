"""The entry point, and the border where an error becomes one line and an exit code."""

import os
import sys
from typing import NoReturn

import typer

from ..errors import AnybatchError
from .app import app
from .leave import leave

USAGE = 1
UNEXPECTED = 4
_MAX_WHAT = 300


def main() -> NoReturn:
    """Run the command line; the exit codes are those of `core.states.exit_code`, 1 for misuse."""
    _fill_closed_streams()
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(args=arguments, prog_name="anybatch", standalone_mode=False)
    except Exception as e:
        if debug:
            raise
        code = _told(e)
    leave(code or 0)


def _fill_closed_streams() -> None:
    """Put nothing in the place of streams we were started without, lest our files take it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _told(e: Exception) -> int:
    """Say `e` in one line on stderr; its exit code."""
    match e:
        case AnybatchError():
            line, code = str(e), e.exit_code
        case typer.TyperException():
            said = e.format_message().rstrip(".")
            if not said:
                return USAGE  # no command was given, and the help has been shown
            line, code = f"{said}. `{_command(e)} --help` shows what there is.", USAGE
        case typer.Abort():
            line, code = "not confirmed; nothing was done", USAGE
        case _:
            what = f"{type(e).__name__}: {e}"[:_MAX_WHAT]
            line, code = f"a mistake of ours, {what}. Show us what --debug says", UNEXPECTED
    print("anybatch: " + " ".join(line.split()), file=sys.stderr)
    return code


def _command(e: typer.TyperException) -> str:
    """The command that was misused, as far as it is known."""
    context = getattr(e, "ctx", None)
    return "anybatch" if context is None else str(context.command_path)
