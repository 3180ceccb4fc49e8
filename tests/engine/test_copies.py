"""Rows that ask the same: asked once, answered all."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.ids import number_in
from anybatch.core.model import Counts, Row, Run
from anybatch.core.plan import Limits
from anybatch.engine.events import Progress, spared
from anybatch.engine.sharing import Sharing
from anybatch.testing import (
    CrashAt,
    FakeEndpoint,
    FakeOpenAI,
    Status,
    first_of,
    matching,
)

from .harness import Model, NewWorld, SmallBatches, World, eventually, spec
from .promises import broken_promises
from .test_crash import broken, crossings, deaths_at, every_death
from .test_crash_of_other_batches import WORLDS

KINDS = 7
COUNT = 17


def doubled(count: int = COUNT, kinds: int = KINDS) -> list[Row]:
    """Rows of which only so many ask something of their own."""
    return [{"topic": "ships", "text": f"row {n % kinds:03}"} for n in range(count)]


def rows_of(text: str) -> int:
    return sum(row["text"] == text for row in doubled())


def planned(workspace: SmallBatches, world: World, **wishes: Any) -> Run:
    return workspace.reopen(workspace.plan(world.source(), world.spec, **wishes).run)


async def fulfil(workspace: SmallBatches, run: Run) -> Run:
    return await workspace.fulfil(run, stop=asyncio.Event())


def look_at(world: World) -> tuple[Run, Counts]:
    workspace = world.open()
    run = workspace.store.find_run("last")
    return run, workspace.progress(run).counts


# --- asked once ---


def test_equal_rows_are_asked_once_and_all_get_the_answer(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model(), rows=doubled())

    run = world.live()

    assert world.executions == KINDS
    assert broken_promises(world) == []
    assert (run.total, run.copies, run.requests) == (COUNT, COUNT - KINDS, KINDS)
    assert spared(run).share == (COUNT - KINDS) / COUNT


def test_those_who_want_an_answer_each_get_one(new_world: NewWorld) -> None:
    world = new_world(
        spec=spec(), model=Model(), rows=doubled(), wishes={"sharing": Sharing(dedupe=False)}
    )

    run = world.live()

    assert world.executions == COUNT
    assert run.copies == 0


def test_tokens_of_the_table_are_those_that_were_paid(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model(), rows=doubled())
    run = world.live()
    workspace = world.open()

    at = workspace.columns(run).index("_tokens_in")
    told = [row[at] for chunk in workspace.joined(run) for row in chunk]
    assert told == [1] * KINDS + [0] * (COUNT - KINDS)
    assert workspace.progress(run).usage.tokens_in == KINDS


def test_each_row_has_its_number_its_request_and_a_name_of_its_own(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model(), rows=doubled())
    run = world.live()
    workspace = world.open()

    for n, row in enumerate(world.rows):
        assert str(row["text"]).encode() in workspace.request(run, n).body
        assert workspace.request(run, n).n == n
    assert [result.n for result in workspace.results(run) if result] == list(range(COUNT))
    names = [name for name, _ in workspace.named_results(run)]
    assert [number_in(name) for name in names] == list(range(COUNT))


@pytest.mark.parametrize("provider", WORLDS)
def test_a_provider_bills_each_different_body_once(provider: str, scratch: Path) -> None:
    with WORLDS[provider](scratch / "world") as world:
        world.rows = doubled()
        world.in_memory = True
        world.live()
        assert world.service is not None

        assert broken_promises(world) == []
        assert world.service.ledger.billed == KINDS
        assert set(world.service.ledger.billed_by_body.values()) == {1}


def test_rows_that_share_a_prefix_still_go_together(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model(), rows=doubled(), groups=True)

    world.live()

    assert broken_promises(world) == []
    assert world.executions == KINDS


# --- what becomes of all ---

REFUSED = rows_of("row 003")


async def test_what_one_is_refused_all_are_and_the_run_is_partial(new_world: NewWorld) -> None:
    with FakeEndpoint(script=matching("row 003", Status(400))) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint, rows=doubled())
        workspace = world.open()
        run = await fulfil(workspace, planned(workspace, world))
        look = workspace.progress(run)

    assert look.counts == {"succeeded": COUNT - REFUSED, "bad_request": REFUSED}
    assert (look.status, look.done) == ("partial", COUNT)
    assert len(endpoint.ledger.executions) == KINDS - 1


async def test_one_that_is_asked_again_answers_all(new_world: NewWorld) -> None:
    script = first_of(matching("row 003", Status(400), times=1))
    with FakeEndpoint(script=script) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint, rows=doubled())
        workspace = world.open()
        run = await fulfil(workspace, planned(workspace, world))
        again = workspace.retry(run, frozenset({"bad_request"}))
        run = await fulfil(workspace, workspace.store.run(run.id))
        workspace.deliver(run, world.out, force=True, raw=False)
        executions = len(endpoint.ledger.executions)

    assert again == REFUSED
    assert broken_promises(world) == []
    assert executions == KINDS


async def test_a_failing_service_is_asked_again_once_for_all(new_world: NewWorld) -> None:
    script = first_of(matching(r"row 00[35]", Status(500), times=5))
    with FakeEndpoint(script=script) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint, rows=doubled())
        workspace = world.open()
        run = await fulfil(workspace, planned(workspace, world))
        workspace.deliver(run, world.out, force=True, raw=False)

    assert run.wave > 1
    assert broken_promises(world) == []


async def test_a_cancellation_leaves_each_row_one_outcome(new_world: NewWorld) -> None:
    gate, heard = asyncio.Event(), asyncio.Event()
    world = new_world(spec=spec(), model=Model(gate=gate), rows=doubled())
    workspace = world.open()
    run = planned(workspace, world)

    def listen(progress: Progress) -> None:
        if progress.run.state == "cancelling":
            heard.set()

    working = asyncio.create_task(workspace.fulfil(run, stop=asyncio.Event(), on_progress=listen))
    await eventually(lambda: world.executions == 4)
    world.open().ask_to_cancel(run)
    await heard.wait()
    gate.set()
    ended = await working
    counts = workspace.progress(ended).counts

    assert counts == {"succeeded": 3 + 3 + 2 + 2, "cancelled": COUNT - 10}
    assert workspace.progress(ended).status == "cancelled"


async def test_the_first_rows_are_tried_first(new_world: NewWorld) -> None:
    with FakeOpenAI(answer=lambda call: "?") as service:
        asked = spec(
            service.base_url,
            provider="openai",
            executor="batch",
            output_schema={"type": "string", "enum": ["a", "b"]},
        )
        world = new_world(spec=asked, service=service, rows=doubled())
        workspace = world.open()
        run = await fulfil(workspace, planned(workspace, world, canary=2))

    assert run.state == "stopped"
    assert service.ledger.billed == 2
    assert workspace.progress(run).counts == {"invalid_output": rows_of("row 000") * 2}


# --- whoever dies ---


@contextmanager
def in_process(path: Path) -> Iterator[World]:
    with World(root=path, spec=spec(), model=Model(), in_memory=True, rows=doubled()) as world:
        yield world


def test_a_run_with_equal_rows_dies_anywhere(scratch: Path) -> None:
    deaths = every_death(lambda name: in_process(scratch / name))

    assert broken(deaths) == {}
    merging = ("requests.merge", "requests.rename", "requests.merged", "numbers.write")
    assert set(deaths) >= crossings(*merging, "journal.fsync", "store.transaction")


def with_two_waves(path: Path) -> AbstractContextManager[World]:
    @contextmanager
    def new_world() -> Iterator[World]:
        script = first_of(matching(r"row 00[35]", Status(500), times=5))
        with FakeEndpoint(script=script) as endpoint:
            asked = spec(endpoint.base_url)
            given: dict[str, Any] = {"endpoint": endpoint, "rows": doubled()}
            with World(root=path, spec=asked, **given) as world:
                yield world

    return new_world()


@pytest.mark.parametrize("name", ["numbers.write", "store.transaction", "journal.fsync"])
def test_a_second_wave_of_equal_rows_dies_anywhere(name: str, scratch: Path) -> None:
    deaths = deaths_at(name, lambda at: with_two_waves(scratch / at))

    assert broken(deaths) == {}
    assert set(deaths) >= crossings(name)


@pytest.mark.parametrize("seed", range(8))
def test_batches_of_equal_rows_die_often(seed: int, scratch: Path) -> None:
    chance = random.Random(seed)
    with FakeOpenAI() as service:
        asked = spec(service.base_url, provider="openai", executor="batch", tail="batch")
        limits = Limits(max_requests=3)
        given: dict[str, Any] = {"service": service, "rows": doubled(), "limits": limits}
        with World(root=scratch / "world", spec=asked, **given) as world:
            for _ in range(3):
                world.die(CrashAt(chance.randint(1, 200)))
            world.live()

            assert broken_promises(world) == []
            assert service.ledger.billed == KINDS
            assert set(service.ledger.billed_by_body.values()) == {1}
