"""What is unusual about a run is said once while it goes on, and at its end."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from anybatch.cli.progress import LiveDisplay, PlainDisplay
from anybatch.cli.report import print_report, report_json
from anybatch.core.ledger import reckoned
from anybatch.core.model import Run, Spec
from anybatch.core.states import exit_code
from anybatch.engine.events import Progress, Report, progress
from anybatch.testing import FakeOpenAI, Mangled

from .process import anybatch, report, write_rows
from .remotely import TEXTS, asking

RUN = Run(
    id="run-1",
    created_at=datetime(2026, 11, 20, tzinfo=UTC),
    source="in.csv",
    spec=Spec(provider="openai", model="m", api="openai.chat"),
    fingerprint="f",
    parts={},
    columns=("text",),
    total=9,
)
LOOK = progress(RUN, [])
SLOW, STUCK = "batch b1 is slow in in_progress: x", "batch b2 is stuck in validating: y"


def looks() -> list[Progress]:
    late = [(), (SLOW,), (SLOW,), (SLOW, STUCK), (STUCK,), (SLOW,)]
    return [replace(LOOK, late=lines) for lines in late]


def test_a_log_has_a_line_for_each_batch_that_takes_too_long() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)

    for look in looks():
        display.update(look)

    said = [line for line in stream.getvalue().splitlines() if " b" in line]
    assert said == [f"run run-1: {SLOW}", f"run run-1: {STUCK}"]


def test_a_log_goes_on_when_rows_are_tried_again_that_all_had_an_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter([100.0, 101.0, 102.0, 120.0])
    monkeypatch.setattr("anybatch.cli.progress.time.monotonic", lambda: next(now))
    stream = io.StringIO()
    display = PlainDisplay(stream)
    all_failed = replace(LOOK, counts={"network": 9})

    for look in (LOOK, all_failed, all_failed, all_failed):
        display.update(look)

    # The end of a wave is news at once; from then on it is said every few seconds again.
    assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["0/9", "9/9", "9/9"]


def test_so_has_a_terminal() -> None:
    stream = io.StringIO()
    display = LiveDisplay(Console(file=stream, force_terminal=True, width=120))

    for look in looks():
        display.update(look)
    display.end()

    assert (stream.getvalue().count(SLOW), stream.getvalue().count(STUCK)) == (1, 1)


NOTHING = reckoned([], None, valid=0)


def told(given: Report) -> str:
    stream = io.StringIO()
    print_report(given, on=Console(file=stream, width=200))
    return stream.getvalue()


def test_the_report_says_how_many_batches_were_late() -> None:
    given = Report(progress=LOOK, cost=NOTHING, repeated=0, were_late={"slow": 2, "stuck": 1})

    assert "for a while at their provider: 2 batches slow, 1 batch stuck" in told(given)
    assert report_json(given, out=None)["were_late"] == {"slow": 2, "stuck": 1}


def test_what_is_ambiguous_comes_with_the_way_on() -> None:
    counts = {"succeeded": 8, "ambiguous": 1}
    look = replace(LOOK, run=RUN, status="partial", counts=counts)  # type: ignore[arg-type]

    assert "anybatch retry run-1 --only ambiguous" in told(
        Report(progress=look, cost=NOTHING, repeated=0)
    )
    assert exit_code(look.status, look.counts) == 6


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", TEXTS)
    return tmp_path


def test_results_that_are_set_aside_make_a_run_partial(home: Path) -> None:
    asked: set[str] = set()

    def once(call: object) -> Mangled | None:
        first, text = len(asked) == 0, str(getattr(call, "prompt", ""))
        asked.add(text)
        return Mangled("contradicted") if first else None

    with FakeOpenAI(rows=once) as fake:
        finished = anybatch(*asking(fake, "-o", "out.csv", "--json"), home=home)
        shown = anybatch("results", "last", home=home)

    said = json.loads(finished.stdout.splitlines()[-1])
    assert (said["status"], said["counts"]) == ("partial", {"succeeded": len(TEXTS)})
    assert said["set_aside"] >= 1
    assert (finished.returncode, shown.returncode) == (3, 3)


def test_what_is_to_stay_at_the_provider_stays_there(home: Path) -> None:
    with FakeOpenAI() as fake:
        kept = anybatch(*asking(fake, "--keep-remote"), home=home)
        left = len(fake.ledger.leftover_files)
        anybatch(*asking(fake, "--again"), home=home)
        in_all = len(fake.ledger.leftover_files)

    assert kept.returncode == 0
    assert (left, in_all) == (2, 2)
    assert report(anybatch("status", "--json", home=home))["status"] == "ok"
