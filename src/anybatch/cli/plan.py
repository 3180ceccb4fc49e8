"""`anybatch plan`: what a run would cost, every way there is. Nothing is sent."""

from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from ..core.offers import Choice, Duration, NoOffer, Offer, Unpriced, Way, money
from ..core.timing import span
from ..engine.quotes import Quoted
from .batches import table
from .report import print_json


def print_quote(quoted: Quoted, *, on: Console) -> None:
    """The table of offers, and which one is taken."""
    measured, tariff = quoted.measured, quoted.tariff
    tokens = measured.prompt * measured.rows
    on.print(
        f"{measured.rows:,} rows, about {tokens:,.0f} tokens in (± {measured.band:.0%}, "
        f"{measured.how}) and {quoted.out.expected * measured.rows:,.0f} out "
        f"({quoted.out.source})",
        highlight=False,
    )
    if measured.distinct < 1:
        same = 1 - measured.distinct
        on.print(f"{same:.1%} of the requests repeat another one", highlight=False)
    shown = table("", "dollars", "at most", "without repeats", "done by", "known how")
    chosen = quoted.choice.offer.way if isinstance(quoted.choice, Choice) else None
    for plain, fewer in zip(quoted.found, quoted.after_dedupe, strict=True):
        shown.add_row(*map(Text, _row(plain, fewer, is_chosen=plain.way == chosen)))
    on.print(shown)
    for offer in quoted.found:
        if isinstance(offer, Unpriced):
            on.print(f"{offer.way.words}: {offer.why}", highlight=False)
        elif offer.waits:
            on.print(f"{offer.way.words} waits for {', '.join(offer.waits)}", highlight=False)
    on.print(f"prices: {tariff.source} of {tariff.as_of}", highlight=False)
    on.print(_chosen(quoted.choice), highlight=False)


def _row(plain: Offer | Unpriced, fewer: Offer | Unpriced, *, is_chosen: bool) -> list[str]:
    name = f"→ {plain.way.words}" if is_chosen else f"  {plain.way.words}"
    if isinstance(plain, Unpriced) or isinstance(fewer, Unpriced):
        return [name, "no price", "", "", "", ""]
    return [
        name,
        money(plain.dollars),
        money(plain.most),
        money(fewer.dollars),
        _within(plain.takes),
        plain.takes.source,
    ]


def _within(takes: Duration) -> str:
    p50, p95 = (span(each.total_seconds()) for each in (takes.p50, takes.p95))
    return p95 if p50 == p95 else f"{p50}, 95 % within {p95}"


def _chosen(choice: Choice | NoOffer) -> str:
    if isinstance(choice, NoOffer):
        return f"nothing is chosen: {choice.why}"
    return f"chosen: {choice.offer.way.words}, {choice.why}"


def quote_json(quoted: Quoted) -> dict[str, Any]:
    """A quote, as machines read it. Durations are in seconds."""
    measured, tariff = quoted.measured, quoted.tariff
    choice = quoted.choice
    return {
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


def say_quote(quoted: Quoted, *, as_json: bool) -> None:
    """On stdout."""
    if as_json:
        print_json(quote_json(quoted))
    else:
        print_quote(quoted, on=Console(width=None))
