"""Faults and fates in words become what they say."""

from contextlib import suppress
from http.client import IncompleteRead
from typing import get_args

import pytest

from anybatch.testing import (
    EMPTY,
    Cut,
    Delay,
    FakeAnthropic,
    FakeOpenAI,
    Fate,
    Fault,
    Stall,
    Status,
)
from anybatch.testing.batches.life import End
from anybatch.testing.fakes import FAKES
from anybatch.testing.words import fate_of, fault_of, faults_of, row_faults_of

from . import messages
from .plain import lines, rows, send, upload

ENDS = get_args(End)


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("ok", None),
        ("lost", Status(500, executed=True)),
        ("cut", Cut("executed")),
        ("empty", EMPTY),
        ("429", Status(429)),
        ("late:0.5", Delay(0.5)),
        ("stall:2", Stall(2.0)),
    ],
)
def test_a_word_is_a_fault(word: str, fault: Fault | None) -> None:
    assert fault_of(word) == fault


@pytest.mark.parametrize("word", ["", "fun", "200", "600", "late", "late:soon"])
def test_a_word_that_is_none_is_a_mistake(word: str) -> None:
    with pytest.raises(ValueError, match=r"is no fault|could not convert"):
        fault_of(word)


def test_the_first_of_an_operation_meet_what_was_said_in_order() -> None:
    told = faults_of(["files=503,ok,429"], FakeOpenAI.operations, share=0, seed=0)

    with FakeOpenAI(faults=told) as fake:
        statuses = [send(fake, "GET", "/files").status for _ in range(4)]

    assert statuses == [503, 200, 429, 200]


def test_a_share_of_all_exchanges_fails_and_the_first_do_as_they_were_told() -> None:
    told = faults_of(["files=409"], FakeOpenAI.operations, share=0.4, seed=1)

    with FakeOpenAI(faults=told) as fake:
        upload(fake, lines(rows(1)))
        faults = [failed(fake) for _ in range(50)]

    assert faults[0] == Status(409)
    assert 5 < sum(fault is not None for fault in faults) < 40


def failed(fake: FakeOpenAI) -> Fault | None:
    """What befell one more call."""
    with suppress(OSError, IncompleteRead):
        send(fake, "GET", "/files")
    return fake.ledger.exchanges_of("files")[-1].fault


@pytest.mark.parametrize(("share", "failing"), [(0.0, 0), (1.0, 20)])
def test_a_share_of_the_rows_fails(share: float, failing: int) -> None:
    with FakeAnthropic(rows=row_faults_of(share, seed=0)) as fake:
        results = messages.run(fake, messages.rows(20))

    well = [result["message"] for result in results.values() if result["type"] == "succeeded"]
    fine = [message for message in well if message["stop_reason"] == "end_turn"]
    assert 20 - len(fine) == failing


@pytest.mark.parametrize(
    ("told", "fate"),
    [
        ("completed", Fate()),
        ("expired:6", Fate(ends="expired", done=6)),
        ("failed", Fate(ends="failed")),
    ],
)
def test_an_end_is_a_fate(told: str, fate: Fate) -> None:
    assert fate_of(told, ENDS) == fate


@pytest.mark.parametrize(("told", "ends"), [("gone", ENDS), ("failed", ("completed", "expired"))])
def test_an_end_that_batches_do_not_have_is_a_mistake(told: str, ends: tuple[End, ...]) -> None:
    with pytest.raises(ValueError, match="no batch of its ends as"):
        fate_of(told, ends)


@pytest.mark.parametrize("name", FAKES)
def test_every_limit_that_can_be_told_is_one(name: str) -> None:
    kind = FAKES[name]

    fake = kind.new(**dict.fromkeys(kind.limits, 7))

    fake.close()
