"""The promises of `test_crash_of_batches`, for services that speak much as OpenAI does."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from anybatch.core.model import Counts
from anybatch.executors.batch import BatchExecutor
from anybatch.testing import CrashAt, FakeOpenAI, Fate, Problem, Status

from ..testing.clones import VERSION, FakeAzure, FakeAzureClassic, FakeMistral, FakeTogether
from .harness import HurriedClock, World, spec
from .promises import broken_promises
from .test_crash import broken, every_death
from .test_crash_of_batches import LOST_ANSWERS, REPEATABLE
from .test_crash_of_other_batches import _QUICK, expiring_once

KEY = "key-of-the-account"
NewWorld = Callable[..., AbstractContextManager[World]]


@contextmanager
def clone(
    root: Path, *, provider: str, fake: type[FakeOpenAI], variables: dict[str, str], **given: Any
) -> Iterator[World]:
    clock = HurriedClock()
    with fake(clock=clock, key=KEY, **given) as service:
        asked = spec(service.base_url, provider=provider, executor="batch", tail="batch")
        with World(
            root=root, spec=asked, service=service, clock=clock, environment=variables
        ) as world:
            yield world


AZURE = {"AZURE_OPENAI_API_KEY": KEY}
CLASSIC = {**AZURE, "OPENAI_API_VERSION": VERSION}
MISTRAL = {"MISTRAL_API_KEY": KEY}
TOGETHER = {"TOGETHER_API_KEY": KEY}
WORLDS: dict[str, NewWorld] = {
    "azure": partial(clone, provider="azure", fake=FakeAzure, variables=AZURE),
    "azure, classic": partial(clone, provider="azure", fake=FakeAzureClassic, variables=CLASSIC),
    "mistral": partial(clone, provider="mistral", fake=FakeMistral, variables=MISTRAL),
    "together": partial(clone, provider="together", fake=FakeTogether, variables=TOGETHER),
}
STEPS = {
    "azure": ("upload", "file", "poll", "list", "download", "delete"),
    "azure, classic": (),
    "mistral": ("upload", "files", "poll", "list", "download", "delete"),
    "together": ("announce", "put", "preprocess", "files", "poll", "list", "download", "delete"),
}


def each(*given: Any, quickly: Callable[[Any], bool]) -> list[Any]:
    """Every one of these for every service; those that are not quick wait for the gauntlet."""
    return [
        pytest.param(service, one, marks=() if quickly(one) else pytest.mark.gauntlet)
        for service in WORLDS
        for one in given
    ]


@pytest.mark.parametrize("service", WORLDS)
def test_every_row_comes_back_and_nothing_stays_there(service: str, scratch: Path) -> None:
    with WORLDS[service](scratch / "world", rows=expiring_once()) as world:
        world.live()

        assert broken_promises(world) == []


@pytest.mark.gauntlet
@pytest.mark.parametrize("service", WORLDS)
def test_a_run_of_three_batches_and_two_waves_dies_anywhere(service: str, scratch: Path) -> None:
    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        with WORLDS[service](scratch / name, rows=expiring_once()) as world:
            yield world

    assert broken(every_death(new_world)) == {}


@pytest.mark.parametrize(("service", "seed"), each(*range(6), quickly=lambda seed: seed < 2))
def test_the_recovery_dies_too(service: str, seed: int, scratch: Path) -> None:
    chance = random.Random(seed)

    with WORLDS[service](scratch / "often", rows=expiring_once()) as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(1, 200)))
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize(("service", "what"), each(*LOST_ANSWERS, quickly=_QUICK.__contains__))
def test_a_submission_whose_answer_is_lost_is_not_paid_twice(
    service: str, what: str, scratch: Path
) -> None:
    faults = {"create": [LOST_ANSWERS[what], None, LOST_ANSWERS[what]]}

    with WORLDS[service](scratch / "world", faults=faults) as world:
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("service", WORLDS)
def test_without_looking_for_it_a_lost_submission_is_paid_twice(
    service: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(self: BatchExecutor, *args: Any, **kwargs: Any) -> list[Any]:
        return []

    monkeypatch.setattr(BatchExecutor, "find", blind)
    faults = {"create": [Status(500, executed=True)]}

    with WORLDS[service](scratch / "world", faults=faults) as world:
        world.live()

        assert any("billed twice" in line for line in broken_promises(world))


@pytest.mark.gauntlet
@pytest.mark.parametrize("what", REPEATABLE)
@pytest.mark.parametrize(
    ("service", "operation"), [(name, step) for name, steps in STEPS.items() for step in steps]
)
def test_a_step_that_fails_is_taken_again(
    service: str, operation: str, what: str, scratch: Path
) -> None:
    faults = {operation: [REPEATABLE[what], REPEATABLE[what], None, REPEATABLE[what]]}

    with WORLDS[service](scratch / "world", faults=faults) as world:
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("ends", ["expired", "cancelled"])
@pytest.mark.parametrize("service", WORLDS)
def test_what_a_batch_did_not_run_is_run_in_the_next_wave(
    service: str, ends: Literal["expired", "cancelled"], scratch: Path
) -> None:
    with WORLDS[service](scratch / "world", batches=[None, Fate(ends=ends, done=2)]) as world:
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("service", WORLDS)
def test_a_batch_that_the_service_refuses_says_why(service: str, scratch: Path) -> None:
    refused = Fate(ends="failed", problems=[Problem(code="invalid_request", message="no such x")])
    outcomes: Counts = {"succeeded": 8, "bad_request": 4}

    with WORLDS[service](scratch / "world", batches=[None, refused]) as world:
        run = world.live()

        assert broken_promises(world, outcomes=outcomes) == []
        ((said, rows),) = world.open().report(run).errors
        assert ("no such x" in said, rows) == (True, 4)


@pytest.mark.parametrize("service", WORLDS)
def test_a_wrong_key_stops_the_run_at_once(service: str, scratch: Path) -> None:
    with WORLDS[service](scratch / "world") as world:
        world.environment = dict.fromkeys(world.environment, "another-key") | {
            name: text for name, text in world.environment.items() if name.endswith("VERSION")
        }
        run = world.live()

        assert world.service is not None
        assert (run.state, len(world.service.ledger.batches)) == ("stopped", 0)


@pytest.mark.parametrize("service", WORLDS)
def test_rows_are_answered_in_real_time_too(service: str, scratch: Path) -> None:
    with WORLDS[service](scratch / "world") as world:
        world.spec = spec(world.spec.base_url, provider=world.spec.provider, executor="online")
        world.live()

        assert broken_promises(world) == []
        assert (world.executions, world.repeated) == (12, 0)


def test_a_batch_is_made_only_of_what_the_service_has_read(scratch: Path) -> None:
    with WORLDS["azure"](scratch / "world") as world:
        world.live()

        assert world.service is not None
        ledger = world.service.ledger
        assert {exchange.status for exchange in ledger.exchanges_of("create")} == {200}
        assert ledger.operations["file"] > ledger.operations["create"]
