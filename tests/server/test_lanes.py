"""Orders keep none out that are answered elsewhere: over a real socket, and as a table."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest

from anybatch.core.model import Run, Spec
from anybatch.server.orders import _lane_of
from anybatch.server.turns import AT_ONCE, FIRSTS_AT_ONCE, LARGE_ROWS, Lane
from anybatch.testing import FakeEndpoint, FakeOpenAI, Phases, Stall

from .test_keys import add
from .world import chat, client_of, create, served, until, until_over

AT = datetime(2026, 11, 20, tzinfo=UTC)


@contextmanager
def nobody_answers() -> Iterator[dict[str, Any]]:
    """The route to an endpoint that takes requests and never says anything."""
    with FakeEndpoint(script=lambda call: Stall(30)) as endpoint:
        yield {"base_url": endpoint.base_url}


@contextmanager
def batches_never_end() -> Iterator[dict[str, Any]]:
    with FakeOpenAI(phases=Phases(in_progress=math.inf)) as fake:
        there = {"provider": "openai", "base_url": f"{fake.address}/v1", "api_key_env": ""}
        yield {**there, "executor": "batch"}


@pytest.mark.parametrize("elsewhere", [nobody_answers, batches_never_end])
def test_orders_that_wait_elsewhere_keep_none_out(
    tmp_path: Path, endpoint: FakeEndpoint, elsewhere: Any
) -> None:
    with elsewhere() as stuck:
        routes = [{"model": "stuck", **stuck}, {"model": "*", "base_url": endpoint.base_url}]
        with served(tmp_path, routes=routes) as url, client_of(url) as client:
            row = chat("a")
            row["body"]["model"] = "stuck"
            waiting = [create(client, [row]) for _ in range(AT_ONCE + FIRSTS_AT_ONCE + 1)]
            last = waiting[-1].id
            until(lambda: client.batches.retrieve(last).status == "in_progress", "its check")
            _, answered = until_over(client, create(client, [chat("b")]))

    assert answered.status == "completed"


def test_calls_go_out_by_the_weights_of_their_owners_and_not_by_their_batches(
    tmp_path: Path,
) -> None:
    (light, _), (heavy, _) = add(tmp_path, "light"), add(tmp_path, "heavy", weight=4)
    rows = [chat(str(n)) for n in range(200)]
    with FakeEndpoint(latency=0.02) as endpoint:
        routes = [{"model": "*", "base_url": endpoint.base_url, "concurrency": 8}]
        with (
            served(tmp_path, routes=routes) as url,
            client_of(url, light) as many,
            client_of(url, heavy) as one,
        ):
            theirs = [create(many, rows) for _ in range(5)]
            until(lambda: done(many, theirs) > 0, "the first")
            his = [create(one, [chat(str(n)) for n in range(400)])]
            until(lambda: done(one, his) >= 50, "its beginning")
            began = done(one, his), done(many, theirs)
            until(lambda: done(one, his) >= 350, "most of it")
            more = done(one, his) - began[0], done(many, theirs) - began[1]

    assert 1.5 < more[0] / more[1] < 6


def test_a_short_batch_is_not_behind_its_owners_long_ones(tmp_path: Path) -> None:
    rows = [chat(str(n)) for n in range(LARGE_ROWS + 1)]
    with FakeEndpoint(latency=0.02) as endpoint:
        routes = [{"model": "*", "base_url": endpoint.base_url, "concurrency": 4}]
        with served(tmp_path, routes=routes) as url, client_of(url) as client:
            long = [create(client, rows) for _ in range(AT_ONCE)]
            until(lambda: done(client, long) > 0, "the first")
            until_over(client, create(client, [chat("a")]))

            assert done(client, long) < LARGE_ROWS


def done(client: openai.OpenAI, batches: Sequence[Any]) -> int:
    return sum(client.batches.retrieve(each.id).request_counts.completed for each in batches)


def run(provider: str, executor: Any, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "id": "r",
        "created_at": AT,
        "source": "s",
        "spec": Spec(provider=provider, model="m", api="openai.chat", executor=executor),
        "fingerprint": "f",
        "parts": {},
        "columns": (),
        "total": 1,
    }
    return Run(**(values | changes))


@pytest.mark.parametrize(
    ("runs", "lane"),
    [
        ([run("a", "online"), run("b", "online")], Lane("a ")),
        ([run("a", "batch"), run("b", "online")], Lane("b ")),
        ([run("a", "batch"), run("b", "batch")], Lane("a ", waits=True)),
        ([run("a", "batch"), run("b", "online", state="ended")], Lane("a ", waits=True)),
        ([run("a", "batch", state="ended")], Lane("")),
        ([], Lane("")),
    ],
)
def test_an_order_only_waits_if_all_of_it_goes_by_batch(runs: list[Run], lane: Lane) -> None:
    assert _lane_of(runs) == lane
