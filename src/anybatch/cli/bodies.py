"""`anybatch results --bodies`: what the service answered, as it is recorded."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ..core.model import NO_BODY, Result
from ..core.states import exit_code
from ..datasets.sink import open_sink
from ..errors import UsageError
from .work import open_here

COLUMNS = ("n", "custom_id", "outcome", "status", "body", "failure")
"""Of each line. `n` is the row's number as in `show-request`; what there is not is null."""

_AT_ONCE = 256


def bodies_command(word: str, store: Path | None, out: str, *, force: bool) -> int:
    """Write a JSON line for each row; the run's exit code."""
    if out != "-" and not out.endswith(".jsonl"):
        raise UsageError(f"--bodies are JSON lines; name the file .jsonl, not {out!r}")
    workspace = open_here(store)
    run = workspace.store.find_run(word)
    lines = (_line(n, *named) for n, named in enumerate(workspace.named_results(run)))
    if not _written(lines, out, force=force):
        print(f"{out} holds these bodies already", file=sys.stderr)
    look = workspace.progress(run)
    return exit_code(look.status, look.counts)


def _written(lines: Iterator[list[object]], out: str, *, force: bool) -> bool:
    """Whether there was anything to write: the same may stand there already."""
    to = "-:jsonl" if out == "-" else out
    with open_sink(to, columns=COLUMNS, force=force) as sink:
        while chunk := list(islice(lines, _AT_ONCE)):
            sink.write(chunk)
    return not sink.was_there


def _line(n: int, name: str | None, result: Result | None) -> list[object]:
    if result is None:
        return [n, name, None, None, NO_BODY, None]
    return [n, name, result.outcome, result.status, result.body, result.failure]
