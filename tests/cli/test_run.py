"""`anybatch run` as people type it: formats, going on, changing one's mind, apis, providers."""

import csv
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import openpyxl
import pytest

import anybatch as package
from anybatch.testing import Answer, Call, FakeEndpoint, Spoiled, Status, matching

from .process import anybatch, asking, command, environment, report, write_rows

META = ["_outcome", "_error", "_model", "_tokens_in", "_tokens_out"]
TEXTS = ["one", "two", "three"]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", TEXTS)
    return tmp_path


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- formats ---


def test_a_csv_comes_back_as_a_csv_with_the_answers_beside_the_rows(
    home: Path, endpoint: FakeEndpoint
) -> None:
    finished = anybatch(*asking(endpoint, "-o", "out.csv"), home=home)

    rows = table(home / "out.csv")
    assert finished.returncode == 0
    assert finished.stdout == ""
    assert list(rows[0]) == ["id", "text", "answer", *META]
    assert [row["answer"] for row in rows] == [f"echo: Say {text}" for text in TEXTS]
    assert {row["_outcome"] for row in rows} == {"succeeded"}
    assert {row["_model"] for row in rows} == {"fake-1"}


def test_json_lines_come_back_as_json_lines(home: Path, endpoint: FakeEndpoint) -> None:
    (home / "in.jsonl").write_text('{"text": "one", "tags": ["a"]}\n{"text": "two", "tags": []}\n')

    finished = anybatch(*asking(endpoint, "-o", "out.jsonl", data="in.jsonl"), home=home)

    rows = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    assert finished.returncode == 0
    assert [(row["text"], row["tags"]) for row in rows] == [("one", ["a"]), ("two", [])]
    assert [row["answer"] for row in rows] == ["echo: Say one", "echo: Say two"]


def test_the_table_comes_as_parquet(home: Path, endpoint: FakeEndpoint) -> None:
    finished = anybatch(*asking(endpoint, "-o", "out.parquet"), home=home)

    found = duckdb.sql(f"select answer from '{home / 'out.parquet'}'").fetchall()
    assert finished.returncode == 0
    assert found == [(f"echo: Say {text}",) for text in TEXTS]


def test_the_table_comes_as_excel(home: Path, endpoint: FakeEndpoint) -> None:
    finished = anybatch(*asking(endpoint, "-o", "out.xlsx"), home=home)

    sheet = openpyxl.load_workbook(home / "out.xlsx").active
    assert finished.returncode == 0
    assert sheet is not None
    assert [row[2] for row in sheet.iter_rows(values_only=True)] == [
        "answer",
        *(f"echo: Say {text}" for text in TEXTS),
    ]


def test_a_pipe_in_gives_a_pipe_out(home: Path, endpoint: FakeEndpoint) -> None:
    words = asking(endpoint, "-o", "-", data="-")

    finished = anybatch(*words, home=home, stdin="text\none\ntwo\n")

    rows = list(csv.DictReader(io.StringIO(finished.stdout)))
    assert finished.returncode == 0
    assert [row["answer"] for row in rows] == ["echo: Say one", "echo: Say two"]
    assert "2 rows = 2 succeeded" in finished.stderr


def test_a_reader_that_leaves_early_gets_no_lecture(home: Path, endpoint: FakeEndpoint) -> None:
    write_rows(home / "in.csv", ["a long text " * 40] * 400)
    run = subprocess.Popen(
        command(*asking(endpoint, "-o", "-")),
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdout is not None
    assert run.stderr is not None

    first = run.stdout.readline()
    run.stdout.close()
    said = run.stderr.read().decode()
    run.stderr.close()

    assert run.wait(timeout=30) == 141
    assert first.startswith(b"id,text,answer")
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_a_schema_spreads_the_answer_over_columns(home: Path, endpoint: FakeEndpoint) -> None:
    words = asking(endpoint, "--field", "mood:good|bad", "--field", "n:int", "-o", "out.csv")

    finished = anybatch(*words, home=home)

    rows = table(home / "out.csv")
    assert finished.returncode == 0
    assert list(rows[0])[2:4] == ["mood", "n"]
    assert {row["mood"] for row in rows} <= {"good", "bad"}


def test_a_model_beside_the_data_is_a_schema(home: Path, endpoint: FakeEndpoint) -> None:
    (home / "tickets.py").write_text(
        "from pydantic import BaseModel\nclass Ticket(BaseModel):\n    urgent: bool\n"
    )
    script = Path(sys.executable).with_name("anybatch")
    words = [str(word) for word in asking(endpoint, "--schema", "tickets:Ticket", "-o", "out.csv")]

    finished = subprocess.run([script, *words], cwd=home, env=environment(home), check=False)

    assert finished.returncode == 0
    assert {row["urgent"] for row in table(home / "out.csv")} <= {"true", "false"}


def test_what_a_spreadsheet_would_run_is_escaped_unless_raw(
    home: Path, endpoint: FakeEndpoint
) -> None:
    write_rows(home / "in.csv", ["=1+1"])
    anybatch(*asking(endpoint, "-o", "safe.csv"), home=home)

    anybatch("results", "-o", "raw.csv", "--raw", home=home)

    assert table(home / "safe.csv")[0]["text"] == "'=1+1"
    assert table(home / "raw.csv")[0]["text"] == "=1+1"


def test_bad_rows_are_counted_and_left_out_where_one_asks_for_it(
    home: Path, endpoint: FakeEndpoint
) -> None:
    (home / "in.csv").write_text("id,text\n1,one\n2\n3,three,too many\n4,four\n")

    finished = anybatch(*asking(endpoint, "--bad-rows", "skip", "-o", "out.csv"), home=home)

    assert finished.returncode == 0
    assert [row["id"] for row in table(home / "out.csv")] == ["1", "4"]
    assert "2 rows = 2 succeeded" in finished.stderr
    assert "left out: 2 bad rows" in finished.stderr


# --- again ---


def test_the_same_command_again_sends_nothing(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    again = anybatch(*asking(endpoint), home=home)

    assert again.returncode == 0
    assert "nothing is left to do" in again.stderr
    assert len(endpoint.ledger.executions) == len(TEXTS)


def test_again_starts_anew(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    again = anybatch(*asking(endpoint, "--again"), home=home)

    assert again.returncode == 0
    assert len(endpoint.ledger.executions) == 2 * len(TEXTS)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--prompt", "Repeat {{ text }}"], "another prompt"),
        (["--set", "temperature=0"], "another --set"),
        (["--labels", "a,b", "--system", "Be brief"], "another answer schema and system prompt"),
    ],
)
def test_a_changed_question_says_what_changed(
    more: list[str], said: str, home: Path, endpoint: FakeEndpoint
) -> None:
    first = report(anybatch(*asking(endpoint, "--json"), home=home))

    finished = anybatch(*asking(endpoint, *more), home=home)

    assert f"unlike run {first['id']}, it has {said}" in finished.stderr


def test_changed_data_says_so(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)
    write_rows(home / "in.csv", [*TEXTS, "four"])

    finished = anybatch(*asking(endpoint), home=home)

    assert "another content" in finished.stderr


def test_an_output_file_is_overwritten_only_by_force(home: Path, endpoint: FakeEndpoint) -> None:
    (home / "out.csv").write_text("mine")
    refused = anybatch(*asking(endpoint, "-o", "out.csv"), home=home)
    kept = (home / "out.csv").read_text()

    forced = anybatch(*asking(endpoint, "-o", "out.csv", "--force"), home=home)

    assert (refused.returncode, kept) == (1, "mine")
    assert forced.returncode == 0
    assert len(table(home / "out.csv")) == len(TEXTS)


# --- what may go wrong ---


def test_a_wrong_key_stops_the_run_early_and_the_right_one_lets_it_go_on(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(50)])

    with FakeEndpoint(key="right") as endpoint:
        words = asking(endpoint, "--concurrency", 4, "-o", "out.csv")
        stopped = anybatch(*words, home=home, FAKE_API_KEY="sk-mistyped")
        refused = (home / "out.csv").exists()
        finished = anybatch(*words, home=home, FAKE_API_KEY="right")
        executions = endpoint.ledger.by_prompt

    assert stopped.returncode == 4
    assert "stopped: auth" in stopped.stderr
    assert "sk-mistyped" not in stopped.stderr
    assert not refused
    assert finished.returncode == 0
    assert "50 rows = 50 succeeded" in finished.stderr
    assert set(executions.values()) == {1}


@pytest.mark.parametrize(
    ("failing", "exit_code", "status"),
    [("nothing", 0, "ok"), ("two", 3, "partial"), ("Say", 4, "failed")],
)
def test_the_exit_code_tells_whether_every_row_is_answered(
    failing: str, exit_code: int, status: str, home: Path
) -> None:
    with FakeEndpoint(script=matching(failing, Status(400))) as endpoint:
        finished = anybatch(*asking(endpoint, "--json"), home=home)

    said = report(finished)
    assert finished.returncode == exit_code
    assert said["status"] == status
    assert sum(said["counts"].values()) == said["total"] == len(TEXTS)


def test_every_outcome_is_in_the_sums_and_its_reason_is_told(home: Path) -> None:
    def script(call: Call) -> Status | Spoiled | None:
        return {"Say one": Status(400, message="too clever"), "Say two": Spoiled("refused")}.get(
            call.prompt
        )

    with FakeEndpoint(script=script) as endpoint:
        finished = anybatch(*asking(endpoint, "-o", "out.csv"), home=home)

    assert finished.returncode == 3
    assert "3 rows = 1 bad_request + 1 refused + 1 succeeded" in finished.stderr
    assert "too clever" in finished.stderr
    assert [row["_outcome"] for row in table(home / "out.csv")] == [
        "bad_request",
        "refused",
        "succeeded",
    ]


# --- apis and providers ---


def test_the_responses_api_answers(home: Path, endpoint: FakeEndpoint) -> None:
    finished = anybatch(*asking(endpoint, "--api", "openai.responses", "-o", "-"), home=home)

    assert "echo: Say one" in finished.stdout
    assert {one.path for one in endpoint.ledger.executions} == {"/responses"}


def test_the_completions_api_answers(home: Path, endpoint: FakeEndpoint) -> None:
    finished = anybatch(*asking(endpoint, "--api", "openai.completions", "-o", "-"), home=home)

    assert "echo: Say one" in finished.stdout
    assert {one.path for one in endpoint.ledger.executions} == {"/completions"}


def test_embeddings_come_as_a_column_of_vectors(home: Path, endpoint: FakeEndpoint) -> None:
    words = asking(endpoint, "--api", "openai.embeddings", "-o", "out.jsonl")

    finished = anybatch(*words, home=home)

    rows = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    assert finished.returncode == 0
    assert all(isinstance(number, float) for row in rows for number in row["embedding"])


def test_ready_made_requests_travel_as_they_are(home: Path, endpoint: FakeEndpoint) -> None:
    bodies = [
        msgspec.json.encode({"model": "fake-1", "messages": [{"role": "user", "content": text}]})
        for text in TEXTS
    ]
    lines = [
        b'{"custom_id":"c%d","method":"POST","url":"/v1/chat/completions","body":%s}' % pair
        for pair in enumerate(bodies)
    ]
    (home / "in.jsonl").write_bytes(b"\n".join(lines))
    words = ["run", "in.jsonl", "--model", "fake", "--base-url", endpoint.base_url, "-o", "out.csv"]

    finished = anybatch(*words, home=home)

    sent = {one.sha for one in endpoint.ledger.executions}
    assert finished.returncode == 0
    assert sent == {hashlib.sha256(body).hexdigest() for body in bodies}
    assert [row["custom_id"] for row in table(home / "out.csv")] == ["c0", "c1", "c2"]


def test_a_provider_of_the_settings_is_called_with_its_key(home: Path) -> None:
    with FakeEndpoint(key="mine", answer=lambda call: Answer("yes")) as endpoint:
        (home / "anybatch.toml").write_text(
            f'[providers.lab]\nbase_url = "{endpoint.base_url}"\nkey_env = "MY_KEY"\n'
        )
        words = ["run", "in.csv", "--prompt", "{{ text }}", "--model", "lab/fake-1", "-o", "-"]
        finished = anybatch(*words, home=home, MY_KEY="mine")

    assert finished.returncode == 0
    assert finished.stdout.count("yes") == len(TEXTS)


# --- the face itself ---


def test_runs_live_where_the_option_says_then_where_the_environment_says(
    home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint, "--store", "here"), home=home)

    by_option = anybatch("runs", "--store", "here", "--json", home=home)
    by_environment = anybatch("runs", "--json", home=home, ANYBATCH_HOME=str(home / "here"))
    elsewhere = anybatch("runs", "--json", home=home)

    assert len(json.loads(by_option.stdout)) == len(json.loads(by_environment.stdout)) == 1
    assert json.loads(elsewhere.stdout) == []


def test_it_says_its_version(tmp_path: Path) -> None:
    finished = anybatch("--version", home=tmp_path)

    assert (finished.returncode, finished.stdout) == (0, package.__version__ + "\n")


def test_a_shell_gets_its_completion(tmp_path: Path) -> None:
    script = anybatch(home=tmp_path, _ANYBATCH_COMPLETE="source_bash")
    found = anybatch(
        home=tmp_path,
        _ANYBATCH_COMPLETE="complete_bash",
        COMP_WORDS="anybatch show-",
        COMP_CWORD="1",
    )

    assert "complete -o default -F _anybatch_completion anybatch" in script.stdout
    assert found.stdout.split() == ["show-request"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_no_error(
    closed: str, home: Path, endpoint: FakeEndpoint
) -> None:
    words = command(*asking(endpoint, "-o", "out.csv"))
    shell = ["bash", "-c", f'"$@" {closed}', "bash", *words]

    finished = subprocess.run(shell, cwd=home, env=environment(home), check=False)

    assert finished.returncode == 0
    assert len(table(home / "out.csv")) == len(TEXTS)
