"""Running the real command line as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anybatch.testing import FakeEndpoint

LIMIT_S = 60.0


def environment(home: Path, **extra: str) -> dict[str, str]:
    """A clean environment: no keys, no settings but ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    ours = {"HOME": str(home), "ANYBATCH_HOME": str(home / "store"), "COLUMNS": "120"}
    return {**kept, **ours, **extra}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "anybatch", *map(str, words)]


def anybatch(
    *words: object, home: Path, stdin: str | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run to the end; stdin is empty unless given, and nothing is a terminal."""
    return subprocess.run(
        command(*words),
        cwd=home,
        env=environment(home, **extra),
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def start(*words: object, home: Path, **extra: str) -> subprocess.Popen[bytes]:
    """Start without waiting."""
    return subprocess.Popen(
        command(*words),
        cwd=home,
        env=environment(home, **extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def until(condition: Callable[[], bool], *, what: str, limit_s: float = LIMIT_S) -> None:
    """Poll `condition`; fail loudly if it never comes true."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit_s} s in vain for {what}")
        time.sleep(0.002)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)


def asking(endpoint: FakeEndpoint, *more: object, data: str = "in.csv") -> list[object]:
    """The words of a run over `data` that says each text to `endpoint`."""
    ask = ["--prompt", "Say {{ text }}", "--model", "fake/fake-1"]
    return ["run", data, *ask, "--base-url", endpoint.base_url, *more]


def report(finished: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    """The JSON that a command printed."""
    said: Mapping[str, Any] = json.loads(finished.stdout)
    return said


def write_rows(path: Path, rows: Sequence[str]) -> Path:
    """A CSV with the columns `id` and `text`."""
    lines = [f"{n},{text}" for n, text in enumerate(rows)]
    path.write_text("\n".join(["id,text", *lines]) + "\n")
    return path
