"""How offers are shown: a table of them in dollars, a list where there is no room, or JSON."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from ..core.offers import Choice, Duration, NoOffer, Offer, Unpriced, Way, money
from ..core.price import quote as dollars_of
from ..core.timing import span
from ..core.traffic import MONTH, YEAR, Traffic
from ..engine.quotes import Quoted
from ..providers.vocabularies import vocabulary_of
from .batches import table
from .chart import Bar
from .progress import counted

_ANY_WIDTH = 100_000
_MOSTLY_ANSWERS = 0.6
"""From such a share of the dollars on, what is answered is what is paid for."""


def console() -> Console:
    """Stdout; as wide as it takes where nobody sees its edge."""
    return Console(width=None if sys.stdout.isatty() else 10_000)


def say(line: str, *, on: Console) -> None:
    """A line as it is: nothing in it is a mark."""
    on.print(Text(line), soft_wrap=not on.is_terminal)


# --- of a dataset ---


def print_quote(quoted: Quoted, *, on: Console) -> None:
    """What is in it, every way with its dollars, what is in their way, and which is taken."""
    for line in _of_rows(quoted):
        say(line, on=on)
    rows = [
        _row(quoted, plain, fewer, is_taken=True)
        for plain, fewer in zip(quoted.found, quoted.after_dedupe, strict=True)
    ]
    print_rows(("", *_NAMES), rows, on=on)
    say_about([quoted], on=on)
    say(chosen(quoted.choice), on=on)


_NAMES = ("dollars", "saves", "at most", "without repeats", "done within", "known how")


def print_rows(names: Sequence[str], rows: Sequence[Sequence[str]], *, on: Console) -> None:
    """A table without the columns that are empty; a list where the terminal has no room for it."""
    used = [n for n in range(len(names)) if n == 0 or any(row[n] for row in rows)]
    shown = table(*(names[n] for n in used))
    for row in rows:
        shown.add_row(*(Text(row[n]) for n in used))
    wide = on.options.update(max_width=_ANY_WIDTH)
    if Measurement.get(on, wide, shown).maximum <= on.width:
        with on.capture() as drawn:
            on.print(shown)
        for line in drawn.get().splitlines():
            print(line.rstrip(), file=on.file)
        return
    for row in rows:
        on.print(Text(row[0], style="bold"))
        for n in used[1:]:
            if row[n]:
                on.print(Text(f"    {names[n]}: {row[n]}"))


def _of_rows(quoted: Quoted) -> Iterator[str]:
    measured, out = quoted.measured, quoted.out
    tokens = measured.prompt * measured.rows
    yield (
        f"{model_of(quoted)}: {counted(measured.rows, 'row')}, {tokens:,.0f} tokens in "
        f"(± {measured.band:.1%}, {measured.how}), {out.expected * measured.rows:,.0f} out "
        f"({out.source})"
    )
    if measured.skipped:
        yield f"left out: {counted(measured.skipped, 'bad row')}"
    if measured.distinct < 1:
        yield f"{1 - measured.distinct:.1%} of the requests repeat another one"


def model_of(quoted: Quoted) -> str:
    return f"{quoted.spec.provider}/{quoted.spec.model}"


def _row(
    quoted: Quoted, plain: Offer | Unpriced, fewer: Offer | Unpriced, *, is_taken: bool
) -> list[str]:
    name = _marked(quoted, plain.way, is_taken=is_taken)
    if isinstance(plain, Unpriced) or isinstance(fewer, Unpriced):
        return [name, "no price", "", "", "", "", ""]
    return [
        name,
        money(plain.dollars),
        saved(quoted, plain),
        money(plain.most) if plain.most > plain.dollars else "",
        money(fewer.dollars) if quoted.measured.distinct < 1 else "",
        _within(plain.takes),
        plain.takes.source,
    ]


def _marked(quoted: Quoted, way: Way, *, is_taken: bool) -> str:
    """`is_taken`: whether its model is."""
    return f"→ {way.words}" if is_taken and is_chosen(quoted, way) else f"  {way.words}"


def is_chosen(quoted: Quoted, way: Way) -> bool:
    """Whether it is the one that is chosen of this model's."""
    return isinstance(quoted.choice, Choice) and quoted.choice.offer.way == way


def saved(quoted: Quoted, offer: Offer) -> str:
    """Against real time without a cache, which comes first."""
    first = quoted.found[0]
    if offer.way == first.way or isinstance(first, Unpriced) or not first.dollars:
        return ""
    return f"{1 - offer.dollars / first.dollars:.0%}"


def _within(takes: Duration) -> str:
    p50, p95 = (span(each.total_seconds()) for each in (takes.p50, takes.p95))
    return p95 if p50 == p95 else f"{p95}, half of the time {p50}"


def _remarks(quoted: Quoted) -> Iterator[str]:
    for offer in quoted.found:
        if isinstance(offer, Unpriced):
            yield f"{offer.way.words}: {offer.why}"
        elif offer.waits:
            yield f"{offer.way.words} waits for {', '.join(offer.waits)}"


def _prices(quoted: Quoted) -> str:
    if quoted.found[0].way.executor == "embedded":
        return f"{quoted.tariff.source} costs nothing"
    return f"prices: {quoted.tariff.source} of {quoted.tariff.as_of}"


def hints(quoted: Quoted) -> Iterator[str]:
    """What would make it cheaper, or better known."""
    if quoted.remark is not None:
        yield quoted.remark
    if quoted.measured.how.startswith("judged") and vocabulary_of(quoted.spec.model or ""):
        yield "pip install 'anybatch[tokens]' counts the tokens of this model exactly"
    share = _share_of_answers(quoted)
    if share >= _MOSTLY_ANSWERS:
        yield (
            f"{share:.0%} of the dollars are for what is answered: labels instead of prose, fewer "
            "fields and a lower limit of tokens make it cheaper"
        )


def _share_of_answers(quoted: Quoted) -> float:
    """Of the dollars in real time, which all ways follow."""
    rates = quoted.tariff.tiers.get("standard")
    if rates is None:
        return 0.0
    all_of_it = dollars_of(quoted.measured.workload(quoted.out.expected), rates)
    return 1 - dollars_of(quoted.measured.workload(0), rates) / all_of_it if all_of_it else 0.0


def chosen(choice: Choice | NoOffer, *, model: str = "") -> str:
    """`model`: where it is one of several."""
    if isinstance(choice, NoOffer):
        return f"nothing is chosen{model and f' of {model}'}: {choice.why}"
    return f"chosen: {model and f'{model} by '}{choice.offer.way.words}, {choice.why}"


# --- of several models ---


def print_compared(all_quoted: Sequence[Quoted], taken: Quoted | None, *, on: Console) -> None:
    """One table of all ways of all models, the cheapest first, and what is taken."""
    for quoted in all_quoted:
        for line in _of_rows(quoted):
            say(line, on=on)
    found = [
        (plain, fewer, quoted)
        for quoted in all_quoted
        for plain, fewer in zip(quoted.found, quoted.after_dedupe, strict=True)
    ]
    found.sort(key=lambda each: _dollars(each[0]))
    rows = [
        [model_of(quoted), *_row(quoted, plain, fewer, is_taken=quoted is taken)]
        for plain, fewer, quoted in found
    ]
    print_rows(("", "way", *_NAMES), rows, on=on)
    say_about(all_quoted, on=on)


def say_about(all_quoted: Sequence[Quoted], *, on: Console) -> None:
    """What is in the way, from when the prices are, what would be cheaper."""
    said: dict[str, list[str]] = {}
    for quoted in all_quoted:
        for line in (*_remarks(quoted), _prices(quoted), *hints(quoted)):
            said.setdefault(line, []).append(model_of(quoted))
    for line, models in said.items():
        of = "" if len(models) == len(all_quoted) else f"{', '.join(models)}: "
        say(of + line, on=on)


def _dollars(offer: Offer | Unpriced) -> float:
    return float("inf") if isinstance(offer, Unpriced) else offer.dollars


# --- of requests that are known by their numbers ---


def print_traffic(
    all_quoted: Sequence[Quoted], traffic: Traffic, taken: Quoted | None, *, on: Console
) -> None:
    """What they cost a month and a year; of those that come once, all of them."""
    for quoted in all_quoted:
        measured, out = quoted.measured, quoted.out
        say(
            f"{model_of(quoted)}: {counted(traffic.requests, 'request')}"
            f"{traffic.unit and f' a {traffic.unit}'}, each of {measured.prompt:,.0f} tokens in "
            f"({measured.shared:,.0f} of them shared), {out.expected:,.0f} out",
            on=on,
        )
    rows = [
        _traffic_row(quoted, offer, traffic, is_taken=quoted is taken)
        for quoted in all_quoted
        for offer in quoted.found
    ]
    print_rows(("", "way", "a month", "dollars", "saves", "a year", "each"), rows, on=on)
    say_about(all_quoted, on=on)


def _traffic_row(
    quoted: Quoted, offer: Offer | Unpriced, traffic: Traffic, *, is_taken: bool
) -> list[str]:
    name, words = model_of(quoted), _marked(quoted, offer.way, is_taken=is_taken)
    if isinstance(offer, Unpriced):
        return [name, words, "", "no price", "", "", ""]
    if not traffic.unit:
        sums = ("", money(offer.dollars), saved(quoted, offer), "")
    else:
        month, year = (money(offer.dollars * traffic.times_in(each)) for each in (MONTH, YEAR))
        sums = (month, "", saved(quoted, offer), year)
    return [name, words, *sums, money(offer.dollars / traffic.requests)]


def traffic_json(quoted: Quoted, traffic: Traffic) -> dict[str, Any]:
    """The same, as machines read it."""
    said = quote_json(quoted)
    for offer in said["offers"]:
        for name, each in (("dollars_a_month", MONTH), ("dollars_a_year", YEAR)):
            costs = offer["dollars"]
            is_known = traffic.unit and costs is not None
            offer[name] = costs * traffic.times_in(each) if is_known else None
    return said


# --- as machines and charts have it ---


def quote_json(quoted: Quoted) -> dict[str, Any]:
    """A quote, as machines read it. Durations are in seconds."""
    measured, tariff = quoted.measured, quoted.tariff
    choice = quoted.choice
    return {
        "model": model_of(quoted),
        "api": quoted.spec.api,
        "rows": measured.rows,
        "skipped": measured.skipped,
        "distinct": measured.distinct,
        "counted": measured.counted,
        "counted_how": measured.how,
        "tokens_in": round(measured.prompt * measured.rows),
        "tokens_shared": round(measured.shared * measured.rows),
        "tokens_out": round(quoted.out.expected * measured.rows),
        "tokens_out_how": quoted.out.source,
        "band": measured.band,
        "prices": {"source": tariff.source, "as_of": tariff.as_of.isoformat()},
        "offers": [
            _offer_json(plain, fewer)
            for plain, fewer in zip(quoted.found, quoted.after_dedupe, strict=True)
        ],
        "chosen": _way_json(choice.offer.way) if isinstance(choice, Choice) else None,
        "why": choice.why,
        "hints": list(hints(quoted)),
    }


def _way_json(way: Way) -> dict[str, Any]:
    return {**msgspec.to_builtins(way), "words": way.words}


def _offer_json(plain: Offer | Unpriced, fewer: Offer | Unpriced) -> dict[str, Any]:
    if isinstance(plain, Unpriced) or isinstance(fewer, Unpriced):
        why = plain.why if isinstance(plain, Unpriced) else ""
        return {"way": _way_json(plain.way), "dollars": None, "why": why}
    return {
        "way": _way_json(plain.way),
        "dollars": plain.dollars,
        "dollars_at_most": plain.most,
        "dollars_without_repeats": fewer.dollars,
        "p50_seconds": plain.takes.p50.total_seconds(),
        "p95_seconds": plain.takes.p95.total_seconds(),
        "source": plain.takes.source,
        "waits": list(plain.waits),
    }


def bars(all_quoted: Sequence[Quoted], taken: Quoted | None, *, times: float = 1.0) -> list[Bar]:
    """One for each way that has a price."""
    several = len(all_quoted) > 1
    return [
        Bar(
            name=f"{model_of(quoted)}: {offer.way.words}" if several else offer.way.words,
            dollars=offer.dollars * times,
            said=(share := saved(quoted, offer)) and f"saves {share}",
            is_taken=quoted is taken and is_chosen(quoted, offer.way),
        )
        for quoted in all_quoted
        for offer in quoted.found
        if isinstance(offer, Offer)
    ]
