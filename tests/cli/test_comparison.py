"""How a comparison is shown: what models say is text, on a page as on a terminal."""

from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.cli.comparison import (
    Shown,
    clipped,
    comparison_json,
    lines,
    notes,
    percent,
    print_comparison,
    safe,
)
from anybatch.cli.pages.comparison import page_of
from anybatch.core.agreement import Interval, Mean
from anybatch.core.ledger import Spent, reckoned
from anybatch.core.model import Run, Spec, Usage
from anybatch.core.price import Rate, Rates, Tariff
from anybatch.engine.compare import Change, Comparison, Difference, Field, Share, Side

HOSTILE = [
    "<script>alert(1)</script>",
    "</bdi></td></table><script src=//x></script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
    "<!-- ",
    "]]>",
    "</style><style>body{display:none}</style>",
    "<a href=javascript:alert(1)>x</a>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt;",
    "\x00<\x00script>",
    "\u202emoc.elpmaxe",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<meta http-equiv=refresh content='0;url=//x'>",
]


def shown(said: str, *, both: int = 200) -> Shown:
    """A comparison that says `said` wherever somebody else's words stand."""
    sides = (_side("one", said), _side("two", said))
    field = Field(
        name=said,
        kind="text",
        agreed=Share(both * 3 // 4, both),
        likeness=Mean(0.9, Interval(0.8, 0.95), 0.1),
        changes=(Change(said, said, 3),),
    )
    compared = Comparison(
        sides=sides,
        differs=("prompt",),
        rows=both + 10,
        both=both,
        only=(9, 1),
        fields=(field, field),
        unshared=((said,), ()),
        whole=Share(both * 7 // 10, both),
        differences=(
            Difference(n=3, row={said: said}, answers=((said, said, [said]),), likeness=0.5),
        ),
        tolerance=0.01,
    )
    return Shown(compared)


def _side(name: str, said: str) -> Side:
    spec = Spec(provider="lab", model=said, api="openai.chat", prompt=said)
    run = Run(
        id=name,
        created_at=datetime(2026, 11, 20, tzinfo=UTC),
        source=said,
        spec=spec,
        fingerprint="",
        parts={},
        columns=(said,),
        total=210,
    )
    rates = Rates(tokens_in=Rate(1000.0), tokens_out=Rate(50_000.0))
    tariff = Tariff(model=said, source=said, as_of=date(2026, 11, 1), tiers={"standard": rates})
    used = Spent(tier="standard", attempts=210, usage=Usage(tokens_in=1000, tokens_out=10))
    return Side(
        run=run,
        status="partial",
        counts={"succeeded": 209, "refused": 1},
        pending=0,
        cost=reckoned([used], tariff, valid=209),
        unpriced=said,
        seconds=65.0,
        call_ms=None,
    )


class Structure(HTMLParser):
    """The elements of a page with their attributes, and nothing of its texts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(("/" + tag, []))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


PLAIN = Structure(page_of(shown("plain"))).elements


@pytest.mark.parametrize("said", HOSTILE)
def test_what_models_say_is_text_on_the_page(said: str) -> None:
    found = Structure(page_of(shown(said)))

    assert found.elements == PLAIN
    assert safe(said) in found.texts


@given(st.text())
def test_no_text_makes_an_element_or_an_attribute(said: str) -> None:
    assert Structure(page_of(shown(said))).elements == PLAIN


def test_the_page_runs_nothing_and_loads_nothing() -> None:
    tags = {tag for tag, _ in PLAIN}
    names = {name for _, attributes in PLAIN for name, _ in attributes}

    assert tags.isdisjoint({"script", "img", "link", "iframe", "form", "a", "object"})
    assert names.isdisjoint({"src", "href", "style", "srcdoc"})
    assert not [name for name in names if name.startswith("on")]
    assert "default-src 'none'" in page_of(shown("plain"))


def test_each_element_is_closed_in_its_place() -> None:
    within: list[str] = []
    for tag, _ in PLAIN:
        if tag.startswith("/"):
            assert within.pop() == tag.removeprefix("/")
        elif tag not in ("meta", "br"):
            within.append(tag)

    assert within == []


def test_a_long_answer_does_not_swell_the_page() -> None:
    assert len(page_of(shown("x" * 5_000_000))) < 200_000


@given(st.text())
def test_nothing_of_it_moves_a_terminal(said: str) -> None:
    line = clipped(said)

    assert len(line) <= 100
    assert "\x1b" not in line
    assert "\n" not in line
    assert all(sign.isprintable() or sign in "\u200c\u200d" for sign in line)


def test_a_terminal_gets_dollars_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(shown("say \x1b[31mred\x1b[0m [bold]x[/bold]"))

    said = capsys.readouterr().out
    assert said.splitlines()[1].split()[:3] == ["dollars", "$1.50", "$1.50"]
    assert "\x1b" not in said
    assert "[bold]x[/bold]" in said


def test_the_figures_of_a_side() -> None:
    said = {line.name: line.one for line in lines(shown("m"))}

    assert said == {
        "dollars": "$1.50",
        "a valid row": "$0.0072",
        "time": "1 min 5 s",
        "valid rows": "209 of 210 (99.5%)",
        "other rows": "1 refused",
        "tokens in": "1,000",
        "tokens out": "10",
        "prompt": "m",
        "run": "one",
    }


def test_few_rows_are_called_few_and_many_are_not() -> None:
    few, many = notes(shown("m", both=160)), notes(shown("m", both=20_000))

    assert [note for note in few if "160 rows tell little: of all such rows" in note]
    assert not [note for note in many if "tell little" in note]


def test_the_difference_in_valid_rows_is_held_against_chance() -> None:
    assert (
        "valid 9 in A alone, 1 in B alone, in neither 0: chance alone makes as large a difference "
        "in 2.1% of all cases"
    ) in notes(shown("m"))


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.5, "50%"),
        (0.9996, "99.9%"),
        (0.0001, "0.1%"),
        (0.12345, "12.3%"),
    ],
)
def test_nearly_all_is_not_called_all(share: float, said: str) -> None:
    assert percent(share) == said


def test_machines_get_the_same_figures() -> None:
    said: dict[str, Any] = comparison_json(shown("m"))

    assert (said["a"]["dollars"], said["a"]["tokens_in"]) == (1.5, 1000)
    assert said["agree"]["share"] == 0.7
    assert said["agree"]["low"] == pytest.approx(0.6332, abs=1e-3)
    assert said["fields"][0]["likeness"] == {"mean": 0.9, "low": 0.8, "high": 0.95, "least": 0.1}
    assert said["differences"][0]["answers"] == {"m": {"a": "m", "b": ["m"]}}
