"""A batch at its provider, step by step. What a step is about to do, or has learned, is committed
before the next one is taken: so whoever goes on after a crash knows what may have happened.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, assert_never

from msgspec.structs import replace

from ..core.ids import custom_id
from ..core.marks import upload_name
from ..core.model import Batch, Remote, Request, Result
from ..core.retry import backoff, look_after
from ..effects import effect
from ..errors import Ambiguous, TransportError
from ..executors.batch import BatchExecutor
from ..providers.flow import Refused
from ..providers.provider import Submission
from ..store.files import unwritable
from ..store.requests import RequestFile
from ..wire.batch import RemoteBatch
from . import act
from .act import Work
from .collect import Collected
from .decide import LISTED_FROM, CancelRemote, Clean, Collect, Recover, Remotely, Submit
from .recorder import Recorder

_LOOKS = (1 / 3, 2 / 3)
"""When a submission whose answer was lost is not found, it is looked for again after so much of the
time that a search takes; after the last look it is certain enough that it never arrived."""
_GIVE_UP = 5
"""So often a batch is not there, or cannot be cleaned up, before we believe it."""
_GONE_FILE = 20
"""So often a file of results is not there before we believe it: some minutes in all."""
_RUNS = 1_000
"""Of so many runs it is known which batches at a provider are theirs."""
_GONE_PAUSE = timedelta(minutes=3)
_QUOTA_PAUSE = timedelta(minutes=2)
_CHUNK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWork:
    """What the steps of batches at a provider need."""

    work: Work
    executor: BatchExecutor
    jitter: Callable[[], float]
    search: timedelta
    """So long a submission whose answer was lost is looked for."""


async def take(on: RemoteWork, action: Remotely, batch: Batch) -> None:
    """Take one step of a claimed batch and let it go."""
    match action:
        case Submit():
            await _submit(on, batch)
        case Recover():
            await _recover(on, batch)
        case CancelRemote():
            await _cancel(on, batch)
        case Collect():
            await _collect(on, batch)
        case Clean():
            await _clean(on, batch)
        case _:
            assert_never(action)


# --- submitting ---------------------------------------------------------------------------------


async def _submit(on: RemoteWork, batch: Batch) -> None:
    """Upload, then create; each is announced before it is done."""
    resumed = batch.remote is not None
    batch = await _save(on, batch, _remote(batch))
    path = _input(on.work, batch)
    try:
        await _on_thread(on, partial(_write_input, on, batch, path))
        if _remote(batch).input_file is None:
            file = await _uploaded(on, batch, path, resumed=resumed)
            batch = await _save(on, batch, replace(_remote(batch), input_file=file))
        batch = await _save(on, batch, replace(_remote(batch), sent_at=on.work.now()))
        taken = await on.executor.create(_submission(on, batch, path))
    except Ambiguous as e:
        # It may exist: the next step looks for it.
        await _let_go(on, batch, replace(_remote(batch), why=str(e)))
    except Refused as e:
        await _refused(on, batch, e)
    except TransportError as e:
        # Nothing of it can have arrived, or nothing but an upload, which can be found.
        await _later(on, batch, str(e))
    else:
        await _note(on, "batch.submitted", batch=batch.id, remote=taken.id)
        await _running(on, batch, taken)
        path.unlink(missing_ok=True)


async def _uploaded(on: RemoteWork, batch: Batch, path: Path, *, resumed: bool) -> str | None:
    """The provider's id of the requests; what an earlier try left there is taken."""
    known = await on.executor.uploads(path.name) if resumed else []
    for orphan in known[1:]:
        await on.executor.delete(orphan)
    return known[0] if known else await on.executor.upload(path, name=path.name)


async def _refused(on: RemoteWork, batch: Batch, e: Refused) -> None:
    """The provider did not take the batch: wait if that may pass, else its requests have failed."""
    if e.outcome in ("rate_limited", "server_error"):
        await _later(on, batch, e.failure.message)
        return
    results = (
        Result(n=n, outcome=e.outcome, status=e.status, failure=e.failure)
        for n in act.numbers_of(on.work.store, batch)
    )
    await _record(on, replace(batch, remote=replace(_remote(batch), sent_at=None)), results)


async def _later(on: RemoteWork, batch: Batch, why: str) -> None:
    """Back into the queue: nothing of this attempt exists at the provider but perhaps an upload."""
    remote = _remote(batch)
    pause = backoff(remote.tries + 1, asked=None, jitter=on.jitter())
    waiting = replace(remote, sent_at=None, tries=remote.tries + 1, why=why)
    await _let_go(on, replace(batch, status="planned"), waiting, after=pause)


async def _running(on: RemoteWork, batch: Batch, taken: RemoteBatch) -> None:
    remote = replace(
        _remote(batch),
        id=taken.id,
        status=taken.status,
        phase_since=on.work.now(),
        looks=0,
        tries=0,
        why=None,
    )
    first = look_after(timedelta(), jitter=on.jitter())
    await _let_go(on, replace(batch, status="running"), remote, after=first)


async def _recover(on: RemoteWork, batch: Batch) -> None:
    """Look for a submission whose answer we never got."""
    remote = _remote(batch)
    assert remote.sent_at is not None
    submission = _submission(on, batch, _input(on.work, batch))
    try:
        found = await on.executor.find(submission, since=remote.sent_at)
    except (Refused, TransportError) as e:
        await _let_go(on, batch, replace(remote, why=str(e)), after=on.search * _LOOKS[0])
        return
    found = await _on_thread(on, partial(_unclaimed, on, batch, found))
    if found:
        ours, *copies = sorted(found, key=_age)
        # Without a mark, the others may be anybody's.
        for copy in copies if on.executor.api.marks else ():
            # Never by us alone: but should there be two, only one is to be paid for.
            await _note(on, "batch.doubled", batch=batch.id, remote=copy.id)
            await on.executor.cancel(copy.id)
        await _note(on, "batch.found", batch=batch.id, remote=ours.id)
        await _running(on, batch, ours)
    elif remote.looks < len(_LOOKS):
        looked = replace(remote, looks=remote.looks + 1)
        await _let_go(on, batch, looked, after=on.search * _LOOKS[remote.looks])
    else:
        await _note(on, "batch.not_found", batch=batch.id, attempt=remote.attempt)
        again = Remote(attempt=remote.attempt + 1, input_file=remote.input_file)
        await _let_go(on, replace(batch, status="planned"), again)


def _unclaimed(on: RemoteWork, batch: Batch, found: list[RemoteBatch]) -> list[RemoteBatch]:
    """Of those that may be `batch`, the ones not known to be another one's."""
    store = on.work.store
    taken = {
        other.remote.id
        for run in store.runs(most=_RUNS)
        for other in store.batches(run.id)
        if other.remote is not None and other.id != batch.id
    }
    taken.update(_remote(batch).not_ours)
    return [one for one in found if one.id not in taken]


def _age(batch: RemoteBatch) -> Any:
    return (batch.created_at is None, batch.created_at, batch.id)


# --- waiting ------------------------------------------------------------------------------------


async def look(on: RemoteWork, batches: Collection[Batch]) -> dict[str, datetime]:
    """See how they are, and write down what is new; when to look at the others again."""
    ids = {remote.id: batch for batch in batches if (remote := batch.remote) and remote.id}
    sent = [_remote(batch).sent_at or on.work.now() for batch in batches]
    listed = len(ids) >= LISTED_FROM
    polled = await on.executor.poll_all(ids.keys(), since=min(sent), listed=listed)
    # At the same moment all together, when the youngest is to be looked at.
    again = on.work.now() + look_after(on.work.now() - max(sent), jitter=on.jitter())
    looks: dict[str, datetime] = {}
    for remote_id, seen in polled.items():
        batch = ids[remote_id]
        if isinstance(seen, RemoteBatch) and not _is_news(seen, _remote(batch)):
            looks[batch.id] = again
            continue
        claimed = await _on_thread(on, partial(act.claim, on.work, batch, window=0))
        if claimed is not None:
            if isinstance(seen, RemoteBatch):
                await _seen(on, claimed, seen)
            else:
                await _unseen(on, claimed, seen)
    return looks


def _is_news(seen: RemoteBatch, known: Remote) -> bool:
    return (
        seen.phase == "ended"
        or (seen.status, seen.done) != (known.status, known.done)
        or bool(known.tries)
    )


async def _cancel(on: RemoteWork, batch: Batch) -> None:
    """Ask for an end; what was run until then is fetched when it has come."""
    remote = _remote(batch)
    assert remote.id is not None
    try:
        seen = await on.executor.cancel(remote.id)
    except (Refused, TransportError) as e:
        await _unseen(on, batch, e)
        return
    await _note(on, "batch.cancelled", batch=batch.id, remote=remote.id)
    await _seen(on, replace(batch, remote=replace(remote, cancelled=True)), seen)


async def _seen(on: RemoteWork, batch: Batch, seen: RemoteBatch) -> None:
    remote, now = _remote(batch), on.work.now()
    if seen.status != remote.status:
        await _note(on, "batch.phase", batch=batch.id, remote=seen.id, status=seen.status)
        remote = replace(remote, phase_since=now)
    remote = replace(remote, status=seen.status, done=seen.done, tries=0, why=None)
    if seen.phase != "ended":
        age = now - (remote.sent_at or now)
        await _let_go(on, batch, remote, after=look_after(age, jitter=on.jitter()))
        return
    ended = replace(
        remote,
        results=seen.results,
        failed=seen.problems,
        bad_lines=seen.bad_lines,
        over_quota=seen.over_quota,
    )
    await _let_go(on, replace(batch, status="ended"), ended)


async def _unseen(on: RemoteWork, batch: Batch, e: Exception) -> None:
    """It could not be looked at. A batch that stays away is lost, and all its rows with it."""
    remote = _remote(batch)
    gone = isinstance(e, Refused) and e.status == 404
    tries = remote.tries + 1 if gone else 0
    if tries < _GIVE_UP:
        waiting = replace(remote, tries=tries, why=str(e))
        await _let_go(
            on,
            batch,
            waiting,
            after=_GONE_PAUSE if gone else look_after(timedelta(minutes=3), jitter=on.jitter()),
        )
        return
    await _note(on, "batch.lost_remotely", batch=batch.id, remote=remote.id)
    lost = replace(remote, tries=0, why="the provider does not know it any more")
    await _let_go(on, replace(batch, status="ended"), lost)


# --- collecting ---------------------------------------------------------------------------------


async def _collect(on: RemoteWork, batch: Batch) -> None:
    """Fetch all that the provider has, record it, and settle what has no result."""
    remote = _remote(batch)
    if remote.over_quota:
        await _note(on, "batch.over_quota", batch=batch.id, remote=remote.id)
        again = Remote(
            attempt=remote.attempt + 1,
            input_file=remote.input_file,
            why="over the provider's limit of waiting requests",
        )
        await _let_go(on, replace(batch, status="planned"), again, after=_QUOTA_PAUSE)
        return
    try:
        paths = [await _fetched(on, batch, place) for place in range(len(remote.results))]
    except (Refused, TransportError) as e:
        tries = remote.tries + 1
        if isinstance(e, Refused) and e.status == 404 and tries > _GONE_FILE:
            await _note(on, "results.gone", batch=batch.id, files=list(remote.results))
            gone = replace(remote, tries=0, results=())
            await _let_go(on, batch, gone)
            return
        pause = backoff(tries, asked=None, jitter=on.jitter())
        await _let_go(on, batch, replace(remote, tries=tries, why=str(e)), after=pause)
        return
    collected = Collected(on.work, batch, on.executor.api.read_line, paths)
    if not on.executor.api.marks and await _on_thread(on, collected.is_anothers):
        await _mistaken(on, batch, paths)
        return

    async def fill(recorder: Recorder, requests: Iterator[Request]) -> None:
        await _take_in(on, recorder, collected.answered())
        if not collected.is_short():
            return
        if remote.tries < _GIVE_UP and remote.results:
            # A download that was cut at the end of a line looks whole: so it is fetched once more.
            tries = remote.tries + 1
            again = replace(
                remote, tries=tries, why="the results lack some rows: fetched once more"
            )
            pause = backoff(tries, asked=None, jitter=on.jitter())
            recorder.postpone(again, due=on.work.now() + pause)
        else:
            await _take_in(on, recorder, collected.unanswered())

    await act.record(on.work, replace(batch, due=None), fill, backlog=0)
    for name, fields in collected.notes():
        await _note(on, name, batch=batch.id, **fields)
    _forget(paths)


async def _mistaken(on: RemoteWork, batch: Batch, paths: list[Path]) -> None:
    """What was found was somebody else's: look again for what we submitted."""
    remote = _remote(batch)
    assert remote.id is not None
    await _note(on, "batch.mistaken", batch=batch.id, remote=remote.id)
    _forget(paths)
    again = Remote(
        attempt=remote.attempt,
        sent_at=remote.sent_at,
        not_ours=(*remote.not_ours, remote.id),
        why="what was found is somebody else's",
    )
    await _let_go(on, replace(batch, status="submitting"), again)


async def _fetched(on: RemoteWork, batch: Batch, place: int) -> Path:
    """Where a file of results lies here."""
    path = on.work.store.folder(batch.run_id) / f"{batch.id}.results-{place}"
    if not path.exists():
        with unwritable(path):
            await on.executor.fetch(_remote(batch).results[place], path)
    return path


def _forget(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


async def _record(on: RemoteWork, batch: Batch, results: Iterable[Result]) -> None:
    """Record results of a claimed batch, and let it go."""

    async def fill(recorder: Recorder, requests: Iterator[Request]) -> None:
        await _take_in(on, recorder, results)

    await act.record(on.work, replace(batch, due=None), fill, backlog=0)


async def _take_in(on: RemoteWork, recorder: Recorder, results: Iterable[Result]) -> None:
    """Record `results`, as many at a time as a commit takes."""
    left = iter(results)
    while chunk := await _on_thread(on, lambda: list(islice(left, _CHUNK))):
        await recorder.record(*chunk)


# --- cleaning up --------------------------------------------------------------------------------


async def _clean(on: RemoteWork, batch: Batch) -> None:
    """Delete what the provider keeps of it."""
    remote, path = _remote(batch), _input(on.work, batch)
    files = {*remote.results, *((remote.input_file,) if remote.input_file is not None else ())}
    try:
        # An upload whose answer was lost was made again, and lies there under the same name.
        files.update(await on.executor.uploads(path.name))
        for file in sorted(files):
            await on.executor.delete(file)
    except (Refused, TransportError) as e:
        if remote.tries + 1 < _GIVE_UP:
            tries = remote.tries + 1
            pause = backoff(tries, asked=None, jitter=on.jitter())
            await _let_go(on, batch, replace(remote, tries=tries, why=str(e)), after=pause)
            return
        await _note(on, "batch.uncleaned", batch=batch.id, files=sorted(files), why=str(e))
    path.unlink(missing_ok=True)
    await _let_go(on, replace(batch, status="cleaned"), replace(remote, why=None))


# --- what all steps need ------------------------------------------------------------------------


def _remote(batch: Batch) -> Remote:
    return batch.remote or Remote()


def _submission(on: RemoteWork, batch: Batch, path: Path) -> Submission:
    spec = on.work.run.spec
    return Submission(
        intent=batch.id,
        api=spec.api,
        model=spec.model,
        size=batch.size,
        file=_remote(batch).input_file,
        requests=path,
    )


def _input(work: Work, batch: Batch) -> Path:
    """Where the requests lie as they are sent. Its name is the upload's, and says whose it is."""
    return work.store.folder(batch.run_id) / upload_name(batch.id)


def _write_input(on: RemoteWork, batch: Batch, path: Path) -> None:
    """Write the requests as the provider takes them."""
    api = on.executor.api
    head, between, tail = api.framing
    spec, run_id = on.work.run.spec, batch.run_id
    with (
        RequestFile(on.work.store.folder(run_id)) as requests,
        effect("upload.write", on.work.probe),
        unwritable(path),
        open(path, "wb") as file,
    ):
        file.write(head)
        for place, request in enumerate(act.left_of(on.work, batch, requests)):
            name = custom_id(run_id, request.n, request.body)
            line = api.write_request(spec.api, name, request.body)
            file.write(between + line if place else line)
        file.write(tail)


async def _note(on: RemoteWork, name: str, **fields: Any) -> None:
    await _on_thread(on, partial(on.work.note, name, **fields))


async def _on_thread(on: RemoteWork, function: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(on.work.thread, function)


async def _save(on: RemoteWork, batch: Batch, remote: Remote) -> Batch:
    """Commit what is known of a batch that stays ours."""
    lease = on.work.now() + on.work.lease
    batch = replace(batch, remote=remote, lease_until=lease)
    await _on_thread(on, partial(on.work.store.save, batch))
    on.work.committed(batch)
    return batch


async def _let_go(
    on: RemoteWork, batch: Batch, remote: Remote, *, after: timedelta | None = None
) -> None:
    """Commit what is known of a batch, and give it back until `after`."""
    due = None if after is None else on.work.now() + after
    batch = replace(batch, remote=remote, due=due, owner=None, lease_until=None)
    await _on_thread(on, partial(on.work.store.save, batch))
    on.work.committed(batch)


def waiting_for(batches: Iterable[Batch], now: datetime) -> str | None:
    """What a run waits for at its provider, in a few words; None: for nothing there."""
    there = [batch for batch in batches if batch.remote is not None and _is_waited_for(batch)]
    if not there:
        return None
    words = Counter((batch.remote.status or batch.status) for batch in there if batch.remote)
    said = ", ".join(f"{count} {word}" for word, count in words.most_common())
    next_due = min((batch.due for batch in there if batch.due is not None), default=now)
    seconds = max(0, round((next_due - now).total_seconds()))
    why = next((b.remote.why for b in there if b.remote and b.remote.why), None)
    return f"the provider ({said}; next look in {seconds} s)" + (f": {why}" if why else "")


def _is_waited_for(batch: Batch) -> bool:
    return batch.status not in ("collected", "cleaned")
