"""Tokens a day: what counts, for how long, and orders that wait until there are some again."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.core.model import Usage
from anybatch.server import log
from anybatch.server.owners import Owners, new_key
from anybatch.server.tokens import DAY, Tokens
from anybatch.store.served import ServedStore, _order_values
from anybatch.store.sqlite import _APPLICATION_ID, DATABASE, migrations
from anybatch.testing import FakeEndpoint

from ..cli.process import anybatch
from .test_keys import add, revoke
from .test_turns import order
from .world import ShiftedClock, chat, client_of, create, results_of, served, until, until_over

ROWS = 40
LATENCY_S = 0.02
BEFORE = 4
"""The version of a store that does not count yet."""


@contextmanager
def counting(
    home: Path, clock: ShiftedClock, tokens_a_day: int = 100
) -> Iterator[tuple[Tokens, Owners]]:
    """What is counted for `a`, over a store that stays."""
    with closing(ServedStore(home)) as store:
        owners = Owners({})
        owners.learn([new_key("a", now=clock.now(), tokens_a_day=tokens_a_day)[1]])
        tokens = Tokens(store, clock, owners)
        tokens.load()
        yield tokens, owners


def used(tokens_in: int, tokens_out: int = 0) -> Usage:
    return Usage(tokens_in=tokens_in, tokens_out=tokens_out)


async def test_what_is_used_counts_for_a_day_from_when_it_was(tmp_path: Path) -> None:
    clock = ShiftedClock()
    with counting(tmp_path, clock) as (tokens, _):
        tokens.note(order("x"), used(10, 20))
        clock.ahead += timedelta(hours=12)
        tokens.note(order("x"), used(25, 20))
        seen = [tokens.used("a")]
        clock.ahead += timedelta(hours=12, minutes=10)
        seen.append(tokens.used("a"))
        clock.ahead += timedelta(hours=12)
        seen.append(tokens.used("a"))

    assert seen == [45, 15, 0]


async def test_a_gate_closes_at_the_limit_and_opens_when_there_is_some_again(
    tmp_path: Path,
) -> None:
    clock = ShiftedClock()
    with counting(tmp_path, clock) as (tokens, _):
        gate = tokens.gate("a")
        tokens.note(order("x"), used(99))
        almost = gate.why
        tokens.note(order("x"), used(120))
        closed = gate.why
        clock.ahead += DAY
        tokens.look_at_all()
        still = gate.why
        clock.ahead += timedelta(minutes=10)
        tokens.look_at_all()

    assert almost is None
    assert closed is not None
    assert "may use 100 tokens in 24 hours and has used 120" in closed
    assert still is not None
    assert (gate.why, tokens.held()) == (None, {})


async def test_a_limit_that_is_raised_opens_the_gate(tmp_path: Path) -> None:
    clock = ShiftedClock()
    with counting(tmp_path, clock) as (tokens, owners):
        tokens.note(order("x"), used(120))
        held = tokens.held()
        owners.learn([new_key("a", now=clock.now(), tokens_a_day=200)[1]])
        tokens.look_at_all()

    assert list(held) == ["a"]
    assert tokens.held() == {}


async def test_what_is_counted_outlives_the_server(tmp_path: Path) -> None:
    """Also what was used and not written down when it died: that counts from when it is found."""
    clock = ShiftedClock()
    with counting(tmp_path, clock) as (tokens, _):
        tokens.note(order("x"), used(30))
        await tokens.save()
        tokens.note(order("x"), used(50))
    clock.ahead += timedelta(hours=20)
    with counting(tmp_path, clock) as (tokens, _):
        before = tokens.used("a")
        tokens.note(order("x"), used(50))
        found = tokens.used("a")
        clock.ahead += timedelta(hours=5)
        later = tokens.used("a")

    assert (before, found, later) == (30, 50, 20)


async def test_nobody_counts_for_those_without_a_key_of_the_store(tmp_path: Path) -> None:
    with counting(tmp_path, ShiftedClock()) as (tokens, _):
        tokens.note(order("x", owner="b"), used(1_000))

    assert tokens.used("b") == 0


def test_an_upgrade_counts_what_ended_orders_have_used(tmp_path: Path) -> None:
    at = datetime(2026, 11, 20, 10, tzinfo=UTC)
    ended = order("x", status="completed", ended_at=at, usage=used(7, 5))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as older:
        for step in migrations()[:BEFORE]:
            older.executescript(step)
        older.executescript(
            f"pragma user_version = {BEFORE}; pragma application_id = {_APPLICATION_ID}"
        )
        values = {name: value for name, value in _order_values(ended).items() if name != "trace"}
        older.execute(
            f"insert into orders ({', '.join(values)}) values (:{', :'.join(values)})", values
        )
        older.commit()
    with closing(ServedStore(tmp_path)) as store:
        counted = store.tokens_used()

    assert [(each.order_id, each.owner, each.at, each.tokens) for each in counted] == [
        ("x", "a", at, 12)
    ]


# --- orders that wait ---


def test_a_running_batch_waits_for_its_tokens_and_goes_on_by_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = ShiftedClock()
    text, _ = add(tmp_path, "alice", tokens_a_day=1)
    with (
        FakeEndpoint(latency=lambda call: LATENCY_S) as endpoint,
        served(tmp_path, clock=clock, routes=[route(endpoint)]) as url,
        client_of(url, text) as client,
    ):
        batch = create(client, [chat(f"r{n}") for n in range(ROWS)], window="168h")
        until(lambda: waits(tmp_path) is not None, "the batch to wait")
        asked = len(endpoint.ledger.executions)
        shown = anybatch("runs", "--store", tmp_path, home=tmp_path)
        numbers = httpx2.get(url.removesuffix("/v1") + "/metrics", headers={"x-api-key": text})
        held = client.batches.retrieve(batch.id)
        asked_later = len(endpoint.ledger.executions)
        clock.ahead = DAY + timedelta(minutes=11)
        until(lambda: len(endpoint.ledger.executions) > asked, "the batch to go on")
        raise_limit(tmp_path)
        _, batch = until_over(client, batch)
        output, _ = results_of(client, batch)
        calls = len(endpoint.ledger.executions)

    log.flush()
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    events = [line["event"] for line in said if line.get("order") == batch.id]
    assert held.status == "in_progress"
    assert 0 < held.request_counts.completed < ROWS
    assert asked == asked_later
    assert "waits: its key may use 1 tokens in 24 hours" in shown.stdout, shown.stderr
    assert 'anybatch_batches_waiting{why="tokens_a_day"} 1' in numbers.text
    assert events.index("order.running") < events.index("order.waits")
    assert events.index("order.waits") < events.index("order.goes_on")
    assert (batch.status, len(output), calls) == ("completed", ROWS, ROWS)


def route(endpoint: FakeEndpoint) -> dict[str, Any]:
    return {"model": "*", "base_url": endpoint.base_url, "concurrency": 1}


def waits(home: Path) -> str | None:
    """Why the run of the one batch waits, as its store has it."""
    with closing(ServedStore(home)) as store:
        return next((run.why for run in store.runs()), None)


def raise_limit(home: Path) -> None:
    with closing(ServedStore(home)) as store:
        store.add_api_key(new_key("alice", now=datetime.now(UTC), tokens_a_day=10**9)[1])


def test_a_batch_that_waits_can_be_cancelled(tmp_path: Path) -> None:
    text, _ = add(tmp_path, "alice", tokens_a_day=1)
    with (
        FakeEndpoint(latency=lambda call: LATENCY_S) as endpoint,
        served(tmp_path, routes=[route(endpoint)]) as url,
        client_of(url, text) as client,
    ):
        batch = create(client, [chat(f"r{n}") for n in range(ROWS)])
        until(lambda: waits(tmp_path) is not None, "the batch to wait")
        statuses, batch = until_over(client, client.batches.cancel(batch.id))
        output, errors = results_of(client, batch)

    assert statuses[-1] == "cancelled"
    assert len(output) + len(errors) == ROWS
    assert output


def test_who_waits_leaves_its_place_to_others(tmp_path: Path) -> None:
    poor, _ = add(tmp_path, "poor")
    rich, _ = add(tmp_path, "rich")
    with (
        FakeEndpoint(latency=lambda call: 5 * LATENCY_S) as endpoint,
        served(tmp_path, routes=[route(endpoint)]) as url,
        client_of(url, poor) as one,
        client_of(url, rich) as other,
    ):
        rows = [chat(f"r{n}") for n in range(10)]
        held = [create(one, rows) for _ in range(8)]
        add(tmp_path, "poor", tokens_a_day=1)
        until(lambda: len(_waiting(tmp_path)) == 8, "all batches of one to wait")
        _, batch = until_over(other, create(other, rows))
        statuses = {one.batches.retrieve(each.id).status for each in held}

    assert batch.status == "completed"
    assert statuses == {"in_progress"}


def _waiting(home: Path) -> list[str]:
    with closing(ServedStore(home)) as store:
        return [run.id for run in store.runs() if run.why is not None]


def test_a_key_that_is_revoked_has_its_orders_wait_no_more(tmp_path: Path) -> None:
    """What was accepted goes on: there is no key left that would limit it."""
    text, key = add(tmp_path, "alice", tokens_a_day=1)
    with (
        FakeEndpoint(latency=lambda call: LATENCY_S) as endpoint,
        served(tmp_path, routes=[route(endpoint)]) as url,
        client_of(url, text) as client,
    ):
        create(client, [chat(f"r{n}") for n in range(ROWS)])
        until(lambda: waits(tmp_path) is not None, "the batch to wait")
        revoke(tmp_path, key)
        until(lambda: len(endpoint.ledger.executions) == ROWS, "the rest to be asked")
