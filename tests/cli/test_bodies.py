"""`anybatch results --bodies`: what the service answered, row by row."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from anybatch.core.ids import number_in
from anybatch.core.model import Spec
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings
from anybatch.testing import (
    FakeAnthropic,
    FakeEndpoint,
    FakeGemini,
    FakeOpenAI,
    Status,
    matching,
)
from anybatch.wire import anthropic_batch, gemini_batch, openai_batch
from anybatch.wire.batch import ResultLine

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
    return str(line["response"]["body"]["choices"][0]["message"]["content"])


def test_each_row_has_a_line_as_the_service_writes_them(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    lines = bodies(home)

    assert [content(line) for line in lines] == [f"echo: Say {text}" for text in TEXTS]
    assert [list(line) for line in lines] == [["id", "custom_id", "response", "error"]] * 3
    assert [number_in(line["custom_id"]) for line in lines] == [0, 1, 2]
    assert {line["response"]["status_code"] for line in lines} == {200}
    # A call has no line of its own, and nothing is made up.
    assert {(line["id"], line["response"]["request_id"]) for line in lines} == {(None, None)}


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
    assert {line["response"]["body"]["object"] for line in lines} == {"chat.completion"}


def test_a_row_that_failed_says_why(home: Path) -> None:
    with FakeEndpoint(script=matching("two", Status(400, message="not today"))) as endpoint:
        anybatch(*asking(endpoint), home=home)

    failed = bodies(home)[1]

    assert failed["response"]["status_code"] == 400
    assert failed["response"]["body"]["error"]["message"] == "not today"
    assert failed["error"] is None


def test_of_a_run_that_nobody_worked_on_there_is_no_line(home: Path) -> None:
    workspace = open_workspace(Settings(home=home / "store"))
    nowhere = "http://127.0.0.1:9/v1"
    spec = Spec(provider="x", model="m", api="openai.chat", prompt="x", base_url=nowhere)
    workspace.plan(open_source(home / "in.csv"), spec)
    workspace.store.close()

    assert bodies(home) == []


@pytest.mark.parametrize(
    ("new", "provider", "read", "fields"),
    [
        (FakeOpenAI, "openai", openai_batch.read_line, ["id", "custom_id", "response", "error"]),
        (FakeAnthropic, "anthropic", anthropic_batch.read_line, ["custom_id", "result"]),
        (FakeGemini, "gemini", gemini_batch.read_line, ["key", "response"]),
    ],
)
def test_the_lines_are_those_of_the_provider_and_answers_byte_for_byte(
    new: Any, provider: str, read: Callable[[bytes], ResultLine], fields: list[str], home: Path
) -> None:
    with new() as fake:
        ask = ["--prompt", "Say {{ text }}", "--model", f"{provider}/m", "--executor", "batch"]
        anybatch("run", "in.csv", *ask, "--base-url", fake.base_url, home=home)
    lines = anybatch("results", "--bodies", home=home).stdout.encode().splitlines()
    workspace = open_workspace(Settings(home=home / "store"))
    kept = list(workspace.results(workspace.store.find_run("last")))
    workspace.store.close()

    said = [read(line) for line in lines]

    assert [list(json.loads(line)) for line in lines] == [fields] * 3
    assert [number_in(one.custom_id or "") for one in said] == [0, 1, 2]
    assert [one.body for one in said] == [bytes(one.body) for one in kept if one is not None]
    assert {one.status for one in said} == {200}


def test_what_a_batch_returned_is_the_providers_own_line_to_the_byte(home: Path) -> None:
    with FakeOpenAI(rows=matching("two", Status(400, message="not today"))) as fake:
        ask = ["--prompt", "Say {{ text }}", "--model", "openai/m", "--executor", "batch"]
        anybatch("run", "in.csv", *ask, "--base-url", fake.base_url, "--keep-remote", home=home)
        batch = json.loads(get(f"{fake.base_url}/batches"))["data"][0]
        files = [batch["output_file_id"], batch["error_file_id"]]
        theirs = [get(f"{fake.base_url}/files/{file}/content").splitlines() for file in files]

    lines = anybatch("results", "--bodies", home=home).stdout.encode().splitlines()

    assert sorted(lines) == sorted(theirs[0] + theirs[1])
    assert len(lines) == 3


def test_an_error_that_anthropic_returned_is_whole(home: Path) -> None:
    with FakeAnthropic(rows=matching("two", Status(400, message="not today"))) as fake:
        ask = ["--prompt", "Say {{ text }}", "--model", "anthropic/m", "--executor", "batch"]
        anybatch("run", "in.csv", *ask, "--base-url", fake.base_url, "--keep-remote", home=home)
        id = json.loads(get(f"{fake.base_url}/messages/batches"))["data"][0]["id"]
        theirs = get(f"{fake.base_url}/messages/batches/{id}/results").splitlines()

    lines = anybatch("results", "--bodies", home=home).stdout.encode().splitlines()

    assert sorted(lines) == sorted(theirs)
    assert json.loads(lines[1])["result"]["error"]["error"]["message"] == "not today"


def get(url: str) -> bytes:
    said = {"Authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01"}
    with urlopen(Request(url, headers=said), timeout=10) as reply:
        return bytes(reply.read())


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
