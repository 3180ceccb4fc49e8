"""What is tried again, how often, and how changed; each row ends in one outcome all the same."""

from collections import Counter, defaultdict
from datetime import timedelta

import pytest

from anybatch.core.model import Batch, Counts, Run, Spec
from anybatch.core.retry import MAX_TRIES, standing
from anybatch.core.schema import from_labels
from anybatch.core.states import OUTCOMES, Outcome
from anybatch.errors import UsageError
from anybatch.store.store import Event
from anybatch.testing import (
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Call,
    Cut,
    FakeEndpoint,
    Spoiled,
    Status,
    at_random,
    matching,
)
from anybatch.testing.endpoint import Fault, Script

from .harness import NewWorld, World, spec
from .promises import broken_promises

SERVER_ERROR_WAVES = OUTCOMES["server_error"].waves


def budgets_of(script: Script, seen: dict[str, list[int | None]]) -> Script:
    """`script`, which notes the output budget of every call."""

    def noting(call: Call) -> Fault | None:
        seen[call.prompt].append(call.budget)
        return script(call)

    return noting


def stored(world: World) -> tuple[Run, list[Batch], list[Event]]:
    store = world.open().store
    run = store.find_run("last")
    return run, store.batches(run.id), store.events(run.id)


def with_labels(base_url: str) -> Spec:
    return spec(base_url, output_schema=from_labels(["yes", "no"]))


# --- by themselves ---


@pytest.mark.parametrize(("times", "outcome"), [(1, "succeeded"), (None, "invalid_output")])
def test_an_invalid_answer_is_asked_for_once_more(
    times: int | None, outcome: Outcome, new_world: NewWorld
) -> None:
    script = matching("row 004", Spoiled("off_schema"), times=times)
    with FakeEndpoint(script=script) as endpoint:
        world = new_world(spec=with_labels(endpoint.base_url), endpoint=endpoint, says=None)
        world.live()

        expected = Counter({"succeeded": 11})
        expected[outcome] += 1
        assert len(endpoint.ledger.executions_of("birds: row 004")) == 2
        assert len(endpoint.ledger.executions) == 13
        assert broken_promises(world, outcomes=dict(expected), repeats=1) == []


@pytest.mark.parametrize(("enough", "outcome"), [(32, "succeeded"), (64, "truncated")])
def test_a_truncated_answer_gets_twice_the_budget_exactly_once(
    enough: int, outcome: Outcome, new_world: NewWorld
) -> None:
    seen: dict[str, list[int | None]] = defaultdict(list)

    def too_short(call: Call) -> Fault | None:
        short = "row 007" in call.prompt and call.budget is not None and call.budget < enough
        return Spoiled("truncated") if short else None

    with FakeEndpoint(script=budgets_of(too_short, seen)) as endpoint:
        asked = spec(endpoint.base_url, parameters={"max_tokens": 16})
        world = new_world(spec=asked, endpoint=endpoint)
        world.live()

        expected = Counter({"succeeded": 11})
        expected[outcome] += 1
        assert seen.pop("birds: row 007") == [16, 32]
        assert set(map(tuple, seen.values())) == {(16,)}
        assert broken_promises(world, outcomes=dict(expected)) == []


def test_a_truncated_answer_without_a_budget_is_not_asked_for_again(new_world: NewWorld) -> None:
    with FakeEndpoint(script=matching("row 007", Spoiled("truncated"))) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint)
        world.live()

        assert len(endpoint.ledger.executions) == 12
        assert broken_promises(world, outcomes={"succeeded": 11, "truncated": 1}) == []


def test_a_service_that_fails_is_given_time_between_waves(new_world: NewWorld) -> None:
    with FakeEndpoint(script=matching("row 002", Status(500))) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint)
        world.live()
        _, batches, events = stored(world)

        assert endpoint.ledger.statuses[500] == MAX_TRIES * SERVER_ERROR_WAVES
        assert broken_promises(world, outcomes={"succeeded": 11, "server_error": 1}) == []
    later = [batch for batch in batches if batch.wave > 1]
    waves = [event for event in events if event.name == "wave.planned"]
    assert [(batch.wave, batch.attempt, batch.size) for batch in later] == [(2, 2, 1), (3, 3, 1)]
    assert [event.fields["requests"] for event in waves] == [1, 1]
    for batch, wave, pause in zip(later, waves, (2, 4), strict=True):
        assert batch.due is not None
        # Noted a moment after it was planned; the clock runs while we write.
        assert timedelta() <= wave.at + timedelta(seconds=pause) - batch.due < timedelta(minutes=1)


def test_one_wave_asks_again_in_every_way_that_is_due(new_world: NewWorld) -> None:
    def script(call: Call) -> Fault | None:
        faults = {"row 001": Spoiled("truncated"), "row 005": Status(500)}
        first = call.budget == 16 and call.attempt <= MAX_TRIES
        return faults.get(call.prompt[-7:]) if first else None

    with FakeEndpoint(script=script) as endpoint:
        asked = spec(endpoint.base_url, parameters={"max_tokens": 16})
        world = new_world(spec=asked, endpoint=endpoint)
        world.live()
        run, batches, _ = stored(world)

        assert run.wave == 2
        later = [(b.budget_factor, b.size) for b in batches if b.wave == 2]
        assert sorted(later) == [(1, 1), (2, 1)]
        assert broken_promises(world) == []


# --- asked for ---


def test_outcomes_that_you_name_are_tried_again(new_world: NewWorld) -> None:
    broken = True

    def script(call: Call) -> Fault | None:
        faults = {"row 003": Status(400), "row 006": Spoiled("refused")}
        return faults.get(call.prompt[-7:]) if broken else None

    with FakeEndpoint(script=script) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint)
        world.live()
        assert outcomes_of(world) == {"succeeded": 10, "bad_request": 1, "refused": 1}

        workspace = world.open()
        run = workspace.store.find_run("last")
        broken = False
        assert workspace.retry(run, frozenset(["bad_request"])) == 1
        world.live()
        assert broken_promises(world, outcomes={"succeeded": 11, "refused": 1}) == []

        workspace = world.open()
        assert workspace.retry(workspace.store.run(run.id), frozenset(["refused"])) == 1
        world.live()
        assert broken_promises(world, repeats=1) == []


def test_a_truncated_answer_that_you_ask_for_again_gets_twice_what_it_had(
    new_world: NewWorld,
) -> None:
    seen: dict[str, list[int | None]] = defaultdict(list)
    script = matching('row 007.*"max_tokens":(16|32|64)}', Spoiled("truncated"))
    with FakeEndpoint(script=budgets_of(script, seen)) as endpoint:
        asked = spec(endpoint.base_url, parameters={"max_tokens": 16})
        world = new_world(spec=asked, endpoint=endpoint)
        world.live()
        for _ in range(2):
            workspace = world.open()
            workspace.retry(workspace.store.find_run("last"), frozenset(["truncated"]))
            world.live()

        assert seen["birds: row 007"] == [16, 32, 64, 128]
        assert broken_promises(world) == []


def test_nothing_is_asked_again_while_the_run_is_not_over(new_world: NewWorld) -> None:
    world = new_world(spec=spec())
    workspace = world.open()
    run = workspace.plan(world.source(), world.spec).run

    with pytest.raises(UsageError, match="not over yet"):
        workspace.retry(run, frozenset(["server_error"]))


# --- whatever happens ---

FAULTS: list[Fault] = [
    Status(500),
    Status(503),
    Status(429),
    Status(400),
    Status(413),
    Cut("unexecuted"),
    Cut("executed"),
    Cut("midway", by="close"),
    Cut("midway", chunked=True),
    Cut("answered"),
    MALFORMED,
    EMPTY,
    HTML_PAGE,
    Spoiled("truncated"),
    Spoiled("filtered"),
    Spoiled("refused"),
    Spoiled("off_schema"),
]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_whatever_fails_each_row_has_one_outcome_and_the_sums_match(
    seed: int, share: float, new_world: NewWorld
) -> None:
    script = at_random(share, *FAULTS, seed=seed)
    with FakeEndpoint(script=script) as endpoint:
        asked = with_labels(endpoint.base_url)
        world = new_world(spec=asked, endpoint=endpoint, says=None)
        world.live()
        counts = outcomes_of(world)

        assert sum(counts.values()) == 12
        assert broken_promises(world, outcomes=counts, repeats=1000) == []


def outcomes_of(world: World) -> Counts:
    _, batches, _ = stored(world)
    return standing(batches)
