"""A part of a large table, and how many of its rows differ."""

import random
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import pytest

from anybatch.engine.sampling import Distinct, Sample


def sampled(total: int, *, chunk: int = 512, length: int = 8, **given: int) -> Sample:
    """A sample of the numbers below `total`, as bodies of so many bytes."""
    sample = Sample(**given)
    for start in range(0, total, chunk):
        places = sample.wanted(min(chunk, total - start))
        sample.add(b"%0*d" % (length, start + place) for place in places)
    return sample


@pytest.mark.parametrize("total", [0, 1, 511, 513, 2_000])
def test_all_are_kept_of_no_more_than_may_be(total: int) -> None:
    sample = sampled(total, size=100, most=2_000)

    assert sample.seen == total
    assert [int(body) for body in sample.kept] == list(range(total))


def test_of_more_a_sample_of_the_right_size_is_kept_with_each_in_it_once() -> None:
    sample = sampled(50_000, size=1_000, most=5_000)

    assert sample.seen == 50_000
    assert len(sample.kept) == len(set(sample.kept)) == 1_000


def test_early_and_late_ones_have_the_same_chance() -> None:
    sample = sampled(400_000, size=10_000, most=20_000)

    tenths = Counter(int(body) // 40_000 for body in sample.kept)

    assert fmean(map(int, sample.kept)) == pytest.approx(200_000, rel=0.02)
    assert max(tenths.values()) / min(tenths.values()) < 1.2


def test_the_same_table_gives_the_same_sample() -> None:
    assert sampled(30_000, size=1_000, most=5_000).kept == (
        sampled(30_000, size=1_000, most=5_000).kept
    )


def test_long_bodies_are_sampled_before_they_fill_the_memory() -> None:
    sample = sampled(20_000, length=1_000, size=10_000, most=100_000, most_bytes=3_000_000)

    assert sample.seen == 20_000
    assert 1_000 <= len(sample.kept) <= 3_000


def values(rows: Sequence[dict[str, object]]) -> list[object]:
    return [row["text"] for row in rows]


def share_of(texts: list[object], *, chunk: int = 500) -> float:
    distinct = Distinct(values)
    for start in range(0, len(texts), chunk):
        distinct.add([{"text": text} for text in texts[start : start + chunk]])
    return distinct.share


def test_the_share_of_different_rows_is_exact_where_they_are_few() -> None:
    assert share_of([n % 750 for n in range(1_000)]) == 0.75
    assert share_of(list(range(1_000))) == 1
    assert share_of(["same"] * 1_000) == 0.001


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_the_share_is_within_a_hundredth_where_they_are_many(share: float) -> None:
    different = round(600_000 * share)
    texts: list[object] = [n % different for n in range(600_000)]
    random.Random(0).shuffle(texts)

    assert share_of(texts, chunk=5_000) == pytest.approx(share, rel=0.015)


def test_what_may_be_chance_is_not_called_a_repetition() -> None:
    assert share_of(list(range(600_000)), chunk=5_000) == 1


def test_rows_that_lack_a_column_are_not_counted() -> None:
    distinct = Distinct(values)
    with pytest.raises(KeyError):
        distinct.add([{"text": 1}, {"other": 2}])

    distinct.add([{"text": 3}])

    assert distinct.share == 1
