"""What a provider returned finds its rows, whatever else it returned, and however it was cut."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.core.model import Batch, Counts, Result, Run
from anybatch.core.plan import Limits
from anybatch.core.states import Outcome
from anybatch.engine.events import set_aside
from anybatch.errors import BadSettings
from anybatch.store.sqlite import SqliteStore
from anybatch.store.store import Event
from anybatch.testing import (
    Altered,
    CrashAt,
    Cut,
    FakeOpenAI,
    Fate,
    Fault,
    Mangled,
    Phases,
    Problem,
    Status,
)
from anybatch.testing.service.faults import Unrun
from anybatch.testing.service.http1 import Framing

from .harness import World, rows, spec
from .promises import broken_promises


def world_of(root: Path, service: FakeOpenAI, **given: Any) -> World:
    asked = spec(service.base_url, provider="openai", executor="batch", tail="batch")
    return World(root=root, spec=asked, service=service, **given)


def results_of(world: World) -> list[Result | None]:
    workspace = world.open()
    with_store = workspace.store
    try:
        return list(workspace.results(with_store.find_run("last")))
    finally:
        world.close()


def events_of(world: World, run: Run) -> list[Event]:
    workspace = world.open()
    try:
        return workspace.store.events(run.id)
    finally:
        world.close()


FRAMINGS: tuple[Framing, ...] = ("length", "chunked", "close")


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("share", [k / 34 for k in range(34)])
def test_a_download_that_is_cut_anywhere_is_noticed(
    framing: Framing, share: float, scratch: Path
) -> None:
    cut = Cut("midway", framing=framing, by="close", at=int(share * 1_500))

    with (
        FakeOpenAI(faults={"download": [cut, cut]}) as service,
        world_of(scratch / "world", service) as world,
    ):
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_download_that_is_cut_at_the_end_of_a_line_is_noticed(
    framing: Framing, scratch: Path
) -> None:
    def first_line_only(body: bytes) -> bytes:
        return body.split(b"\n")[0] + b"\n"

    with (
        FakeOpenAI(faults={"download": [Altered(first_line_only, framing=framing)]}) as service,
        world_of(scratch / "world", service) as world,
    ):
        world.live()

        assert broken_promises(world) == []


def test_of_a_download_that_was_fetched_once_more_nothing_is_said_once_all_is_here(
    scratch: Path,
) -> None:
    seen: list[tuple[str, str | None]] = []

    class Noting(SqliteStore):
        def save(self, batch: Batch, **more: Any) -> None:
            seen.append((batch.status, None if batch.remote is None else batch.remote.why))
            super().save(batch, **more)

    cut = Altered(lambda body: body.split(b"\n")[0] + b"\n")

    with (
        FakeOpenAI(faults={"download": [cut]}) as service,
        world_of(scratch / "world", service, new_store=Noting) as world,
    ):
        world.live()

    assert ("ended", "the results lack some rows: fetched once more") in seen
    assert {why for status, why in seen if status in ("collected", "cleaned")} == {None}


def test_trouble_before_a_download_that_is_cut_does_not_settle_what_is_missing(
    scratch: Path,
) -> None:
    refused: list[Fault | None] = [Status(403)] * 8
    cut = Altered(lambda body: body.split(b"\n")[0] + b"\n")
    all_in_one = Limits(max_requests=99)

    with (
        FakeOpenAI(faults={"download": [*refused, cut]}) as service,
        world_of(scratch / "world", service, limits=all_in_one) as world,
    ):
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("how", ["empty", "html", "bom", "crlf", "half", "nested"])
def test_a_download_of_something_else_is_fetched_again(how: Any, scratch: Path) -> None:
    with (
        FakeOpenAI(faults={"download": [Altered(how)]}) as service,
        world_of(scratch / "world", service) as world,
    ):
        world.live()

        assert broken_promises(world) == []


def test_what_no_text_editor_takes_for_one_line_comes_back_whole(scratch: Path) -> None:
    odd = "one\u2028two\u2029three\u0085four\x0bfive\x0csix\rseven"

    with FakeOpenAI() as service:
        given = [{"topic": odd, "text": f"row {n}"} for n in range(5)]
        with world_of(scratch / "world", service, rows=given) as world:
            world.live()

            assert broken_promises(world) == []


MANGLED: dict[str, tuple[str, ...]] = {
    "missing": (),
    "repeated": (),
    "contradicted": ("results.conflicting",),
    "both": ("results.conflicting",),
    "foreign": ("results.foreign",),
    "unnamed": ("results.foreign",),
    "malformed": (),
}
"""How a row's result is filed, and what is said of it beside asking the row again."""


@pytest.mark.parametrize("how", MANGLED)
def test_a_row_that_is_filed_wrongly_harms_no_other(how: Any, scratch: Path) -> None:
    asked: set[str] = set()

    def once(call: Any) -> Fault | None:
        first = call.prompt not in asked
        asked.add(call.prompt)
        return Mangled(how) if first and "row 005" in call.prompt else None

    with FakeOpenAI(rows=once) as service, world_of(scratch / "world", service) as world:
        run = world.live()
        events = events_of(world, run)
        said = {event.name for event in events}

        answers = [msgspec.json.decode(line) for line in world.out.read_bytes().splitlines()]
        assert [row["text"] for row in answers] == [row["text"] for row in rows()]
        assert all(row["answer"] == f"echo: {row['topic']}: {row['text']}" for row in answers)
        assert said >= set(MANGLED[how])
        assert set_aside(events) >= len(MANGLED[how])


def test_swapped_names_put_no_answer_on_a_wrong_row(scratch: Path) -> None:
    asked: set[str] = set()

    def once(call: Any) -> Fault | None:
        first = call.prompt not in asked
        asked.add(call.prompt)
        swapped = any(row in call.prompt for row in ("row 001", "row 002"))
        return Mangled("swapped") if first and swapped else None

    with (
        FakeOpenAI(rows=once, shuffle=False) as service,
        world_of(scratch / "world", service) as world,
    ):
        world.live()

    # Nothing in a result tells whose it is but its name: this is what nobody can notice, and the
    # fake shows it. What we promise is that the names are ours and each is taken once.
    assert len(asked) == 12


@pytest.mark.parametrize("done", [0, 1, 3, 4])
@pytest.mark.parametrize("ends", ["expired", "cancelled"])
def test_what_an_unfinished_batch_has_answered_is_kept(ends: Any, done: int, scratch: Path) -> None:
    with (
        FakeOpenAI(batches=[Fate(ends=ends, done=done)]) as service,
        world_of(scratch / "world", service) as world,
    ):
        world.live()

        assert broken_promises(world) == []
        assert service.ledger.billed == 12


def test_one_refused_line_fails_its_row_and_no_other(scratch: Path) -> None:
    problem = Problem(code="invalid_request", message="no such field", line=2, param="body")

    with (
        FakeOpenAI(batches=[Fate(ends="failed", problems=[problem])]) as service,
        world_of(scratch / "world", service) as world,
    ):
        world.live()
        outcomes = [result and result.outcome for result in results_of(world)]

    # The second row of the batch that was created first, whichever that was.
    assert sorted(map(str, outcomes)) == ["bad_request", *["succeeded"] * 11]
    assert outcomes.index("bad_request") % 4 == 1


def test_too_much_waiting_is_waited_out(scratch: Path) -> None:
    problem = Problem(code="token_limit_exceeded", message="Enqueued token limit reached")
    fates = [Fate(ends="failed", problems=[problem])]

    with FakeOpenAI(batches=fates) as service, world_of(scratch / "world", service) as world:
        world.live()

        assert broken_promises(world) == []


FATES: dict[str, Fate] = {
    "its error file has an empty id": Fate(blank_ids=True),
    "its counts lie": Fate(counts={"total": 99, "completed": 99, "failed": -1}),
    "its files come late": Fate(late_files=3),
    "it is in an unknown state": Fate(words=("pondering", "musing")),
    "it goes backwards": Fate(words=("finalizing", "validating", "in_progress")),
    "it is away for a while": Fate(lost=range(1, 4)),
}


@pytest.mark.parametrize("what", FATES)
def test_a_batch_of_which_strange_things_are_said_is_collected(what: str, scratch: Path) -> None:
    with (
        FakeOpenAI(batches=[FATES[what]]) as service,
        world_of(scratch / "world", service) as world,
    ):
        world.live()

        assert broken_promises(world) == []


def test_a_batch_that_the_provider_lost_is_asked_again(scratch: Path) -> None:
    with (
        FakeOpenAI(batches=[Fate(lost=range(1, 1_000))]) as service,
        world_of(scratch / "world", service) as world,
    ):
        run = world.live()

        assert {"batch.lost_remotely"} <= {event.name for event in events_of(world, run)}
        assert all(r is not None and r.outcome == "succeeded" for r in results_of(world))


ROW_FAULTS: dict[str, tuple[Callable[[], Fault], str]] = {
    "400": (lambda: Status(400), "bad_request"),
    "an HTTP status of 0": (lambda: Status(0), "server_error"),
    "never run, timed out": (lambda: Unrun("timed_out"), "server_error"),
}


@pytest.mark.parametrize("what", ROW_FAULTS)
def test_a_row_that_fails_says_how(what: str, scratch: Path) -> None:
    fault, outcome = ROW_FAULTS[what]

    def script(call: Any) -> Fault | None:
        return fault() if "row 005" in call.prompt else None

    with FakeOpenAI(rows=script) as service, world_of(scratch / "world", service) as world:
        world.live()
        outcomes = [result and result.outcome for result in results_of(world)]

    assert outcomes[5] == outcome
    assert {one for n, one in enumerate(outcomes) if n != 5} == {"succeeded"}


def test_of_a_hundred_thousand_rows_none_gets_anothers_answer(scratch: Path) -> None:
    rows_in_all, each = 100_000, 1_000
    unlucky = random.Random(5).sample(range(rows_in_all), 3 * each)
    fates = dict(zip(unlucky, cycle(("repeated", "missing", "foreign")), strict=False))

    def once(call: Any) -> Fault | None:
        how = fates.pop(int(call.prompt.rpartition(" ")[2]), None)
        return None if how is None else Mangled(how)  # type: ignore[arg-type]

    given = [{"topic": "x", "text": f"row {n}"} for n in range(rows_in_all)]
    with FakeOpenAI(rows=once, max_rows=rows_in_all) as service:
        limits = Limits(max_requests=rows_in_all)
        with world_of(scratch / "world", service, rows=given, limits=limits) as world:
            run = world.live()

            assert broken_promises(world) == [f"{2 * each} rows were billed twice"]
            events = events_of(world, run)
            repeated = sum(e.fields["count"] for e in events if e.name == "results.repeated")
            assert (set_aside(events), repeated) == (each, each)
            assert retried_of(world) == {"missing_result": 2 * each}


def retried_of(world: World) -> Counts:
    """The outcomes of all rows that were asked again."""
    workspace = world.open()
    try:
        batches = workspace.store.batches(workspace.store.find_run("last").id)
        retried: Counter[Outcome] = Counter()
        for batch in batches:
            retried.update(batch.retried)
        return dict(retried)
    finally:
        world.close()


def test_batches_of_another_account_are_not_touched(scratch: Path) -> None:
    with (
        FakeOpenAI(phases=Phases(in_progress=3600)) as service,
        world_of(
            scratch / "world", service, environment={"OPENAI_API_KEY": "sk-one-one-one"}
        ) as world,
    ):
        world.die(CrashAt(12, only="http.send"))
        before = len(service.ledger.exchanges)
        world.environment = {"OPENAI_API_KEY": "sk-two-two-two"}

        with pytest.raises(BadSettings, match="made with another") as raised:
            world.live()

        assert len(service.ledger.exchanges) == before
        assert "sk-" not in str(raised.value)


def canary_world(scratch: Path, service: FakeOpenAI, **given: Any) -> World:
    labels = {"type": "string", "enum": ["a", "b"]}
    many = [{"topic": "x", "text": f"row {n}"} for n in range(1_100)]
    world = world_of(scratch / "world", service, rows=many, limits=Limits(max_requests=600))
    world.spec = msgspec.structs.replace(world.spec, output_schema=labels)
    return world


def test_the_first_rows_hold_back_the_others_until_they_are_valid(scratch: Path) -> None:
    with FakeOpenAI(answer=lambda call: '"a"') as service, canary_world(scratch, service) as world:
        run = world.live()
        first, *others = [batch.rows for batch in service.ledger.batches]

    assert (run.state, first, sorted(others)) == ("ended", 10, [490, 600])


def test_invalid_first_rows_stop_the_run_and_the_rest_is_not_paid(scratch: Path) -> None:
    with FakeOpenAI(answer=lambda call: "?") as service, canary_world(scratch, service) as world:
        run = world.live()
        again = world.live()

        assert run.state == again.state == "stopped"
        assert "10 of the first 10 rows have no valid answer" in (again.why or "")
        assert service.ledger.billed == 10


def test_a_run_goes_on_without_its_canary_when_told_so(scratch: Path) -> None:
    with FakeOpenAI(answer=lambda call: "?") as service, canary_world(scratch, service) as world:
        stopped = world.live()
        workspace = world.open()
        opened = workspace.reopen(stopped, canary=0)

        assert (opened.state, opened.canary) == ("open", 0)
        world.close()


def test_a_run_that_goes_on_forgets_its_canary_for_good(scratch: Path) -> None:
    with FakeOpenAI(answer=lambda call: "?") as service, canary_world(scratch, service) as world:
        workspace = world.open()
        workspace.reopen(workspace.plan(world.source(), world.spec).run, canary=0)
        world.close()
        run = world.live()

        assert (run.state, run.canary) == ("ended", 0)
        assert service.ledger.billed > 1_000
