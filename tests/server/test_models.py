"""Batches that name several models: they go on side by side, and there may be any number."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.core.model import Run
from anybatch.server.check import MAX_RUNS, OWN_RUNS
from anybatch.server.supervisor import side_by_side
from anybatch.store.served import ServedStore
from anybatch.testing import Crash, CrashAt, FakeEndpoint, FakeOpenAI, Phases, Stall, Status, Watch
from anybatch.testing.endpoint import Call, Fault

from .test_abuse import GROWS_AT_MOST, process
from .test_abuse import Process as Server
from .test_anthropic import BATCHES, client_at, ended, lines, made, results, row, why
from .test_crash import LEASE
from .test_disk import REST, Refusing
from .test_lives import WINDOW, Process
from .world import LIMIT_S, ShiftedClock, served, until

SHARING = OWN_RUNS + 3
"""So many models that some of them share a run."""


def not_there(call: Call) -> Fault | None:
    if "gone" not in call.model:
        return None
    return Status(404, code="model_not_found", message="There is no such model.")


def rows_of(models: int, each: int) -> list[Any]:
    return [
        row(f"m{model}-r{n}", f"say m{model} r{n}", model=f"m{model}")
        for n in range(each)
        for model in range(models)
    ]


def said(result: Mapping[str, Any]) -> tuple[str, str]:
    """Who answered, and what."""
    message = result["message"]
    return message["model"], message["content"][0]["text"]


@contextmanager
def runs_in(home: Path) -> Iterator[Callable[[], dict[str | None, Run]]]:
    """The runs of a server's only batch, by the models they are of, whenever one looks."""
    with closing(ServedStore(home)) as store:
        yield lambda: {run.spec.model: run for run in store.runs(most=100)}


def until_called(endpoint: FakeEndpoint, times: int) -> None:
    until(lambda: len(endpoint.ledger.executions) >= times, f"{times} calls")


# --- however many ---


@contextmanager
def grows_little(server: Server) -> Iterator[None]:
    """What happens inside takes little memory, where that can be measured."""
    measured = Path("/proc/self/clear_refs").exists()
    if measured:
        server.forget()
        idle = server.memory("VmRSS")
    yield
    if measured:
        assert server.memory("VmHWM") - idle < GROWS_AT_MOST


def test_thousands_of_models_in_one_batch_are_all_answered_in_little_memory(tmp_path: Path) -> None:
    names = [f"gone-{n}" if n % 100 == 99 else f"m-{n}" for n in range(5_000)]
    rows = [row(f"r{n}", f"say {n}", model=name) for n, name in enumerate(names)]
    with FakeEndpoint(script=not_there) as endpoint, process(tmp_path, endpoint) as server:
        with grows_little(server), client_at(server.url) as http:
            found = results(http, *rows)
        runs = len(list((server.store / "runs").iterdir()))
        alive = httpx2.get(f"{server.root}/health").status_code

    missing = {f"r{n}" for n in range(99, 5_000, 100)}
    errored = {name: why(one) for name, one in found.items() if one["type"] == "errored"}
    answered = {name: said(one) for name, one in found.items() if one["type"] == "succeeded"}
    assert len(found) == 5_000
    assert errored.keys() == missing
    assert {kind for kind, _ in errored.values()} == {"not_found_error"}
    assert answered == {
        f"r{n}": (name, f"echo: say {n}") for n, name in enumerate(names) if f"r{n}" not in missing
    }
    assert (runs, alive) == (OWN_RUNS + 1, 200)
    assert endpoint.ledger.repeated == 0


def test_a_model_that_is_not_there_keeps_no_other_from_being_answered(tmp_path: Path) -> None:
    """Whether it has a run of its own, which is stopped for that, or shares one, which is not."""
    own = ["gone", *(f"m{n}" for n in range(OWN_RUNS - 1))]
    models = [*own, *["gone-too"] * 50, *(f"more-{n}" for n in range(50))] * 2
    rows = [row(f"r{n}", f"say {n}", model=model) for n, model in enumerate(models)]
    with (
        FakeEndpoint(script=not_there) as endpoint,
        served(tmp_path, endpoint) as url,
        client_at(url) as http,
    ):
        found = results(http, *rows)

    answers = [(model, found[f"r{n}"]) for n, model in enumerate(models)]
    assert all(one["type"] == "succeeded" for model, one in answers if "gone" not in model)
    assert all(why(one)[0] == "not_found_error" for model, one in answers if "gone" in model)


def test_models_that_cannot_share_a_batch_of_a_provider_are_refused_one_by_one(
    tmp_path: Path,
) -> None:
    with FakeOpenAI() as fake:
        there = {"provider": "openai", "base_url": f"{fake.address}/v1", "api_key_env": ""}
        routes = [{"model": "*", "executor": "batch", **there}]
        rows = [row(f"r{n}", f"say {n}", model=f"m-{n}") for n in range(MAX_RUNS + 2)]
        with served(tmp_path, routes=routes) as url, client_at(url) as http:
            found = results(http, *rows)
            alive = httpx2.get(f"{url.removesuffix('/v1')}/health").status_code

    kinds = [one["type"] for one in found.values()]
    refused = [why(found[f"r{n}"]) for n in (MAX_RUNS, MAX_RUNS + 1)]
    assert (len(found), kinds.count("succeeded")) == (MAX_RUNS + 2, MAX_RUNS)
    assert {kind for kind, _ in refused} == {"invalid_request_error"}
    assert all(f"may name {MAX_RUNS}" in message for _, message in refused)
    assert alive == 200


# --- side by side ---


def test_a_fast_model_is_answered_while_a_slow_one_goes_on(tmp_path: Path) -> None:
    """At one place, whose calls at once both share."""

    def latency(call: Call) -> float:
        return 0.2 if call.model == "slow" else 0.0

    slow = [row(f"slow-{n}", f"slow {n}", model="slow") for n in range(800)]
    fast = [row(f"fast-{n}", f"fast {n}", model="fast") for n in range(80)]
    with (
        FakeEndpoint(latency=latency) as endpoint,
        served(tmp_path, endpoint) as url,
        client_at(url) as http,
        runs_in(tmp_path) as runs,
    ):
        batch = made(http, *slow, *fast)
        until(lambda: "fast" in runs() and runs()["fast"].state == "ended", "the fast model")
        under_way = runs()["slow"].state
        asked = [call.model for call in endpoint.ledger.executions]
        http.post(f"{BATCHES}/{batch['id']}/cancel")
        found = lines(http, ended(http, batch))

    assert under_way == "open"
    assert asked.count("fast") == 80
    assert asked.count("slow") < 600
    assert {one["type"] for name, one in found.items() if "fast" in name} == {"succeeded"}
    assert {one["type"] for name, one in found.items() if "slow" in name} <= {
        "succeeded",
        "canceled",
    }


def test_a_place_that_never_answers_holds_up_no_other_of_the_same_batch(tmp_path: Path) -> None:
    with (
        FakeEndpoint(script=lambda call: Stall(60)) as stuck,
        FakeEndpoint() as endpoint,
        FakeOpenAI(phases=Phases(in_progress=math.inf)) as fake,
    ):
        at_batches = {"provider": "openai", "base_url": f"{fake.address}/v1", "api_key_env": ""}
        routes = [
            {"model": "stuck", "base_url": stuck.base_url},
            {"model": "gpt-*", "executor": "batch", **at_batches},
            {"model": "*", "base_url": endpoint.base_url},
        ]
        models = ["stuck", "gpt-1", "gpt-2", "gpt-3", "m"]
        with (
            served(tmp_path, routes=routes) as url,
            client_at(url) as http,
            runs_in(tmp_path) as runs,
        ):
            batch = made(http, *(row(model, model=model) for model in models))
            until(lambda: "m" in runs() and runs()["m"].state == "ended", "the one that answers")
            until(lambda: len(fake.ledger.batches) == 3, "all at the provider")
            states = {model: run.state for model, run in runs().items()}
            http.post(f"{BATCHES}/{batch['id']}/cancel")
            stuck.stop()  # else its call is waited for

    assert states == {**dict.fromkeys(models, "open"), "m": "ended"}


def test_what_rests_goes_on_again_while_another_of_its_batch_goes_on(tmp_path: Path) -> None:
    clock, refusing = ShiftedClock(), Refusing("journal.write", 1)
    with (
        FakeEndpoint() as endpoint,
        FakeOpenAI(phases=Phases(in_progress=math.inf)) as fake,
    ):
        at_batches = {"provider": "openai", "base_url": f"{fake.address}/v1", "api_key_env": ""}
        routes = [
            {"model": "gpt-1", "executor": "batch", **at_batches},
            {"model": "*", "base_url": endpoint.base_url},
        ]
        with (
            served(tmp_path, routes=routes, clock=clock, probe=refusing) as url,
            client_at(url) as http,
            runs_in(tmp_path) as runs,
        ):
            batch = made(http, row("a", model="gpt-1"), row("b", model="m"))
            until(lambda: not refusing.left and len(fake.ledger.batches) == 1, "a refusal")
            before = runs()["m"].state
            clock.ahead += REST
            until(lambda: runs()["m"].state == "ended", "what could not be written")
            states = {model: run.state for model, run in runs().items()}
            http.post(f"{BATCHES}/{batch['id']}/cancel")

    assert before == "open"
    assert states == {"gpt-1": "open", "m": "ended"}


# --- servers that die ---


def test_a_killed_server_loses_and_doubles_no_row_of_any_model(tmp_path: Path) -> None:
    rows, repeated = rows_of(SHARING, 60), [0]
    with FakeEndpoint(latency=0.03) as endpoint:
        server = Process(tmp_path, endpoint)
        try:
            with client_at(server.start()) as http:
                batch = made(http, *rows)
                for kill in (1, 2):
                    until_called(endpoint, len(rows) * kill // 3)
                    seen = http.get(f"{BATCHES}/{batch['id']}").json()
                    assert seen["processing_status"] == "in_progress"
                    server.kill()
                    repeated.append(endpoint.ledger.repeated)
                    server.start()
                found = lines(http, ended(http, batch))
        finally:
            server.kill()
        repeated.append(endpoint.ledger.repeated)

    assert found.keys() == {each["custom_id"] for each in rows}
    assert {name: said(one) for name, one in found.items()} == {
        each["custom_id"]: (
            each["params"]["model"],
            f"echo: {each['params']['messages'][0]['content']}",
        )
        for each in rows
    }
    most = max(after - before for before, after in pairwise(repeated))
    assert most <= (OWN_RUNS + 1) * WINDOW


def a_clients_day(url: str) -> str:
    """Create, and wait for the end; the batch's id. The creation may be made again."""
    with httpx2.Client(base_url=url, timeout=5) as http:
        body = {"requests": rows_of(SHARING, 2)}
        sent = http.post(BATCHES, json=body, headers={"idempotency-key": "the batch"})
        batch: str = sent.raise_for_status().json()["id"]

        def is_over() -> bool:
            look = http.get(f"{BATCHES}/{batch}").raise_for_status().json()
            return bool(look["processing_status"] == "ended")

        until(is_over, "the end of the batch")
    return batch


def dies_at(k: int, home: Path) -> None:
    """Die at the k-th crossing, and check all promises in the next life."""
    probe, told = CrashAt(k), list[str]()
    with FakeEndpoint() as endpoint:
        with (
            suppress(Crash, BaseExceptionGroup),
            served(home, endpoint, probe=probe, lease=LEASE) as url,
            suppress(httpx2.HTTPError, json.JSONDecodeError),
        ):
            told.append(a_clients_day(url))
        assert probe.crashed
        with served(home, endpoint, lease=LEASE) as url, client_at(url) as http:
            batch = a_clients_day(url)
            found = lines(http, http.get(f"{BATCHES}/{batch}").json())
        assert endpoint.ledger.repeated <= 2 * SHARING
    assert told in ([], [batch])
    assert found.keys() == {each["custom_id"] for each in rows_of(SHARING, 2)}
    assert {one["type"] for one in found.values()} == {"succeeded"}
    assert len(list((home / "runs").iterdir())) == OWN_RUNS + 1


def every(step: int, home: Path) -> None:
    watch = Watch()
    with FakeEndpoint() as endpoint, served(home / "watched", endpoint, probe=watch) as url:
        a_clients_day(url)
    assert len(watch.crossings) > 300
    # How many there are differs from life to life: runs that go on side by side commit together.
    for k in range(1, len(watch.crossings) * 9 // 10, step):
        dies_at(k, home / str(k))


def test_whenever_a_server_dies_each_row_of_each_model_is_there_once(tmp_path: Path) -> None:
    every(71, tmp_path)


@pytest.mark.gauntlet
def test_at_whatever_effect_a_server_dies_each_row_of_each_model_is_there_once(
    tmp_path: Path,
) -> None:
    every(1, tmp_path)


# --- works side by side, without a server ---


class Works:
    """Works that begin, and end when they are told how."""

    def __init__(self, count: int) -> None:
        self.begun: list[int] = []
        self._ends = [asyncio.get_running_loop().create_future() for _ in range(count)]
        self.all = [self._work(n) for n in range(count)]

    def _work(self, n: int) -> Callable[[], Awaitable[int]]:
        async def work() -> int:
            self.begun.append(n)
            end: int = await self._ends[n]
            return end

        return work

    async def end(self, n: int, how: Exception | None = None) -> None:
        if how is None:
            self._ends[n].set_result(n)
        else:
            self._ends[n].set_exception(how)
        await settled()


async def settled() -> None:
    """All has happened that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_goes_on_and_others_where_there_is_a_place() -> None:
    places = asyncio.Semaphore(2)
    first, second = Works(4), Works(2)
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        one = tasks.create_task(side_by_side(first.all, places))
        await settled()
        other = tasks.create_task(side_by_side(second.all, places))
        await settled()
        at_first = (list(first.begun), list(second.begun))
        await first.end(1)
        await first.end(0)
        await first.end(2)
        then = (list(first.begun), list(second.begun))
        await first.end(3)
        await second.end(0)
        await second.end(1)

    assert at_first == ([0, 1, 2], [0])
    assert then == ([0, 1, 2, 3], [0, 1])
    assert (one.result(), other.result()) == ([1, 0, 2, 3], [0, 1])
    assert not places.locked()


async def test_who_waits_for_a_place_is_not_waited_for_when_nothing_is_left() -> None:
    places = asyncio.Semaphore(0)
    works = Works(3)
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        all_of_them = tasks.create_task(side_by_side(works.all, places))
        for n in range(3):
            await settled()
            await works.end(n)

    assert all_of_them.result() == [0, 1, 2]


async def test_one_that_fails_breaks_no_other_off() -> None:
    wrong = ValueError("no way")
    works = Works(3)
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        all_of_them = tasks.create_task(side_by_side(works.all, asyncio.Semaphore(1)))
        await settled()
        await works.end(0, wrong)
        await works.end(1)
        await works.end(2)

    assert all_of_them.result() == [wrong, 1, 2]
