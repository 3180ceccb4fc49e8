"""`anybatch prices`: looking at the table, and having it fetched anew, whole or not at all."""

import json
from pathlib import Path

from ..engine.tables import published, serving
from .process import anybatch, report

OWN = """[prices."openai/gpt-6-luna"]
input = 0.07
output = 0.3
[prices."lab/m"]
input = 1
output = 2
batch = {input = 0.5, output = 1.0}
"""


def fetched_from(url: str, home: Path) -> None:
    (home / "anybatch.toml").write_text(f'prices_url = "{url}"\n')


def test_prices_are_shown_tier_by_tier_and_yours_as_yours(tmp_path: Path) -> None:
    (tmp_path / "anybatch.toml").write_text(OWN)
    names = ["openai/gpt-6-luna", "lab/m", "anthropic/claude-sonnet-5-5"]

    shown = anybatch("prices", *names, home=tmp_path).stdout
    said = report(anybatch("prices", *names, "--json", home=tmp_path))

    lines = [line.split() for line in shown.splitlines()]
    assert ["openai/gpt-6-luna", "standard", "0.07", "0.3", "anybatch.toml"] in lines
    assert ["lab/m", "batch", "0.5", "1", "anybatch.toml"] in lines
    sonnet = ["anthropic/claude-sonnet-5-5", "batch", "1", "5", "0.05", "1.25", "2"]
    assert sonnet in lines
    assert "anthropic/claude-sonnet-5-5: genai-prices" in shown
    assert "has no flex price" in shown
    luna, lab, claude = said["models"]
    assert (luna["source"], lab["source"]) == ("anybatch.toml", "anybatch.toml")
    assert (luna["tiers"]["batch"], claude["tiers"]["flex"]) == (None, None)
    assert claude["tiers"]["standard"]["kept"] == 4
    assert said["as_of"] >= "2026-11-01"


def test_all_models_of_a_provider_and_of_all_are_listed(tmp_path: Path) -> None:
    (tmp_path / "anybatch.toml").write_text(OWN)

    of_one = report(anybatch("prices", "anthropic", "--json", home=tmp_path))["models"]
    of_all = report(anybatch("prices", "--json", home=tmp_path))["models"]

    assert {each["model"].partition("/")[0] for each in of_one} == {"anthropic"}
    providers = {each["model"].partition("/")[0] for each in of_all}
    assert providers >= {"openai", "anthropic", "gemini", "mistral", "lab"}
    assert len({each["model"] for each in of_all}) == len(of_all)


def test_what_changed_since_a_day_is_listed_with_its_price_from_then_on(tmp_path: Path) -> None:
    said = report(anybatch("prices", "--changed-since", "2026-11-01", "--json", home=tmp_path))
    wrong = anybatch("prices", "--changed-since", "lately", home=tmp_path)

    flash = [each for each in said["changes"] if each["model"] == "gemini/gemini-3.8-flash"]
    standard = [each for each in flash if each["tier"] == "standard"]
    assert [(each["on"], each["rates"]["input"]) for each in standard] == [("2027-01-01", 1.5)]
    assert min(each["on"] for each in said["changes"]) >= "2026-11-01"
    assert wrong.returncode == 1
    assert "write it as 2026-07-01" in wrong.stderr


def test_an_unknown_model_is_told_with_its_neighbours(tmp_path: Path) -> None:
    found = anybatch("prices", "openai/gpt-6-lunar", home=tmp_path)

    assert found.returncode == 1
    assert "near it are gpt-6-luna" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_an_update_says_what_is_new_and_is_gone_by_from_then_on(tmp_path: Path) -> None:
    with serving(published(a=1, b=2)) as url:
        fetched_from(url, tmp_path)
        first = report(anybatch("prices", "update", "--json", home=tmp_path))
    with serving(published(a=1, b=2.5, c=3)) as url:
        fetched_from(url, tmp_path)
        second = anybatch("prices", "update", home=tmp_path)
    priced = report(anybatch("prices", "openai/b", "--json", home=tmp_path))

    assert first["before"]["source"].startswith("genai-prices 0")
    assert {each["model"] for each in first["differences"]} >= {"openai/a", "openai/gpt-6-luna"}
    assert second.stdout.splitlines() == [
        "openai/b, standard: 2 in, 1 out → 2.5 in, 1 out",
        "openai/c, standard: new, 3 in, 1 out",
    ]
    assert priced["source"] == "genai-prices, fetched"
    assert priced["models"][0]["tiers"]["standard"]["input"] == 2.5


def test_offline_is_one_line(tmp_path: Path) -> None:
    fetched_from("http://127.0.0.1:9/data.json", tmp_path)

    found = anybatch("prices", "update", home=tmp_path)

    assert found.returncode == 4
    assert "no connection to http://127.0.0.1:9/data.json" in found.stderr
    assert "stays (genai-prices 0" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_damaged_table_says_how_to_mend_it_and_an_update_does(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "prices.json").write_text("{")
    damaged = anybatch("prices", "openai/a", home=tmp_path)
    with serving(published(a=7)) as url:
        fetched_from(url, tmp_path)
        anybatch("prices", "update", home=tmp_path)
    mended = anybatch("prices", "openai/a", "--json", home=tmp_path)

    assert "anybatch prices update" in damaged.stderr
    assert json.loads(mended.stdout)["models"][0]["tiers"]["standard"]["input"] == 7
