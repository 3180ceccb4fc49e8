"""Rows become a run, or nothing at all; the same rows and the same question are the same run."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.core.model import Row, Spec
from anybatch.core.schema import from_labels
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Planned
from anybatch.errors import AnybatchError, BadInput, BadSettings, StoreUnwritable
from anybatch.processes import this_process
from anybatch.testing import CrashAt

from .harness import Model, NewWorld, SmallBatches, World, rows, spec


def plan(world: World, data: object, asked: Spec | None = None, **options: Any) -> Planned:
    return world.open().plan(open_source(data), asked or world.spec, **options)


# Files that a failed planning does not need any more are closed when they are forgotten.


def folders(world: World) -> set[str]:
    return {path.name for path in (world.root / "store" / "runs").iterdir()}


# --- the same run ---


def test_the_same_file_and_question_are_the_same_run(new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    first, second = (world.open().plan(world.source(), world.spec) for _ in range(2))

    assert (first.is_new, second.is_new) == (True, False)
    assert second.run == first.run
    assert folders(world) == {first.run.id}


def test_the_same_rows_are_the_same_run_even_if_they_come_only_once(new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    first = plan(world, (row for row in rows()))
    second = plan(world, (row for row in rows()))
    other = plan(world, (row for row in rows(11)))

    assert (first.is_new, second.is_new, other.is_new) == (True, False, True)
    assert second.run == first.run
    assert folders(world) == {first.run.id, other.run.id}


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"prompt": "{{ text }}?"}, ["prompt"]),
        ({"system": "Be brief."}, ["system"]),
        ({"model": "fake-2"}, ["model"]),
        ({"parameters": {"temperature": 0}}, ["parameters"]),
        ({"output_schema": from_labels(["a", "b"])}, ["output_schema"]),
        ({"api": "openai.responses", "model": "fake-2"}, ["api", "model"]),
    ],
)
def test_another_question_is_another_run_that_says_what_changed(
    changes: dict[str, Any], changed: list[str], new_world: NewWorld
) -> None:
    world = new_world(spec=spec())
    first = world.open().plan(world.source(), world.spec)

    second = world.open().plan(world.source(), spec(**changes))

    assert second.is_new
    assert second.run.id != first.run.id
    assert sorted(second.changed) == changed
    assert second.before == first.run


def test_other_rows_are_another_run_that_says_so(new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    first = plan(world, rows())
    second = plan(world, [*rows(11), {"topic": "ships", "text": "another"}])

    assert second.is_new
    assert second.changed == ["data"]
    assert second.before == first.run


def test_the_same_bytes_in_another_format_are_another_run(new_world: NewWorld) -> None:
    world = new_world(spec=spec(prompt="{{ text }}"))
    first, second = (world.root / name for name in ("some.jsonl", "some.txt"))
    for path in (first, second):
        path.write_text(GOOD + "\n")

    as_lines, as_text = plan(world, first), plan(world, second)

    assert as_text.is_new
    assert as_text.run.id != as_lines.run.id
    assert not plan(world, first).is_new


def test_asking_again_makes_a_new_run(new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    first, again = plan(world, rows()), plan(world, rows(), again=True)
    afterwards = plan(world, rows())

    assert again.is_new
    assert again.changed == []
    assert again.run.id != first.run.id
    assert afterwards.run == again.run


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "{{ text }}\udcff"},
        {"system": "Be brief\ud800."},
        {"output_schema": from_labels(["good", "\udcff"])},
        {"parameters": {"stop": ["\udcff"]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("in_memory", [True, False])
def test_half_a_character_in_what_is_asked_is_refused_in_one_line(
    changes: dict[str, Any], in_memory: bool, new_world: NewWorld
) -> None:
    world = new_world(spec=spec())
    name = next(iter(changes)).replace("_", " ")

    with pytest.raises(BadSettings) as refused:
        plan(world, rows() if in_memory else lines_file(world, GOOD), spec(**changes))

    assert str(refused.value).startswith(f"{name!r} holds '\\ud")
    assert "\n" not in str(refused.value)
    assert folders(world) == set()


# --- ready-made requests ---


def request(custom_id: str, text: str, **changes: Any) -> Row:
    body = {"model": "own", "messages": [{"role": "user", "content": text}]}
    url = "/v1/chat/completions"
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body, **changes}


def requests_file(world: World, *requests: Row) -> Path:
    path = world.root / "requests.jsonl"
    path.write_bytes(msgspec.json.Encoder().encode_lines(requests))
    return path


@pytest.mark.parametrize(("model", "asked"), [(None, "own"), ("other", "other")])
def test_ready_made_requests_go_out_as_written_and_their_ids_come_back(
    model: str | None, asked: str, new_world: NewWorld
) -> None:
    world = new_world(spec=spec(prompt=None, model=model), model=Model())
    world.use(requests_file(world, request("b", "first"), request("a", "second")))
    world.live()

    assert world.model is not None
    bodies = [msgspec.json.decode(body) for body in world.model.asked]
    assert {body["model"] for body in bodies} == {asked}
    out = [msgspec.json.decode(line) for line in world.out.read_bytes().splitlines()]
    assert [(row["custom_id"], row["answer"]) for row in out] == [
        ("b", "echo: first"),
        ("a", "echo: second"),
    ]


def test_ready_made_requests_of_two_kinds_are_refused_by_their_number(
    new_world: NewWorld,
) -> None:
    world = new_world(spec=spec(prompt=None, model=None))
    mixed = requests_file(
        world, request("a", "x"), request("b", "y", url="/v1/embeddings"), request("c", "z")
    )

    with pytest.raises(BadInput, match=r"row 2: its url '/v1/embeddings' differs"):
        plan(world, mixed)
    assert folders(world) == set()
    assert plan(world, mixed, skip_bad_rows=True).run.total == 2


def test_ready_made_requests_to_nowhere_we_know_are_refused(new_world: NewWorld) -> None:
    world = new_world(spec=spec(prompt=None, model=None))
    unknown = requests_file(world, request("a", "x", url="/v1/images"))

    with pytest.raises(BadInput, match="'/v1/images' is not one we can answer"):
        plan(world, unknown)


def test_ready_made_requests_take_no_prompt(new_world: NewWorld) -> None:
    world = new_world(spec=spec())

    with pytest.raises(BadSettings, match="they take no --prompt"):
        plan(world, requests_file(world, request("a", "x")))


# --- bad rows ---


def lines_file(world: World, *lines: str) -> Path:
    path = world.root / "some.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


GOOD = '{"topic": "ships", "text": "x"}'


@pytest.mark.parametrize(
    ("bad", "why"),
    [("{oops", "line 3: not valid JSON"), ('{"topic": "ships"}', "row 3: it has no column 'text'")],
)
def test_a_bad_row_is_named_and_leaves_nothing_behind(
    bad: str, why: str, new_world: NewWorld
) -> None:
    world = new_world(spec=spec())

    with pytest.raises(BadInput, match=why):
        plan(world, lines_file(world, GOOD, GOOD, bad, GOOD))
    assert folders(world) == set()


def test_bad_rows_may_be_left_out_and_are_counted(new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    data = lines_file(world, "{oops", GOOD, '{"topic": "ships"}', GOOD, "[]")

    run = plan(world, data, skip_bad_rows=True).run

    assert (run.total, run.skipped) == (2, 3)


@pytest.mark.parametrize(
    ("lines", "skip"),
    [([], False), (["{oops", "[]"], True), (['{"topic": "ships"}', '{"text": "x"}'], True)],
)
def test_a_run_without_rows_is_refused(lines: list[str], skip: bool, new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    world.open()

    with pytest.raises(BadInput):
        plan(world, lines_file(world, *lines), skip_bad_rows=skip)
    with pytest.raises(BadInput):
        plan(world, [])
    assert folders(world) == set()


def test_rows_that_break_off_leave_nothing_behind(new_world: NewWorld) -> None:
    world = new_world(spec=spec())

    def breaking_off() -> Iterator[Row]:
        yield from rows(5000)
        raise BadInput("the rest is lost")

    with pytest.raises(AnybatchError, match="the rest is lost"):
        plan(world, breaking_off())
    assert folders(world) == set()


# --- what planning leaves behind when it dies ---


@pytest.mark.parametrize("dies_at", ["plan.mark", "rows.write", "requests.fsync", "plan.unmark"])
def test_the_planning_of_the_dead_is_swept_up_and_not_that_of_the_living(
    dies_at: str, new_world: NewWorld
) -> None:
    world = new_world(spec=spec(), model=Model())
    assert world.die(CrashAt(2, only=dies_at))
    of_the_dead = folders(world)
    alive = open_as(this_process(), world, CrashAt(2, only=dies_at))
    with pytest.raises(BaseException, match="died"), closing(alive.store):
        alive.plan(open_source(rows(3)), world.spec)
    of_the_living = folders(world) - of_the_dead

    plan(world, rows(2))

    marks = {name for name in folders(world) if name.endswith(".planning")}
    assert len(marks) == (0 if dies_at == "plan.unmark" else 1)
    assert marks <= of_the_living <= folders(world)


def open_as(owner: str, world: World, probe: CrashAt) -> SmallBatches:
    return replace(world.open(probe), owner=owner)


def test_a_store_where_nothing_can_be_made_is_named(new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    workspace = world.open()
    (world.root / "store" / "runs").rmdir()

    with pytest.raises(StoreUnwritable, match="cannot write"):
        workspace.plan(world.source(), world.spec)
