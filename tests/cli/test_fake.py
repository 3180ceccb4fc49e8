"""`anybatch fake`: a provider in a process of its own, found by whoever reads its first line."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anybatch.testing import FakeOpenAI
from anybatch.testing.fakes import FAKES

from ..testing.plain import create, poll, rows
from .process import LIMIT_S, anybatch, report, start, write_rows


class Served:
    """A fake that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.first = process.stdout.readline().decode().strip()
        self._process = process

    def stop(self, how: signal.Signals = signal.SIGINT) -> dict[str, Any]:
        """Stop it; what it has in its books."""
        self._process.send_signal(how)
        out, err = self._process.communicate(timeout=LIMIT_S)
        assert self._process.returncode == 0, err
        self.said = err.decode()
        sums: dict[str, Any] = json.loads(out)
        return sums


@contextmanager
def served(home: Path, *words: object) -> Iterator[Served]:
    process = start("fake", *words, home=home)
    try:
        yield Served(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=LIMIT_S)


def run_at(
    base_url: str, home: Path, *words: object, **extra: str
) -> subprocess.CompletedProcess[str]:
    write_rows(home / "in.csv", ["one", "two", "three"])
    ask = ["run", "in.csv", "--prompt", "Say {{ text }}", "--base-url", base_url, "--json"]
    ask += ["--executor", "batch"]
    return anybatch(*ask, *words, home=home, **extra)


@pytest.mark.parametrize("name", FAKES)
def test_it_prints_its_address_first_how_clients_find_it_and_its_books_last(
    name: str, tmp_path: Path
) -> None:
    with served(tmp_path, name, "--key", "sk-mine") as fake:
        sums = fake.stop(signal.SIGINT)

    address = fake.first[: fake.first.index("/v1")]
    assert address.startswith("http://127.0.0.1:")
    assert (sums["exchanges"], sums["batches"]) == (0, 0)
    assert f"--model {FAKES[name].model} --base-url {fake.first} --executor batch" in fake.said
    assert fake.said.count(address) > 1
    assert '"sk-mine"' in fake.said


@pytest.mark.parametrize("name", FAKES)
def test_the_command_that_it_names_works(name: str, tmp_path: Path) -> None:
    with served(tmp_path, name, "--json") as fake:
        said = json.loads(fake.first)
        words = ["--model", FAKES[name].model]
        finished = run_at(said["base_url"], tmp_path, *words, **said["environment"])
        sums = fake.stop(signal.SIGHUP)

    assert report(finished)["counts"] == {"succeeded": 3}
    assert (sums["batches"], sums["billed"], sums["billed_twice"]) == (1, 3, 0)


def test_its_phases_take_their_time(tmp_path: Path) -> None:
    with served(tmp_path, "openai", "--in-progress", "1000", "--seed", "7") as fake:
        port = int(fake.first.removesuffix("/v1").rpartition(":")[2])
        there = FakeOpenAI(port=port)
        batch = poll(there, create(there, rows(2)))
        sums = fake.stop(signal.SIGTERM)

    assert batch["status"] == "in_progress"
    assert (sums["exchanges"], sums["batches"], sums["leftover_files"]) == (3, 1, 1)


def test_faults_meet_a_run_and_the_books_show_what_they_cost(tmp_path: Path) -> None:
    faults = ["--fault", "create=lost", "--fault", "download=half,ok,cut", "--faults", "0.1"]
    (tmp_path / "anybatch.toml").write_text("search_seconds = 0.3\n")

    with served(tmp_path, "openai", *faults, "--end", "expired:1") as fake:
        finished = run_at(fake.first, tmp_path, "--model", "openai/any", "--tail", "batch")
        sums = fake.stop(signal.SIGHUP)

    assert report(finished)["counts"] == {"succeeded": 3}
    assert (sums["batches"], sums["repeated_batches"]) == (2, 0)
    assert (sums["billed"], sums["leftover_files"]) == (3, 0)


def test_rows_fail_and_the_run_says_so(tmp_path: Path) -> None:
    with served(tmp_path, "anthropic", "--row-faults", "1", "--seed", "2") as fake:
        words = ["--model", "anthropic/any", "--tail", "batch"]
        finished = run_at(fake.first, tmp_path, *words)
        fake.stop()

    assert report(finished)["counts"] == {"bad_request": 2, "refused": 1}


def test_a_limit_is_kept(tmp_path: Path) -> None:
    with served(tmp_path, "gemini", "--limit", "max-inline-bytes=10") as fake:
        finished = run_at(fake.first, tmp_path, "--model", "gemini/any")
        sums = fake.stop()

    assert finished.returncode != 0
    assert sums["billed"] == 0


def test_a_program_reads_where_it_is(tmp_path: Path) -> None:
    with served(tmp_path, "openai", "--json") as fake:
        fake.stop()

    said = json.loads(fake.first)
    assert said["base_url"] == said["address"] + "/v1"
    assert fake.said == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "there is no fake 'nobody'; there are openai,"),
        (["openai", "--fault", "create"], "not of the form OPERATION=FAULT"),
        (["openai", "--fault", "create=fun"], "'fun' is no fault; there are ok, lost"),
        (["openai", "--fault", "fly=lost"], "no operation is called 'fly'; there are cancel"),
        (["openai", "--limit", "max-queued=3"], "it has max-rows=NUMBER"),
        (["openai", "--limit", "max-rows=some"], "it has max-rows=NUMBER"),
        (["anthropic", "--end", "failed"], "one ends as completed, expired, cancelled"),
    ],
)
def test_what_it_is_told_wrongly_is_said_in_a_line(
    words: list[str], said: str, tmp_path: Path
) -> None:
    finished = anybatch("fake", *words, home=tmp_path)

    assert finished.returncode == 1
    assert said in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = anybatch("fake", "openai", "--port", port, home=tmp_path)

    assert finished.returncode == 1
    assert f"port {port} is not to be had" in finished.stderr
