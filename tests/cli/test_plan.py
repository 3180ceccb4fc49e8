"""`anybatch plan`: free, without a key, without a trace."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from anybatch.cli.app import app
from anybatch.errors import UsageError
from anybatch.testing import FakeOpenAI

from .process import anybatch, report, write_rows
from .terminal import Terminal

TEXTS = ["one", "two", "three", "one"]
LUNA = ("--model", "openai/gpt-6-luna")
ASK = ("plan", "in.csv", "--prompt", "What is {{ text }}?", "--set", "max_tokens=100")
NUMBERS = ("--input-tokens", 2_200, "--output-tokens", 20, "--shared-tokens", 2_000)
TICKETS = ("plan", "--requests", "100000", *NUMBERS)


Refused = Callable[[Sequence[object], str], None]


@pytest.fixture
def refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Holds that words are refused in one line that says this; in this process, which is quick."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("ANYBATCH_HOME", str(home / "store"))

    def hold(words: Sequence[object], said: str) -> None:
        with pytest.raises(UsageError) as e:
            app(args=[str(word) for word in words], standalone_mode=False)
        assert said in str(e.value)
        assert capsys.readouterr().out == ""

    return hold


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.csv", TEXTS)
    return tmp_path


def words_of(offers: list[dict[str, Any]]) -> list[str]:
    return [offer["way"]["words"] for offer in offers]


def test_every_way_is_told_in_dollars_first_and_then_what_it_saves(home: Path) -> None:
    finished = anybatch(*ASK, *LUNA, home=home)

    lines = finished.stdout.splitlines()
    assert (finished.returncode, finished.stderr) == (0, "")
    assert lines[0].startswith("openai/gpt-6-luna: 4 rows, 44 tokens in (± 2.0%, counted by o200k")
    assert lines[1] == "25.0% of the requests repeat another one"
    assert lines[2].split() == ["dollars", "saves", "without", "repeats", *lines[2].split()[4:]]
    assert [line[2:].split()[0] for line in lines[3:6]] == ["real-time", "flex", "batch"]
    assert lines[4].startswith("→ flex")
    assert lines[4].split()[2:4] == ["$0.00010", "50%"]
    assert any(line.startswith("prices: genai-prices") for line in lines)
    assert lines[-1] == "chosen: flex, the cheapest"


def test_nothing_is_kept_sent_or_needed(home: Path) -> None:
    with FakeOpenAI(key="a key that nobody has told") as service:
        there = ("--base-url", service.base_url, "--executor", "batch")
        finished = anybatch(*ASK, *LUNA, *there, home=home)
        exchanges = service.ledger.exchanges

    assert finished.returncode == 0, finished.stderr
    assert exchanges == ()
    assert [path.name for path in home.iterdir()] == ["in.csv"]


def test_a_store_that_is_there_is_left_as_it_was_but_teaches(home: Path) -> None:
    write_rows(home / "other.csv", [f"row {n}" for n in range(30)])
    with FakeOpenAI() as service:
        there = (*LUNA, "--base-url", service.base_url, "--executor", "batch")
        asked = ("--prompt", "What is {{ text }}?", "--set", "max_tokens=100")
        ran = anybatch("run", "other.csv", *asked, *there, home=home, OPENAI_API_KEY="any")
        before = anybatch("runs", home=home).stdout
        said = report(anybatch(*ASK, *there, "--json", home=home))

    assert ran.returncode == 0, ran.stderr
    assert anybatch("runs", home=home).stdout == before
    assert said["tokens_out_how"] == "as 30 answers to the same prompt were"
    assert "30 earlier requests were charged" in said["counted_how"]


def test_as_json_it_says_all_that_is_known(home: Path) -> None:
    said = report(anybatch(*ASK, *LUNA, "--json", home=home))

    assert (said["rows"], said["distinct"], said["counted"]) == (4, 0.75, 4)
    assert (said["tokens_in"], said["tokens_out"]) == (44, 400)
    assert words_of(said["offers"]) == ["real-time", "flex", "batch"]
    assert said["chosen"]["words"] == "flex"
    batch = said["offers"][-1]
    assert batch["dollars"] == pytest.approx((44 * 0.05 + 400 * 0.25) / 1e6)
    assert batch["dollars_without_repeats"] == pytest.approx(batch["dollars"] * 0.75)
    assert batch["p95_seconds"] == 86_400
    assert said["prices"]["as_of"] >= "2026-01-01"
    assert any("of the dollars are for what is answered" in hint for hint in said["hints"])


def test_every_row_may_be_counted(home: Path) -> None:
    assert report(anybatch(*ASK, *LUNA, "--every-row", "--json", home=home))["counted"] == 4


@pytest.mark.parametrize("columns", [24, 40, 80])
def test_a_narrow_terminal_keeps_every_word(columns: int, home: Path) -> None:
    terminal = Terminal(*ASK, *LUNA, home=home, columns=columns)

    assert terminal.end() == 0
    lines = terminal.text().splitlines()
    said = " ".join(" ".join(lines).split())
    assert max(map(cell_len, lines)) <= columns
    for word in ("real-time", "flex", "batch", "dollars: $0.00010", "saves: 50%", "chosen: flex"):
        assert word in said


def test_a_pipe_gets_whole_lines(home: Path) -> None:
    finished = anybatch(*ASK, *LUNA, home=home, COLUMNS="20")

    assert finished.stdout.splitlines()[-1] == "chosen: flex, the cheapest"


# --- by numbers alone ---


def test_a_published_workload_costs_what_was_published(home: Path) -> None:
    said = report(anybatch(*TICKETS, "--model", "anthropic/claude-haiku-5-5", "--json", home=home))

    dollars = {offer["way"]["words"]: offer["dollars"] for offer in said["offers"]}
    assert dollars["real-time"] == pytest.approx(23.00, rel=0.02)
    assert dollars["batch"] == pytest.approx(11.50, rel=0.02)


def test_what_comes_every_day_is_reckoned_by_month_and_year(home: Path) -> None:
    words = ("plan", *LUNA, "--requests", "1000/day", *NUMBERS)

    finished, said = anybatch(*words, home=home), report(anybatch(*words, "--json", home=home))

    lines = finished.stdout.splitlines()
    assert lines[0].startswith("openai/gpt-6-luna: 1,000 requests a day, each of 2,200 tokens in")
    assert "$7.00" in lines[2]
    assert "$83.95" in lines[2]
    first = said["offers"][0]
    assert first["dollars_a_year"] == pytest.approx(365 * first["dollars"])
    assert first["dollars_a_month"] == pytest.approx(first["dollars_a_year"] / 12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--requests", "1000/day"), "--requests takes --input-tokens and --output-tokens"),
        (("--requests", "lots", *NUMBERS), "write 1000/day, or a number alone"),
        (NUMBERS, "how many requests?"),
        (("in.csv", "--prompt", "x", "--requests", "5", *NUMBERS), "without a FILE"),
        ((), "name the data: anybatch plan FILE"),
        (("--requests", "5", "--input-tokens", 9, "--output-tokens", 9, "--shared-tokens", 10),
         "name no more"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_workload_are_one_clear_line(
    words: tuple[object, ...], said: str, refused: Refused
) -> None:
    refused(("plan", *words, *LUNA), said)


# --- of several models ---


def test_models_are_compared_in_one_table_with_the_cheapest_first(home: Path) -> None:
    models = "openai/gpt-6-luna,anthropic/claude-haiku-5-5,gemini/gemini-3.8-flash"

    finished = anybatch(*ASK, "--compare", models, home=home)
    said = report(anybatch(*ASK, "--compare", models, "--json", home=home))

    lines = [line for line in finished.stdout.splitlines() if "  $" in line]
    dollars = [float(line.split("$")[1].split()[0]) for line in lines]
    assert finished.returncode == 0
    assert len(lines) == 7
    assert dollars == sorted(dollars)
    assert [each["model"] for each in said["models"]] == models.split(",")
    assert said["chosen"] in models.split(",")
    assert finished.stdout.splitlines()[-1].startswith(f"chosen: {said['chosen']} by ")


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("openai/gpt-6-luna,claude", "name each model once, as openai/…,anthropic/…"),
        ("openai/gpt-6-luna,openai/gpt-6-luna", "name each model once"),
        ("openai/gpt-6-luna,", "name each model once"),
        ("openai/gpt-6-luna,nobody/model", "'nobody'"),
    ],
)
def test_models_that_are_none_are_one_clear_line(models: str, said: str, refused: Refused) -> None:
    refused((*ASK, "--compare", models), said)


def test_what_can_be_read_once_is_not_compared(refused: Refused) -> None:
    words = ("plan", "-", "--prompt", "x", "--compare", "openai/gpt-6-luna,gemini/gemini-3.8-flash")

    refused(words, "give a file, not -")


# --- a deadline and a budget ---


def test_a_deadline_that_nothing_meets_names_the_earliest_and_its_price(home: Path) -> None:
    finished = anybatch(*TICKETS, *LUNA, "--by", "10m", home=home)

    assert finished.returncode == 1
    assert "real-time" in finished.stdout  # all ways are told nevertheless
    assert "the earliest is real-time" in finished.stdout.splitlines()[-1]
    assert "for $" in finished.stdout.splitlines()[-1]


def test_a_budget_that_nothing_meets_names_the_shortfall(home: Path) -> None:
    finished = anybatch(*TICKETS, *LUNA, "--budget", 0.5, home=home)

    assert finished.returncode == 5
    assert "more than the budget of $0.50" in finished.stdout.splitlines()[-1]


def test_what_meets_both_is_chosen(home: Path) -> None:
    words = (*TICKETS, *LUNA, "--by", "2h", "--budget", 30, "--prefer", "fast")

    assert anybatch(*words, home=home).stdout.splitlines()[-1].startswith("chosen: ")


def test_where_no_model_is_in_time_each_says_why(home: Path) -> None:
    models = "openai/gpt-6-luna,anthropic/claude-haiku-5-5"

    finished = anybatch(*TICKETS, "--compare", models, "--budget", 0.01, home=home)

    assert finished.returncode == 5
    assert [line.split(":")[0] for line in finished.stdout.splitlines()[-2:]] == [
        f"nothing is chosen of {model}" for model in models.split(",")
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "yesterday"), "write 06:00, 4h"),
        (("--by", "2020-01-01T00:00Z"), "is over"),
        (("--budget", "-1"), "write dollars"),
        (("--budget", "nan"), "write dollars"),
        (("--prefer", "quick"), "use cheap, fast"),
    ],
)
def test_terms_that_are_none_are_one_clear_line(
    words: tuple[str, ...], said: str, refused: Refused
) -> None:
    refused((*ASK, *LUNA, *words), said)


# --- charts ---


@pytest.mark.parametrize("name", ["out.svg", "out.html"])
def test_a_chart_is_drawn_of_it(name: str, home: Path) -> None:
    finished = anybatch(*ASK, *LUNA, "--chart", name, home=home)

    drawn = (home / name).read_text()
    assert (finished.returncode, finished.stderr) == (0, f"drawn in {name}\n")
    assert all(word in drawn for word in ("real-time", "flex", "batch", "saves 50%", "chosen: "))


def test_a_chart_overwrites_nothing_unasked(home: Path, refused: Refused) -> None:
    (home / "out.svg").write_text("mine")

    refused((*ASK, *LUNA, "--chart", "out.svg"), "overwrite with --force")
    assert (home / "out.svg").read_text() == "mine"
    assert anybatch(*ASK, *LUNA, "--chart", "out.svg", "--force", home=home).returncode == 0
    assert (home / "out.svg").read_text() != "mine"


# --- bad input ---


def test_what_is_refused_is_one_line_and_an_exit_code(home: Path) -> None:
    finished = anybatch("plan", "nope.csv", "--prompt", "x", *LUNA, home=home)

    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == "anybatch: 'nope.csv' does not exist. Check the path.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("in.csv", *LUNA), "--prompt says what to ask of each row"),
        (("in.csv", "--prompt", "{{ nope }}", *LUNA), "the columns are 'id', 'text'"),
        (("nope.csv", "--prompt", "x", *LUNA), "'nope.csv' does not exist"),
        (
            ("in.csv", "--prompt", "x", "--model", "openai"),
            "names who answers; the MODEL is missing",
        ),
        (("in.csv", "--prompt", "x", "--model", "openai/gpt-6-lunar"), "near it are gpt-6-luna"),
        (("in.csv", "--prompt", "x", "--model", "openai/zzz"), '[prices."openai/zzz"] with input'),
        (("in.csv", "--prompt", "x", "--model", "nobody/m"), "'nobody'"),
        (("in.csv", "--prompt", "x", *LUNA, "--chart", "out.png"), "a .svg or an .html file"),
        (("in.csv", "--prompt", "x", *LUNA, "--bad-rows", "eat"), "use fail, skip"),
    ],
)
def test_bad_input_is_one_clear_line(words: tuple[str, ...], said: str, refused: Refused) -> None:
    refused(("plan", *words), said)


def test_a_price_of_ones_own_is_taken(home: Path) -> None:
    (home / "anybatch.toml").write_text(
        '[prices."openai/mine"]\ninput = 1.0\noutput = 2.0\n'
        '[prices."openai/mine".batch]\ninput = 0.1\noutput = 0.2\n'
    )

    said = report(anybatch(*TICKETS, "--model", "openai/mine", "--json", home=home))

    dollars = {offer["way"]["words"]: offer["dollars"] for offer in said["offers"]}
    assert dollars["real-time"] == pytest.approx(100_000 * (2_200 + 2 * 20) / 1e6)
    assert dollars["batch"] == pytest.approx(dollars["real-time"] / 10)
    assert "flex" not in dollars
    assert said["prices"]["source"] == "anybatch.toml"


def test_brackets_in_a_name_are_no_marks(home: Path) -> None:
    (home / "anybatch.toml").write_text('[prices."openai/[red]m"]\ninput = 1.0\noutput = 2.0\n')

    finished = anybatch(*TICKETS, "--model", "openai/[red]m", home=home)

    assert finished.stdout.startswith("openai/[red]m: 100,000 requests")


def test_ready_made_requests_need_no_prompt(home: Path) -> None:
    body = {"model": "gpt-6-luna", "max_tokens": 10, "messages": [{"role": "user", "content": "a"}]}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (home / "in.jsonl").write_text(json.dumps(line) + "\n")

    said = report(anybatch("plan", "in.jsonl", "--model", "openai", "--json", home=home))

    assert (said["model"], said["rows"], said["tokens_out"]) == ("openai/gpt-6-luna", 1, 10)


def test_what_keeps_prompts_from_a_cache_is_named(home: Path) -> None:
    rules = "".join(f"Rule {n}: sort with care. " for n in range(400))
    (home / "system.txt").write_text("For {{ text }}. " + rules)

    finished = anybatch("plan", "in.csv", "--prompt", "Sort.", *LUNA, *SYSTEM, "--json", home=home)

    (hint,) = [hint for hint in report(finished)["hints"] if "alike" in hint]
    assert "{{ text }} keeps a prompt cache from all that follows" in hint


SYSTEM = ("--system", "@system.txt")
