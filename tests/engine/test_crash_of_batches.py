"""A run through a provider's batch API dies anywhere, or hears anything: nothing is paid twice."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.plan import Limits
from anybatch.effects import Moment, Probe
from anybatch.executors.batch import BatchExecutor
from anybatch.testing import (
    BAD_GATEWAY,
    EMPTY,
    HTML_PAGE,
    Altered,
    Crash,
    CrashAt,
    Cut,
    Delay,
    FakeOpenAI,
    Fault,
    Status,
    retry_after,
)
from anybatch.testing.service.faults import Unrun

from .harness import Askew, World, spec
from .promises import broken_promises
from .test_crash import broken, every_death

NewWorld = Callable[[str], AbstractContextManager[World]]

SUBMITTING = {"upload.write", "http.send", "http.receive", "store.transaction"}
FIRST_WAVE = {f"row {n:03}" for n in range(12)}


@contextmanager
def world_with(root: Path, **given: Any) -> Iterator[World]:
    with FakeOpenAI(**given) as service:
        asked = spec(service.base_url, provider="openai", executor="batch", tail="batch")
        with World(root=root, spec=asked, service=service) as world:
            yield world


@pytest.fixture
def three_batches(scratch: Path) -> NewWorld:
    """Three batches; of two rows the answers come in a second wave."""

    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        seen: set[str] = set()

        def expires_once(call: Any) -> Fault | None:
            first = call.prompt not in seen
            seen.add(call.prompt)
            unlucky = any(row in call.prompt for row in ("row 003", "row 008"))
            return Unrun("expired") if unlucky and first else None

        with world_with(scratch / name, rows=expires_once) as world:
            yield world

    return new_world


def test_a_run_of_three_batches_and_two_waves_dies_anywhere(three_batches: NewWorld) -> None:
    deaths = every_death(three_batches)

    assert broken(deaths) == {}
    assert {name for name, _ in deaths} >= SUBMITTING | {"journal.fsync", "numbers.write"}


@pytest.mark.parametrize("seed", range(6))
def test_the_recovery_dies_too(seed: int, three_batches: NewWorld) -> None:
    chance = random.Random(seed)

    with three_batches("often") as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(1, 200)))
        world.live()

        assert broken_promises(world) == []


# What befalls each operation is in `test_faults`; these are for those that other tests start from.
LOST_ANSWERS: dict[str, Fault] = {
    "reset before it is read": Cut("unread"),
    "reset before it is done": Cut("unexecuted"),
    "reset after it is done": Cut("executed"),
    "closed after it is done": Cut("executed", by="close"),
    "half an answer": Cut("midway"),
    "500, not done": Status(500),
    "500, done all the same": Status(500, executed=True),
    "502 of a proxy, done": Status(502, body=BAD_GATEWAY.body, executed=True),
    "503, done": Status(503, executed=True),
    "408, done": Status(408, executed=True),
    "409, done": Status(409, executed=True),
    "a page for people, done": HTML_PAGE,
    "nothing, done": EMPTY,
    "403 of a proxy, done": Status(403, body=b"<html>no</html>", executed=True),
    "half a body, whole for HTTP": Altered("half"),
    "a body nested too deep": Altered("nested"),
}


def test_without_looking_for_it_a_lost_submission_is_paid_twice(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(self: BatchExecutor, *args: Any, **kwargs: Any) -> list[Any]:
        return []

    monkeypatch.setattr(BatchExecutor, "find", blind)

    with world_with(scratch / "world", faults={"create": [Status(500, executed=True)]}) as world:
        world.live()
        broken = broken_promises(world)

    assert any("submitted twice" in line for line in broken)
    assert any("billed twice" in line for line in broken)


REPEATABLE: dict[str, Fault] = {
    "429": Status(429),
    "429 with a pause in seconds": Status(429, headers=retry_after(0.01, form="float")),
    "429 with a pause in ms": Status(429, headers=retry_after(0.01, form="ms")),
    "429 with an absurd pause": Status(429, headers={"retry-after": "1000000000"}),
    "500": Status(500),
    "500, done all the same": Status(500, executed=True),
    "502 of a proxy": BAD_GATEWAY,
    "503": Status(503),
    "504": Status(504),
    "408": Status(408),
    "reset before it is read": Cut("unread"),
    "reset before it is done": Cut("unexecuted"),
    "reset after it is done": Cut("executed"),
    "half an answer": Cut("midway"),
    "half an answer in chunks": Cut("midway", framing="chunked"),
    "a late answer": Delay(0.05),
}


def test_an_upload_that_grew_old_is_not_used_by_who_comes_after_a_crash(scratch: Path) -> None:
    with world_with(scratch / "world") as world:
        world.limits = Limits(max_requests=99)
        assert world.die(CrashAt(3, only="http.send"))
        world.clock = Askew(world.clock, timedelta(days=16))
        with pytest.raises(Crash):
            world.live(dying_before_anything_is_deleted(world))
        world.live()

        assert broken_promises(world) == []
        assert world.service is not None
        assert world.service.ledger.operations["upload"] == 2


def dying_before_anything_is_deleted(world: World) -> Probe:
    assert world.service is not None
    ledger = world.service.ledger

    def probe(name: str, moment: Moment) -> None:
        if ledger.operations.get("files", 0):
            raise Crash("the uploads were listed")

    return probe


def test_a_refused_connection_is_waited_out(scratch: Path) -> None:
    with world_with(scratch / "world") as world:
        assert world.service is not None
        world.service.stop()
        died = CrashAt(30, only="http.send")
        world.die(died)
        world.service.start()
        world.live()

        assert broken_promises(world) == []
        assert died.crashed
