"""Tokens that are judged by length, and what earlier requests teach."""

import pytest

from anybatch.core.tokens import ByBytes, learned


def test_four_bytes_are_a_token_and_a_part_of_one_is_one() -> None:
    assert ByBytes().count(["", "a", "abcd", "abcde", "日本"]) == [0, 1, 1, 2, 2]


def test_what_was_charged_teaches_a_factor() -> None:
    found = learned([(100, 131)] * 30, taught=0.03)

    assert found is not None
    assert (found.factor, found.requests, found.band) == (1.31, 30, 0.03)
    assert found.words == "× 1.31 as 30 earlier requests were charged"


def test_requests_that_are_at_odds_with_one_another_widen_the_band() -> None:
    found = learned([(100, 50), (100, 150)] * 10, taught=0.03)

    assert found is not None
    assert found.factor == 1
    assert found.band == pytest.approx(2 * 50 * 20**0.5 / 2000)


@pytest.mark.parametrize("pairs", [[], [(100, 131)] * 19, [(0, 131)] * 30, [(100, 0)] * 30])
def test_too_little_teaches_nothing(pairs: list[tuple[int, int]]) -> None:
    assert learned(pairs, taught=0.03) is None
