"""Real data through the real model: every answer fits its schema, right or wrong."""

import csv
from collections import defaultdict
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

import anybatch

TRAIN = Path(__file__).parents[1].parent / "shared" / "data" / "banking77" / "train.csv"
INTENTS = 6
EACH = 4

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not TRAIN.exists(), reason="banking77 does not lie beside the checkout"),
]


def sample() -> list[dict[str, str]]:
    """The first few texts of the first few intents."""
    by_intent: dict[str, list[dict[str, str]]] = defaultdict(list)
    with TRAIN.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_intent[row["category"]].append(row)
    return list(chain.from_iterable(rows[:EACH] for rows in list(by_intent.values())[:INTENTS]))


def test_every_intent_that_a_small_model_names_is_one_of_those_it_may_name(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rows = sample()
    intents = sorted({row["category"] for row in rows})

    run = anybatch.run(
        rows,
        prompt="A customer of a bank writes: {{ text }}\nWhat is it about?",
        labels=intents,
        model="local/smollm2",
        parameters={"temperature": 0},
        store=tmp_path / "store",
    )

    answered = list(run.rows())
    right = sum(row["label"] == row["category"] for row in answered)
    record_property("accuracy", right / len(rows))
    print(f"banking77, {INTENTS} intents: {right} of {len(rows)} right")
    assert run.counts == {"succeeded": INTENTS * EACH}
    assert {row["label"] for row in answered} <= set(intents)
    assert [row["text"] for row in answered] == [row["text"] for row in rows]
