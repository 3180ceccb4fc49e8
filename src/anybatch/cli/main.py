"""The entry point, and the border where an error becomes one line and an exit code."""

import sys
import traceback
from typing import NoReturn

import typer

from ..errors import AnybatchError
from .app import app
from .leave import INTERRUPTED, heed_signals, leave
from .options import Errors
from .streams import Unread, guard_streams

USAGE = 1
UNEXPECTED = 4
UNREAD = 141
"""What the shell says of a program that a closed pipe has ended."""
_MAX_WHAT = 300


def main() -> NoReturn:
    """Run the command line; the exit codes are those of `core.states.exit_code`, 1 for misuse."""
    guard_streams()
    heed_signals()
    errors = Errors()
    try:
        code = app(args=sys.argv[1:], prog_name="anybatch", standalone_mode=False, obj=errors)
        sys.stdout.flush()
    except Exception as e:
        line, code = _understood(e)
        if errors.with_traceback:
            traceback.print_exc()
        elif line:
            print("anybatch: " + " ".join(line.split()), file=sys.stderr)
    except KeyboardInterrupt:  # the second of two at once, while the first one is being told
        code = INTERRUPTED
    leave(code or 0)


def _understood(e: Exception) -> tuple[str, int]:
    """What is said about `e`, and its exit code. Nothing is said where the help has been shown."""
    match e:
        case AnybatchError():
            return str(e), e.exit_code
        case Unread():
            return "", UNREAD
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
