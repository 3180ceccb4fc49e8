"""`anybatch plan`: what a run would cost, every way there is. Nothing is sent or kept."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ..api import Ask
from ..core.model import Terms
from ..core.offers import Choice, NoOffer
from ..core.terms import terms_of
from ..core.traffic import MONTH, Traffic, traffic
from ..datasets.source import open_source
from ..engine.calculator import Shape, reckon
from ..engine.quotes import Quoted, quote
from ..engine.workspace import Pace, Workspace
from ..errors import UsageError
from ..store.sqlite import SqliteStore
from . import offers as show
from .chart import check_chart, write_chart
from .report import print_json
from .run import Wishes, asked
from .work import has_runs, open_here, settings_here

NO_OFFER, OVER_BUDGET = 1, 5
"""The exit codes where nothing is in time, and where nothing is within the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Requests that are known by their numbers alone, as they were typed."""

    requests: str | None
    input_tokens: int | None
    output_tokens: int | None
    shared_tokens: int | None

    def read(self) -> tuple[Traffic, Shape] | None:
        """None: none were typed. Raises UsageError."""
        tokens = (self.input_tokens, self.output_tokens, self.shared_tokens)
        if self.requests is None:
            if tokens != (None, None, None):
                raise UsageError("how many requests? Say it as --requests 1000/day, or give a FILE")
            return None
        if self.input_tokens is None or self.output_tokens is None:
            raise UsageError("--requests takes --input-tokens and --output-tokens, of one request")
        shape = Shape(
            tokens_in=self.input_tokens,
            tokens_out=self.output_tokens,
            shared=self.shared_tokens or 0,
        )
        return traffic(self.requests), shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What `anybatch plan` is to say of what, as it was typed."""

    wishes: Wishes
    numbers: Numbers
    by: str | None
    budget: float | None
    prefer: str
    compare: str | None
    every_row: bool
    chart: Path | None
    force: bool
    as_json: bool


def plan_command(planning: Planning, store: Path | None, *, pace: Pace) -> int:
    """Say what it would cost; the exit code."""
    numbers = planning.numbers.read()
    models = _models(planning)
    asks = [asked(replace(planning.wishes, model=model)) for model in models]
    _check(planning, is_file=numbers is None)
    with _looking(store) as workspace:
        terms = terms_of(
            by=planning.by,
            budget=planning.budget,
            prefer=planning.prefer,
            now=workspace.clock.now(),
        )
        if numbers is None:
            quotes = [_of_file(workspace, planning, ask, terms, pace) for ask in asks]
        else:
            quotes = [
                reckon(workspace, ask.spec(), *numbers, terms=terms, pace=pace) for ask in asks
            ]
    taken = _taken(quotes, terms)
    _tell(planning, quotes, taken, None if numbers is None else numbers[0])
    if planning.chart is not None:
        _draw(planning.chart, quotes, taken, None if numbers is None else numbers[0])
    if taken is not None:
        return 0
    over = [isinstance(each.choice, NoOffer) and each.choice.for_money for each in quotes]
    return OVER_BUDGET if all(over) else NO_OFFER


def _models(planning: Planning) -> list[str]:
    if planning.compare is None:
        return [planning.wishes.model]
    models = [word.strip() for word in planning.compare.split(",")]
    if not all("/" in model for model in models) or len(set(models)) < len(models):
        raise UsageError(
            f"--compare {planning.compare!r}: name each model once, as openai/…,anthropic/…"
        )
    return models


def _check(planning: Planning, *, is_file: bool) -> None:
    """Raise UsageError for what does not go together."""
    wishes = planning.wishes
    has_file = wishes.data is not None or wishes.sql is not None
    if is_file and not has_file:
        raise UsageError(
            "name the data: anybatch plan FILE --prompt …, or its numbers: --requests 1000/day "
            "--input-tokens 800 --output-tokens 400"
        )
    if not is_file and has_file:
        raise UsageError("--requests is for a plan without a FILE; leave one of them out")
    if wishes.data == "-" and planning.compare is not None:
        raise UsageError("--compare reads the data once for each model: give a file, not -")
    if planning.chart is not None:
        check_chart(planning.chart, force=planning.force)


@contextmanager
def _looking(store: Path | None) -> Iterator[Workspace]:
    """The workspace that is named here; where it has no store none is made."""
    settings = settings_here(store)
    if has_runs(settings):
        workspace = open_here(store)
        with closing(workspace.store):
            yield workspace
        return
    with TemporaryDirectory() as folder, closing(SqliteStore(Path(folder) / "store")) as empty:
        yield Workspace(settings=settings, store=empty)


def _of_file(
    workspace: Workspace, planning: Planning, ask: Ask, terms: Terms, pace: Pace
) -> Quoted:
    wishes = planning.wishes
    return quote(
        workspace,
        open_source(wishes.data, sql=wishes.sql),
        ask.spec(),
        terms=terms,
        pace=pace,
        skip_bad_rows=wishes.bad_rows == "skip",
        every_row=planning.every_row,
    )


def _taken(quotes: Sequence[Quoted], terms: Terms) -> Quoted | None:
    """Of what is taken of each model, the best; None: nothing meets the terms."""
    found = [(each.choice.offer, each) for each in quotes if isinstance(each.choice, Choice)]
    if not found:
        return None
    if terms.prefer == "fast":
        return min(found, key=lambda each: (each[0].takes.p95, each[0].dollars))[1]
    return min(found, key=lambda each: (each[0].dollars, each[0].takes.p95))[1]


def _tell(
    planning: Planning, quotes: Sequence[Quoted], taken: Quoted | None, numbers: Traffic | None
) -> None:
    if planning.as_json:
        said = [
            show.quote_json(each) if numbers is None else show.traffic_json(each, numbers)
            for each in quotes
        ]
        chosen = None if taken is None else show.model_of(taken)
        print_json(said[0] if planning.compare is None else {"models": said, "chosen": chosen})
        return
    on = show.console()
    if numbers is not None:
        show.print_traffic(quotes, numbers, taken, on=on)
    elif len(quotes) > 1:
        show.print_compared(quotes, taken, on=on)
    else:
        show.print_quote(quotes[0], on=on)
        return
    for each in quotes if taken is None else [taken]:
        show.say(show.chosen(each.choice, model=show.model_of(each)), on=on)


def _draw(
    path: Path, quotes: Sequence[Quoted], taken: Quoted | None, numbers: Traffic | None
) -> None:
    first = quotes[0]
    is_monthly = numbers is not None and bool(numbers.unit)
    times = numbers.times_in(MONTH) if numbers is not None and is_monthly else 1.0
    what = f"{first.measured.rows:,} {'rows' if numbers is None else 'requests'}"
    title = f"{what}: dollars a month" if is_monthly else f"{what}: dollars"
    if len(quotes) == 1:
        title += f" by {show.model_of(first)}"
    notes = [f"{each.tariff.source} of {each.tariff.as_of}" for each in quotes]
    choices = [
        show.chosen(each.choice, model=show.model_of(each)) for each in quotes if each is taken
    ]
    bars = show.bars(quotes, taken, times=times)
    write_chart(path, title, bars, ["prices: " + ", ".join(dict.fromkeys(notes)), *choices])
    print(f"drawn in {path}", file=sys.stderr)
