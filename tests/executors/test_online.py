"""Real-time calls: each request ends in one recorded result, under the limits of the service."""

import asyncio
from collections import Counter
from datetime import timedelta

import msgspec
import pytest

from anybatch.core.model import Api, Json, Request, Result, Usage
from anybatch.core.schema import from_labels
from anybatch.core.states import Outcome
from anybatch.errors import BadSettings
from anybatch.executors.executor import CallExecutor
from anybatch.providers.flow import Reply
from anybatch.testing import (
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Call,
    Cut,
    FakeEndpoint,
    Fault,
    Spoiled,
    Stall,
    Status,
    at_random,
    retry_after,
)

from .calling import (
    FastClock,
    Records,
    answers,
    answers_of,
    chat,
    online,
    reader,
    requests,
)

MANY = [chat(f"row {n}") for n in range(2_000)]
KEY = "sk-0123456789abcdef"


async def first_of(endpoint: FakeEndpoint) -> Result:
    (result,) = await answers_of(online(endpoint.base_url), [chat("hi")])
    return result


# --- one request --------------------------------------------------------------------------------


async def test_an_answer_is_recorded_as_it_came() -> None:
    with FakeEndpoint() as endpoint:
        result = await first_of(endpoint)

    assert (result.outcome, result.status, result.tries, result.model) == (
        "succeeded",
        200,
        1,
        "fake-1",
    )
    assert msgspec.json.decode(result.body)["choices"][0]["message"]["content"] == "echo: hi"
    assert (result.usage.tokens_in, result.usage.tokens_out) == (1, 2)
    assert endpoint.ledger.executions_of("hi")[0].outcome == "answered"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Status(400), "bad_request"),
        (Status(401), "auth"),
        (Status(402), "billing"),
        (Status(403), "auth"),
        (Status(404), "not_found_model"),
        (Status(413), "too_long"),
        (Status(400, code="context_length_exceeded"), "too_long"),
        (Status(400, code="content_filter"), "blocked"),
        (Status(429, code="insufficient_quota"), "billing"),
        (Spoiled("truncated"), "truncated"),
        (Spoiled("filtered"), "blocked"),
        (Spoiled("refused"), "refused"),
    ],
    ids=repr,
)
async def test_what_cannot_get_better_is_asked_once(fault: Fault, outcome: Outcome) -> None:
    with FakeEndpoint(script=lambda call: fault) as endpoint:
        result = await first_of(endpoint)

    assert (result.outcome, result.tries) == (outcome, 1)
    assert result.failure is not None
    assert endpoint.ledger.received == 1


@pytest.mark.parametrize(
    "fault",
    [
        *(Status(status) for status in (408, 409, 429, 500, 502, 503, 504, 529)),
        Status(429, headers=retry_after(3)),
        Status(503, headers=retry_after(0.4, form="ms")),
        Cut("unexecuted"),
        Cut("executed"),
        Cut("executed", by="close"),
        Cut("midway"),
        Cut("midway", chunked=True),
        MALFORMED,
        HTML_PAGE,
        EMPTY,
        Status(500, headers={"x-city": "Orl\xe9ans"}),
    ],
    ids=lambda fault: repr(fault)[:70],
)
async def test_what_may_pass_is_asked_again(fault: Fault) -> None:
    with FakeEndpoint(script=[fault]) as endpoint:
        result = await first_of(endpoint)

    assert (result.outcome, result.tries) == ("succeeded", 2)
    assert endpoint.ledger.received == 2


@pytest.mark.parametrize(
    ("fault", "outcome", "tries"),
    [
        (Status(429), "rate_limited", 5),
        (Status(503), "server_error", 5),
        (MALFORMED, "server_error", 2),
        (Cut("executed"), "network", 5),
    ],
    ids=["rate limit", "overload", "malformed", "reset"],
)
async def test_what_does_not_pass_is_given_up(fault: Fault, outcome: Outcome, tries: int) -> None:
    with FakeEndpoint(script=lambda call: fault) as endpoint:
        result = await first_of(endpoint)

    assert (result.outcome, result.tries) == (outcome, tries)
    assert endpoint.ledger.received == tries


async def test_a_refused_connection_is_a_result_and_not_an_exception() -> None:
    with FakeEndpoint() as endpoint:
        pass

    result = await first_of(endpoint)

    assert (result.outcome, result.status, result.tries) == ("network", None, 5)
    assert result.failure is not None
    assert "no connection to http://127.0.0.1" in result.failure.message


async def test_a_stalled_call_ends_at_its_deadline() -> None:
    deadline = timedelta(seconds=0.1)

    with FakeEndpoint(script=[Stall(60)]) as endpoint:
        (result,) = await answers_of(online(endpoint.base_url, deadline=deadline), [chat("hi")])

    assert (result.outcome, result.tries) == ("succeeded", 2)
    assert endpoint.ledger.lost == 1


async def test_the_time_of_all_tries_is_counted() -> None:
    with FakeEndpoint(script=[Status(429, headers=retry_after(3))]) as endpoint:
        result = await first_of(endpoint)

    assert 3_000 <= result.ms < 30_000


UNREADABLE = Status(
    200,
    body=b'{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":50}}',
    executed=True,
)


async def test_the_tokens_of_all_tries_are_counted() -> None:
    with FakeEndpoint(script=[UNREADABLE, Status(500)]) as endpoint:
        result = await first_of(endpoint)

    assert (result.outcome, result.tries) == ("succeeded", 3)
    assert result.usage == Usage(tokens_in=30 + 1, tokens_out=50 + 2)


async def test_the_tokens_of_tries_that_all_failed_are_counted() -> None:
    with FakeEndpoint(script=lambda call: UNREADABLE) as endpoint:
        result = await first_of(endpoint)

    assert (result.outcome, result.tries) == ("server_error", 2)
    assert result.usage == Usage(tokens_in=60, tokens_out=100)


async def test_a_wish_to_wait_for_years_is_heeded_for_minutes() -> None:
    clock = FastClock(1_000)
    with FakeEndpoint(script=[Status(429, headers={"retry-after": "1000000000"})]) as endpoint:
        executor = online(endpoint.base_url, clock=clock)
        (result,) = await answers_of(executor, [chat("hi")])

    assert result.outcome == "succeeded"
    assert 300_000 <= result.ms < 900_000


@pytest.mark.parametrize(
    ("api", "body", "value"),
    [
        ("openai.chat", chat("hi"), "echo: hi"),
        ("openai.responses", {"model": "m", "input": "hi"}, "echo: hi"),
        ("openai.completions", {"model": "m", "prompt": "hi"}, "echo: hi"),
        ("openai.embeddings", {"model": "m", "input": "hi", "dimensions": 3}, None),
    ],
)
async def test_every_api_is_answered(api: Api, body: Json, value: str | None) -> None:
    with FakeEndpoint() as endpoint:
        reads = reader(api)
        (result,) = await answers_of(online(endpoint.base_url, api=api), [body], reads=reads)

    answer = reads.value(result)
    assert result.outcome == "succeeded"
    assert answer == value if value is not None else len(answer) == 3


@pytest.mark.parametrize("said", ['{"label":"good"}', "Good.", '<think>hm</think>"good"'])
async def test_an_answer_that_is_forgiven_has_the_value_that_was_checked(said: str) -> None:
    reads = reader(schema=from_labels(["good", "bad"]))
    with FakeEndpoint(answer=lambda call: said) as endpoint:
        (result,) = await answers_of(online(endpoint.base_url), [chat("hi")], reads=reads)

    assert (result.outcome, reads.value(result)) == ("succeeded", {"label": "good"})


# --- the key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [0, 470, 490], ids=["whole", "in the cut", "half in the cut"])
async def test_a_key_that_the_service_echoes_is_in_no_result(prefix: int) -> None:
    echo = Status(400, message=f"{'.' * prefix}wrong key {KEY}", code=f"key-{KEY}")
    with FakeEndpoint(script=lambda call: echo, key=KEY) as endpoint:
        (result,) = await answers_of(online(endpoint.base_url, key=KEY), [chat("hi")])

    assert result.failure is not None
    assert "wrong key" in result.failure.message
    assert KEY[:8].encode() not in msgspec.json.encode(result)


async def test_a_page_that_holds_the_key_is_not_quoted_with_it() -> None:
    page = Status(502, body=f"<html>{KEY}".encode(), content_type="text/html")
    with FakeEndpoint(script=lambda call: page, key=KEY) as endpoint:
        (result,) = await answers_of(online(endpoint.base_url, key=KEY), [chat("hi")])

    assert KEY[:8].encode() not in msgspec.json.encode(result)


async def test_an_answer_is_not_touched_for_looking_like_the_key() -> None:
    with FakeEndpoint(key="password") as endpoint:
        executor = online(endpoint.base_url, key="password")
        (result,) = await answers_of(executor, [chat("a password")])

    assert reader().value(result) == "echo: a password"


# --- many requests ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_goes_wrong_each_request_is_recorded_once(seed: int) -> None:
    faults = (Status(429), Status(500), Cut("unexecuted"), Cut("executed"))
    script = at_random(0.05, *faults, Cut("midway"), Cut("answered", by="close"), seed=seed)

    with FakeEndpoint(script=script) as endpoint:
        results = await answers_of(online(endpoint.base_url), MANY[:300])

    assert [result.n for result in results] == list(range(300))
    assert {result.outcome for result in results} == {"succeeded"}
    assert sum(result.tries for result in results) >= endpoint.ledger.received


async def test_no_more_calls_are_in_flight_than_were_asked_for() -> None:
    with FakeEndpoint(latency=0.005) as endpoint:
        await answers_of(online(endpoint.base_url, concurrency=5), MANY[:100])

    assert endpoint.ledger.peak == 5


async def test_two_batches_at_once_share_the_window() -> None:
    with FakeEndpoint(latency=0.005) as endpoint:
        executor = online(endpoint.base_url, concurrency=5)
        halves = await asyncio.gather(answers(executor, MANY[:50]), answers(executor, MANY[50:100]))
        await executor.close()

    assert [len(half) for half in halves] == [50, 50]
    assert endpoint.ledger.peak == 5


async def test_no_more_is_unrecorded_than_the_executor_says() -> None:
    with FakeEndpoint() as endpoint:
        executor = online(endpoint.base_url, concurrency=8)
        hung = asyncio.Event()

        async def record(*results: Result) -> None:
            await hung.wait()

        answering = asyncio.create_task(
            executor.answer(
                requests(MANY[:200]), read=reader().read, record=record, stop=asyncio.Event()
            )
        )
        unbacked = executor.window - executor.backlog
        while len(endpoint.ledger.executions) < unbacked:
            await asyncio.sleep(0)
        sent = len(endpoint.ledger.executions)
        hung.set()
        await answering
        await executor.close()

    assert sent == unbacked == 8


async def test_a_service_that_takes_eight_at_once_is_soon_asked_eight_at_once() -> None:
    with FakeEndpoint(max_in_flight=8, latency=0.005) as endpoint:
        results = await answers_of(online(endpoint.base_url), MANY)

    turned_away = endpoint.ledger.statuses[429]
    assert len(results) == 2_000
    assert turned_away / endpoint.ledger.received < 0.06


async def test_scattered_failures_do_not_slow_the_rest_down() -> None:
    script = at_random(0.05, Status(500), Cut("executed"), seed=3)
    with FakeEndpoint(script=script, latency=0.02) as endpoint:
        executor = online(endpoint.base_url)
        await answers_of(executor, MANY)

    assert endpoint.ledger.peak > 40


async def test_at_the_services_own_rate_hardly_a_call_is_turned_away() -> None:
    clock = FastClock(30)
    with FakeEndpoint(rpm=600, burst=0.05, monotonic=clock.monotonic) as endpoint:
        executor = online(endpoint.base_url, rpm=600, clock=clock)
        results = await answers_of(executor, MANY[:300])

    assert len(results) == 300
    assert endpoint.ledger.statuses[429] <= 6


async def test_at_the_services_own_token_rate_hardly_a_call_is_turned_away() -> None:
    clock = FastClock(30)
    with FakeEndpoint(tpm=12_000, burst=0.05, monotonic=clock.monotonic) as endpoint:
        executor = online(endpoint.base_url, tpm=12_000, clock=clock)
        await answers_of(executor, [chat(f"{n} {'x' * 300}") for n in range(60)])

    assert endpoint.ledger.tokens > 6_000
    assert endpoint.ledger.statuses[429] <= 6


async def test_the_services_own_limits_are_learned_from_its_headers() -> None:
    clock = FastClock(30)
    with FakeEndpoint(rpm=600, monotonic=clock.monotonic) as endpoint:
        results = await answers_of(online(endpoint.base_url, clock=clock), MANY[:1_000])

    assert len(results) == 1_000
    assert endpoint.ledger.statuses[429] < 50


async def test_why_it_waits_can_be_told() -> None:
    with FakeEndpoint() as endpoint:
        executor = online(endpoint.base_url, rpm=60, clock=FastClock(50))
        answering = asyncio.create_task(answers(executor, MANY[:5]))
        while executor.waiting is None:
            await asyncio.sleep(0)
        waiting = executor.waiting
        await answering
        await executor.close()

    assert waiting == "requests per minute"
    assert executor.waiting is None


# --- stopping -----------------------------------------------------------------------------------


async def stopped(executor: CallExecutor, records: Records, bodies: list[Json]) -> list[Result]:
    try:
        return await answers(executor, bodies, records=records)
    finally:
        await executor.close()


async def test_after_a_stop_nothing_new_is_sent_and_what_is_under_way_is_recorded() -> None:
    records = Records(stop_after=20)
    with FakeEndpoint(latency=0.01) as endpoint:
        results = await stopped(online(endpoint.base_url, concurrency=8), records, MANY)

    assert 20 <= len(results) < 20 + 16
    assert len(results) == endpoint.ledger.received
    assert endpoint.ledger.lost == 0


@pytest.mark.parametrize(
    ("script", "rpm"),
    [(Status(500), None), (Status(429, headers=retry_after(3_600)), None), (None, 1)],
    ids=["backoff", "a pause asked for", "requests per minute"],
)
async def test_a_stop_does_not_wait_for_whoever_waits(
    script: Status | None, rpm: int | None
) -> None:
    records = Records()
    with FakeEndpoint(script=lambda call: script) as endpoint:
        executor = online(endpoint.base_url, concurrency=4, rpm=rpm, clock=FastClock(1))
        answering = asyncio.create_task(stopped(executor, records, MANY[:100]))
        while not endpoint.ledger.received:
            await asyncio.sleep(0)

        records.stop.set()

        async with asyncio.timeout(2):
            results = await answering
    assert {result.outcome for result in results} <= {"succeeded"}
    assert endpoint.ledger.received <= 5


async def test_stopped_before_it_began_it_sends_nothing() -> None:
    records = Records()
    records.stop.set()
    with FakeEndpoint() as endpoint:
        results = await stopped(online(endpoint.base_url), records, MANY)

    assert results == []
    assert endpoint.ledger.received == 0


async def test_who_is_cancelled_leaves_nothing_behind() -> None:
    with FakeEndpoint(script=lambda call: Stall(60)) as endpoint:
        executor = online(endpoint.base_url, concurrency=4)
        answering = asyncio.create_task(answers(executor, MANY[:100]))
        while endpoint.ledger.running < 4:
            await asyncio.sleep(0)

        answering.cancel()
        await asyncio.wait([answering], timeout=2)
        await executor.close()

    assert answering.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- what is broken on our side -----------------------------------------------------------------


async def test_an_answer_that_we_fail_to_read_ends_all_and_says_why() -> None:
    def read(request: Request, reply: Reply) -> Result:
        raise LookupError(f"a mistake in reading {request.n}")

    with FakeEndpoint() as endpoint:
        executor = online(endpoint.base_url, concurrency=1)
        with pytest.raises(ExceptionGroup) as raised:
            await executor.answer(
                requests(MANY), read=read, record=Records().record, stop=asyncio.Event()
            )
        await executor.close()

    assert raised.group_contains(LookupError, match="a mistake in reading")


async def test_an_address_that_cannot_be_called_is_the_users_mistake() -> None:
    executor = online("http://127.0.0.1:99999/v1")

    with pytest.raises(ExceptionGroup) as raised:
        await answers_of(executor, [chat("hi")])

    assert raised.group_contains(BadSettings, match="99999")


async def test_the_same_faults_end_in_the_same_outcomes() -> None:
    async def outcomes() -> Counter[tuple[int, str, int]]:
        script = at_random(0.5, Status(500), Status(400), seed=9)
        with FakeEndpoint(script=script) as endpoint:
            results = await answers_of(online(endpoint.base_url), MANY[:100])
        return Counter((result.n, result.outcome, result.tries) for result in results)

    assert await outcomes() == await outcomes()


async def test_a_call_is_sent_byte_for_byte() -> None:
    seen = list[bytes]()

    def answer(call: Call) -> str:
        seen.append(call.body)
        return "yes"

    body = b'{ "model":"m",\n "messages": [{"role":"user","content":"\xc3\xa9\\u0041"}] }'
    with FakeEndpoint(answer=answer) as endpoint:
        executor = online(endpoint.base_url)
        records = Records()
        await executor.answer(
            iter([Request(n=0, body=body)]),
            read=reader().read,
            record=records.record,
            stop=records.stop,
        )
        await executor.close()

    assert seen == [body]
