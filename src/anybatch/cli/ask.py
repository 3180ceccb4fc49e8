"""Questions, where there is somebody to answer them."""

import os
import sys

import typer


def agreed(question: str) -> bool:
    """Whether somebody says yes. True where nobody is there to be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or "CI" in os.environ:
        return True
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        print(file=sys.stderr)  # the cursor still stands behind the question
        raise
