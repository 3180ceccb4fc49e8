"""Ctrl-C and SIGTERM: out within seconds, nothing in flight lost, the same command goes on."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings
from anybatch.testing import FakeEndpoint, Stall, matching

from .process import LIMIT_S, anybatch, asking, report, start, until, write_rows

ROWS = 300
CALLS = 8
OUT_WITHIN_S = 5.0
NOT_AS_ONE_S = 0.6
"""Longer than what makes two signals one."""
SLACK_S = 2.0
"""For what is not waiting: Python's own way out, on a machine that is busy with other tests."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])
    return tmp_path


def words(endpoint: FakeEndpoint) -> list[object]:
    return asking(endpoint, "--concurrency", CALLS, "-o", "out.csv")


def leave(run: subprocess.Popen[bytes], *numbers: signal.Signals) -> tuple[float, str]:
    """Send these signals; how long it took to leave, and what was said."""
    began = time.monotonic()
    for number in numbers:
        run.send_signal(number)
    _, said = run.communicate(timeout=LIMIT_S)
    return time.monotonic() - began, said.decode()


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_is_in_flight_and_goes_on(
    number: signal.Signals, home: Path
) -> None:
    with FakeEndpoint(latency=0.05) as endpoint:
        run = start(*words(endpoint), home=home)
        until(lambda: len(endpoint.ledger.executions) >= 4 * CALLS, what="calls")
        took, said = leave(run, number)
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
    assert seen["counts"] == {"succeeded": executed}
    assert held == {None}
    assert report(finished)["repeated_at_most"] == 0
    assert [row["id"] for row in rows] == [str(n) for n in range(ROWS)]
    assert executions == {f"Say row {n}": 1 for n in range(ROWS)}


def test_an_interrupted_run_leaves_no_output(home: Path) -> None:
    with FakeEndpoint(latency=0.05) as endpoint:
        run = start(*words(endpoint), home=home)
        until(lambda: len(endpoint.ledger.executions) >= CALLS, what="calls")
        leave(run, signal.SIGINT)

    assert not (home / "out.csv").exists()
    assert not list(home.glob(".out*"))


def test_a_service_that_stalls_does_not_hold_us_up(home: Path) -> None:
    with FakeEndpoint(script=matching("row 1", Stall(60))) as endpoint:
        run = start(*words(endpoint), home=home)
        until(lambda: endpoint.ledger.running >= CALLS, what="stalled calls")
        took, said = leave(run, signal.SIGINT)
        seen = report(anybatch("status", "--json", home=home))
        answered = [one for one in endpoint.ledger.executions if one.outcome == "answered"]

    assert run.returncode == 130
    assert took < OUT_WITHIN_S + SLACK_S
    assert "goes on" in said
    assert seen["counts"] == {"succeeded": len(answered)}
    assert owners(home) == {None}


def test_a_second_ctrl_c_leaves_at_once_and_the_run_still_goes_on(home: Path) -> None:
    with FakeEndpoint(script=[Stall(60)] * CALLS) as endpoint:
        run = start(*words(endpoint), home=home)
        until(lambda: endpoint.ledger.running >= CALLS, what="stalled calls")
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        while b"once more leaves at once" not in run.stderr.readline():
            pass
        time.sleep(NOT_AS_ONE_S)
        took, _ = leave(run, signal.SIGINT)
        finished = anybatch(*words(endpoint), "--json", home=home)

    said = report(finished)
    assert run.returncode == 130
    assert took < 2.0
    assert said["counts"] == {"succeeded": ROWS}
    assert said["repeated_at_most"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_at_once_counts_once(number: signal.Signals, home: Path) -> None:
    with FakeEndpoint(latency=1.0) as endpoint:
        run = start(*words(endpoint), home=home)
        until(lambda: endpoint.ledger.running >= CALLS, what="calls")
        run.send_signal(number)
        assert run.stderr is not None
        while b"once more leaves at once" not in run.stderr.readline():
            pass
        _, said = leave(run, number)
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
import asyncio, os, signal, types
from anybatch.cli.work import Delivery, Pace, work_on

class Stuck:
    async def fulfil(self, run, **_):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

delivery = Delivery(out=None, force=False, raw=False, as_json=False)
run = types.SimpleNamespace(state="open", spec=types.SimpleNamespace(executor="online"))
work_on(Stuck(), run, pace=Pace(), delivery=delivery)
"""
"""An engine that does not heed being told to stop, as one whose model hangs may not."""


def test_what_hangs_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()

    stuck = subprocess.run(
        [sys.executable, "-c", STUCK], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S
    )

    assert stuck.returncode == 130
    assert "it goes on" in stuck.stderr.splitlines()[-1]
    assert time.monotonic() - began < OUT_WITHIN_S + SLACK_S


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGTERM], [signal.SIGKILL]],
    ids=lambda numbers: "+".join(number.name for number in numbers),
)
def test_a_run_that_is_stopped_while_it_is_planned_never_was(
    numbers: list[signal.Signals], tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.csv", ["a text that takes a while to plan"] * 400_000)
    runs = tmp_path / "store" / "runs"

    with FakeEndpoint() as endpoint:
        run = start(*asking(endpoint), home=tmp_path)
        until(lambda: any(runs.glob("*/requests.jsonl")), what="planning")
        took, said = leave(run, *numbers)
        left = count_runs(tmp_path)
        write_rows(tmp_path / "in.csv", ["one"])
        anybatch(*asking(endpoint), home=tmp_path)

    assert run.returncode == (130 if signal.SIGINT in numbers else -numbers[0])
    assert took < OUT_WITHIN_S
    assert "Traceback" not in said
    assert left == 0
    assert len(list(runs.iterdir())) == 1
