"""A run belongs to an account for as long as anything of it may lie there; what is refused changes
nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anybatch.store.sqlite import SqliteStore
from anybatch.testing import FakeAnthropic, FakeGemini, FakeOpenAI, ManualClock

from .process import anybatch, kill, report, start, until
from .remotely import TEXTS, WORKS_S, asking, batch_in, home_in, killed_if_lost, service

FIRST = {"OPENAI_API_KEY": "key-of-the-first", "OPENAI_ORG_ID": "org-1"}
SECOND = {**FIRST, "OPENAI_API_KEY": "key-of-the-second"}
ELSEWHERE = {**FIRST, "OPENAI_ORG_ID": "org-2", "OPENAI_PROJECT_ID": "proj-2"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_in(tmp_path)


@pytest.fixture
def works() -> Iterator[tuple[FakeOpenAI, ManualClock]]:
    with service() as given:
        yield given


def left_alone(fake: FakeOpenAI, home: Path) -> None:
    """A run under the first key that nobody works on any more, while the service does."""
    run = start(*asking(fake), home=home, **FIRST)
    with killed_if_lost(run):
        until(lambda: fake.ledger.operations.get("poll", 0) > 0, what="a look at the batch")
        until(lambda: batch_in(home).status == "in_progress", what="what was seen to be kept")
    kill(run)


def written(home: Path) -> Any:
    """What the store has of the last run."""
    store = SqliteStore(home / "store")
    try:
        run = store.find_run("last")
        return run, store.batches(run.id)
    finally:
        store.close()


@pytest.mark.parametrize(
    ("words", "other"),
    [(["cancel", "last"], SECOND), (["run"], ELSEWHERE)],
    ids=["cancel", "run"],
)
def test_a_command_under_another_account_is_refused_and_changes_nothing(
    words: list[str], other: dict[str, str], home: Path, works: tuple[FakeOpenAI, ManualClock]
) -> None:
    fake, clock = works
    left_alone(fake, home)
    before = written(home)
    asked = asking(fake, "--no-canary", "--keep-remote") if words == ["run"] else words

    refused = anybatch(*asked, home=home, **other)
    after = written(home)
    clock.advance(WORKS_S)
    finished = report(anybatch(*asking(fake, "--json"), home=home, **FIRST))

    assert refused.returncode == 1
    assert "made with another" in refused.stderr
    assert after == before
    assert finished["counts"] == {"succeeded": len(TEXTS)}


def test_what_differs_is_named(home: Path, works: tuple[FakeOpenAI, ManualClock]) -> None:
    fake, _ = works
    left_alone(fake, home)

    elsewhere = anybatch(*asking(fake), home=home, **ELSEWHERE).stderr
    other = anybatch(*asking(fake), home=home, **SECOND).stderr

    assert (
        "another organization (org-1; the present one is org-2) and "
        "project (none; the present one is proj-2)" in elsewhere
    )
    assert "another key, or at another address (" in other
    assert "organization" not in other
    assert "key-of" not in other


@pytest.mark.parametrize(
    ("new", "provider", "rows_a_batch"),
    [
        (FakeOpenAI, "openai", 1),  # the breaker stops it
        (FakeOpenAI, "openai", 10),
        (FakeAnthropic, "anthropic", 10),
        (FakeGemini, "gemini", 1),
    ],
)
def test_after_a_wrong_key_the_same_command_goes_on_with_the_right_one(
    new: Any, provider: str, rows_a_batch: int, home: Path
) -> None:
    variable = f"{provider.upper()}_API_KEY"
    (home / "anybatch.toml").write_text(
        f"[providers.{provider}]\nbatch_requests = {rows_a_batch}\n"
    )
    with new(key="right") as fake:
        ask = ["--prompt", "Say {{ text }}", "--model", f"{provider}/m", "--executor", "batch"]
        words = ["run", "in.csv", *ask, "--base-url", fake.base_url, "--json"]
        wrong = report(anybatch(*words, home=home, **{variable: "wrong"}))
        right = report(anybatch(*words, home=home, **{variable: "right"}))
        batches = len(fake.ledger.batches)

    assert wrong["counts"].get("succeeded") is None
    assert right["counts"] == {"succeeded": len(TEXTS)}
    assert right["id"] == wrong["id"]
    assert batches <= len(TEXTS)


@pytest.mark.parametrize(
    "words", [["cancel"], ["retry", "--only", "auth"]], ids=["cancel", "retry"]
)
def test_so_do_the_others_that_change_a_run(words: list[str], home: Path) -> None:
    with FakeOpenAI(key="right") as fake:
        anybatch(*asking(fake), home=home, OPENAI_API_KEY="wrong")
        command, *more = words
        right = anybatch(command, "last", *more, home=home, OPENAI_API_KEY="right")

    assert "made with another" not in right.stderr
    assert right.returncode == 0
