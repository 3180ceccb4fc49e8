"""Where an output schema comes from, and whether an answer fits it."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anybatch.core.schema import (
    Checker,
    answer_columns,
    checked,
    closed_object,
    from_fields,
    from_labels,
    is_strict,
    parse,
)
from anybatch.errors import BadSchema

STRING = {"type": "string"}
CLOSED = closed_object({"a": STRING})
OPEN = {"type": "object", "properties": {"a": STRING}, "required": ["a"]}
MOOD = from_labels(["good", "bad"])


def test_labels_become_one_closed_choice() -> None:
    assert MOOD == {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": ["good", "bad"]}},
        "required": ["label"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("labels", [[], ["a", "a"], ["a", ""], [""]])
def test_labels_that_are_no_choice_are_refused(labels: list[str]) -> None:
    with pytest.raises(BadSchema, match="labels must be different and not empty"):
        from_labels(labels)


FIELDS = {
    "name": STRING,
    "name:string": STRING,
    "name:str": STRING,
    "name:text": STRING,
    "name:integer": {"type": "integer"},
    "name:int": {"type": "integer"},
    "name:number": {"type": "number"},
    "name:float": {"type": "number"},
    "name:boolean": {"type": "boolean"},
    "name:bool": {"type": "boolean"},
    "name:string[]": {"type": "array", "items": STRING},
    "name:int[]": {"type": "array", "items": {"type": "integer"}},
    "name:good|bad": {"type": "string", "enum": ["good", "bad"]},
    "name:a:b|c": {"type": "string", "enum": ["a:b", "c"]},
}


@pytest.mark.parametrize(("field", "schema"), FIELDS.items())
def test_a_field_names_its_type(field: str, schema) -> None:
    assert from_fields([field]) == closed_object({"name": schema})


BAD_FIELDS = {
    ":int": "has no name",
    "": "has no name",
    "a:": "unknown type ''",
    "a:date": "unknown type 'date'",
    "a:[]": "unknown type '[]'",
    "a: int": "unknown type ' int'",
    "a:int[][]": "unknown type 'int[][]'",
    "a:x|x": "values of field 'a' must be different",
    "a:x|": "values of field 'a' must be different and not empty",
}


@pytest.mark.parametrize(("field", "why"), BAD_FIELDS.items())
def test_a_field_that_makes_no_sense_is_refused_by_name(field: str, why: str) -> None:
    with pytest.raises(BadSchema, match=re.escape(why)):
        from_fields([field])


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(BadSchema, match="'a' is given twice"):
        from_fields(["a:int", "b", "a:string"])


@given(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=4))
def test_a_schema_made_of_fields_is_valid_and_strict(fields: list[str]) -> None:
    schema = from_fields([f"{k}{field}" for k, field in enumerate(fields)])

    assert is_strict(checked(schema, where="the fields"))


INVALID = {
    "a list": [],
    "nothing": None,
    "truth": True,
    "an unknown type": {"type": "strin"},
    "properties in a list": {"properties": ["a"]},
    "a pattern that is none": {"type": "string", "pattern": "("},
    "a pointer to nowhere": {"$ref": "#/$defs/nope"},
    "another machine's schema": {"$ref": "http://127.0.0.1:1/schema"},
    "a file": {"$ref": "file:///etc/passwd"},
    "a dialect we do not know": {"$schema": "http://127.0.0.1:1/dialect"},
    "not a number": {"minimum": float("nan")},
    "bytes": {"const": b"x"},
    "a key that is no text": {1: STRING},
}


@pytest.mark.parametrize("schema", INVALID.values(), ids=INVALID.keys())
def test_a_schema_that_is_none_is_refused_in_one_line(schema: object) -> None:
    with pytest.raises(BadSchema) as refused:
        checked(schema, where="'s.json'")

    assert str(refused.value).startswith("'s.json' is not a ")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("what", ["http://127.0.0.1:1/schema", "file:///etc/passwd"])
def test_a_schema_cannot_make_us_fetch_anything(what: str) -> None:
    with pytest.raises(BadSchema, match="disabled"):
        checked({"$ref": what}, where="'s.json'")


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: dict[str, object] = {}
    for _ in range(5_000):
        schema = {"not": schema}

    with pytest.raises(BadSchema):
        checked(schema, where="'s.json'")


STRICT = {
    "a closed object": (CLOSED, True),
    "an open object": (OPEN, False),
    "open by default": ({"type": "object"}, False),
    "closed and empty": (closed_object({}), True),
    "not an object": (STRING, True),
    "an optional property": ({**CLOSED, "required": []}, False),
    "more required than named": ({**CLOSED, "required": ["a", "b"]}, False),
    "properties without a type": ({"properties": {"a": STRING}}, False),
    "an object or null": ({"type": ["object", "null"]}, False),
    "a closed object or null": ({**CLOSED, "type": ["object", "null"]}, True),
    "an open object in a property": (closed_object({"x": OPEN}), False),
    "a closed object in a property": (closed_object({"x": CLOSED}), True),
    "an open object in a list": ({"type": "array", "items": OPEN}, False),
    "an open object in an old tuple": ({"type": "array", "items": [CLOSED, OPEN]}, False),
    "an open object in a tuple": ({"prefixItems": [OPEN]}, False),
    "an open object in a choice": ({"anyOf": [STRING, OPEN]}, False),
    "an open object in a definition": ({**CLOSED, "$defs": {"x": OPEN}}, False),
    "an open object in an old definition": ({**CLOSED, "definitions": {"x": OPEN}}, False),
    "truth as a schema": ({"type": "array", "items": True}, True),
    "words that mean nothing here": ({"type": "array", "$defs": 5, "prefixItems": 5}, True),
}


@pytest.mark.parametrize(("schema", "strict"), STRICT.values(), ids=STRICT.keys())
def test_a_schema_is_strict_if_every_object_in_it_is_closed(schema, strict: bool) -> None:
    assert is_strict(schema) == strict


@pytest.mark.parametrize(
    ("schema", "columns"),
    [
        (None, ("answer",)),
        (STRING, ("answer",)),
        ({"type": "object"}, ("answer",)),
        ({"type": "object", "properties": {}}, ("answer",)),
        (from_fields(["b", "a"]), ("b", "a")),
    ],
)
def test_an_object_is_spread_over_a_column_for_each_property(schema, columns) -> None:
    assert answer_columns(schema) == columns


FITTING = {
    "as asked": '{"label":"good"}',
    "with white space": ' \n{"label": "good"}\r\n',
    "fenced": '```json\n{"label":"good"}\n```',
    "fenced without a language": '```\n{"label":"good"}\n```',
    "fenced, with white space around": ' \n```json  \r\n\n{"label":"good"}  \n\n```  \n',
    "fenced, the end on the same line": '```json\n{"label":"good"}```',
    "escaped": '{"l\\u0061bel":"good"}',
    "a key twice, the last one counts": '{"label":"x","label":"good"}',
    "fenced in capitals": '```JSON\n{"label":"good"}\n```',
    "fenced, prose around": 'Sure!\n```json\n{"label":"good"}\n```\nAnything else?',
    "fenced in its text": 'So: {"label":"good"}, not ``x``',
    "prose before": 'The answer is {"label":"good"}',
    "prose behind": '{"label":"good"}\n\nI chose "good" because of the tone.',
    "thought before": '<think>Is it {"label":"bad"}? [No].</think>\n\n{"label":"good"}',
    "an empty thought before": '<think>\n\n</think>\n{"label":"good"}',
    "thought, prose and a fence": '\n<think>hm</think>So:\n```\n{"label":"good"}\n```',
    "the label": "good",
    "the label in other letters": "GOOD",
    "the label as a sentence": " Good.\n",
    "the label as JSON": '"good"',
    "the label as JSON, escaped": '"g\\u006fod"',
    "the label in quotes": "'good'.",
    "the label as in a book": "“Good.”",
    "the label as code": "`good`",
    "the label in a fence": "```\ngood\n```",
    "the label as JSON in a fence": '```json\n"good"\n```',
    "thought before the label": "<think>bad? no.</think>\ngood",
}


@pytest.mark.parametrize("text", FITTING.values(), ids=FITTING.keys())
def test_an_answer_that_fits_has_its_value(text: str) -> None:
    value, problem = Checker(MOOD).check(text)

    assert (value, problem) == ({"label": "good"}, None)
    assert Checker(MOOD).parse(text) == value


UNFIT = {
    "nothing": ("", "not JSON"),
    "white space": (" \n", "not JSON"),
    "prose": ("The mood is good.", "not JSON"),
    "half": ('{"label":"go', "not JSON"),
    "two": ('{"label":"good"}{"label":"good"}', "not JSON"),
    "two, prose between": ('{"label":"good"} or {"label":"bad"}', "not JSON"),
    "two fences": ('```\n{"label":"good"}\n```\n```\n{"label":"good"}\n```', "not JSON"),
    "a footnote": ('{"label":"good"} [1]', "not JSON"),
    "brackets in the prose": ('One of {good, bad}: {"label":"good"}', "not JSON"),
    "a bracket too many": ('{"label":"good"}}', "not JSON"),
    "half, with a whole inside": ('So: {"label":{"label":"good"}', "not JSON"),
    "thought without end": ('<think>It is {"label":"good"}', "truncated"),
    "a label in a thought without end": ("<think>good", "truncated"),
    "two labels": ("good or bad", "not JSON"),
    "a label in prose": ("It is good", "not JSON"),
    "quotes and nothing": ('""', "answer: "),
    "another language": ('```python\n{"label":"good"}\n```', "not JSON"),
    "an open fence": ('```json\n{"label":"good"}', "not JSON"),
    "a fence and nothing": ("```json\n```", "not JSON"),
    "six ticks": ("``````", "not JSON"),
    "not a number": ('{"label":NaN}', "not JSON"),
    "half a surrogate pair": ('{"label":"\ud800"}', "not JSON"),
    "half a surrogate pair, escaped": ('{"label":"\\ud800"}', "not JSON"),
    "another value": ('{"label":"fine"}', "answer['label']: "),
    "another type": ('"fine"', "answer: "),
    "something missing": ("{}", 'answer: "label" is a required property'),
    "something more": ('{"label":"good","why":1}', "answer: "),
}


@pytest.mark.parametrize(("text", "why"), UNFIT.values(), ids=UNFIT.keys())
def test_an_answer_that_does_not_fit_says_why_in_one_line(text: str, why: str) -> None:
    value, problem = Checker(MOOD).check(text)

    assert value is None
    assert problem is not None
    assert why in problem
    assert "\n" not in problem


@pytest.mark.parametrize("depth", [255, 256, 999, 5_000, 100_000])
@pytest.mark.parametrize("pair", ["[]", ('{"a":', "}")], ids=["lists", "objects"])
def test_an_answer_nested_without_end_is_a_problem_and_no_crash(depth: int, pair) -> None:
    text = pair[0] * depth + "1" + pair[1] * depth

    value, problem = Checker(MOOD).check(text)

    assert value is None
    assert problem is not None


def test_a_long_answer_is_not_repeated_in_the_problem() -> None:
    _, problem = Checker(MOOD).check(json.dumps({"label": "x" * 10_000}))

    assert problem is not None
    assert len(problem) < 400


@pytest.mark.parametrize(
    "text", ["```" + "\n" * 200_000 + "x", "```\n" + " " * 200_000, "`" * 200_000, " " * 200_000]
)
def test_white_space_without_end_is_read_once(text: str) -> None:
    _, problem = Checker(MOOD).check(text)  # a reader that goes to and fro never comes back

    assert problem is not None


@given(st.text())
def test_no_text_makes_the_checker_raise(text: str) -> None:
    value, problem = Checker({"type": "array", "minItems": 1}).check(text)

    assert (value is None) == (problem is not None)


# --- what is forgiven ---

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text()
BRANCHES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
LISTS_AND_OBJECTS = st.lists(BRANCHES, max_size=4) | st.dictionaries(
    st.text(), BRANCHES, max_size=4
)
PROSE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]{}`<"))
AROUND = PROSE | st.sampled_from(
    ["Sure! ", 'He said: "', "\n\n", "1, 2 and true", "\\", "</think>"]
)


def as_json(value: object, *, indent: int | None, ascii: bool) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=ascii)


JSONS = st.builds(as_json, LISTS_AND_OBJECTS, indent=st.none() | st.just(2), ascii=st.booleans())
ANY_JSONS = st.builds(as_json, BRANCHES, indent=st.none() | st.just(2), ascii=st.booleans())
ANYTHING = Checker({})


@given(AROUND, JSONS, AROUND)
def test_a_list_or_an_object_is_found_in_whatever_prose_holds_no_brackets(
    before: str, text: str, after: str
) -> None:
    value, problem = ANYTHING.check(before + text + after)

    assert problem is None
    assert value == parse(text) == json.loads(text)


@given(AROUND, ANY_JSONS, AROUND, st.sampled_from(["", "json", "JSON", " Json "]))
def test_any_value_is_found_in_a_fence(before: str, text: str, after: str, word: str) -> None:
    value, problem = ANYTHING.check(f"{before}```{word}\n{text}\n```{after}")

    assert problem is None
    assert value == json.loads(text)


@example("", '"{"')
@given(st.text().filter(lambda thought: "</think>" not in thought), ANY_JSONS)
def test_any_value_is_found_behind_a_thought(thought: str, text: str) -> None:
    value, problem = ANYTHING.check(f"<think>{thought}</think>{text}")

    assert problem is None
    assert value == json.loads(text)


@given(AROUND, JSONS, AROUND, JSONS, AROUND)
def test_of_two_values_none_is_chosen(
    before: str, text: str, between: str, other: str, after: str
) -> None:
    said = f"{before}{text}{between}{other}{after}"

    value, problem = ANYTHING.check(said)

    assert value is None
    assert problem is not None


LABELS = st.lists(
    st.text(min_size=1, max_size=6) | st.sampled_from(["a", "A", "a.", '"a"', "[1]", "1", "true"]),
    min_size=1,
    unique=True,
)


@given(LABELS, st.sampled_from(["{}", '"{}"', "{}.", " '{}'\n", "`{}`", "“{}.”"]), st.data())
def test_a_bare_label_is_itself_or_nothing(labels: list[str], around: str, data) -> None:
    label = data.draw(st.sampled_from(labels))
    checker = Checker(from_labels(labels))

    value, problem = checker.check(around.format(label))

    assert (value is None) == (problem is not None)
    assert value is None or without_signs(value["label"]) == without_signs(label)


def without_signs(label: str) -> str:
    return "".join(letter for letter in label.casefold() if letter.isalnum())


def test_a_label_as_it_is_spelled_goes_before_others_that_look_like_it() -> None:
    checker = Checker(from_labels(["Good", "good", "good."]))

    assert [checker.check(text).value for text in ("Good", "good", "good.", "GOOD")] == [
        {"label": "Good"},
        {"label": "good"},
        {"label": "good."},
        None,
    ]


@given(st.text() | st.builds("{}{}{}".format, AROUND, ANY_JSONS, AROUND))
def test_what_is_checked_is_what_is_read_later(text: str) -> None:
    for checker in (ANYTHING, Checker(MOOD)):
        value, problem = checker.check(text)

        if problem is None:
            assert checker.parse(text) == value


def test_numbers_beyond_64_bits_are_numbers() -> None:
    value, problem = Checker({"type": "integer"}).check("9" * 30)

    assert (value, problem) == (int("9" * 30), None)
