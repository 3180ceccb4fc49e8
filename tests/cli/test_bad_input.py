"""A wrong command gets one line: what, where, the way out. It leaves nothing behind."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from anybatch.core.model import Spec
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import Workspace
from anybatch.settings import Settings
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import FakeEndpoint

from .process import anybatch, environment

REQUEST = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
}
FILES: dict[str, bytes] = {
    "in.csv": b"id,text\n1,one\n2,two\n",
    "empty.csv": b"",
    "header.csv": b"id,text\n",
    "ragged.csv": b"id,text\n1,one\n2,two,too many\n",
    "no-encoding.csv": b"id,text\n" + bytes(range(128, 256)) * 30,
    "in.docx": b"text",
    "in.parquet": b"not Parquet at all",
    "requests.jsonl": json.dumps(REQUEST).encode() + b"\n",
    "broken.jsonl": b'{"id": 1}\n{"id": \n',
    "not.json": b'{"type": ',
    "list.json": b"[1, 2]",
    "unsound.json": b'{"type": "nonsense"}',
    "half.jsonl": b'{"text": "a\\ud800b"}\n',
    "latin.txt": "größe {{ text }}".encode("latin-1"),
    "models.py": b"class NoModel: pass\n",
    "there.csv": b"mine\n",
    "weights.gguf": b"GG",
}
"""What lies in the folder that every command runs in."""

ENDPOINT = "--model fake/m --base-url http://127.0.0.1:9/v1"
ASK = f"run in.csv --prompt {{{{text}}}} {ENDPOINT}"


class Wrong(NamedTuple):
    """A wrong command, and words that its one line must hold."""

    command: str
    says: tuple[str, ...]


def ask(more: str, *says: str) -> Wrong:
    return Wrong(f"{ASK} {more}", says)


def read(data: str, *says: str) -> Wrong:
    return Wrong(ASK.replace("in.csv", data), says)


WRONG = {
    # the data
    "no data": Wrong(f"run --prompt x {ENDPOINT}", ("FILE", "--sql")),
    "a missing file": read("gone.csv", "'gone.csv'", "does not exist", "path"),
    "an empty file": read("empty.csv", "'empty.csv'", "empty", "at least one row"),
    "a header alone": read("header.csv", "'header.csv'", "no row", "at least one row"),
    "an unknown extension": read("in.docx", "'in.docx'", "'.docx'", ".csv"),
    "a ragged row": read("ragged.csv", "'ragged.csv'", "line 3", "3 fields", "--bad-rows skip"),
    "bytes of no encoding": read("no-encoding.csv", "'no-encoding.csv'", "UTF-8"),
    "a broken line of JSON": read("broken.jsonl", "'broken.jsonl'", "line 2", "--bad-rows skip"),
    "a Parquet file that is none": read("in.parquet", "'in.parquet'"),
    "nothing on stdin": read("-", "'stdin'", "empty"),
    "a glob that finds nothing": read("*.nothing", "'*.nothing'"),
    "half a surrogate pair": read("half.jsonl", "'half.jsonl'", "line 1", "half a surrogate pair"),
    "a query that does not parse": Wrong(
        f"run --sql select --prompt x {ENDPOINT}", ("the SQL query", "Parser Error", "Correct it")
    ),
    "a query for what is not there": Wrong(
        f"run in.csv --sql select/**/nope/**/from/**/data --prompt x {ENDPOINT}",
        ("the SQL query", '"nope" not found', "Correct it"),
    ),
    "two files": read("in.csv in.csv", "unexpected", "anybatch run --help"),
    # the prompt
    "no prompt": Wrong(f"run in.csv {ENDPOINT}", ("--prompt", "missing")),
    "an empty prompt": Wrong(f"run in.csv --prompt= {ENDPOINT}", ("--prompt", "empty")),
    "a column that is not there": ask("--prompt {{txt}}", "'txt'", "'id', 'text'"),
    "a column missing in the system prompt": ask("--system {{txt}}", "'txt'", "'id', 'text'"),
    "a template that does not parse": ask("--prompt {{text", "template", "line 1"),
    "a template that leads out of its sandbox": ask(
        "--prompt {{text.__class__}}", "template names '__class__'", "forbids. Leave it out"
    ),
    "a template that takes in another": ask("--prompt {%include'x'%}", "template", "Write out"),
    "a template that takes all memory": ask(
        "--prompt {{'x'*10**13}}", "row 1", "MemoryError. Mend the template or the row"
    ),
    "a template that fails on a row": ask("--prompt {{1/(text-1)}}", "row 1", "Mend the template"),
    "a missing prompt file": ask("--prompt @gone.txt", "'gone.txt'", "@"),
    "a prompt file that is not UTF-8": ask("--prompt @latin.txt", "'latin.txt'", "UTF-8"),
    "requests with a prompt": read("requests.jsonl", "'requests.jsonl'", "ready-made", "--prompt"),
    # the answer
    "a missing schema file": ask("--schema gone.json", "'gone.json'", "module:Class"),
    "a schema that is not JSON": ask("--schema not.json", "'not.json'", "not JSON"),
    "a schema that is no object": ask("--schema list.json", "'list.json'", "JSON Schema", "mend"),
    "a schema that is not sound": ask(
        "--schema unsound.json", "'unsound.json'", "at ['type']", "nonsense", "correct it there"
    ),
    "a module that is not there": ask("--schema nowhere:Class", "'nowhere:Class'", "import"),
    "a class that is not there": ask("--schema models:Gone", "'models:Gone'", "'Gone'"),
    "a class that is no model": ask("--schema models:NoModel", "models:NoModel", "pydantic"),
    "a label twice": ask("--labels a,b,a", "labels", "different", "'a'"),
    "an empty label": ask("--labels a,,b", "labels", "empty", "''"),
    "no label": ask("--labels=", "labels", "empty"),
    "labels and a field": ask("--labels a,b --field x", "labels and fields", "one of them"),
    "a schema and labels": ask("--schema x.json --labels a,b", "schema and labels"),
    "an unknown field type": ask("--field x:what", "'x:what'", "'what'", "integer"),
    "a field twice": ask("--field x --field x", "'x'", "twice"),
    # the model
    "an unknown provider": Wrong(
        "run in.csv --prompt x --model nobody/m",
        ("'nobody'", "openai", "--base-url", "[providers.nobody]"),
    ),
    "no key": Wrong("run in.csv --prompt x --model openai/m", ("'openai'", "OPENAI_API_KEY")),
    "no model": ask("--model fake", "--model PROVIDER/MODEL", "missing"),
    "an address that is none": ask("--base-url ftp://x", "--base-url", "'ftp://x'", "https://"),
    "an address without a host": ask("--base-url http://", "'http://'", "https://"),
    "a port that is none": ask("--base-url http://127.0.0.1:99999/v1", "99999", "https://"),
    "an unknown api": ask("--api openai.nope", "'openai.nope'", "openai.chat"),
    "an unknown local model": Wrong(
        "run in.csv --prompt x --model local/nope", ("'nope'", "local/smollm2", ".gguf")
    ),
    "weights that are not there": Wrong(
        "run in.csv --prompt x --model local/gone.gguf", ("'gone.gguf'", ".gguf")
    ),
    "an api that a local model has not": Wrong(
        "run in.csv --prompt x --api openai.responses --model local/smollm2",
        ("'local'", "openai.responses", "openai.chat"),
    ),
    "a parameter without a value": ask("--set temperature", "'temperature'", "name=value"),
    "a parameter that names the model": ask("--set model=x", "'model'", "not yours to set"),
    "a parameter that is the prompt": ask("--set messages=[]", "'messages'", "not yours to set"),
    "a parameter that asks for a stream": ask("--set stream=true", "'stream'", "not yours to set"),
    "a system prompt for an embedding": ask(
        "--api openai.embeddings --system x", "openai.embeddings", "no system prompt"
    ),
    # the pace, the rows
    "no concurrency": ask("--concurrency 0", "'--concurrency'", "anybatch run --help"),
    "a limit that is no number": ask("--rpm many", "'--rpm'", "anybatch run --help"),
    "an unknown policy": ask("--bad-rows maybe", "'maybe'", "fail, skip"),
    # the output
    "a file in the way": ask("-o there.csv", "'there.csv'", "exists", "--force"),
    "a folder that is not there": ask("-o gone/out.csv", "'gone'", "does not exist"),
    "an output of no format": ask("-o out.docx", "'out.docx'", ".csv"),
    "two things on stdout": ask("-o - --json", "--json", "-o -", "one of them"),
    # other commands
    "an unknown option": ask("--nope", "--nope", "anybatch run --help"),
    "an unknown command": Wrong("nope", ("'nope'", "anybatch --help")),
    "an unknown run": Wrong("status nope", ("'nope'", "anybatch runs")),
    "no run at all": Wrong("results last", ("'last'", "anybatch runs")),
    "an unknown outcome": Wrong("retry last --only nope", ("'nope'", "rate_limited")),
    "no outcome": Wrong("retry last", ("'--only'", "anybatch retry --help")),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_command_is_answered_in_one_line_and_leaves_nothing(
    wrong: Wrong, home: Path
) -> None:
    before = listing(home)

    finished = anybatch(*wrong.command.split(), home=home)

    assert_one_line(finished, *wrong.says)
    assert listing(home) == before
    assert remains(home) == []


def listing(home: Path) -> dict[str, bytes]:
    """Every file but those of the store and of Python."""
    ours = (path for path in home.rglob("*") if path.is_file())
    return {
        str(path): path.read_bytes()
        for path in ours
        if not path.is_relative_to(home / "store") and "__pycache__" not in path.parts
    }


def remains(home: Path) -> list[str]:
    """The runs in the store, and what lies where their files would."""
    if not (home / "store").exists():
        return []
    store = SqliteStore(home / "store")
    try:
        return [run.id for run in store.runs()] + [p.name for p in (store.root / "runs").iterdir()]
    finally:
        store.close()


def test_a_store_where_none_can_be_is_answered_with_a_way_out(home: Path) -> None:
    finished = anybatch(*ASK.split(), "--store", "/proc/gone", home=home)

    says = "cannot write '/proc/gone': no such file or directory; check that place or"
    assert_one_line(finished, says, "--store", exit_code=4)


@pytest.mark.parametrize(
    "command",
    [
        "status last --json",
        "watch last",
        "results last",
        "results last --bodies",
        "show-request last 0",
        "retry last --only network",
        "cancel last",
        "rm last --yes",
    ],
)
def test_a_mistyped_store_is_not_made(command: str, home: Path) -> None:
    finished = anybatch(*command.split(), "--store", "typo", home=home)

    assert_one_line(finished, "'last'", "'typo'", "--store", "anybatch runs")
    assert not (home / "typo").exists()


def test_to_list_the_runs_of_a_mistyped_store_does_not_make_it(home: Path) -> None:
    listed = anybatch("runs", "--store", "typo", home=home)
    told = anybatch("runs", "--json", "--store", "typo", home=home)

    assert (listed.returncode, listed.stderr) == (0, "there are no runs in 'typo' yet\n")
    assert (told.returncode, told.stdout) == (0, "[]\n")
    assert not (home / "typo").exists()


def test_settings_cannot_give_what_follows_from_what_is_asked(home: Path) -> None:
    (home / "anybatch.toml").write_text('[providers.fake]\nparameters = {model = "x"}\n')

    finished = anybatch(*ASK.split(), home=home)

    assert_one_line(finished, "[providers.fake] in anybatch.toml", "'model'", "may not")


NEVER_SAID = ("describe select", "^", "LINE 1", "..", ": .")
"""What only a library would say, and what is left where nothing was said."""


def assert_one_line(
    finished: subprocess.CompletedProcess[str], *says: str, exit_code: int = 1
) -> None:
    assert finished.returncode == exit_code, finished.stderr
    assert finished.stdout == ""
    assert finished.stderr.startswith("anybatch: ")
    assert finished.stderr.endswith("\n")
    assert finished.stderr.count("\n") == 1
    for word in says:
        assert word in finished.stderr
    for word in NEVER_SAID:
        assert word not in finished.stderr


def test_debug_shows_where_a_wrong_command_failed(home: Path) -> None:
    finished = anybatch("--debug", *ASK.split(), "--schema", "not.json", home=home)

    assert finished.returncode == 1
    assert "Traceback" in finished.stderr
    assert "BadSchema" in finished.stderr


def test_debug_is_no_option_where_it_is_a_value(home: Path) -> None:
    finished = anybatch("run", "in.csv", "--prompt", "--debug", "--model", "nobody/m", home=home)

    assert_one_line(finished, "'nobody'")


def test_a_prompt_may_be_the_word_debug(home: Path) -> None:
    with FakeEndpoint() as endpoint:
        words = ["--model", "fake/m", "--base-url", endpoint.base_url]
        finished = anybatch("run", "in.csv", "--prompt", "--debug", *words, home=home)

    assert finished.returncode == 0
    assert set(endpoint.ledger.by_prompt) == {"--debug"}


BROKEN = """
from anybatch.cli import main
from anybatch.cli.app import app
from anybatch.cli.options import Debug

@app.command()
def broken(debug: Debug = False) -> None:
    raise ZeroDivisionError("two\\nlines")

main()
"""
"""The command line with a command that has a mistake."""


def broken(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BROKEN, *words],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
    )


def test_a_mistake_of_ours_is_told_in_one_line(home: Path) -> None:
    finished = broken(home, "broken")

    assert_one_line(
        finished, "a mistake of ours", "ZeroDivisionError: two lines", "--debug", exit_code=4
    )


@pytest.mark.parametrize("words", [["--debug", "broken"], ["broken", "--debug"]])
def test_a_mistake_of_ours_has_a_traceback_if_one_asks_for_it(words: list[str], home: Path) -> None:
    finished = broken(home, *words)

    assert finished.returncode == 4
    assert finished.stderr.startswith("Traceback")
    assert "a mistake of ours" not in finished.stderr


def test_debug_may_stand_anywhere(home: Path) -> None:
    finished = anybatch(*ASK.split(), "--schema", "not.json", "--debug", home=home)

    assert "Traceback" in finished.stderr


SETTINGS = {
    "a broken file": ("[providers\n", ("anybatch.toml", "line 1")),
    "an unknown setting": ("colour = 1", ("anybatch.toml", "'colour'", "[providers.NAME]")),
    "a provider that is no table": ("providers = 1", ("anybatch.toml", "[providers.NAME]")),
    "an unknown provider setting": (
        '[providers.lab]\nbase_url = "http://127.0.0.1:9/v1"\nspeed = 1',
        ("[providers.lab]", "'speed'", "concurrency"),
    ),
    "a limit that is no number": (
        '[providers.lab]\nbase_url = "http://127.0.0.1:9/v1"\nrpm = "many"',
        ("[providers.lab]", "rpm", "'many'"),
    ),
    "a deadline that is none": ("deadline_seconds = 0", ("deadline_seconds", "0")),
}


@pytest.mark.parametrize(("text", "says"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_wrong_setting_is_answered_in_one_line(
    text: str, says: tuple[str, ...], home: Path
) -> None:
    (home / "anybatch.toml").write_text(text)

    finished = anybatch("run", "in.csv", "--prompt", "x", "--model", "lab/m", home=home)

    assert_one_line(finished, *says)
    assert remains(home) == []


# --- stores ---


@pytest.fixture
def planned(home: Path) -> Iterator[Workspace]:
    """A store with two runs that nobody has worked on: aa11 and aa22, two rows each."""
    ids = iter(("aa11", "aa22"))
    settings = Settings(home=home / "store")
    workspace = Workspace(
        settings=settings, store=SqliteStore(settings.home), new_id=lambda: next(ids)
    )
    for prompt in ("{{ text }}?", "{{ text }}!"):
        spec = Spec(
            provider="fake",
            model="m",
            api="openai.chat",
            base_url="http://127.0.0.1:9/v1",
            prompt=prompt,
        )
        workspace.plan(open_source(str(home / "in.csv")), spec)
    yield workspace
    workspace.store.close()


WRONG_OF_A_RUN = {
    "a start that two runs have": Wrong("status aa", ("'aa'", "more than one", "anybatch runs")),
    "a request beyond the last": Wrong("show-request aa11 2", ("aa11", "0 to 1", "2")),
    "a request below the first": Wrong("show-request aa11 -- -1", ("'N'", "--help")),
    "a request that is no number": Wrong("show-request aa11 one", ("'N'", "--help")),
    "an outcome that no row has": Wrong("retry aa11 --only network", ("aa11", "network")),
    "results in the way of a file": Wrong(
        "results aa11 -o there.csv", ("'there.csv'", "exists", "--force")
    ),
    "results in two places": Wrong("results aa11 -o new.csv --json", ("--json", "-o")),
}


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("wrong", WRONG_OF_A_RUN.values(), ids=WRONG_OF_A_RUN.keys())
def test_a_wrong_command_about_a_run_is_answered_in_one_line(wrong: Wrong, home: Path) -> None:
    before = listing(home)

    finished = anybatch(*wrong.command.split(), home=home)

    assert_one_line(finished, *wrong.says)
    assert listing(home) == before


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "words",
    [
        ["status", ""],
        ["watch", ""],
        ["results", ""],
        ["show-request", "", "0"],
        ["retry", "", "--only", "network"],
        ["cancel", ""],
        ["rm", "", "--yes"],
    ],
    ids=lambda words: words[0],
)
def test_an_empty_word_names_no_run(
    words: list[str], count: int, home: Path, planned: Workspace
) -> None:
    if count == 1:
        planned.store.delete("aa22")
    before = remains(home)

    finished = anybatch(*words, home=home)

    assert_one_line(finished, "''", "anybatch runs")
    assert remains(home) == before


@pytest.mark.usefixtures("planned")
def test_a_store_that_a_newer_version_wrote_is_left_alone(home: Path) -> None:
    with sqlite3.connect(home / "store" / "anybatch.db") as db:
        db.execute("pragma user_version = 999")
    db.close()

    finished = anybatch("runs", home=home)

    assert_one_line(finished, "newer", "999", "--store", exit_code=4)


def test_a_file_where_the_store_should_be_is_left_alone(home: Path) -> None:
    finished = anybatch(*ASK.split(), "--store", "there.csv", home=home)

    assert_one_line(finished, "'there.csv'", "--store", exit_code=4)
    assert (home / "there.csv").read_bytes() == FILES["there.csv"]


def test_a_foreign_database_where_the_store_should_be_is_left_alone(home: Path) -> None:
    (home / "store").mkdir()
    (home / "store" / "anybatch.db").write_bytes(b"no database at all, " * 100)

    finished = anybatch("runs", home=home)

    assert_one_line(finished, "anybatch.db", "--store", exit_code=4)
