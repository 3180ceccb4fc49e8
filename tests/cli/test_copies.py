"""Rows that ask the same, and answers of earlier runs: what the command line says and takes."""

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anybatch.testing import FakeEndpoint, Status, matching

from .killing import books_agree
from .process import anybatch, asking, kill, report, start, until, write_rows

TEXTS = ["a", "b", "a", "c", "a", "b"]
SETTLED = ("--set", "temperature=0")


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", TEXTS)
    return tmp_path


def table(home: Path) -> list[dict[str, str]]:
    with open(home / "out.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_end_says_how_much_was_not_sent(home: Path, endpoint: FakeEndpoint) -> None:
    finished = anybatch(*asking(endpoint, "-o", "out.csv"), home=home)
    looked = anybatch("status", home=home)
    said = report(anybatch("status", "--json", home=home))

    assert finished.returncode == 0
    for text in (finished.stderr, looked.stdout):
        assert "6 rows = 6 succeeded" in text
        assert "not sent: 3 of 6 (50%): 3 asked by another row as well" in text
    assert (said["total"], said["copies"], said["reused"], said["spared_share"]) == (6, 3, 0, 0.5)
    assert [row["answer"] for row in table(home)] == [f"echo: Say {text}" for text in TEXTS]
    assert len(endpoint.ledger.executions) == 3


def test_each_row_is_asked_for_itself_with_no_dedupe(home: Path, endpoint: FakeEndpoint) -> None:
    finished = anybatch(*asking(endpoint, "--no-dedupe", "--json"), home=home)

    assert report(finished)["copies"] == 0
    assert len(endpoint.ledger.executions) == 6


def test_answers_of_an_earlier_run_are_taken_over(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint, *SETTLED), home=home)
    write_rows(home / "in.csv", ["b", "d", "a", "a"])
    finished = anybatch(*asking(endpoint, *SETTLED, "--reuse", "-o", "out.csv"), home=home)
    said = report(anybatch("status", "--json", home=home))
    looked = anybatch("status", home=home).stdout.splitlines()

    assert ["reused", "2/2"] in [line.split()[2:4] for line in looked]
    whys = "1 asked by another row as well, 2 answered by earlier runs"
    assert f"not sent: 3 of 4 (75%): {whys}" in finished.stderr
    assert (said["copies"], said["reused"]) == (1, 2)
    assert [row["answer"][-1] for row in table(home)] == ["b", "d", "a", "a"]
    assert len(endpoint.ledger.executions) == 4


def test_what_is_left_to_chance_is_taken_only_by_asking_for_it(
    home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint), home=home)
    refused = anybatch(*asking(endpoint, "--reuse", "--again"), home=home)
    taken = anybatch(*asking(endpoint, "--reuse-always", "--again", "--json"), home=home)

    assert refused.returncode == 1
    assert "--set temperature=0 if the model takes it, or --reuse-always" in refused.stderr
    assert report(taken)["reused"] == 3
    assert len(endpoint.ledger.executions) == 3


def ready(name: str, text: str) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_ready_made_requests_with_equal_bodies_keep_their_names(
    home: Path, endpoint: FakeEndpoint
) -> None:
    lines = [ready(f"name-{n}", text) for n, text in enumerate(TEXTS)]
    (home / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["run", "in.jsonl", "--model", "fake", "--base-url", endpoint.base_url]
    finished = anybatch(*words, home=home)
    bodies = anybatch("results", "--bodies", home=home).stdout.splitlines()
    shown = anybatch("show-request", "last", "4", home=home).stdout

    assert finished.returncode == 0
    assert [json.loads(line)["custom_id"] for line in bodies] == [
        f"name-{n}" for n in range(len(TEXTS))
    ]
    said = [json.loads(line)["response"]["body"]["choices"][0]["message"] for line in bodies]
    assert [message["content"] for message in said] == [f"echo: {text}" for text in TEXTS]
    assert json.loads(shown)["messages"][0]["content"] == "a"
    assert len(endpoint.ledger.executions) == 3


def test_a_row_that_fails_fails_for_all_and_is_asked_again_for_all(home: Path) -> None:
    with FakeEndpoint(script=matching("Say a", Status(400), times=1)) as endpoint:
        first = anybatch(*asking(endpoint, "--json"), home=home)
        again = anybatch("retry", "last", "--only", "bad_request", "--json", home=home)
        executions = len(endpoint.ledger.executions)

    assert (first.returncode, report(first)["counts"]) == (3, {"succeeded": 3, "bad_request": 3})
    assert "asks again for 3 rows" in again.stderr
    assert (again.returncode, report(again)["counts"]) == (0, {"succeeded": 6})
    assert executions == 3


ROWS, KINDS = 120, 50


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_run_with_equal_rows_gives_each_its_answer(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    write_rows(tmp_path / "in.csv", [f"row {n % KINDS}" for n in range(ROWS)])
    with FakeEndpoint(latency=0.004) as endpoint:
        words = asking(endpoint, "-o", "out.csv", "--force", "--json", "--concurrency", 6)
        for _ in range(chance.randint(1, 2)):
            process = start(*words, home=tmp_path)
            wanted = len(endpoint.ledger.executions) + chance.randint(0, KINDS // 2)
            until(
                lambda wanted=wanted, process=process: (  # type: ignore[misc]
                    len(endpoint.ledger.executions) >= wanted or process.poll() is not None
                ),
                what="the moment to kill",
            )
            kill(process)
        finished = anybatch(*words, home=tmp_path)
        executions = len(endpoint.ledger.executions)

    said = report(finished)
    assert said["counts"] == {"succeeded": ROWS}
    assert [row["answer"] for row in table(tmp_path)] == [
        f"echo: Say row {n % KINDS}" for n in range(ROWS)
    ]
    assert books_agree(tmp_path)
    assert executions - KINDS <= said["repeated_at_most"]
