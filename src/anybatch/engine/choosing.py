"""How a run goes for which there is a deadline or a budget: the best of all that is offered."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from ..core.model import ExecutorName, Run, Spec, Terms
from ..core.offers import Choice, NoOffer, Offer, Unpriced, choose, money
from ..core.terms import NO_TERMS
from ..core.timing import Usual, span
from ..datasets.source import Source
from ..errors import OverBudget, UsageError
from ..providers.provider import Provider
from ..settings import Settings
from ..store.store import Store
from .bounds import no_price, with_terms
from .estimates import Estimate, estimate, quoted_at
from .intake import Chosen
from .quotes import quoted
from .workspace import Pace, Planned, Workspace


def plan_with(
    workspace: Workspace, source: Source, spec: Spec, terms: Terms, **asked: Any
) -> Planned:
    """What `Workspace.plan` gives, of a run that is held to these terms.

    How a new one goes is chosen by them, unless it is said; a known one has these from now on.
    """
    if replace(terms, agreement=NO_TERMS.agreement) == NO_TERMS:
        return workspace.plan(source, spec, terms=terms, **asked)
    said = spec.executor is not None or terms.overflow
    terms = replace(terms, insists=said)
    if terms.overflow:
        # It begins in real time, and the rest goes by batch: so it has to go there at all.
        spec = replace(spec, executor="batch")
    provider = workspace.provider_of(spec, asked.get("pace", Pace()))
    reasons: list[str | None] = []

    def choose(run: Run) -> Chosen:
        # An address that the caller gave may have no batch API, whatever its provider has.
        is_fixed = said or spec.base_url is not None
        found = chosen(
            run,
            store=workspace.store,
            settings=workspace.settings,
            provider=provider,
            usual=workspace.usual_at(run.spec),
            said=run.spec.executor if is_fixed else None,
            cached=asked.get("cache", True),
            now=workspace.clock.now(),
        )
        reasons.append(found.why)
        return found

    planned = workspace.plan(source, spec, terms=terms, choose=choose, **asked)
    if planned.is_new:
        return planned._replace(why=reasons[-1])
    now = workspace.clock.now()
    run = with_terms(workspace.store, planned.run, terms, workspace.settings, provider, now=now)
    return planned._replace(run=run)


def chosen(
    run: Run,
    *,
    store: Store,
    settings: Settings,
    provider: Provider,
    usual: Mapping[str, Usual],
    said: ExecutorName | None,
    cached: bool,
    now: datetime,
) -> Chosen:
    """How `run` goes, whose requests are written, by its terms; `said`: the executor it has to;
    `cached`: whether its prompts may be kept by a cache.

    Raises OverBudget where nothing costs so little, UsageError where nothing is done so soon, and
    UnknownPrice where that takes a price that nobody has said.
    """
    found = estimate(run, store=store, settings=settings, provider=provider, now=now)
    if found is None:
        return _unpriced(run, settings, provider, usual=usual, said=said, now=now)
    offered = [
        offer
        for offer in _offers(run, found, provider, usual, cached=cached, now=now)
        if said in (None, offer.way.executor)
    ]
    terms = run.terms if said is None else replace(run.terms, by=None)
    choice = choose(offered, terms, now=now)
    if isinstance(choice, NoOffer):
        raise _refusal(choice)
    if said is not None and run.terms.by is not None:
        # What is said may be late: then the rest goes another way, so that there has to be one.
        another = choose(
            _offers(run, found, provider, usual, cached=cached, now=now), run.terms, now=now
        )
        if isinstance(another, NoOffer):
            raise _refusal(another)
    way = choice.offer.way
    goes = replace(run, spec=replace(run.spec, executor=way.executor))
    if way.executor != "batch":
        goes = replace(goes, canary=0)
    return Chosen(
        run=goes,
        tier="flex" if way.tier == "flex" else None,
        is_cached=way.cached != "no",
        quote=quoted_at(found, way, now=now),
        why=_said(choice, said=said),
    )


def _offers(
    run: Run,
    found: Estimate,
    provider: Provider,
    usual: Mapping[str, Usual],
    *,
    cached: bool,
    now: datetime,
) -> list[Offer | Unpriced]:
    """All that is offered with as many rows a prompt as were asked for."""
    offered = quoted(
        found.measured,
        found.out,
        found.tariff,
        spec=run.spec,
        provider=provider,
        usual=usual,
        terms=run.terms,
        now=now,
    ).found
    return [
        offer
        for offer in offered
        if (cached or offer.way.cached == "no") and offer.way.rows == run.spec.pack
        if offer.way.executor == "batch" or provider.sends(offer.way.tier, run.spec.api)
    ]


def _refusal(choice: NoOffer) -> UsageError:
    if choice.for_money:
        return OverBudget(f"{choice.why}. Nothing was sent; give a higher --budget")
    return UsageError(f"{choice.why}. Nothing was sent; give a later --by")


def _said(choice: Choice, *, said: ExecutorName | None) -> str:
    offer = choice.offer
    why = choice.why if said is None else "as it was asked"
    takes = span(offer.takes.p95.total_seconds())
    return (
        f"{offer.way.words}, {why}: {money(offer.dollars)} expected, {money(offer.most)} at most, "
        f"done within {takes} ({offer.takes.source})"
    )


def _unpriced(
    run: Run,
    settings: Settings,
    provider: Provider,
    *,
    usual: Mapping[str, Usual],
    said: ExecutorName | None,
    now: datetime,
) -> Chosen:
    """The same where nobody has said a price: where there is nothing to choose, none is needed."""
    has_batches = provider.batch is not None and run.spec.api in provider.batch.apis
    if run.terms.budget is None and (said is not None or not has_batches):
        return Chosen(run)
    raise no_price(run, settings, provider, now=now)
