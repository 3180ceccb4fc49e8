"""How much may wait at a provider: what refusals say of it, what is learned, and what may go."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Failure, Remote
from anybatch.core.plan import Limits, cut
from anybatch.core.quota import (
    BYTES_PER_TOKEN,
    Load,
    Measure,
    Quota,
    Refusal,
    held_by,
    is_hopeless,
    is_over,
    learned,
    load_of,
    most_in_a_batch,
    pause_after,
    reason,
    refusal_in,
    room,
    smaller,
    total,
    waits_there,
)

from .given import BATCH

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MEASURES: tuple[Measure, ...] = ("tokens", "requests", "batches")
AMOUNTS = st.integers(0, 10**12)
LOADS = st.builds(Load, batches=st.integers(0, 200), requests=AMOUNTS, tokens=AMOUNTS)
ONE_BATCH = st.builds(
    Load, batches=st.just(1), requests=st.integers(1, 10**6), tokens=st.integers(1, 10**9)
)
REFUSALS = st.builds(
    Refusal,
    measure=st.none() | st.sampled_from(MEASURES),
    said=st.none() | st.integers(0, 10**12),
    rate=st.booleans(),
)
QUOTAS = st.builds(
    Quota,
    measure=st.sampled_from(MEASURES),
    ceiling=AMOUNTS,
    named=st.booleans(),
    learned_at=st.none() | st.timedeltas(timedelta(0), timedelta(days=3)).map(NOW.__sub__),
)

SAID: dict[str, tuple[str | None, str, Refusal]] = {
    "OpenAI, enqueued tokens": (
        "token_limit_exceeded",
        "Enqueued token limit reached for gpt-5.6 in organization org-1. Limit: 2,000,000 enqueued "
        "tokens. Please try again once some in_progress batches have been completed.",
        Refusal(measure="tokens", said=2_000_000),
    ),
    "OpenAI, enqueued requests": (
        "request_limit_exceeded",
        "Enqueued request limit reached",
        Refusal(measure="requests"),
    ),
    "Azure, enqueued tokens": (
        "token_limit_exceeded",
        "The number of enqueued tokens has surpassed the configured limit of 30K for the "
        "deployment",
        Refusal(measure="tokens", said=30_000),
    ),
    "Anthropic, queued requests": (
        "rate_limit_error",
        "Number of queued batch requests would exceed your limit of 200000.",
        Refusal(measure="requests", said=200_000),
    ),
    "Gemini, whatever it is": (
        "RESOURCE_EXHAUSTED",
        "Resource has been exhausted (e.g. check quota).",
        Refusal(measure=None),
    ),
    "batches at once": (
        "rate_limit_exceeded",
        "Too many batches at once. Limit: 3.",
        Refusal(measure="batches", said=3),
    ),
    "concurrent jobs": (None, "At most 4 concurrent jobs are allowed", Refusal(measure="batches")),
    "how often batches are made": (
        "rate_limit_exceeded",
        "Too many batches created. Limit: 2,000 per hour.",
        Refusal(measure="batches", said=2_000, rate=True),
    ),
    "tokens a minute": (
        "rate_limit_exceeded",
        "Rate limit reached for gpt-x on tokens per min (TPM): Limit 200000, Used 199000.",
        Refusal(measure="tokens", said=200_000, rate=True),
    ),
    "a million, in a letter": (
        None,
        "token limit: 1.5M",
        Refusal(measure="tokens", said=1_500_000),
    ),
    "a number that is none": (None, "token limit: 1.2.3", Refusal(measure="tokens")),
    "nothing": (None, "", Refusal(measure=None)),
}


@pytest.mark.parametrize("who", SAID)
def test_what_a_refusal_says_is_read(who: str) -> None:
    code, message, said = SAID[who]

    assert refusal_in(Failure(message=message, code=code)) == said


@given(st.text(), st.none() | st.text())
def test_whatever_a_refusal_says_can_be_read(message: str, code: str | None) -> None:
    said = refusal_in(Failure(message=message, code=code)).said

    assert said is None or said >= 0


OTHERS = Load(batches=3, requests=300, tokens=3_000)
MINE = Load(batches=1, requests=100, tokens=1_000)
NONE = Load()

LEARNED: dict[str, tuple[Refusal, Load, int, Quota | None]] = {
    "what others had is the limit": (
        Refusal(measure="tokens"),
        OTHERS,
        1,
        Quota(measure="tokens", ceiling=3_000, learned_at=NOW),
    ),
    "what is said is the limit": (
        Refusal(measure="tokens", said=3_500),
        OTHERS,
        1,
        Quota(measure="tokens", ceiling=3_500, said=3_500, learned_at=NOW),
    ),
    "what is said is less than was taken: our tokens are estimates": (
        Refusal(measure="tokens", said=1_000),
        OTHERS,
        1,
        Quota(measure="tokens", ceiling=3_000, said=1_000, learned_at=NOW),
    ),
    "what is said is more than was there: somebody else waits there too": (
        Refusal(measure="tokens", said=9_000),
        OTHERS,
        1,
        Quota(measure="tokens", ceiling=3_000, said=9_000, learned_at=NOW),
    ),
    "alone, and more than is said": (
        Refusal(measure="requests", said=60),
        NONE,
        1,
        Quota(measure="requests", ceiling=60, said=60, learned_at=NOW),
    ),
    "alone, and nothing is said": (Refusal(measure="tokens"), NONE, 9, None),
    "alone, and within what is said": (Refusal(measure="tokens", said=1_000), NONE, 9, None),
    "it does not say what, and it is early to guess": (Refusal(measure=None), OTHERS, 2, None),
    "it does not say what, again and again": (
        Refusal(measure=None),
        OTHERS,
        3,
        Quota(measure="batches", ceiling=3, named=False, learned_at=NOW),
    ),
    "it does not say what, and nothing else waits": (Refusal(measure=None), NONE, 9, None),
    "it is about how often we ask": (Refusal(measure="tokens", rate=True), OTHERS, 9, None),
}


@pytest.mark.parametrize("what", LEARNED)
def test_what_is_learned_from_a_refusal(what: str) -> None:
    refusal, others, tries, quota = LEARNED[what]

    assert learned(refusal, others=others, mine=MINE, tries=tries, now=NOW) == quota


@given(REFUSALS, LOADS, ONE_BATCH, st.integers(1, 20))
def test_a_limit_just_learned_would_have_held_back_what_was_refused(
    refusal: Refusal, others: Load, mine: Load, tries: int
) -> None:
    quota = learned(refusal, others=others, mine=mine, tries=tries, now=NOW)

    if quota is not None and others.batches:
        assert held_by(mine, others, [quota], NOW) == quota


HALF: tuple[Measure, int] = ("requests", 50)
CUT: dict[str, tuple[Refusal, int, tuple[Measure, int] | None]] = {
    "more tokens than are said to fit": (Refusal(measure="tokens", said=500), 1, ("tokens", 400)),
    "more requests than are said to fit": (
        Refusal(measure="requests", said=60),
        1,
        ("requests", 60),
    ),
    "no more than is said to fit, once": (Refusal(measure="tokens", said=1_000), 1, None),
    "no more than is said to fit, thrice": (
        Refusal(measure="tokens", said=1_000),
        3,
        HALF,
    ),
    "nothing is said, once": (Refusal(measure="requests"), 2, None),
    "nothing is said, thrice": (Refusal(measure="tokens"), 3, HALF),
    "nothing at all is said, thrice": (Refusal(measure=None), 3, HALF),
    "too many batches": (Refusal(measure="batches", said=0), 9, None),
    "too often": (Refusal(measure="tokens", said=1, rate=True), 9, None),
}


@pytest.mark.parametrize("what", CUT)
def test_how_much_a_batch_may_hold_that_was_refused(what: str) -> None:
    refusal, alone, most = CUT[what]

    assert most_in_a_batch(refusal, mine=MINE, alone=alone) == most


@given(REFUSALS, ONE_BATCH, st.integers(0, 20))
def test_a_cut_is_never_as_large_as_what_was_refused(
    refusal: Refusal, mine: Load, alone: int
) -> None:
    found = most_in_a_batch(refusal, mine=mine, alone=alone)

    if found is not None:
        measure, most = found
        assert most >= 1
        assert most < mine.of(measure) or mine.of(measure) == 1


@given(
    st.lists(st.integers(1, 500), min_size=2, max_size=60),
    st.sampled_from(("tokens", "requests")),
    st.integers(1, 400),
    st.booleans(),
)
def test_a_batch_that_is_cut_becomes_smaller_ones_of_the_same_requests(
    lengths: list[int], measure: Measure, most: int, distinct: bool
) -> None:
    limits = smaller(
        Limits(max_requests=1000, max_bytes=1, distinct_sizes=distinct), len(lengths), measure, most
    )

    sizes = list(cut(lengths, limits))

    assert sum(sizes) == len(lengths)
    assert len(sizes) >= 2
    rest = iter(lengths)
    for size in sizes:
        length = sum(next(rest) for _ in range(size))
        assert size == 1 or measure != "requests" or size <= most
        assert size == 1 or measure != "tokens" or length <= most * BYTES_PER_TOKEN


def test_only_one_request_is_given_up_and_not_soon() -> None:
    refusals = [is_hopeless(Refusal(measure="tokens"), alone=alone) for alone in range(1, 10)]

    assert refusals == [False] * 7 + [True] * 2
    assert not is_hopeless(Refusal(measure=None, rate=True), alone=99)


def test_who_is_refused_alone_rests_ever_longer_up_to_a_quarter_of_an_hour() -> None:
    minutes = [pause_after(alone) / timedelta(minutes=1) for alone in (1, 2, 3, 4, 5, 99)]

    assert minutes == [1, 2, 4, 8, 15, 15]


@given(QUOTAS)
def test_a_limit_grows_by_a_tenth_an_hour_and_is_forgotten_in_the_end(quota: Quota) -> None:
    if quota.learned_at is None:
        assert room(quota, NOW) == quota.ceiling
        assert not is_over(quota, NOW + timedelta(days=999))
        return
    at = quota.learned_at

    assert room(quota, at - HOUR) == room(quota, at) == quota.ceiling
    least = 10 if quota.measure == "batches" else 0
    assert room(quota, at + 10 * HOUR) == quota.ceiling + max(least, quota.ceiling)
    assert is_over(quota, at + (24 * HOUR if quota.named else HOUR))
    assert not is_over(quota, at + (23 * HOUR if quota.named else HOUR / 2))


@given(LOADS, LOADS, st.lists(QUOTAS, max_size=3))
def test_what_has_room_is_within_every_limit(
    load: Load, waiting: Load, quotas: list[Quota]
) -> None:
    holds = held_by(load, waiting, quotas, NOW)

    within = all(
        is_over(quota, NOW)
        or waiting.of(quota.measure) + load.of(quota.measure) <= room(quota, NOW)
        for quota in quotas
    )
    assert (holds is None) == within
    assert holds is None or holds in quotas


REASONS = {
    "enqueued-token limit of 2,000,000 learned at 2026-11-20 12:00 UTC": Quota(
        measure="tokens", ceiling=1_900_000, said=2_000_000, learned_at=NOW
    ),
    "limit of 300 waiting requests learned at 2026-11-20 12:00 UTC": Quota(
        measure="requests", ceiling=300, learned_at=NOW
    ),
    "limit of 2 batches at once learned at 2026-11-20 12:00 UTC, a guess": Quota(
        measure="batches", ceiling=2, named=False, learned_at=NOW
    ),
    "limit of 100 batches at once, the provider's own": Quota(measure="batches", ceiling=100),
}


@pytest.mark.parametrize("words", REASONS)
def test_a_limit_is_said_in_words(words: str) -> None:
    assert reason(REASONS[words]) == words


def test_a_batch_waits_there_from_its_submission_until_it_has_ended() -> None:
    sent = Remote(sent_at=NOW)
    batch = replace(BATCH, executor="batch", remote=sent, tokens=7)

    waiting = {
        status: waits_there(replace(batch, status=status))
        for status in ("planned", "submitting", "running", "ended", "collected", "cleaned")
    }

    assert [status for status, waits in waiting.items() if waits] == ["submitting", "running"]
    assert not waits_there(replace(batch, status="submitting", remote=Remote(input_file="f")))
    assert not waits_there(replace(batch, status="running", executor="online"))
    assert total([batch, batch]) == load_of(batch) + load_of(batch)
    assert load_of(batch) == Load(batches=1, requests=10, tokens=7)
