"""Answers of earlier runs, taken over by a run that asks the same: nothing is sent for them."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from anybatch.clock import SystemClock
from anybatch.core.model import Row, Run, Spec
from anybatch.core.plan import Limits
from anybatch.core.retry import rows as counts_of_rows
from anybatch.core.served import Ready
from anybatch.core.tokens import ByBytes
from anybatch.engine.events import REUSED, spared
from anybatch.engine.outlook import out_of
from anybatch.engine.sharing import Sharing
from anybatch.errors import BadSettings, StoreCorrupt
from anybatch.testing import CrashAt, FakeEndpoint, FakeOpenAI, Spoiled, Watch

from .harness import Model, NewWorld, World, rows, spec

SETTLED = {"temperature": 0}
REUSING: dict[str, Any] = {"sharing": Sharing(reuse="settled")}
ALWAYS: dict[str, Any] = {"sharing": Sharing(reuse="always")}


def settled(**changes: Any) -> Spec:
    return spec(**{"parameters": SETTLED, **changes})


def numbered(*numbers: int) -> list[Row]:
    return [{"topic": "ships", "text": f"row {n:03}"} for n in numbers]


@pytest.fixture
def world(new_world: NewWorld) -> World:
    """One in which rows 0 to 9 were answered."""
    world = new_world(spec=settled(), model=Model(), rows=numbered(*range(10)), in_memory=True)
    world.live()
    return world


def then(world: World, *numbers: int, **wishes: Any) -> Run:
    """Another run, of these rows; what its model was asked is all that is counted."""
    assert world.model is not None
    world.model.asked.clear()
    world.model.voice = "anew"
    world.rows = numbered(*numbers)
    world.wishes = {**REUSING, **wishes}
    return world.live()


def answers(world: World) -> list[str]:
    """Whose voice each row was answered in."""
    written = [msgspec.json.decode(line) for line in world.out.read_bytes().splitlines()]
    assert [row["text"] for row in written] == [row["text"] for row in world.rows]
    for row in written:
        assert row["answer"].endswith(f": {row['topic']}: {row['text']}")
    return [row["answer"].partition(":")[0] for row in written]


# --- what is taken ---


def test_only_what_is_new_is_sent(world: World) -> None:
    run = then(world, 3, 20, 5, 21, 4)

    assert world.executions == 2
    assert answers(world) == ["echo", "anew", "echo", "anew", "echo"]
    assert (run.total, run.reused, run.to_send) == (5, 3, 2)
    assert spared(run).share == 3 / 5


def test_a_run_of_which_all_is_known_sends_nothing(world: World) -> None:
    run = then(world, *range(9, -1, -1))
    look = world.open().progress(run)

    assert world.executions == 0
    assert answers(world) == ["echo"] * 10
    assert look.status == "ok"
    assert look.counts == {"succeeded": 10}
    assert (look.usage.tokens_in, look.usage.tokens_out) == (0, 0)


def test_the_run_says_where_its_answers_are_from_and_what_they_took(world: World) -> None:
    run = then(world, 1, 2, 2, 30)
    store = world.open().store
    (event,) = store.events(run.id, REUSED)
    (earlier,) = [other for other in store.runs() if other.id != run.id]

    assert event.fields["requests"] == 2
    assert event.fields["runs"] == [earlier.id]
    assert event.fields["usage"] == {"tokens_in": 2, "tokens_out": 2}


def test_rows_that_ask_the_same_share_an_answer_that_was_there(world: World) -> None:
    run = then(world, 3, 20, 3, 20, 3, 4)
    store = world.open().store

    assert world.executions == 1
    assert answers(world) == ["echo", "anew", "echo", "anew", "echo", "echo"]
    assert (run.copies, run.reused) == (3, 2)
    assert counts_of_rows(store.batches(run.id)) == {"succeeded": 6}


def test_answers_are_handed_on_and_stay_when_their_first_run_goes(world: World) -> None:
    second = then(world, *range(5))
    workspace = world.open()
    for run in workspace.store.runs():
        if run.id != second.id:
            workspace.store.delete(run.id)

    third = then(world, *range(7))

    assert (third.reused, world.executions) == (5, 2)


def test_the_model_that_answered_is_kept_and_the_tries_are_none(new_world: NewWorld) -> None:
    with FakeEndpoint() as endpoint:
        asked = spec(endpoint.base_url, parameters=SETTLED)
        world = new_world(spec=asked, endpoint=endpoint, rows=numbered(1, 2), in_memory=True)
        world.live()
        before = [result.model for result in results(world) if result]
        world.rows, world.wishes = numbered(2, 1), REUSING
        world.live()

        assert [result.model for result in results(world) if result] == before != [None, None]
        assert {result.tries for result in results(world) if result} == {0}
        assert len(endpoint.ledger.executions) == 2


def results(world: World) -> list[Any]:
    workspace = world.open()
    return list(workspace.results(workspace.store.find_run("last")))


def test_by_batch_only_what_is_new_is_billed_and_tried_first(new_world: NewWorld) -> None:
    with FakeOpenAI() as service:
        asked = settled(
            base_url=service.base_url, provider="openai", executor="batch", tail="batch"
        )
        known, more = numbered(*range(10)), numbered(*range(5, 20))
        world = new_world(spec=asked, service=service, rows=known, in_memory=True)
        world.live()
        world.rows, world.wishes = more, {**REUSING, "canary": 2}
        run = world.live()

        assert service.ledger.billed == 20
        assert set(service.ledger.billed_by_body.values()) == {1}
        batches = world.open().store.batches(run.id)
        assert [batch.size for batch in batches] == [2, 4, 4, 5]
        assert [batch.reused for batch in batches] == [False, False, False, True]
        assert {batch.status for batch in batches} == {"cleaned", "collected"}


SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


def test_first_rows_that_are_not_valid_keep_back_the_others_though_some_are_known(
    new_world: NewWorld,
) -> None:
    said = ['{"x": 1}']
    with FakeOpenAI(answer=lambda call: said[-1]) as service:
        asked = settled(
            base_url=service.base_url,
            provider="openai",
            executor="batch",
            output_schema=SCHEMA,
        )
        known = numbered(*range(5))
        world = new_world(spec=asked, service=service, rows=known, in_memory=True)
        world.live()
        said.append("?")
        world.rows, world.wishes = numbered(*range(20)), {**REUSING, "canary": 2}
        run = world.live()

        assert run.state == "stopped"
        assert service.ledger.billed == 7
        assert world.open().progress(run).counts == {"succeeded": 5, "invalid_output": 2}


# --- what is not taken ---

CHANGES: dict[str, dict[str, Any]] = {
    "another model": {"model": "fake-2"},
    "another address": {"base_url": "http://127.0.0.1:10/v1"},
    "another parameter": {"parameters": {**SETTLED, "max_tokens": 5}},
    "another prompt": {"prompt": "{{ topic }}:  {{ text }}"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_question_gets_another_answer(change: str, world: World) -> None:
    world.spec = replace(world.spec, **CHANGES[change])

    run = then(world, *range(10))

    assert (run.reused, world.executions) == (0, 10)


def test_without_being_asked_for_nothing_is_taken(world: World) -> None:
    run = then(world, *range(9), sharing=Sharing())

    assert (run.reused, world.executions) == (0, 9)


def test_what_does_not_fit_the_schema_is_asked_again(new_world: NewWorld) -> None:
    schema = {"type": "string", "enum": ["a"]}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **SETTLED}
    asked = {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": body}
    model = Model()
    world = new_world(spec=settled(prompt=None, model=None), model=model)
    (world.root / "rows.jsonl").write_bytes(msgspec.json.encode(asked) + b"\n")
    world.live()
    world.spec = replace(world.spec, output_schema=schema)
    world.wishes = REUSING

    run = world.live()

    assert (run.reused, world.executions) == (0, 3)  # the second wave asks again


def test_what_failed_is_asked_again(new_world: NewWorld) -> None:
    with FakeEndpoint(script={1: Spoiled("refused")}) as endpoint:
        asked = spec(endpoint.base_url, parameters=SETTLED)
        given = {"endpoint": endpoint, "rows": numbered(1, 2, 3), "calls": 1}
        world = new_world(spec=asked, in_memory=True, limits=Limits(max_requests=9), **given)
        world.live()
        world.rows, world.wishes = numbered(3, 2, 1), REUSING
        run = world.live()

        assert run.reused == 2
        assert len(endpoint.ledger.executions) == 4
        assert world.open().progress(run).counts == {"succeeded": 3}


def test_what_is_left_to_chance_is_refused_with_the_ways_out(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model(), in_memory=True)
    world.live()
    world.rows, world.wishes = rows(5), REUSING

    with pytest.raises(BadSettings, match="--set temperature=0"):
        world.live()

    folders = [path.name for path in (world.root / "store" / "runs").iterdir()]
    assert folders == [run.id for run in world.open().store.runs()]

    world.wishes = ALWAYS
    assert world.live().reused == 5


def ready(name: str, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": name}]
    body = {"model": "m", "messages": said, **more}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_of_ready_made_requests_those_are_taken_that_are_settled(new_world: NewWorld) -> None:
    model = Model()
    world = new_world(spec=spec(prompt=None, model=None), model=model)
    lines = [ready("a", temperature=0), ready("b"), ready("c", seed=7), ready("d", temperature=1)]
    (world.root / "rows.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(lines))
    world.live()
    world.wishes = {**REUSING, "again": True}

    run = world.live()

    assert run.reused == 2
    assert world.executions == 6


def test_what_clients_of_the_server_were_answered_is_theirs(new_world: NewWorld) -> None:
    world = new_world(spec=settled(), model=Model(), rows=numbered(1), in_memory=True)
    run = world.live()
    workspace = world.open()
    body = workspace.request(run, 0).body
    workspace.store.delete(run.id)
    with workspace.ready_made(world.spec, run_id="of-a-client", source="batch_1") as making:
        making.add([Ready(name="a", model="fake-1", body=body)])
        made = making.finish(now=workspace.clock.now())
    asyncio.run(workspace.fulfil(made, stop=asyncio.Event()))

    assert then(world, 1).reused == 0


# --- what else must hold ---


def test_what_was_taken_teaches_nothing_of_how_long_answers_are(world: World) -> None:
    run = then(world, *range(9, -1, -1))
    store = world.open().store
    for other in store.runs():
        if other.id != run.id:
            store.delete(other.id)

    assert "nobody knows" in out_of(store, world.spec, run.parts, ByBytes()).source


async def test_what_was_taken_is_asked_anew_where_that_is_wanted(world: World) -> None:
    run = await asyncio.to_thread(then, world, *range(5))
    workspace = world.open()

    assert workspace.retry(run, frozenset({"succeeded"})) == 5
    run = await workspace.fulfil(workspace.store.run(run.id), stop=asyncio.Event())
    workspace.deliver(run, world.out, force=True, raw=False)
    assert answers(world) == ["anew"] * 5


def test_a_damaged_earlier_run_is_named(world: World) -> None:
    store = world.open().store
    (earlier,) = store.runs()
    path = store.folder(earlier.id) / "requests.jsonl"
    path.write_bytes(path.read_bytes().replace(b"row 003", b"row 993"))

    with pytest.raises(StoreCorrupt, match=f"anybatch rm {earlier.id}"):
        then(world, *range(4))


KNOWN, WANTED = numbered(*range(6)), numbered(1, 9, 2, 1, 10, 3)


def begun(new_world: Callable[..., World]) -> World:
    world = new_world(spec=settled(), model=Model(), rows=KNOWN, in_memory=True)
    world.live()
    world.rows, world.wishes = WANTED, REUSING
    return world


def wrongs(world: World) -> list[str]:
    workspace = world.open()
    run = workspace.store.find_run("last")
    look = workspace.progress(run)
    said = []
    if len(workspace.store.runs()) != 2 or workspace.store.strays():
        said.append("a run is left over")
    if look.counts != {"succeeded": len(WANTED)} or (run.copies, run.reused) != (1, 3):
        said.append(f"{look.counts}, {run.copies} copies, {run.reused} reused")
    if not len(KNOWN) + 2 <= world.executions <= len(KNOWN) + 4:
        said.append(f"{world.executions} were asked")
    answers(world)
    return said


def test_a_run_that_takes_answers_over_dies_anywhere(new_world: NewWorld) -> None:
    watch = Watch()
    begun(new_world).live(watch)
    names = {name for name, _ in watch.crossings}
    assert names >= {"digests.write", "digests.rename", "journal.write", "requests.merge"}
    for name in sorted(names):
        for k in count(1):
            world = begun(new_world)
            probe = CrashAt(k, only=name)
            if not world.die(probe):
                break
            world.live()

            assert wrongs(world) == [], probe.at


def nightly(world: World, total: int) -> Run:
    """A night after another: of all rows a fifth is new."""
    world.rows = numbered(*range(total))
    world.in_memory = True
    first = world.live()
    assert (world.executions, first.reused) == (total, 0)
    world.rows = numbered(*range(total // 5, total + total // 5))
    world.wishes = REUSING
    return world.live()


@pytest.mark.parametrize("total", [2_000, pytest.param(100_000, marks=pytest.mark.gauntlet)])
def test_of_rows_of_which_four_fifths_are_unchanged_a_fifth_is_sent(
    total: int, new_world: NewWorld
) -> None:
    limits = Limits(max_requests=50_000)
    world = new_world(spec=settled(), model=Model(), limits=limits, clock=SystemClock())

    run = nightly(world, total)

    assert run.reused == total * 4 // 5
    assert world.executions == total + total // 5
    assert world.repeated == 0
    assert answers(world) == ["echo"] * total
