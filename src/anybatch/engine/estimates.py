"""What a run will cost that is being planned, from a sample of the requests that it has written.

So planning reads no row twice: whatever the size of a run, about a thousand of its requests are
counted.
"""

import random
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from ..core.model import Run
from ..core.offers import Quote, Way, price_of, usual_way
from ..core.price import Tariff
from ..core.tokens import Counter
from ..providers.provider import Provider
from ..providers.vocabularies import counter_for
from ..settings import Settings
from ..store.requests import RequestFile
from ..store.store import Store
from .measure import Measured, Out, mean_cap, measured
from .outlook import learned_of, out_of
from .tariffs import known_tariff

_SAMPLE = 1_000
_SAMPLE_BYTES = 4 << 20
"""Fewer are counted where they are together longer than that,"""
_FEWEST = 10
"""but so many in any case."""


class Estimate(NamedTuple):
    """What a price takes."""

    measured: Measured
    out: Out
    tariff: Tariff


def quote_of_intake(
    run: Run,
    way: Way | None = None,
    *,
    store: Store,
    settings: Settings,
    provider: Provider,
    now: datetime,
) -> Quote | None:
    """What `run`, whose requests are written, will cost; None: nobody has said what its model costs
    that way.

    `way` is how it will be answered; None: the usual way of its executor, without a cache. Raises
    BadSettings for a [prices] table that cannot be read.
    """
    found = estimate(run, store=store, settings=settings, provider=provider, now=now)
    return None if found is None else quoted_at(found, way or usual_way(run.spec), now=now)


def estimate(
    run: Run, *, store: Store, settings: Settings, provider: Provider, now: datetime
) -> Estimate | None:
    """What a run has in it, whose requests are written, and what its model costs; None: nobody has
    said that."""
    tariff, model = known_tariff(settings, provider, run.spec.model, now=now), run.spec.model
    if tariff is None or model is None or not run.to_send:
        return None
    counter = counter_for(model)
    found = measured_of(store, run, counter)
    taught = learned_of(store, run.spec, counter)
    if taught is not None:
        found = found.times(taught.factor, band=taught.band, how=taught.words)
    return Estimate(found, out_of(store, run.spec, run.parts, counter, cap=found.cap), tariff)


def measured_of(store: Store, run: Run, counter: Counter) -> Measured:
    """The requests of `run` in tokens, reckoned from some of them by the bytes of all."""
    with RequestFile(store.folder(run.id)) as requests:
        most = max(_FEWEST, _SAMPLE_BYTES * requests.count // requests.size)
        size = min(run.to_send, _SAMPLE, most)
        # The same table gives the same figures.
        numbers = sorted(random.Random(0).sample(range(run.to_send), size))
        bodies = [request.body for request in requests.read(numbers)]
        found = measured(bodies, run.spec.api, counter, rows=run.to_send, skipped=run.skipped)
        if run.spec.prompt is None:
            found = replace(found, cap=mean_cap(bodies, run.spec.api))
        if size == requests.count:
            return found
        share = (requests.size / requests.count) / (sum(map(len, bodies)) / size + 1)
    return replace(found, prompt=found.prompt * share)


def quoted_at(found: Estimate, way: Way, *, now: datetime) -> Quote | None:
    """What is told of a run that is answered in `way`; None: its tier has no price."""
    measured, out, tariff = found
    rates = tariff.tiers.get(way.tier)
    standard = tariff.tiers.get("standard")
    if rates is None or standard is None:
        return None
    batch = tariff.tiers.get("batch")
    work, ceiling = measured.workload(out.expected), measured.workload(out.most)
    plain = Way(tier="standard", executor="online")
    return Quote(
        at=now,
        tariff=tariff,
        way=way,
        requests=measured.rows,
        tokens_in=measured.prompt,
        out=out.expected,
        most_out=out.most,
        band=measured.band,
        dollars=price_of(work, rates, way),
        most=price_of(ceiling, rates, way),
        real_time=price_of(work, standard, plain),
        flat=None if batch is None else price_of(work, batch, plain),
    )
