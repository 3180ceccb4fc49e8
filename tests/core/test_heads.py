"""Whether to have a cache keep what prompts share: never at a price, and if it pays, soon."""

from datetime import timedelta
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.heads import (
    MEASURED,
    MEASURING,
    PRIMING,
    REST,
    STEP,
    Heads,
    early,
    hits_in,
    is_cold,
    marked,
    may_prime_again,
    pays,
    to_measure,
)
from anybatch.core.model import Batch, Usage
from anybatch.core.price import Caching, Rates, Workload, break_even, quote

from .test_price import EXTRACTIONS, HAIKU, OPUS, RUBRICS, SONNET, TICKETS, halved, rates

MOST = 1.02
"""Of what a flat batch costs: what a cache may cost at most."""
FREE = rates(1.0, 5.0, 0.1, None, None)
"""What is written costs nothing more."""


# --- whether it is tried --------------------------------------------------------------------------


@pytest.mark.parametrize("work", [TICKETS, EXTRACTIONS, RUBRICS])
@pytest.mark.parametrize("of", [HAIKU, SONNET, OPUS])
def test_the_published_workloads_are_worth_it(work: Workload, of: Rates) -> None:
    size = to_measure(work, halved(of), kept=True)

    assert size is not None
    assert 7 <= size <= MEASURED


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (Workload(requests=20, shared=2_000, own=10, out=0), "one write is 5 % of all"),
        (Workload(requests=300, shared=2_000, own=10, out=0), "too few can be risked"),
        (Workload(requests=9_000, shared=0, own=10, out=0), "nothing is shared"),
        (Workload(requests=9_000, shared=2_000, heads=4_000, own=10, out=0), "two a head"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_might_cost_more_than_it_may_is_not_tried(work: Workload, why: str) -> None:
    assert to_measure(work, halved(SONNET), kept=True) is None


def test_where_nothing_is_risked_nothing_is_measured() -> None:
    assert to_measure(Workload(requests=9, shared=2_000, own=10, out=0), FREE, kept=False) == 0


def test_what_nobody_reads_for_less_is_not_kept() -> None:
    assert to_measure(TICKETS, rates(1.0, 5.0, None, 1.25, 2.0), kept=True) is None


def spent(work: Workload, of: Rates, *, kept: bool, hits: float) -> float:
    """What a run comes to of which so many would find what was written."""
    size = to_measure(work, of, kept=kept)
    if size is None:
        return quote(work, of)
    found = int(hits * size)
    pays_from = break_even(of, prompt=work.prompt, kept=kept)
    shown = found / size if size else 1.0
    goes_on = not pays_from or pays(shown, size, pays_from)
    parts = (
        (work.heads, Caching(hits=0.0, kept=kept)),
        (size, Caching(hits=shown, kept=kept)),
        (work.requests - work.heads - size, Caching(hits=hits, kept=kept) if goes_on else None),
    )
    return sum(_of(work, requests, of, caching) for requests, caching in parts)


def _of(work: Workload, requests: int, of: Rates, caching: Caching | None) -> float:
    # Without heads that go ahead: who writes and who reads is said by the hits alone.
    some = Workload(requests=requests, shared=work.shared, heads=0, own=work.own, out=work.out)
    return quote(some, of, caching)


WORK = st.builds(
    Workload,
    requests=st.integers(1, 2_000_000),
    shared=st.floats(0, 50_000),
    heads=st.integers(1, 1_000),
    own=st.floats(0, 5_000),
    out=st.floats(0, 2_000),
)


@given(
    work=WORK,
    of=st.sampled_from([HAIKU, SONNET, OPUS, halved(OPUS)]),
    kept=st.booleans(),
    hits=st.floats(0, 1),
)
def test_whatever_is_found_no_run_costs_much_more_than_without_a_cache(
    work: Workload, of: Rates, kept: bool, hits: float
) -> None:
    assert spent(work, of, kept=kept, hits=hits) <= MOST * quote(work, of) + 1e-9


@given(work=WORK, kept=st.booleans())
def test_a_cache_that_is_read_is_used_to_the_end(work: Workload, kept: bool) -> None:
    if to_measure(work, SONNET, kept=kept) is None:
        return

    assert spent(work, SONNET, kept=kept, hits=1.0) <= quote(work, SONNET) + 1e-9


@pytest.mark.parametrize("pays_from", [0.21, 0.52])
@pytest.mark.parametrize("size", [2, 7, 20, 100, 500])
def test_what_pays_by_chance_is_hardly_ever_believed(size: int, pays_from: float) -> None:
    by_chance = sum(
        comb(size, hits) * pays_from**hits * (1 - pays_from) ** (size - hits)
        for hits in range(size + 1)
        if pays(hits / size, size, pays_from)
    )

    assert by_chance <= (0.05 if size < 20 else 0.02)


# --- while the run goes on ------------------------------------------------------------------------

HEADS = Heads(how="breakpoints", kept=True, pays_from=0.52, measured=100)
WROTE = Usage(tokens_in=1_000, kept=900)
READ = Usage(tokens_in=1_000, cached=900)


def batch(stage: int, size: int = 100, *, status: Any = "collected", **fields: Any) -> Batch:
    counts: Any = {"succeeded": size} if status == "collected" else {}
    given: dict[str, Any] = {
        "id": f"b{stage}",
        "run_id": "run",
        "wave": 1,
        "part": 0,
        "first": 0,
        "executor": "batch",
        "counts": counts,
    }
    return Batch(**{**given, **fields}, status=status, size=size, stage=stage)


PRIMED = batch(PRIMING, 1, usage=WROTE)
LATER = batch(REST, status="planned")


@pytest.mark.parametrize(
    ("of", "before", "which"),
    [
        (batch(PRIMING, status="planned"), [], "first"),
        (batch(MEASURING, status="planned"), [PRIMED], "all"),
        (batch(MEASURING, status="planned"), [batch(PRIMING, 1)], "none"),
        (LATER, [PRIMED, batch(MEASURING, usage=READ)], "all"),
        (LATER, [PRIMED, batch(MEASURING, usage=WROTE)], "none"),
        (LATER, [PRIMED, batch(MEASURING)], "none"),
        (LATER, [PRIMED], "none"),
        (LATER, [PRIMED, batch(MEASURING, 3, usage=READ)], "none"),
        (LATER, [PRIMED, batch(MEASURING + 1, usage=WROTE), batch(12, usage=READ)], "all"),
        (batch(REST, status="planned", wave=2), [PRIMED, batch(MEASURING, usage=READ)], "none"),
    ],
    ids=[
        *("the first", "once it is written", "nothing was written", "it is read", "it is not"),
        *("nothing was kept", "nobody has shown it", "too few have", "written anew", "a retry"),
    ],
)
def test_which_requests_mark_their_heads(of: Batch, before: list[Batch], which: str) -> None:
    assert marked(of, [*before, of], HEADS) == which


def test_without_a_premium_all_mark_their_heads() -> None:
    free = Heads(how="breakpoints", kept=True)

    assert marked(LATER, [LATER], free) == "all"


def test_a_key_marks_nothing() -> None:
    assert marked(LATER, [LATER], Heads(how="key")) == "none"


@pytest.mark.parametrize(
    ("status", "is_early"),
    [("planned", True), ("running", True), ("ended", True), ("collected", False)],
)
def test_a_stage_waits_until_the_one_before_is_answered(status: str, is_early: bool) -> None:
    first = batch(PRIMING, status=status)
    last = batch(REST + STEP, status="planned", id="last")

    assert early([first, LATER, last]) == (
        frozenset(("b20", "last")) if is_early else frozenset(("last",))
    )


def test_waves_do_not_wait_for_one_another() -> None:
    assert early([batch(PRIMING, status="planned", wave=2), LATER]) == frozenset()


@pytest.mark.parametrize(
    ("stage", "minutes", "cold"),
    [(REST, 49, False), (REST, 51, True), (MEASURING, 51, True), (PRIMING, 600, False)],
)
def test_what_nobody_has_read_for_50_minutes_is_taken_for_gone(
    stage: int, minutes: int, cold: bool
) -> None:
    assert is_cold(batch(stage), HEADS, idle=timedelta(minutes=minutes)) == cold


def test_a_batch_is_primed_again_once() -> None:
    stages = (MEASURING, MEASURING + 1, MEASURING + 2, REST, REST + 1, REST + 2)

    assert [may_prime_again(batch(s)) for s in stages] == [True, False, False, True, False, False]
    assert not may_prime_again(batch(REST, 1))


def test_what_touched_no_cache_has_no_hits() -> None:
    assert hits_in(Usage(tokens_in=10)) is None
    assert hits_in(WROTE) == 0.0
    assert hits_in(WROTE + READ) == 0.5


def test_what_goes_another_way_than_was_planned_marks_nothing() -> None:
    moved = batch(REST, status="planned", executor="online")

    assert marked(moved, [PRIMED, batch(MEASURING, usage=READ), moved], HEADS) == "none"
