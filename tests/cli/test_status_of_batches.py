"""`anybatch status` of a run whose batches are at a provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from anybatch.testing import FakeOpenAI, ManualClock

from .process import anybatch, kill, report, start, until
from .remotely import TEXTS, WORKS_S, asking, batch_in, home_in, left_alone, service
from .terminal import Terminal


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


def shown(home: Path) -> tuple[list[str], list[list[str]]]:
    """The head of the table of batches, and the words of each of its lines."""
    lines = anybatch("status", home=home).stdout.splitlines()
    (at,) = (place for place, line in enumerate(lines) if line.startswith("batch"))
    return lines[at].split("  "), [line.split() for line in lines[at + 1 :]]


def test_each_batch_is_a_line_that_says_where_it_is(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)

    head, ((batch, status, remote_id, word, done, *rest),) = shown(home)

    names = ["batch", "status", "remote id", "there", "done", "age", "next look", "why"]
    assert [name.strip() for name in head if name.strip()] == names
    assert batch.endswith("-1-0")
    assert (status, word) == ("running", "in_progress")
    assert remote_id == fake.ledger.batches[0].id
    assert done == f"0/{len(TEXTS)}"
    assert rest[1] == "s"  # the age, and then when it is looked at


def test_json_holds_the_same(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)

    (batch,) = report(anybatch("status", "--json", home=home))["batches"]

    assert batch["status"] == "running"
    assert batch["remote_id"] == fake.ledger.batches[0].id
    assert batch["remote_status"] == "in_progress"
    assert (batch["done"], batch["size"]) == (0, len(TEXTS))
    assert 0 <= batch["age_s"] < 60
    assert 0 <= batch["next_look_s"] <= 5
    assert batch["submitted_at"].startswith("20")
    assert batch["why"] is None


def test_why_a_batch_waits_is_said(home: Path) -> None:
    with service(max_batches=0) as (fake, _):
        run = start(*asking(fake), home=home)
        until(lambda: fake.ledger.operations.get("create", 0) > 0, what="a submission")
        until(lambda: batch_in(home).why is not None, what="a reason")
        kill(run)

    (batch,) = report(anybatch("status", "--json", home=home))["batches"]
    assert (batch["status"], batch["remote_id"], batch["age_s"]) == ("planned", None, None)
    assert "Too many batches" in batch["why"]
    assert "Too many batches" in anybatch("status", home=home).stdout


def test_a_batch_that_is_over_waits_for_nothing(
    home: Path, works: tuple[FakeOpenAI, ManualClock]
) -> None:
    fake, clock = works
    left_alone(fake, home)
    clock.advance(WORKS_S)
    anybatch(*asking(fake), home=home)

    (batch,) = report(anybatch("status", "--json", home=home))["batches"]
    _, ((_, status, _, word, done),) = shown(home)

    assert (batch["done"], batch["age_s"], batch["next_look_s"]) == (len(TEXTS), None, None)
    assert (status, word, done) == ("cleaned", "completed", f"{len(TEXTS)}/{len(TEXTS)}")


@pytest.mark.parametrize("columns", [24, 40, 80])
def test_a_narrow_terminal_keeps_every_word(columns: int, home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)
    remote_id = fake.ledger.batches[0].id

    terminal = Terminal("status", home=home, columns=columns)

    assert terminal.end() == 0
    lines = terminal.text().splitlines()
    after = lines[next(n for n, line in enumerate(lines) if line.endswith("-1-0 running")) :]
    assert max(map(cell_len, after)) <= columns
    assert remote_id in "".join(line.strip() for line in after)
    said = " ".join(" ".join(after).split())
    assert "in_progress · 0/3 · " in said
    assert "old · next look" in said


def test_a_wide_terminal_has_a_line_a_batch(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)

    terminal = Terminal("status", home=home, columns=160)

    assert terminal.end() == 0
    (line,) = (line for line in terminal.text().splitlines() if "in_progress" in line)
    assert fake.ledger.batches[0].id in line


def test_the_list_of_runs_stays_as_it_is(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)

    head, line = anybatch("runs", home=home).stdout.splitlines()

    assert head.split() == ["run", "status", "started", "source", "model", "rows", "outcomes"]
    assert "running" in line
