"""What a run leaves at its provider: nothing, or `gc` and `rm` find it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anybatch.testing import FakeAnthropic, FakeGemini, FakeOpenAI, ManualClock, Phases, Status

from ..testing.messages import create, poll, row
from .process import anybatch, kill, report, start, until
from .remotely import TEXTS, WORKS_S, asking, batch_in, home_in, killed_if_lost, left_alone, service


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


def gc(fake: FakeOpenAI, *more: object) -> list[object]:
    return [*gc_of("openai", fake), *more]


def over(home: Path, fake: FakeOpenAI, clock: ManualClock, *more: object) -> None:
    """A run whose batch the service has worked off."""
    left_alone(fake, home)
    clock.advance(WORKS_S)
    anybatch(*asking(fake, *more), home=home)


def test_what_a_run_was_told_to_keep_is_kept_until_the_run_is_gone(
    home: Path, works: tuple[FakeOpenAI, ManualClock]
) -> None:
    fake, clock = works
    over(home, fake, clock, "--keep-remote")
    before = {file.id for file in fake.ledger.leftover_files}

    said = report(anybatch(*gc(fake, "--yes", "--json"), home=home))
    told = anybatch(*gc(fake, "--yes"), home=home)
    kept = {file.id for file in fake.ledger.leftover_files}
    anybatch("rm", "last", "--yes", home=home)
    after = report(anybatch(*gc(fake, "--yes", "--json"), home=home))

    assert len(before) == 2
    assert (said["orphans"], {one["id"] for one in said["kept"]}) == ([], before)
    assert "kept: its run has --keep-remote" in told.stdout
    assert kept == before
    assert {one["id"] for one in after["orphans"] if one["deleted"]} == before
    assert fake.ledger.leftover_files == ()


def test_results_of_a_run_that_is_gone_are_found_by_the_mark_of_their_batch(
    home: Path, works: tuple[FakeOpenAI, ManualClock]
) -> None:
    fake, clock = works
    left_alone(fake, home)
    gone = anybatch("rm", "last", "--yes", home=home)
    going = report(anybatch(*gc(fake, "--json"), home=home))
    clock.advance(WORKS_S)

    said = report(anybatch(*gc(fake, "--yes", "--json"), home=home))

    (batch,) = fake.ledger.batches
    assert f"still running there, and paid for: {batch.id}" in gone.stderr
    assert going["running"] == [batch.id]
    assert sorted(one["name"].split()[0] for one in said["orphans"])[1] == "results"
    assert all(one["deleted"] for one in said["orphans"])
    assert fake.ledger.leftover_files == ()
    assert report(anybatch(*gc(fake, "--json"), home=home))["orphans"] == []


@pytest.mark.parametrize(
    ("new", "provider"),
    [(FakeAnthropic, "anthropic"), (FakeGemini, "gemini")],
)
def test_batches_that_hold_their_results_are_told_by_the_names_in_them(
    new: Any, provider: str, home: Path
) -> None:
    with new() as fake:
        anybatch(*asking_of(provider, fake.base_url), "--keep-remote", home=home)
        kept = report(anybatch(*gc_of(provider, fake), "--yes", "--json", home=home))
        elsewhere = home / "elsewhere"
        elsewhere.mkdir()
        listed = report(anybatch(*gc_of(provider, fake), "--json", home=elsewhere))
        said = report(anybatch(*gc_of(provider, fake), "--yes", "--json", home=elsewhere))
        again = report(anybatch(*gc_of(provider, fake), "--json", home=elsewhere))

    assert kept["orphans"] == []
    assert [one["deleted"] for one in listed["orphans"]] == [False]
    assert [one["deleted"] for one in said["orphans"]] == [True]
    assert [one["id"] for one in kept["kept"]] == [one["id"] for one in said["orphans"]]
    assert again["orphans"] == []


def asking_of(provider: str, base_url: str) -> list[object]:
    ask = ["--prompt", "Say {{ text }}", "--model", f"{provider}/m", "--executor", "batch"]
    return ["run", "in.csv", *ask, "--base-url", base_url]


def gc_of(provider: str, fake: Any) -> list[object]:
    return ["gc", "--remote", provider, "--base-url", fake.base_url]


def test_batches_of_others_that_hold_their_results_are_left_alone(home: Path) -> None:
    with FakeAnthropic() as fake:
        theirs = create(fake, [row("theirs")])
        said = report(anybatch(*gc_of("anthropic", fake), "--yes", "--json", home=home))
        left = poll(fake, theirs)

    assert said["orphans"] == []
    assert left["processing_status"] == "ended"


# --- a run that stopped ---------------------------------------------------------------------------


def test_a_run_that_stopped_has_left_nothing_there(home: Path) -> None:
    broke = Status(402, code="insufficient_quota", message="no credit left")
    (home / "anybatch.toml").write_text("[providers.openai]\nbatch_requests = 1\n")
    with service(faults={"create": [broke] * 9}) as (fake, _):
        stopped = anybatch(*asking(fake), home=home)
        batches = report(anybatch("status", "--json", home=home))["batches"]
        uploads = fake.ledger.operations["upload"]
        left = fake.ledger.leftover_files

    assert stopped.returncode == 4
    assert uploads == len(TEXTS)
    assert {(batch["status"], batch["next"]) for batch in batches} == {("cleaned", None)}
    assert left == ()


def test_so_has_one_that_its_canary_stopped(home: Path) -> None:
    with service(answer=lambda call: "?", phases=Phases()) as (fake, _):
        stopped = anybatch(*asking(fake, "--labels", "a,b", "--canary", 2), home=home)
        left = fake.ledger.leftover_files

    assert "2 of the first 2 rows have no valid answer" in stopped.stderr
    assert left == ()


# --- rm -------------------------------------------------------------------------------------------


def test_rm_says_what_is_paid_for_and_goes_on_there(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)

    refused = anybatch("rm", "last", home=home)
    listed = anybatch("runs", home=home).stdout

    assert refused.returncode == 1
    assert "1 batch of run" in refused.stderr
    assert "at openai will be paid for" in refused.stderr
    assert "anybatch cancel" in refused.stderr
    assert "openai/m" in listed


def turned_away(fake: FakeOpenAI, home: Path) -> None:
    """A run that nobody works on any more, whose batch is uploaded and was not taken."""
    run = start(*asking(fake), home=home)
    with killed_if_lost(run):
        until(lambda: fake.ledger.operations.get("create", 0) > 0, what="a submission")
        until(lambda: batch_in(home).why is not None, what="a reason")
    kill(run)


def test_rm_deletes_what_a_run_has_left_there(home: Path) -> None:
    with service(max_batches=0) as (fake, _):
        turned_away(fake, home)
        uploaded = len(fake.ledger.leftover_files)
        gone = report(anybatch("rm", "last", "--yes", "--json", home=home))
        left = fake.ledger.leftover_files

    assert uploaded == 1
    assert (gone["removed"], gone["left_there"]) == (True, None)
    assert left == ()


def test_rm_says_what_it_could_not_delete_and_forgets_the_run(home: Path) -> None:
    stays = Status(403, message="not yours")
    with service(max_batches=0, faults={"delete": [stays] * 9}) as (fake, _):
        turned_away(fake, home)
        gone = anybatch("rm", "last", "--yes", home=home)

    assert gone.returncode == 0
    assert "left at openai: not deleted there: file-" in gone.stderr
    assert "not yours" in gone.stderr
    assert "anybatch gc --remote openai" in gone.stderr
