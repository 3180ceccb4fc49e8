"""Ctrl-C while a provider works: the run is left to it, or cancelled if somebody says so."""

import csv
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anybatch.testing import FakeOpenAI, ManualClock, Phases, Stall

from .process import anybatch, report, start, until
from .remotely import TEXTS, WORKS_S, asking, ended, home_in, service, started
from .terminal import Terminal

DETACHED = "detached: the provider goes on; type the same command to come back, or `anybatch cancel"
QUESTION = "Detach or cancel?"
NOT_AS_ONE_S = 0.6
"""Longer than what makes two signals one."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_in(tmp_path)


@pytest.fixture
def works() -> Iterator[tuple[FakeOpenAI, ManualClock]]:
    with service() as given:
        yield given


@pytest.fixture
def fake(works: tuple[FakeOpenAI, ManualClock]) -> FakeOpenAI:
    return works[0]


def run_id(home: Path) -> str:
    return str(report(anybatch("status", "--json", home=home))["id"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_an_interrupt_leaves_the_work_to_the_provider(
    number: signal.Signals, home: Path, fake: FakeOpenAI
) -> None:
    run = started(fake, home)

    run.send_signal(number)
    code, _, said = ended(run)

    assert code == 130
    assert f"{DETACHED} {run_id(home)}`\n" in said
    assert "nothing is lost" not in said
    assert [batch.stage for batch in fake.ledger.batches] == ["in_progress"]


def test_the_same_command_comes_back_to_it(
    home: Path, works: tuple[FakeOpenAI, ManualClock]
) -> None:
    fake, clock = works
    run = started(fake, home)
    run.send_signal(signal.SIGINT)
    ended(run)

    clock.advance(WORKS_S)
    finished = anybatch(*asking(fake, "-o", "out.csv"), home=home)

    with open(home / "out.csv", newline="") as file:
        answers = [row["answer"] for row in csv.DictReader(file)]
    assert finished.returncode == 0, finished.stderr
    assert answers == [f"echo: Say {text}" for text in TEXTS]
    assert len(fake.ledger.batches) == 1


def test_with_json_the_line_is_on_stderr(home: Path, fake: FakeOpenAI) -> None:
    run = started(fake, home, "--json")

    run.send_signal(signal.SIGINT)
    code, out, said = ended(run)

    assert code == 130
    assert DETACHED in said
    assert json.loads(out)["status"] == "running"


def test_who_has_nothing_at_the_provider_yet_is_not_detached(home: Path) -> None:
    with service(faults={"upload": [Stall(60)]}) as (fake, _):
        run = start(*asking(fake), home=home)
        until(lambda: bool(list(home.rglob("anybatch-*.jsonl"))), what="an upload")
        run.send_signal(signal.SIGINT)
        code, _, said = ended(run)

    assert code == 130
    assert "detached" not in said
    assert "nothing is lost: run the same command again and it goes on" in said


def test_a_submission_whose_answer_is_awaited_may_go_on(home: Path) -> None:
    with service(faults={"create": [Stall(60)]}) as (fake, _):
        run = start(*asking(fake), home=home)
        until(lambda: bool(fake.ledger.batches), what="a submission")
        run.send_signal(signal.SIGINT)
        code, _, said = ended(run)

    assert code == 130
    assert DETACHED in said


# --- on a terminal ---


def interrupted(fake: FakeOpenAI, home: Path, **extra: str) -> Terminal:
    """A run on a terminal, after Ctrl-C."""
    terminal = Terminal(*asking(fake), home=home, **extra)
    terminal.read_until("in_progress")
    terminal.process.send_signal(signal.SIGINT)
    return terminal


@pytest.mark.parametrize(
    "keys", ["\n", "detach\n", "nonsense\n", "\x04"], ids=["enter", "detach", "a typo", "end"]
)
def test_on_a_terminal_it_is_left_unless_somebody_cancels_it(
    keys: str, home: Path, fake: FakeOpenAI
) -> None:
    terminal = interrupted(fake, home)
    terminal.read_until(QUESTION)
    terminal.type(keys)

    assert terminal.end() == 130
    assert "detached: the provider goes on;" in terminal.text()
    assert [batch.stage for batch in fake.ledger.batches] == ["in_progress"]


def test_a_second_ctrl_c_leaves_it(home: Path, fake: FakeOpenAI) -> None:
    terminal = interrupted(fake, home)
    terminal.read_until(QUESTION)
    time.sleep(NOT_AS_ONE_S)
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.end() == 130
    assert "detached: the provider goes on;" in terminal.text()
    assert "Traceback" not in terminal.text()
    assert [batch.stage for batch in fake.ledger.batches] == ["in_progress"]


def test_the_second_of_two_at_once_does_not_answer(home: Path, fake: FakeOpenAI) -> None:
    terminal = interrupted(fake, home)
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_until(QUESTION)
    terminal.type("cancel\n")

    assert terminal.end() == 3
    assert [batch.stage for batch in fake.ledger.batches] == ["cancelled"]


@pytest.mark.parametrize("keys", ["cancel\n", "c\n", "CANCEL \n"])
def test_who_cancels_gets_what_was_answered(
    keys: str, home: Path, works: tuple[FakeOpenAI, ManualClock]
) -> None:
    fake, clock = works
    clock_moves = WORKS_S * 0.4  # one row of three
    terminal = Terminal(*asking(fake), home=home)
    terminal.read_until("in_progress")
    clock.advance(clock_moves)
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_until(QUESTION)
    terminal.type(keys)

    assert terminal.end() == 3
    assert [batch.stage for batch in fake.ledger.batches] == ["cancelled"]
    said = report(anybatch("status", "--json", home=home))
    assert said["status"] == "cancelled"
    assert said["counts"] == {"succeeded": 1, "cancelled": 2}
    assert fake.ledger.leftover_files == ()


def test_an_interrupt_while_it_is_being_cancelled_says_how_to_see_it_through(home: Path) -> None:
    with service(phases=Phases(in_progress=WORKS_S, cancelling=WORKS_S)) as (fake, _):
        terminal = interrupted(fake, home)
        terminal.read_until(QUESTION)
        terminal.type("cancel\n")
        terminal.read_until("1 cancelling")
        time.sleep(NOT_AS_ONE_S)
        terminal.process.send_signal(signal.SIGINT)

        assert terminal.end() == 130
        assert f"anybatch cancel {run_id(home)} sees the cancelling to its end" in " ".join(
            terminal.text().split()
        )
        assert terminal.text().count(QUESTION) == 1


def test_a_sigterm_asks_nobody(home: Path, fake: FakeOpenAI) -> None:
    terminal = Terminal(*asking(fake), home=home)
    terminal.read_until("in_progress")
    terminal.process.send_signal(signal.SIGTERM)

    assert terminal.end() == 130
    assert QUESTION not in terminal.text()
    assert "detached: the provider goes on;" in terminal.text()


def test_in_ci_nobody_is_asked(home: Path, fake: FakeOpenAI) -> None:
    terminal = interrupted(fake, home, CI="true")

    assert terminal.end() == 130
    assert QUESTION not in terminal.text()
