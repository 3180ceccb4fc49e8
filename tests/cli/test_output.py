"""`-o FILE`: what stands there already, what cannot be written, and two who write the same."""

import csv
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anybatch.testing import Answer, Call, FakeEndpoint, Stall, Status, matching

from .process import (
    LIMIT_S,
    anybatch,
    asking,
    command,
    environment,
    kill,
    report,
    start,
    until,
    write_rows,
)

TEXTS = ["one", "two", "three"]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", TEXTS)
    return tmp_path


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written, even with the same content."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def answers(path: Path) -> list[str]:
    with open(path, newline="") as file:
        return [row["answer"] for row in csv.DictReader(file)]


def runs(home: Path) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(anybatch("runs", "--json", home=home).stdout)
    return listed


def visible(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()} - {"store"}


# --- the table is there already ---


@pytest.mark.parametrize("out", ["out.csv", "out.json", "out.jsonl", "out.parquet", "out.xlsx"])
def test_a_finished_command_typed_again_leaves_its_table_as_it_is(
    out: str, home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint, "-o", out), home=home)
    before = stamp(home / out)

    again = anybatch(*asking(endpoint, "-o", out), home=home)

    assert again.returncode == 0, again.stderr
    assert f"{out} holds this table already" in again.stderr
    assert stamp(home / out) == before
    assert len(endpoint.ledger.executions) == len(TEXTS)
    assert visible(home) == {"in.csv", out}


@pytest.mark.parametrize("data", ["-", "requests.jsonl"])
def test_so_does_one_whose_data_only_its_rows_can_tell(data: str, home: Path) -> None:
    body = {"model": "fake-1", "messages": [{"role": "user", "content": "hi"}]}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (home / "requests.jsonl").write_text(json.dumps(request) + "\n")

    with FakeEndpoint() as endpoint:
        model = ["--base-url", endpoint.base_url, "-o", "out.csv"]
        ask = ["--model", "fake"] if data != "-" else ["--model", "fake/f", "--prompt", "{{ a }}"]
        codes = [
            anybatch("run", data, *ask, *model, home=home, stdin="a\n1\n").returncode
            for _ in range(2)
        ]

    assert codes == [0, 0]
    assert len(endpoint.ledger.executions) == 1


def test_its_exit_code_is_the_run_s_and_its_report_says_where_the_table_is(home: Path) -> None:
    with FakeEndpoint(script=matching("two", Status(400))) as endpoint:
        anybatch(*asking(endpoint, "-o", "out.csv"), home=home)
        again = anybatch(*asking(endpoint, "-o", "out.csv", "--json"), home=home)

    assert again.returncode == 3
    assert report(again)["out"] == "out.csv"
    assert report(again)["counts"] == {"succeeded": 2, "bad_request": 1}


def test_results_leave_the_same_table_too(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint, "-o", "out.csv"), home=home)
    before = stamp(home / "out.csv")

    again = anybatch("results", "-o", "out.csv", home=home)

    assert (again.returncode, again.stderr) == (0, "out.csv holds this table already\n")
    assert stamp(home / "out.csv") == before


def test_force_writes_the_same_table_anew(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint, "-o", "out.csv"), home=home)
    before = stamp(home / "out.csv")

    forced = anybatch(*asking(endpoint, "-o", "out.csv", "--force"), home=home)

    assert "written to out.csv" in forced.stderr
    assert stamp(home / "out.csv") != before


# --- something else is there ---


def test_a_table_that_was_edited_is_kept_and_the_report_comes_out(
    home: Path, endpoint: FakeEndpoint
) -> None:
    first = report(anybatch(*asking(endpoint, "-o", "out.csv", "--json"), home=home))
    (home / "out.csv").write_text("mine\n")

    again = anybatch(*asking(endpoint, "-o", "out.csv", "--json"), home=home)

    assert again.returncode == 1
    assert report(again) == {**first, "out": None}
    assert "'out.csv' exists" in again.stderr.splitlines()[-1]
    assert (home / "out.csv").read_text() == "mine\n"
    assert visible(home) == {"in.csv", "out.csv"}


@pytest.mark.parametrize(
    ("data", "more"), [("in.csv", []), ("-", []), ("in.csv", ["--again"])], ids=str
)
def test_a_file_in_the_way_of_a_new_run_is_told_before_anything_is_sent(
    data: str, more: list[str], home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint, "--prompt", "Other {{ text }}"), home=home)
    received = endpoint.ledger.received
    (home / "out.csv").write_text("mine\n")

    refused = anybatch(
        *asking(endpoint, "-o", "out.csv", *more, data=data), home=home, stdin="text\nx\n"
    )

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert "'out.csv' exists" in refused.stderr
    assert endpoint.ledger.received == received
    assert len(runs(home)) == 1


def test_a_file_in_the_way_of_a_run_that_would_go_on_is_told_before_anything_is_sent(
    home: Path,
) -> None:
    with FakeEndpoint(script=[Stall(60)] * len(TEXTS)) as endpoint:
        run = start(*asking(endpoint), home=home)
        until(lambda: endpoint.ledger.running > 0, what="a call")
        kill(run)
        received = endpoint.ledger.received
        (home / "out.csv").write_text("mine\n")
        refused = anybatch(*asking(endpoint, "-o", "out.csv"), home=home)

        assert refused.returncode == 1
        assert endpoint.ledger.received == received
        assert [run["status"] for run in runs(home)] == ["waiting"]


def test_a_file_in_the_way_of_a_retry_is_told_before_anything_is_planned(
    home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint, "-o", "out.csv"), home=home)
    before = runs(home)

    refused = anybatch("retry", "last", "--only", "succeeded", "-o", "out.csv", home=home)

    assert refused.returncode == 1
    assert "'out.csv' exists" in refused.stderr
    assert runs(home) == before


# --- it cannot be written after all ---


def appears(home: Path) -> None:
    (home / "to" / "out.csv").write_text("theirs\n")


def goes(home: Path) -> None:
    (home / "to").rmdir()


@pytest.mark.parametrize(
    ("happens", "says"), [(appears, "exists"), (goes, "does not exist")], ids=["in the way", "gone"]
)
@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_what_cannot_be_delivered_is_reported_all_the_same(
    happens: Callable[[Path], None], says: str, as_json: bool, home: Path
) -> None:
    (home / "to").mkdir()

    def answer(call: Call) -> Answer:
        if call.prompt.endswith("three"):
            happens(home)
        return Answer("yes")

    with FakeEndpoint(answer=answer) as endpoint:
        words = asking(endpoint, "-o", "to/out.csv", *["--json"] * as_json)
        finished = anybatch(*words, home=home)

    run = str(runs(home)[0]["id"])
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("anybatch: ")
    assert says in finished.stderr.splitlines()[-1]
    if as_json:
        assert report(finished)["id"] == run
        assert report(finished)["counts"] == {"succeeded": len(TEXTS)}
        assert report(finished)["out"] is None
    else:
        assert f"get it with: anybatch results {run} -o FILE" in finished.stderr
        assert "written to" not in finished.stderr


def test_a_full_disk_costs_the_table_and_not_the_report(home: Path, endpoint: FakeEndpoint) -> None:
    write_rows(home / "in.csv", ["a long text " * 40] * 400)
    anybatch(*asking(endpoint), home=home)

    words = command(*asking(endpoint, "-o", "out.csv", "--json"))
    full = subprocess.run(
        ["bash", "-c", 'ulimit -f 100 && exec "$@"', "bash", *words],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    again = anybatch(*asking(endpoint, "-o", "out.csv"), home=home)

    assert full.returncode == 1
    assert report(full)["counts"] == {"succeeded": 400}
    assert "cannot be written" in full.stderr.splitlines()[-1]
    assert again.returncode == 0
    assert len(answers(home / "out.csv")) == 400
    assert visible(home) == {"in.csv", "out.csv"}


# --- two who write to one place ---


def both(
    first: list[object], second: list[object], endpoint: FakeEndpoint, home: Path
) -> list[subprocess.CompletedProcess[str]]:
    """Two commands at work at the same time; what each said."""
    one = start(*first, home=home)
    until(lambda: endpoint.ledger.running > 0, what="the first call")
    other = start(*second, home=home)
    said = [process.communicate(timeout=LIMIT_S) for process in (one, other)]
    return [
        subprocess.CompletedProcess([], process.returncode, out.decode(), error.decode())
        for process, (out, error) in zip((one, other), said, strict=True)
    ]


def test_of_two_processes_at_one_run_both_deliver_the_one_table(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(20)])

    with FakeEndpoint(latency=0.3) as endpoint:
        words = asking(endpoint, "--concurrency", 2, "-o", "out.csv", "--json")
        finished = both(words, words, endpoint, home)

    assert [one.returncode for one in finished] == [0, 0], [one.stderr for one in finished]
    assert [report(one)["out"] for one in finished] == ["out.csv", "out.csv"]
    assert answers(home / "out.csv") == [f"echo: Say row {n}" for n in range(20)]
    assert visible(home) == {"in.csv", "out.csv"}


def test_of_two_runs_with_one_target_one_wins_and_the_other_keeps_its_answers(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(20)])

    with FakeEndpoint(latency=0.3) as endpoint:
        more = ["--concurrency", 2, "-o", "out.csv", "--json"]
        other = [*asking(endpoint, *more), "--prompt", "Tell {{ text }}"]
        finished = both(asking(endpoint, *more), other, endpoint, home)

    loser, winner = sorted(finished, key=lambda one: one.returncode == 0)
    verb = "Say" if winner is finished[0] else "Tell"
    assert [winner.returncode, loser.returncode] == [0, 1]
    assert answers(home / "out.csv") == [f"echo: {verb} row {n}" for n in range(20)]
    assert report(loser)["counts"] == {"succeeded": 20}
    assert report(loser)["out"] is None
    assert "'out.csv' exists" in loser.stderr.splitlines()[-1]
    assert visible(home) == {"in.csv", "out.csv"}


# --- the data is no place for the table ---


def itself(home: Path) -> str:
    return "in.csv"


def by_its_path(home: Path) -> str:
    return str(home / "in.csv")


def linked(home: Path) -> str:
    (home / "link.csv").symlink_to("in.csv")
    return "link.csv"


def hard_linked(home: Path) -> str:
    os.link(home / "in.csv", home / "hard.csv")
    return "hard.csv"


@pytest.mark.parametrize(
    ("data", "out"),
    [
        (["in.csv"], itself),
        (["in.csv"], by_its_path),
        (["in.csv"], linked),
        (["in.csv"], hard_linked),
        (["-"], itself),
        (["--sql", "select * from 'in.csv'"], itself),
        (["--sql", 'select * from "in.csv"'], by_its_path),
    ],
)
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "--force"])
def test_the_data_is_never_written_over(
    data: list[str],
    out: Callable[[Path], str],
    force: list[str],
    home: Path,
    endpoint: FakeEndpoint,
) -> None:
    before = (home / "in.csv").read_bytes()
    name = out(home)

    with open(home / "in.csv") as stdin:
        refused = subprocess.run(
            command("run", *data, *asking(endpoint, "-o", name, *force)[2:]),
            cwd=home,
            env=environment(home),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"anybatch: -o {name!r} is a file that is read; give the table another name\n"
    )
    assert (home / "in.csv").read_bytes() == before
    assert endpoint.ledger.received == 0
    assert not (home / "store").exists()


def test_a_schema_is_never_written_over(home: Path, endpoint: FakeEndpoint) -> None:
    (home / "schema.json").write_text('{"type": "object"}')

    refused = anybatch(
        *asking(endpoint, "--schema", "schema.json", "-o", "schema.json", "--force"), home=home
    )

    assert refused.returncode == 1
    assert "is a file that is read" in refused.stderr
    assert (home / "schema.json").read_text() == '{"type": "object"}'
