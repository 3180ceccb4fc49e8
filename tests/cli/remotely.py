"""Runs through a provider's batch API whose time a test moves."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anybatch.core.model import Remote
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import FakeOpenAI, ManualClock, Phases

from .process import LIMIT_S, kill, start, until, write_rows

TEXTS = ["one", "two", "three"]
WORKS_S = 1000.0
"""So long a batch runs, on the clock of the service."""


@contextmanager
def service(**given: Any) -> Iterator[tuple[FakeOpenAI, ManualClock]]:
    """A service that works on a batch until its clock is moved."""
    clock = ManualClock()
    with FakeOpenAI(**{"phases": Phases(in_progress=WORKS_S), "clock": clock, **given}) as fake:
        yield fake, clock


def home_in(folder: Path) -> Path:
    write_rows(folder / "in.csv", TEXTS)
    return folder


def asking(fake: FakeOpenAI, *more: object) -> list[object]:
    """The words of a run over `in.csv` through the batch API of `fake`."""
    ask = ["--prompt", "Say {{ text }}", "--model", "openai/m", "--executor", "batch"]
    return ["run", "in.csv", *ask, "--base-url", fake.base_url, *more]


def started(fake: FakeOpenAI, home: Path, *more: object) -> subprocess.Popen[bytes]:
    """A run whose batch the service works on, and that has seen it there."""
    run = start(*asking(fake, *more), home=home)
    with killed_if_lost(run):
        until(lambda: fake.ledger.operations.get("poll", 0) > 0, what="a look at the batch")
    return run


@contextmanager
def killed_if_lost(run: subprocess.Popen[bytes]) -> Iterator[None]:
    """No process outlives a test that gave up on it; what it said is in the failure."""
    try:
        yield
    except AssertionError as e:
        run.kill()
        raise AssertionError(f"{e}: {ended(run)}") from e


def left_alone(fake: FakeOpenAI, home: Path) -> None:
    """A run that nobody works on any more, while the service does."""
    run = started(fake, home)
    with killed_if_lost(run):
        until(lambda: batch_in(home).status == "in_progress", what="what was seen to be kept")
    kill(run)


def batch_in(home: Path) -> Remote:
    """What the store knows of the one batch of the last run at its provider."""
    store = SqliteStore(home / "store")
    try:
        (batch,) = store.batches(store.find_run("last").id)
        return batch.remote or Remote()
    finally:
        store.close()


def ended(run: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """The exit code of a process and what it printed."""
    out, err = run.communicate(timeout=LIMIT_S)
    return run.returncode, out.decode(), err.decode()
