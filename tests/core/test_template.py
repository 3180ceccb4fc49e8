"""A row and a template become a body; what cannot be rendered is refused by name."""

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anybatch.core.model import Row
from anybatch.core.template import BadRow, Render, compile_prompt, compile_requests
from anybatch.errors import BadTemplate

from .rendering import both_ways, request, shape, user_text

LITERALS = st.one_of(
    st.sampled_from(
        ['"', "'", "\\", "%", "%s", "%b", "%%", "{ ", " }", " } }", "{ { ", "\n", "\r\n", "\r"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), max_size=12),
    st.sampled_from(["\u2028", "\x85", "\x00", "\ue000user0\ue001", "😀", "  ", "{# c #}"]),
)
HOLES = st.sampled_from(["{{ name }}", "{{name}}", '{{ row["a b"] }}', "{{ row['name'] }}"])
HOLES_THAT_TRIM = st.sampled_from(["{{- name -}}", "{%- raw -%} {{ x }} {%- endraw %}"])
TEMPLATES = st.lists(st.one_of(LITERALS, HOLES, HOLES_THAT_TRIM), max_size=8).map("".join)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.fixed_dictionaries({"name": VALUES, "a b": VALUES})


@given(TEMPLATES, st.none() | TEMPLATES, ROWS)
def test_the_flat_path_gives_the_bytes_that_jinja_gives(source, system, row) -> None:
    by_itself, by_jinja = both_ways(source, system=system)

    body = by_itself(row).body

    assert body == by_jinja(row).body
    system_text = None if system is None else compile_prompt(system).render(row)
    assert body == msgspec.json.encode(shape(system_text, compile_prompt(source).render(row)))


@pytest.mark.parametrize(
    "source", ["a {{ name }} b", '{{ row["a b"] }}', "plain", "{# note #}{{ name }}", "{{- name }}"]
)
def test_a_template_that_only_substitutes_never_meets_jinja_again(source: str) -> None:
    prompt = compile_prompt(source)

    assert prompt.pieces is not None


@pytest.mark.parametrize(
    "source",
    ["{{ name|upper }}", "{% if name %}x{% endif %}", "{{ row }}", "{{ row.name }}", "{{ range }}"],
)
def test_a_template_that_does_more_is_rendered_by_jinja(source: str) -> None:
    prompt = compile_prompt(source)

    assert prompt.pieces is None


TEXTS_OF_ONE_ROW = {
    "None is empty": ("[{{ name }}]", {"name": None}, "[]"),
    "None is empty in a loop": ("{% for x in name %}[{{ x }}]{% endfor %}", {"name": [None]}, "[]"),
    "truth as Python writes it": ("{{ name }}", {"name": True}, "True"),
    "a float as Python writes it": ("{{ name }}", {"name": 1e16}, "1e+16"),
    "a nested value": ("{{ name }}", {"name": {"a": [1, None]}}, "{'a': [1, None]}"),
    "one newline at the end is dropped": ("a\n", {}, "a"),
    "only one newline at the end is dropped": ("a\n\n", {}, "a\n"),
    "line ends of the template become newlines": ("a\r\nb\rc", {}, "a\nb\nc"),
    "line ends of a value stay": ("{{ name }}!", {"name": "a\r\nb\r"}, "a\r\nb\r!"),
    "a value is not a template": ("{{ name }}", {"name": "{{ 7*7 }}"}, "{{ 7*7 }}"),
    "percent signs": ("100%b {{ name }} %s", {"name": "5%"}, "100%b 5% %s"),
    "a name with spaces": ('{{ row["First name"] }}', {"First name": "Ada"}, "Ada"),
    "row is the whole row": ("{{ row|length }}", {"row": "abc", "x": 1}, "2"),
    "a column called row": ('{{ row["row"] }}', {"row": "abc"}, "abc"),
    "a column called row, by jinja": ('{{ row["row"]|upper }}', {"row": "abc"}, "ABC"),
    "a column called like a global": ("{{ range }}", {"range": "abc"}, "abc"),
    "a column called like a method": ('{{ row["items"] }}', {"items": "abc"}, "abc"),
}


@pytest.mark.parametrize(
    ("source", "row", "text"), TEXTS_OF_ONE_ROW.values(), ids=TEXTS_OF_ONE_ROW.keys()
)
def test_a_template_says_what_jinja_would_say(source, row, text: str) -> None:
    rendered = user_text(source, row)

    assert rendered == text


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BadTemplate) as refused:
        compile_prompt("{{ txet }} {{ id }}", columns=["id", "text"])

    assert str(refused.value) == (
        "the prompt names 'txet', but the columns are 'id', 'text'. Correct the name, or write "
        '{{ row["a name"] }} for one with spaces.'
    )


@pytest.mark.parametrize("source", ["{{ x|upper }}", '{{ row["x"] }}', "{% if x %}{% endif %}"])
def test_each_path_notices_a_column_that_is_not_there(source: str) -> None:
    with pytest.raises(BadTemplate, match="'x'"):
        compile_prompt(source, columns=["id"])


@pytest.mark.parametrize(
    "source", ["{{ x }}", '{{ row["x"] }}', "{{ x|upper }}", "{{ row.x }}", "{{ y.x }}"]
)
def test_a_row_without_the_column_is_a_bad_row(source: str) -> None:
    with pytest.raises(BadRow, match="x"):
        request(source, {"y": 1})


def test_a_bad_row_does_not_spoil_its_neighbours() -> None:
    render = compile_requests(prompt=compile_prompt("{{ x }}"), system=None, shape=shape)

    with pytest.raises(BadRow):
        render({})

    assert b'"user":"1"' in render({"x": 1}).body


# --- odd names ---

ODD_NAMES = [
    *("self", "loop", "caller", "cls", "context", "super", "varargs", "kwargs", "environment"),
    *("True", "true", "False", "false", "None", "none", "row", "not", "and", "if", "in", "is"),
    *("range", "dict", "lipsum", "cycler", "joiner", "namespace", "missing", "resolve", "l_0_x"),
    *("_", "__", "__class__", "class", "def", "block", "set", "macro", "call", "filter", "raw"),
    *(
        "items",
        "keys",
        "get",
        "user",
        "system",
        "a b",
        "a-b",
        "a.b",
        "a|upper",
        "2026",
        "1.5",
        "1a",
    ),
    *("", " ", '"', "'", "\\", "%s", "{{", "}}", "{% raw %}", "\n", "\r\n", "\0", "\u2028", "😀"),
    *("ﬁ", "fi", "ª", "a", "µ", "\U0001d431", "x", "é", "e\u0301"),
]
NAMES = st.sampled_from(ODD_NAMES) | TEXTS
SCOPES = st.sampled_from(
    ["{}", "{{% if true %}}{}{{% endif %}}", "{{% for x_ in [1] %}}{}{{% endfor %}}"]
)


def quoted(name: str) -> str:
    return '"' + name.encode("unicode_escape").decode().replace('"', '\\"') + '"'


@given(NAMES, SCOPES, st.none() | st.sampled_from(["", "{{ 'x'|upper }}"]))
def test_a_column_of_any_name_is_found_in_the_row(name: str, scope: str, system) -> None:
    source = scope.format(f"[{{{{ row[{quoted(name)}] }}}}]")

    texts = [
        msgspec.json.decode(render({name: "its value"}).body)["user"]
        for render in both_ways(source, system=system)
    ]

    assert texts == ["[its value]"] * 2


@given(NAMES, SCOPES, st.sets(NAMES, max_size=3))
def test_a_bare_name_means_its_column_on_both_paths_or_is_refused(name, scope, others) -> None:
    row = {column: f"<{column}>" for column in (name, *sorted(others))}
    source = scope.format(f"{{{{ {name} }}}}")
    assume(name.isidentifier() or name.replace(".", "").isdecimal())

    refused = refusal_of(source, row)
    if refused is not None:
        assert "\n" not in refused
        return

    assert [text_or_refusal(render, row) for render in both_ways(source)] in (
        [f"<{name}>"] * 2,
        [None, None],
    )


def refusal_of(source: str, row: Row) -> str | None:
    """Why the template is refused for rows like `row`; None if it is not."""
    try:
        compile_prompt(source, columns=row)
    except BadTemplate as refused:
        return str(refused)
    return None


def text_or_refusal(render: Render, row: Row) -> str | None:
    try:
        text: str = msgspec.json.decode(render(row).body)["user"]
    except BadRow:
        return None
    return text


@given(
    st.lists(
        st.sampled_from(["ﬁ", "fi", "ª", "a", "x", "\U0001d431", "b"]), max_size=3, unique=True
    )
)
def test_names_that_are_one_to_python_are_not_mixed_up(names: list[str]) -> None:
    row = {name: f"<{name}>" for name in names}
    source = " ".join(f"{{{{ {name} }}}}" for name in names)

    refused = refusal_of(source, row)
    if refused is not None:
        assert "takes for the same" in refused
        return

    by_itself, by_jinja = both_ways(source)
    said = msgspec.json.decode(by_itself(row).body)["user"]
    assert said == msgspec.json.decode(by_jinja(row).body)["user"] == " ".join(row.values())


DOUBTFUL = {
    "self": "{{ self }}",
    "True": "{{ True }}",
    "true": "{{ true|upper }}",
    "None": "{% if x %}{{ None }}{% endif %}",
    "2026": "{{ 2026 }}",
    "1.5": "{{ 1.5 }}",
    "row": "{{ row }}",
}


@pytest.mark.parametrize(("name", "source"), DOUBTFUL.items())
def test_a_word_of_jinjas_own_is_not_taken_for_the_column_of_that_name(name, source) -> None:
    with pytest.raises(BadTemplate) as refused:
        compile_prompt(source, columns=["x", name])

    assert str(refused.value) == (
        f"the prompt names {name!r}, which is a word of Jinja's own. "
        f'Write {{{{ row["{name}"] }}}} for the column.'
    )


@pytest.mark.parametrize("source", ["{{ True }}", "{{ none }}", "{{ 2026 }}", "{{ row }}"])
def test_a_word_of_jinjas_own_stays_one_where_no_column_is_called_so(source: str) -> None:
    assert compile_prompt(source, columns=["x"]).source == source


@pytest.mark.parametrize(
    "source", ["{% if x == true %}1{% endif %}", "{{ x|default(none) }}", "{{ row|length }}"]
)
def test_a_word_that_is_not_printed_is_in_no_doubt(source: str) -> None:
    assert compile_prompt(source, columns=["x", "true", "none", "row"]).source == source


def test_the_loop_is_not_taken_for_the_column_of_that_name() -> None:
    with pytest.raises(BadRow, match=r"'loop' is a function; write \{\{ row\[\"loop\"\] \}\}"):
        request("{% for x in tags %}{{ loop }}{% endfor %}", {"tags": [1], "loop": "mine"})


SYNTAX_ERRORS = {
    "an open print": ("a\nb\n{{ x", 3),
    "an open block": ("\n{% if x %}", 2),
    "an unknown filter": ("\n\n\n{{ x|nofilter }}", 4),
    "an unknown tag": ("{% nope %}", 1),
}


@pytest.mark.parametrize(("source", "line"), SYNTAX_ERRORS.values(), ids=SYNTAX_ERRORS.keys())
def test_a_template_that_does_not_parse_is_refused_with_its_line(source: str, line: int) -> None:
    with pytest.raises(BadTemplate, match=f"not valid, line {line}: "):
        compile_prompt(source)


MONSTERS = {
    "blocks deeper than Python takes": "{% for a in b %}" * 25 + "{% endfor %}" * 25,
    "parentheses without end": "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
    "signs without end": "{{ " + "-" * 5000 + "1 }}",
    "a number longer than Python reads": "{{ " + "9" * 5000 + " }}",
    "half a surrogate pair": "\ud800 {{ x }}",
}


@pytest.mark.parametrize("source", MONSTERS.values(), ids=MONSTERS.keys())
def test_a_template_that_python_cannot_compile_is_refused(source: str) -> None:
    with pytest.raises(BadTemplate):
        compile_prompt(source)


@pytest.mark.parametrize(
    ("source", "row"),
    [
        ("{{ x }}", {"x": "a\ud800"}),
        ("{{ x|upper }}", {"x": "a\udfff"}),
        ("{{ x }}", {"x": 10**5000}),
        ("{{ x|upper }}", {"x": 10**5000}),
        ("{{ x|dictsort }}", {"x": 5}),
        ("{{ x|truncate(1) }}", {"x": "abc"}),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", {}),
        ("{{ 1 / x }}", {"x": 0}),
    ],
)
def test_whatever_a_row_makes_a_template_raise_is_a_bad_row(source: str, row) -> None:
    with pytest.raises(BadRow):
        request(source, row)


@pytest.mark.parametrize(
    "source",
    [
        "{% include x %}",
        "{% import 'os' as os %}{{ os }}",
        "{% extends 'base' %}",
        "{{ x.__class__ }}",
        "{{ x.upper.__globals__ }}",
        "{% for c in [].__class__.__base__ %}{{ c }}{% endfor %}",
    ],
)
def test_what_fails_on_any_row_is_the_fault_of_the_template(source: str) -> None:
    with pytest.raises(BadTemplate, match=r"the prompt template .*(Leave it|Write) out"):
        compile_prompt(source)


def test_a_column_may_have_a_name_with_two_underscores_on_each_side() -> None:
    assert user_text("{{ row.__meta__ }}", {"__meta__": "it"}) == "it"


def test_a_fault_without_words_is_named() -> None:
    with pytest.raises(BadRow, match=r"fails on it: MemoryError$"):
        request("{{ 'x' * 10**13 }}", {})


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ().__class__.__bases__[0] }}",
    "{{ row.__class__ }}",
    "{{ row.__init__.__globals__ }}",
    '{{ row["__class__"] }}',
    '{{ row["__class__"]|upper }}',
    "{{ x.__class__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__self__ }}",
    "{{ config.items() }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '%(a)s'.__mod__ }}",
    "{{ [].append.__self__ }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{% set x = row.update({'a': 1}) %}{{ x }}",
    "{{ row.items }}",
    "{{ range }}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends 'base' %}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ (x|attr('format')).__func__ }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_does_not_get_out_of_its_sandbox(source: str) -> None:
    with pytest.raises((BadRow, BadTemplate)):
        request(source, {"x": "v"})


@pytest.mark.parametrize("mark", ["\ue000user0\ue001", "\ue000system0\ue001", "\ue000user1\ue001"])
@pytest.mark.parametrize("system", [None, "{{ x }}"])
def test_text_that_looks_like_our_marks_is_text(mark: str, system: str | None) -> None:
    def marked(system: str | None, user: str | None) -> dict[str, object]:
        return {"model": mark, "system": system, "user": user, "stop": [mark, mark]}

    user, first = compile_prompt(mark + "{{ x }}"), system and compile_prompt(system)
    rendered = compile_requests(prompt=user, system=first or None, shape=marked)({"x": mark})

    assert msgspec.json.decode(rendered.body) == marked(system and mark, mark * 2)


@given(TEXTS, TEXTS, st.tuples(TEXTS, TEXTS))
def test_rows_that_share_the_first_varying_value_share_a_prefix(a: str, b: str, rest) -> None:
    source = "constant {{ x }} then {{ y }}"

    prefixes = [request(source, {"x": x, "y": y}).prefix for x in (a, b) for y in rest]

    assert prefixes[0] == prefixes[1]
    assert prefixes[2] == prefixes[3]
    assert (prefixes[0] == prefixes[2]) == (a == b)


def test_a_value_in_the_system_text_is_the_first_that_varies() -> None:
    render, _ = both_ways("{{ y }}", system="{{ x }}")

    a, b, c = (render({"x": x, "y": y}).prefix for x, y in (("1", "a"), ("1", "b"), ("2", "a")))

    assert a == b != c


def test_long_texts_that_begin_alike_share_a_prefix_whatever_rendered_them() -> None:
    source = "{{ x|upper }}"

    a, b, c = (request(source, {"x": x}).prefix for x in ("a" * 2000, "a" * 1999 + "b", "b" * 2000))

    assert a == b != c
