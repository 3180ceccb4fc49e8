"""A run is cut into the fewest legal slices, in order, and nothing is lost."""

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.plan import Limits, cut

LENGTHS = st.lists(st.integers(0, 120), max_size=60)
LIMITS = st.builds(
    Limits, max_requests=st.integers(1, 12), max_bytes=st.none() | st.integers(0, 300)
)


def slices(lengths: list[int], limits: Limits) -> list[list[int]]:
    rest = iter(lengths)
    return [[next(rest) for _ in range(size)] for size in cut(lengths, limits)]


def fits(lengths: list[int], limits: Limits) -> bool:
    if len(lengths) > limits.max_requests:
        return False
    return limits.max_bytes is None or sum(lengths) <= limits.max_bytes


@given(LENGTHS, LIMITS)
def test_nothing_is_lost_and_the_order_stays(lengths: list[int], limits: Limits) -> None:
    cuts = slices(lengths, limits)

    assert list(chain.from_iterable(cuts)) == lengths


@given(LENGTHS, LIMITS)
def test_every_slice_fits_or_holds_one_request(lengths: list[int], limits: Limits) -> None:
    cuts = slices(lengths, limits)

    assert all(part and (fits(part, limits) or len(part) == 1) for part in cuts)


@given(LENGTHS, LIMITS)
def test_no_slice_has_room_for_the_next_request(lengths: list[int], limits: Limits) -> None:
    cuts = slices(lengths, limits)

    assert not any(fits([*part, after[0]], limits) for part, after in pairwise(cuts))


@pytest.mark.parametrize(
    ("lengths", "limits", "sizes"),
    [
        ([], Limits(max_requests=2), []),
        ([9, 9, 9], Limits(max_requests=2), [2, 1]),
        ([5, 5, 5], Limits(max_requests=9, max_bytes=10), [2, 1]),
        ([5, 5, 1], Limits(max_requests=9, max_bytes=11), [3]),
        ([99, 1, 99], Limits(max_requests=9, max_bytes=10), [1, 1, 1]),
        ([1, 99, 1, 1], Limits(max_requests=9, max_bytes=10), [1, 1, 2]),
    ],
)
def test_a_slice_is_full_by_number_or_by_bytes(lengths, limits: Limits, sizes: list[int]) -> None:
    cuts = list(cut(lengths, limits))

    assert cuts == sizes


DISTINCT = st.builds(
    Limits,
    max_requests=st.integers(1, 12),
    max_bytes=st.none() | st.integers(0, 300),
    distinct_sizes=st.just(True),
)


@given(LENGTHS, DISTINCT)
def test_slices_that_must_differ_in_size_lose_nothing_and_fit(
    lengths: list[int], limits: Limits
) -> None:
    cuts = slices(lengths, limits)

    assert list(chain.from_iterable(cuts)) == lengths
    assert all(part and (fits(part, limits) or len(part) == 1) for part in cuts)


@given(st.integers(0, 3_000))
def test_slices_differ_in_size_as_far_as_their_number_allows(count: int) -> None:
    limits = Limits(max_requests=100, distinct_sizes=True)

    sizes = list(cut([1] * count, limits))

    assert sum(sizes) == count
    assert len(set(sizes)) == len(sizes)


def test_slices_that_differ_in_size_are_hardly_more() -> None:
    limits = Limits(max_requests=100_000, distinct_sizes=True)

    assert list(cut([1] * 300_000, limits)) == [100_000, 99_999, 99_998, 3]
