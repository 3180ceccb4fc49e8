"""The promises of `test_crash_of_batches`, for the providers whose batch APIs are not OpenAI's."""

import random
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from msgspec.structs import replace

from anybatch.core.model import Counts
from anybatch.core.plan import Limits
from anybatch.core.states import Outcome
from anybatch.executors.batch import BatchExecutor
from anybatch.testing import (
    CrashAt,
    FakeAnthropic,
    FakeGemini,
    FakeVertex,
    Fate,
    Fault,
    Phases,
    Problem,
    Status,
)
from anybatch.testing.service.faults import Unrun

from .harness import HurriedClock, World, spec
from .promises import broken_promises
from .test_crash import broken, every_death
from .test_crash_of_batches import LOST_ANSWERS

BY_SIZE = Limits(max_requests=5, distinct_sizes=True)
"""Batches of 5, 4 and 3 rows."""
TO_A_BATCH = {"executor": "batch", "tail": "batch"}
NewWorld = Callable[[str], AbstractContextManager[World]]


@contextmanager
def anthropic(root: Path, **given: Any) -> Iterator[World]:
    clock = HurriedClock()  # of both: a batch without a mark is known by when it was made, too
    with FakeAnthropic(clock=clock, **given) as service:
        asked = spec(service.base_url, provider="anthropic", api="anthropic.messages", **TO_A_BATCH)
        with World(root=root, spec=asked, service=service, limits=BY_SIZE, clock=clock) as world:
            yield world


@contextmanager
def gemini(root: Path, *, within: bool = False, **given: Any) -> Iterator[World]:
    clock = HurriedClock()
    with FakeGemini(clock=clock, **given) as service:
        asked = spec(service.base_url, provider="gemini", api="gemini.generate", **TO_A_BATCH)
        with World(root=root, spec=asked, service=service, clock=clock, within=within) as world:
            yield world


@contextmanager
def vertex(root: Path, **given: Any) -> Iterator[World]:
    clock = HurriedClock()
    with FakeVertex(clock=clock, shards=2, **given) as service:
        asked = spec(service.base_url, provider="vertex", api="gemini.generate", **TO_A_BATCH)
        there = dict(service.environment)
        with World(root=root, spec=asked, service=service, clock=clock, environment=there) as world:
            yield world


WORLDS: dict[str, Callable[..., AbstractContextManager[World]]] = {
    "anthropic": anthropic,
    "gemini": gemini,
    "gemini, without uploads": partial(gemini, within=True),
    "vertex": vertex,
}
_RARE = ("vertex", "gemini, without uploads")
"""Those of whose like there is one already."""


_QUICK = {
    *("reset after it is done", "500, done all the same", "500, not done"),
    *("a page for people, done", "half a body, whole for HTTP"),
}
"""Of what can become of an answer, one of each kind."""


def each(*given: Any, quickly: Callable[[Any], bool]) -> list[Any]:
    """Every one of these for every provider; of the rare ones some wait for the gauntlet."""
    return [
        pytest.param(
            provider,
            one,
            marks=pytest.mark.gauntlet if provider in _RARE and not quickly(one) else (),
        )
        for provider in WORLDS
        for one in given
    ]


def expiring_once() -> Callable[[Any], Fault | None]:
    """Of two rows the answers come in a second wave."""
    seen: set[str] = set()

    def expires_once(call: Any) -> Fault | None:
        first = call.prompt not in seen
        seen.add(call.prompt)
        unlucky = any(row in call.prompt for row in ("row 003", "row 008"))
        return Unrun("expired") if unlucky and first else None

    return expires_once


@pytest.mark.gauntlet
@pytest.mark.parametrize("provider", WORLDS)
def test_a_run_of_three_batches_and_two_waves_dies_anywhere(provider: str, scratch: Path) -> None:
    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        with WORLDS[provider](scratch / name, rows=expiring_once()) as world:
            yield world

    deaths = every_death(new_world)

    assert broken(deaths) == {}


@pytest.mark.parametrize(("provider", "seed"), each(*range(6), quickly=lambda seed: seed < 2))
def test_the_recovery_dies_too(provider: str, seed: int, scratch: Path) -> None:
    chance = random.Random(seed)

    with WORLDS[provider](scratch / "often", rows=expiring_once()) as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(1, 200)))
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("provider", WORLDS)
def test_without_looking_for_it_a_lost_submission_is_paid_twice(
    provider: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(self: BatchExecutor, *args: Any, **kwargs: Any) -> list[Any]:
        return []

    monkeypatch.setattr(BatchExecutor, "find", blind)
    faults = {"create": [Status(500, executed=True)]}

    with WORLDS[provider](scratch / "world", faults=faults) as world:
        world.live()

        assert any("billed twice" in line for line in broken_promises(world))


@pytest.mark.parametrize("provider", WORLDS)
def test_rows_are_answered_in_real_time_too(provider: str, scratch: Path) -> None:
    with WORLDS[provider](scratch / "world") as world:
        world.spec = replace(world.spec, executor="online")
        world.live()

        assert broken_promises(world) == []
        assert (world.executions, world.repeated) == (12, 0)


def test_rows_of_batches_that_expired_whole_are_told_to_have_expired(scratch: Path) -> None:
    with gemini(scratch / "world", batches=lambda number: Fate(ends="expired")) as world:
        world.live()

        assert broken_promises(world, outcomes={"expired": 12}) == []


@pytest.mark.parametrize(
    ("code", "outcome"), [("INTERNAL", "succeeded"), ("INVALID_ARGUMENT", "bad_request")]
)
def test_a_batch_that_the_service_failed_is_run_again_and_one_that_it_refuses_is_not(
    code: str, outcome: Outcome, scratch: Path
) -> None:
    failed = Fate(ends="failed", problems=[Problem(code=code, message="no")])
    outcomes: Counts = {"succeeded": 8}
    outcomes[outcome] = outcomes.get(outcome, 0) + 4

    with gemini(scratch / "world", batches=[None, failed]) as world:
        world.live()

        assert broken_promises(world, outcomes=outcomes) == []


def test_a_batch_that_fails_for_want_of_quota_is_submitted_again(scratch: Path) -> None:
    failed = Fate(ends="failed", problems=[Problem(code="RESOURCE_EXHAUSTED", message="no")])

    with gemini(scratch / "world", batches=[None, failed]) as world:
        world.live()

        assert world.service is not None
        ledger = world.service.ledger
        (again,) = ledger.repeated_batches
        twice = f"batches were submitted twice: {[again.id]}"
        assert [line for line in broken_promises(world) if line != twice] == []
        assert ledger.billed == 12


@pytest.mark.parametrize("ends", ["expired", "cancelled"])
@pytest.mark.parametrize("provider", WORLDS)
def test_what_a_batch_did_not_run_is_run_in_the_next_wave(
    provider: str, ends: Literal["expired", "cancelled"], scratch: Path
) -> None:
    with WORLDS[provider](scratch / "world", batches=[None, Fate(ends=ends)]) as world:
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize(
    ("provider", "limit"),
    [
        ("anthropic", {"max_queued": 6}),
        ("gemini", {"max_batches": 1}),
        ("vertex", {"max_batches": 1}),
    ],
)
def test_a_batch_that_is_too_much_for_now_waits_for_the_others(
    provider: str, limit: dict[str, int], scratch: Path
) -> None:
    phases = Phases(in_progress=60)

    with WORLDS[provider](scratch / "world", phases=phases, **limit) as world:
        world.live()

        assert broken_promises(world) == []
        assert world.service is not None
        assert 429 in {one.status for one in world.service.ledger.exchanges_of("create")}


@pytest.mark.parametrize("what", ["reset after it is done", "reset before it is done"])
def test_a_batch_of_somebody_else_is_neither_taken_for_ours_nor_cancelled(
    what: str, scratch: Path
) -> None:
    faults = {"create": [None, LOST_ANSWERS[what]]}

    with anthropic(scratch / "world", faults=faults, phases=Phases(in_progress=30)) as world:
        theirs = created_by_somebody_else(world, size=5)
        world.live()

        assert world.service is not None
        first = world.service.ledger.batches[0]
        assert (first.id, first.stage, first.billed) == (theirs, "completed", 5)
        assert promises_but_for(theirs, broken_promises(world)) == []


def created_by_somebody_else(world: World, *, size: int) -> str:
    """The id of a batch of as many requests that is none of ours."""
    assert world.service is not None
    ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    rows = [{"custom_id": f"theirs-{n}", "params": ask} for n in range(size)]
    request = urllib.request.Request(
        f"{world.service.base_url}/messages/batches",
        data=msgspec.json.encode({"requests": rows}),
        headers={"anthropic-version": "2026-10-21"},
    )
    with urllib.request.urlopen(request, timeout=5) as reply:
        return str(msgspec.json.decode(reply.read())["id"])


def promises_but_for(theirs: str, broken: list[str]) -> list[str]:
    """The results that somebody else keeps are not ours to remove."""
    kept = f"files were left there: ['{theirs}_results.jsonl']"
    return [line for line in broken if line != kept]
