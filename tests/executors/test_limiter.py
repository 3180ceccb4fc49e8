"""How fast and how many at once: what was agreed is kept, and nobody is forgotten."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Usage
from anybatch.executors.limiter import Bucket, Limiter, Window, duration, retry_after
from anybatch.testing import ManualClock

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = 60.0
DAY = 86_400.0


# --- buckets ------------------------------------------------------------------------------------


def admitted(bucket: Bucket, calls: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """When each call goes, of calls that come so long after one another with such an amount."""
    now, gone = 0.0, []
    for gap, amount in calls:
        now += gap
        now += bucket.wait(amount, now=now)
        bucket.take(amount, now=now)
        gone.append((now, amount))
    return gone


@given(
    per_minute=st.integers(1, 100_000),
    calls=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5_000)), min_size=1, max_size=25),
)
def test_no_interval_ever_sees_more_than_rate_and_burst(
    per_minute: int, calls: list[tuple[float, float]]
) -> None:
    gone = admitted(Bucket(per_minute, now=0), calls)

    rate = per_minute / MINUTE
    for first, (start, _) in enumerate(gone):
        sums = accumulate(amount for _, amount in gone[first:])
        for total, (end, last) in zip(sums, gone[first:], strict=True):
            burst = max(1.0, rate, last)
            assert total <= rate * (end - start) + burst + 1e-3


def test_a_minute_sees_no_more_requests_than_were_asked_for() -> None:
    gone = admitted(Bucket(30, now=0), [(0, 1)] * 100)

    times = [time for time, _ in gone]
    assert all(
        late - early >= MINUTE - 1e-6 for early, late in zip(times, times[30:], strict=False)
    )


def test_a_call_larger_than_the_bucket_goes_at_once_and_the_next_pays_for_it() -> None:
    bucket = Bucket(600, now=0)

    assert bucket.wait(100, now=0) == 0
    bucket.take(100, now=0)
    assert bucket.wait(1, now=0) == pytest.approx((100 - 10 + 1) / 10)


def test_a_bucket_does_not_overflow() -> None:
    bucket = Bucket(600, now=0)

    bucket.take(10, now=1_000)

    assert bucket.wait(10, now=1_000) == pytest.approx(1)


def test_without_a_rate_nothing_waits() -> None:
    bucket = Bucket(None, now=0)

    assert [bucket.wait(10**9, now=0) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "window"),
    [
        (60, 59, 1, MINUTE),
        (10_000, 9_990, 0.06, MINUTE),
        (150_000, 0, 60, MINUTE),
        (14_400, 14_370, 180, DAY),
        (100, 0, 10**9, DAY),
        (60_000, 59_000, 1e-4, 1.0),
    ],
    ids=[
        "a minute",
        "ten used",
        "all used",
        "a day",
        "no more than the longest",
        "no less than a second",
    ],
)
def test_the_window_follows_from_what_is_left_and_when_it_is_back(
    limit: float, remaining: float, reset: float, window: float
) -> None:
    bucket = Bucket(None, now=0)

    bucket.learn(limit=limit, remaining=remaining, reset=reset, longest=DAY, now=0)
    bucket.take(remaining, now=0)

    assert bucket.wait(1, now=0) == pytest.approx(window / limit, rel=1e-6)


def test_a_rate_that_the_user_set_is_not_unlearned() -> None:
    bucket = Bucket(60, now=0)

    bucket.learn(limit=6_000, remaining=0, reset=60, longest=DAY, now=0)
    bucket.take(1, now=0)

    assert bucket.wait(1, now=0) == pytest.approx(1)


def test_what_is_under_way_is_not_forgotten_for_an_older_reply() -> None:
    bucket = Bucket(None, now=0)
    bucket.learn(limit=60, remaining=10, reset=50, longest=DAY, now=0)
    bucket.take(10, now=0)

    bucket.learn(limit=60, remaining=9, reset=51, longest=DAY, now=0)

    assert bucket.wait(1, now=0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"),
    [(0, 0, 60), (0.5, 0, 60), (60, 60, 1), (60, 61, 1), (60, 0, 0)],
)
def test_figures_that_say_nothing_teach_nothing(
    limit: float, remaining: float, reset: float
) -> None:
    bucket = Bucket(None, now=0)

    bucket.learn(limit=limit, remaining=remaining, reset=reset, longest=DAY, now=0)

    assert bucket.wait(10**6, now=0) == 0


# --- the window ---------------------------------------------------------------------------------


def round_trip(window: Window) -> None:
    for _ in range(int(window.limit)):
        window.healthy()


def limits_of(window: Window, *, trips: int) -> list[int]:
    limits = [int(window.limit)]
    for _ in range(trips):
        round_trip(window)
        limits.append(int(window.limit))
    return limits


def test_a_healthy_window_doubles_until_it_is_full() -> None:
    assert limits_of(Window(100), trips=4) == [32, 64, 100, 100, 100]


def test_a_window_starts_no_larger_than_it_may_be() -> None:
    assert Window(3).limit == 3


def test_after_an_overload_it_grows_by_one_a_round_trip() -> None:
    window = Window(1000)
    round_trip(window)
    window.overloaded(sent_at=0, now=1)

    limits = limits_of(window, trips=5)

    assert limits[0] == int(64 * 0.7)
    assert all(later - sooner in (0, 1) for sooner, later in pairwise(limits))
    assert limits[-1] - limits[0] >= 4


def test_it_lingers_just_below_where_it_was_too_large_and_then_goes_on() -> None:
    window = Window(1000)
    window.overloaded(sent_at=0, now=1)

    limits = limits_of(window, trips=40)

    assert limits.count(31) >= 14
    assert limits[-1] > 32


def test_however_many_calls_report_one_overload_it_shrinks_once() -> None:
    window = Window(1000)
    for _ in range(32):
        window.overloaded(sent_at=5, now=6)

    assert window.limit == pytest.approx(32 * 0.7)


def test_calls_sent_after_it_shrank_may_shrink_it_again() -> None:
    window = Window(1000)

    window.overloaded(sent_at=5, now=6)
    window.overloaded(sent_at=6, now=7)
    window.overloaded(sent_at=6.5, now=7)

    assert window.limit == pytest.approx(32 * 0.7**2)


def test_a_few_failures_among_many_answers_are_not_overload() -> None:
    window = Window(64)
    draw = Random(5)
    for now in range(3_000):
        if draw.random() < 0.04:
            window.failed(sent_at=now, now=now + 0.5)
        else:
            window.healthy()

    assert window.limit > 40


def test_a_service_that_fails_every_call_is_called_one_at_a_time() -> None:
    window = Window(64)
    for now in range(200):
        window.failed(sent_at=now, now=now + 0.5)

    assert window.limit == 1


@given(st.lists(st.tuples(st.sampled_from(("healthy", "failed", "overloaded")), st.floats(0, 2))))
def test_it_never_falls_below_one_nor_rises_above_its_most(
    events: list[tuple[str, float]],
) -> None:
    window, now = Window(20), 0.0

    for kind, passed in events:
        now += passed
        if kind == "healthy":
            window.healthy()
        else:
            getattr(window, kind)(sent_at=now - passed, now=now)
        assert 1 <= window.limit <= 20


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_waits_for_a_place_gets_it_in_turn() -> None:
    window, entered = Window(1), list[int]()
    await window.enter()

    async def caller(n: int) -> None:
        await window.enter()
        entered.append(n)
        window.leave()

    async with asyncio.TaskGroup() as callers:
        for n in range(10):
            callers.create_task(caller(n))
        await settle()
        assert entered == []
        window.leave()

    assert entered == list(range(10))


async def test_who_comes_later_does_not_take_a_place_that_was_given_away() -> None:
    window = Window(1)
    await window.enter()
    first = asyncio.create_task(window.enter())
    await settle()

    window.leave()
    second = asyncio.create_task(window.enter())
    await settle()

    assert (first.done(), second.done()) == (True, False)
    second.cancel()


async def test_a_window_that_grows_lets_the_waiting_in() -> None:
    window = Window(40)
    async with asyncio.TaskGroup() as callers:
        entering = [callers.create_task(window.enter()) for _ in range(33)]
        await settle()
        assert sum(task.done() for task in entering) == 32

        window.healthy()


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_however_many_give_up(seed: int) -> None:
    window, draw = Window(4), Random(seed)
    peak = 0

    async def caller(turns: int) -> None:
        nonlocal peak
        await window.enter()
        try:
            peak = max(peak, window.in_flight)
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            window.leave()

    callers = [asyncio.create_task(caller(draw.randrange(4))) for _ in range(200)]
    while not all(task.done() for task in callers):
        draw.choice(callers).cancel()
        for _ in range(draw.randrange(3)):
            await asyncio.sleep(0)

    assert sum(not task.cancelled() for task in callers) > 10
    assert peak == 4
    assert window.in_flight == 0
    async with asyncio.timeout(1):
        await window.enter()


# --- all of it together -------------------------------------------------------------------------


def limiter(
    clock: ManualClock, *, calls: int = 64, rpm: int | None = None, tpm: int | None = None
) -> Limiter:
    return Limiter(calls=calls, rpm=rpm, tpm=tpm, monotonic=clock.monotonic, sleep=clock.sleep)


async def seconds_of(clock: ManualClock, work: Coroutine[Any, Any, Any]) -> float:
    """How long `work` takes on `clock`."""
    start, task = clock.monotonic(), asyncio.create_task(work)
    for _ in range(10_000):
        await clock.advance_to_next()
        if task.done():
            break
    await task
    return clock.monotonic() - start


async def admit(limits: Limiter, calls: int, *, tokens: int = 0) -> None:
    for _ in range(calls):
        assert await limits.admit(tokens, stop=asyncio.Event())
        limits.window.leave()


async def test_calls_go_out_at_the_rate_that_was_asked_for() -> None:
    clock = ManualClock()

    passed = await seconds_of(clock, admit(limiter(clock, rpm=60), 11))

    assert passed == pytest.approx(10)


async def test_tokens_count_by_what_they_are_guessed_at() -> None:
    clock = ManualClock()

    passed = await seconds_of(clock, admit(limiter(clock, tpm=6_000), 4, tokens=1_000))

    assert passed == pytest.approx(30)


async def test_a_call_that_took_more_tokens_than_guessed_is_settled() -> None:
    clock = ManualClock()
    limits = limiter(clock, tpm=6_000)
    await admit(limits, 1, tokens=100)

    limits.settle(100, Usage(tokens_in=500, tokens_out=100))

    assert await seconds_of(clock, admit(limits, 1, tokens=100)) == pytest.approx(6)


async def test_the_stricter_of_two_limits_decides() -> None:
    clock = ManualClock()

    passed = await seconds_of(clock, admit(limiter(clock, rpm=600, tpm=60), 5, tokens=1))

    assert passed == pytest.approx(4)


async def test_a_pause_holds_everyone() -> None:
    clock = ManualClock()
    limits = limiter(clock)
    limits.hold(timedelta(seconds=7))
    limits.hold(timedelta(seconds=3))

    async def everyone() -> None:
        await asyncio.gather(*(admit(limits, 1) for _ in range(5)))

    assert await seconds_of(clock, everyone()) == pytest.approx(7)


async def test_a_pause_asked_for_while_waiting_is_kept() -> None:
    clock = ManualClock()
    limits = limiter(clock, rpm=60)
    await admit(limits, 1)
    waiting = asyncio.create_task(admit(limits, 1))
    await settle()

    limits.hold(timedelta(seconds=20))

    assert await seconds_of(clock, asyncio.wait_for(waiting, None)) == pytest.approx(20)


async def test_why_calls_wait_can_be_told() -> None:
    clock = ManualClock()
    limits = limiter(clock, rpm=60)
    told = [limits.waiting]

    async with asyncio.TaskGroup() as callers:
        callers.create_task(admit(limits, 3))
        await settle()
        told.append(limits.waiting)
        limits.hold(timedelta(seconds=30))
        await clock.advance_to_next()
        told.append(limits.waiting)
        while clock.sleepers:
            await clock.advance_to_next()

    assert told == [None, "requests per minute", "the service asked for a pause, 29 s"]
    assert limits.waiting is None


async def test_how_long_calls_wait_is_counted_down() -> None:
    clock = ManualClock()
    limits = limiter(clock, rpm=5)
    await admit(limits, 1)
    waiting = asyncio.create_task(admit(limits, 1))
    told = []

    while not waiting.done():
        await settle()
        told.append(limits.waiting)
        await clock.advance_to_next()

    assert told[:2] == ["requests per minute, 12 s", "requests per minute, 11 s"]
    assert told[11] == "requests per minute"


async def test_stopping_wakes_all_who_wait_and_leaves_no_sleeper() -> None:
    clock, stop = ManualClock(), asyncio.Event()
    limits = limiter(clock, rpm=1)
    await admit(limits, 1)
    waiting = [asyncio.create_task(limits.admit(0, stop=stop)) for _ in range(10)]
    await settle()

    stop.set()

    async with asyncio.timeout(1):
        assert await asyncio.gather(*waiting) == [False] * 10
    assert clock.sleepers == 0
    assert limits.window.in_flight == 0


async def test_who_gives_up_waiting_gives_the_place_and_the_turn_back() -> None:
    clock = ManualClock()
    limits = limiter(clock, calls=1, rpm=60)
    await admit(limits, 1)
    gone = asyncio.create_task(admit(limits, 1))
    await settle()

    gone.cancel()
    await asyncio.wait([gone])

    assert limits.window.in_flight == 0
    assert await seconds_of(clock, admit(limits, 1)) == pytest.approx(1)


async def test_who_waits_by_a_wrong_rate_goes_by_the_right_one_once_it_is_known() -> None:
    clock = ManualClock()
    limits = limiter(clock)
    limits.learn(told(limit=60, remaining=0, reset="1h0m0s"))
    waiting = asyncio.create_task(admit(limits, 3))
    await settle()

    limits.learn(told(limit=60, remaining=0, reset="1m0s"))

    assert await seconds_of(clock, asyncio.wait_for(waiting, None)) < 10


def told(*, limit: int, remaining: int, reset: str, kind: str = "requests") -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{kind}": str(limit),
        f"x-ratelimit-remaining-{kind}": str(remaining),
        f"x-ratelimit-reset-{kind}": reset,
    }


@pytest.mark.parametrize(
    ("headers", "tokens", "seconds"),
    [
        (told(limit=60, remaining=0, reset="1m0s"), 0, 3),
        (told(limit=14_400, remaining=0, reset="24h0m0s"), 0, 18),
        (told(limit=6_000, remaining=0, reset="60s", kind="tokens"), 100, 3),
        (told(limit=600, remaining=0, reset="6000ms") | {"x-request-id": "1"}, 0, 0.03),
        ({"x-ratelimit-limit-requests": "60"}, 0, 0),
        (told(limit=60, remaining=0, reset="soon"), 0, 0),
        ({}, 0, 0),
    ],
    ids=["requests", "a day", "tokens alone", "milliseconds", "half told", "nonsense", "nothing"],
)
async def test_limits_are_learned_from_the_services_own_words(
    headers: Mapping[str, str], tokens: int, seconds: float
) -> None:
    clock = ManualClock()
    limits = limiter(clock)

    limits.learn(headers)

    passed = await seconds_of(clock, admit(limits, 3, tokens=tokens))
    assert passed == pytest.approx(seconds, abs=1e-3)


EPOCH = int(NOW.timestamp())
ALL_USED = {"limit": 60, "remaining": 0}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (told(**ALL_USED, reset=str(EPOCH + 30)), 0.5),
        (told(**ALL_USED, reset=f"{EPOCH + 30}.0"), 0.5),
        (told(**ALL_USED, reset=str((EPOCH + 30) * 10**3)), 0.5),
        (told(**ALL_USED, reset=str((EPOCH + 30) * 10**6)), 0.5),
        (told(**ALL_USED, reset=str(EPOCH - 30)), 0),
        (told(**ALL_USED, reset="1763600000"), 0),
        (told(**ALL_USED, reset=str(EPOCH + 10**8)), 2),
        (told(**ALL_USED, reset="60"), 1),
        (told(**ALL_USED, reset="60000"), 2),
        (told(**ALL_USED, reset="999999999"), 2),
        (told(**ALL_USED, reset="60000ms"), 1),
        (told(**ALL_USED, reset="1h"), 60),
        (told(**ALL_USED, reset="99999d"), 120),
        (told(limit=14_400, remaining=0, reset="24h0m0s"), 6),
        (told(limit=1, remaining=0, reset="24h"), 120),
        (told(limit=150_000, remaining=0, reset="60000", kind="tokens"), 0.8),
        (told(limit=150_000, remaining=0, reset="1763600000000", kind="tokens"), 0),
        (told(limit=150_000, remaining=0, reset="24h", kind="tokens"), 0.8),
        (told(limit=150_000, remaining=149_984, reset="6m0s", kind="tokens"), 0),
        (told(limit=500, remaining=0, reset="24h", kind="tokens"), 120),
    ],
    ids=str,
)
async def test_what_a_service_writes_of_its_reset_holds_no_call_for_hours(
    headers: Mapping[str, str], seconds: float
) -> None:
    clock = ManualClock()
    limits = limiter(clock)

    limits.learn(headers, now=NOW)

    passed = await seconds_of(clock, admit(limits, 1, tokens=1_000))
    assert passed == pytest.approx(seconds, rel=1e-3)


def test_a_moment_teaches_nothing_where_nobody_knows_what_time_it_is() -> None:
    limits = limiter(ManualClock())

    limits.learn(told(**ALL_USED, reset=str(EPOCH + 30)))

    assert limits._is_open()


WHAT = ("limit", "remaining", "reset")
FIGURES = st.one_of(
    st.integers(0, 10**20).map(str),
    st.floats(0).map(str),
    st.builds("{}{}".format, st.integers(0, 10**9), st.sampled_from(["ms", "s", "m", "h", "d"])),
    st.text(max_size=5),
)
HEADERS = st.dictionaries(
    st.sampled_from([f"x-ratelimit-{what}-{of}" for what in WHAT for of in ("requests", "tokens")]),
    FIGURES,
)


@given(replies=st.lists(HEADERS, max_size=4), used=st.lists(st.integers(0, 10**7), max_size=9))
def test_whatever_services_say_no_call_waits_longer_than_minutes(
    replies: list[dict[str, str]], used: list[int]
) -> None:
    limits = limiter(ManualClock())
    for headers in replies:
        limits.learn(headers, now=NOW)
        for tokens in used:
            limits.settle(0, Usage(tokens_out=tokens))

    seconds, _ = limits._held(10**6)

    assert seconds <= 2 * 120 + 1e-3


# --- what services ask --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "20", "retry-after": "1"}, 0.02),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0),
        ({"retry-after": "Tue, 01 Jan 2030 00:00:05 -0000"}, 5),
        ({"retry-after": "Tue, 01 Jan 2030 01:00:05 +0100"}, 5),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, DAY),
        ({"retry-after": "Tue, 01 Jan 99999999999999 00:00:00 GMT"}, None),
        ({"retry-after": "1000000000"}, DAY),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
    ids=str,
)
def test_retry_after_is_read_in_every_form(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    asked = retry_after(headers, now=NOW)

    assert (None if asked is None else asked.total_seconds()) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [-+\w]+", fullmatch=True))
def test_no_retry_after_is_too_strange_to_be_read(text: str) -> None:
    asked = retry_after({"retry-after": text, "retry-after-ms": text}, now=NOW)

    assert asked is None or timedelta() <= asked <= timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1s", 1),
        ("1h2m", 3720),
        ("2m59.56s", 179.56),
        ("1d", DAY),
        ("7", 7),
        ("0.5", 0.5),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("5 apples", None),
        ("10m of rest", None),
        (None, None),
    ],
)
def test_a_duration_is_read_as_services_write_it(text: str | None, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))
