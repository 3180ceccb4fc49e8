"""Its prompt cache: written once a batch has ended, read for as long as it lives, and billed."""

from collections.abc import Iterator
from typing import Any

import pytest

from anybatch.core.model import Usage
from anybatch.testing import FakeAnthropic
from anybatch.testing.clock import ManualClock

from .messages import create, ok, poll, results, send

MODEL = "claude-opus-5"
GUIDE = "Sort with care. " * 200
"""800 tokens: enough for this model, and too few for others."""
HOUR, MINUTES = "1h", "5m"


def asking(prompt: str, ttl: str | None = HOUR, *, model: str = MODEL) -> dict[str, Any]:
    mark = {} if ttl is None else {"cache_control": {"type": "ephemeral", "ttl": ttl}}
    return {
        "model": model,
        "max_tokens": 9,
        "system": [{"type": "text", "text": GUIDE, **mark}],
        "messages": [{"role": "user", "content": prompt}],
    }


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fake(clock: ManualClock) -> Iterator[FakeAnthropic]:
    with FakeAnthropic(clock=clock) as service:
        yield service


def batch(fake: FakeAnthropic, *params: dict[str, Any]) -> Usage:
    """What a batch of these is billed, once it has ended."""
    given = [{"custom_id": f"r{n}", "params": one} for n, one in enumerate(params)]
    assert poll(fake, create(fake, given))["processing_status"] == "ended"
    return fake.ledger.batches[-1].usage


def test_what_a_batch_has_written_the_next_one_reads(fake: FakeAnthropic) -> None:
    first, second = batch(fake, asking("a")), batch(fake, asking("b"), asking("c"))

    assert (first.kept, first.cached) == (800, 0)
    assert (second.kept, second.cached) == (0, 1_600)


def test_requests_of_one_batch_all_write(fake: FakeAnthropic) -> None:
    assert batch(fake, *map(asking, "abcde")).kept == 5 * 800


def test_the_usage_of_an_answer_says_so_by_class(fake: FakeAnthropic) -> None:
    id = create(fake, [{"custom_id": "a", "params": asking("hi there")}])
    poll(fake, id)

    usage = results(fake, id)["a"]["message"]["usage"]
    assert usage["cache_creation_input_tokens"] == 800
    assert usage["cache_creation"] == {
        "ephemeral_5m_input_tokens": 0,
        "ephemeral_1h_input_tokens": 800,
    }
    assert usage["cache_read_input_tokens"] == 0
    assert usage["input_tokens"] == 2


@pytest.mark.parametrize(
    ("ttl", "seconds", "reads"),
    [
        (HOUR, 3_500, True),
        (HOUR, 3_700, False),
        (MINUTES, 290, True),
        (MINUTES, 310, False),
    ],
)
def test_what_is_kept_is_kept_for_so_long(
    ttl: str, seconds: int, reads: bool, fake: FakeAnthropic, clock: ManualClock
) -> None:
    batch(fake, asking("a", ttl))
    clock.advance(seconds)

    assert (batch(fake, asking("b", ttl)).cached > 0) == reads


def test_to_be_read_is_to_live_on(fake: FakeAnthropic, clock: ManualClock) -> None:
    batch(fake, asking("a"))
    for _ in range(3):
        clock.advance(3_000)
        assert batch(fake, asking("b")).cached == 800


OTHERS = {
    "no mark": asking("b", None),
    "another model": asking("b", model="claude-fable-5"),
    "other tools": {**asking("b"), "tools": [{"name": "t"}]},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_beginning_reads_nothing(other: dict[str, Any], fake: FakeAnthropic) -> None:
    batch(fake, asking("a"))

    assert batch(fake, other).cached == 0


def test_short_ones_are_not_kept_and_nothing_is_said(fake: FakeAnthropic) -> None:
    used = batch(fake, asking("a", model="claude-haiku-4-5"))

    assert (used.kept, used.written, used.cached) == (0, 0, 0)
    assert used.tokens_in > 800


def test_calls_and_batches_do_not_read_what_the_other_wrote(fake: FakeAnthropic) -> None:
    batch(fake, asking("a"))
    one, two = (ok(send(fake, "POST", "/v1/messages", asking(p, MINUTES))) for p in "bc")

    assert one["usage"]["cache_creation"]["ephemeral_5m_input_tokens"] == 800
    assert two["usage"]["cache_read_input_tokens"] == 800
    assert [call.written for call in fake.calls.ledger.executions] == [800, 0]


@pytest.mark.parametrize(("hits", "least", "most"), [(0.0, 0, 0), (0.5, 30, 70), (1.0, 100, 100)])
def test_so_many_are_lucky(hits: float, least: int, most: int) -> None:
    with FakeAnthropic(hits=hits) as fake:
        batch(fake, asking("a"))
        read = batch(fake, *(asking(f"row {n}") for n in range(100))).cached / 800

    assert least <= read <= most
