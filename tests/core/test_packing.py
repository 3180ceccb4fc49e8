"""Several requests in one prompt, and what is made of what a model says to it."""

import random
import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.ids import custom_id, first_in, number_in, pack_id
from anybatch.core.model import Request, Usage
from anybatch.core.packing import (
    MOST,
    MOST_BYTES,
    Agreed,
    Compared,
    Pack,
    Task,
    budget_factor,
    enough_rows,
    labels,
    named,
    outcome_of_member,
    packed_schema,
    read_answers,
    shares,
    sizes,
    task_of,
    write_prompt,
)
from anybatch.core.retry import left_to_retry, next_factor, standing, tripped
from anybatch.core.schema import from_labels
from anybatch.core.states import Outcome
from anybatch.core.template import compile_prompt

from .given import BATCH

RUN = "abcd1234"
TEXTS = st.text(max_size=40)
NUMBERS = st.lists(st.integers(0, 10**9), min_size=1, max_size=30, unique=True)
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def said(*items: tuple[str, Any]) -> str:
    answers = [{"id": id, "answer": answer} for id, answer in items]
    return msgspec.json.encode({"answers": answers}).decode()


@st.composite
def told(draw: st.DrawFn) -> Mapping[str, Any]:
    """An answer for each id."""
    ids = labels(RUN, draw(NUMBERS))
    return {id: draw(ANSWERS) for id in ids}


# --- answers --------------------------------------------------------------------------------------


@given(told(), st.randoms(use_true_random=False))
def test_every_answer_is_found_by_its_id_in_whatever_order(
    answers: Mapping[str, Any], chance: random.Random
) -> None:
    items = list(answers.items())
    chance.shuffle(items)

    heard = read_answers(said(*items), list(answers))

    assert heard.answers == answers
    assert (heard.contradicted, heard.strangers, heard.problem) == (frozenset(), 0, None)


@given(told(), st.data())
def test_what_is_left_out_is_missing_and_nothing_else(
    answers: Mapping[str, Any], data: st.DataObject
) -> None:
    left_out = data.draw(st.sets(st.sampled_from(sorted(answers))))
    kept = {id: answer for id, answer in answers.items() if id not in left_out}

    assert read_answers(said(*kept.items()), list(answers)).answers == kept


@given(told(), st.lists(st.tuples(TEXTS, ANSWERS), max_size=4))
def test_answers_under_ids_that_nobody_gave_are_nobodys(
    answers: Mapping[str, Any], foreign: list[tuple[str, Any]]
) -> None:
    foreign = [(f"?{id}", answer) for id, answer in foreign]

    heard = read_answers(said(*foreign, *answers.items()), list(answers))

    assert heard.answers == answers
    assert heard.strangers == len(foreign)


@given(told(), st.data())
def test_an_id_with_two_answers_has_none_unless_they_are_the_same(
    answers: Mapping[str, Any], data: st.DataObject
) -> None:
    id = data.draw(st.sampled_from(sorted(answers)))
    others = {other: answer for other, answer in answers.items() if other != id}

    same = read_answers(said(*answers.items(), (id, answers[id])), list(answers))
    differs = read_answers(said((id, ["another"]), *answers.items()), list(answers))

    assert same.answers == answers
    if answers[id] != ["another"]:
        assert (differs.answers, differs.contradicted) == (others, {id})


@given(told(), st.integers(0))
def test_of_an_answer_that_breaks_off_the_whole_items_are_kept(
    answers: Mapping[str, Any], at: int
) -> None:
    whole = said(*answers.items())
    cut = whole[: at % len(whole)]

    heard = read_answers(cut, list(answers))

    assert heard.problem is not None
    assert heard.answers == dict(list(answers.items())[: len(heard.answers)])
    # Each item that is closed in what is left is there.
    ends = [len(said(*list(answers.items())[:count])) - 2 for count in range(1, len(answers) + 1)]
    assert len(heard.answers) == sum(end <= len(cut) for end in ends)


@pytest.mark.parametrize(
    "form",
    ["Here you are:\n{}\nAnything else?", "```json\n{}\n```", "<think>well, {{}}</think>\n{}"],
)
def test_prose_around_the_answers_is_passed_over(form: str) -> None:
    text = form.replace("{{}}", "what").replace("{}", said(("a", "x"), ("b", {"label": "y"})))

    assert read_answers(text, ["a", "b"]).answers == {"a": "x", "b": {"label": "y"}}


def test_a_bare_list_of_answers_will_do() -> None:
    text = '[{"id": "a", "answer": 1}, {"id": " b ", "answer": 2}]'

    assert read_answers(text, ["a", "b"]).answers == {"a": 1, "b": 2}
    assert read_answers(text[:-1], ["a", "b"]).answers == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "text",
    [
        *("", "no", "[1, 2", '{"answers": 5}', '{"a": 1}', "null", '{"answers": [null, 3, {}]}'),
        *('{"answers": [{"id": "a"}]}', '{"other": [{"id": "a", "answer": 1}', "[" * 100_000),
        '{"answers":' * 100_000,
        *(
            '{"answers": [{"id": "a", "answer": NaN}',
            '{"answers": [{"id": "a", "answer": "\\ud800"}',
        ),
    ],
)
def test_what_holds_no_answer_gives_none(text: str) -> None:
    assert read_answers(text, ["a"]).answers == {}


@given(st.text())
def test_whatever_is_said_is_read(text: str) -> None:
    assert read_answers(text, ["a"]).answers.keys() <= {"a"}


# --- prompts --------------------------------------------------------------------------------------

_PARTS = st.text(alphabet='abc <>/"=input2\n', max_size=30)


@given(st.builds(Task, _PARTS, _PARTS), st.lists(_PARTS, min_size=1, max_size=6))
def test_every_input_can_be_told_from_what_is_around_it(task: Task, texts: list[str]) -> None:
    inputs = dict(zip(labels(RUN, range(len(texts))), texts, strict=True))

    prompt = write_prompt(task, inputs)

    (tag,) = set(re.findall(r'^<(input\d*) id="[a-z0-9]{4}">$', prompt, re.MULTILINE)[-1:])
    found = re.findall(rf'<{tag} id="(.{{4}})">\n(.*?)\n</{tag}>', prompt, re.DOTALL)
    assert dict(found) == inputs
    if task.head.strip() or task.tail.strip():
        assert f"<task>\n{task.head}<{tag}/>{task.tail}\n</task>" in prompt


def test_what_is_the_same_in_all_prompts_comes_first() -> None:
    task = Task("Classify: ", "\nOne word.")
    one, other = (write_prompt(task, {id: id}) for id in ("aaaa", "zzzz"))

    shared = one[: one.index('"aaaa"')]
    assert other.startswith(shared)
    assert "Classify: <input/>\nOne word." in shared


@pytest.mark.parametrize(
    ("template", "around"),
    [
        ("Say {{ a }} now", ("Say ", " now")),
        ("{{ a }}: {{ b }}", ("", "")),
        ("Say {{ a }} and {{ b }}!", ("Say ", "!")),
        ("Say {% if a %}{{ a }}{% endif %} now", ("Say ", " now")),
        ("{% for x in row.values() %}{{ x }}{% endfor %} end", ("", " end")),
        ("{{ a | upper }} x", ("", " x")),
        ("Always the same", ("Always the same", "")),
        ("", ("", "")),
        ("a{# nothing #}b{{ c }}", ("a", "")),
    ],
)
def test_the_task_is_what_all_texts_have_around_them(
    template: str, around: tuple[str, str]
) -> None:
    prompt = compile_prompt(template)
    task = task_of(prompt)

    assert task == around
    text = prompt.render({"a": "one", "b": "two", "c": "three"})
    assert task.head + task.own(text) + task.tail == text


@given(NUMBERS)
def test_ids_are_all_different_and_the_same_every_time(numbers: list[int]) -> None:
    ids = labels(RUN, numbers)

    assert len(set(ids)) == len(numbers)
    assert ids == labels(RUN, numbers)
    assert all(re.fullmatch("[a-z2-9]{4}", id) for id in ids)


# --- schemas --------------------------------------------------------------------------------------

TREE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "kind": {"$ref": "#/$defs/kind"},
        "inside": {"type": "array", "items": {"$ref": "#"}},
        "like": {"$ref": "#/properties/kind"},
        "default": {"$ref": "#/$defs/kind"},
    },
    "required": ["kind"],
    "$defs": {"kind": {"enum": ["a", "b", {"$ref": "#"}]}},
}


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        ({"kind": "a"}, True),
        ({"kind": "c"}, False),
        ({"kind": "a", "inside": [{"kind": "b", "inside": []}]}, True),
        ({"kind": "a", "inside": [{"kind": "b", "inside": [{}]}]}, False),
        ({"kind": "a", "like": "b", "default": "a"}, True),
        ({"kind": "a", "like": "c"}, False),
        ({"kind": {"$ref": "#"}}, True),
        ({"kind": "a", "default": 1}, False),
    ],
)
def test_references_lead_where_they_led_before(answer: Any, fits: bool) -> None:
    both = [
        jsonschema_rs.is_valid(TREE, answer),
        jsonschema_rs.is_valid(packed_schema(TREE), {"answers": [{"id": "a", "answer": answer}]}),
    ]

    assert both == [fits, fits]


def test_the_schema_is_closed_and_the_same_whatever_the_ids() -> None:
    schema = packed_schema(from_labels(["a", "b"]))

    item = schema["properties"]["answers"]["items"]
    assert schema["additionalProperties"] is item["additionalProperties"] is False
    assert item["properties"]["id"] == {"type": "string"}
    assert packed_schema(None)["properties"]["answers"]["items"]["properties"]["answer"] == {
        "type": "string"
    }


# --- counts ---------------------------------------------------------------------------------------

USAGES = st.builds(
    Usage, **dict.fromkeys(("tokens_in", "tokens_out", "cached", "written"), st.integers(0, 10**9))
)


@given(USAGES, st.integers(1, MOST))
def test_shares_of_usage_sum_up_to_it(usage: Usage, count: int) -> None:
    parts = shares(usage, count)

    assert len(parts) == count
    assert sum(parts, Usage()) == usage
    assert max(parts, key=lambda part: part.tokens_in) == parts[0]


@given(st.lists(st.integers(0, MOST_BYTES * 2)), st.integers(2, MOST))
def test_no_prompt_has_too_many_rows_or_bytes(lengths: list[int], rows: int) -> None:
    cut, start = list(sizes(lengths, rows)), 0

    assert sum(cut) == len(lengths)
    for size in cut:
        held = lengths[start : start + size]
        assert 1 <= size <= rows
        assert size == 1 or sum(held) <= MOST_BYTES
        start += size


@given(st.integers(1, 100_000), st.integers(1, MOST))
def test_every_answer_keeps_its_budget_and_gets_room_for_its_id(cap: int, count: int) -> None:
    assert cap * budget_factor(cap, count) >= (cap + 20) * count


def test_what_was_made_of_all_says_nothing_of_one() -> None:
    assert outcome_of_member("refused") == outcome_of_member("truncated") == "missing_result"
    assert outcome_of_member("rate_limited") == "rate_limited"
    assert outcome_of_member("auth") == "auth"


# --- names ----------------------------------------------------------------------------------------


@given(NUMBERS, st.binary(max_size=20))
def test_a_pack_is_named_by_what_it_asks_and_not_by_how(numbers: list[int], body: bytes) -> None:
    members = tuple(Request(n=n, body=b"%d" % n) for n in numbers)
    pack = Pack(n=~numbers[0], body=body, members=members, ids=labels(RUN, numbers))
    name = named(RUN, pack)

    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", name)
    assert first_in(name) == numbers[0]
    assert number_in(name) is None
    assert name == pack_id(RUN, numbers[0], [member.body for member in members])
    assert name != pack_id(RUN, numbers[0], [b"other"])
    assert first_in(custom_id(RUN, numbers[0], body)) is None
    assert named(RUN, members[0]) == custom_id(RUN, numbers[0], members[0].body)


# --- what a trial shows ---------------------------------------------------------------------------


def compared(*agreed: int, of: int = 200) -> Compared:
    fields = tuple(Agreed(name=f"f{n}", agreed=a, of=of) for n, a in enumerate(agreed))
    return Compared(rows=of, packed=of, alone=of, fields=fields, tokens_packed=20, tokens_alone=100)


def test_the_worst_field_decides_at_the_lower_end_of_its_interval() -> None:
    assert compared(200, 190).shows(0.9)
    assert not compared(200, 185).shows(0.9)  # 92.5 % of 200 may be 88 % of all
    assert compared(0).shows(0.0)
    assert not compared(0, of=0).shows(0.1)


def test_so_few_rows_cannot_show_it() -> None:
    least = enough_rows(0.9)

    assert compared(least, of=least).shows(0.9)
    assert not compared(least - 1, of=least - 1).shows(0.9)
    assert (least, enough_rows(0.0)) == (35, 1)


def test_it_is_told_in_one_line() -> None:
    assert compared(190).words == (
        "packed answers agree with single ones in f0: 95.0% of 200 rows (91.0% to 97.3%); "
        "200 of 200 rows had a valid one; packs took 20% of the tokens"
    )


# --- what is asked again --------------------------------------------------------------------------

_PACKED = replace(BATCH, pack=4)


@pytest.mark.parametrize("outcome", ["missing_result", "invalid_output", "server_error", "network"])
def test_what_a_pack_left_open_is_asked_again_whatever_the_attempt(outcome: Outcome) -> None:
    assert next_factor(outcome, replace(_PACKED, attempt=9), budgeted=False) == 1
    assert next_factor(outcome, replace(BATCH, attempt=9), budgeted=False) is None


def test_what_nobody_looked_at_is_asked_again_as_often_as_alone() -> None:
    for attempt in range(1, 5):
        alone, packed = (replace(batch, attempt=attempt) for batch in (BATCH, _PACKED))
        for outcome in ("expired", "rate_limited"):
            again = next_factor(outcome, packed, budgeted=False)
            assert again == next_factor(outcome, alone, budgeted=False)


def test_a_trial_is_nobodys_outcome_and_is_never_asked_again() -> None:
    trial = replace(_PACKED, trial=True, counts={"missing_result": 3, "succeeded": 7})

    assert standing([trial]) == {}
    assert left_to_retry(trial, budgeted=False) == {}


def test_a_refused_call_is_one_error_however_many_rows_it_asks() -> None:
    assert tripped([replace(_PACKED, counts={"auth": 8})]) is None
    assert tripped([replace(_PACKED, counts={"auth": 9})]) == "auth"
