"""`anybatch gc --remote`: uploads of ours that nobody waits for any more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from anybatch.core.marks import upload_name
from anybatch.testing import FakeOpenAI, ManualClock, Status

from ..testing.plain import lines as as_lines
from ..testing.plain import row, send_file, upload
from .process import anybatch, report
from .remotely import WORKS_S, asking, home_in, left_alone, service

CONTENT = as_lines([row("a")])
LOOK_ALIKE = "What other stores have there under the same account looks alike"


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


def lost(fake: FakeOpenAI, batch_id: str) -> str:
    """The id of an upload for a batch that this store does not know."""
    return str(send_file(fake, CONTENT, filename=upload_name(batch_id)).json["id"])


def names(fake: FakeOpenAI) -> set[str]:
    return {file.filename for file in fake.ledger.leftover_files}


def gc(fake: FakeOpenAI, *more: object) -> list[object]:
    return ["gc", "--remote", "openai", "--base-url", fake.base_url, *more]


def test_without_yes_orphans_are_listed_and_nothing_is_deleted(
    home: Path, fake: FakeOpenAI
) -> None:
    orphans = [lost(fake, "0ddba11e-1-0"), lost(fake, "0ddba11e-2-0-deadbeef")]

    finished = anybatch(*gc(fake), home=home)

    assert finished.returncode == 0
    assert {line.split()[0] for line in finished.stdout.splitlines()} == set(orphans)
    assert "2 files at openai that no run here waits for" in finished.stderr
    assert f"nothing is deleted. {LOOK_ALIKE}" in finished.stderr
    assert "--yes" in finished.stderr
    assert len(fake.ledger.leftover_files) == 2


def test_with_yes_they_are_deleted(home: Path, fake: FakeOpenAI) -> None:
    orphan = lost(fake, "0ddba11e-1-0")

    finished = anybatch(*gc(fake, "--yes"), home=home)

    name = upload_name("0ddba11e-1-0")
    assert finished.stdout == f"{orphan}  {name}  deleted\n"
    assert LOOK_ALIKE not in finished.stderr
    assert fake.ledger.leftover_files == ()


def test_what_does_not_bear_our_mark_is_left_alone(home: Path, fake: FakeOpenAI) -> None:
    upload(fake, CONTENT)
    send_file(fake, CONTENT, filename="anybatch.jsonl")
    send_file(fake, CONTENT, filename="my-anybatch-1-1-0.jsonl")
    before = names(fake)

    finished = anybatch(*gc(fake, "--yes"), home=home)

    assert "nothing of ours is left over at openai" in finished.stderr
    assert names(fake) == before


def test_the_upload_of_a_run_under_way_is_left_alone(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)
    (ours,) = names(fake)
    orphan = lost(fake, "0ddba11e-1-0")

    said = report(anybatch(*gc(fake, "--yes", "--json"), home=home))

    assert [(one["id"], one["deleted"]) for one in said["orphans"]] == [(orphan, True)]
    assert said["in_use"] == 1
    assert names(fake) == {ours}


def test_the_upload_of_a_run_that_was_forgotten_is_an_orphan(home: Path, fake: FakeOpenAI) -> None:
    left_alone(fake, home)
    (ours,) = names(fake)
    anybatch("rm", "last", "--yes", home=home)

    said = report(anybatch(*gc(fake, "--json"), home=home))

    assert [one["name"] for one in said["orphans"]] == [ours]


def test_the_run_goes_on_beside_it(home: Path, works: tuple[FakeOpenAI, ManualClock]) -> None:
    fake, clock = works
    left_alone(fake, home)
    anybatch(*gc(fake, "--yes"), home=home)

    clock.advance(WORKS_S)
    finished = anybatch(*asking(fake), home=home)

    assert finished.returncode == 0, finished.stderr


def test_what_cannot_be_deleted_is_said_and_the_rest_is(home: Path) -> None:
    with service(faults={"delete": [Status(403, message="not yours")]}) as (fake, _):
        lost(fake, "0ddba11e-1-0")
        lost(fake, "0ddba11e-2-0")
        finished = anybatch(*gc(fake, "--yes"), home=home)

    assert finished.returncode == 4
    assert finished.stdout.count("not deleted: HTTP 403: not yours") == 1
    assert finished.stdout.count("  deleted\n") == 1


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (["--remote", "local"], "has no batch API that we know of", 1),
        (["--remote", "nobody"], "'nobody'", 1),
        ([], "'--remote'", 1),
    ],
)
def test_a_provider_may_have_nothing_to_clean_up(
    words: list[str], says: str, code: int, home: Path
) -> None:
    finished = anybatch("gc", *words, home=home)

    assert finished.returncode == code
    assert says in finished.stderr


def test_a_refusal_says_what_to_do(home: Path) -> None:
    with service(key="right") as (fake, _):
        finished = anybatch(*gc(fake), home=home, OPENAI_API_KEY="wrong")

    assert finished.returncode == 4
    assert finished.stderr.count("\n") == 1
    assert "openai: HTTP 401" in finished.stderr
    assert "check the key" in finished.stderr
