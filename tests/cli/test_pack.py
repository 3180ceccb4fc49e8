"""Several rows in one prompt on the command line: what it says, and what a kill -9 costs."""

import json
import random
from pathlib import Path

import pytest

from anybatch.testing import Answer, Call, FakeEndpoint, FakeOpenAI, echo, in_packs
from anybatch.testing.fakes import FAKES

from .killing import kill_and_type_again, kill_batches_and_type_again, repeated_at_most
from .process import anybatch, asking, report, write_rows
from .test_kill_batches import GIVEN, WORKS

ROWS = 120
PACK = 4
PACKED = ["--pack", PACK]


def told_else(call: Call) -> Answer | str:
    """What is asked in packs is answered otherwise than what is asked alone."""
    said = in_packs(echo)(call)
    return said if isinstance(said, Answer) else said.replace("echo", "other")


def test_it_is_said_how_far_packs_agree_before_the_others_go(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(60)])

    with FakeEndpoint(answer=in_packs(echo)) as endpoint:
        words = asking(endpoint, *PACKED, "--canary", 40, "-o", "out.csv")
        finished = anybatch(*words, home=tmp_path)

    assert finished.returncode == 0
    line = "packed answers agree with single ones in answer: 100.0% of 40 rows (91.2% to 100.0%)"
    first, _, last = finished.stderr.partition("ok  run")
    assert line in first
    assert line in last
    assert len(endpoint.ledger.executions) == 40 + 60 / PACK


def test_a_run_whose_packs_do_not_agree_stops_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(60)])

    with FakeEndpoint(answer=told_else) as endpoint:
        words = asking(endpoint, *PACKED, "--canary", 40)
        stopped = anybatch(*words, home=tmp_path)
        again = anybatch(*words, home=tmp_path)
        asked = len(endpoint.ledger.executions)
        less = anybatch(*words, "--pack-agreement", 0, "--json", home=tmp_path)

    assert stopped.returncode == again.returncode == 3
    assert "answer: 0.0% of 40 rows (0.0% to 8.8%)" in stopped.stderr
    assert "The same command alone stops here again; with --no-canary run" in stopped.stderr
    assert asked == 40 + 40 / PACK
    said = report(less)
    assert said["counts"] == {"succeeded": 60}
    (field,) = said["packs"]["fields"]
    assert (field["name"], field["agreed"], field["of"], field["low"]) == ("answer", 0, 40, 0.0)


def test_bodies_are_shown_as_if_each_row_had_been_asked_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.csv", ["one", "two", "three", "four"])

    with FakeEndpoint(answer=in_packs(echo)) as endpoint:
        anybatch(*asking(endpoint, *PACKED, "--no-canary"), home=tmp_path)
        shown = anybatch("results", "--bodies", home=tmp_path)

    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    said = [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    assert said == [f"echo: Say {word}" for word in ("one", "two", "three", "four")]
    assert len(endpoint.ledger.executions) == 1


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_run_of_packs_gives_every_row_once(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    tried = 40 if seed % 2 else 0
    more = [*PACKED, "--canary", tried]

    with FakeEndpoint(answer=in_packs(echo), latency=0.01) as endpoint:
        kill_and_type_again(endpoint, tmp_path, rows=ROWS, kills=2, chance=chance, more=more)
        executed = len(endpoint.ledger.executions)

    assert executed - (ROWS / PACK + tried) <= repeated_at_most(tmp_path)


def killed(provider: str, seed: int, home: Path) -> None:
    kind, chance = FAKES[provider], random.Random(seed)
    given = GIVEN.get(provider, {})
    with kind.new(answer=in_packs(echo), phases=WORKS, **given) as service:
        kill_batches_and_type_again(
            provider, service, home, rows=ROWS, kills=2, chance=chance, pack=PACK
        )
        ledger = service.ledger

    assert ledger.repeated_batches == ()
    assert ledger.billed_twice == {}
    assert ledger.billed == ROWS / PACK
    assert ledger.leftover_files == ()


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_killed_run_of_packs_by_batch_pays_once(provider: str, tmp_path: Path) -> None:
    killed(provider, list(FAKES).index(provider), tmp_path)


@pytest.mark.gauntlet
@pytest.mark.parametrize("seed", range(1_000, 1_010))
@pytest.mark.parametrize("provider", FAKES)
def test_many_killed_runs_of_packs_by_batch_pay_once(
    provider: str, seed: int, tmp_path: Path
) -> None:
    killed(provider, seed, tmp_path)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--pack", 101], "less than or equal to 100"),
        (["--pack", 4, "--canary", 5], "takes 35"),
        (["--pack", 4, "--system", "Be {{ text }}"], "put that into --prompt"),
        (["--pack", 4, "--set", "stop=x"], "leave out one of them"),
    ],
    ids=str,
)
def test_what_cannot_be_packed_is_refused_before_anything_is_sent(
    words: list[object], why: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(60)])

    with FakeEndpoint() as endpoint:
        refused = anybatch(*asking(endpoint, *words), home=tmp_path)

    assert refused.returncode in (1, 2)
    assert why in " ".join(refused.stderr.split())
    assert endpoint.ledger.executions == ()


def test_who_leaves_out_pack_gets_a_new_run_and_is_told_so(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.csv", ["one", "two"])

    with FakeOpenAI(answer=in_packs(echo)) as service:
        model = ["--model", "openai/m", "--base-url", service.base_url]
        words = ["run", "in.csv", "--prompt", "Say {{ text }}", *model]
        anybatch(*words, "--pack", 2, home=tmp_path)
        alone = anybatch(*words, home=tmp_path)

    assert "it has another --pack" in alone.stderr
