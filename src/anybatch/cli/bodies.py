"""`anybatch results --bodies`: what the service answered, in its own lines of results.

Answers are byte for byte as they came. Lines that a batch returned have their ids again and errors
their bodies; what was called in real time has neither, and nothing is made up.
"""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ..core.model import NO_BODY, Api, Failure, Result
from ..datasets.sink import LINES, open_sink
from ..engine.events import code_of
from ..errors import UsageError
from ..wire import anthropic_batch, gemini_batch, openai_batch
from ..wire.batch import ResultLine
from ..wire.openai import said
from .work import find_here

_AT_ONCE = 256


def bodies_command(word: str, store: Path | None, out: str, *, force: bool) -> int:
    """Write a line for each row that has a result; the run's exit code."""
    if out != "-" and not out.endswith(".jsonl"):
        raise UsageError(f"--bodies are JSON lines; name the file .jsonl, not {out!r}")
    workspace, run = find_here(word, store)
    lines = (
        _line(run.spec.api, name, result) + b"\n"
        for name, result in workspace.named_results(run)
        if result is not None
    )
    if not _written(lines, out, force=force):
        print(f"{out} holds these bodies already", file=sys.stderr)
    look = workspace.progress(run)
    return code_of(look)


def _written(lines: Iterator[bytes], out: str, *, force: bool) -> bool:
    """Whether there was anything to write: the same may stand there already."""
    to = "-:jsonl" if out == "-" else out
    with open_sink(to, columns=LINES, force=force) as sink:
        while chunk := list(islice(lines, _AT_ONCE)):
            sink.write([[line] for line in chunk])
    return not sink.was_there


def _line(api: Api, name: str, result: Result) -> bytes:
    """A line of results, as those have it whose api it is."""
    returned = _returned(name, result)
    match api:
        case "anthropic.messages":
            return anthropic_batch.write_line(returned)
        case "gemini.generate" | "gemini.embed":
            return gemini_batch.write_line(returned)
        case _:
            return openai_batch.write_line(returned)


def _returned(name: str, result: Result) -> ResultLine:
    """The line that it was, as far as it is kept."""
    is_kept, why = result.body != NO_BODY, result.failure
    is_reply = result.status is not None and (is_kept or not 200 <= result.status < 300)
    return ResultLine(
        custom_id=name,
        line_id=result.line_id,
        request_id=result.request_id,
        status=result.status if is_reply else None,
        body=bytes(result.body) if is_kept else b"",
        outcome=None if is_reply else result.outcome,
        failure=why and Failure(message=said(why), code=why.code),
    )
