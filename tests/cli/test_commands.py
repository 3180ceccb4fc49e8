"""The commands that look at runs, and those that change them."""

import hashlib
import json
import shlex
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from anybatch.core.states import RunState
from anybatch.engine.workspace import open_workspace
from anybatch.errors import BadSettings
from anybatch.settings import Settings
from anybatch.testing import FakeEndpoint, Script, Stall, Status, first_of, matching

from .process import LIMIT_S, anybatch, asking, kill, report, start, until, write_rows

TEXTS = ["one", "two", "three"]
ROWS = 200


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", TEXTS)
    return tmp_path


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def once(*failing: str) -> Script:
    """A refusal for the first call of each of these bodies; asked again, they are answered."""
    return first_of(
        *(matching(text, Status(400, message="not today"), times=1) for text in failing)
    )


def killed_run(home: Path, endpoint: FakeEndpoint, *more: object) -> None:
    """A run that nobody works on any more, with calls that were under way."""
    run = start(*asking(endpoint, *more), home=home)
    until(lambda: endpoint.ledger.running > 0, what="a call")
    kill(run)


def books(home: Path) -> list[str]:
    """All that the store holds: its database as text, and its files."""
    with closing(sqlite3.connect(home / "store" / "anybatch.db")) as db:
        rows = list(db.iterdump())
    return [*rows, *sorted(map(str, (home / "store" / "runs").rglob("*")))]


# --- looking ---


def test_runs_are_listed_newest_first(home: Path, endpoint: FakeEndpoint) -> None:
    first = report(anybatch(*asking(endpoint, "--json"), home=home))
    second = report(anybatch(*asking(endpoint, "--again", "--json"), home=home))

    listed = json.loads(anybatch("runs", "--json", home=home).stdout)
    shown = anybatch("runs", home=home).stdout.splitlines()

    assert [run["id"] for run in listed] == [second["id"], first["id"]]
    assert listed[0]["counts"] == {"succeeded": len(TEXTS)}
    assert listed[0]["model"] == "fake/fake-1"
    assert [line.split()[0] for line in shown] == ["run", second["id"], first["id"]]
    assert (
        len({line.index(word) for line, word in zip(shown, ("status", "ok", "ok"), strict=True)})
        == 1
    )


def test_a_store_without_runs_says_so(tmp_path: Path) -> None:
    finished = anybatch("runs", home=tmp_path)

    assert (finished.returncode, finished.stdout) == (0, "")
    assert "no runs" in finished.stderr


def test_folders_that_the_database_does_not_know_are_named(
    home: Path, endpoint: FakeEndpoint
) -> None:
    run = report(anybatch(*asking(endpoint, "--json"), home=home))["id"]
    for k in range(4):
        (home / "store" / "runs" / f"lost-{k}").mkdir()

    listed = anybatch("runs", "--json", home=home)

    assert [run["id"] for run in json.loads(listed.stdout)] == [run]
    (line,) = listed.stderr.splitlines()
    assert "4 folders in" in line
    assert "lost-0, lost-1, lost-2, …" in line
    assert "Restore anybatch.db from a backup, or remove them" in line


def test_a_store_whose_database_was_deleted_is_not_begun_anew(
    home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint), home=home)
    for file in (home / "store").glob("anybatch.db*"):
        file.unlink()

    finished = anybatch(*asking(endpoint), home=home)

    assert finished.returncode == 4
    (line,) = finished.stderr.splitlines()
    assert "is gone, and 1 run lies beside it" in line
    assert "Restore it from a backup, or move that folder away" in line


def test_status_adds_up(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    said = report(anybatch("status", "--json", home=home))
    shown = anybatch("status", home=home).stdout

    assert said["status"] == "ok"
    assert sum(said["counts"].values()) + said["pending"] == said["total"] == len(TEXTS)
    assert sum(sum(batch["counts"].values()) for batch in said["batches"]) == len(TEXTS)
    assert "3 rows = 3 succeeded" in shown
    assert "3/3" in shown


def test_a_run_is_named_by_the_start_of_its_id(home: Path, endpoint: FakeEndpoint) -> None:
    run = report(anybatch(*asking(endpoint, "--json"), home=home))["id"]

    said = report(anybatch("status", run[:6], "--json", home=home))

    assert said["id"] == run


def test_results_come_as_json_lines(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    rows = lines(anybatch("results", "--json", home=home).stdout)

    assert [row["text"] for row in rows] == TEXTS
    assert [row["answer"] for row in rows] == [f"echo: Say {text}" for text in TEXTS]
    assert not list(home.glob("*.jsonl"))


def test_show_request_prints_the_bytes_that_went_out(home: Path, endpoint: FakeEndpoint) -> None:
    write_rows(home / "in.csv", ['a "quoted" größe 🎈', "two"])
    anybatch(*asking(endpoint, "--labels", "a,b", "--set", "temperature=0.5"), home=home)

    shown = [anybatch("show-request", "last", n, home=home).stdout for n in (0, 1)]

    went_out = {one.sha for one in endpoint.ledger.executions}
    assert {hashlib.sha256(body.encode()).hexdigest() for body in shown} == went_out


def test_a_request_comes_as_json_with_where_it_belongs(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    said = report(anybatch("show-request", "last", 1, "--json", home=home))

    body = anybatch("show-request", "last", 1, home=home).stdout
    run = json.loads(anybatch("status", "--json", home=home).stdout)["id"]
    assert said == {"run": run, "n": 1, "api": "openai.chat", "body": json.loads(body)}


def test_watch_follows_a_run_to_its_end(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(ROWS)])

    with FakeEndpoint(latency=0.02) as endpoint:
        run = start(*asking(endpoint, "--concurrency", 4), home=home)
        until(lambda: len(endpoint.ledger.executions) > 0, what="a call")
        watched = anybatch("watch", "last", home=home)
        run.communicate(timeout=LIMIT_S)

    assert watched.returncode == run.returncode == 0
    assert f"{ROWS} rows = {ROWS} succeeded" in watched.stderr


def test_watch_tells_machines_a_line_whenever_something_changes(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(ROWS)])

    with FakeEndpoint(latency=0.04) as endpoint:
        run = start(*asking(endpoint, "--concurrency", 4, "--json"), home=home)
        until(lambda: len(endpoint.ledger.executions) > 0, what="a call")
        watched = anybatch("watch", "--json", home=home)
        said, _ = run.communicate(timeout=LIMIT_S)

    told = lines(watched.stdout)
    assert (watched.returncode, watched.stderr) == (0, "")
    assert len(told) > 2
    assert all(one != following for one, following in pairwise(told))
    assert {one["status"] for one in told[:-1]} == {"running"}
    assert told[-1] == {**json.loads(said), "waiting": None}


def test_a_run_of_which_nobody_is_at_work_waits(home: Path) -> None:
    with FakeEndpoint(script=[Stall(60)] * len(TEXTS)) as endpoint:
        run = start(*asking(endpoint), home=home)
        until(lambda: endpoint.ledger.running > 0, what="a call")
        at_work = [report(anybatch("status", "--json", home=home)), *lists(home)]
        kill(run)
        dead = [report(anybatch("status", "--json", home=home)), *lists(home)]
        table = anybatch("runs", home=home).stdout.splitlines()

    assert [one["status"] for one in at_work] == ["running"] * 2
    assert [one["status"] for one in dead] == ["waiting"] * 2
    assert table[1].split()[1] == "waiting"


def lists(home: Path) -> list[dict[str, object]]:
    """What `runs` says to machines."""
    told: list[dict[str, object]] = json.loads(anybatch("runs", "--json", home=home).stdout)
    return told


def test_watch_tells_machines_why_nothing_happens(home: Path) -> None:
    with FakeEndpoint(script=[Stall(60)] * len(TEXTS)) as endpoint:
        killed_run(home, endpoint)

    watching = start("watch", "--json", home=home)
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=LIMIT_S)

    assert first["waiting"] == "for a process to take it up again"
    assert first["pending"] == len(TEXTS)


def test_watch_says_so_if_nobody_works_on_the_run(home: Path) -> None:
    with FakeEndpoint(script=[Stall(60)] * len(TEXTS)) as endpoint:
        killed_run(home, endpoint)

    watching = start("watch", home=home)
    assert watching.stderr is not None
    first = watching.stderr.readline().decode()
    watching.send_signal(signal.SIGINT)
    _, rest = watching.communicate(timeout=LIMIT_S)

    assert "waiting: for a process to take it up again" in first
    assert rest.decode().splitlines()[-1] == "anybatch: interrupted"
    assert watching.returncode == 130


# --- changing ---


def test_retry_asks_again_for_the_rows_of_an_outcome_and_no_others(home: Path) -> None:
    with FakeEndpoint(script=once("two", "three")) as endpoint:
        before = anybatch(*asking(endpoint), home=home)
        after = anybatch("retry", "last", "--only", "bad_request", "-o", "out.jsonl", home=home)
        executions = endpoint.ledger.by_prompt

    rows = lines((home / "out.jsonl").read_text())
    assert (before.returncode, after.returncode) == (3, 0)
    assert "asks again for 2 rows" in after.stderr
    assert "3 rows = 3 succeeded" in after.stderr
    assert [row["answer"] for row in rows] == [f"echo: Say {text}" for text in TEXTS]
    assert executions == {f"Say {text}": 1 for text in TEXTS}


def test_the_report_says_how_to_ask_again(home: Path) -> None:
    with FakeEndpoint(script=matching("two", Status(404, code="model_not_found"))) as endpoint:
        finished = anybatch(*asking(endpoint), home=home)
        run = report(anybatch("status", "--json", home=home))["id"]

    assert f"anybatch retry {run} --only not_found_model" in finished.stderr


def test_a_running_run_is_cancelled_from_another_process(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(ROWS)])

    with FakeEndpoint(latency=0.05) as endpoint:
        run = start(*asking(endpoint, "--concurrency", 2, "-o", "out.csv"), home=home)
        until(lambda: len(endpoint.ledger.executions) > 4, what="calls")
        cancelled = anybatch("cancel", "last", "--json", home=home)
        run.communicate(timeout=LIMIT_S)
        executions = endpoint.ledger.executions

    counts = report(cancelled)["counts"]
    assert cancelled.returncode == 0
    assert run.returncode == 3
    assert report(cancelled)["status"] == "cancelled"
    assert set(counts) == {"succeeded", "cancelled"}
    assert counts["succeeded"] == len(executions) < ROWS
    assert sum(counts.values()) == ROWS
    assert len((home / "out.csv").read_text().splitlines()) == ROWS + 1


def test_an_idle_run_is_cancelled_and_sends_nothing_more(home: Path) -> None:
    with FakeEndpoint(key="right") as endpoint:
        write_rows(home / "in.csv", [f"row {n}" for n in range(20)])
        words = asking(endpoint, "--concurrency", 1)
        anybatch(*words, home=home, FAKE_API_KEY="wrong")
        cancelled = anybatch("cancel", "last", home=home)
        again = anybatch(*words, home=home, FAKE_API_KEY="right")

    assert cancelled.returncode == 0
    assert "cancelled" in cancelled.stderr
    assert "nothing is left to do" in again.stderr
    assert endpoint.ledger.executions == ()


def test_to_cancel_takes_no_provider(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    write_rows(home / "in.csv", TEXTS)

    with FakeEndpoint(script=[Stall(60)] * len(TEXTS)) as endpoint:
        (home / "anybatch.toml").write_text(f'[providers.lab]\nbase_url = "{endpoint.base_url}"\n')
        words = ["run", "in.csv", "--prompt", "Say {{ text }}", "--model", "lab/fake-1"]
        run = start(*words, home=home)
        until(lambda: endpoint.ledger.running > 0, what="a call")
        kill(run)
        received = endpoint.ledger.received
        store = str(home / "store")
        cancelled = anybatch("cancel", "last", "--json", home=elsewhere, ANYBATCH_HOME=store)

        assert cancelled.returncode == 0, cancelled.stderr
        assert report(cancelled)["status"] == "cancelled"
        assert report(cancelled)["counts"] == {"cancelled": len(TEXTS)}
        assert endpoint.ledger.received == received


def states(home: Path) -> list[RunState]:
    with closing(open_workspace(Settings(home=home / "store")).store) as store:
        return [run.state for run in store.runs()]


@pytest.fixture
def half_cancelled(home: Path) -> Iterator[str]:
    """A run whose canceller died at once: it is marked, and nobody winds it up."""
    with FakeEndpoint(script=[Stall(60)] * len(TEXTS)) as endpoint:
        killed_run(home, endpoint)
        workspace = open_workspace(Settings(home=home / "store"))
        run = workspace.ask_to_cancel(workspace.store.find_run("last"))
        workspace.store.close()
        yield shlex.join(map(str, asking(endpoint)))
    assert run.state == "cancelling"


@pytest.mark.usefixtures("half_cancelled")
def test_of_a_run_that_is_being_cancelled_the_way_on_is_to_cancel_it(home: Path) -> None:
    shown = anybatch("status", home=home).stdout
    refused = anybatch("retry", "last", "--only", "network", home=home)
    ended = anybatch("cancel", "last", home=home)

    run = report(anybatch("status", "--json", home=home))["id"]
    assert f"anybatch cancel {run} sees the cancelling to its end" in shown
    assert "run the same command again" not in shown
    assert refused.returncode == 1
    assert ended.returncode == 0
    assert states(home) == ["ended"]


def test_the_command_of_a_run_that_is_being_cancelled_sees_that_to_its_end(
    home: Path, half_cancelled: str
) -> None:
    with FakeEndpoint() as endpoint:
        again = anybatch(*shlex.split(half_cancelled), home=home)

    assert "is being cancelled" in again.stderr
    assert "nothing is left to do" not in again.stderr
    assert again.returncode == 3
    assert states(home) == ["ended"]
    assert endpoint.ledger.received == 0


def test_what_is_over_cannot_be_cancelled(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    finished = anybatch("cancel", "last", home=home)

    assert finished.returncode == 0
    assert "nothing to cancel" in finished.stderr
    assert "3 rows = 3 succeeded" in finished.stderr


def test_rm_forgets_a_run_with_its_files(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    finished = anybatch("rm", "last", "--yes", home=home)

    assert finished.returncode == 0
    assert "is gone" in finished.stderr
    assert json.loads(anybatch("runs", "--json", home=home).stdout) == []
    assert list((home / "store" / "runs").iterdir()) == []


def test_rm_tells_machines_what_is_gone(home: Path, endpoint: FakeEndpoint) -> None:
    run = report(anybatch(*asking(endpoint, "--json"), home=home))["id"]

    finished = anybatch("rm", "last", "--yes", "--json", home=home)

    assert report(finished) == {"id": run, "removed": True, "left_there": None}
    assert finished.stderr == ""


def test_rm_without_a_terminal_wants_yes(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)
    before = books(home)

    refused = anybatch("rm", "last", home=home)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert "--yes" in refused.stderr
    assert books(home) == before


def test_without_its_key_a_run_is_neither_reopened_nor_retried(home: Path) -> None:
    with FakeEndpoint(key="right") as endpoint:
        far = endpoint.base_url.replace("127.0.0.1", "0.0.0.0")
        provider = {"base_url": far, "key_env": "KEY"}
        (home / "anybatch.toml").write_text(
            "[providers.far]\n" + "".join(f'{name} = "{is_}"\n' for name, is_ in provider.items())
        )
        words = ["run", "in.csv", "--prompt", "Say {{ text }}", "--model", "far/fake-1"]
        anybatch(*words, home=home, KEY="wrong")
        before = books(home)
        typed = anybatch(*words, home=home)
        retried = anybatch("retry", "last", "--only", "auth", home=home)
        workspace = open_workspace(Settings(home=home / "store", providers={"far": provider}))
        run = workspace.store.find_run("last")
        with pytest.raises(BadSettings, match="needs a key"):
            workspace.reopen(run)
        workspace.store.close()

    assert run.state == "stopped"
    assert [typed.returncode, retried.returncode] == [1, 1]
    assert "needs a key" in typed.stderr
    assert "needs a key" in retried.stderr
    assert books(home) == before


def test_rm_leaves_alone_what_another_process_works_on(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(ROWS)])

    with FakeEndpoint(latency=0.05) as endpoint:
        run = start(*asking(endpoint, "--concurrency", 8), home=home)
        until(lambda: len(endpoint.ledger.executions) > 0, what="a call")
        refused = anybatch("rm", "last", "--yes", home=home)
        seen = anybatch("status", "last", home=home)
        run.communicate(timeout=LIMIT_S)

    assert refused.returncode == 1
    assert "being worked on" in refused.stderr
    assert "anybatch watch" in seen.stdout
    assert run.returncode == 0
