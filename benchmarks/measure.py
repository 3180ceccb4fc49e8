"""Running one side of a comparison in a process of its own, and reading what it used."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn


class Measured(NamedTuple):
    """What one side took."""

    seconds: float
    peak_mb: float
    said: Mapping[str, Any]


def in_a_process(module: str, *arguments: object) -> Measured:
    """Run `python -m module arguments`, which ends by calling `report`."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ})
    said = json.loads(done.stdout.splitlines()[-1])
    return Measured(said.pop("seconds"), said.pop("peak_mb"), said)


def report(work: Callable[[], Mapping[str, Any] | None]) -> NoReturn:
    """Do `work` and print, as the last line, what it took and what it says."""
    start = time.perf_counter()
    said = work() or {}
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, **said}), flush=True)
    # Native threads of the client may call back while Python is torn down.
    os._exit(0)


class Line(NamedTuple):
    """One row of the table that a benchmark prints."""

    what: str
    figure: str
    goal: str
    met: bool


def show(title: str, lines: list[Line]) -> bool:
    """Print a benchmark's table; whether every goal was met."""
    print(f"\n{title}")
    for line in lines:
        print(
            f"  {'ok  ' if line.met else 'MISS'} {line.what:<44} {line.figure:<28} goal {line.goal}"
        )
    return all(line.met for line in lines)
