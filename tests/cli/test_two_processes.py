"""Two processes of the command line on one store."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from anybatch.testing import FakeEndpoint

from .process import LIMIT_S, anybatch, report, start, until, write_rows

ROWS = 60


def words(endpoint: FakeEndpoint, home: Path, out: str) -> list[object]:
    model = ["--model", "fake/fake-1", "--base-url", endpoint.base_url, "--concurrency", 4]
    return [
        "run",
        home / "in.csv",
        "--prompt",
        "Say {{ text }}",
        *model,
        "-o",
        home / out,
        "--json",
    ]


def settings(home: Path, *, lease_seconds: float) -> None:
    (home / "anybatch.toml").write_text(f"lease_seconds = {lease_seconds}\n")


def answers(path: Path) -> list[str]:
    with open(path, newline="") as file:
        return [row["answer"] for row in csv.DictReader(file)]


def events(home: Path) -> list[str]:
    with sqlite3.connect(home / "store" / "anybatch.db") as db:
        return [name for (name,) in db.execute("select name from events order by at")]


def stop_between_commits(process: subprocess.Popen[bytes], home: Path) -> None:
    """SIGSTOP where it does not hold the database: else everybody waits for it to go on."""
    with closing(sqlite3.connect(home / "store" / "anybatch.db", timeout=0.1)) as db:
        db.isolation_level = None
        while True:
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # the signal takes a moment to arrive
            try:
                db.execute("begin immediate")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                continue
            db.execute("rollback")
            return


def test_two_processes_on_one_store_never_ask_the_same_twice(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])

    with FakeEndpoint(latency=0.01) as endpoint:
        first = start(*words(endpoint, tmp_path, "a.csv"), home=tmp_path)
        until(lambda: len(endpoint.ledger.executions) > 0, what="the first call")
        second = start(*words(endpoint, tmp_path, "b.csv"), home=tmp_path)
        codes = [process.wait(LIMIT_S) for process in (first, second)]
        executions = endpoint.ledger.executions
    first.communicate()
    second.communicate()

    assert codes == [0, 0]
    assert len(executions) == ROWS
    assert answers(tmp_path / "a.csv") == answers(tmp_path / "b.csv")
    assert answers(tmp_path / "a.csv") == [f"echo: Say row {n}" for n in range(ROWS)]


@pytest.mark.parametrize("turn", range(3))
def test_two_that_start_the_same_new_command_at_once_share_one_run(
    turn: int, tmp_path: Path
) -> None:
    rows = 500
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(rows)])

    with FakeEndpoint(latency=0.002) as endpoint:
        both = [start(*words(endpoint, tmp_path, f"{n}.csv"), home=tmp_path) for n in range(2)]
        said = [json.loads(process.communicate(timeout=LIMIT_S)[0]) for process in both]
        executions = endpoint.ledger.by_prompt

    assert [process.returncode for process in both] == [0, 0]
    assert said[0]["id"] == said[1]["id"]
    assert len(json.loads(anybatch("runs", "--json", home=tmp_path).stdout)) == 1
    assert [path.name for path in (tmp_path / "store" / "runs").iterdir()] == [said[0]["id"]]
    assert executions == {f"Say row {n}": 1 for n in range(rows)}


def test_an_owner_that_slept_past_its_lease_is_fenced_off(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])
    settings(tmp_path, lease_seconds=0.6)

    with FakeEndpoint(latency=0.02) as endpoint:
        sleeper = start(*words(endpoint, tmp_path, "a.csv"), home=tmp_path)
        until(lambda: len(endpoint.ledger.executions) > 8, what="some calls")
        stop_between_commits(sleeper, tmp_path)
        taker = anybatch(*words(endpoint, tmp_path, "b.csv"), home=tmp_path)
        sleeper.send_signal(signal.SIGCONT)
        code = sleeper.wait(LIMIT_S)
        executed = len(endpoint.ledger.executions)
    sleeper.communicate()

    assert taker.returncode == code == 0
    assert report(taker)["counts"] == {"succeeded": ROWS}
    assert executed - ROWS <= report(taker)["repeated_at_most"]
    assert answers(tmp_path / "b.csv") == [f"echo: Say row {n}" for n in range(ROWS)]
    assert answers(tmp_path / "a.csv") == answers(tmp_path / "b.csv")
    assert {"batch.recovered", "batch.lost"} <= set(events(tmp_path))
