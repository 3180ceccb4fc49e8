"""Agreement: figures that were worked out by hand, and what holds of all of them."""

from math import comb, isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.agreement import (
    Kind,
    agree,
    by_chance,
    cosine,
    interval,
    kind_of,
    mean,
    similarity,
)
from anybatch.core.model import Json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NUMBERS = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6)


def the_same(one: Any, other: Any, *, kind: Kind = "exact", tolerance: float = 0.0) -> bool:
    return agree(one, other, kind=kind, tolerance=tolerance)


# --- intervals ---


@pytest.mark.parametrize(
    ("agreed", "of", "low", "high"),
    [
        (8, 10, 0.490162, 0.943318),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (95, 100, 0.888249, 0.978457),
        (1, 1, 0.206549, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_intervals_are_wilsons(agreed: int, of: int, low: float, high: float) -> None:
    assert interval(agreed, of) == pytest.approx((low, high), abs=2e-6)


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_an_interval_holds_its_share_and_mirrors_its_complement(agreed: int, other: int) -> None:
    of = agreed + other
    low, high = interval(agreed, of)

    assert 0 <= low <= (agreed / of if of else low) <= high <= 1
    assert interval(other, of) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(st.integers(0, 50), st.integers(1, 50))
def test_ten_times_the_rows_tell_more(agreed: int, other: int) -> None:
    few, many = interval(agreed, agreed + other), interval(10 * agreed, 10 * (agreed + other))

    assert many.width < few.width


@pytest.mark.parametrize("of", [20, 50, 200])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.9])
def test_about_95_of_100_samples_hold_the_true_share(of: int, share: float) -> None:
    chances = (comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(of + 1))
    held = sum(
        chance
        for agreed, chance in enumerate(chances)
        if interval(agreed, of).low <= share <= interval(agreed, of).high
    )

    assert 0.92 < held < 0.99


def test_a_mean_and_its_interval() -> None:
    found = mean([0.8, 0.9, 1.0], lowest=0.0)

    assert found is not None
    assert found.value == pytest.approx(0.9)
    assert found.interval == pytest.approx((0.786841, 1.0), abs=1e-6)
    assert found.least == 0.8


def test_one_figure_tells_nothing_of_others() -> None:
    found = mean([0.5], lowest=-1.0)

    assert found is not None
    assert (found.value, found.interval) == (0.5, (-1.0, 1.0))
    assert mean([], lowest=0.0) is None


# --- chance ---


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (9, 1, 2 * 11 / 1024),
        (6, 0, 2 / 64),
        (600, 500, 0.00283),
    ],
)
def test_how_often_chance_makes_such_a_difference(one: int, other: int, expected: float) -> None:
    assert by_chance(one, other) == pytest.approx(expected, rel=2e-2)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_chance_does_not_care_for_sides(one: int, other: int) -> None:
    assert 0 <= by_chance(one, other) == by_chance(other, one) <= 1


@pytest.mark.parametrize(("one", "other"), [(530, 470), (480, 520), (560, 440)])
def test_the_two_ways_to_reckon_chance_meet(one: int, other: int) -> None:
    exact = by_chance(one, other)
    beyond = by_chance(one + 1, other + 1)

    assert isclose(exact, beyond, rel_tol=0.05)


# --- two answers ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bug", " bug "),
        ("two  words\n", "two words"),
        ("\uff21", "a"),
        ("e\u0301", "\u00e9"),
        ("STRASSE", "straße"),
        (1, 1.0),
        (None, None),
        ([1, {"a": ["X"]}], [1, {"a": ["x"]}]),
    ],
)
def test_what_makes_no_difference(one: Any, other: Any) -> None:
    assert the_same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bug", "bugs"),
        (1, True),
        (0, False),
        ("1", 1),
        (None, ""),
        ([1, 2], [2, 1]),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        (1, 1.0000001),
    ],
)
def test_what_does(one: Any, other: Any) -> None:
    assert not the_same(one, other)


@pytest.mark.parametrize(
    ("one", "other", "agreed"),
    [
        (100, 101, True),
        (100, 101.2, False),
        (-100, -101, True),
        (0, 1e-12, True),
        (0, 0.1, False),
        (True, 1, False),
        (1, "1", False),
        (None, None, True),
    ],
)
def test_numbers_agree_within_a_tolerance(one: Any, other: Any, agreed: bool) -> None:
    assert the_same(one, other, kind="number", tolerance=0.01) == agreed


@given(JSON, JSON, st.sampled_from(["exact", "number", "text"]))
def test_agreement_takes_no_side_and_is_with_oneself(one: Any, other: Any, kind: Kind) -> None:
    assert the_same(one, one, kind=kind)
    assert the_same(one, other, kind=kind) == the_same(other, one, kind=kind)


def test_values_may_nest_deeper_than_calls_may() -> None:
    one: Any = "x"
    other: Any = "y"
    for _ in range(100_000):
        one, other = [one], [other]

    assert not the_same(one, other)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("night", "nacht", 2 * 1 / 8),
        ("same", "Same ", 1.0),
        ("a", "b", 0.0),
        ("", "", 1.0),
        ("", "abc", 0.0),
        ("东京都", "东京", 2 * 1 / 3),
        (None, None, 1.0),
        (None, "x", 0.0),
    ],
)
def test_how_alike_texts_are(one: Any, other: Any, expected: float) -> None:
    assert similarity(one, other) == pytest.approx(expected)


@given(st.text(), st.text())
def test_likeness_takes_no_side(one: str, other: str) -> None:
    assert 0 <= similarity(one, other) == similarity(other, one) <= 1
    assert similarity(one, one) == 1


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 0], [1, 1], 0.5**0.5),
        ([1, 2], [-1, -2], -1.0),
        ({"a": 1.0, "b": 0.0}, {"a": 2.0}, 1.0),
        ({"a": 1}, {"b": 1}, 0.0),
        ([1, 2], [1, 2, 3], None),
        ([0, 0], [1, 1], None),
        ([[1.0], [2.0]], [[1.0], [2.0]], None),
        ([], [], None),
        (None, [1], None),
        ([1], {"a": 1}, None),
        ([10**400, 0], [1, 0], 1.0),
    ],
)
def test_cosines(one: Any, other: Any, expected: float | None) -> None:
    found = cosine(one, other)

    assert found == (None if expected is None else pytest.approx(expected))


@given(NUMBERS, st.floats(1e-3, 1e3))
def test_length_makes_no_difference_to_a_cosine(numbers: list[float], times: float) -> None:
    found = cosine(numbers, [number * times for number in numbers])

    assert found is None or found == pytest.approx(1.0)


# --- kinds ---


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": ["string", "null"]}, "text"),
        ({"type": "string", "enum": ["a"]}, "exact"),
        ({"const": "a"}, "exact"),
        ({"type": "integer"}, "exact"),
        ({"type": "boolean"}, "exact"),
        ({"type": "number"}, "number"),
        ({"type": ["number", "null"]}, "number"),
        ({"type": "array", "items": {"type": "number"}}, "exact"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number"),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, "exact"),
        ({"$ref": "#/$defs/Mood"}, "exact"),
        ({"$ref": "#/$defs/Text"}, "text"),
        ({"$ref": "#/$defs/Round"}, "exact"),
        ({"$ref": "#/$defs/Nowhere"}, "exact"),
        ({}, "exact"),
        (True, "exact"),
    ],
)
def test_a_schema_says_how_values_are_compared(schema: Json | bool, kind: Kind) -> None:
    definitions = {
        "Mood": {"type": "string", "enum": ["good", "bad"]},
        "Text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "Round": {"$ref": "#/$defs/Round"},
    }

    assert kind_of(schema, {"$defs": definitions}) == kind
