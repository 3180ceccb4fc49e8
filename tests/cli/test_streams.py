"""Where the command line writes: what stderr does not take is let go; of stdout it is told."""

import subprocess
from pathlib import Path
from typing import IO

import pytest

from anybatch.testing import FakeEndpoint

from .process import LIMIT_S, anybatch, asking, command, environment, report, write_rows

FULL = "/dev/full"
UNREAD = 141
A_LOT = 400


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", ["one", "two"])
    return tmp_path


def shell(line: str, *words: object, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run `line` in a shell, in which `"$@"` are these words of the command line."""
    return subprocess.run(
        ["bash", "-c", line, "bash", *command(*words)],
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def last_line(finished: "subprocess.CompletedProcess[str]") -> str:
    return finished.stderr.splitlines()[-1]


NO_SPACE = "anybatch: cannot write to stdout: no space left on device; send it somewhere else"


@pytest.mark.parametrize(
    "more", [("-o", "-"), ("--json",), ("--json", "-o", "out.csv")], ids=" ".join
)
def test_a_full_stdout_is_told_in_one_line_once_the_run_is_reported(
    more: tuple[str, ...], home: Path
) -> None:
    with FakeEndpoint() as endpoint:
        finished = shell(f'"$@" > {FULL}', *asking(endpoint, *more), home=home)

    assert finished.returncode == 1
    assert last_line(finished) == NO_SPACE
    assert report(anybatch("status", "--json", home=home))["counts"] == {"succeeded": 2}


@pytest.mark.parametrize(
    "words",
    [("runs",), ("runs", "--json"), ("status",), ("results",), ("show-request", "last", "0")],
    ids=" ".join,
)
def test_commands_that_look_say_so_of_a_full_stdout(words: tuple[str, ...], home: Path) -> None:
    with FakeEndpoint() as endpoint:
        anybatch(*asking(endpoint), home=home)

    finished = shell(f'"$@" > {FULL}', *words, home=home)

    assert finished.returncode == 1
    assert finished.stderr.splitlines() == [NO_SPACE]


def test_even_help_says_so_of_a_full_stdout(home: Path) -> None:
    finished = shell(f'"$@" > {FULL}', "--help", home=home)

    assert (finished.returncode, last_line(finished)) == (1, NO_SPACE)


@pytest.mark.parametrize("log", [f"2> {FULL}", "2>&-", "2>&- <&- >&-", "2> >(exit)"])
def test_a_log_that_takes_nothing_stops_no_work(log: str, home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(A_LOT)])
    with FakeEndpoint(latency=0.01) as endpoint:
        finished = shell(f'"$@" {log}', *asking(endpoint, "-o", "out.csv"), home=home)

    assert finished.returncode == 0
    assert len((home / "out.csv").read_text().splitlines()) == A_LOT + 1


def test_a_log_that_takes_nothing_leaves_the_exit_code_as_it_is(home: Path) -> None:
    finished = shell(f'"$@" 2> {FULL}', "status", "last", home=home)

    assert finished.returncode == 1


def test_a_table_that_is_not_read_to_its_end_is_reported_and_said_by_the_exit_code(
    home: Path,
) -> None:
    write_rows(home / "in.csv", ["a long text " * 40] * A_LOT)
    with FakeEndpoint() as endpoint:
        words = asking(endpoint, "-o", "-")
        read = unread(*words, home=home)
        again = unread("results", home=home)
        whole = anybatch("results", home=home)

    assert (read.returncode, again.returncode, whole.returncode) == (UNREAD, UNREAD, 0)
    assert "400 rows = 400 succeeded" in read.stderr
    assert "the table is not written; get it with: anybatch results" in last_line(read)
    assert again.stderr == ""


def unread(*words: object, home: Path) -> "subprocess.CompletedProcess[str]":
    """What becomes of a command of whose output one line is read."""
    started = subprocess.Popen(
        command(*words),
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = _stream(started.stdout).readline()
    assert first.startswith("id,text,answer")
    _stream(started.stdout).close()
    said = _stream(started.stderr).read()
    code = started.wait(timeout=LIMIT_S)
    _stream(started.stderr).close()
    return subprocess.CompletedProcess(started.args, code, first, said)


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@pytest.mark.parametrize("words", ["runs", "runs --json", "status --json"])
def test_what_nobody_reads_at_all_is_said_by_the_exit_code(words: str, home: Path) -> None:
    with FakeEndpoint() as endpoint:
        anybatch(*asking(endpoint), home=home)

    finished = shell('(sleep 0.2; "$@"; echo $? > code) | true', *words.split(), home=home)

    assert (home / "code").read_text().strip() == str(UNREAD)
    assert finished.stderr == ""
