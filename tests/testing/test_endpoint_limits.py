"""The fake endpoint enforces the limits it is given, and says what is left of them."""

from concurrent.futures import ThreadPoolExecutor

from anybatch.testing import FakeEndpoint, ManualClock

from .caller import call, header_of, status_of


def test_more_requests_than_allowed_are_turned_away_unbilled() -> None:
    clock = ManualClock()
    with FakeEndpoint(rpm=2, monotonic=clock.monotonic) as endpoint:
        statuses = [status_of(call(endpoint, "hi")) for _ in range(3)]

    assert statuses == [200, 200, 429]
    assert len(endpoint.ledger.executions) == 2


def test_who_waits_as_long_as_told_is_let_through() -> None:
    clock = ManualClock()
    with FakeEndpoint(rpm=7, burst=0.1, monotonic=clock.monotonic) as endpoint:
        call(endpoint, "hi")
        refused = call(endpoint, "hi")
        clock.advance(float(header_of(refused, "retry-after-ms") or "0") / 1000)
        again = call(endpoint, "hi")

    assert status_of(refused) == 429
    assert header_of(refused, "retry-after") == "9"
    assert status_of(again) == 200


def test_a_prompt_and_its_budget_count_against_the_tokens() -> None:
    clock = ManualClock()
    with FakeEndpoint(tpm=100, monotonic=clock.monotonic) as endpoint:
        first = call(endpoint, "hi", max_tokens=59)
        second = call(endpoint, "hi", max_tokens=59)

    assert header_of(first, "x-ratelimit-remaining-tokens") == "40"
    assert (status_of(first), status_of(second)) == (200, 429)


def test_every_answer_says_what_is_left() -> None:
    clock = ManualClock()
    with FakeEndpoint(rpm=60, monotonic=clock.monotonic) as endpoint:
        answers = [call(endpoint, "hi") for _ in range(2)]

    assert header_of(answers[1], "x-ratelimit-limit-requests") == "60"
    assert header_of(answers[1], "x-ratelimit-remaining-requests") == "58"
    assert header_of(answers[1], "x-ratelimit-reset-requests") == "2s"


def test_without_limits_there_are_no_such_headers() -> None:
    with FakeEndpoint() as endpoint:
        answer = call(endpoint, "hi")

    assert header_of(answer, "x-ratelimit-limit-requests") is None


def test_calls_beyond_those_at_once_are_turned_away() -> None:
    with FakeEndpoint(latency=0.1, max_in_flight=2) as endpoint, ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda prompt: status_of(call(endpoint, prompt)), "abcdef"))

    assert statuses.count(200) == len(endpoint.ledger.executions) >= 2
    assert endpoint.ledger.peak == 2


def test_the_peak_is_how_many_were_under_way_at_once() -> None:
    with FakeEndpoint(latency=0.1) as endpoint, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda prompt: call(endpoint, prompt), "abcd"))

    assert 2 <= endpoint.ledger.peak <= 4
