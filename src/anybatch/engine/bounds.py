"""What holds a run back or drives it on: what it may cost, and how fast it could be done."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from msgspec import structs

from ..clock import Clock
from ..core.budget import OVER, Cap, Purse, out_on, purse_of, spent_on
from ..core.model import Batch, Run, Terms
from ..core.offers import Quote
from ..core.pace import latency_s, seconds_by
from ..core.price import Workload
from ..core.rescue import Direct
from ..core.terms import NO_TERMS
from ..errors import BadSettings
from ..providers.prices import UnknownPrice
from ..providers.provider import Provider
from ..settings import Settings
from ..store.store import Store
from .events import repeated
from .tariffs import tariff_of

_TWICE = ("batch.recovered", "batch.abandoned")
"""The events that tell of calls that may be made twice."""
_MOST_RUNS = 10_000
_SOME = 1_000
_OUT = 256.0
"""Tokens of an answer, where nobody has said how long it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is known of it at a moment."""

    purse: Purse | None = None
    """What may be spent; None: as much as it takes."""
    unpriced: str | None = None
    """Why a budget that there is cannot be held."""
    direct: Direct | None = None
    """How fast rows are answered in real time; None: nobody asks."""


UNBOUNDED = Bounds()


def bounds_in(
    store: Store, settings: Settings, clock: Clock, provider: Provider | None
) -> Callable[[Run, Sequence[Batch]], Bounds]:
    """What holds runs back at `provider`; None: nothing is sent any more."""

    def bounds(run: Run, batches: Sequence[Batch]) -> Bounds:
        if provider is None:
            return UNBOUNDED
        return bounds_of(
            run, batches, store=store, settings=settings, provider=provider, now=clock.now()
        )

    return bounds


def bounds_of(
    run: Run,
    batches: Sequence[Batch],
    *,
    store: Store,
    settings: Settings,
    provider: Provider,
    now: datetime,
) -> Bounds:
    """The bounds of `run` by its terms and by the budgets in the settings."""
    if run.terms == NO_TERMS and not settings.budgets:
        return UNBOUNDED
    quote = store.quote(run.id)
    caps = list(_caps(run, store, settings.budgets, now=now))
    direct = _direct(run, batches, quote, provider)
    if not caps:
        return Bounds(direct=direct)
    if quote is None:
        why = no_price(run, settings, provider, now=now)
        return Bounds(direct=direct, unpriced=f"{OVER}it cannot be held: {why}")
    twice = repeated(store.events(run.id, *_TWICE))
    return Bounds(purse=purse_of(quote, caps, batches, repeated=twice), direct=direct)


def _direct(
    run: Run, batches: Sequence[Batch], quote: Quote | None, provider: Provider
) -> Direct | None:
    """How fast its rows would be answered in real time, by the limits that are known."""
    if provider.base_url is None or run.spec.executor != "batch":
        return None
    judged = sum(batch.tokens for batch in batches if batch.wave == 1) / max(1, run.total)
    own, out = (judged, _OUT) if quote is None else (quote.tokens_in, quote.out)
    work = Workload(requests=_SOME, own=own, out=out)
    seconds = seconds_by(work, concurrency=provider.concurrency, rpm=provider.rpm, tpm=provider.tpm)
    has_flex = quote is not None and "flex" in quote.tariff.tiers
    return Direct(
        first=timedelta(seconds=latency_s(out)),
        each=timedelta(seconds=max(seconds.values()) / _SOME),
        flex=has_flex and provider.sends("flex", run.spec.api),
    )


def _caps(run: Run, store: Store, budgets: Mapping[str, float], *, now: datetime) -> Iterator[Cap]:
    if run.terms.budget is not None:
        yield Cap(of="the budget", dollars=run.terms.budget)
    if "per_run" in budgets:
        yield Cap(of="the budget of a run", dollars=budgets["per_run"], way_on=_RAISED)
    if not budgets.keys() & {"per_day", "per_key"}:
        return
    today = [other for other in _at_work_today(store, now=now) if other.id != run.id]
    if "per_day" in budgets:
        gone = _gone(today, store)
        yield _of_today("a day", budgets["per_day"], gone)
    if "per_key" in budgets:
        same = [other for other in today if _key_of(other) == _key_of(run)]
        gone = _gone(same, store)
        yield _of_today("a day with this key", budgets["per_key"], gone)


_RAISED = "the same command goes on once [budgets] in anybatch.toml has more"


def _of_today(what: str, dollars: float, gone: float) -> Cap:
    way_on = f"{_RAISED}, or tomorrow"
    return Cap(of=f"the budget of {what}", dollars=dollars, elsewhere=gone, way_on=way_on)


def _key_of(run: Run) -> tuple[str, str | None]:
    return run.spec.provider, run.account


def _at_work_today(store: Store, *, now: datetime) -> Iterator[Run]:
    """The runs that may have spent something since midnight in UTC: those that were over before
    have not."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for run in store.runs(most=_MOST_RUNS):
        over_at = run.ended_at
        if run.state == "stopped":
            over_at = next((e.at for e in reversed(store.events(run.id, "run.stopped"))), None)
        if over_at is None or over_at >= midnight:
            yield run


def _gone(runs: Iterable[Run], store: Store) -> float:
    """What these have spent, on other days too, and what they may be about to spend."""
    return sum(_gone_on(run, store) for run in runs)


def _gone_on(run: Run, store: Store) -> float:
    quote = store.quote(run.id)
    if quote is None:
        return 0.0
    batches = store.batches(run.id)
    purse = purse_of(quote, (), batches)
    return sum(spent_on(purse, batch) + out_on(purse, batch) for batch in batches)


def no_price(run: Run, settings: Settings, provider: Provider, *, now: datetime) -> BadSettings:
    """Why a budget or a choice needs a price, and how to say it."""
    model = run.spec.model
    if model is None:
        return BadSettings("a price is of a model: name it as --model PROVIDER/MODEL")
    try:
        tariff_of(settings, provider, model, now=now)
    except UnknownPrice as e:
        return e
    name = f"{provider.name}/{model}"
    return UnknownPrice(
        f"nobody has said what {name} costs there. Say it in anybatch.toml: "
        f'[prices."{name}"] with input = … and output = …, in dollars for a million tokens'
    )


def with_terms(
    store: Store, run: Run, terms: Terms, settings: Settings, provider: Provider, *, now: datetime
) -> Run:
    """`run`, which has these terms from now on. Raises BadSettings for a budget that cannot be
    held."""
    if terms.budget is not None and store.quote(run.id) is None:
        raise no_price(run, settings, provider, now=now)
    store.save_wishes(structs.replace(run, terms=terms))
    return store.run(run.id)


def tier_field_of(provider: Provider | None) -> str | None:
    """The field of a body that asks for another tier in real time than the usual one."""
    tiers = None if provider is None else provider.tiers
    return None if tiers is None else tiers.field


_FLEX_DEADLINE = timedelta(minutes=15)
"""What OpenAI and Google advise for calls by flex."""


def patient(settings: Settings, run: Run, provider: Provider | None) -> Settings:
    """The same with as much time for a call as it takes that may go by flex."""
    may_be_flex = provider is not None and provider.sends("flex", run.spec.api)
    if not may_be_flex or run.terms == NO_TERMS:
        return settings
    return replace(settings, deadline=max(settings.deadline, _FLEX_DEADLINE))
