"""What a batch says to a prompt cache when it goes out, and what goes ahead of one that waited."""

from array import array
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from ..core.heads import Heads, Marked, hits_shown, is_cold, marked, may_prime_again, writes_again
from ..core.model import Batch
from ..store.heads import read_heads
from ..store.requests import RequestFile
from . import act
from .act import Work
from .heads import firsts
from .steps import RemoteWork, note, on_thread, remote_of
from .waves import piece_of


async def ready(on: RemoteWork, batch: Batch) -> Marked | None:
    """Which requests of `batch` mark their heads as it goes out now; None: it was cut, for others
    have to write the heads first."""
    heads = await on_thread(on, partial(read_heads, on.work.store.folder(batch.run_id)))
    if heads is None or not heads.is_staged:
        return "none"
    batches: list[Batch] = await on_thread(on, partial(on.work.store.batches, batch.run_id))
    which = marked(batch, batches, heads)
    if which == "none":
        await _note_why(on, batch, batches, heads)
        return which
    idle = _idle(on, batch, batches)
    if which == "first" or not is_cold(batch, heads, idle=idle):
        return which
    if not may_prime_again(batch):
        return "all" if writes_again(batch) else "none"
    if not await on_thread(on, partial(_primed_again, on.work, batch, heads)):
        return "none"
    return None


async def _note_why(on: RemoteWork, batch: Batch, batches: list[Batch], heads: Heads) -> None:
    """Say that a batch goes without the cache, and what was seen."""
    before = [o for o in batches if o.wave == batch.wave and o.stage < batch.stage]
    if batch.wave == 1:
        said = {"hits": hits_shown(before), "pays_from": heads.pays_from}
        await note(on, "cache.dropped", batch=batch.id, **said)


def _idle(on: RemoteWork, batch: Batch, batches: list[Batch]) -> timedelta:
    """How long ago another batch of its wave was last seen to run."""
    ends = [
        end
        for other in batches
        if other.wave == batch.wave
        and other.stage < batch.stage
        and (end := _end(on, other)) is not None
    ]
    return on.executor.there(on.work.now()) - max(ends) if ends else timedelta()


def _end(on: RemoteWork, batch: Batch) -> datetime | None:
    """When it ended, by the service's clock."""
    remote = remote_of(batch)
    if remote.ended_there is not None:
        return remote.ended_there
    return None if remote.phase_since is None else on.executor.there(remote.phase_since)


def _primed_again(work: Work, batch: Batch, heads: Heads) -> bool:
    """Cut off those that write the heads of `batch`; False if that would be all of it."""
    folder = work.store.folder(batch.run_id)
    numbers = act.numbers_of(work.store, batch)
    with RequestFile(folder) as requests:
        ahead = firsts(requests, heads, numbers)
    taken = {other.size for other in work.store.batches(batch.run_id)}
    rest = (n for n in numbers if n not in ahead)
    # A batch may be known by its size alone: so another one goes ahead where the size is taken.
    ahead |= {n for n, _ in zip(rest, range(_more(len(ahead), taken)), strict=False)}
    if len(ahead) >= batch.size:
        return False
    groups = (
        (batch.stage + 1, array("I", (n for n in numbers if n in ahead))),
        (batch.stage + 2, array("I", (n for n in numbers if n not in ahead))),
    )
    pieces = [
        replace(piece_of(batch, place, group, folder, probe=work.probe), stage=stage)
        for place, (stage, group) in enumerate(groups)
    ]
    into = [piece.id for piece in pieces]
    event = work.event("cache.primed_again", batch=batch.id, into=into)
    work.store.cut(batch, pieces, event=event)
    return True


def _more(size: int, taken: set[int]) -> int:
    """How many more make a size that no other batch has."""
    return next(more for more in range(len(taken) + 1) if size + more not in taken)
