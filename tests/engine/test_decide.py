"""What is decided, for everything that can be written down."""

from dataclasses import replace as with_
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Batch, Counts, Run
from anybatch.core.retry import left_to_retry, next_factor, standing
from anybatch.core.states import OUTCOMES, BatchStatus, Outcome, RunState
from anybatch.engine.decide import Action, Answer, Cancel, Finish, Retry, Snapshot, Stop, decide

from .harness import spec

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)

UNFINISHED: tuple[BatchStatus, ...] = ("planned", "submitting", "running", "ended")
FINISHED: tuple[BatchStatus, ...] = ("collected", "cleaned")

OWNED: dict[str, dict[str, Any]] = {
    "free": {"owner": None, "lease_until": None},
    "of another who lives": {"owner": "other", "lease_until": LATER},
    "of another who died": {"owner": "dead", "lease_until": LATER},
    "of another whose lease is over": {"owner": "other", "lease_until": NOW},
    "ours": {"id": "ours", "owner": "me", "lease_until": LATER},
    "ours, the lease over": {"id": "ours", "owner": "me", "lease_until": EARLIER},
}
TAKEN = ("of another who lives", "ours", "ours, the lease over")

DUE: dict[str, datetime | None] = {"now": None, "by now": NOW, "later": LATER}


def run_of(state: RunState = "open", *, total: int = 4, budgeted: bool = True) -> Run:
    return Run(
        id="run",
        created_at=NOW,
        source="rows",
        spec=spec(),
        fingerprint="f",
        parts={},
        columns=("text",),
        total=total,
        budgeted=budgeted,
        state=state,
    )


def batch_of(**fields: Any) -> Batch:
    planned: dict[str, Any] = {"status": "planned", "wave": 1, "part": 0, "first": 0, "size": 4}
    return Batch(**{"id": "batch", "run_id": "run", **planned, **fields})


def seen(*batches: Batch, state: RunState = "open", free: int = 2) -> Snapshot:
    dead, ours = frozenset(["dead"]), frozenset(["ours"])
    return Snapshot(run=run_of(state), batches=batches, dead=dead, ours=ours, free=free)


def batches_of(actions: list[Action]) -> list[Batch]:
    return [action.batch for action in actions if isinstance(action, Answer | Cancel)]


def stopped(outcome: Outcome) -> Stop:
    return Stop(why=f"{outcome}: {OUTCOMES[outcome].meaning}")


@pytest.mark.parametrize("state", get_args(RunState))
@pytest.mark.parametrize("status", get_args(BatchStatus))
@pytest.mark.parametrize(("owned", "due"), list(product(OWNED, DUE)))
def test_one_batch_in_every_state(
    state: RunState, status: BatchStatus, owned: str, due: str
) -> None:
    counts: Counts = {"succeeded": 4} if status in FINISHED else {}
    batch = batch_of(status=status, due=DUE[due], counts=counts, **OWNED[owned])

    actions = decide(seen(batch, state=state), NOW)

    assert actions == expected(state, status, owned, due, batch)


def expected(
    state: RunState, status: BatchStatus, owned: str, due: str, batch: Batch
) -> list[Action]:
    """The table, in words."""
    if state in ("ended", "stopped"):
        return []
    if status in FINISHED:
        return [Finish()]
    if owned in TAKEN:
        return []
    if state == "cancelling":
        return [Cancel(batch=batch)]
    return [] if due == "later" else [Answer(batch=batch)]


@pytest.mark.parametrize("free", [0, 1, 2, 5])
def test_no_more_is_taken_than_there_is_room_for(free: int) -> None:
    batches = [batch_of(id=f"b{part}", part=part) for part in range(3)]

    assert batches_of(decide(seen(*batches, free=free), NOW)) == batches[:free]
    assert batches_of(decide(seen(*batches, free=free, state="cancelling"), NOW)) == batches[:free]


def test_a_wave_is_planned_when_all_before_it_is_over_and_something_is_left() -> None:
    failed = batch_of(status="collected", counts={"succeeded": 3, "server_error": 1})
    going = batch_of(id="going", part=1, status="running", owner="other", lease_until=LATER)

    assert decide(seen(failed, going), NOW) == []
    assert decide(seen(failed), NOW) == [Retry()]


def test_results_that_a_later_wave_took_over_are_not_planned_again() -> None:
    counts: Counts = {"succeeded": 3, "server_error": 1}
    failed = batch_of(status="collected", counts=counts, retried={"server_error": 1})
    again = batch_of(id="w2", wave=2, attempt=2, size=1, status="collected")

    healed = replace(again, counts={"succeeded": 1})
    assert decide(seen(failed, healed), NOW) == [Finish()]
    failed_again = replace(again, counts={"server_error": 1})
    assert decide(seen(failed, failed_again), NOW) == [Retry()]
    third = replace(failed_again, attempt=3)
    assert decide(seen(failed, third), NOW) == [Finish()]


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_outcome_is_retried_as_the_table_says(outcome: Outcome) -> None:
    rule = OUTCOMES[outcome]
    attempts = range(1, 5)

    for attempt in attempts:
        over = batch_of(status="collected", size=1, counts={outcome: 1}, attempt=attempt)
        retried = rule.again in ("as_is", "double_budget") and attempt < rule.waves
        assert decide(seen(over), NOW) == [Retry() if retried else Finish()]


def test_a_truncated_answer_without_a_budget_is_left_at_that() -> None:
    over = batch_of(status="collected", size=1, counts={"truncated": 1})
    unbudgeted = with_(seen(over), run=run_of(budgeted=False))

    assert decide(seen(over), NOW) == [Retry()]
    assert decide(seen(replace(over, budget_factor=2)), NOW) == [Finish()]
    assert decide(unbudgeted, NOW) == [Finish()]


@pytest.mark.parametrize("outcome", ["auth", "billing", "not_found_model"])
def test_the_third_refusal_of_a_kind_stops_the_run(outcome: Outcome) -> None:
    going = batch_of(id="next", part=1)
    two = batch_of(status="running", owner="other", lease_until=LATER, counts={outcome: 2})
    three = replace(two, counts={outcome: 3})
    reopened = replace(three, status="collected", owner=None, retried={outcome: 1})

    assert decide(seen(two, going), NOW) == [Answer(batch=going)]
    assert decide(seen(three, going), NOW) == [stopped(outcome)]
    assert decide(seen(reopened, going), NOW) == [Answer(batch=going)]


def test_refusals_of_different_kinds_add_up_and_the_commonest_is_named() -> None:
    mixed = batch_of(status="collected", counts={"auth": 1, "billing": 2, "succeeded": 1})

    assert decide(seen(mixed), NOW) == [stopped("billing")]


def test_a_cancelled_run_retries_nothing() -> None:
    failed = batch_of(status="collected", counts={"succeeded": 3, "server_error": 1})
    tripped = batch_of(status="collected", counts={"auth": 4})

    assert decide(seen(failed, state="cancelling"), NOW) == [Finish()]
    assert decide(seen(tripped, state="cancelling"), NOW) == [Finish()]


# --- whatever is written down ---

outcomes = st.sampled_from(get_args(Outcome))


@st.composite
def batches(draw: st.DrawFn, *, part: int = 0) -> Batch:
    size = draw(st.integers(1, 5))
    status: BatchStatus = draw(st.sampled_from(get_args(BatchStatus)))
    answered = size if status in FINISHED else draw(st.integers(0, size))
    results = draw(st.lists(outcomes, min_size=answered, max_size=answered))
    return batch_of(
        **{**draw(st.sampled_from(list(OWNED.values()))), "id": f"b{part}"},
        status=status,
        part=part,
        size=size,
        attempt=draw(st.integers(1, 3)),
        budget_factor=draw(st.sampled_from([1, 2])),
        due=draw(st.sampled_from(list(DUE.values()))),
        counts={outcome: results.count(outcome) for outcome in results},
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    found = tuple(draw(batches(part=part)) for part in range(draw(st.integers(1, 5))))
    state: RunState = draw(st.sampled_from(get_args(RunState)))
    ours = draw(st.sets(st.sampled_from([batch.id for batch in found])))
    return Snapshot(
        run=run_of(state, total=sum(batch.size for batch in found), budgeted=draw(st.booleans())),
        batches=found,
        dead=frozenset(["dead"]),
        ours=frozenset(ours),
        free=draw(st.integers(0, 3)),
    )


@given(snapshots())
def test_nothing_is_taken_from_the_living_nor_more_than_there_is_room_for(seen: Snapshot) -> None:
    taken = batches_of(decide(seen, NOW))

    assert len(taken) <= seen.free
    for batch in taken:
        alive = batch.owner not in (None, "dead") and batch.lease_until not in (NOW, EARLIER)
        assert not alive
        assert batch.id not in seen.ours
        assert batch.status in UNFINISHED


@settings(max_examples=200)
@given(snapshots(), st.randoms(use_true_random=False))
def test_doing_what_is_decided_ends_with_one_outcome_a_row(seen: Snapshot, chance: Any) -> None:
    now, total = NOW, seen.run.total
    seen = with_(seen, run=replace(seen.run, state="open"), ours=frozenset(), free=2)

    for _ in range(200):
        actions = decide(seen, now)
        for action in actions:
            seen = done(action, seen, chance)
        if seen.run.state != "open":
            break
        # Time passes: what is due comes due, and a lease that nobody renews runs out.
        now += timedelta(seconds=10)
        assert sum(standing(seen.batches).values()) <= total

    if seen.run.state == "ended":
        assert sum(standing(seen.batches).values()) == total
    else:
        assert seen.run.state == "stopped"


def done(action: Action, seen: Snapshot, chance: Any) -> Snapshot:
    """What is written down once `action` was carried out, with whatever luck."""
    match action:
        case Answer(batch=batch):
            return with_(seen, batches=tuple(map(answered(batch, chance), seen.batches)))
        case Retry():
            return next_wave(seen)
        case Stop():
            return with_(seen, run=replace(seen.run, state="stopped"))
        case Finish():
            return with_(seen, run=replace(seen.run, state="ended"))
        case Cancel():
            raise AssertionError("nobody cancelled")


def answered(batch: Batch, chance: Any) -> Any:
    """A batch that its worker answered to its end, or died over in the middle."""

    def change(other: Batch) -> Batch:
        if other.id != batch.id:
            return other
        left = batch.size - batch.answered
        now_answered = chance.choice([left, chance.randint(0, left)])
        counts = dict(batch.counts)
        for _ in range(now_answered):
            outcome = chance.choice(["succeeded", *get_args(Outcome)])
            counts[outcome] = counts.get(outcome, 0) + 1
        if now_answered == left:
            return replace(batch, status="collected", owner=None, lease_until=None, counts=counts)
        return replace(batch, status="running", owner="other", counts=counts, lease_until=NOW)

    return change


def next_wave(seen: Snapshot) -> Snapshot:
    """One batch for each outcome of each batch that is tried again."""
    budgeted, run = seen.run.budgeted, replace(seen.run, wave=seen.run.wave + 1)
    planned, kept = [], []
    for batch in seen.batches:
        left = left_to_retry(batch, budgeted=budgeted)
        for outcome, count in left.items():
            planned.append(
                batch_of(
                    id=f"{batch.id}.{outcome}",
                    wave=run.wave,
                    size=count,
                    attempt=batch.attempt + 1,
                    budget_factor=next_factor(outcome, batch, budgeted=budgeted) or 1,
                )
            )
        retried = {**batch.retried}
        for outcome, count in left.items():
            retried[outcome] = retried.get(outcome, 0) + count
        kept.append(replace(batch, retried=retried))
    return with_(seen, run=run, batches=(*kept, *planned))
