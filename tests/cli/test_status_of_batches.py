"""`anybatch status` of a run whose batches are at a provider."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from anybatch.core.quota import Quota
from anybatch.core.timing import Timing
from anybatch.store.sqlite import SqliteStore
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

    names = ["batch", "status", "remote id", "phase", "done", "age", "p50", "p95", "next", "why"]
    assert [name.strip() for name in head if name.strip()] == names
    assert batch.endswith("-1-0")
    assert (status, word) == ("running", "in_progress")
    assert remote_id == fake.ledger.batches[0].id
    assert done == f"0/{len(TEXTS)}"
    assert (rest[1], rest[2]) == ("s", "look")  # its age, and then the next step and when


def test_json_holds_the_same(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)

    (batch,) = report(anybatch("status", "--json", home=home))["batches"]

    assert batch["status"] == "running"
    assert batch["remote_id"] == fake.ledger.batches[0].id
    assert batch["remote_status"] == "in_progress"
    assert (batch["done"], batch["size"]) == (0, len(TEXTS))
    assert 0 <= batch["phase_age_s"] <= batch["age_s"] < 60
    assert (batch["p50_s"], batch["p95_s"], batch["known"], batch["late"]) == (None, None, 0, None)
    assert batch["next"] == "look"
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
    assert batch["next"] == "submit"
    assert "Too many batches" in batch["why"]
    assert "Too many batches" in anybatch("status", home=home).stdout


def test_a_batch_that_was_only_guessed_is_said_to_be_so(
    home: Path, works: tuple[FakeOpenAI, ManualClock]
) -> None:
    fake, _ = works
    left_alone(fake, home)
    store = SqliteStore(home / "store")
    (guessed,) = store.batches(store.find_run("last").id)
    claimed = store.claim(
        guessed, status="running", owner="me", lease_until=datetime.now(UTC), window=0
    )
    assert claimed is not None
    assert claimed.remote is not None
    remote = replace(claimed.remote, guessed=True)
    store.save(replace(claimed, remote=remote, owner=None, lease_until=None))
    store.close()

    (batch,) = report(anybatch("status", "--json", home=home))["batches"]

    assert "it may be somebody else's" in batch["why"]
    assert "it may be somebody else's" in " ".join(anybatch("status", home=home).stdout.split())


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


def learned(home: Path, *timings: Timing, quota: Quota | None = None) -> None:
    """Let the store know of the queue that the last run waits in."""
    store = SqliteStore(home / "store")
    run = store.find_run("last")
    (batch,) = store.batches(run.id)
    store.save(batch, timings=timings)
    if quota is not None:
        store.learn(run.queue, quota)
    store.close()


def test_the_age_of_a_phase_stands_beside_how_long_others_took(
    home: Path, fake: FakeOpenAI
) -> None:
    left_alone(fake, home)
    learned(home, *(Timing("in_progress", float(minutes * 60)) for minutes in range(20, 40)))

    _, (words,) = shown(home)
    (batch,) = report(anybatch("status", "--json", home=home))["batches"]

    assert "29 min 30 s 38 min 3 s look" in " ".join(words)
    assert (batch["p50_s"], batch["p95_s"], batch["known"]) == (1770, 2283, 20)


def test_of_the_next_look_is_said_within_which_time_it_is(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)
    learned(home, *(Timing("in_progress", float(minutes * 60)) for minutes in range(20, 40)))
    put_off(home, -timedelta(minutes=1))

    (batch,) = report(anybatch("status", "--json", home=home))["batches"]
    said = anybatch("status", home=home).stdout

    # A tenth of what is left of the usual half hour, and what chance adds to it.
    assert 180 <= batch["next_look_s"] <= 195
    assert "look within 3 min" in said
    assert "now" not in said


def put_off(home: Path, wait: timedelta) -> None:
    """Let the next step of the one batch be due so long from now."""
    store = SqliteStore(home / "store")
    (batch,) = store.batches(store.find_run("last").id)
    store.save(replace(batch, due=datetime.now(UTC) + wait))
    store.close()


def test_a_batch_that_takes_too_long_is_marked_and_said_why(home: Path) -> None:
    with service() as (fake, clock):
        left_alone(fake, home)
        learned(home, *(Timing("in_progress", 0.5) for _ in range(20)))
        began_long_ago(home)
        run = start(*asking(fake, "-o", "out.csv"), home=home)
        until(lambda: batch_in(home).late is not None, what="a word about it")
        kill(run)
        said = anybatch("status", home=home)
        (batch,) = report(anybatch("status", "--json", home=home))["batches"]
        clock.advance(WORKS_S)
        finished = anybatch(*asking(fake, "-o", "out.csv"), home=home)

    assert "in_progress (slow)" in said.stdout
    assert "slow: 95 % are over within 1 s" in said.stdout
    assert (batch["late"], batch["why"]) == ("slow", "slow: 95 % are over within 1 s")
    assert "for a while at their provider: 1 batch slow" in finished.stderr


def began_long_ago(home: Path) -> None:
    """Set the beginning of the phase of the one batch two minutes back."""
    store = SqliteStore(home / "store")
    (batch,) = store.batches(store.find_run("last").id)
    remote = batch.remote
    assert remote is not None
    assert remote.phase_since is not None
    since = remote.phase_since - timedelta(minutes=2)
    store.save(replace(batch, remote=replace(remote, phase_since=since, done=1)))
    store.close()


def test_which_limit_a_batch_waits_for_is_said(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)
    now = datetime.now(UTC)
    quota = Quota(measure="tokens", ceiling=1, said=2_000_000, learned_at=now)
    learned(home, quota=quota)
    another_planned(home)

    batches = report(anybatch("status", "--json", home=home))["batches"]
    said = anybatch("status", home=home).stdout

    why = f"waiting for the enqueued-token limit of 2,000,000 learned at {now:%Y-%m-%d %H:%M} UTC"
    assert [batch["why"] for batch in batches] == [None, why]
    assert why in said


def another_planned(home: Path) -> None:
    """Plan another batch beside the one there is, for the same rows: no process works on it."""
    store = SqliteStore(home / "store")
    run = store.find_run("last")
    (batch,) = store.batches(run.id)
    planned = replace(batch, id="another", wave=2, status="planned", token=0, remote=None)
    assert store.add_wave(run, [planned], [])
    store.close()


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
    assert "in_progress · 0/3 · for " in said
    assert "next: look" in said


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
