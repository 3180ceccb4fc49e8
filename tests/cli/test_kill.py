"""kill -9 of the real process, over a real socket: no row lost, none doubled, books in order."""

import random
from pathlib import Path

import pytest

from anybatch.testing import Cut, FakeEndpoint, Status, at_random

from .killing import kill_and_type_again, repeated_at_most

ROWS = 120


@pytest.mark.parametrize("seed", range(30))
def test_a_killed_run_gives_every_row_once_when_typed_again(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)

    with FakeEndpoint(latency=0.004) as endpoint:
        kills = chance.randint(1, 2)
        kill_and_type_again(endpoint, tmp_path, rows=ROWS, kills=kills, chance=chance)
        executed = len(endpoint.ledger.executions)

    assert executed - ROWS <= repeated_at_most(tmp_path)


@pytest.mark.gauntlet
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_kills_and_faults_together_lose_nothing(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    faults = at_random(0.05, Status(503), Status(429), Cut("executed"), Cut("midway"), seed=seed)

    with FakeEndpoint(latency=0.01, script=faults) as endpoint:
        kills = chance.randint(2, 4)
        kill_and_type_again(endpoint, tmp_path, rows=200, kills=kills, chance=chance)
