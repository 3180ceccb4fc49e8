"""`anybatch results --bodies`: what the service answered, in its own lines of results.

Answers are byte for byte as they came. Of what failed, the service's words are kept; the ids that
it gave to lines and replies are not.
"""

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from ..core.model import Api, Result
from ..core.served import Ending
from ..core.states import Outcome, exit_code
from ..datasets.sink import LINES, open_sink
from ..errors import UsageError
from ..wire import anthropic_served, gemini_served, openai_served
from .work import find_here

_AT_ONCE = 256
_UNRUN: Mapping[Outcome, Ending] = {"expired": "expired", "cancelled": "cancelled"}


def bodies_command(word: str, store: Path | None, out: str, *, force: bool) -> int:
    """Write a line for each row that has a result; the run's exit code."""
    if out != "-" and not out.endswith(".jsonl"):
        raise UsageError(f"--bodies are JSON lines; name the file .jsonl, not {out!r}")
    workspace, run = find_here(word, store)
    lines = (
        _line(run.spec.api, n, name, result)
        for n, (name, result) in enumerate(workspace.named_results(run))
        if result is not None
    )
    if not _written(lines, out, force=force):
        print(f"{out} holds these bodies already", file=sys.stderr)
    look = workspace.progress(run)
    return exit_code(look.status, look.counts)


def _written(lines: Iterator[bytes], out: str, *, force: bool) -> bool:
    """Whether there was anything to write: the same may stand there already."""
    to = "-:jsonl" if out == "-" else out
    with open_sink(to, columns=LINES, force=force) as sink:
        while chunk := list(islice(lines, _AT_ONCE)):
            sink.write([[line] for line in chunk])
    return not sink.was_there


def _line(api: Api, n: int, name: str, result: Result) -> bytes:
    """A line of results, as those have it whose api it is."""
    ending = _UNRUN.get(result.outcome, "completed")
    match api:
        case "anthropic.messages":
            return anthropic_served.write_line(name, result, ending=ending).line
        case "gemini.generate" | "gemini.embed":
            return gemini_served.write_line(name, result, ending=ending, inline=False).line
        case _:
            return openai_served.write_line(name, result, order=None, n=n, ending=ending).line
