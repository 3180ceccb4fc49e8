"""Threads and processes that start at the same moment and want the same thing."""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from anybatch.core.model import Batch, Run
from anybatch.store.store import Store

from .given import MINUTE, NOW, batch

T = TypeVar("T")
Opener = Callable[[], Store]
"""Opens the store under test once more; it can be sent to another process."""

_start: Any = None
_PATIENCE_S = 30.0
"""So long a racer waits for the others: one that failed does not come."""


def among_threads(racer: Callable[[str], T], *, racers: int = 8) -> list[T]:
    """Run `racer(name)` in so many threads at once."""
    start = threading.Barrier(racers)

    def race(name: str) -> T:
        start.wait(_PATIENCE_S)
        return racer(name)

    with ThreadPoolExecutor(racers) as threads:
        return list(threads.map(race, map(str, range(racers))))


def among_processes(racer: Callable[[str], T], *, racers: int = 4) -> list[T]:
    """Run `racer(name)` in so many fresh processes at once."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(racers)
    with ProcessPoolExecutor(
        racers, mp_context=context, initializer=_remember, initargs=(start,)
    ) as processes:
        return list(processes.map(partial(_race, racer), map(str, range(racers))))


def _remember(start: object) -> None:
    global _start
    _start = start


def _race(racer: Callable[[str], T], name: str) -> T:
    _start.wait(_PATIENCE_S)
    return racer(name)


def claims(store: Store, seen: Sequence[Batch], name: str) -> set[str]:
    """The ids of those of `seen` that `name` gets."""
    lease_until = NOW + MINUTE
    claimed = [
        store.claim(each, status="running", owner=name, lease_until=lease_until, window=1)
        for each in seen
    ]
    return {each.id for each in claimed if each is not None}


# What a process is sent must be a function of a module.


def opens_and_claims(opener: Opener, seen: Sequence[Batch], name: str) -> set[str]:
    store = opener()
    try:
        return claims(store, seen, name)
    finally:
        store.close()


def opens_and_plans(opener: Opener, run: Run, name: str) -> bool:
    store = opener()
    try:
        return store.add_wave(run, [batch(run, wave=run.wave + 1)], [])
    finally:
        store.close()


def opens_and_adds(opener: Opener, run: Run, name: str) -> None:
    store = opener()
    try:
        store.add_run(replace(run, id=f"{run.id}-{name}"), [])
    finally:
        store.close()


def opens_in_step(open_at: Callable[[Path], Store], roots: Sequence[Path], name: str) -> int:
    """Open a store at each of `roots`, all racers at the same moment; how many were opened."""
    for root in roots:
        _start.wait(_PATIENCE_S)
        open_at(root).close()
    return len(roots)
