"""Prompt caches: written by one request ahead of the others, and never for more than they save."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from anybatch.core.heads import MEASURING, PRIMING, REST
from anybatch.core.model import Row, Run, Spec, Usage
from anybatch.testing import CrashAt

from .caching import (
    CONTEXTS,
    Caches,
    caches,
    flat,
    questions,
    questions_spec,
    read_share,
    tickets,
    tickets_spec,
)

MOST = 1.02
"""Of what a flat batch costs: what a cache may cost at most."""


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Caches]:
    with caches(tmp_path / "warm") as world:
        yield world


def stages(world: Caches, run: Run) -> list[tuple[int, int]]:
    return [(batch.stage, batch.size) for batch in world.batches(run)]


def writes(world: Caches) -> list[bool]:
    """Whether each batch wrote something, in the order they came."""
    return [usage.kept + usage.written > 0 for usage in world.ledgers()]


# --- it pays --------------------------------------------------------------------------------------


def test_a_batch_of_one_goes_ahead_and_nearly_all_others_read_what_it_wrote(warm: Caches) -> None:
    run = warm.plan(tickets(900), tickets_spec())

    ended = warm.live(run)

    assert ended.state == "ended"
    assert [stage for stage, _ in stages(warm, run)] == [PRIMING, MEASURING, REST]
    assert warm.batches(run)[0].size == 1
    usage = warm.service.ledger.usage
    assert read_share(usage) >= 0.95
    assert sum(batch.usage.cached for batch in warm.batches(run)) == usage.cached
    assert warm.bill(usage) < 0.5 * warm.bill(flat(usage))


def test_the_rows_that_are_tried_first_write_the_head_as_well(warm: Caches) -> None:
    run = warm.plan(tickets(1_200), tickets_spec())

    warm.live(run)

    assert [stage for stage, _ in stages(warm, run)] == [PRIMING, MEASURING, REST]
    assert stages(warm, run)[0] == (PRIMING, run.canary)
    assert writes(warm) == [True, False, False]
    assert read_share(warm.service.ledger.usage) >= 0.95


@pytest.mark.parametrize("count", [1_000, 1_500])
def test_each_of_several_heads_is_written_once(count: int, warm: Caches) -> None:
    run = warm.plan(questions(count), questions_spec())

    warm.live(run)

    assert writes(warm).count(True) == (2 if run.canary and run.canary < CONTEXTS else 1)
    usage = warm.service.ledger.usage
    assert read_share(usage) >= 0.95
    assert warm.bill(usage) < 0.5 * warm.bill(flat(usage))


def test_no_two_batches_have_one_size(warm: Caches) -> None:
    for rows, spec in ((tickets(1_200), tickets_spec()), (questions(900), questions_spec())):
        sizes = [size for _, size in stages(warm, warm.plan(rows, spec))]
        assert len(set(sizes)) == len(sizes) >= 3


# --- it does not pay ------------------------------------------------------------------------------

SHAPES: dict[str, tuple[list[Row], Spec]] = {
    "one head": (tickets(900), tickets_spec()),
    "one head, some tried first": (tickets(2_000), tickets_spec()),
    "one head, long rows": (
        [{"text": f"{n} " + "and so on " * 300} for n in range(400)],
        tickets_spec(),
    ),
    "several heads": (questions(1_500), questions_spec()),
    "few rows": (tickets(40), tickets_spec()),
    "two rows a head": (questions(10), questions_spec()),
    "short heads": (tickets(600), tickets_spec(system="Sort.")),
}


@pytest.mark.parametrize("hits", [0.0, 0.2, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_run_costs_much_more_than_a_flat_batch(shape: str, hits: float, tmp_path: Path) -> None:
    rows, spec = SHAPES[shape]
    with caches(tmp_path / "service", hits=hits) as world:
        run = world.live(world.plan(rows, spec))

        usage = world.service.ledger.usage
        assert run.state == "ended"
        assert world.bill(usage) <= MOST * world.bill(flat(usage))


def test_what_nobody_reads_is_written_no_more(tmp_path: Path) -> None:
    with caches(tmp_path / "cold", hits=0.0) as cold:
        run = cold.plan(tickets(900), tickets_spec())

        cold.live(run)

        assert writes(cold) == [True, True, False]
        workspace = cold.open()
        with closing(workspace.store):
            (event,) = workspace.store.events(run.id, "cache.dropped")
        assert event.fields["hits"] == 0.0


def test_what_is_too_short_for_the_model_is_not_marked_any_more(warm: Caches) -> None:
    # The service keeps nothing below 4,096 tokens of this model, and does not say so.
    spec = tickets_spec(model="claude-haiku-4-5", system="Rule. " * 2_500)
    run = warm.plan(tickets(900), spec)

    warm.live(run)

    assert warm.service.ledger.usage.cached == 0
    assert len(warm.service.ledger.batches) == len(warm.batches(run))


def test_a_cache_can_be_kept_out(warm: Caches) -> None:
    run = warm.plan(tickets(900), tickets_spec(), cache=False)

    warm.live(run)

    assert stages(warm, run) == [(0, 900)]
    assert writes(warm) == [False]


def test_whether_a_cache_is_used_makes_no_other_run(warm: Caches) -> None:
    with_it = warm.plan(tickets(900), tickets_spec())
    without = warm.plan(tickets(900), tickets_spec(), cache=False, again=True)

    assert with_it.fingerprint == without.fingerprint
    folders = [warm.root / "store" / "runs" / run.id for run in (with_it, without)]
    one, other = ((folder / "requests.jsonl").read_bytes() for folder in folders)
    assert one == other


# --- on the way -----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(2, 90, 7))
def test_who_dies_on_the_way_primes_once_more_at_most(at: int, tmp_path: Path) -> None:
    with caches(tmp_path / "service") as world:
        run = world.plan(tickets(900), tickets_spec())
        died = world.die(run, CrashAt(at))

        ended = world.live(run)

        billed = world.service.ledger.billed_rows
        assert died
        assert ended.state == "ended"
        assert sum(billed.values()) == len({row.custom_id for row in billed}) == 900
        assert writes(world).count(True) <= 2


@pytest.mark.parametrize("answered", ["primed", "measured"])
def test_what_waited_for_an_hour_is_primed_once_more(answered: str, warm: Caches) -> None:
    run = warm.plan(tickets(900), tickets_spec())
    sizes = [size for _, size in stages(warm, run)]
    warm.live_until(run, 1 if answered == "primed" else sizes[0] + sizes[1])

    warm.clock.skip(timedelta(hours=2))
    ended = warm.live(run)

    assert ended.state == "ended"
    assert writes(warm).count(True) == 2
    assert read_share(warm.service.ledger.usage) >= 0.95
    sizes = [size for _, size in stages(warm, run)]
    assert len(set(sizes)) == len(sizes)


def test_calls_in_real_time_read_what_one_of_them_wrote(warm: Caches) -> None:
    run = warm.plan(tickets(500), tickets_spec(executor="online"))

    ended = warm.live(run)

    used = warm.service.calls.ledger.executions
    usage = sum(
        (
            Usage(tokens_in=one.tokens_in, cached=one.cached, written=one.written, kept=one.kept)
            for one in used
        ),
        Usage(),
    )
    assert ended.state == "ended"
    assert usage.kept == 0
    assert read_share(usage) >= 0.95


def test_calls_in_real_time_on_many_texts_are_primed_text_by_text(warm: Caches) -> None:
    run = warm.plan(questions(4_500, 30), questions_spec(executor="online"))

    warm.live(run)

    executions = warm.service.calls.ledger.executions
    assert sum(one.written > 0 for one in executions) == 30
    assert len({stage for stage, _ in stages(warm, run)}) > 3
