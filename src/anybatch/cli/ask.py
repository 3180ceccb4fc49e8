"""Questions, where there is somebody to answer them."""

import os
import sys

import typer


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
