"""What a run that is gone has left at its provider is found there and deleted, at each of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anybatch.cli.leftovers import Leftovers, deleted, find
from anybatch.testing import FakeOpenAI, FakeVertex

from .harness import HurriedClock, World, spec
from .test_crash_of_clones import WORLDS


@contextmanager
def openai(root: Path) -> Iterator[World]:
    with FakeOpenAI() as service:
        asked = spec(service.base_url, provider="openai", executor="batch", tail="batch")
        with World(root=root, spec=asked, service=service) as world:
            yield world


@contextmanager
def vertex(root: Path) -> Iterator[World]:
    clock = HurriedClock()
    with FakeVertex(clock=clock) as service:
        asked = spec(service.base_url, provider="vertex", api="gemini.generate", executor="batch")
        world = World(
            root=root, spec=asked, service=service, clock=clock, environment=service.environment
        )
        with world:
            yield world


EACH: dict[str, Any] = {**WORLDS, "openai": openai, "vertex": vertex}


@pytest.mark.parametrize("service", EACH)
def test_uploads_and_results_of_a_run_that_is_gone_are_found_and_deleted(
    service: str, scratch: Path
) -> None:
    with EACH[service](scratch / "world") as world:
        found, again = asyncio.run(gone(world))
        left = world.service.ledger.leftover_files

    batches = {one.batch_id for one in found.orphans}
    assert len(batches) == 3
    assert all(one.deleted for one in found.orphans)
    assert len(found.orphans) >= 6  # the requests of each, and its results
    assert (again.orphans, again.kept, again.in_use, again.running) == ([], [], 0, [])
    assert left == ()


async def gone(world: World) -> tuple[Leftovers, Leftovers]:
    """What is found of a run that kept all and was forgotten; and what is, once that is deleted."""
    workspace = world.open()
    run = workspace.plan(world.source(), world.spec, keep_remote=True).run
    run = await workspace.fulfil(run, stop=asyncio.Event())
    desk = workspace.batches_of(workspace.provider_of(run.spec), run.spec)
    try:
        kept = await find(desk, workspace, run.spec.provider)
        assert kept.orphans == []
        assert len(kept.kept) >= 6
        workspace.store.delete(run.id)
        found = await find(desk, workspace, run.spec.provider)
        found = found._replace(orphans=[await deleted(desk, one) for one in found.orphans])
        return found, await find(desk, workspace, run.spec.provider)
    finally:
        await desk.close()
        world.close()
