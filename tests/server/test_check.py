"""Looking at an input: what is wrong with it, or the runs that it becomes."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.core.model import Result
from anybatch.core.served import Order, Problem, Ready
from anybatch.engine.readymade import with_parameters
from anybatch.server import check as checking
from anybatch.server.check import Checking, check
from anybatch.server.routes import routes_of, with_routes
from anybatch.server.shared import ServingWorkspace
from anybatch.settings import Settings
from anybatch.store.requests import RequestFile
from anybatch.store.rows import read_rows
from anybatch.store.served import ServedStore

AT = datetime(2026, 11, 20, tzinfo=UTC)


class Plain:
    """A face whose lines are `NAME MODEL`; one that has no model is wrong."""

    name = "plain"
    id_prefix = "batch_"
    input_purpose = "batch"
    output_purpose = "batch_output"

    def claims(self, scope: Any) -> bool:
        return True

    def reader(self, order: Order) -> "Plain":
        return self

    def read(self, number: int, line: bytes) -> Ready | Problem | None:
        name, _, model = line.decode().partition(" ")
        if not model:
            return Problem(code="bad", message="no model", line=number)
        return Ready(name=name, model=model, body=b'{"model":"%b"}' % model.encode())

    def end(self) -> Problem | None:
        return None

    def unknown_input(self, order: Order) -> Problem:
        return Problem(code="no_file", message="there is none")

    def unserved(self, model: str, number: int | None) -> Problem:
        return Problem(code="no_model", message=f"not {model}.", line=number)

    def write_line(self, name: str, result: Result | None, *, order: Order, n: int) -> Any:
        raise NotImplementedError

    def output_name(self, order: Order, *, ok: bool) -> str:
        raise NotImplementedError

    def routes(self) -> Any:
        raise NotImplementedError

    def failure(self, status: int, message: str) -> Any:
        raise NotImplementedError


HERE = "http://127.0.0.1:9/v1"
ROUTES = (
    {"model": "a*", "provider": "one", "base_url": HERE, "api_key_env": ""},
    {"model": "b", "provider": "two", "base_url": HERE, "api_key_env": ""},
    {"model": "locked", "provider": "three", "base_url": "https://far.example/v1"},
)


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Checking]:
    settings = Settings(home=tmp_path / "home", routes=ROUTES)
    routes = routes_of(settings)
    store = ServedStore(settings.home)
    workspace = ServingWorkspace(settings=with_routes(settings, routes), store=store)
    yield Checking(workspace=workspace, store=store, routes=routes, faces={"plain": Plain()})
    store.close()


ORDER = Order(
    id="batch_x",
    owner="me",
    face="plain",
    api="openai.chat",
    asked={},
    input_file="file-x",
    input_size=1,
    created_at=AT,
    expires_at=AT,
    kept_seconds=1,
)


@pytest.fixture
def look(on: Checking, tmp_path: Path) -> Callable[..., Order]:
    def look(*lines: str) -> Order:
        path = tmp_path / "input"
        path.write_text("".join(f"{line}\n" for line in lines))
        return check(on, ORDER, path)

    return look


def folders(on: Checking) -> list[str]:
    return sorted(path.name for path in (on.store.root / "runs").iterdir())


def test_each_place_and_model_gets_a_run_of_its_own(on: Checking, look: Any) -> None:
    order = look("1 a1", "2 b", "3 a1", "4 a2", "5 b")

    runs = [on.store.run(run_id) for run_id in order.runs]
    names = [
        [row["custom_id"] for row in read_rows(on.store.folder(run.id), count=run.total)]
        for run in runs
    ]
    assert (order.total, order.model, order.problems) == (5, None, ())
    assert [run.spec.provider for run in runs] == ["one", "two", "one"]
    assert [run.spec.model for run in runs] == ["a1", "b", "a2"]
    assert names == [["1", "3"], ["2", "5"], ["4"]]
    with RequestFile(on.store.folder(runs[0].id)) as requests:
        assert [request.body for request in requests.read([0, 1])] == [b'{"model":"a1"}'] * 2


def test_one_model_is_named(look: Any) -> None:
    assert look("1 b", "2 b").model == "b"


def test_one_bad_line_leaves_no_run_behind(on: Checking, look: Any) -> None:
    order = look("1 a", "2", "3 b", "4 nowhere")

    assert [(p.code, p.line) for p in order.problems] == [("bad", 2), ("no_model", 4)]
    assert (order.runs, order.total) == ((), 0)
    assert folders(on) == []


def test_many_bad_lines_are_told_up_to_a_number(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_KEPT_PROBLEMS", 3)

    problems = look(*["bad"] * 8).problems

    assert [p.line for p in problems] == [1, 2, 3, None]
    assert problems[-1].message == "5 more lines are wrong."


def test_a_place_whose_key_is_missing_serves_nothing_and_says_why(on: Checking, look: Any) -> None:
    (problem,) = look("1 locked").problems

    assert (problem.code, problem.line) == ("no_model", 1)
    assert "THREE_API_KEY" in problem.message
    assert folders(on) == []


def test_an_input_that_is_not_there_is_said(on: Checking, tmp_path: Path) -> None:
    for path in (None, tmp_path / "gone"):
        assert check(on, ORDER, path).problems[0].code == "no_file"


def test_a_line_that_never_ends_is_cut(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MAX_LINE_BYTES", 100)

    order = look("x" * 1000, "2 b")

    assert [(p.code, p.line) for p in order.problems] == [("bad", 1)]


def test_looking_again_finds_the_same(on: Checking, look: Any) -> None:
    first = look("1 a", "2 b")

    assert look("1 a", "2 b") == first
    assert folders(on) == sorted(first.runs)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"m"}', b'{"max_tokens":9,"top_k":1,"model":"m"}'),
        (b'{"max_tokens":5}', b'{"top_k":1,"max_tokens":5}'),
        (b'{"max_completion_tokens":5}', b'{"top_k":1,"max_completion_tokens":5}'),
        (b'{"top_k":7}', b'{"top_k":7,"max_tokens":9}'),
    ],
)
def test_a_body_keeps_what_it_says_itself(body: bytes, sent: bytes) -> None:
    made = with_parameters("openai.chat", body, {"max_tokens": 9, "top_k": 1})

    assert msgspec.json.decode(made) == msgspec.json.decode(sent)
