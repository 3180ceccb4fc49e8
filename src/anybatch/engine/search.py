"""Which of a provider's batches is the one whose submission was never answered.

Where batches carry our mark, that says it. Where they do not, they are told by their size and the
time they were made at, and somebody else's may be just like ours. Then these rules hold:

1. What is found so is a guess, until one of its results bears a name of ours. Nothing else makes
   sure of it, and nothing that was guessed is cancelled or deleted.
2. Out of the question are only those batches that are known to be another's: whose submission was
   answered, those in whose results another batch of ours found its names, and those in whose
   results this one did not.
3. Of the others, the one that was made nearest to when ours was sent is taken, and what another
   batch of ours has guessed only where nothing else is left. So two that guessed each other's both
   read it, see that they were mistaken, and find their own.
4. Not before none is left, and it was looked for long enough, is it submitted anew.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from ..core.model import Batch, Remote
from ..providers.flow import Refused
from ..store.store import Store
from ..wire.batch import RemoteBatch
from .steps import (
    GIVE_UP,
    PASSING,
    RemoteWork,
    input_of,
    let_go,
    note,
    on_thread,
    remote_of,
    submission_of,
)

_RUNS = 1_000
"""Of so many runs it is known which batches at a provider are theirs."""


async def found_there(on: RemoteWork, batch: Batch) -> RemoteBatch | None:
    """What a submission became, None if there is nothing. Should there be more, they are ended.

    Raises Refused and TransportError.
    """
    remote = remote_of(batch)
    assert remote.sent_at is not None
    if remote.sent_there is None:
        await on.executor.ask_time()
    since = remote.sent_there or on.executor.there(remote.sent_at)
    submission = submission_of(on, batch, input_of(on.work, batch))
    found = await on.executor.find(submission, since=since)
    claims = await on_thread(on, partial(_claims_of_others, on.work.store, batch))
    taken = claims.sure.union(remote.not_ours)
    found = [one for one in found if one.id not in taken]
    if on.executor.api.marks:
        ours, *copies = sorted(found, key=_age) or (None,)
        await _end(on, batch, copies)
    else:
        ours = min(found, key=partial(_unlikely, since, claims.guessed), default=None)
    # A list may be garbled: what cannot be looked at by itself is not found.
    return None if ours is None else await on.executor.poll(ours.id)


async def _end(on: RemoteWork, batch: Batch, copies: Iterable[RemoteBatch]) -> None:
    """Never by us alone: but should there be two of a batch, only one is to be paid for.

    Raises Refused and TransportError, but for the last time: one that we may not end keeps nobody
    from the first.
    """
    is_last = remote_of(batch).tries + 1 >= GIVE_UP
    for copy in copies:
        await note(on, "batch.doubled", batch=batch.id, remote=copy.id)
        try:
            await on.executor.cancel(copy.id)
        except Refused as e:
            if e.outcome in PASSING or not is_last:
                raise
            await note(on, "batch.uncancelled", batch=batch.id, remote=copy.id, why=str(e))


class _Claims(NamedTuple):
    """The ids of the batches at a provider that other batches of ours have."""

    sure: frozenset[str]
    guessed: frozenset[str]


def _claims_of_others(store: Store, batch: Batch) -> _Claims:
    others = [
        other.remote
        for run in store.runs(most=_RUNS)
        for other in store.batches(run.id)
        if other.remote is not None and other.remote.id is not None and other.id != batch.id
    ]
    return _Claims(_ids(others, guessed=False), _ids(others, guessed=True))


def _ids(remotes: Iterable[Remote], *, guessed: bool) -> frozenset[str]:
    return frozenset(one.id for one in remotes if one.id is not None and one.guessed == guessed)


async def is_anothers(on: RemoteWork, batch: Batch) -> bool:
    """Whether what was guessed to be `batch` has turned out to be another one of ours."""
    if not remote_of(batch).guessed:
        return False
    claims: _Claims = await on_thread(on, partial(_claims_of_others, on.work.store, batch))
    return remote_of(batch).id in claims.sure


async def look_again(on: RemoteWork, batch: Batch) -> None:
    """What was guessed is somebody else's: look for what we submitted."""
    remote = remote_of(batch)
    assert remote.id is not None
    await note(on, "batch.mistaken", batch=batch.id, remote=remote.id)
    again = Remote(
        attempt=remote.attempt,
        sent_at=remote.sent_at,
        sent_there=remote.sent_there,
        not_ours=(*remote.not_ours, remote.id),
        why="what was found is somebody else's",
    )
    await let_go(on, replace(batch, status="submitting"), again)


def _age(batch: RemoteBatch) -> Any:
    return (batch.created_at is None, batch.created_at, batch.id)


def _unlikely(since: datetime, guessed: frozenset[str], batch: RemoteBatch) -> Any:
    """How little speaks for a batch, as something to sort by."""
    made = batch.created_at
    return (batch.id in guessed, timedelta.max if made is None else abs(made - since), batch.id)
