"""The names of requests: every answer finds its row, and nobody else's does."""

import re

from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.ids import custom_id, number_in

RUNS = st.text("0123456789abcdef", min_size=8, max_size=8)
NUMBERS = st.integers(0, 10**12)


@given(RUNS, NUMBERS, st.binary())
def test_a_name_tells_its_number_and_fits_every_provider(run: str, n: int, body: bytes) -> None:
    name = custom_id(run, n, body)

    assert number_in(name) == n
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)


@given(RUNS, NUMBERS, st.binary(), st.binary())
def test_two_bodies_have_two_names(run: str, n: int, one: bytes, other: bytes) -> None:
    if one != other:
        assert custom_id(run, n, one) != custom_id(run, n, other)


def test_another_run_calls_the_same_request_otherwise() -> None:
    assert custom_id("aaaaaaaa", 7, b"{}") != custom_id("bbbbbbbb", 7, b"{}")


@given(st.text())
def test_a_name_that_is_not_ours_has_no_number(name: str) -> None:
    ours = re.fullmatch(r"r[0-9a-z]{1,13}-[0-9a-f]{8}", name) is not None

    assert (number_in(name) is not None) == ours
