"""A comparison of two runs, as it is shown: on a terminal, on a page, to machines."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.text import Text

from ..core.agreement import Interval
from ..core.model import Run
from ..core.offers import money
from ..core.timing import span
from ..datasets.sample import Sample
from ..engine.compare import Comparison, Difference, Field, Share, Side
from .batches import table
from .progress import counted

NAMES = ("A", "B")
_PRINTED = 5
"""So many rows that differ are shown on a terminal."""
_CLIPPED = 100
_ENDLESS = 10_000
"""The width of what is no terminal."""
_WIDE = 0.1
"""A share that is not known any better is called so."""
_NONE = "–"  # noqa: RUF001
_JOINERS = "\u200c\u200d"
"""They join letters or keep them apart, and move nothing."""
_PARTS = {"output_schema": "answer", "base_url": "address", "tail": "tail"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A comparison, and of which rows it is."""

    compared: Comparison
    drawn: Sample | None = None
    """None: of two runs that were there."""

    @property
    def title(self) -> str:
        one, other = (model_of(side.run) for side in self.compared.sides)
        source = self.compared.sides[0].run.source
        return f"{source}: {one} and {other}"

    def place(self, difference: Difference) -> str:
        """Where a row is found again."""
        drawn, sides = self.drawn, self.compared.sides
        total = sides[0].run.total
        if drawn is None or len(drawn.numbers) != total or any(s.run.skipped for s in sides):
            return f"row {difference.n}"
        return f"row {drawn.numbers[difference.n]}"


class Line(NamedTuple):
    """A figure of both sides."""

    name: str
    one: str
    other: str


class Agreed(NamedTuple):
    """A field, in words."""

    name: str
    share: str
    value: float
    interval: str
    likeness: str
    changes: tuple[str, ...]


def lines(shown: Shown) -> list[Line]:
    """What both sides cost, took and gave, dollars first; then what was another."""
    compared = shown.compared
    said = [
        _both("dollars", compared, _dollars),
        _both("a valid row", compared, lambda side: _money(side.cost.per_valid_row)),
        *_for_all(shown),
        _both(
            "time", compared, lambda side: _NONE if side.seconds is None else _took(side.seconds)
        ),
        _both("a call, median", compared, lambda side: _call(side.call_ms)),
        _both("valid rows", compared, _valid),
        _both("other rows", compared, _others),
        _both("tokens in", compared, lambda side: f"{side.cost.usage.tokens_in:,}"),
        _both("tokens out", compared, lambda side: f"{side.cost.usage.tokens_out:,}"),
        *_asked(compared),
        _both("run", compared, lambda side: side.run.id),
    ]
    return [line for line in said if (line.one, line.other) != (_NONE, _NONE)]


def _both(name: str, compared: Comparison, say: Callable[[Side], str]) -> Line:
    return Line(name, *map(say, compared.sides))


def _dollars(side: Side) -> str:
    return "no price" if side.cost.total is None else money(side.cost.total)


def _money(dollars: float | None) -> str:
    return _NONE if dollars is None else money(dollars)


def _for_all(shown: Shown) -> Iterator[Line]:
    """What all rows would cost at that rate, where the sample is a part of them."""
    drawn = shown.drawn
    if drawn is None or drawn.of == len(drawn.numbers):
        return

    def say(side: Side) -> str:
        if side.cost.total is None:
            return _NONE
        return f"about {money(side.cost.total / side.run.total * drawn.of)}"

    yield _both(f"all {drawn.of:,} rows", shown.compared, say)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else span(seconds)


def _call(ms: float | None) -> str:
    return _NONE if ms is None else f"{ms:,.0f} ms"


def _valid(side: Side) -> str:
    return _of(Share(side.valid, side.run.total))


def _of(share: Share) -> str:
    said = f"{share.number:,} of {share.of:,}"
    return said if share.value is None else f"{said} ({percent(share.value)})"


def percent(share: float) -> str:
    """As 97.5%; a share of all but one of a thousand is not called all."""
    tenths = share * 1000
    rounded = round(tenths)
    if rounded in (0, 1000) and tenths != rounded:
        rounded = min(999, max(1, rounded))
    return f"{rounded / 10:g}%"


def _others(side: Side) -> str:
    said = [f"{n:,} {o}" for o, n in side.counts.items() if o != "succeeded" and n]
    if side.pending:
        said.append(f"{side.pending:,} not answered yet")
    return ", ".join(said) or _NONE


def model_of(run: Run) -> str:
    return "/".join(filter(None, (run.spec.provider, run.spec.model)))


def _asked(compared: Comparison) -> Iterator[Line]:
    """The parts of what was asked that are not the same."""
    one, other = (side.run for side in compared.sides)
    if model_of(one) != model_of(other):
        yield Line("model", model_of(one), model_of(other))
    for part in compared.differs:
        if part not in ("provider", "model"):
            said = (_in_words(getattr(run.spec, part)) for run in (one, other))
            yield Line(_PARTS.get(part, part), *said)


def _in_words(part: object) -> str:
    return _NONE if part in (None, {}) else text_of(part)


def text_of(value: object) -> str:
    """A value as text: what is no text as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def fields(compared: Comparison) -> list[Agreed]:
    """How far each field agrees; all of them together first, where there are several."""
    said = []
    if compared.whole is not None and len(compared.fields) > 1:
        said.append(_agreed("all fields", compared.whole))
    return said + [
        _agreed(
            field.name,
            field.agreed,
            likeness=_likeness(field),
            changes=tuple(
                f"{text_of(c.one)} → {text_of(c.other)}: {c.times:,}" for c in field.changes
            ),
        )
        for field in compared.fields
    ]


def _agreed(
    name: str, share: Share, *, likeness: str = "", changes: tuple[str, ...] = ()
) -> Agreed:
    between = between_of(share.interval) if share.of else _NONE
    return Agreed(name, _of(share), share.value or 0.0, between, likeness, changes)


def between_of(interval: Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"


def _likeness(field: Field) -> str:
    if field.likeness is None:
        return ""
    value, (low, high), least = field.likeness
    word = "cosine" if field.kind == "direction" else "similarity"
    return f"{word} {value:.3f} ({low:.3f} to {high:.3f}), least {least:.3f}"


def notes(shown: Shown) -> list[str]:
    """What has to be known to read the figures."""
    compared = shown.compared
    return [
        *_on_rows(compared),
        *_on_size(shown),
        *_on_fields(compared),
        *_on_prices(compared),
    ]


def _on_rows(compared: Comparison) -> Iterator[str]:
    both = counted(compared.both, "row")
    yield f"answers are compared of the {both} to which both have a valid one"
    if any(compared.only):
        one, other = (
            f"{n:,} in {name} alone" for n, name in zip(compared.only, NAMES, strict=True)
        )
        by_chance = compared.by_chance
        chance = percent(by_chance) if by_chance >= 0.001 else "less than 0.1%"
        yield (
            f"valid {one}, {other}, in neither {compared.neither:,}: chance alone makes as large a "
            f"difference in {chance} of all cases"
        )
    for side in compared.sides:
        if side.pending:
            yield f"run {side.run.id} is not over: {counted(side.pending, 'row')} may still come"


def _on_size(shown: Shown) -> Iterator[str]:
    compared, drawn = shown.compared, shown.drawn
    shares = [field.agreed for field in compared.fields]
    if not shares:
        return
    widest = max(shares, key=lambda share: share.interval.width).interval
    if widest.width > _WIDE:
        more = drawn is not None and drawn.of > len(drawn.numbers)
        yield (
            f"{counted(compared.both, 'row')} tell little: of all such rows anything from "
            f"{between_of(widest)} may agree" + ("; take more with --rows" if more else "")
        )


def _on_fields(compared: Comparison) -> Iterator[str]:
    if not compared.fields:
        yield "no field of the answers can be compared"
    for names, side in zip(compared.unshared, NAMES, strict=True):
        if names and compared.fields:
            yield f"only in {side}: {', '.join(names)}"
    kinds = {field.kind for field in compared.fields}
    if "number" in kinds:
        yield f"numbers agree that differ by {percent(compared.tolerance)} at most"
    if "direction" in kinds:
        yield f"lists of numbers agree whose cosine is {1 - compared.tolerance:g} at least"
    for field in compared.fields:
        if field.incomparable:
            pairs = counted(field.incomparable, "pair")
            yield f"{field.name}: {pairs} of unlike lists of numbers count as different"


def _on_prices(compared: Comparison) -> Iterator[str]:
    tariffs = {
        f"{side.cost.tariff.source} of {side.cost.tariff.as_of}": None
        for side in compared.sides
        if side.cost.tariff is not None
    }
    if tariffs:
        yield f"prices: {', '.join(tariffs)}"
    for name, side in zip(NAMES, compared.sides, strict=True):
        if side.unpriced is not None:
            yield f"{name} has no price: {side.unpriced}"


def safe(text: str) -> str:
    """`text` without what a terminal or a page would obey: it came from a model."""
    return "".join(
        sign if sign.isprintable() or sign in _JOINERS or sign in "\n\t" else "\ufffd"
        for sign in text
    )


def clipped(text: str, *, most: int = _CLIPPED) -> str:
    """The beginning of `text`, on one line."""
    line = " ".join(safe(text[: 4 * most]).split())
    return line if len(line) <= most and len(text) <= 4 * most else line[: most - 1] + "…"


def print_comparison(shown: Shown) -> None:
    """On stdout."""
    compared = shown.compared
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _ENDLESS)
    heads = (
        f"{name}: {model_of(side.run)}" for name, side in zip(NAMES, compared.sides, strict=True)
    )
    figures = table("", *map(safe, heads))
    for line in lines(shown):
        figures.add_row(*map(Text, map(clipped, line)))
    console.print(figures)
    _print_fields(compared, on=console)
    for note in notes(shown):
        console.print(Text(clipped(note, most=400)), soft_wrap=True)
    for difference in compared.differences[:_PRINTED]:
        console.print()
        cells = ", ".join(f"{name}={text_of(value)}" for name, value in difference.row.items())
        console.print(Text(f"{shown.place(difference)}: {clipped(cells)}", "bold"), soft_wrap=True)
        for name, one, other in difference.answers:
            for side, value in zip(NAMES, (one, other), strict=True):
                said = f"  {side} {clipped(name)}: {clipped(text_of(value), most=200)}"
                console.print(Text(said), soft_wrap=True)


def _print_fields(compared: Comparison, *, on: Console) -> None:
    if not compared.fields:
        return
    on.print()
    agreed = table("field", "agrees", "95% interval", "", "most often")
    for name, share, _, between, likeness, changes in fields(compared):
        said = (clipped(name), share, between, likeness, "; ".join(map(clipped, changes)))
        agreed.add_row(*map(Text, said))
    on.print(agreed)
    on.print()


# --- for machines ---


def comparison_json(shown: Shown) -> dict[str, Any]:
    """A comparison, as machines read it. Shares are of 1, times in seconds."""
    compared, drawn = shown.compared, shown.drawn
    names = [name.lower() for name in NAMES]
    return {
        **{name: _side_json(side) for name, side in zip(names, compared.sides, strict=True)},
        "differs": list(compared.differs),
        "rows": compared.rows,
        "rows_of": drawn.of if drawn is not None else None,
        "both_valid": compared.both,
        "only_a_valid": compared.only[0],
        "only_b_valid": compared.only[1],
        "neither_valid": compared.neither,
        "by_chance": compared.by_chance,
        "tolerance": compared.tolerance,
        "agree": None if compared.whole is None else _share_json(compared.whole),
        "fields": [_field_json(field) for field in compared.fields],
        "only_in_a": list(compared.unshared[0]),
        "only_in_b": list(compared.unshared[1]),
        "notes": notes(shown),
        "differences": [_difference_json(each, shown) for each in compared.differences],
    }


def _side_json(side: Side) -> dict[str, Any]:
    tariff = side.cost.tariff
    return {
        "run": side.run.id,
        "status": side.status,
        "model": model_of(side.run),
        "executor": side.run.spec.executor,
        "dollars": side.cost.total,
        "dollars_each": side.cost.per_valid_row,
        "unpriced": side.unpriced,
        "prices": tariff and {"source": tariff.source, "as_of": tariff.as_of.isoformat()},
        "seconds": side.seconds,
        "call_ms": side.call_ms,
        "total": side.run.total,
        "pending": side.pending,
        "counts": side.counts,
        "tokens_in": side.cost.usage.tokens_in,
        "tokens_out": side.cost.usage.tokens_out,
        "tokens_cached": side.cost.usage.cached,
    }


def _share_json(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"count": share.number, "of": share.of, "share": share.value, "low": low, "high": high}


def _field_json(field: Field) -> dict[str, Any]:
    likeness = field.likeness
    return {
        "name": field.name,
        "kind": field.kind,
        **_share_json(field.agreed),
        "likeness": likeness
        and {
            "mean": likeness.value,
            "low": likeness.interval.low,
            "high": likeness.interval.high,
            "least": likeness.least,
        },
        "incomparable": field.incomparable,
        "changes": [{"a": c.one, "b": c.other, "times": c.times} for c in field.changes],
    }


def _difference_json(difference: Difference, shown: Shown) -> dict[str, Any]:
    return {
        "n": difference.n,
        "place": shown.place(difference),
        "row": difference.row,
        "likeness": difference.likeness,
        "answers": {name: {"a": one, "b": other} for name, one, other in difference.answers},
    }
