"""A batch that its provider did not take for its size, or because too much waits there already; and
one that goes another way.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec.structs import replace

from ..core.model import Batch, ExecutorName, Failure, Remote, Result, Run, Tier
from ..core.plan import Limits
from ..core.quota import (
    Load,
    Measure,
    is_hopeless,
    learned,
    load_of,
    most_in_a_batch,
    pause_after,
    refusal_in,
    smaller,
    total,
    waits_there,
)
from ..core.retry import backoff
from ..errors import TransportError
from ..providers.flow import Refused
from ..store.store import Store
from . import act
from .steps import (
    RemoteWork,
    fail_all,
    input_of,
    let_go,
    note,
    on_thread,
    remote_of,
    save,
    take_away,
    uploads_of,
)
from .waves import pieces_of

_LONGEST_WAIT = timedelta(days=7)
"""Where the provider gives nothing up, nobody waits for a batch after that."""


async def too_much(on: RemoteWork, batch: Batch, failure: Failure) -> None:
    """Learn from a refusal for what waits there already; then cut the batch, or let it wait."""
    refusal, now = refusal_in(failure), on.work.now()
    here, elsewhere = await on_thread(on, partial(_waiting_beside, on, batch))
    remote, mine, others = remote_of(batch), load_of(batch), here + elsewhere
    refused = remote.refused + 1
    is_alone = not others.batches and not refusal.rate
    alone = remote.alone + is_alone
    quota = learned(refusal, others=others, mine=mine, tries=refused, now=now)
    if quota is not None:
        await on_thread(on, partial(on.work.store.learn, on.work.run.queue, quota))
        said = {"measure": quota.measure, "ceiling": quota.ceiling, "said": quota.said}
        await note(on, "quota.learned", batch=batch.id, **said)
    most = most_in_a_batch(refusal, mine=mine, alone=alone) if is_alone else None
    if most is not None and batch.size > 1 and not batch.answered:
        await _cut(on, batch, *most)
        return
    if batch.size == 1 and is_alone and is_hopeless(refusal, alone=alone):
        await fail_all(on, batch, Result(n=0, outcome="rate_limited", failure=failure))
        return
    attempts = () if remote.id is None else (remote.id,)
    again = Remote(
        attempt=remote.attempt + len(attempts),
        input_file=remote.input_file,
        uploaded_at=remote.uploaded_at,
        not_ours=(*remote.not_ours, *attempts),
        refused=refused,
        alone=alone,
        why=failure.message,
    )
    soon = backoff(refused, asked=None, jitter=on.jitter())
    rest = soon if here.batches or refusal.rate else pause_after(refused)
    await let_go(on, replace(batch, status="planned"), again, after=rest)


async def too_large(on: RemoteWork, batch: Batch, refused: Result) -> None:
    """Cut a batch that is refused for its size, however little waits; a single request has failed.

    Halves, because nobody says how much would do.
    """
    if batch.size == 1 or batch.answered:
        await fail_all(on, batch, refused)
        return
    await _cut(on, batch, "requests", (batch.size + 1) // 2)


def _waiting_beside(on: RemoteWork, batch: Batch) -> tuple[Load, Load]:
    """What else of ours waits in the same queue: in this run, and in others."""
    work, window = on.work, on.executor.api.window
    others = [other for other in work.store.batches(work.run.id) if other.id != batch.id]
    elsewhere = waiting_elsewhere(work.store, work.run, window=window, now=work.now())
    return total(filter(waits_there, others)), elsewhere


def waiting_elsewhere(store: Store, run: Run, *, window: timedelta | None, now: datetime) -> Load:
    """What waits of other runs in the queue of `run`, as long as the provider may still run it."""
    since = now - (window or _LONGEST_WAIT)
    return store.waiting_elsewhere(run.queue, but=run.id, since=since)


async def replan(
    on: RemoteWork, batch: Batch, executor: ExecutorName, *, tier: Tier | None, most: int | None
) -> None:
    """Put batches that go another way, or smaller ones, in the place of one that was not sent."""
    limits = on.limits_of(executor)
    if most is not None:
        limits = Limits(max_requests=most, distinct_sizes=limits.distinct_sizes)
    told = {"executor": executor, "tier": tier, "most": most}
    await _put(on, replace(batch, executor=executor, tier=tier), limits, "batch.replanned", told)


async def _cut(on: RemoteWork, batch: Batch, measure: Measure, most: int) -> None:
    """Put smaller batches in the place of one that is too large for any quota."""
    limits = smaller(on.executor.api.limits, batch.size, measure, most)
    await _put(on, batch, limits, "batch.cut", {"measure": measure, "most": most})


async def _put(
    on: RemoteWork, batch: Batch, limits: Limits, name: str, told: dict[str, Any]
) -> None:
    """Put batches within `limits` in the place of a claimed one, that go as it is given."""
    path, remote = input_of(on.work, batch), remote_of(batch)
    # Noted before it is deleted: who dies in between must not submit what is no longer there.
    if batch.remote is not None:
        batch = await save(on, batch, replace(remote, input_file=None))
        try:
            await take_away(on, path, uploads_of(remote))
        except (Refused, TransportError) as e:
            await note(on, "batch.uncleaned", batch=batch.id, files=uploads_of(remote), why=str(e))
    pieces = await on_thread(on, partial(_pieces, on, batch, limits))
    event = on.work.event(name, batch=batch.id, into=[piece.id for piece in pieces], **told)
    await on_thread(on, partial(on.work.store.cut, batch, pieces, event=event))
    path.unlink(missing_ok=True)


def _pieces(on: RemoteWork, batch: Batch, limits: Limits) -> list[Batch]:
    store = on.work.store
    return pieces_of(
        batch,
        act.numbers_of(store, batch),
        store.folder(batch.run_id),
        limits=limits,
        taken=[other.size for other in store.batches(batch.run_id)],
        probe=on.work.probe,
    )
