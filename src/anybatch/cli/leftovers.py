"""What lies at a provider and is ours: found by its mark, and deleted where nobody waits for it.

Where batches bear no mark, or only a name that anybody may give, the names in their results tell.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ..core.ids import number_in
from ..core.marks import PREFIX, batch_in, looks_like_ours, upload_name
from ..core.model import Batch, Run
from ..engine.workspace import Need, Workspace
from ..errors import AnybatchError, TransportError
from ..executors.batch import BatchExecutor
from ..loops import run as run_loop
from ..providers.flow import Refused
from ..wire.batch import RemoteBatch

_LOOKS_BACK = timedelta(days=30)
"""So old are the batches that are looked at, where the provider keeps results for ever."""


class Found(NamedTuple):
    """Something of ours at a provider."""

    id: str
    name: str
    """What it is: the name of an upload, or whose results."""
    batch_id: str | None
    """Our batch that it belongs to; None: that can no longer be told."""
    deleted: bool = False
    why: str | None = None
    """Why it could not be deleted."""


class Leftovers(NamedTuple):
    """What was found at a provider."""

    orphans: list[Found]
    """No run here needs them."""
    kept: list[Found]
    """Runs that are here were told to keep them."""
    in_use: int
    """So many uploads are of batches with answers to come."""
    running: list[str]
    """Batches that look like ours, of no run here, and are not over."""


async def find(desk: BatchExecutor, workspace: Workspace, provider: str) -> Leftovers:
    """All that is ours there. Raises Refused and TransportError."""
    uploads = [file for file in await desk.uploads_like(PREFIX) if batch_in(file.name)]
    back = desk.api.retention or _LOOKS_BACK
    made = await desk.made_since(workspace.clock.now() - back)
    results = frozenset(await desk.results_kept() if made else ())
    # Asked after the listing: what is listed was planned before, what came since is not listed.
    ours = _Ours(workspace.batches_at(provider))
    found = [Found(file.id, file.name, batch_in(file.name)) for file in uploads]
    by_upload = {file.id: batch_in(file.name) for file in uploads}
    running: list[str] = []
    for batch in made:
        batch_id = batch.intent or by_upload.get(batch.input_file or "") or ours.name_of(batch)
        if batch.phase == "ended":
            found += await _results(desk, batch, batch_id, results, ours)
        elif batch_id is not None and looks_like_ours(batch_id) and not workspace.need_of(batch_id):
            running.append(batch.id)
    needs = [workspace.need_of(one.batch_id) if one.batch_id else None for one in found]
    return Leftovers(
        orphans=_with(None, found, needs),
        kept=_with("keeping", found, needs),
        in_use=needs.count("answers"),
        running=running,
    )


def _with(need: Need | None, found: list[Found], needs: list[Need | None]) -> list[Found]:
    return [one for one, its in zip(found, needs, strict=True) if its == need]


class _Ours:
    """The batches of this store at one provider, by what the provider calls them."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        known = [(batch, batch.remote) for batch in batches if batch.remote is not None]
        self._names = {remote.id: batch.id for batch, remote in known if remote.id is not None}
        self._lost = {
            batch.size for batch, remote in known if remote.sent_at is not None and not remote.id
        }

    def name_of(self, batch: RemoteBatch) -> str | None:
        return self._names.get(batch.id)

    def may_be_lost(self, batch: RemoteBatch) -> bool:
        """Whether it may be one that was submitted without an answer, and is being looked for."""
        return batch.size in self._lost


async def _results(
    desk: BatchExecutor,
    batch: RemoteBatch,
    batch_id: str | None,
    kept: frozenset[str],
    ours: _Ours,
) -> list[Found]:
    """The files of results of a batch of ours that is over; the batch itself where it has them."""
    if desk.api.list_results is not None:
        name = f"results of {batch_id}"
        files = [file for file in batch.results if file in kept] if batch_id else []
        return [Found(file, name, batch_id) for file in files]
    if batch_id is not None and not looks_like_ours(batch_id):
        return []
    if batch_id is None and (desk.api.marks or ours.may_be_lost(batch)):
        return []
    told = batch if batch.results else await desk.poll(batch.id)
    if batch.id not in told.results or not await _bears_our_names(desk, batch.id):
        return []
    return [Found(batch.id, f"results of {batch_id or 'a batch of ours'}", batch_id)]


async def _bears_our_names(desk: BatchExecutor, file: str) -> bool:
    """Whether the first line of results names a request as we do."""
    with TemporaryDirectory(prefix="anybatch-") as folder:
        path = Path(folder) / "results"
        await desk.fetch_start(file, path)
        with open(path, "rb") as results:
            name = desk.api.read_line(results.readline()).custom_id
    return name is not None and number_in(name) is not None


async def deleted(desk: BatchExecutor, one: Found) -> Found:
    """`one` once its deletion was tried."""
    try:
        await desk.delete(one.id)
    except (Refused, TransportError) as e:
        return one._replace(why=str(e))
    return one._replace(deleted=True)


# --- of one run -----------------------------------------------------------------------------------

_GOES_ON = ("submitting", "running")


def unfetched(batches: Iterable[Batch]) -> list[Batch]:
    """Those that a provider runs or has run: they are paid for, and their answers are not here."""
    return [
        batch
        for batch in batches
        if batch.status in (*_GOES_ON, "ended")
        and batch.remote is not None
        and batch.remote.sent_at is not None
    ]


def remove(workspace: Workspace, run: Run) -> str | None:
    """Delete what a run has left at its provider; what stays there and why, None if nothing does.

    What still runs there stays.
    """
    left = workspace.left_there(run)
    going = [batch for batch in unfetched(left) if batch.status in _GOES_ON]
    over = [batch for batch in left if batch not in going]
    try:
        failed = run_loop(_remove(workspace, run, over)) if over else []
    except (AnybatchError, Refused) as e:
        failed = [str(e)]
    names = ", ".join((batch.remote.id if batch.remote else None) or batch.id for batch in going)
    said = [f"still running there, and paid for: {names}"] if going else []
    said += [f"not deleted there: {why}" for why in dict.fromkeys(failed)]
    return "; ".join(said) or None


async def _remove(workspace: Workspace, run: Run, over: list[Batch]) -> list[str]:
    """Delete what is there of these batches; why that failed, where it did."""
    workspace.check_account(run)
    desk = workspace.batches_of(workspace.provider_of(run.spec), run.spec)
    try:
        failed: list[str] = []
        for batch in over:
            files = await desk.uploads(upload_name(batch.id))
            if batch.remote is not None and not batch.remote.guessed:  # that is not ours to delete
                files += [*batch.remote.results, *filter(None, [batch.remote.input_file])]
            gone = [await deleted(desk, Found(id, "", batch.id)) for id in dict.fromkeys(files)]
            failed += [f"{one.id}: {one.why}" for one in gone if one.why is not None]
        return failed
    finally:
        await desk.close()
