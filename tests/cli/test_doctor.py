"""`anybatch doctor`: each step of a batch of one row, and nothing left behind."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from anybatch.testing import (
    Cut,
    FakeAnthropic,
    FakeGemini,
    FakeOpenAI,
    Fate,
    Fault,
    Mangled,
    Phases,
    Problem,
    Status,
    Unrun,
)

from .process import anybatch, report, start, until
from .remotely import ended
from .terminal import Terminal

ALL = ["key", "reach", "upload", "create", "look", "download", "clean up"]
QUESTION = "Make a batch of one row at openai/m?"


def doctor(fake: FakeOpenAI, *more: object) -> list[object]:
    return ["doctor", "openai", "--base-url", fake.base_url, *more]


def examined(
    home: Path, *more: object, expected: int = 0, **given: Any
) -> tuple[dict[str, Any], FakeOpenAI]:
    """What the doctor says of a service, step by step, and that service."""
    with FakeOpenAI(**given) as fake:
        words = doctor(fake, "--model", "m", "--yes", "--json", *more)
        finished = anybatch(*words, home=home)
    assert finished.returncode == expected, finished.stdout + finished.stderr
    said = report(finished)
    assert said["ok"] == (expected == 0)
    return {step["step"]: step for step in said["steps"]} | {"left": said["left"]}, fake


def nothing_is_left(fake: FakeOpenAI) -> bool:
    over = ("completed", "failed", "expired", "cancelled")
    stages = {batch.stage for batch in fake.ledger.batches}
    return not fake.ledger.leftover_files and stages <= set(over)


def test_a_service_that_works_passes_every_step(tmp_path: Path) -> None:
    said, fake = examined(tmp_path)

    assert list(said) == [*ALL, "left"]
    assert all(said[step]["ok"] and said[step]["seconds"] >= 0 for step in ALL)
    assert said["download"]["said"] == "the row is succeeded"
    assert said["left"] == []
    assert len(fake.ledger.batches) == 1
    assert fake.ledger.billed == 1
    assert nothing_is_left(fake)


@pytest.mark.parametrize("wait", [0, 20])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_every_provider_is_visited_and_left_as_it_was(
    provider: str, wait: int, tmp_path: Path
) -> None:
    fakes: dict[str, Any] = {
        "openai": FakeOpenAI,
        "anthropic": FakeAnthropic,
        "gemini": FakeGemini,
    }
    with fakes[provider](phases=Phases(in_progress=1)) as fake:
        words = ["--model", "m", "--yes", "--wait", wait, "--base-url", fake.base_url]
        finished = anybatch("doctor", provider, *words, home=tmp_path)
        left = fake.ledger.leftover_files

    assert finished.returncode == 0, finished.stdout
    assert ("the row is succeeded" in finished.stdout) == bool(wait)
    assert left == ()


def test_each_step_is_a_line_with_its_time(tmp_path: Path) -> None:
    with FakeOpenAI() as fake:
        finished = anybatch(*doctor(fake, "--model", "openai/m", "--yes"), home=tmp_path)

    lines = finished.stdout.splitlines()
    assert [line[8:].split("  ")[0] for line in lines] == ALL
    assert all(line.startswith("ok ") and " s  " in line for line in lines)


def test_without_a_model_nothing_is_run_and_nothing_is_paid(tmp_path: Path) -> None:
    with FakeOpenAI() as fake:
        finished = anybatch(*doctor(fake), home=tmp_path)

    assert finished.returncode == 0
    assert "with --model it makes a batch of one row" in finished.stdout
    assert fake.ledger.batches == ()
    assert "upload" in finished.stdout
    assert nothing_is_left(fake)


def test_a_batch_that_takes_time_is_waited_for(tmp_path: Path) -> None:
    said, fake = examined(tmp_path, "--wait", 30, phases=Phases(in_progress=1.5))

    assert said["look"]["said"] == "in_progress"
    assert said["wait"]["said"] == "completed"
    assert 1 < said["wait"]["seconds"] < 20
    assert "cancel" not in said
    assert nothing_is_left(fake)


@pytest.mark.parametrize("wait", [0, 1])
def test_a_batch_that_takes_too_long_is_cancelled(wait: int, tmp_path: Path) -> None:
    said, fake = examined(tmp_path, "--wait", wait, phases=Phases(in_progress=900))

    assert ("wait" in said) == bool(wait)
    assert said["cancel"]["said"] == "cancelled"
    assert said["download"]["said"] == "the row is cancelled"
    assert [batch.stage for batch in fake.ledger.batches] == ["cancelled"]
    assert nothing_is_left(fake)


# --- what fails is said, and what was made is taken away ------------------------------------------

UNREADABLE_KEY = Status(401, message="wrong key", code="invalid_api_key")
FAILING: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "a key that is not taken": (
        {"faults": {"list": [UNREADABLE_KEY]}},
        "reach",
        "wrong key",
        "check the key",
    ),
    "files that may not be used": (
        {"faults": {"upload": [Status(403, message="no files")]}},
        "upload",
        "no files",
        "may use files and batches",
    ),
    "no credit": (
        {"faults": {"create": [Status(429, code="insufficient_quota", message="no money")]}},
        "create",
        "no money",
        "add credit",
    ),
    "a model that is not served": (
        {"unbatched_models": ["m"]},
        "look",
        "not supported",
        "check --model",
    ),
    "a batch that is refused": (
        {"batches": [Fate(ends="failed", problems=[Problem(code="x", message="no such luck")])]},
        "look",
        "no such luck",
        "check --model",
    ),
    "too much waiting": (
        {
            "batches": [
                Fate(
                    ends="failed",
                    problems=[Problem(code="token_limit_exceeded", message="queue is full")],
                )
            ]
        },
        "look",
        "queue is full",
        "try again",
    ),
    "a look that fails": (
        {"faults": {"poll": [Status(403, message="do not look")]}},
        "look",
        "do not look",
        "check the key",
    ),
    "results that cannot be had": (
        {"faults": {"download": [Status(403, message="do not read")]}},
        "download",
        "do not read",
        "check the key",
    ),
    "a row that fails": (
        {"rows": lambda call: Status(400, message="bad words")},
        "download",
        "bad words",
        "check --model",
    ),
    "a row that expires": ({"rows": lambda call: Unrun("expired")}, "download", "", "try again"),
    "a row that is not there": (
        {"rows": lambda call: Mangled("missing")},
        "download",
        "no file of results",
        "try again",
    ),
}


@pytest.mark.parametrize(("given", "step", "says", "advice"), FAILING.values(), ids=FAILING.keys())
def test_a_step_that_fails_says_why_and_what_to_do(
    given: dict[str, Any], step: str, says: str, advice: str, tmp_path: Path
) -> None:
    said, fake = examined(tmp_path, expected=4, **given)

    assert [name for name in said if name != "left" and not said[name]["ok"]] == [step]
    assert says in said[step]["said"]
    assert advice in said[step]["advice"]
    assert said["left"] == []
    assert nothing_is_left(fake)


def test_for_people_a_failure_has_its_advice_below(tmp_path: Path) -> None:
    with FakeOpenAI(faults={"upload": [Status(403, message="no files")]}) as fake:
        finished = anybatch(*doctor(fake), home=tmp_path)

    lines = finished.stdout.splitlines()
    (at,) = (place for place, line in enumerate(lines) if line.startswith("FAILED"))
    assert finished.returncode == 4
    assert "HTTP 403: no files" in lines[at]
    assert lines[at + 1].startswith("        check the key")


def test_a_missing_key_is_the_first_thing_said(tmp_path: Path) -> None:
    finished = anybatch("doctor", "openai", home=tmp_path)

    assert finished.returncode == 4
    assert finished.stdout.startswith("FAILED  key ")
    assert "OPENAI_API_KEY" in finished.stdout


def test_an_address_where_nobody_is_says_so(tmp_path: Path) -> None:
    finished = anybatch("doctor", "openai", "--base-url", "http://127.0.0.1:9/v1", home=tmp_path)

    assert finished.returncode == 4
    assert "no connection" in finished.stdout
    assert "check the address" in finished.stdout


@pytest.mark.parametrize(
    "lost",
    [Status(500, executed=True), Cut("executed"), Cut("midway"), Status(502, executed=True)],
    ids=["500", "reset", "half an answer", "502"],
)
def test_a_submission_whose_answer_is_lost_is_found_again(lost: Fault, tmp_path: Path) -> None:
    said, fake = examined(tmp_path, faults={"create": [lost]})

    assert "found again" in said["create"]["said"]
    assert len(fake.ledger.batches) == 1
    assert nothing_is_left(fake)


def test_an_upload_whose_answer_is_lost_is_taken_away(tmp_path: Path) -> None:
    faults = {"upload": [Status(500, executed=True)] * 2}

    _, fake = examined(tmp_path, faults=faults)

    assert len([file for file in fake.ledger.files if file.purpose == "batch"]) == 3
    assert nothing_is_left(fake)


def test_a_submission_that_nobody_finds_is_said_to_be_left_perhaps(tmp_path: Path) -> None:
    faults = {"create": [Status(500)]}

    said, fake = examined(tmp_path, expected=4, faults=faults)

    assert "perhaps a batch of one request" in said["left"][0]
    assert "own pages" in said["create"]["advice"]
    assert fake.ledger.leftover_files == ()


def test_what_cannot_be_taken_away_is_said(tmp_path: Path) -> None:
    faults = {"delete": [Status(403, message="mine")] * 9}

    said, fake = examined(tmp_path, expected=4, faults=faults)

    left = {file.id for file in fake.ledger.leftover_files}
    assert not said["clean up"]["ok"]
    assert {words.split()[0] for words in said["left"]} == left


def test_who_is_interrupted_leaves_nothing_either(tmp_path: Path) -> None:
    with FakeOpenAI(phases=Phases(in_progress=900)) as fake:
        words = doctor(fake, "--model", "m", "--yes", "--wait", 900)
        run = start(*words, home=tmp_path)
        until(lambda: fake.ledger.operations.get("poll", 0) > 0, what="a look at the batch")
        run.send_signal(signal.SIGINT)
        code, said, _ = ended(run)
        stages = [batch.stage for batch in fake.ledger.batches]
        left = fake.ledger.leftover_files

    assert code == 130
    assert "clean up" in said
    assert stages == ["cancelled"]
    assert left == ()


# --- asking -------------------------------------------------------------------------------------


def without_a_terminal(fake: FakeOpenAI, home: Path) -> subprocess.CompletedProcess[str]:
    return anybatch(*doctor(fake, "--model", "m"), home=home)


def test_without_a_terminal_it_takes_a_yes(tmp_path: Path) -> None:
    with FakeOpenAI() as fake:
        finished = without_a_terminal(fake, tmp_path)

    assert (finished.returncode, finished.stdout) == (1, "")
    assert "--yes" in finished.stderr
    assert fake.ledger.exchanges == ()


@pytest.mark.parametrize(("keys", "code", "batches"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0)])
def test_on_a_terminal_one_is_asked_first(
    keys: str, code: int, batches: int, tmp_path: Path
) -> None:
    with FakeOpenAI() as fake:
        terminal = Terminal(*doctor(fake, "--model", "m"), home=tmp_path)
        terminal.read_until(QUESTION)
        terminal.type(keys)
        left_with = terminal.end()

    assert left_with == code
    assert len(fake.ledger.batches) == batches


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["local"], "has no batch API that we know of"),
        (["nobody"], "'nobody'"),
        (["openai", "--wait", "-1"], "'--wait'"),
        ([], "'PROVIDER'"),
    ],
)
def test_a_wrong_call_is_answered_in_one_line(words: list[str], says: str, tmp_path: Path) -> None:
    finished = anybatch("doctor", *words, home=tmp_path)

    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert says in finished.stderr
