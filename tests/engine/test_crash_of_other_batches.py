"""The promises of `test_crash_of_batches`, for the providers whose batch APIs are not OpenAI's."""

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.core.plan import Limits
from anybatch.testing import FakeAnthropic, FakeGemini, Fault, Phases
from anybatch.testing.service.faults import Unrun

from .harness import HurriedClock, World, spec
from .promises import broken_promises
from .test_crash import broken, every_death
from .test_crash_of_batches import LOST_ANSWERS, REPEATABLE

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
def gemini(root: Path, **given: Any) -> Iterator[World]:
    clock = HurriedClock()
    with FakeGemini(clock=clock, **given) as service:
        asked = spec(service.base_url, provider="gemini", api="gemini.generate", **TO_A_BATCH)
        with World(root=root, spec=asked, service=service, clock=clock) as world:
            yield world


WORLDS: dict[str, Callable[..., AbstractContextManager[World]]] = {
    "anthropic": anthropic,
    "gemini": gemini,
}
STEPS = {
    "anthropic": ("poll", "list", "download", "delete"),
    "gemini": ("start", "upload", "files", "poll", "list", "download", "delete"),
}


def expiring_once() -> Callable[[Any], Fault | None]:
    """Of two rows the answers come in a second wave."""
    seen: set[str] = set()

    def expires_once(call: Any) -> Fault | None:
        first = call.prompt not in seen
        seen.add(call.prompt)
        unlucky = any(row in call.prompt for row in ("row 003", "row 008"))
        return Unrun("expired") if unlucky and first else None

    return expires_once


@pytest.mark.parametrize("provider", WORLDS)
def test_a_run_of_three_batches_and_two_waves_dies_anywhere(provider: str, scratch: Path) -> None:
    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        with WORLDS[provider](scratch / name, rows=expiring_once()) as world:
            yield world

    deaths = every_death(new_world)

    assert broken(deaths) == {}


@pytest.mark.parametrize("what", LOST_ANSWERS)
@pytest.mark.parametrize("provider", WORLDS)
def test_a_submission_whose_answer_is_lost_is_not_paid_twice(
    provider: str, what: str, scratch: Path
) -> None:
    faults = {"create": [LOST_ANSWERS[what], None, LOST_ANSWERS[what]]}

    with WORLDS[provider](scratch / "world", faults=faults) as world:
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("what", REPEATABLE)
@pytest.mark.parametrize(
    ("provider", "operation"), [(name, step) for name, steps in STEPS.items() for step in steps]
)
def test_a_step_that_fails_is_taken_again(
    provider: str, operation: str, what: str, scratch: Path
) -> None:
    faults = {operation: [REPEATABLE[what], REPEATABLE[what], None, REPEATABLE[what]]}

    with WORLDS[provider](scratch / "world", faults=faults) as world:
        world.live()

        assert broken_promises(world) == []


@pytest.mark.xfail(
    strict=True, reason="engine/remote.py takes the oldest batch of this size for ours"
)
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
