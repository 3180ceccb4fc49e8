"""A disk that is full or read-only stops the program with one line, loses nothing, and goes on."""

import csv
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from anybatch.core.retry import standing
from anybatch.engine.events import repeated
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import Answer, Call, FakeEndpoint

from ..cli.process import anybatch, write_rows

ROWS = 300
LONG = "x" * 4000
"""What makes an answer large: a disk that takes the plan is full half way through the answers."""


class Disk:
    """A small file system of its own."""

    def __init__(self, at: Path) -> None:
        self.at = at

    def mount(self, size: str) -> subprocess.CompletedProcess[bytes]:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.at)]
        return subprocess.run(command, capture_output=True)

    def change(self, option: str) -> None:
        command = ["mount", "-o", f"remount,{option}", str(self.at)]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.at)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    disk.at.mkdir()
    try:
        mounted = disk.mount("1m").returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system of our own needs the right to mount one")
    try:
        yield disk
    finally:
        disk.unmount()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.csv", [f"row {n:03}" for n in range(ROWS)])
    return tmp_path


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    def at_length(call: Call) -> Answer:
        return Answer(f"{call.prompt} {LONG}")

    with FakeEndpoint(answer=at_length) as endpoint:
        yield endpoint


def run(home: Path, endpoint: FakeEndpoint, disk: Disk) -> subprocess.CompletedProcess[str]:
    to = ("--model", "fake/fake-1", "--base-url", endpoint.base_url, "--concurrency", 8)
    out = ("-o", "out.csv", "--force", "--store", disk.at / "store", "--yes")
    return anybatch("run", "rows.csv", "--prompt", "{{ text }}", *to, *out, home=home)


def says_one_line_about(text: str, finished: subprocess.CompletedProcess[str], code: int) -> bool:
    said = finished.stderr.strip().splitlines()
    assert finished.returncode == code, finished.stderr
    assert "Traceback" not in finished.stderr
    assert text in said[-1]
    return True


def answers(home: Path) -> list[str]:
    with (home / "out.csv").open(newline="") as file:
        return [row["answer"] for row in csv.DictReader(file)]


def settled(endpoint: FakeEndpoint) -> int:
    """How many calls it has executed, once it is done with those whose caller has gone."""
    before = -1
    while before != (executed := len(endpoint.ledger.executions)):
        before = executed
        time.sleep(0.5)
    return executed


def test_a_disk_that_fills_up_stops_the_run_and_with_room_it_goes_on(
    home: Path, endpoint: FakeEndpoint, disk: Disk
) -> None:
    full = run(home, endpoint, disk)

    assert says_one_line_about("cannot write", full, 4)
    assert not (home / "out.csv").exists()
    answered = len(endpoint.ledger.executions)
    assert 0 < answered < ROWS

    disk.change("size=64m")
    whole = run(home, endpoint, disk)

    assert whole.returncode == 0, whole.stderr
    assert answers(home) == [f"row {n:03} {LONG}" for n in range(ROWS)]
    with closing(SqliteStore(disk.at / "store")) as store:
        (last,) = store.runs()
        assert standing(store.batches(last.id)) == {"succeeded": ROWS}
        assert endpoint.ledger.repeated <= repeated(store.events(last.id)) <= 2 * 8


def test_a_disk_too_small_for_the_plan_keeps_nothing_of_it(
    home: Path, endpoint: FakeEndpoint, disk: Disk
) -> None:
    write_rows(home / "rows.csv", [f"row {n:03} {LONG}" for n in range(ROWS)])
    full = run(home, endpoint, disk)

    assert says_one_line_about("the disk is full; free some space", full, 4)
    assert list((disk.at / "store" / "runs").iterdir()) == []
    assert endpoint.ledger.received == 0

    disk.change("size=64m")
    whole = run(home, endpoint, disk)

    assert whole.returncode == 0, whole.stderr
    assert endpoint.ledger.repeated == 0


def test_a_store_that_is_read_only_is_named_and_what_is_in_it_comes_out(
    home: Path, endpoint: FakeEndpoint, disk: Disk
) -> None:
    assert run(home, endpoint, disk).returncode == 4  # half of it fits
    executions = settled(endpoint)
    disk.change("ro,size=64m")
    refused = run(home, endpoint, disk)

    assert says_one_line_about(str(disk.at / "store"), refused, 4)
    assert not (home / "out.csv").exists()
    assert settled(endpoint) == executions

    disk.change("rw")
    assert run(home, endpoint, disk).returncode == 0
    (home / "out.csv").unlink()
    disk.change("ro")
    assert run(home, endpoint, disk).returncode == 0
    assert answers(home) == [f"row {n:03} {LONG}" for n in range(ROWS)]


def test_an_output_that_does_not_fit_leaves_the_old_one_alone(
    home: Path, endpoint: FakeEndpoint, disk: Disk
) -> None:
    with FakeEndpoint() as brief:
        to = ("--model", "fake/fake-1", "--base-url", brief.base_url, "--yes")
        asked = ("run", "rows.csv", "--prompt", f"{{{{ text }}}} {LONG}", *to, "--force")
        old = disk.at / "out.csv"
        old.write_text("of yesterday\n")

        full = anybatch(*asked, "-o", old, home=home)

        assert full.returncode != 0
        assert "Traceback" not in full.stderr
        assert "cannot be written" in full.stderr
        assert old.read_text() == "of yesterday\n"
        assert [path.name for path in disk.at.iterdir()] == ["out.csv"]
        disk.change("size=64m")
        assert anybatch(*asked, "-o", old, home=home).returncode == 0
        assert brief.ledger.repeated == 0
