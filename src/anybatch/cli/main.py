"""The entry point, and the border where an error becomes one line and an exit code."""

import sys
from typing import NoReturn

import typer

from ..errors import AnybatchError
from .app import app
from .leave import leave

USAGE = 1
INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line; the exit codes are those of `core.states.exit_code`, 1 for misuse."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(args=arguments, prog_name="anybatch", standalone_mode=False)
    except BrokenPipeError:
        code = 0  # whoever read our output has seen enough
    except (AnybatchError, typer.TyperException, typer.Abort, KeyboardInterrupt) as e:
        if debug:
            raise
        code = _told(e)
    leave(code or 0)


def _told(e: BaseException) -> int:
    """Say `e` in one line on stderr; its exit code."""
    match e:
        case AnybatchError():
            line, code = str(e), e.exit_code
        case typer.TyperException():
            line, code = f"{e.format_message()} `anybatch --help` shows what there is.", USAGE
        case typer.Abort():
            line, code = "nothing was sent", USAGE
        case _:
            line, code = "interrupted", INTERRUPTED
    print("anybatch: " + " ".join(line.split()), file=sys.stderr)
    return code
