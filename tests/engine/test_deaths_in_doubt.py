"""A run dies anywhere while answers to its submissions are lost: nothing is lost or paid twice.

Each provider, each way to lose an answer, a death before and after each exchange and each write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from anybatch.testing import CrashAt, Cut, Fault, Stall, Status, Watch

from .harness import World
from .promises import broken_promises
from .test_crash import Deaths, broken, broken_after_recovery, deaths_at
from .test_crash_of_batches import NewWorld
from .test_crash_of_other_batches import expiring_once
from .test_faults import NEW_WORLDS, SHORT

LOST: dict[str, Fault] = {
    "reset before": Cut("unread"),
    "reset after": Cut("executed"),
    "timeout": Stall(0.4),
    "500 after accept": Status(500, executed=True),
}
"""What becomes of the answer to a submission, of which only the first was never read."""
PROVIDERS = ("openai", "anthropic", "gemini", "vertex")
SUBMITTED = ("http.send", "http.receive", "upload.write", "store.transaction", "journal.*")
"""Exchanges with the provider, and what is written between them."""
DEATHS = 2
"""So many of each case are tried by default, as far apart as they can be."""


def in_doubt(provider: str, way: str, scratch: Path) -> NewWorld:
    """Three batches and a second wave; of each wave, the first answer to a submission is lost."""

    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        lost = [LOST[way], None, None, LOST[way]]
        with NEW_WORLDS[provider](
            scratch / name, rows=expiring_once(), faults={"create": lost}
        ) as world:
            world.search = timedelta(seconds=20)
            if way == "timeout":
                world.deadline = SHORT
            yield world

    return new_world


@pytest.mark.parametrize(
    ("turn", "provider", "way"), [(n, *one) for n, one in enumerate(product(PROVIDERS, LOST))]
)
def test_a_run_dies_here_and_there_while_answers_are_lost(
    turn: int, provider: str, way: str, scratch: Path
) -> None:
    new_world = in_doubt(provider, way, scratch)
    every = len(crossings_of(new_world)) / DEATHS
    # Others for each case: so that together they are close to all there are.
    first = every * turn / len(PROVIDERS) / len(LOST)

    for k in range(DEATHS):
        with new_world(f"{k}") as world:
            died = world.die(CrashAt(1 + int(first + k * every)))
            assert broken_after_recovery(world) == []
            assert died or k == DEATHS - 1


@pytest.mark.gauntlet
@pytest.mark.parametrize("way", LOST)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_run_dies_anywhere_while_answers_are_lost(provider: str, way: str, scratch: Path) -> None:
    deaths: Deaths = {}
    for name in SUBMITTED:
        deaths |= deaths_at(name, in_doubt(provider, way, scratch))

    assert broken(deaths) == {}
    assert {name for name, _ in deaths} >= {"http.send", "http.receive", "journal.fsync"}


def crossings_of(new_world: NewWorld) -> list[object]:
    """All that a run of such a world does to the outside, before and after."""
    watch = Watch()
    with new_world("watched") as world:
        world.live(watch)
        assert broken_promises(world) == []
    return list(watch.crossings)
