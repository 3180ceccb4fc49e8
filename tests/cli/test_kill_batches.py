"""kill -9 of the real process while a provider has its batches: none lost, none paid twice."""

import random
from pathlib import Path

import pytest

from anybatch.testing import Cut, FakeOpenAI, Fault, Status, at_random

from .killing import kill_batches_and_type_again

FAULTS: tuple[Fault, ...] = (
    Status(500, executed=True),
    Status(503),
    Status(429),
    Cut("executed"),
    Cut("midway"),
    Cut("unexecuted"),
)


def faults(seed: int) -> dict[str, object]:
    """Five of a hundred exchanges fail, whatever they are for."""
    operations = ("upload", "create", "poll", "list", "download", "delete")
    return {what: at_random(0.05, *FAULTS, seed=seed) for what in operations}


def killed(seed: int, home: Path, *, rows: int = 60) -> None:
    chance = random.Random(seed)

    with FakeOpenAI(faults=faults(seed)) as service:  # type: ignore[arg-type]
        kills = chance.randint(1, 3)
        kill_batches_and_type_again(service, home, rows=rows, kills=kills, chance=chance)
        ledger = service.ledger

    assert ledger.repeated_batches == ()
    assert ledger.billed_twice == {}
    assert ledger.billed == rows
    assert ledger.leftover_files == ()


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_run_pays_for_each_row_once(seed: int, tmp_path: Path) -> None:
    killed(seed, tmp_path)


@pytest.mark.gauntlet
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_a_hundred_killed_runs_pay_for_each_row_once(seed: int, tmp_path: Path) -> None:
    killed(seed, tmp_path)
