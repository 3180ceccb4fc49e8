"""What is decided about batches at a provider, for everything that can be written down."""

from dataclasses import replace as with_
from datetime import timedelta
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Batch, Counts, Late, Remote
from anybatch.core.quota import Load, Quota, total
from anybatch.core.states import BatchStatus, RunState
from anybatch.core.timing import Usual
from anybatch.engine.decide import (
    LONGEST_PAUSE,
    STEPS_AT_ONCE,
    Action,
    Alert,
    Cancel,
    CancelRemote,
    Clean,
    Collect,
    Finish,
    Leave,
    Poll,
    Recover,
    Retry,
    Snapshot,
    Stop,
    Submit,
    decide,
    held_back,
    may_lie_there,
)

from .test_decide import DUE, FINISHED, LATER, NOW, OWNED, TAKEN, batch_of, seen, stopped

REMOTE: dict[str, Remote | None] = {
    "unknown": None,
    "uploaded": Remote(input_file="file-1"),
    "sent": Remote(input_file="file-1", sent_at=NOW),
    "known": Remote(input_file="file-1", sent_at=NOW, id="batch_1"),
    "cancelled": Remote(input_file="file-1", sent_at=NOW, id="batch_1", cancelled=True),
}
"""What is known of the batch at its provider."""

SENSIBLE: dict[BatchStatus, tuple[str, ...]] = {
    "planned": ("unknown", "uploaded"),
    "submitting": ("unknown", "uploaded", "sent"),
    "running": ("known", "cancelled"),
    "ended": ("known", "cancelled"),
    "collected": ("known", "cancelled"),
    "cleaned": ("known",),
}
EVERYTHING = [(status, known) for status, all_known in SENSIBLE.items() for known in all_known]


def remote_batch(**fields: Any) -> Batch:
    return batch_of(**{"executor": "batch", **fields})


@pytest.mark.parametrize("state", get_args(RunState))
@pytest.mark.parametrize(("status", "known"), EVERYTHING)
@pytest.mark.parametrize(("owned", "due"), list(product(OWNED, DUE)))
def test_one_batch_in_every_state(
    state: RunState, status: BatchStatus, known: str, owned: str, due: str
) -> None:
    counts: Counts = {"succeeded": 4} if status in FINISHED else {}
    fields = {"due": DUE[due], "counts": counts, "remote": REMOTE[known], **OWNED[owned]}
    batch = remote_batch(status=status, **fields)

    actions = decide(seen(batch, state=state), NOW)

    assert actions == expected(state, known, owned, due, batch)


def expected(state: RunState, known: str, owned: str, due: str, batch: Batch) -> list[Action]:
    """The table, in words."""
    if state in ("ended", "stopped"):
        return []
    if batch.status == "cleaned":
        return [Finish()]
    if owned in TAKEN:
        return []
    if state == "cancelling":
        # What was never sent is given up at once; what was is asked for an end at once.
        if batch.status in ("planned", "submitting") and known != "sent":
            return [Cancel(batch=batch)]
        if batch.status == "running" and known == "known":
            return [CancelRemote(batch=batch)]
    return [] if due == "later" else [step(known, batch)]


def step(known: str, batch: Batch) -> Action:
    match batch.status:
        case "planned":
            return Submit(batch=batch)
        case "submitting":
            return Recover(batch=batch) if known == "sent" else Submit(batch=batch)
        case "running":
            return Poll(batches=(batch,))
        case "ended":
            return Collect(batch=batch)
        case _:
            return Clean(batch=batch)


@pytest.mark.parametrize("under_way", [0, 1, STEPS_AT_ONCE, STEPS_AT_ONCE + 1])
def test_no_more_steps_of_a_kind_are_taken_than_there_is_room_for(under_way: int) -> None:
    batches = [remote_batch(id=f"b{part}", part=part) for part in range(STEPS_AT_ONCE + 2)]

    actions = decide(with_(seen(*batches), under_way={Submit: under_way}), NOW)

    room = max(0, STEPS_AT_ONCE - under_way)
    assert actions == [Submit(batch=batch) for batch in batches[:room]]


def test_many_steps_of_one_kind_leave_room_for_the_others() -> None:
    planned = [remote_batch(id=f"p{part}", part=part) for part in range(9)]
    ended = remote_batch(id="ended", part=9, status="ended", remote=REMOTE["known"])
    lost = remote_batch(id="lost", part=10, status="submitting", remote=REMOTE["sent"])
    full = {Submit: STEPS_AT_ONCE, Clean: STEPS_AT_ONCE}

    actions = decide(with_(seen(*planned, ended, lost), under_way=full), NOW)

    assert actions == [Collect(batch=ended), Recover(batch=lost)]


REFUSED = [
    remote_batch(id=f"refused-{n}", status="cleaned", counts={"auth": 4}, remote=Remote())
    for n in range(3)
]


def test_what_is_taken_is_fetched_before_the_breaker_stops_the_run() -> None:
    unsent = remote_batch(id="unsent", part=1)
    running = remote_batch(id="running", part=2, status="running", remote=REMOTE["known"])
    waiting = remote_batch(id="w", part=3, status="running", remote=REMOTE["known"], due=LATER)

    assert decide(seen(*REFUSED, unsent, running), NOW) == [Poll(batches=(running,))]
    assert decide(seen(*REFUSED, unsent, waiting), NOW) == []
    assert decide(seen(*REFUSED, unsent), NOW) == [stopped("auth")]
    assert decide(seen(*REFUSED[1:], unsent), NOW) == [Submit(batch=unsent)]


def test_first_rows_that_are_refused_stop_the_run_for_what_was_said_of_them() -> None:
    refused, unsent = REFUSED[0], remote_batch(id="unsent", part=1, first=4)
    snapshot = seen(refused, unsent)

    canary = with_(snapshot, run=replace(snapshot.run, canary=4))

    assert decide(canary, NOW) == [stopped("auth")]


def test_what_is_all_here_is_cleaned_up_before_a_run_stops() -> None:
    refused = [
        remote_batch(id=f"r{n}", part=n, status="cleaned", counts={"auth": 4}, remote=Remote())
        for n in range(3)
    ]
    left = remote_batch(
        id="left", part=3, status="collected", counts={"auth": 4}, remote=REMOTE["uploaded"]
    )
    later, running = (
        replace(left, due=LATER),
        remote_batch(status="running", remote=REMOTE["known"]),
    )

    assert decide(seen(*refused, left), NOW) == [Clean(batch=left)]
    assert decide(seen(*refused, later), NOW) == []
    assert decide(seen(*refused, left, running), NOW) == [
        Clean(batch=left),
        Poll(batches=(running,)),
    ]


def test_so_are_the_first_rows_where_they_hold_back_the_others() -> None:
    first = remote_batch(status="collected", counts={"invalid_output": 4}, remote=REMOTE["known"])
    rest = remote_batch(id="rest", part=1, first=4)

    def of(batch: Batch) -> list[Action]:
        snapshot = seen(batch, rest)
        return decide(with_(snapshot, run=replace(snapshot.run, canary=4)), NOW)

    assert of(first) == [Clean(batch=first)]
    assert isinstance(of(replace(first, status="cleaned"))[0], Stop)


@pytest.mark.parametrize(
    ("status", "remote", "may"),
    [
        ("planned", None, False),
        ("planned", Remote(tries=1), True),  # of an upload whose answer was lost
        ("submitting", Remote(), True),
        ("submitting", REMOTE["sent"], True),
        ("running", REMOTE["known"], True),
        ("ended", REMOTE["known"], True),
        ("collected", REMOTE["known"], True),
        ("collected", Remote(input_file="file-1"), True),
        ("collected", Remote(), False),  # refused outright
        ("collected", Remote(tries=1), True),
        ("cleaned", REMOTE["known"], False),
    ],
)
def test_what_may_lie_at_a_provider(status: BatchStatus, remote: Remote | None, may: bool) -> None:
    assert may_lie_there(remote_batch(status=status, remote=remote)) is may


def test_a_wave_does_not_wait_for_the_cleaning_up_and_the_end_does() -> None:
    counts: Counts = {"succeeded": 3, "server_error": 1}
    failed = remote_batch(status="collected", counts=counts, remote=REMOTE["known"])

    assert decide(seen(failed), NOW) == [Retry()]
    over = remote_batch(status="collected", counts={"succeeded": 4}, remote=REMOTE["known"])
    assert decide(seen(over), NOW) == [Clean(batch=over)]


def test_rows_that_were_refused_before_anything_was_sent_leave_nothing_to_clean_up() -> None:
    refused = remote_batch(status="collected", counts={"bad_request": 4})

    assert decide(seen(refused), NOW) == [Finish()]


# --- too much waits -----------------------------------------------------------------------------


def sized(*tokens: int, **fields: Any) -> list[Batch]:
    """Batches with so many tokens each, in the order of their parts."""
    return [
        remote_batch(id=f"b{part}", part=part, tokens=each, **fields)
        for part, each in enumerate(tokens)
    ]


def waits(batch: Batch) -> Batch:
    """The same, waiting at the provider."""
    return replace(batch, status="running", remote=REMOTE["known"], due=LATER)


def limited(*batches: Batch, ceiling: int = 100, **fields: Any) -> Snapshot:
    quota = Quota(measure="tokens", ceiling=ceiling, learned_at=NOW)
    return with_(seen(*batches), quotas=(quota,), **fields)


def submitted(snapshot: Snapshot) -> list[str]:
    return [action.batch.id for action in decide(snapshot, NOW) if isinstance(action, Submit)]


def test_as_many_batches_go_as_the_limit_has_room_for() -> None:
    assert submitted(limited(*sized(60, 60, 40, 1))) == ["b0", "b2"]
    assert submitted(limited(*sized(60, 60, 40, 1), ceiling=1_000)) == ["b0", "b1", "b2", "b3"]


def test_what_waits_at_the_provider_takes_its_room() -> None:
    there, *planned = sized(60, 60, 40)

    assert submitted(limited(waits(there), *planned)) == ["b2"]


def test_what_waits_there_of_other_runs_takes_its_room_too() -> None:
    there, *planned = sized(10, 60, 40)
    elsewhere = Load(batches=1, requests=9, tokens=50)

    assert submitted(limited(waits(there), *planned, elsewhere=elsewhere)) == ["b2"]
    assert submitted(limited(*planned, elsewhere=elsewhere)) == ["b1"]


def test_what_we_are_submitting_takes_its_room() -> None:
    ours = remote_batch(id="ours", status="submitting", tokens=60, owner="me", lease_until=LATER)

    assert submitted(limited(ours, *sized(60, 40))) == ["b1"]


def test_one_that_is_too_large_for_any_room_goes_when_nothing_else_of_the_run_waits() -> None:
    large, small = sized(900, 10)

    assert submitted(limited(large, small)) == ["b0"]
    assert submitted(limited(large, waits(small))) == []


def test_a_limit_that_is_old_holds_nothing_back() -> None:
    old = Quota(measure="tokens", ceiling=1, learned_at=NOW - timedelta(days=1))

    assert submitted(with_(seen(*sized(60, 60)), quotas=(old,))) == ["b0", "b1"]


def test_who_waits_for_room_is_told_with_the_limit() -> None:
    snapshot = limited(*sized(60, 60, 40))

    assert held_back(snapshot, NOW) == {"b1": snapshot.quotas[0]}


QUEUED = st.lists(
    st.builds(
        lambda tokens, there, due: (tokens, there, due),
        st.integers(0, 200),
        st.booleans(),
        st.sampled_from([None, NOW, LATER]),
    ),
    max_size=8,
)
QUOTAS = st.lists(
    st.builds(
        Quota,
        measure=st.sampled_from(["tokens", "requests", "batches"]),
        ceiling=st.integers(0, 300),
        learned_at=st.just(NOW),
    ),
    max_size=2,
)


@given(QUEUED, QUOTAS, st.builds(Load, batches=st.integers(0, 2), tokens=st.integers(0, 300)))
def test_no_limit_is_exceeded_but_by_one_batch_alone_and_none_holds_up_all(
    queued: list[Any], quotas: list[Quota], elsewhere: Load
) -> None:
    planned = sized(*(tokens for tokens, _, _ in queued))
    batches = [
        waits(batch) if there else replace(batch, due=due)
        for batch, (_, there, due) in zip(planned, queued, strict=True)
    ]
    snapshot = with_(seen(*batches), quotas=tuple(quotas), elsewhere=elsewhere)

    goes = [action.batch for action in decide(snapshot, NOW) if isinstance(action, Submit)]

    there = [batch for batch in batches if batch.status == "running"]
    for quota in quotas:
        amount = (elsewhere + total([*there, *goes])).of(quota.measure)
        assert amount <= quota.ceiling or len(there + goes) == 1 or not goes
    if not there and any(batch.due != LATER for batch in batches):
        assert goes


# --- what takes too long ------------------------------------------------------------------------

SLOW = Late(word="slow", why="95 % are over within 1 h 0 min")
HOURS = {"in_progress": Usual(9, timedelta(minutes=9), timedelta(hours=1))}


def old_batch(**fields: Any) -> Batch:
    """One that is in its phase for two hours."""
    begun = NOW - timedelta(hours=2)
    known = {"id": "batch_1", "status": "in_progress", "sent_at": begun, "phase_since": begun}
    return remote_batch(status="running", remote=Remote(**known, **fields))


def test_what_takes_too_long_is_said_once() -> None:
    old, told = old_batch(), old_batch(late=SLOW)

    assert decide(with_(seen(old), usual=HOURS), NOW) == [Alert(batch=old, late=SLOW)]
    assert decide(with_(seen(told), usual=HOURS), NOW) == [Poll(batches=(told,))]


def test_nothing_is_said_while_we_look_or_of_what_is_another_s() -> None:
    old = old_batch()
    taken = replace(old, owner="other", lease_until=LATER)

    assert decide(with_(seen(old), usual=HOURS, looking=True), NOW) == []
    assert decide(with_(seen(taken), usual=HOURS), NOW) == []


def test_what_is_beyond_the_window_of_its_provider_is_stuck() -> None:
    old = old_batch(late=SLOW)

    (alert,) = decide(with_(seen(old), window=timedelta(hours=1)), NOW)

    assert isinstance(alert, Alert)
    assert alert.late.word == "stuck"


# --- what gets nowhere --------------------------------------------------------------------------

DAY = timedelta(hours=24)
STUCK = Late(word="stuck", why="said before")


def failing_batch(*, since: timedelta, **fields: Any) -> Batch:
    """One of which no step has got through for so long."""
    remote = Remote(
        sent_at=NOW - 2 * DAY, id="batch_1", failing_since=NOW - since, why="HTTP 500", late=STUCK
    )
    return remote_batch(**{"status": "running", "remote": remote, **fields})


def test_where_nothing_gets_through_for_a_day_the_run_stops_and_says_why() -> None:
    still, gone = failing_batch(since=DAY), failing_batch(since=DAY + timedelta(seconds=1))
    other = remote_batch(id="other", part=1)

    assert decide(seen(still), NOW) == [Poll(batches=(still,))]
    assert decide(seen(gone, other), NOW) == [Submit(batch=other), Poll(batches=(gone,))]
    (stop,) = decide(seen(gone), NOW)
    assert isinstance(stop, Stop)
    assert stop.why.endswith("got through at the provider: HTTP 500")


def test_who_comes_later_tries_for_as_long_again() -> None:
    gone = failing_batch(since=3 * DAY)

    assert decide(with_(seen(gone), began=NOW), NOW) == [Poll(batches=(gone,))]
    assert isinstance(decide(with_(seen(gone), began=NOW - 2 * DAY), NOW)[0], Stop)


def test_first_rows_that_were_refused_and_are_asked_again_hold_back_the_others_again() -> None:
    refused = replace(REFUSED[0], retried={"auth": 4})
    unsent = remote_batch(id="unsent", part=1, first=4)
    again = remote_batch(id="again", wave=2, ordered=False)
    counts: tuple[Counts, ...] = ({"succeeded": 4}, {"invalid_output": 4})
    good, bad = (replace(again, status="cleaned", counts=given) for given in counts)

    def decided(*batches: Batch) -> list[Action]:
        snapshot = seen(*batches)
        return decide(with_(snapshot, run=replace(snapshot.run, canary=4, wave=2)), NOW)

    assert decided(refused, unsent, again) == [Submit(batch=again)]
    assert decided(refused, unsent, good) == [Submit(batch=unsent)]
    (stop,) = decided(refused, unsent, bad)
    assert isinstance(stop, Stop)
    assert stop.why.startswith("4 of the first 4 rows have no valid answer")
    sent = replace(unsent, status="running", remote=REMOTE["known"])
    assert decided(refused, sent, bad) == [Poll(batches=(sent,))]


def test_a_breaker_does_not_wait_for_it_either() -> None:
    assert decide(seen(*REFUSED, failing_batch(since=2 * DAY)), NOW) == [stopped("auth")]


def test_a_run_that_is_cancelled_is_left_as_it_is_once_all_else_is_cleaned_up() -> None:
    gone = failing_batch(since=2 * DAY)
    done = remote_batch(
        id="done", part=1, status="collected", counts={"succeeded": 4}, remote=REMOTE["known"]
    )

    assert decide(seen(gone, state="cancelling"), NOW) == [Leave()]
    actions = decide(seen(gone, done, state="cancelling"), NOW)
    assert actions == [CancelRemote(batch=gone), Clean(batch=done)]


@pytest.mark.parametrize("fields", [{"tries": 1}, {"failing_since": NOW}])
def test_a_cancellation_that_failed_a_moment_ago_waits_for_its_moment(fields: Any) -> None:
    running = remote_batch(status="running", remote=REMOTE["known"], due=LATER)
    failed = replace(running, remote=replace(running.remote, **fields))

    assert decide(seen(running, state="cancelling"), NOW) == [CancelRemote(batch=running)]
    assert decide(seen(failed, state="cancelling"), NOW) == []
    assert decide(seen(failed, state="cancelling"), LATER) == [CancelRemote(batch=failed)]


def test_what_was_only_guessed_is_not_cancelled_but_waited_for() -> None:
    guess = replace(REMOTE["known"], guessed=True)
    running = remote_batch(status="running", remote=guess)
    ended = replace(running, status="ended")
    waiting = replace(running, due=LATER)

    assert decide(seen(running, state="cancelling"), NOW) == [Poll(batches=(running,))]
    assert decide(seen(ended, state="cancelling"), NOW) == [Collect(batch=ended)]
    assert decide(seen(waiting, state="cancelling"), NOW) == []


@pytest.mark.parametrize(("status", "known"), EVERYTHING)
def test_what_was_put_off_by_a_clock_that_was_ahead_is_due(status: BatchStatus, known: str) -> None:
    counts: Counts = {"succeeded": 4} if status in FINISHED else {}
    fields = {"status": status, "counts": counts, "remote": REMOTE[known]}
    soon, far = (remote_batch(due=NOW + wait, **fields) for wait in PUT_OFF)

    assert decide(seen(soon), NOW) == ([Finish()] if status == "cleaned" else [])
    assert decide(seen(far), NOW) == expected("open", known, "free", "now", far)


PUT_OFF = (LONGEST_PAUSE, LONGEST_PAUSE + timedelta(seconds=1))


def test_so_is_a_look_that_was_put_off_by_it() -> None:
    running = remote_batch(status="running", remote=REMOTE["known"])
    soon, far = (with_(seen(running), looks={running.id: NOW + wait}) for wait in PUT_OFF)

    assert decide(soon, NOW) == []
    assert decide(far, NOW) == [Poll(batches=(running,))]


def test_a_search_may_rest_for_longer_than_any_other_step() -> None:
    lost = remote_batch(status="submitting", remote=REMOTE["sent"], due=NOW + timedelta(hours=2))
    patient = with_(seen(lost), longest_pause=timedelta(hours=3))

    assert decide(patient, NOW) == []
    assert decide(seen(lost), NOW) == [Recover(batch=lost)]


# --- the first rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("invalid", [0, 1, 2])
def test_the_first_rows_are_judged_together_if_their_batch_was_cut(invalid: int) -> None:
    ok: Counts = {"succeeded": 5}
    bad: Counts = {"succeeded": 5 - invalid, "invalid_output": invalid} if invalid else ok
    first = remote_batch(id="x-0", part=2, first=0, size=5, status="cleaned", counts=ok)
    second = replace(first, id="x-1", part=3, first=5, counts=bad)
    rest = remote_batch(id="rest", part=1, first=10, size=90)
    waiting = replace(second, status="planned", counts={})

    def of(*batches: Batch) -> list[Action]:
        snapshot = seen(*batches)
        return decide(with_(snapshot, run=replace(snapshot.run, canary=10)), NOW)

    assert of(rest, first, waiting) == [Submit(batch=waiting)]
    decided = of(rest, first, second)
    assert isinstance(decided[0], Stop if invalid > 1 else Submit)
