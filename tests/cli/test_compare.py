"""`anybatch compare`: the same rows through two settings, and two runs that are there."""

import json
import random
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings
from anybatch.testing import Answer, Call, FakeEndpoint, FakeOpenAI, Phases, in_packs

from .process import LIMIT_S, anybatch, kill, report, start, until, write_rows

ROWS = 40
PRICES = """
[prices."openai/a"]
input = 2
output = 8
batch = {input = 1, output = 4}
[prices."openai/b"]
input = 0.5
output = 1
"""


def number_of(call: Call) -> int:
    return int(call.prompt.split()[-1])


def label(call: Call) -> str:
    """`a` tells odd from even; `b` says something else of every tenth row, and nothing of row 7."""
    number = number_of(call)
    said = "odd" if number % 2 else "even"
    if call.model == "b" and number % 10 == 0:
        said = "other"
    if call.model == "b" and number == 7:
        return "?"
    return json.dumps({"label": said, "size": number * (1.001 if call.model == "b" else 1)})


FIELDS = ["--field", "label:odd|even|other", "--field", "size:number"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])
    (tmp_path / "anybatch.toml").write_text(PRICES)
    return tmp_path


@pytest.fixture
def service() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(answer=label) as service:
        yield service


def words(service: FakeOpenAI, *more: object, data: object = "in.csv") -> list[object]:
    ask = ["--prompt", "Say {{ text }}", "--model", "openai/a", "--base-url", service.base_url]
    return ["compare", data, *ask, *FIELDS, "--with-model", "openai/b", *more]


def paid(service: FakeOpenAI) -> int:
    """Rows and calls that were billed."""
    return service.ledger.billed + len(service.calls.ledger.executions)


def field(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in said["fields"] if each["name"] == name)
    return found


# --- two settings ---


def test_the_same_rows_go_through_both_and_agreement_is_counted_on_rows_valid_in_both(
    home: Path, service: FakeOpenAI
) -> None:
    finished = anybatch(*words(service, "--json"), home=home)

    said = report(finished)
    assert finished.returncode == 3  # a row of one side has no valid answer
    assert (said["rows"], said["both_valid"], said["neither_valid"]) == (40, 39, 0)
    assert (said["only_a_valid"], said["only_b_valid"]) == (1, 0)
    labels, sizes = field(said, "label"), field(said, "size")
    assert (labels["kind"], labels["count"], labels["of"]) == ("exact", 35, 39)
    assert (labels["low"], labels["high"]) == pytest.approx((0.764, 0.959), abs=1e-3)
    assert labels["changes"] == [{"a": "even", "b": "other", "times": 4}]
    assert (sizes["kind"], sizes["count"]) == ("number", 39)
    assert said["agree"]["count"] == 35
    assert [each["row"]["id"] for each in said["differences"]] == ["0", "10", "20", "30"]
    assert said["differences"][1]["answers"] == {"label": {"a": "even", "b": "other"}}


def test_what_each_side_cost_is_what_the_service_charged(home: Path, service: FakeOpenAI) -> None:
    finished = anybatch(
        *words(service, "--executor", "batch", "--with-executor", "online", "--json"), home=home
    )

    said = report(finished)
    tokens = (said["a"]["tokens_in"] * 1 + said["a"]["tokens_out"] * 4) / 1e6
    online = service.calls.ledger.executions
    calls = sum(call.tokens_in * 0.5 + call.tokens_out * 1 for call in online) / 1e6
    assert said["a"]["dollars"] == pytest.approx(tokens)
    assert said["b"]["dollars"] == pytest.approx(calls)
    assert len(online) == 41  # row 7 is asked again
    assert said["b"]["dollars_each"] == pytest.approx(calls / 39)
    assert said["a"]["seconds"] > 0 < said["b"]["seconds"]
    assert service.ledger.billed == 40


def test_rows_asked_several_at_a_time_are_held_against_single_ones(home: Path) -> None:
    more = ["--with-model", "openai/a", "--executor", "batch", "--with-pack", 5, "--json"]
    with FakeOpenAI(answer=in_packs(label)) as service:
        finished = anybatch(*words(service, *more), home=home)

    said = report(finished)
    assert finished.returncode == 0
    assert (said["both_valid"], said["agree"]["count"]) == (ROWS, ROWS)
    assert service.ledger.billed == ROWS + ROWS / 5


def test_typed_again_it_pays_nothing(home: Path, service: FakeOpenAI) -> None:
    first = anybatch(*words(service, "--rows", 20, "--json"), home=home)
    billed = paid(service)
    again = anybatch(*words(service, "--rows", 20, "--json"), home=home)

    assert report(again) == report(first)
    assert paid(service) == billed > 39


def test_a_sample_is_the_same_on_both_sides_and_tells_of_the_whole(
    home: Path, service: FakeOpenAI
) -> None:
    finished = anybatch(*words(service, "--rows", 12, "--json"), home=home)
    shown = anybatch(*words(service, "--rows", 12), home=home)
    other = report(anybatch(*words(service, "--rows", 12, "--seed", 1, "--json"), home=home))

    said = report(finished)
    prompts = [call.prompt for call in service.calls.ledger.executions if call.model == "a"]
    assert (said["rows"], said["rows_of"]) == (12, 40)
    assert len(prompts) == 24
    assert set(prompts[:12]) != set(prompts[12:])
    for difference in said["differences"]:
        assert difference["place"] == f"row {difference['row']['id']}"
    assert shown.stdout.splitlines()[1].startswith("dollars ")
    assert "all 40 rows" in shown.stdout
    assert "12 rows tell little" in shown.stdout or "11 rows tell little" in shown.stdout
    assert other["a"]["run"] != said["a"]["run"]


def test_a_run_of_all_rows_is_one_of_the_sides(home: Path, service: FakeOpenAI) -> None:
    base = ["--prompt", "Say {{ text }}", "--model", "openai/a", "--base-url", service.base_url]
    run = report(anybatch("run", "in.csv", *base, *FIELDS, "--json", home=home))
    before = paid(service)

    said = report(anybatch(*words(service, "--json"), home=home))

    assert said["a"]["run"] == run["id"]
    assert paid(service) == before + 41


def killed(home: Path, *, seed: int, kills: int) -> None:
    """Both sides by batch, killed at random moments and typed again until all is done."""
    chance = random.Random(seed)
    (home / "anybatch.toml").write_text(f"search_seconds = 0.3\n{PRICES}")
    typed = ["--executor", "batch", "--with-prompt", "Tell {{ text }}", "--with-model", "openai/a"]

    with FakeOpenAI(answer=label, phases=Phases(in_progress=0.6)) as service:
        for _ in range(kills):
            wanted = len(service.ledger.exchanges) + chance.randint(0, 8)
            process = start(*words(service, *typed, "--json"), home=home)
            until(
                lambda: (
                    process.poll() is not None  # noqa: B023
                    or len(service.ledger.exchanges) >= wanted  # noqa: B023
                ),
                what="the moment to kill",
            )
            time.sleep(chance.random() * 0.02)
            kill(process)
        finished = anybatch(*words(service, *typed, "--json"), home=home)

    assert finished.returncode == 0, finished.stderr
    assert report(finished)["agree"]["count"] == ROWS
    assert service.ledger.billed == 2 * ROWS
    assert service.ledger.billed_twice == {}
    assert service.ledger.repeated_batches == ()


def test_killed_and_typed_again_it_pays_for_no_row_twice(home: Path) -> None:
    killed(home, seed=3, kills=2)


@pytest.mark.gauntlet
@pytest.mark.parametrize("seed", range(1_000, 1_020))
def test_killed_at_any_moment_it_pays_for_no_row_twice(seed: int, home: Path) -> None:
    killed(home, seed=seed, kills=3)


def test_interrupted_it_says_so_and_goes_on(home: Path) -> None:
    with FakeOpenAI(answer=label, calls=FakeEndpoint(answer=label, latency=0.1)) as service:
        typed = words(service, "--concurrency", 2)
        process = start(*typed, home=home)
        until(lambda: len(service.calls.ledger.executions) >= 6, what="calls")
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=LIMIT_S)
        finished = anybatch(*words(service, "--concurrency", 20, "--json"), home=home)
        executions = service.calls.ledger.executions

    assert (process.returncode, out) == (130, b"")
    assert b"the comparison comes once both runs are over" in said
    assert report(finished)["both_valid"] == 39
    assert len(executions) == 81


def test_what_one_service_answers_in_real_time_goes_one_after_the_other(
    home: Path, service: FakeOpenAI
) -> None:
    anybatch(*words(service), home=home)

    models = [call.model for call in service.calls.ledger.executions]
    assert models == ["a"] * 40 + ["b"] * 41


def test_what_stops_the_first_side_is_not_tried_on_the_second(home: Path) -> None:
    with FakeOpenAI(answer=label, key="right") as service:
        stopped = anybatch(*words(service), home=home, OPENAI_API_KEY="wrong")
        listed = json.loads(anybatch("runs", "--json", home=home).stdout)
        finished = anybatch(*words(service, "--json"), home=home, OPENAI_API_KEY="right")

    assert (stopped.returncode, stopped.stdout) == (4, "")
    assert "the key is wrong or not allowed. Mend that" in stopped.stderr
    assert [(run["status"], run["counts"]) for run in listed] == [
        ("waiting", {}),
        ("stopped", {"auth": 40}),
    ]
    assert report(finished)["both_valid"] == 39


def test_what_is_not_said_again_is_the_same(home: Path) -> None:
    """An address goes with its provider, though."""
    more = ["--system", "Be short.", "--set", "temperature=0", "--set", "max_tokens=50"]

    with FakeOpenAI(answer=label) as one, FakeEndpoint(answer=label) as other:
        with_other = ["--with-model", "lab/b", "--with-base-url", other.base_url]
        anybatch(*words(one, *more, *with_other), home=home)
        first = anybatch("show-request", "last", 0, home=home).stdout
        anybatch(*words(one, *more, "--with-system", "", "--with-set", "n=1"), home=home)
        second = anybatch("show-request", "last", 0, home=home).stdout

    told, bare = json.loads(first), json.loads(second)
    assert told["messages"][0] == {"role": "system", "content": "Be short."}
    assert (told["temperature"], told["max_tokens"], told["model"]) == (0, 50, "b")
    assert len(other.ledger.executions) == 41
    assert [message["role"] for message in bare["messages"]] == ["user"]
    assert "temperature" not in bare
    assert bare["n"] == 1


def test_a_free_text_is_held_against_a_label(home: Path) -> None:
    def answer(call: Call) -> str:
        return json.dumps({"label": "odd"}) if call.schema else " Odd\n"

    with FakeOpenAI(answer=answer) as service:
        base = ["--prompt", "{{ text }}", "--model", "openai/a", "--base-url", service.base_url]
        said = report(
            anybatch("compare", "in.csv", *base, "--with-labels", "odd,even", "--json", home=home)
        )

    assert [(each["name"], each["count"]) for each in said["fields"]] == [("answer / label", 40)]


def test_texts_have_a_likeness_and_the_most_different_come_first(home: Path) -> None:
    def answer(call: Call) -> str:
        unlike = call.model == "b" and number_of(call) == 5
        return "something else" if unlike else f"the answer is {number_of(call)} {call.model}"

    with FakeOpenAI(answer=answer) as service:
        base = ["--prompt", "{{ text }}", "--model", "openai/a", "--base-url", service.base_url]
        typed = ["compare", "in.csv", *base, "--with-model", "openai/b"]
        said = report(anybatch(*typed, "--json", home=home))

    answers = field(said, "answer")
    assert (answers["kind"], answers["count"]) == ("text", 0)
    assert 0.8 < answers["likeness"]["low"] < answers["likeness"]["mean"] < 1
    assert said["differences"][0]["n"] == 5


def test_vectors_are_held_against_each_other_by_their_cosine(home: Path) -> None:
    def answer(call: Call) -> Answer:
        number = number_of(call)
        turned = call.model == "b" and number % 4 == 0
        cut = call.model == "b" and number == 1
        vector = [0.0, 1.0] if turned else [1.0, 1.0, 1.0] if cut else [1.0, 0.0]
        return Answer(vectors=[vector])

    with FakeOpenAI(answer=answer) as service:
        base = ["--prompt", "{{ text }}", "--model", "openai/a", "--base-url", service.base_url]
        ask = [*base, "--api", "openai.embeddings", "--with-model", "openai/b"]
        said = report(anybatch("compare", "in.csv", *ask, "--json", home=home))

    vectors = field(said, "embedding")
    assert (vectors["kind"], vectors["count"], vectors["of"]) == ("direction", 29, 40)
    assert vectors["incomparable"] == 1
    assert vectors["likeness"]["mean"] == pytest.approx(29 / 39)
    unlike = next(each for each in said["differences"] if each["n"] == 1)
    assert unlike["answers"] == {"embedding": {"a": "2 numbers", "b": "3 numbers"}}


def test_what_is_found_in_a_text_is_compared_part_by_part(home: Path) -> None:
    def answer(call: Call) -> str:
        return "violence" if call.model == "b" and number_of(call) < 10 else ""

    with FakeOpenAI(answer=answer) as service:
        base = ["--prompt", "{{ text }}", "--model", "openai/a", "--base-url", service.base_url]
        ask = [*base, "--api", "openai.moderations", "--with-model", "openai/b"]
        said = report(anybatch("compare", "in.csv", *ask, "--json", home=home))

    assert {each["name"]: each["count"] for each in said["fields"]} == {
        "flagged": 30,
        "categories": 30,
        "scores": 30,
    }
    assert field(said, "scores")["kind"] == "direction"


def test_rows_that_one_side_leaves_out_are_left_out_of_both(
    home: Path, service: FakeOpenAI
) -> None:
    rows = [{"text": f"row {n}", **({} if n % 5 == 0 else {"more": n})} for n in range(1, 31)]
    (home / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    more = ["--with-prompt", "{{ more }} {{ text }}", "--bad-rows", "skip", "--json"]

    said = report(anybatch(*words(service, *more, data="in.jsonl"), home=home))

    assert (said["a"]["total"], said["b"]["total"], said["rows"]) == (30, 24, 24)
    assert field(said, "label")["count"] == said["both_valid"] == 23
    assert field(said, "size")["count"] == 23


# --- two runs ---


def two_runs(home: Path, service: FakeOpenAI, second: str = "in.csv") -> tuple[str, str]:
    ids = []
    for model, data in (("a", "in.csv"), ("b", second)):
        ask = ["--prompt", "Say {{ text }}", "--model", f"openai/{model}", *FIELDS]
        base = ["--base-url", service.base_url, "--json"]
        ids.append(report(anybatch("run", data, *ask, *base, home=home))["id"])
    return ids[0], ids[1]


def test_two_runs_are_compared_as_they_are(home: Path, service: FakeOpenAI) -> None:
    runs = two_runs(home, service)
    before = paid(service)

    finished = anybatch("compare", *runs, "--json", home=home)
    shown = anybatch("compare", *runs, home=home)

    said = report(finished)
    assert (finished.returncode, shown.returncode) == (0, 0)
    assert (said["a"]["run"], said["b"]["run"]) == runs
    assert field(said, "label")["count"] == 35
    assert "even → other: 4" in shown.stdout
    assert paid(service) == before


def test_runs_that_cannot_be_compared_are_refused_in_a_line(
    home: Path, service: FakeOpenAI
) -> None:
    write_rows(home / "other.csv", ["row 1", "row 2"])
    one, other = two_runs(home, service, "other.csv")
    refused = {
        (one, other): "the rows are not the same; compare runs of the same data",
        (one, other, "--model", "openai/c"): "--model says what is to be asked",
        (one, other, "--rows", "5"): "--rows says what is to be asked",
        (one, one[:6]): f"both are run {one}: nothing differs",
        (one, "nobody"): "there is no run 'nobody'",
    }

    for typed, why in refused.items():
        finished = anybatch("compare", *typed, home=home)

        assert (finished.returncode, finished.stdout) == (1, "")
        assert finished.stderr.count("\n") == 1
        assert why in finished.stderr


# --- what is refused ---


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--with-model", "openai/a"], "both sides ask the same"),
        (["--with-model", "nobody/x", "--with-base-url", ""], "there is no provider 'nobody'"),
        (["--with-prompt", "{{ txet }}"], "the prompt names 'txet'"),
        (["--with-labels", "x,y", "--with-field", "z"], "both describe the answer"),
        (["--with-executor", "slow"], "executor 'slow' is unknown"),
        (["--with-set", "x"], "--set 'x': write it as name=value"),
        (["--rows", "0"], "--rows"),
        (["--tolerance", "2"], "--tolerance"),
        (["--bad-rows", "what"], "--bad-rows 'what' is unknown"),
        (["--html", "out.txt"], "a page is called .html"),
        (["--html", "nowhere/out.html"], "does not exist"),
        (["--html", "taken.html"], "'taken.html' exists"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_anything_is_sent(
    more: list[str], why: str, home: Path, service: FakeOpenAI
) -> None:
    (home / "taken.html").write_text("<p>mine</p>")

    finished = anybatch(*words(service, *more), home=home)

    workspace = open_workspace(Settings(home=home / "store"))
    planned = workspace.store.runs()
    workspace.store.close()
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert why in finished.stderr
    assert paid(service) == 0
    assert planned == []


def test_data_has_to_be_named(home: Path) -> None:
    finished = anybatch("compare", "--prompt", "x", "--with-prompt", "y", home=home)

    assert finished.returncode == 1
    assert "name the data" in finished.stderr


def test_a_side_without_a_price_says_so(home: Path, service: FakeOpenAI) -> None:
    finished = anybatch(*words(service, "--with-model", "openai/nobody-knows"), home=home)

    assert "no price" in finished.stdout.splitlines()[1]
    assert "B has no price: " in finished.stdout


# --- the page ---


def test_a_page_is_written_and_written_anew_but_nothing_else_is_lost(
    home: Path, service: FakeOpenAI
) -> None:
    page = home / "out.html"

    first = anybatch(*words(service, "--html", "out.html"), home=home)
    written = page.read_bytes()
    again = anybatch(*words(service, "--html", "out.html"), home=home)
    page.write_text("mine")
    refused = anybatch(*words(service, "--html", "out.html"), home=home)
    kept = page.read_text()
    forced = anybatch(*words(service, "--html", "out.html", "--force"), home=home)

    assert [run.returncode for run in (first, again, refused, forced)] == [3, 3, 1, 3]
    assert b"35 of 39 (89.7%)" in written
    assert kept == "mine"
    assert page.read_bytes() == written
