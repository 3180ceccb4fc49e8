"""The real process under a deadline and a budget, killed where it hurts."""

import re
from pathlib import Path

from anybatch.testing import FakeEndpoint, FakeOpenAI, Phases

from .killing import books_agree
from .process import anybatch, asking, kill, report, start, until, write_rows
from .remotely import WORKS_S, killed_if_lost, service

TEXTS = [f"row {n}" for n in range(8)]
PRICES = '[prices."openai/m"]\ninput = 1.0\noutput = 1.0\nbatch = {input = 0.5, output = 0.5}\n'


DEAR = '[prices."fake/fake-1"]\ninput = 1000.0\noutput = 1000.0\n'


def home_in(folder: Path, texts: list[str] = TEXTS, settings: str = PRICES) -> Path:
    write_rows(folder / "in.csv", texts)
    (folder / "anybatch.toml").write_text(settings)
    return folder


def typed(fake: FakeOpenAI, *more: object) -> list[object]:
    ask = ["--prompt", "Say {{ text }}", "--model", "openai/m", "--executor", "batch"]
    out = ["-o", "out.csv", "--force", "--json"]
    return ["run", "in.csv", *ask, "--base-url", fake.base_url, *out, *more]


def test_a_rescue_that_is_killed_goes_on_and_pays_for_each_row_once(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    phases = Phases(in_progress=WORKS_S, cancelling=60)
    with service(phases=phases) as (fake, clock):
        # A batch is at its provider, and nobody works on it.
        first = start(*typed(fake), home=home)
        with killed_if_lost(first):
            until(lambda: fake.ledger.operations.get("poll", 0) > 0, what="a look at the batch")
        kill(first)
        clock.advance(WORKS_S / 2)

        # Now there is a deadline that it cannot meet: it is taken back, and that is cut short.
        second = start(*typed(fake, "--by", "8m"), home=home)
        with killed_if_lost(second):
            until(lambda: fake.ledger.operations.get("cancel", 0) > 0, what="its cancellation")
        kill(second)
        calls_while_it_may_run = len(fake.calls.ledger.executions)
        # Its end is still to come: nothing is asked again before.
        third = start(*typed(fake, "--by", "8m"), home=home)
        looks = fake.ledger.operations.get("poll", 0)
        with killed_if_lost(third):
            until(lambda: fake.ledger.operations.get("poll", 0) > looks, what="another look")
        kill(third)
        calls_while_it_ends = len(fake.calls.ledger.executions)
        clock.advance(60)

        said = report(anybatch(*typed(fake), home=home))
        (there,) = fake.ledger.batches
        calls = fake.calls.ledger

    assert (calls_while_it_may_run, calls_while_it_ends) == (0, 0)
    assert said["counts"] == {"succeeded": len(TEXTS)}
    assert there.executed == len(TEXTS) // 2
    assert len(calls.executions) == len(TEXTS) - there.executed
    assert calls.repeated == 0
    assert fake.ledger.repeated_batches == ()
    assert fake.ledger.leftover_files == ()
    assert books_agree(home)


def test_a_run_that_meets_its_budget_ends_with_5_and_goes_on_with_a_higher_one(
    tmp_path: Path,
) -> None:
    home = home_in(tmp_path, [f"row {n:03}" for n in range(20)], DEAR)
    with FakeEndpoint() as endpoint:
        ask = asking(endpoint, "--concurrency", 4, "--json")
        # From short answers it is learned how long they are; then longer ones come.
        anybatch(*ask, home=home)
        long = ["words " * 10 + str(n) for n in range(200)]
        write_rows(home / "in.csv", long)
        refused = anybatch(*ask, "--budget", "0.01", home=home)
        said = re.search(r"costs \$([\d.]+): ", refused.stderr)
        assert said is not None, refused.stderr
        budget = float(said[1]) * 1.05
        before = len(endpoint.ledger.executions)
        spent = endpoint.ledger.tokens
        stopped = anybatch(*ask, "--budget", budget, home=home)
        executed = len(endpoint.ledger.executions) - before
        spent = (endpoint.ledger.tokens - spent) * 1000 / 1e6
        again = anybatch(*ask, "--budget", budget, home=home)
        still = len(endpoint.ledger.executions) - before
        ended = anybatch(*ask, "--budget", "250", home=home)
        repeated = endpoint.ledger.repeated

    assert [run.returncode for run in (refused, stopped, again, ended)] == [5, 5, 5, 0]
    assert 0 < executed < 200
    assert still == executed
    # Answers are longer than any before them: so much may be under way when that is noticed.
    assert spent <= budget + 8 * spent / executed
    assert report(stopped)["why"].startswith("budget: $")
    assert report(stopped)["why"].endswith("the same command with a higher --budget goes on")
    assert report(ended)["counts"] == {"succeeded": 200}
    assert repeated == 0


def test_the_settings_hold_every_run_to_a_budget(tmp_path: Path) -> None:
    home = home_in(tmp_path, [f"row {n:03}" for n in range(20)], DEAR)
    with FakeEndpoint() as endpoint:
        ask = asking(endpoint, "--set", "max_tokens=20", "--json")
        (home / "anybatch.toml").write_text(DEAR + "[budgets]\nper_day = 0.8\n")
        first = anybatch(*ask, home=home)
        write_rows(home / "in.csv", [f"other {n:03}" for n in range(200)])
        second = anybatch(*ask, home=home)
        (home / "anybatch.toml").write_text("[budgets]\nper_run = 1.0\n")
        unpriced = anybatch(*ask, "--again", home=home)

    assert first.returncode == 0
    assert second.returncode == 5
    assert "of the budget of a day of $0.80 are spent, and $0.1" in report(second)["why"]
    assert "by other runs" in report(second)["why"]
    assert report(second)["why"].endswith("has more, or tomorrow")
    assert unpriced.returncode == 5
    assert 'Say it in anybatch.toml: [prices."fake/fake-1"]' in report(unpriced)["why"]


def test_a_budget_below_the_cheapest_offer_ends_with_5_and_sends_nothing(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with FakeOpenAI() as fake:
        refused = anybatch(*typed(fake, "--budget", "0.0000001"), home=home)
        unmet = anybatch(*typed(fake, "--by", "1s"), home=home)
        runs = anybatch("runs", "--json", home=home)

    assert refused.returncode == 5
    assert "more than the budget of $0.00000010" in refused.stderr
    assert unmet.returncode == 1
    assert "the earliest is real-time, within" in unmet.stderr
    assert runs.stdout.strip() in ("[]", '{"runs":[]}')
    assert fake.ledger.exchanges == ()


def test_how_a_run_goes_is_said_in_a_line(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with FakeOpenAI() as fake:
        (home / "anybatch.toml").write_text(
            PRICES + f'[providers.openai]\nbase_url = "{fake.base_url}"\n'
        )
        ask = ["run", "in.csv", "--prompt", "Say {{ text }}", "--model", "openai/m"]
        cheap = anybatch(*ask, "--budget", "1", home=home)
        soon = anybatch(*ask, "--by", "1h", "--again", home=home)

    assert "chosen: batch, the cheapest: $0." in cheap.stderr
    assert (
        "chosen: real-time, the cheapest that is done in time; too late: batch: $0." in soon.stderr
    )
    assert (cheap.returncode, soon.returncode) == (0, 0)
