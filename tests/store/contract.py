"""What every store promises: the suite that each kind of store has to pass.

A kind of store gives the fixture `opener` and inherits `StoreContract`.
"""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Batch, Queue, Remote, Run, Segment, Terms, Usage
from anybatch.core.quota import Load, Quota
from anybatch.core.states import NEXT, BatchStatus
from anybatch.core.timing import KEPT, Timing
from anybatch.errors import LeaseLost, StoreCorrupt, UnknownRun
from anybatch.store.journal import segment_path
from anybatch.store.store import Event, Store

from .given import JSON, MANY_BATCHES, MINUTE, MOMENTS, NOW, QUOTE, RUN, RUNS, TEXTS, batch, run
from .racing import (
    Opener,
    among_processes,
    among_threads,
    claims,
    opens_and_adds,
    opens_and_claims,
    opens_and_plans,
)

BATCH = batch(RUN)
UNTIL = NOW + MINUTE
ONE_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""The examples of a property share a store; each cleans up first."""


def claimed(store: Store, seen: Batch, *, owner: str = "a") -> Batch | None:
    return store.claim(seen, status="running", owner=owner, lease_until=UNTIL, window=7)


def owned(store: Store, seen: Batch, *, owner: str = "a") -> Batch:
    mine = claimed(store, seen, owner=owner)
    assert mine is not None
    return mine


def only_batch(store: Store, of: Run = RUN) -> Batch:
    (found,) = store.batches(of.id)
    return found


class Base:
    @pytest.fixture
    def store(self, opener: Opener) -> Iterator[Store]:
        store = opener()
        yield store
        store.close()

    @pytest.fixture
    def planned(self, store: Store) -> Batch:
        """The one batch of a run that was just added."""
        store.add_run(RUN, [BATCH])
        return BATCH


class RunContract(Base):
    @ONE_STORE
    @given(RUNS, MANY_BATCHES)
    def test_what_was_added_comes_back_as_it_was(self, store: Store, run: Run, batches) -> None:
        store.delete(run.id)

        store.add_run(run, batches)

        assert store.run(run.id) == run
        assert store.batches(run.id) == sorted(batches, key=lambda b: (b.wave, b.part))

    def test_what_was_added_is_there_for_others(self, store: Store, opener: Opener) -> None:
        store.add_run(RUN, [BATCH])

        other = opener()
        seen = other.run(RUN.id), other.batches(RUN.id)
        other.close()

        assert seen == (RUN, [BATCH])

    def test_a_run_is_found_by_its_id_by_its_start_and_as_the_last(self, store: Store) -> None:
        store.add_run(run(1), [])
        store.add_run(run(23), [])

        found = [store.find_run(word).id for word in ("run-1", "run-2", "last")]

        assert found == ["run-1", "run-23", "run-23"]

    def test_the_whole_id_means_its_run_even_if_others_start_with_it(self, store: Store) -> None:
        for k in (1, 11, 12):
            store.add_run(run(k), [])

        assert store.find_run("run-1").id == "run-1"

    @pytest.mark.parametrize("word", ["run", "run-1", "nope", "run-%", "run_2", "%", "RUN-22"])
    def test_a_word_that_means_no_one_run_is_refused_by_name(self, store: Store, word: str) -> None:
        store.add_run(run(11), [])
        store.add_run(run(12), [])

        with pytest.raises(UnknownRun, match=f"'{word}'"):
            store.find_run(word)

    def test_an_empty_store_has_no_last_run(self, store: Store) -> None:
        with pytest.raises(UnknownRun, match="'last'"):
            store.find_run("last")

        assert store.runs() == []

    def test_only_the_whole_id_is_a_run(self, store: Store) -> None:
        store.add_run(RUN, [])

        assert store.has_run(RUN.id)
        assert not store.has_run("run")
        with pytest.raises(UnknownRun, match="'run'"):
            store.run("run")

    def test_runs_are_listed_newest_first_and_the_later_added_of_a_moment(self, store) -> None:
        for k in (3, 1, 2):
            store.add_run(run(k), [])
        store.add_run(replace(run(3), id="run-3b"), [])

        assert [each.id for each in store.runs()] == ["run-3b", "run-3", "run-2", "run-1"]
        assert [each.id for each in store.runs(most=2)] == ["run-3b", "run-3"]
        assert store.find_run("last").id == "run-3b"

    def test_the_newest_run_that_asked_the_same_is_found(self, store: Store) -> None:
        for k, fingerprint in ((2, "f"), (1, "f"), (3, "g")):
            store.add_run(run(k, fingerprint=fingerprint), [])

        assert store.same_run("f") == run(2)
        assert store.same_run("h") is None

    def test_the_newest_run_of_a_source_is_found_whatever_it_asked(self, store: Store) -> None:
        for k, source in ((2, "a.csv"), (1, "a.csv"), (3, "b.csv")):
            store.add_run(run(k, source=source, fingerprint=str(k)), [])

        assert store.latest_of("a.csv") == run(2, source="a.csv", fingerprint="2")
        assert store.latest_of("c.csv") is None

    def test_batches_come_in_the_order_they_were_planned(self, store: Store) -> None:
        places = [(2, 0), (1, 10), (1, 2), (1, 0), (2, 1)]

        store.add_run(RUN, [batch(RUN, part=part, wave=wave) for wave, part in places])

        assert [(b.wave, b.part) for b in store.batches(RUN.id)] == sorted(places)

    def test_a_run_moves_only_from_the_state_it_was_seen_in(self, store: Store) -> None:
        store.add_run(RUN, [])

        moved = store.set_state(RUN, "stopped", why="auth")
        again = store.set_state(RUN, "ended", ended_at=NOW)

        assert (moved, again) == (True, False)
        assert store.run(RUN.id) == replace(RUN, state="stopped", why="auth")

    def test_a_run_that_goes_on_forgets_why_it_had_stopped(self, store: Store) -> None:
        store.add_run(RUN, [])
        store.set_state(RUN, "stopped", why="auth", ended_at=NOW)

        store.set_state(store.run(RUN.id), "open")

        assert store.run(RUN.id) == RUN

    def test_deleting_forgets_a_run_its_batches_events_and_files(self, store, planned) -> None:
        mine = owned(store, planned)
        store.add_run(run(2), [batch(run(2))])
        store.add_event(RUN.id, Event(at=NOW, name="x", fields={}))
        store.folder(RUN.id).mkdir(parents=True)
        (store.folder(RUN.id) / "rows.jsonl").write_text("{}\n")

        store.delete(RUN.id)

        assert not store.has_run(RUN.id)
        assert store.batches(RUN.id) == store.events(RUN.id) == []
        assert not store.folder(RUN.id).exists()
        assert store.batches("run-2") == [batch(run(2))]
        assert claimed(store, planned) is None
        with pytest.raises(LeaseLost):
            store.save(mine)

    def test_deleting_what_is_not_there_is_no_matter(self, store: Store) -> None:
        store.delete("nope")

        assert store.runs() == []

    @ONE_STORE
    @given(st.lists(st.builds(Event, at=MOMENTS, name=TEXTS, fields=JSON), max_size=5))
    def test_events_come_back_as_they_were_added_even_if_a_clock_was_set_back(
        self, store: Store, events: list[Event]
    ) -> None:
        store.delete(RUN.id)
        store.add_run(RUN, [])

        for event in events:
            store.add_event(RUN.id, event)

        assert store.events(RUN.id) == events

    def test_folders_that_no_run_has_are_strays(self, store: Store) -> None:
        store.add_run(RUN, [])
        for name in (RUN.id, "lost-2", "lost-1"):
            store.folder(name).mkdir(parents=True)

        assert store.strays() == [store.folder("lost-1"), store.folder("lost-2")]

    def test_a_run_that_is_being_planned_is_no_stray(self, store: Store) -> None:
        store.folder("new").mkdir(parents=True)
        (store.root / "runs" / "new.planning").write_text("somebody")

        assert store.strays() == []

    def test_a_new_store_has_no_strays(self, store: Store) -> None:
        assert store.strays() == []

    def test_an_event_of_a_run_that_is_gone_is_refused(self, store: Store) -> None:
        with pytest.raises(UnknownRun, match="'run-1'"):
            store.add_event(RUN.id, Event(at=NOW, name="x", fields={}))

        assert store.events(RUN.id) == []


class LeaseContract(Base):
    def test_a_claim_gives_a_batch_an_owner_and_a_new_token(self, store: Store, planned) -> None:
        mine = claimed(store, planned)

        assert mine == replace(
            planned, status="running", owner="a", lease_until=UNTIL, window=7, token=1
        )
        assert only_batch(store) == mine

    def test_a_batch_is_claimed_once_from_what_was_seen(self, store: Store, planned) -> None:
        mine = owned(store, planned)

        assert claimed(store, planned, owner="b") is None
        assert only_batch(store) == mine

    def test_a_batch_that_was_given_back_is_not_what_was_seen_before(self, store, planned) -> None:
        given_back = replace(owned(store, planned), owner=None, lease_until=None, status="planned")
        store.save(given_back)

        assert claimed(store, planned, owner="b") is None
        assert owned(store, given_back, owner="b").token == 2

    def test_a_batch_in_another_status_is_not_claimed(self, store: Store, planned) -> None:
        assert claimed(store, replace(planned, status="submitting")) is None
        assert only_batch(store) == planned

    @pytest.mark.parametrize("seen_owner", [None, "b"])
    def test_a_batch_of_another_owner_is_not_claimed(self, store, planned, seen_owner) -> None:
        mine = owned(store, planned)

        assert claimed(store, replace(mine, owner=seen_owner), owner="c") is None
        assert only_batch(store) == mine

    def test_a_batch_is_taken_over_from_the_owner_it_was_seen_with(self, store, planned) -> None:
        dead = owned(store, planned)

        taken = owned(store, dead, owner="b")

        assert (taken.owner, taken.token) == ("b", 2)

    def test_a_batch_that_does_not_exist_is_not_claimed(self, store: Store) -> None:
        assert claimed(store, BATCH) is None

    def test_progress_is_committed_under_the_present_token(self, store: Store, planned) -> None:
        done = replace(
            owned(store, planned),
            status="collected",
            journal=(Segment(token=1, size=99, crc=0xFFFFFFFF),),
            counts={"succeeded": 9, "refused": 1},
            usage=Usage(tokens_in=5),
            window=3,
            owner=None,
            lease_until=None,
        )

        store.save(done)

        assert only_batch(store) == done

    def test_progress_does_not_move_what_a_plan_fixed(self, store: Store, planned) -> None:
        mine = owned(store, planned)
        moved = replace(mine, first=99, size=99, retried={"refused": 1}, attempt=9)

        store.save(moved)

        assert only_batch(store) == mine

    @pytest.mark.parametrize("status", get_args(BatchStatus))
    @pytest.mark.parametrize("present", get_args(BatchStatus))
    def test_a_batch_takes_no_step_that_the_table_does_not_have(
        self, store: Store, present: BatchStatus, status: BatchStatus
    ) -> None:
        before = replace(BATCH, status=present)
        store.add_run(RUN, [before])
        refusal = f"'run-1-1-0' is {present} and cannot become {status}"
        legal = status == present or status in NEXT[present]

        with nullcontext() if legal else pytest.raises(AssertionError, match=refusal):
            store.save(replace(before, status=status))
        seen = only_batch(store)
        assert seen.status == (status if legal else present)

        with nullcontext() if legal else pytest.raises(AssertionError, match=refusal):
            store.claim(before, status=status, owner="a", lease_until=UNTIL, window=1)
        if not legal:
            assert only_batch(store) == before

    def test_a_stale_owner_is_told_of_its_lease_first(self, store: Store, planned) -> None:
        stale = owned(store, planned)
        present = owned(store, stale, owner="b")
        store.save(replace(present, status="collected"))

        with pytest.raises(LeaseLost, match=BATCH.id):
            store.save(stale)

    def test_a_token_that_somebody_had_before_is_not_given_out_again(self, store, planned) -> None:
        store.folder(RUN.id).mkdir(parents=True)
        known_to_nobody = segment_path(store.folder(RUN.id), planned.id, 1)
        known_to_nobody.write_bytes(b"{}\n")

        with pytest.raises(StoreCorrupt, match=re.escape(str(known_to_nobody))) as refused:
            claimed(store, planned)

        assert "`anybatch rm run-1`" in str(refused.value)
        assert only_batch(store) == planned

    def test_a_write_under_an_old_token_is_refused_and_changes_nothing(self, store, planned):
        stale = owned(store, planned)
        present = owned(store, stale, owner="b")

        with pytest.raises(LeaseLost, match=BATCH.id):
            store.save(replace(stale, counts={"succeeded": 10}, status="collected"))

        assert only_batch(store) == present

    def test_the_owner_renews_its_lease_and_nobody_else(self, store: Store, planned) -> None:
        mine = owned(store, planned)
        later = UNTIL + MINUTE

        assert not store.renew(replace(mine, owner="b"), lease_until=later)
        assert not store.renew(replace(mine, token=0), lease_until=later)
        assert only_batch(store).lease_until == UNTIL
        assert store.renew(mine, lease_until=later)
        assert only_batch(store) == replace(mine, lease_until=later)

    def test_a_lease_that_was_given_back_or_taken_is_not_renewed(self, store, planned) -> None:
        mine = owned(store, planned)
        store.save(replace(mine, owner=None, lease_until=None))

        assert not store.renew(mine, lease_until=UNTIL)
        owned(store, replace(mine, owner=None, lease_until=None), owner="b")
        assert not store.renew(mine, lease_until=UNTIL)

    def test_a_batch_renewed_since_it_was_seen_is_not_claimed(self, store, planned) -> None:
        seen = owned(store, planned)
        store.renew(seen, lease_until=UNTIL + MINUTE)

        taken = claimed(store, seen, owner="b")

        assert taken is None

    def test_of_eight_threads_one_gets_each_batch(self, store: Store) -> None:
        seen = [batch(RUN, part=part) for part in range(20)]
        store.add_run(RUN, seen)

        got = among_threads(partial(claims, store, seen))

        assert sorted(chain.from_iterable(got)) == sorted(b.id for b in seen)
        assert all(b.token == 1 for b in store.batches(RUN.id))

    def test_of_four_processes_one_gets_each_batch(self, store: Store, opener: Opener) -> None:
        seen = [batch(RUN, part=part) for part in range(50)]
        store.add_run(RUN, seen)

        got = among_processes(partial(opens_and_claims, opener, seen))

        assert sorted(chain.from_iterable(got)) == sorted(b.id for b in seen)
        winners = {b: name for name, ids in enumerate(got) for b in ids}
        assert {b.id: int(b.owner or "-1") for b in store.batches(RUN.id)} == winners

    def test_four_processes_may_open_a_new_store_at_once(self, opener: Opener) -> None:
        among_processes(partial(opens_and_adds, opener, RUN))

        store = opener()
        found = sorted(each.id for each in store.runs())
        store.close()
        assert found == ["run-1-0", "run-1-1", "run-1-2", "run-1-3"]


class WaveContract(Base):
    def test_a_wave_is_planned_with_what_it_takes_over(self, store: Store, planned) -> None:
        next_wave = [batch(RUN, wave=2), batch(RUN, wave=2, part=1)]

        added = store.add_wave(RUN, next_wave, [replace(planned, retried={"network": 3})])

        assert added
        assert store.run(RUN.id).wave == 2
        assert store.batches(RUN.id) == [replace(planned, retried={"network": 3}), *next_wave]

    def test_of_what_is_taken_over_only_the_counts_change(self, store: Store, planned) -> None:
        mine = owned(store, planned)

        store.add_wave(RUN, [], [replace(planned, retried={"network": 3}, status="ended")])

        assert only_batch(store) == replace(mine, retried={"network": 3})

    def test_the_second_planner_of_a_wave_changes_nothing(self, store: Store, planned) -> None:
        store.add_wave(RUN, [batch(RUN, wave=2)], [])
        before = store.run(RUN.id), store.batches(RUN.id)

        again = store.add_wave(
            RUN, [batch(RUN, wave=2, part=1)], [replace(planned, retried={"network": 3})]
        )

        assert not again
        assert (store.run(RUN.id), store.batches(RUN.id)) == before

    @pytest.mark.parametrize("state", ["stopped", "cancelling", "ended"])
    def test_a_run_that_is_not_open_gets_no_wave(self, store: Store, planned, state) -> None:
        store.set_state(RUN, state)

        assert not store.add_wave(RUN, [batch(RUN, wave=2)], [])
        assert store.batches(RUN.id) == [planned]

    def test_a_run_that_is_gone_gets_no_wave(self, store: Store) -> None:
        assert not store.add_wave(RUN, [batch(RUN, wave=2)], [])
        assert store.batches(RUN.id) == []

    def test_of_four_processes_one_plans_the_wave(self, store: Store, opener, planned) -> None:
        got = among_processes(partial(opens_and_plans, opener, RUN))

        assert sorted(got) == [False, False, False, True]
        assert len(store.batches(RUN.id)) == 2


HAPPENED = Event(at=NOW, name="batch.cut", fields={"into": 2})
PIECES = [replace(batch(RUN), id=f"{BATCH.id}-{k}", first=5 * k, size=5) for k in range(2)]


class CutContract(Base):
    def test_pieces_take_the_place_of_a_batch_behind_the_others(self, store, planned) -> None:
        other = batch(run(2))
        store.add_run(run(2), [other])
        mine = owned(store, planned)

        store.cut(mine, PIECES, event=HAPPENED)

        assert store.batches(RUN.id) == [replace(PIECES[0], part=1), replace(PIECES[1], part=2)]
        assert store.events(RUN.id) == [HAPPENED]
        assert store.batches("run-2") == [other]

    def test_pieces_of_pieces_get_places_of_their_own(self, store: Store, planned) -> None:
        store.cut(owned(store, planned), PIECES, event=HAPPENED)
        first, second = store.batches(RUN.id)
        smaller = [replace(first, id=f"{first.id}-{k}", size=1) for k in range(2)]

        store.cut(owned(store, first), smaller, event=HAPPENED)

        assert [each.part for each in store.batches(RUN.id)] == [2, 3, 4]
        assert store.batches(RUN.id)[0] == second

    def test_a_stale_owner_cuts_nothing(self, store: Store, planned) -> None:
        stale = owned(store, planned)
        present = owned(store, stale, owner="b")

        with pytest.raises(LeaseLost, match=BATCH.id):
            store.cut(stale, PIECES, event=HAPPENED)

        assert store.batches(RUN.id) == [present]
        assert store.events(RUN.id) == []

    def test_a_batch_that_holds_results_is_not_cut(self, store: Store, planned) -> None:
        mine = replace(owned(store, planned), counts={"succeeded": 1})
        store.save(mine)

        with pytest.raises(LeaseLost):
            store.cut(mine, PIECES, event=HAPPENED)

        assert store.batches(RUN.id) == [mine]

    def test_what_cannot_be_added_leaves_the_batch(self, store: Store, planned) -> None:
        mine = owned(store, planned)

        with pytest.raises(Exception, match=r"(?i)unique"):
            store.cut(mine, [PIECES[0], PIECES[0]], event=HAPPENED)

        assert store.batches(RUN.id) == [mine]
        assert store.events(RUN.id) == []

    def test_a_cut_is_news_to_whoever_looks(self, store: Store, planned) -> None:
        mine = owned(store, planned)
        before = store.news()

        store.cut(mine, PIECES, event=HAPPENED)

        assert store.news() != before


QUEUE = Queue(provider="openai", account="k1", model="m")
QUEUES = st.builds(Queue, provider=TEXTS, account=st.none() | TEXTS, model=st.none() | TEXTS)
QUOTA = Quota(measure="tokens", ceiling=900, said=1000, learned_at=NOW)
QUEUED = replace(RUN, account="k1")


def waiting(k: int, *, of: Run = QUEUED, status: BatchStatus = "running", **fields: Any) -> Batch:
    """A batch that waits at its provider: 10 requests with 100 tokens."""
    sent = Remote(sent_at=fields.pop("sent_at", NOW))
    there = {"status": status, "executor": "batch", "tokens": 100, "remote": sent}
    return replace(batch(of, part=k), **{**there, **fields})


class LearnedContract(Base):
    def test_what_is_saved_with_a_batch_is_there_with_it(self, store: Store) -> None:
        store.add_run(QUEUED, [BATCH])
        mine = replace(owned(store, BATCH), counts={"succeeded": 1})
        timings = [Timing("validating", 2.5), Timing("in_progress", 90.0)]

        store.save(mine, event=HAPPENED, timings=timings)

        assert store.batches(RUN.id) == [mine]
        assert store.events(RUN.id) == [HAPPENED]
        assert store.timings(QUEUE) == timings

    def test_of_a_stale_owner_nothing_is_kept(self, store: Store, planned) -> None:
        stale = owned(store, planned)
        owned(store, stale, owner="b")

        with pytest.raises(LeaseLost):
            store.save(stale, event=HAPPENED, timings=[Timing("validating", 1.0)])

        assert store.events(RUN.id) == store.timings(RUN.queue) == []

    def test_of_each_phase_the_latest_are_kept(self, store: Store, planned) -> None:
        mine = owned(store, planned)
        store.save(mine, timings=[Timing("rare", 1.0)])

        for k in range(KEPT + 7):
            store.save(mine, timings=[Timing("common", float(k))])

        kept = [timing for timing in store.timings(RUN.queue) if timing.phase == "common"]
        assert kept == [Timing("common", float(k)) for k in range(7, KEPT + 7)]
        assert Timing("rare", 1.0) in store.timings(RUN.queue)

    @pytest.mark.parametrize("field", ["provider", "account", "model"])
    def test_what_is_learned_of_one_queue_is_not_of_another(self, store: Store, field) -> None:
        store.add_run(QUEUED, [BATCH])
        store.save(owned(store, BATCH), timings=[Timing("validating", 1.0)])
        store.learn(QUEUE, QUOTA)

        other = replace(QUEUE, **{field: "another" if field == "provider" else None})

        assert store.timings(other) == store.quotas(other) == []

    @ONE_STORE
    @given(QUEUES, st.integers(0, 2**40), st.none() | st.integers(0, 2**40), MOMENTS)
    def test_a_limit_comes_back_as_it_was_learned_last(
        self, store: Store, queue: Queue, ceiling: int, said: int | None, at
    ) -> None:
        queue = replace(queue, account=queue.account or None, model=queue.model or None)
        quota = Quota(measure="requests", ceiling=ceiling, said=said, named=False, learned_at=at)
        store.learn(queue, replace(quota, ceiling=ceiling + 1, named=True))

        store.learn(queue, quota)

        assert store.quotas(queue) == [quota]

    def test_limits_of_other_measures_stand_beside_it(self, store: Store) -> None:
        of_batches = Quota(measure="batches", ceiling=2, learned_at=NOW)
        store.learn(QUEUE, QUOTA)

        store.learn(QUEUE, of_batches)

        assert store.quotas(QUEUE) == [of_batches, QUOTA]

    def test_what_is_learned_outlives_the_run(self, store: Store, opener: Opener) -> None:
        store.add_run(QUEUED, [BATCH])
        store.save(owned(store, BATCH), timings=[Timing("validating", 1.0)])
        store.learn(QUEUE, QUOTA)
        store.delete(RUN.id)

        other = opener()
        seen = other.timings(QUEUE), other.quotas(QUEUE)
        other.close()

        assert seen == ([Timing("validating", 1.0)], [QUOTA])

    def test_what_waits_is_that_of_other_runs_in_the_same_queue(self, store: Store) -> None:
        elsewhere = replace(run(2), account="k1")
        of_another_key = replace(run(3), account="k2")
        store.add_run(QUEUED, [waiting(0)])
        store.add_run(elsewhere, [waiting(k, of=elsewhere) for k in range(2)])
        store.add_run(of_another_key, [waiting(0, of=of_another_key)])

        load = store.waiting_elsewhere(QUEUE, but=RUN.id, since=NOW - MINUTE)

        assert load == Load(batches=2, requests=20, tokens=200)

    @pytest.mark.parametrize(
        "fields",
        [
            {"status": "planned"},
            {"status": "ended"},
            {"status": "cleaned"},
            {"executor": "online", "remote": None},
            {"status": "submitting", "remote": Remote(input_file="f")},
            {"sent_at": NOW - 9 * MINUTE},
        ],
    )
    def test_what_does_not_wait_there_does_not_count(self, store: Store, fields) -> None:
        store.add_run(QUEUED, [waiting(0, **fields)])

        load = store.waiting_elsewhere(QUEUE, but="another", since=NOW - MINUTE)

        assert load == Load()

    def test_a_new_limit_is_news_to_whoever_looks(self, store: Store) -> None:
        before = store.news()

        store.learn(QUEUE, QUOTA)

        assert store.news() != before

    def test_wishes_are_kept_and_nothing_else_of_a_run(self, store: Store) -> None:
        store.add_run(RUN, [])

        terms = Terms(by=NOW, budget=2.5, prefer="fast", preview=3, overflow=True)
        wishes = replace(RUN, canary=3, keep_remote=True, account="k2", terms=terms)

        store.save_wishes(replace(wishes, source="another"))

        assert store.run(RUN.id) == wishes

    def test_what_a_run_was_said_to_cost_is_kept_with_it(self, store: Store) -> None:
        store.add_run(RUN, [], quote=QUOTE)
        store.add_run(replace(RUN, id="other"), [])

        assert store.quote(RUN.id) == QUOTE
        assert store.quote("other") is None

        store.delete(RUN.id)

        assert store.quote(RUN.id) is None

    def test_events_of_some_names_are_found_without_the_others(self, store: Store) -> None:
        store.add_run(RUN, [])
        for name in ("a", "ab", "b", "a"):
            store.add_event(RUN.id, Event(at=NOW, name=name, fields={}))

        assert [event.name for event in store.events(RUN.id, "a", "c")] == ["a", "a"]


class StoreContract(RunContract, LeaseContract, WaveContract, CutContract, LearnedContract):
    """All of it."""
