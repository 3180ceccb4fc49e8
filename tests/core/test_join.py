"""A joined row has as many cells as the output has columns, and none of them lies."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.join import META, joined, layout
from anybatch.core.model import Failure, Result, Usage
from anybatch.core.schema import closed_object

from .given import OUTCOMES

NAMES = st.sampled_from(
    ["id", "answer", "Answer", "answer_2", "label", "LABEL", "_error", "_Outcome", "_outcome_2"]
)
COLUMNS = st.lists(NAMES | st.text(max_size=5), unique=True, max_size=8)
SCHEMAS = st.one_of(
    st.none(),
    st.just({"type": "string"}),
    st.lists(NAMES, unique=True, min_size=1, max_size=4).map(
        lambda names: closed_object({name: {"type": "string"} for name in names})
    ),
)
USAGE = Usage(tokens_in=3, tokens_out=5)
SUCCEEDED = Result(n=0, outcome="succeeded", model="m", usage=USAGE)
LABEL = closed_object({"label": {"type": "string"}, "why": {"type": "string"}})


@pytest.mark.parametrize(
    ("columns", "schema", "added"),
    [
        ((), None, ("answer",)),
        (("answer",), None, ("answer_2",)),
        (("answer", "answer_2"), None, ("answer_3",)),
        (("why",), LABEL, ("label", "why_2")),
        (("x",), {"type": "array"}, ("answer",)),
        (("x",), {"type": "object", "properties": {}}, ("answer",)),
        (("Answer",), None, ("answer_2",)),
        (("ANSWER", "Answer_2"), None, ("answer_3",)),
        (("x",), closed_object({"why": {}, "Why": {}}), ("why", "Why_2")),
        (("Why_2",), closed_object({"why": {}, "Why": {}}), ("why", "Why_3")),
    ],
)
def test_a_name_that_the_dataset_has_gets_a_number(columns, schema, added) -> None:
    laid_out = layout(columns, schema)

    assert laid_out.columns == (*columns, *added, *META)


@pytest.mark.parametrize("name", ["_error", "_Error"])
def test_a_column_of_our_own_makes_way_too(name: str) -> None:
    laid_out = layout((name,), None)

    assert laid_out.columns[-4:] == ("_error_2", "_model", "_tokens_in", "_tokens_out")


def test_the_one_answer_can_be_given_another_name() -> None:
    laid_out = layout(("id",), None, names=("embedding",))

    assert laid_out.columns[1] == "embedding"


def test_an_answer_without_a_schema_may_have_several_columns() -> None:
    to = layout(("id",), None, names=("flagged", "scores"))

    cells = joined({"id": 7}, SUCCEEDED, {"scores": [1], "flagged": True}, to=to)

    assert to.columns[:3] == ("id", "flagged", "scores")
    assert cells[:3] == [7, True, [1]]


@given(COLUMNS, SCHEMAS)
def test_all_names_are_different_and_the_datasets_stay(columns, schema) -> None:
    laid_out = layout(columns, schema)

    ours = [name.lower() for name in laid_out.columns[len(columns) :]]
    assert len(set(laid_out.columns)) == len(laid_out.columns)
    assert len({*ours, *(name.lower() for name in columns)}) == len(ours) + len(
        {name.lower() for name in columns}
    )
    assert laid_out.columns[: len(columns)] == tuple(columns)


@given(
    COLUMNS,
    SCHEMAS,
    st.dictionaries(NAMES, st.integers(), max_size=3),
    st.none() | OUTCOMES,
    st.none() | st.text() | st.lists(st.integers()) | st.dictionaries(NAMES, st.integers()),
)
def test_a_row_has_a_cell_for_every_column(columns, schema, row, outcome, value: Any) -> None:
    laid_out = layout(columns, schema)
    result = None if outcome is None else Result(n=0, outcome=outcome)

    cells = joined(row, result, value, to=laid_out)

    assert len(cells) == len(laid_out.columns)
    assert cells[: len(columns)] == [row.get(name) for name in columns]
    assert cells[laid_out.columns.index(meta(laid_out.columns))] == (outcome or "pending")


def meta(columns: tuple[str, ...]) -> str:
    """The column of outcomes, whatever it had to be called."""
    return columns[-len(META)]


def test_an_object_is_spread_over_its_columns() -> None:
    to = layout(("id",), LABEL)

    cells = joined({"id": 7}, SUCCEEDED, {"why": "w", "label": "l", "more": 1}, to=to)

    assert cells == [7, "l", "w", "succeeded", None, "m", 3, 5]


def test_one_value_stands_in_one_column() -> None:
    cells = joined({"id": 7}, SUCCEEDED, "hi", to=layout(("id",), None))

    assert cells == [7, "hi", "succeeded", None, "m", 3, 5]


def test_a_row_without_a_result_is_pending() -> None:
    cells = joined({"id": 7}, None, None, to=layout(("id",), LABEL))

    assert cells == [7, None, None, "pending", None, None, None, None]


def test_a_failed_row_has_no_value_but_a_reason_and_what_it_used() -> None:
    failure = Failure(message="declined", code="x")
    result = Result(n=0, outcome="refused", failure=failure, usage=USAGE)

    cells = joined({"id": 7}, result, None, to=layout(("id",), LABEL))

    assert cells == [7, None, None, "refused", "declined", None, 3, 5]
