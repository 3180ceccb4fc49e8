"""`anybatch cost`, `show`, `diff`: what a run did cost, where it comes from, how two differ."""

import json
from pathlib import Path
from typing import Any

import pytest

from anybatch.cli.cost import cost_command
from anybatch.cli.show import diff_command, show_command
from anybatch.testing import Answer, FakeOpenAI
from anybatch.version import VERSION

from .process import anybatch, report, write_rows

PRICES = """[prices."openai/m"]
input = 2.0
output = 10.0
cached = 0.5
batch = {input = 1.0, output = 5.0, cached = 0.25}
"""
ANSWER = Answer("yes", tokens_in=100, cached=60, tokens_out=10, reasoning=4)
BY_BATCH = 3 * (40 * 1 + 60 * 0.25 + 10 * 5) / 1e6
ONLINE = 3 * (40 * 2 + 60 * 0.5 + 10 * 10) / 1e6


class Runs:
    """Two runs of the same rows: by batch, and in real time with another prompt."""

    def __init__(self, home: Path) -> None:
        self.store = home / "store"
        write_rows(home / "in.csv", ["one", "two", "three"])
        (home / "anybatch.toml").write_text(PRICES)
        with FakeOpenAI(answer=lambda call: ANSWER) as fake:
            common = ["run", "in.csv", "--model", "openai/m", "--base-url", fake.base_url]
            first = [*common, "--prompt", "Say {{ text }}", "--executor", "batch"]
            second = [*common, "--prompt", "Speak:\n{{ text }}", "--set", "max_tokens=20"]
            self.ended = anybatch(*first, home=home, OPENAI_API_KEY="k")
            self.json = report(anybatch(*second, "--json", home=home, OPENAI_API_KEY="k"))
        workspace = json.loads(anybatch("runs", "--json", home=home).stdout)
        self.online, self.batch = (run["id"] for run in workspace)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def runs(made: Runs, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(made.store.parent)
    return made


def test_the_end_report_says_what_it_did_cost(runs: Runs) -> None:
    lines = [line.strip() for line in runs.ended.stderr.splitlines()]

    assert "lost 0 · paid twice 0 · unmatched 0" in lines
    (cost,) = (line for line in lines if line.startswith("cost $"))
    assert cost.startswith("cost $0.00032, $0.00011 a valid row; the estimate was $")
    (same,) = (line for line in lines if line.startswith("the same tokens"))
    in_real_time, by_batch = 3 * (100 * 2 + 10 * 10) / 1e6, 3 * (100 * 1 + 10 * 5) / 1e6
    assert f"in real time ${in_real_time:.5f}" in same
    assert f"by batch without a cache ${by_batch:.5f}" in same
    assert "cache: 60.0% of what went in was read from it" in lines
    assert runs.json["cost"]["dollars"] == pytest.approx(ONLINE)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_cost_tells_each_class_of_tokens(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    cost_command(runs.batch, runs.store, as_json=False)
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    cost_command(runs.batch, runs.store, as_json=True)
    found = said(capsys)

    assert ["input", "120", "$0.00012"] in words
    assert ["cached", "180", "$0.000045"] in words
    assert ["output", "18", "$0.000090"] in words
    assert ["reasoning", "12", "$0.000060"] in words
    assert ["batch", "3", "answers", "330", "$0.00032"] in words
    assert ["lost", "0", "·", "paid", "twice", "0", "·", "unmatched", "0"] in words
    assert found["dollars"] == pytest.approx(BY_BATCH)
    assert found["dollars_per_valid_row"] == pytest.approx(BY_BATCH / 3)
    assert found["dollars_estimated"] == found["quote"]["dollars"] > 0
    assert found["cache_hits"] == 0.6
    (tier,) = found["tiers"]
    assert tier["tokens"]["input"] == 120
    assert sum(tier["dollars"].values()) == pytest.approx(BY_BATCH)
    assert sum(tier["tokens"].values()) == 330


def test_a_run_carries_where_it_comes_from(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    show_command(runs.online, runs.store, as_json=True)
    found = said(capsys)
    show_command(runs.online, runs.store, as_json=False)
    words = capsys.readouterr().out

    assert found["anybatch"] == VERSION
    assert (found["prompt"], found["parameters"]) == ("Speak:\n{{ text }}", {"max_tokens": 20})
    assert (found["model"], found["models_returned"]) == ("m", {"m": 3})
    assert found["data"]["rows"] == 3
    assert found["data"]["digest"] == found["parts"]["data"]
    assert found["counts"] == {"succeeded": 3}
    assert found["quote"]["tariff"]["source"] == "anybatch.toml"
    assert found["quote"]["way"]["tier"] == "standard"
    assert found["cost"]["dollars"] == pytest.approx(ONLINE)
    assert f"by anybatch {VERSION}" in words
    assert "asked: openai/m by online, openai.chat; answered: m × 3" in words


def test_two_runs_are_held_against_each_other(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    diff_command(runs.batch, runs.online, runs.store, as_json=True)
    found = said(capsys)
    diff_command(runs.batch, runs.online, runs.store, as_json=False)
    lines = capsys.readouterr().out.splitlines()

    assert set(found["parts"]) == {"prompt", "parameters", "executor"}
    assert found["parts"]["executor"] == {"before": "batch", "after": "online"}
    assert [each["dollars"] for each in found["cost"]] == pytest.approx([BY_BATCH, ONLINE])
    assert lines[:4] == ["prompt:", "  -Say {{ text }}", "  +Speak:", "  +{{ text }}"]
    assert "parameters: max_tokens nothing → 20" in lines
    assert 'executor: "batch" → "online"' in lines
    assert lines[-2].split() == ["dollars", "$0.00032", "$0.00063"]


def test_a_run_is_as_itself(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    diff_command(runs.batch, runs.batch, runs.store, as_json=False)

    assert f"runs {runs.batch} and {runs.batch} ask the same" in capsys.readouterr().out
