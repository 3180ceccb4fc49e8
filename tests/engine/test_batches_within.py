"""Small batches of Gemini go within their submission: nothing is uploaded, and nothing is left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import anybatch
from anybatch.testing import CrashAt, FakeGemini

from .harness import World
from .promises import broken_promises
from .test_crash import broken, every_death
from .test_crash_of_other_batches import expiring_once, gemini

UPLOADING = {"start", "upload"}


def used(service: FakeGemini) -> set[str]:
    return set(service.ledger.operations)


@pytest.fixture
def service() -> Iterator[FakeGemini]:
    with FakeGemini() as fake:
        yield fake


@pytest.fixture
def ask(tmp_path: Path, service: FakeGemini) -> dict[str, Any]:
    return {
        "prompt": "Say {{ text }}",
        "model": "gemini/m",
        "base_url": service.base_url,
        "executor": "batch",
        "store": tmp_path / "store",
    }


def test_nothing_is_uploaded_and_no_batch_stays_there(scratch: Path) -> None:
    with gemini(scratch / "world", within=True) as world:
        world.live()

        assert broken_promises(world) == []
        assert isinstance(world.service, FakeGemini)
        assert not used(world.service) & UPLOADING
        assert world.service.ledger.operations["remove"] == 3


@pytest.mark.parametrize("at", range(1, 60, 7))
def test_who_dies_on_the_way_pays_for_no_row_twice(at: int, scratch: Path) -> None:
    with gemini(scratch / "world", within=True, rows=expiring_once()) as world:
        world.die(CrashAt(at))
        world.live()

        assert broken_promises(world) == []


@pytest.mark.gauntlet
def test_a_run_of_three_batches_and_two_waves_dies_anywhere(scratch: Path) -> None:
    def new_world(name: str) -> Any:
        return gemini(scratch / name, within=True, rows=expiring_once())

    assert broken(every_death(new_world)) == {}


@pytest.mark.parametrize(("size", "uploads"), [(1_000, False), (30_000, True)])
def test_larger_batches_go_by_file(
    size: int, uploads: bool, service: FakeGemini, ask: dict[str, Any]
) -> None:
    rows = [{"text": f"{n} {'x' * size}"} for n in range(40)]

    run = anybatch.run(rows, **ask)

    assert run.status == "ok"
    assert bool(used(service) & UPLOADING) == uploads
    assert [row["answer"].split()[2] for row in run.rows()] == [str(n) for n in range(40)]


def test_texts_are_embedded_so_too(service: FakeGemini, ask: dict[str, Any]) -> None:
    run = anybatch.run([{"text": "a"}, {"text": "b"}], api="gemini.embed", **ask)

    first, second = (row["embedding"] for row in run.rows())
    assert run.status == "ok"
    assert len(first) == len(second) > 0
    assert first != second
    assert not used(service) & UPLOADING


def test_a_canary_goes_the_way_that_all_others_will(scratch: Path) -> None:
    with gemini(scratch / "world", within=True) as world:
        run_with_canary(world, canary=2)

        assert broken_promises(world) == []
        assert isinstance(world.service, FakeGemini)
        assert world.service.ledger.operations["upload"] == len(world.service.ledger.batches)


def run_with_canary(world: World, *, canary: int) -> None:
    workspace = world.open()
    workspace.plan(world.source(), world.spec, canary=canary)
    world.close()
    world.live()
