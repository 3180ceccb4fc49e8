"""The Python face: every way in, every way out, and what becomes of threads and errors."""

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pytest
from pydantic import BaseModel

import anybatch
from anybatch import errors
from anybatch.testing import FakeEndpoint

from .cli.process import until

TEXTS = ["one", "two", "three"]
ROWS = [{"n": n, "text": text} for n, text in enumerate(TEXTS)]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: FakeEndpoint) -> dict[str, Any]:
    """What every call here asks, of a store of its own."""
    monkeypatch.chdir(tmp_path)
    return {
        "prompt": "Say {{ text }}",
        "model": "fake/fake-1",
        "base_url": endpoint.base_url,
        "store": tmp_path / "store",
    }


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if "anybatch" in thread.name] == []


def said(run: anybatch.Run) -> list[str]:
    return [row["answer"] for row in run.rows()]


ANSWERS = [f"echo: Say {text}" for text in TEXTS]


# --- ways in ---


def as_csv() -> str:
    Path("in.csv").write_text("n,text\n" + "".join(f"{r['n']},{r['text']}\n" for r in ROWS))
    return "in.csv"


WAYS_IN = {
    "a path as text": as_csv,
    "a path": lambda: Path(as_csv()),
    "dicts": lambda: ROWS,
    "a generator": lambda: (row for row in ROWS),
    "a pandas frame": lambda: pandas.DataFrame(ROWS),
    "a polars frame": lambda: polars.DataFrame(ROWS),
    "an Arrow table": lambda: pyarrow.Table.from_pylist(ROWS),
}


@pytest.mark.parametrize("rows", WAYS_IN.values(), ids=WAYS_IN.keys())
def test_rows_come_in_every_form_and_a_second_call_asks_nothing(
    rows: Any, ask: dict[str, Any], endpoint: FakeEndpoint
) -> None:
    first = anybatch.run(rows(), **ask)
    second = anybatch.run(rows(), **ask)

    assert first.status == second.status == "ok"
    assert said(first) == said(second) == ANSWERS
    assert first.id == second.id
    assert len(endpoint.ledger.executions) == len(TEXTS)


def test_a_query_is_data(ask: dict[str, Any]) -> None:
    run = anybatch.run(sql="select 'one' as text", **ask)

    assert said(run) == ["echo: Say one"]


class Mood(BaseModel):
    good: bool


SCHEMAS = {
    "a pydantic model": ({"schema": Mood}, "good"),
    "a schema": ({"schema": Mood.model_json_schema()}, "good"),
    "labels": ({"labels": ["a", "b"]}, "label"),
    "fields": ({"fields": ["good:bool"]}, "good"),
}


@pytest.mark.parametrize(("more", "column"), SCHEMAS.values(), ids=SCHEMAS.keys())
def test_the_answer_is_described_in_every_form(
    more: dict[str, Any], column: str, ask: dict[str, Any]
) -> None:
    run = anybatch.run(ROWS, **ask, **more)

    values = {row[column] for row in run.rows()}
    assert run.status == "ok"
    assert values <= {True, False, "a", "b"}


def test_again_starts_anew(ask: dict[str, Any], endpoint: FakeEndpoint) -> None:
    first = anybatch.run(ROWS, **ask)

    second = anybatch.run(ROWS, **ask, again=True)

    assert first.id != second.id
    assert len(endpoint.ledger.executions) == 2 * len(TEXTS)


# --- ways out ---


def test_a_run_tells_what_became_of_every_row(ask: dict[str, Any]) -> None:
    run = anybatch.run(ROWS, **ask)

    results = list(run.results())
    assert run.counts == {"succeeded": 3}
    assert [result.n for result in results if result is not None] == [0, 1, 2]
    assert [(row["n"], row["text"]) for row in run.rows()] == [(0, "one"), (1, "two"), (2, "three")]
    assert repr(run) == f"<anybatch.Run {run.id} ok {{'succeeded': 3}} of 3>"


def test_the_table_comes_as_a_frame_or_a_file(ask: dict[str, Any], tmp_path: Path) -> None:
    run = anybatch.run(ROWS, **ask)

    as_pandas = run.to_pandas()
    as_polars = run.to_polars()
    path = run.to_file(tmp_path / "out.parquet")

    assert list(as_pandas["answer"]) == as_polars["answer"].to_list() == ANSWERS
    assert list(polars.read_parquet(path)["answer"]) == ANSWERS


def test_a_file_is_not_overwritten_unless_forced(ask: dict[str, Any], tmp_path: Path) -> None:
    run = anybatch.run(ROWS, **ask)
    path = tmp_path / "out.csv"
    path.write_text("mine")

    with pytest.raises(errors.OutputExists, match=r"out\.csv"):
        run.to_file(path)

    assert path.read_text() == "mine"
    assert run.to_file(path, force=True) == path


def test_a_file_that_holds_the_table_already_is_left_as_it_is(
    ask: dict[str, Any], tmp_path: Path
) -> None:
    run = anybatch.run(ROWS, **ask)
    path = run.to_file(tmp_path / "out.csv")
    before = path.stat()

    assert run.to_file(path) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


# --- waiting and stopping ---


def test_submit_returns_while_the_work_goes_on(tmp_path: Path, ask: dict[str, Any]) -> None:
    with FakeEndpoint(latency=0.05) as slow:
        run = anybatch.submit(ROWS, **{**ask, "base_url": slow.base_url, "concurrency": 1})
        early = run.status
        finished = run.wait()

    assert early == "running"
    assert finished is run
    assert run.status == "ok"


def test_a_stopped_run_keeps_its_answers_and_the_same_call_goes_on(ask: dict[str, Any]) -> None:
    rows = [{"text": f"row {n}"} for n in range(100)]

    with FakeEndpoint(latency=0.05) as slow:
        ask = {**ask, "base_url": slow.base_url, "concurrency": 2}
        stopped = anybatch.submit(rows, **ask).stop()
        before = sum(stopped.counts.values())
        finished = anybatch.run(rows, **{**ask, "concurrency": 32})
        executions = slow.ledger.by_prompt

    assert stopped.id == finished.id
    assert before < 100
    assert finished.counts == {"succeeded": 100}
    assert set(executions.values()) == {1}


def test_waiting_twice_and_stopping_what_is_over_is_fine(ask: dict[str, Any]) -> None:
    run = anybatch.run(ROWS, **ask)

    assert run.wait().stop().wait().status == "ok"


async def test_run_works_where_an_event_loop_runs_as_in_a_notebook(ask: dict[str, Any]) -> None:
    run = anybatch.run(ROWS, **ask)

    assert said(run) == ANSWERS


async def test_arun_leaves_the_loop_free(ask: dict[str, Any]) -> None:
    runs = await asyncio.gather(
        anybatch.arun(ROWS, **ask), anybatch.arun(ROWS[:1], **{**ask, "prompt": "Tell {{ text }}"})
    )

    assert [said(run) for run in runs] == [ANSWERS, ["echo: Tell one"]]


async def test_a_cancelled_arun_stops_and_a_second_one_goes_on(ask: dict[str, Any]) -> None:
    rows = [{"text": f"row {n}"} for n in range(60)]

    with FakeEndpoint(latency=0.02) as slow:
        ask = {**ask, "base_url": slow.base_url, "concurrency": 4}
        task = asyncio.create_task(anybatch.arun(rows, **ask))
        while not slow.ledger.executions:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        sent = len(slow.ledger.executions)
        run = await anybatch.arun(rows, **ask)
        executions = slow.ledger.by_prompt

    assert sent < 60
    assert run.counts == {"succeeded": 60}
    assert set(executions.values()) == {1}


async def test_an_arun_that_is_cancelled_before_it_began_sends_nothing_later(
    ask: dict[str, Any], endpoint: FakeEndpoint
) -> None:
    rows = ({"text": f"row {n}"} for n in range(20_000))
    task = asyncio.create_task(anybatch.arun(rows, **ask, concurrency=1))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(endpoint.ledger.executions) < 100


# --- errors ---


def unreadable() -> Iterable[dict[str, str]]:
    yield {"text": "one"}
    raise OSError("the line is dead")


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a missing file": ({"data": "gone.csv"}, errors.BadInput, r"gone\.csv"),
    "no rows": ({"data": []}, errors.BadInput, "row"),
    "what is no data": ({"data": 7}, errors.BadInput, "int"),
    "an unknown column": ({"prompt": "{{ x }}"}, errors.BadTemplate, "'x'"),
    "a bad template": ({"prompt": "{{"}, errors.BadTemplate, "template"),
    "a bad schema": ({"schema": {"type": "nonsense"}}, errors.BadSchema, "nonsense"),
    "no labels": ({"labels": []}, errors.BadSchema, "empty"),
    "two descriptions": ({"labels": ["a"], "fields": ["b"]}, errors.BadSchema, "labels and fields"),
    "no provider": ({"base_url": None}, errors.BadSettings, "'fake'"),
    "a bad address": ({"base_url": "ftp://x"}, errors.BadSettings, "ftp"),
    "a bad policy": ({"bad_rows": "maybe"}, errors.BadSettings, "'maybe'"),
    "an executor that is none": ({"executor": "real-time"}, errors.BadSettings, "'real-time'"),
    "an executor of ours alone": ({"executor": "embedded"}, errors.BadSettings, "'embedded'"),
    "a tail that is none": ({"tail": "x"}, errors.BadSettings, "'x'"),
    "an api that is none": ({"api": "chat"}, errors.BadSettings, "'chat'"),
    "no call at once": ({"concurrency": 0}, errors.BadSettings, "not 0"),
    "fewer than none": ({"concurrency": -1}, errors.BadSettings, "not -1"),
    "a number in a text": ({"concurrency": "8"}, errors.BadSettings, "'8'"),
    "half a call": ({"concurrency": 1.5}, errors.BadSettings, "1.5"),
    "no call a minute": ({"rpm": 0}, errors.BadSettings, "rpm"),
    "no token a minute": ({"tpm": 0}, errors.BadSettings, "tpm"),
    "a parameter that is no JSON": ({"parameters": {"x": object()}}, errors.BadSettings, "'x'"),
}


@pytest.mark.parametrize(("more", "kind", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_call_raises_what_the_tree_says_before_anything_is_sent(
    more: dict[str, Any],
    kind: type[Exception],
    says: str,
    ask: dict[str, Any],
    endpoint: FakeEndpoint,
) -> None:
    with pytest.raises(kind, match=says):
        anybatch.run(**{"data": ROWS, **ask, **more})

    assert issubclass(kind, anybatch.AnybatchError)
    assert endpoint.ledger.received == 0


def test_what_the_data_raises_reaches_the_caller_and_leaves_nothing(ask: dict[str, Any]) -> None:
    with pytest.raises(OSError, match="the line is dead"):
        anybatch.run(unreadable(), **ask)

    assert list((ask["store"] / "runs").iterdir()) == []


# --- the module itself ---


def in_a_process(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=60
    )


PIPES: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | {
    "text": True
}
HEAVY = ("pyreqwest", "duckdb", "pandas", "xllamacpp", "rich", "typer", "jinja2", "sqlite3")


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import anybatch", (*HEAVY, "anybatch.engine", "asyncio")),
        (
            "from anybatch.cli.app import app; app(['--help'], standalone_mode=False)",
            ("pyreqwest", "duckdb", "xllamacpp", "jinja2", "anybatch.engine", "anybatch.api"),
        ),
    ],
    ids=["the package", "the help"],
)
def test_nothing_heavy_is_imported_for(code: str, absent: tuple[str, ...], tmp_path: Path) -> None:
    finished = in_a_process(f"{code}\nimport sys\nprint('|'.join(sys.modules))", tmp_path)

    loaded = finished.stdout.splitlines()[-1].split("|")
    assert finished.returncode == 0
    assert [name for name in absent if name in loaded] == []


@pytest.mark.parametrize("function", [anybatch.run, anybatch.arun])
def test_run_and_arun_show_what_they_take(function: Any) -> None:
    taken = inspect.signature(function).parameters

    assert list(taken) == list(inspect.signature(anybatch.submit).parameters)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "lab/m", "promt": "x"}, r"^run\(\) got an unexpected keyword argument 'promt'$"),
        ({}, r"^run\(\) missing a required argument: 'model'$"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_in_the_name_of_what_was_called(
    asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        anybatch.run(ROWS, **asked)
    with pytest.raises(TypeError, match=says.replace("run", "arun")):
        asyncio.run(anybatch.arun(ROWS, **asked))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"prompt": " "}, "^prompt is empty; "),
        ({"prompt": None}, "^prompt says what to ask of each row; it is missing$"),
        ({"model": "nobody/m", "base_url": None}, "For another service give base_url, "),
        ({"prompt": "{{ text | int / 0 }}"}, r'or leave such rows out with bad_rows="skip"$'),
        ({"base_url": "ftp://x"}, "^base_url: 'ftp://x' is not an address"),
        ({"store": "/proc/gone"}, "or choose another store, then"),
    ],
)
def test_what_is_wrong_is_said_in_the_names_of_arguments(
    asked: dict[str, Any], says: str, ask: dict[str, Any]
) -> None:
    with pytest.raises(errors.AnybatchError, match=says):
        anybatch.run(ROWS, **{**ask, **asked})


def test_a_file_in_the_way_of_a_table_is_told_with_the_argument_that_overwrites_it(
    ask: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "out.csv").write_text("mine\n")
    run = anybatch.run(ROWS, **ask)

    with pytest.raises(errors.OutputExists, match=r"overwrite with force=True\.$"):
        run.to_file("out.csv")


def test_the_body_of_an_answer_can_be_had_as_a_value(ask: dict[str, Any]) -> None:
    first, *_ = anybatch.run(ROWS, **ask).results()

    assert first is not None
    assert first.value()["choices"][0]["message"]["content"] == ANSWERS[0]


def test_a_program_that_does_not_wait_records_what_is_in_flight_before_it_ends(
    ask: dict[str, Any], tmp_path: Path
) -> None:
    with FakeEndpoint(latency=0.5) as slow:
        ask = {**ask, "base_url": slow.base_url, "store": str(ask["store"]), "concurrency": 1}
        code = f"import anybatch\nanybatch.submit({ROWS!r}, **{ask!r})\ninput()"
        program = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **PIPES)
        until(lambda: slow.ledger.running == 1, what="a call")
        said = program.communicate("\n", timeout=60)
        sent = len(slow.ledger.executions)
        run = anybatch.run(ROWS, **ask)
        executions = slow.ledger.by_prompt

    assert (program.returncode, *said) == (0, "", "")
    assert sent < len(TEXTS)
    assert run.counts == {"succeeded": len(TEXTS)}
    assert set(executions.values()) == {1}


# --- terms ---


def test_a_budget_that_nothing_meets_is_refused_in_the_words_of_python(
    ask: dict[str, Any], tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    with pytest.raises(anybatch.AnybatchError, match="nobody has said what fake/fake-1 costs"):
        anybatch.run(ROWS, **ask, budget=5)
    (tmp_path / "anybatch.toml").write_text('[prices."fake/fake-1"]\ninput = 1\noutput = 1\n')
    with pytest.raises(errors.OverBudget, match="Nothing was sent; give a higher budget"):
        anybatch.run(ROWS, **ask, budget=1e-9)
    with pytest.raises(errors.UsageError, match="Nothing was sent; give a later by"):
        anybatch.run(ROWS, **ask, by="1s")

    assert endpoint.ledger.executions == ()
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert anybatch.run(ROWS, **ask, budget=5, by=in_an_hour).status == "ok"


@pytest.mark.parametrize(
    "wrong", [{"by": "soon"}, {"budget": -1}, {"prefer": "dear"}, {"preview": -1}, {"overflow": 5}]
)
def test_terms_that_are_none_are_refused(ask: dict[str, Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.BadSettings, match=next(iter(wrong))):
        anybatch.run(ROWS, **ask, **wrong)


def test_a_word_that_is_none_for_a_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.BadSettings, match="cache 'sometimes' is unknown; use auto, off"):
        anybatch.run([{"a": "1"}], prompt="x", model="openai/m", cache="sometimes", store=tmp_path)
