"""`anybatch results --bodies`: what the service answered, row by row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Spec
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings
from anybatch.testing import FakeEndpoint, FakeOpenAI, Status, matching

from .process import anybatch, asking, write_rows

TEXTS = ["one", "two", "three"]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", TEXTS)
    return tmp_path


def bodies(home: Path, *more: object) -> list[dict[str, Any]]:
    finished = anybatch("results", "--bodies", *more, home=home)
    return [json.loads(line) for line in finished.stdout.splitlines()]


def request(name: str) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": f"Say {name}"}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def content(line: dict[str, Any]) -> str:
    return str(line["body"]["choices"][0]["message"]["content"])


def test_each_row_has_its_number_and_the_body_of_its_answer(
    home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint), home=home)

    lines = bodies(home)

    assert [line["n"] for line in lines] == [0, 1, 2]
    assert [content(line) for line in lines] == [f"echo: Say {text}" for text in TEXTS]
    assert [list(line) for line in lines] == [
        ["n", "custom_id", "outcome", "status", "body", "failure"]
    ] * 3
    assert {line["status"] for line in lines} == {200}


def test_ready_made_requests_come_back_under_their_own_names(home: Path) -> None:
    names = ["b", "a", "c"]
    given = "".join(json.dumps(request(name)) + "\n" for name in names)
    (home / "in.jsonl").write_text(given)
    with FakeOpenAI() as fake:
        to = ["--model", "openai", "--base-url", fake.base_url, "--executor", "batch"]
        anybatch("run", "in.jsonl", *to, home=home)

    lines = bodies(home)

    assert [line["custom_id"] for line in lines] == names
    assert [content(line) for line in lines] == [f"echo: Say {name}" for name in names]
    assert {line["body"]["object"] for line in lines} == {"chat.completion"}


def test_a_row_that_failed_says_why_and_one_without_an_answer_is_empty(home: Path) -> None:
    with FakeEndpoint(script=matching("two", Status(400, message="not today"))) as endpoint:
        anybatch(*asking(endpoint), home=home)

    failed = bodies(home)[1]

    assert (failed["outcome"], failed["status"], failed["body"]) == ("bad_request", 400, None)
    assert "not today" in failed["failure"]["message"]


def test_a_run_that_nobody_worked_on_has_a_line_for_each_row(home: Path) -> None:
    workspace = open_workspace(Settings(home=home / "store"))
    nowhere = "http://127.0.0.1:9/v1"
    spec = Spec(provider="x", model="m", api="openai.chat", prompt="x", base_url=nowhere)
    workspace.plan(open_source(home / "in.csv"), spec)
    workspace.store.close()

    lines = bodies(home)

    empty = {"custom_id": None, "outcome": None, "status": None, "body": None, "failure": None}
    assert lines == [{"n": n, **empty} for n in range(len(TEXTS))]


def test_bodies_can_go_to_a_file(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    finished = anybatch("results", "--bodies", "-o", "out.jsonl", home=home)
    again = anybatch("results", "--bodies", "-o", "out.jsonl", home=home)

    lines = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    assert (finished.returncode, finished.stdout) == (0, "")
    assert lines == bodies(home)
    assert "holds these bodies already" in again.stderr


@pytest.mark.parametrize("out", ["out.csv", "out.xlsx", "out"])
def test_bodies_are_json_lines_and_nothing_else(
    out: str, home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint), home=home)

    finished = anybatch("results", "--bodies", "-o", out, home=home)

    assert finished.returncode == 1
    assert ".jsonl" in finished.stderr
    assert not (home / out).exists()


def test_a_body_that_the_service_laid_out_is_one_line(home: Path) -> None:
    laid_out = json.dumps(
        {"choices": [{"message": {"content": "a\u2028b"}, "finish_reason": "stop"}]}, indent=2
    )
    with FakeEndpoint(script=lambda call: Status(200, body=laid_out.encode())) as endpoint:
        anybatch(*asking(endpoint), home=home)

    finished = anybatch("results", "--bodies", home=home)

    assert [content(json.loads(line)) for line in finished.stdout.split("\n")[:-1]] == [
        "a\u2028b"
    ] * 3


def test_tables_keep_their_raw_cells_beside_it(home: Path, endpoint: FakeEndpoint) -> None:
    write_rows(home / "in.csv", ["=1+1"])
    anybatch(*asking(endpoint), home=home)

    escaped = anybatch("results", home=home).stdout
    raw = anybatch("results", "--raw", home=home).stdout

    assert "'=1+1" in escaped
    assert "'=1+1" not in raw
