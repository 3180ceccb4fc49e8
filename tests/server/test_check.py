"""Looking at an input: what is wrong with it, or the runs that it becomes."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.clock import SystemClock
from anybatch.core.model import Result
from anybatch.core.served import Order, Problem, Ready
from anybatch.engine.readymade import with_parameters
from anybatch.server import check as checking
from anybatch.server.check import Checking, check
from anybatch.server.desk import Desk
from anybatch.server.openai import OpenAIFace
from anybatch.server.orders import Orders
from anybatch.server.owners import Owners
from anybatch.server.routes import routes_of, with_routes
from anybatch.server.shared import ServingWorkspace
from anybatch.settings import Settings
from anybatch.store.blobs import Blobs
from anybatch.store.requests import RequestFile
from anybatch.store.rows import read_rows
from anybatch.store.served import ServedStore
from anybatch.wire import openai_served as wire

from .world import CHAT, chat, jsonl

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

    def failure(self, status: int, message: str, *, request_id: str) -> Any:
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


def test_a_place_that_nobody_knows_serves_nothing_and_says_why(tmp_path: Path) -> None:
    """As settings say it that were taken before all of a route was looked at."""
    settings = Settings(home=tmp_path / "home", routes=({"model": "*", "provider": "nobody"},))
    store = ServedStore(settings.home)
    workspace = ServingWorkspace(settings=settings, store=store)
    faces = {"plain": Plain()}
    on = Checking(workspace=workspace, store=store, routes=routes_of(settings), faces=faces)
    (tmp_path / "input").write_text("1 m\n2 m\n")

    problems = check(on, ORDER, tmp_path / "input").problems
    store.close()

    assert [(problem.code, problem.line) for problem in problems] == [
        ("no_model", 1),
        ("no_model", 2),
    ]
    assert "no provider 'nobody'" in problems[0].message


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


# --- OpenAI's codes, from a bad line, with its number ---


@pytest.fixture
def problems(tmp_path: Path) -> Iterator[Callable[..., list[Problem]]]:
    """What OpenAI's face says of an input; a model that begins with `m` is answered."""
    route = {"model": "m*", "provider": "one", "base_url": HERE, "api_key_env": ""}
    settings = Settings(home=tmp_path / "home", routes=(route,))
    routes = routes_of(settings)
    store = ServedStore(settings.home)
    workspace = ServingWorkspace(settings=with_routes(settings, routes), store=store)
    desk = Desk(store=store, blobs=Blobs(settings.home), clock=SystemClock())
    face = OpenAIFace(desk, Orders(desk, workspace, Owners({})), routes)
    on = Checking(workspace=workspace, store=store, routes=routes, faces={"openai": face})
    asked = {"endpoint": CHAT, "completion_window": "24h"}
    order = msgspec.structs.replace(ORDER, face="openai", asked=asked)

    def problems(*rows: Any) -> list[Problem]:
        path = tmp_path / "input"
        path.write_bytes(jsonl(rows))
        looked = check(on, order, path)
        assert bool(looked.problems) is not bool(looked.runs)
        assert folders(on) == sorted(looked.runs)
        return list(looked.problems)

    yield problems
    store.close()


def without(*fields: str) -> dict[str, Any]:
    return {name: value for name, value in chat("bad").items() if name not in fields}


def saying(**changes: Any) -> dict[str, Any]:
    """A line with another body; a field that is `...` is left out."""
    body = chat("bad")["body"] | changes
    said = {name: value for name, value in body.items() if value is not ...}
    return chat("bad", body=said)


BAD: list[tuple[Any, str, str | None]] = [
    (b"{not json", "invalid_json_line", None),
    (b'["a", "list"]', "invalid_json_line", None),
    (b'{"custom_id": "\xff"}', "invalid_json_line", None),
    (without("custom_id"), "missing_required_parameter", "custom_id"),
    (without("method"), "missing_required_parameter", "method"),
    (without("url"), "missing_required_parameter", "url"),
    (without("body"), "missing_required_parameter", "body"),
    (chat("first"), "duplicate_custom_id", "custom_id"),
    (saying(model="m2"), "mismatched_model", "body.model"),
    (chat("bad", url="/v1/embeddings"), "invalid_url", "url"),
    (chat("bad", method="PUT"), "invalid_method", "method"),
    (chat(""), "invalid_custom_id", "custom_id"),
    (saying(stream=True), "streaming_unsupported", "body.stream"),
    (saying(model=...), "invalid_request", "body.model"),
    (saying(messages=...), "invalid_request", "body.messages"),
]
"""As the wire sheet has them: a line, its code, its param."""


def places(found: list[Problem]) -> list[tuple[str, int | None, str | None]]:
    return [(problem.code, problem.line, problem.param) for problem in found]


@pytest.mark.parametrize(("bad", "code", "param"), BAD)
def test_a_bad_line_has_its_code_and_its_number(
    problems: Any, bad: Any, code: str, param: str | None
) -> None:
    rows = [chat("first"), b"", chat("second"), b"  ", bad, chat("last")]

    found = problems(*rows)

    assert places(found) == [(code, 5, param)]
    assert found[0].message


def test_every_bad_line_is_told_in_order(problems: Any) -> None:
    rows = [chat("first")]
    for n, (bad, _, _) in enumerate(BAD):
        rows += [chat(f"good {n}"), bad | {"custom_id": f"bad {n}"} if is_named_bad(bad) else bad]

    found = problems(*rows)

    assert places(found) == [(code, 3 + 2 * n, param) for n, (_, code, param) in enumerate(BAD)]


def is_named_bad(row: Any) -> bool:
    return isinstance(row, dict) and row.get("custom_id") == "bad"


def test_a_model_that_nothing_answers_has_its_code_and_its_number(problems: Any) -> None:
    bad = saying(model="other")

    assert places(problems(bad)) == [("model_not_found", 1, "body.model")]


def test_lines_may_end_as_on_windows(problems: Any) -> None:
    rows = [json.dumps(chat(name)).encode() + b"\r" for name in "ab"]

    assert problems(*rows) == []
    assert places(problems(*rows, b"{\r")) == [("invalid_json_line", 3, None)]


def test_what_concerns_the_whole_file_has_no_number(
    problems: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places(problems()) == [("empty_file", None, None)]
    assert places(problems(b"", b" ")) == [("empty_file", None, None)]
    monkeypatch.setattr(wire, "MAX_REQUESTS", 2)
    assert places(problems(*(chat(name) for name in "abc"))) == [("invalid_request", None, None)]


def test_a_line_that_was_cut_is_no_json_and_the_next_is_read(
    problems: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "MAX_LINE_BYTES", 400)
    rows = [chat("a"), chat("long", "x" * 1000), chat("b"), chat("c", url="/v1/x")]

    assert places(problems(*rows)) == [("invalid_json_line", 2, None), ("invalid_url", 4, "url")]
