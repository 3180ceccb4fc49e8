"""kill -9 of the real process while a provider has its batches: none lost, none paid twice."""

import random
from pathlib import Path

import pytest

from anybatch.core.price import MILLION
from anybatch.testing import Cut, Fault, Phases, Status, at_random
from anybatch.testing.fakes import FAKES

from .killing import kill_batches_and_type_again
from .process import anybatch, report

FAULTS: tuple[Fault, ...] = (
    Status(500, executed=True),
    Status(503),
    Status(429),
    Cut("executed"),
    Cut("midway"),
    Cut("unexecuted"),
)


GIVEN: dict[str, dict[str, object]] = {"vertex": {"bucket": "my-bucket"}}
BATCHES = 7
WORKS = Phases(in_progress=1.5)
"""As long as it takes to submit all batches: then they are looked at by a list."""


def killed(provider: str, seed: int, home: Path, *, rows: int = 66) -> None:
    """Five of a hundred exchanges fail, whatever they are for."""
    chance, kind = random.Random(seed), FAKES[provider]
    faults = {what: at_random(0.05, *FAULTS, seed=seed) for what in kind.fake.operations}

    with kind.new(faults=faults, phases=WORKS, **GIVEN.get(provider, {})) as service:
        kills = chance.randint(1, 3)
        kill_batches_and_type_again(provider, service, home, rows=rows, kills=kills, chance=chance)
        ledger = service.ledger
    cost = report(anybatch("cost", "--json", home=home))

    assert len(ledger.batches) >= BATCHES
    assert ledger.operations["list"] > 0
    assert ledger.repeated_batches == ()
    assert ledger.billed_twice == {}
    assert ledger.billed == rows
    assert ledger.leftover_files == ()
    assert cost["dollars"] * MILLION == pytest.approx(ledger.tokens)
    assert cost["dollars_in_real_time"] == pytest.approx(2 * cost["dollars"])
    assert (cost["lost"], cost["paid_twice_at_most"], cost["unmatched"]) == (0, 0, 0)


@pytest.mark.parametrize("provider", FAKES)
def test_a_killed_run_pays_for_each_row_once(provider: str, tmp_path: Path) -> None:
    killed(provider, list(FAKES).index(provider), tmp_path)


@pytest.mark.gauntlet
@pytest.mark.parametrize("seed", range(1_000, 1_025))
@pytest.mark.parametrize("provider", FAKES)
def test_a_hundred_killed_runs_pay_for_each_row_once(
    provider: str, seed: int, tmp_path: Path
) -> None:
    killed(provider, seed, tmp_path)
