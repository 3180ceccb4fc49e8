"""Every way a dataset could be answered: what it costs, when it is done, and what is in the way.

Nothing is written and nothing is sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import ceil

from msgspec.structs import replace

from ..core.heads import to_measure
from ..core.model import ExecutorName, Spec, Terms
from ..core.offers import Choice, Duration, NoOffer, Offer, Unpriced, Way, choose, offers
from ..core.pace import latency_s, seconds_by
from ..core.price import Tariff, Workload, packed
from ..core.quota import Load, Quota, is_over, reason
from ..core.rescue import FLEX_TIMES, P95
from ..core.terms import NO_TERMS
from ..core.timing import Usual
from ..datasets.source import Source
from ..providers.caching import Cache, cache_of
from ..providers.provider import Provider
from ..providers.vocabularies import counter_for
from .apart import remark_on
from .heads import Caching
from .measure import Measured, Out, measure
from .outlook import learned_of, out_of
from .sameness import parts_of
from .tariffs import tariff_of
from .workspace import Pace, Workspace

_STAGES = 3
"""One after another: those that write the heads, some that show whether they are read, the rest."""
_UNKNOWN = timedelta(hours=24)
"""What a batch is given that nobody promises anything of."""


OWN_PACE = Pace()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """What is offered for a dataset, and what would be taken."""

    spec: Spec
    measured: Measured
    out: Out
    tariff: Tariff
    found: tuple[Offer | Unpriced, ...]
    after_dedupe: tuple[Offer | Unpriced, ...]
    """The same ways, with equal requests sent once."""
    choice: Choice | NoOffer
    remark: str | None = None
    """What keeps its prompts from a cache, where it could be mended."""


def quote(
    workspace: Workspace,
    source: Source,
    spec: Spec,
    *,
    terms: Terms = NO_TERMS,
    pace: Pace = OWN_PACE,
    skip_bad_rows: bool = False,
    every_row: bool = False,
) -> Quoted:
    """What `spec` would cost of `source`, every way there is.

    Of more than 100,000 rows a sample is counted, or with `every_row` all of them. Raises
    UnknownPrice, or what planning the run would raise.
    """
    provider = workspace.provider_of(spec, pace)
    only, spec = open_to(spec, provider, workspace)
    now = workspace.clock.now()
    if spec.model is not None:  # an unknown one is refused before a large table is read
        tariff_of(workspace.settings, provider, spec.model, now=now)
    spec, measured = measure(
        source, spec, counter_for, skip_bad_rows=skip_bad_rows, every_row=every_row
    )
    assert spec.model is not None
    counter = counter_for(spec.model)
    taught = learned_of(workspace.store, spec, counter)
    if taught is not None:
        measured = measured.times(taught.factor, band=taught.band, how=taught.words)
    return quoted(
        measured,
        out_of(workspace.store, spec, parts_of(spec, ""), counter, cap=measured.cap),
        tariff_of(workspace.settings, provider, spec.model, now=now),
        spec=spec,
        provider=provider,
        usual=workspace.usual_at(spec),
        quotas=workspace.quotas_at(spec),
        terms=terms,
        now=now,
        only=only,
    )


def open_to(
    spec: Spec, provider: Provider, workspace: Workspace
) -> tuple[ExecutorName | None, Spec]:
    """What alone may answer it, None if all may; and `spec`, completed.

    An address that the caller gave may have no batch API: one is used only if that is said.
    """
    completed = workspace.completed(spec, provider)
    return completed.executor if spec.base_url is not None else spec.executor, completed


def quoted(
    measured: Measured,
    out: Out,
    tariff: Tariff,
    *,
    spec: Spec,
    provider: Provider,
    usual: Mapping[str, Usual],
    terms: Terms,
    now: datetime,
    quotas: Sequence[Quota] = (),
    only: ExecutorName | None = None,
) -> Quoted:
    """What each way costs that `provider` has.

    `usual` is how long its batches took before, `quotas` how much was found to wait there at once;
    what is not answered by `only` is told and not taken.
    """
    quotas = [quota for quota in quotas if not is_over(quota, now)]

    def priced(*, distinct: bool) -> tuple[Offer | Unpriced, ...]:
        work = measured.workload(out.expected, distinct=distinct)
        ceiling = measured.workload(out.most, distinct=distinct)
        found = ways(work, spec=spec, provider=provider, tariff=tariff, usual=usual, quotas=quotas)
        return tuple(offers(work, ceiling, tariff, found))

    found = priced(distinct=False)
    fewer = priced(distinct=True) if measured.distinct < 1 else found
    return Quoted(
        spec=spec,
        measured=measured,
        out=out,
        tariff=tariff,
        found=found,
        after_dedupe=fewer,
        remark=_remark(measured, spec, tariff),
        choice=choose(
            (
                offer
                for offer in fewer
                if only in (None, offer.way.executor) and offer.way.rows == spec.pack
            ),
            terms,
            now=now,
        ),
    )


def _remark(measured: Measured, spec: Spec, tariff: Tariff) -> str | None:
    cache = cache_of(spec)
    if cache is None or not measured.some:
        return None
    caching = Caching(cache=cache, tariff=tariff, counter=counter_for(spec.model or ""))
    return remark_on(measured.some, spec, caching)


def ways(
    work: Workload,
    *,
    spec: Spec,
    provider: Provider,
    tariff: Tariff,
    usual: Mapping[str, Usual],
    quotas: Sequence[Quota] = (),
) -> Iterator[tuple[Way, Duration, tuple[str, ...]]]:
    """Every way there is, how long it takes, and the limits that will make it wait.

    Where several rows are to go in one prompt, each way without a cache is there once more so.
    """
    ways_of = partial(
        _ways, spec=spec, provider=provider, tariff=tariff, usual=usual, quotas=quotas
    )
    yield from ways_of(work)
    if spec.pack == 1:
        return
    for way, takes, waits in ways_of(packed(work, spec.pack)):
        if way.cached == "no":
            yield replace(way, rows=spec.pack), takes, waits


def _ways(
    work: Workload,
    *,
    spec: Spec,
    provider: Provider,
    tariff: Tariff,
    usual: Mapping[str, Usual],
    quotas: Sequence[Quota],
) -> Iterator[tuple[Way, Duration, tuple[str, ...]]]:
    cache = cache_of(spec)
    takes, waits = _in_real_time(work, provider)
    if provider.base_url is None:
        yield Way(tier="standard", executor="embedded"), takes, waits
        return
    yield Way(tier="standard", executor="online"), takes, waits
    if cache is not None and _is_worth_caching(work, cache, spec, tariff, executor="online"):
        yield Way(tier="standard", executor="online", cached="warm"), takes, waits
    if "flex" in tariff.tiers and provider.sends("flex", spec.api):
        yield Way(tier="flex", executor="online"), _by_flex(takes), waits
    if provider.batch is None or spec.api not in provider.batch.apis:
        return
    batch = _by_batch(provider, usual)
    waits = _queues(work, provider, quotas)
    yield Way(tier="batch", executor="batch"), batch, waits
    if cache is None or cache.in_batch != "primed":
        return
    if _is_worth_caching(work, cache, spec, tariff, executor="batch"):
        one_by_one = Duration(p50=batch.p50 * _STAGES, p95=batch.p95 * _STAGES, source=batch.source)
        yield Way(tier="batch", executor="batch", cached="primed"), one_by_one, waits


def _is_worth_caching(
    work: Workload, cache: Cache, spec: Spec, tariff: Tariff, *, executor: ExecutorName
) -> bool:
    """By the rule that a run goes by: see `core.heads`."""
    rates = tariff.tiers.get("batch" if executor == "batch" else "standard")
    if rates is None or work.shared < cache.floor(spec.model or "").tokens:
        return False
    kept = executor == "batch" and cache.longer is not None
    return to_measure(work, rates, kept=kept) is not None


def _in_real_time(work: Workload, provider: Provider) -> tuple[Duration, tuple[str, ...]]:
    """By the limits that are known; the slowest one counts."""
    each = latency_s(work.out)
    seconds = seconds_by(work, concurrency=provider.concurrency, rpm=provider.rpm, tpm=provider.tpm)
    limit, total = max(seconds.items(), key=lambda each: each[1])
    takes = timedelta(seconds=ceil(total + each))
    known = provider.rpm is not None or provider.tpm is not None
    waits = (limit,) if known and total > 60 else ()
    return Duration(p50=takes, p95=takes * P95, source=f"reckoned from {limit}"), waits


def _by_flex(real_time: Duration) -> Duration:
    return Duration(
        p50=real_time.p50 * FLEX_TIMES,
        p95=real_time.p95 * FLEX_TIMES,
        source="real time, four times over: flex waits for what others leave",
    )


def _by_batch(provider: Provider, usual: Mapping[str, Usual]) -> Duration:
    assert provider.batch is not None
    if usual:
        known = min(phase.known for phase in usual.values())
        return Duration(
            p50=sum((phase.p50 for phase in usual.values()), timedelta()),
            p95=sum((phase.p95 for phase in usual.values()), timedelta()),
            source=f"learned from {known} batches",
        )
    promised = provider.batch.window or _UNKNOWN
    return Duration(p50=promised, p95=promised, source="the provider's word")


def _queues(work: Workload, provider: Provider, quotas: Sequence[Quota]) -> tuple[str, ...]:
    assert provider.batch is not None
    batches = ceil(work.requests / provider.batch.limits.max_requests)
    most = provider.batch.most_waiting
    told = () if most is None else (Quota(measure="batches", ceiling=most),)
    load = Load(batches=batches, requests=work.requests, tokens=round(work.tokens_in))
    return tuple(
        f"the {reason(quota)}"
        for quota in (*told, *quotas)
        if load.of(quota.measure) > quota.ceiling
    )
