"""Ctrl-C and SIGTERM: out within seconds, nothing in flight lost, the same command goes on."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings
from anybatch.testing import FakeEndpoint, Stall, matching

from .process import (
    LIMIT_S,
    anybatch,
    asking,
    environment,
    kill,
    report,
    start,
    until,
    write_rows,
)

ROWS = 300
CALLS = 8
OUT_WITHIN_S = 5.0
NOT_AS_ONE_S = 0.6
"""Longer than what makes two signals one."""

TIMED = """
import os, time
from pathlib import Path
from anybatch.cli import main

def left(code, leave=os._exit):
    Path("left-at").write_text(str(time.monotonic()))
    leave(code)

os._exit = left
main()
"""
"""The command line, with a note of when it left: how soon we hear of it is the machine's affair."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])
    return tmp_path


def words(endpoint: FakeEndpoint) -> list[object]:
    return asking(endpoint, "--concurrency", CALLS, "-o", "out.csv")


def begin(*words: object, home: Path, **how: Any) -> subprocess.Popen[bytes]:
    """Start the command line, with a note of when it leaves."""
    return subprocess.Popen(
        [sys.executable, "-c", TIMED, *map(str, words)],
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **how,
    )


def leave(run: subprocess.Popen[bytes], *numbers: signal.Signals, home: Path) -> tuple[float, str]:
    """Send these signals; how long it took to leave, and what was said."""
    began = time.monotonic()
    for number in numbers:
        run.send_signal(number)
    _, said = run.communicate(timeout=LIMIT_S)
    return float((home / "left-at").read_text()) - began, said.decode()


def count_runs(home: Path) -> int:
    workspace = open_workspace(Settings(home=home / "store"))
    count = len(workspace.store.runs())
    workspace.store.close()
    return count


def owners(home: Path) -> set[str | None]:
    """Who holds the batches of the last run."""
    workspace = open_workspace(Settings(home=home / "store"))
    run = workspace.store.find_run("last")
    found = {batch.owner for batch in workspace.store.batches(run.id)}
    workspace.store.close()
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_keeps_what_is_in_flight_and_goes_on(
    number: signal.Signals, home: Path
) -> None:
    with FakeEndpoint(latency=0.05) as endpoint:
        run = begin(*words(endpoint), home=home)
        until(lambda: len(endpoint.ledger.executions) >= 4 * CALLS, what="calls")
        took, said = leave(run, number, home=home)
        executed = len(endpoint.ledger.executions)
        seen = report(anybatch("status", "--json", home=home))
        held = owners(home)
        finished = anybatch(*words(endpoint), "--json", home=home)
        executions = endpoint.ledger.by_prompt

    with open(home / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert run.returncode == 130
    assert took < OUT_WITHIN_S
    assert "run the same command again and it goes on" in said
    assert (seen["status"], seen["counts"]) == ("waiting", {"succeeded": executed})
    assert held == {None}
    assert report(finished)["repeated_at_most"] == 0
    assert [row["id"] for row in rows] == [str(n) for n in range(ROWS)]
    assert executions == {f"Say row {n}": 1 for n in range(ROWS)}


def test_an_interrupted_run_leaves_no_output(home: Path) -> None:
    with FakeEndpoint(latency=0.05) as endpoint:
        run = begin(*words(endpoint), home=home)
        until(lambda: len(endpoint.ledger.executions) >= CALLS, what="calls")
        leave(run, signal.SIGINT, home=home)

    assert not (home / "out.csv").exists()
    assert not list(home.glob(".out*"))


def test_a_service_that_stalls_does_not_hold_us_up(home: Path) -> None:
    with FakeEndpoint(script=matching("row 1", Stall(60))) as endpoint:
        run = begin(*words(endpoint), home=home)
        until(lambda: endpoint.ledger.running >= CALLS, what="stalled calls")
        took, said = leave(run, signal.SIGINT, home=home)
        seen = report(anybatch("status", "--json", home=home))
        answered = [one for one in endpoint.ledger.executions if one.outcome == "answered"]

    assert run.returncode == 130
    assert took < OUT_WITHIN_S
    assert "goes on" in said
    assert seen["counts"] == {"succeeded": len(answered)}
    assert owners(home) == {None}


def test_a_second_ctrl_c_leaves_at_once_and_the_run_still_goes_on(home: Path) -> None:
    with FakeEndpoint(script=[Stall(60)] * CALLS) as endpoint:
        run = begin(*words(endpoint), home=home)
        until(lambda: endpoint.ledger.running >= CALLS, what="stalled calls")
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        while b"once more leaves at once" not in run.stderr.readline():
            pass
        time.sleep(NOT_AS_ONE_S)
        took, _ = leave(run, signal.SIGINT, home=home)
        finished = anybatch(*words(endpoint), "--json", home=home)

    said = report(finished)
    assert run.returncode == 130
    assert took < 2.0
    assert said["counts"] == {"succeeded": ROWS}
    assert said["repeated_at_most"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_at_once_counts_once(number: signal.Signals, home: Path) -> None:
    with FakeEndpoint(latency=1.0) as endpoint:
        run = begin(*words(endpoint), home=home)
        until(lambda: endpoint.ledger.running >= CALLS, what="calls")
        run.send_signal(number)
        assert run.stderr is not None
        while b"once more leaves at once" not in run.stderr.readline():
            pass
        _, said = leave(run, number, home=home)
        seen = report(anybatch("status", "--json", home=home))
        executed = len(endpoint.ledger.executions)

    assert run.returncode == 130
    assert "left at once" not in said
    assert "interrupted  run" in said
    assert seen["counts"] == {"succeeded": executed}
    assert owners(home) == {None}


LATE = """
import os, signal, sys, types
from anybatch.cli.work import Delivery, Pace, work_on

number = getattr(signal, sys.argv[1])

class Late:
    async def fulfil(self, run, *, stop, **_):
        os.kill(os.getpid(), number)
        await stop.wait()
        return run

    def is_at_provider(self, run):
        return False

    def report(self, run):
        os.kill(os.getpid(), number)
        print("reporting", flush=True)
        os._exit(7)

delivery = Delivery(out=None, force=False, raw=False, as_json=False)
run = types.SimpleNamespace(state="open", spec=types.SimpleNamespace(executor="online"))
work_on(Late(), run, pace=Pace(), delivery=delivery)
"""
"""A run that winds down so fast that the second signal meets the report."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_of_two_signals_does_not_cost_the_report(
    number: signal.Signals, tmp_path: Path
) -> None:
    late = subprocess.run(
        [sys.executable, "-c", LATE, number.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert (late.returncode, late.stdout) == (7, "reporting\n"), late.stderr


STUCK = """
import asyncio, os, signal, sys, time
from pathlib import Path
from anybatch.api import Ask
from anybatch.cli.work import Delivery, Pace, work_on
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Workspace
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore

class Stuck(Workspace):
    async def fulfil(self, run, *, stop, **_):
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        if sys.argv[1] == "waits":
            await asyncio.Event().wait()
        time.sleep(60)

def leave(code, leave=os._exit):
    print(time.monotonic() - began, flush=True)
    leave(code)

os._exit = leave
workspace = Stuck(settings=Settings(home=Path("store")), store=SqliteStore(Path("store")))
ask = Ask(model="lab/m", prompt="{{ text }}", base_url="http://127.0.0.1:9/v1")
run = workspace.plan(open_source([{"text": "one"}]), ask.spec()).run
delivery = Delivery(out=None, force=False, raw=False, as_json=True)
began = time.monotonic()
work_on(workspace, run, pace=Pace(), delivery=delivery)
"""
"""An engine that does not heed being told to stop: it waits for ever, or keeps its loop."""


def left_stuck(how: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", STUCK, how],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def test_what_hangs_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    stuck = left_stuck("waits", tmp_path)

    told, took = stuck.stdout.splitlines()
    assert stuck.returncode == 130, stuck.stderr
    assert json.loads(told)["pending"] == 1
    assert "at once;" not in stuck.stderr
    assert float(took) < OUT_WITHIN_S


def test_even_what_keeps_us_from_reporting_is_not_waited_for(tmp_path: Path) -> None:
    stuck = left_stuck("blocks", tmp_path)

    assert stuck.returncode == 130, stuck.stderr
    assert "it goes on" in stuck.stderr.splitlines()[-1]
    assert float(stuck.stdout) < OUT_WITHIN_S


def test_answers_of_a_model_in_this_process_are_broken_off(home: Path) -> None:
    asked = "{{ text }} " + "Think about it. " * 60
    run = begin("run", "in.csv", "--prompt", asked, "--model", "local/smollm2", "--json", home=home)
    until(lambda: (home / "store" / "anybatch.db").exists() and count_runs(home) == 1, what="a run")
    until(lambda: owners(home) != {None}, what="the model at work")

    sent_at = time.monotonic()
    run.send_signal(signal.SIGTERM)
    told, said = run.communicate(timeout=LIMIT_S)

    assert run.returncode == 130
    assert float((home / "left-at").read_text()) - sent_at < OUT_WITHIN_S
    assert json.loads(told)["total"] == ROWS
    assert b"left" not in said
    assert owners(home) == {None}


def test_who_was_told_to_ignore_the_end_of_the_terminal_works_on(home: Path) -> None:
    write_rows(home / "in.csv", ["one", "two"])
    with FakeEndpoint(latency=0.5) as endpoint:
        run = begin(
            *words(endpoint),
            home=home,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
        until(lambda: endpoint.ledger.running >= 2, what="calls")
        _, said = leave(run, signal.SIGHUP, home=home)

    assert run.returncode == 0, said
    assert "stopping" not in said


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGTERM], [signal.SIGHUP]],
    ids=lambda numbers: "+".join(number.name for number in numbers),
)
def test_a_run_that_is_stopped_while_it_is_planned_never_was(
    numbers: list[signal.Signals], tmp_path: Path
) -> None:
    home = long_to_plan(tmp_path)
    runs = home / "store" / "runs"

    with FakeEndpoint() as endpoint:
        run = begin(*asking(endpoint), home=home)
        until(lambda: any(runs.glob("*/requests.jsonl")), what="planning")
        took, said = leave(run, *numbers, home=home)

    assert run.returncode == 130
    assert took < OUT_WITHIN_S
    assert said.splitlines()[-1] == "anybatch: interrupted: nothing was sent"
    assert count_runs(home) == 0
    assert len(numbers) > 1 or list(runs.iterdir()) == []


def test_what_a_kill_left_of_a_plan_is_swept_away(tmp_path: Path) -> None:
    home = long_to_plan(tmp_path)
    runs = home / "store" / "runs"

    with FakeEndpoint() as endpoint:
        run = start(*asking(endpoint), home=home)
        until(lambda: any(runs.glob("*/requests.jsonl")), what="planning")
        kill(run)
        left = count_runs(home)
        write_rows(home / "in.csv", ["one"])
        anybatch(*asking(endpoint), home=home)

    assert left == 0
    assert len(list(runs.iterdir())) == 1


def long_to_plan(home: Path) -> Path:
    write_rows(home / "in.csv", ["a text that takes a while to plan"] * 400_000)
    return home


CUT_SHORT = """
import os, signal, sys
from anybatch.cli import main
from anybatch.engine.workspace import Workspace

number = getattr(signal, sys.argv.pop(1))
joined = Workspace.joined

def cut_short(self, run):
    yield next(joined(self, run))
    os.kill(os.getpid(), number)
    yield [["never"]]

Workspace.joined = cut_short
main()
"""
"""The command line, signalled while it writes a table."""


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGINT, "out.csv"),
        (signal.SIGHUP, "out.parquet"),
        (signal.SIGTERM, "out.xlsx"),
        (signal.SIGTERM, "out.csv"),
    ],
)
def test_a_table_that_is_cut_short_leaves_nothing_behind(
    number: signal.Signals, name: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.csv", ["one", "two"])
    with FakeEndpoint() as endpoint:
        told = anybatch(*asking(endpoint), home=tmp_path)
        before = set(tmp_path.iterdir())
        by_run = cut_short(number, *asking(endpoint, "-o", name), home=tmp_path)
        by_results = cut_short(number, "results", "-o", name, home=tmp_path)

    assert told.returncode == 0
    assert set(tmp_path.iterdir()) == before
    assert (by_run.returncode, by_results.returncode) == (130, 130)
    assert "the table is not written; get it with: anybatch results" in by_run.stderr
    assert by_results.stderr == "anybatch: interrupted\n"


def cut_short(
    number: signal.Signals, *words: object, home: Path
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", CUT_SHORT, number.name, *map(str, words)],
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
