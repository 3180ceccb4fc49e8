"""What a run did cost: read off its batches, and off its journals where the sums do not say it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from ..core.ledger import Cost, Spent, priced_like, reckoned, steps_of
from ..core.model import Batch, Run, Usage
from ..core.offers import usual_tier
from ..core.price import Tariff
from ..core.retry import rows
from ..core.states import Outcome
from ..errors import BadSettings
from ..providers import registry
from ..settings import Settings
from ..store.journal import committed_lines
from ..store.store import Store
from .tariffs import known_tariff


def cost_of(store: Store, settings: Settings, run: Run, *, now: datetime) -> Cost:
    """What `run` did cost so far, by the prices it was quoted with; without a quote, by today's.

    A model in this process costs nothing that is known here: then there are tokens and no dollars.
    """
    quote, batches = store.quote(run.id), store.batches(run.id)
    tariff = _tariff(settings, run, now) if quote is None else quote.tariff
    if run.spec.executor == "embedded":
        tariff = None
    return reckoned(
        _spent(store, run, batches, steps=() if tariff is None else steps_of(tariff)),
        tariff,
        quote=quote,
        valid=rows(batches).get("succeeded", 0),
        duplicates=run.copies,
    )


def _tariff(settings: Settings, run: Run, now: datetime) -> Tariff | None:
    spec = run.spec
    try:
        provider = registry.find(
            spec.provider,
            configured=settings.providers,
            base_url=spec.base_url,
            environment=settings.environment,
            offline=True,
        )
        return known_tariff(settings, provider, spec.model, now=now)
    except BadSettings:
        return None  # it is not configured here any more, or its price is not one


def _spent(
    store: Store, run: Run, batches: Sequence[Batch], *, steps: Sequence[int]
) -> Iterator[Spent]:
    """What each batch used. Its journal is read only if its sum does not tell the price: where
    some of it was asked again, or a prompt may be so long that it costs more."""
    for batch in batches:
        if batch.reused:
            continue  # paid for by the runs it is from
        tier = batch.tier or usual_tier(batch.executor, run.spec.parameters)
        if not any(batch.retried.values()) and not (steps and batch.usage.tokens_in > steps[0]):
            yield Spent(tier=tier, attempts=batch.answered, usage=batch.usage)
            continue
        for length, (attempts, usage, again) in _read(store, run, batch, steps).items():
            yield Spent(tier=tier, length=length, attempts=attempts, usage=usage, again=again)


class _Line(msgspec.Struct, gc=False):
    """Of a journal's line, what it cost."""

    outcome: Outcome
    usage: Usage = Usage()
    model: str | None = None


_LINES = msgspec.json.Decoder(_Line)


def _lines(store: Store, run: Run, batch: Batch) -> Iterator[_Line]:
    for _, _, line in committed_lines(store.folder(run.id), batch.id, batch.journal):
        yield _LINES.decode(line)


def _read(
    store: Store, run: Run, batch: Batch, steps: Sequence[int]
) -> dict[int, tuple[int, Usage, Usage]]:
    """By what its prompt costs: how many attempts, what they used, and what of it those did that
    were made again."""
    found: dict[int, tuple[int, Usage, Usage]] = {}
    for line in _lines(store, run, batch):
        length = priced_like(line.usage.tokens_in, steps)
        attempts, usage, again = found.get(length, (0, Usage(), Usage()))
        if batch.retried.get(line.outcome):
            again += line.usage
        found[length] = (attempts + 1, usage + line.usage, again)
    return found


def models_of(store: Store, run: Run) -> dict[str, int]:
    """The models that answers say they are from, with how many. Reads all journals."""
    batches = store.batches(run.id)
    lines = (line for batch in batches for line in _lines(store, run, batch))
    return dict(Counter(line.model for line in lines if line.model is not None).most_common())
