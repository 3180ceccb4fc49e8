"""A batch at its provider, step by step. What a step is about to do, or has learned, is committed
before the next one is taken: so whoever goes on after a crash knows what may have happened.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from msgspec.structs import replace

from ..core.ids import custom_id
from ..core.model import Api, Batch, Failure, Late, Remote, Request, Result
from ..core.retry import backoff, look_after
from ..core.states import Outcome
from ..core.timing import Timing
from ..effects import effect
from ..errors import Ambiguous, TransportError
from ..providers.flow import Refused
from ..store.files import unwritable
from ..store.requests import RequestFile
from ..wire.batch import RemoteBatch
from . import act
from .act import Work
from .collect import Collected
from .crowding import too_much
from .decide import LISTED_FROM, CancelRemote, Clean, Collect, Recover, Remotely, Submit
from .recorder import Recorder
from .steps import (
    RemoteWork,
    fail_all,
    input_of,
    let_go,
    note,
    on_thread,
    record,
    remote_of,
    save,
    submission_of,
    take_away,
    take_in,
    uploads_of,
)

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
_PASSING: tuple[Outcome, ...] = ("rate_limited", "server_error")
"""Refusals that may be over in a moment."""
_SURE_FOR = timedelta(minutes=1)
_SURE_SHARE = 4
"""How long a phase took is known only if the look before was not long ago, or not by its length."""
_MAX_WORD = 40

WriteRequest = Callable[[Api, str, bytes], bytes]


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
    batch = await save(on, batch, remote_of(batch))
    path = input_of(on.work, batch)
    try:
        batch = await _prepared(on, batch, path, resumed=resumed)
        async with on.executor.creating():
            now = on.work.now()
            sent = replace(remote_of(batch), sent_at=now, sent_there=on.executor.there(now))
            batch = await save(on, batch, sent)
            taken = await on.executor.create(submission_of(on, batch, path))
    except Ambiguous as e:
        # It may exist: the next step looks for it.
        await let_go(on, batch, replace(remote_of(batch), why=str(e)))
    except Refused as e:
        await _refused(on, batch, e)
    except TransportError as e:
        # Nothing of it can have arrived, or nothing but an upload, which can be found.
        await _later(on, batch, str(e))
    else:
        await note(on, "batch.submitted", batch=batch.id, remote=taken.id)
        await _running(on, batch, taken)
        path.unlink(missing_ok=True)


async def _prepared(on: RemoteWork, batch: Batch, path: Path, *, resumed: bool) -> Batch:
    """`batch` with all that goes before its submission."""
    if not on.executor.api.marks:
        # It will be known by the time it was made at, and that is told by the service's clock.
        await on.executor.ask_time()
    if _is_old(on, remote_of(batch)):
        batch, resumed = await _without_upload(on, batch), False
    if remote_of(batch).input_file is None:
        within = await on_thread(on, partial(_write_input, on, batch, path))
        file = None if within else await _uploaded(on, batch, path, resumed=resumed)
        uploaded = replace(remote_of(batch), input_file=file, uploaded_at=on.work.now())
        batch = await save(on, batch, uploaded)
    return batch


def _write_input(on: RemoteWork, batch: Batch, path: Path) -> bool:
    """Write the requests as the provider takes them; True if they go within the submission.

    A canary goes the way that all others will, however small it is.
    """
    api = on.executor.api
    _write(on, batch, path, api.framing, api.write_request)
    is_canary = on.work.run.canary > 0 and batch.wave == 1
    if api.within is None or is_canary or path.stat().st_size > api.within.max_bytes:
        return False
    _write(on, batch, path, api.within.framing(batch.id), api.within.write_request)
    return True


def _write(
    on: RemoteWork, batch: Batch, path: Path, framing: Sequence[bytes], write: WriteRequest
) -> None:
    head, between, tail = framing
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
            line = write(spec.api, name, request.body)
            file.write(between + line if place else line)
        file.write(tail)


def _is_old(on: RemoteWork, remote: Remote) -> bool:
    """Whether an upload has waited so long that the provider may delete it at any time."""
    kept = on.executor.api.retention
    if kept is None or remote.uploaded_at is None or remote.input_file is None:
        return False
    return on.work.now() - remote.uploaded_at > kept / 2


async def _without_upload(on: RemoteWork, batch: Batch) -> Batch:
    """`batch` with its upload deleted. That it is not there any more is noted first."""
    files = uploads_of(remote_of(batch))
    batch = await save(on, batch, replace(remote_of(batch), input_file=None))
    try:
        await take_away(on, input_of(on.work, batch), files)
    except Refused as e:
        await note(on, "batch.uncleaned", batch=batch.id, files=files, why=str(e))
    return batch


async def _uploaded(on: RemoteWork, batch: Batch, path: Path, *, resumed: bool) -> str | None:
    """The provider's id of the requests; what an earlier try left there is taken."""
    known = await on.executor.uploads(path.name) if resumed else []
    for orphan in known[1:]:
        await on.executor.delete(orphan)
    return known[0] if known else await on.executor.upload(path, name=path.name)


async def _refused(on: RemoteWork, batch: Batch, e: Refused) -> None:
    """The provider did not take the batch: wait if that may pass, else its requests have failed."""
    if e.outcome == "rate_limited":
        await too_much(on, batch, e.failure)
    elif e.outcome in _PASSING:
        await _later(on, batch, e.failure.message)
    else:
        await fail_all(
            on, batch, Result(n=0, outcome=e.outcome, status=e.status, failure=e.failure)
        )


async def _later(on: RemoteWork, batch: Batch, why: str) -> None:
    """Back into the queue: nothing of this attempt exists at the provider but perhaps an upload."""
    remote = remote_of(batch)
    pause = backoff(remote.tries + 1, asked=None, jitter=on.jitter())
    waiting = replace(remote, sent_at=None, tries=remote.tries + 1, why=why)
    await let_go(on, replace(batch, status="planned"), waiting, after=pause)


async def _running(
    on: RemoteWork, batch: Batch, taken: RemoteBatch, *, found: bool = False
) -> None:
    now = on.work.now()
    remote = replace(
        remote_of(batch),
        id=taken.id,
        found=found,
        confirmed=found,
        status=taken.status,
        phase_since=now,
        looks=0,
        tries=0,
        why=None,
    )
    on.looked[batch.id] = now
    await let_go(on, replace(batch, status="running"), remote, after=_next_look(on, remote))


async def _recover(on: RemoteWork, batch: Batch) -> None:
    """Look for a submission whose answer we never got."""
    remote = remote_of(batch)
    try:
        found = await _found(on, batch)
    except (Refused, TransportError) as e:
        await _unfindable(on, batch, e)
        return
    if found:
        await note(on, "batch.found", batch=batch.id, remote=found.id)
        await _running(on, batch, found, found=True)
    elif remote.looks < len(_LOOKS):
        looked = replace(remote, looks=remote.looks + 1, tries=0)
        await let_go(on, batch, looked, after=on.search * _LOOKS[remote.looks])
    else:
        await note(on, "batch.not_found", batch=batch.id, attempt=remote.attempt)
        again = Remote(
            attempt=remote.attempt + 1,
            input_file=remote.input_file,
            uploaded_at=remote.uploaded_at,
            not_ours=remote.not_ours,
        )
        await let_go(on, replace(batch, status="planned"), again)


async def _found(on: RemoteWork, batch: Batch) -> RemoteBatch | None:
    """What this submission became, None if there is nothing. Should there be more, they are ended.

    Raises Refused and TransportError.
    """
    remote = remote_of(batch)
    assert remote.sent_at is not None
    if remote.sent_there is None:
        await on.executor.ask_time()
    since = remote.sent_there or on.executor.there(remote.sent_at)
    submission = submission_of(on, batch, input_of(on.work, batch))
    found = await on.executor.find(submission, since=since)
    found = await on_thread(on, partial(_unclaimed, on, batch, found))
    ours, *copies = sorted(found, key=_age) or (None,)
    # Without a mark, the others may be anybody's.
    for copy in copies if on.executor.api.marks else ():
        # Never by us alone: but should there be two, only one is to be paid for.
        await note(on, "batch.doubled", batch=batch.id, remote=copy.id)
        await on.executor.cancel(copy.id)
    # A list may be garbled: what cannot be looked at by itself is not found.
    return None if ours is None else await on.executor.poll(ours.id)


async def _unfindable(on: RemoteWork, batch: Batch, e: Refused | TransportError) -> None:
    """It could not be looked for. Where a provider never lets us, its rows are held back."""
    remote = remote_of(batch)
    passes = isinstance(e, TransportError) or e.outcome in _PASSING
    tries = 0 if passes else remote.tries + 1
    if tries < _GIVE_UP:
        waiting = replace(remote, tries=tries, why=str(e))
        await let_go(on, batch, waiting, after=on.search * _LOOKS[0])
        return
    await note(on, "batch.ambiguous", batch=batch.id, why=str(e))
    failure = Failure(message=f"perhaps submitted; the provider does not let us look for it: {e}")
    unknown = Result(n=0, outcome="ambiguous", failure=failure)
    numbers = act.numbers_of(on.work.store, batch)
    await record(on, batch, (replace(unknown, n=n) for n in numbers))


def _unclaimed(on: RemoteWork, batch: Batch, found: list[RemoteBatch]) -> list[RemoteBatch]:
    """Of those that may be `batch`, the ones not known to be another one's."""
    store = on.work.store
    taken = {
        other.remote.id
        for run in store.runs(most=_RUNS)
        for other in store.batches(run.id)
        if other.remote is not None and other.id != batch.id
    }
    taken.update(remote_of(batch).not_ours)
    return [one for one in found if one.id not in taken]


def _age(batch: RemoteBatch) -> Any:
    return (batch.created_at is None, batch.created_at, batch.id)


# --- waiting ------------------------------------------------------------------------------------


async def look(on: RemoteWork, batches: Collection[Batch]) -> dict[str, datetime]:
    """See how they are, and write down what is new; when to look at the others again."""
    ids = {remote.id: batch for batch in batches if (remote := batch.remote) and remote.id}
    sent = min((_sent_there(on, batch) for batch in batches), default=on.work.now())
    listed = len(ids) >= LISTED_FROM
    polled = await on.executor.poll_all(ids.keys(), since=sent, listed=listed)
    unchanged: list[Batch] = []
    for remote_id, seen in polled.items():
        batch = ids[remote_id]
        if isinstance(seen, RemoteBatch) and not _is_news(seen, remote_of(batch)):
            unchanged.append(batch)
        else:
            claimed = await on_thread(on, partial(act.claim, on.work, batch, window=0))
            if claimed is None:
                pass  # somebody else saw it first
            elif isinstance(seen, RemoteBatch):
                await _seen(on, claimed, seen)
            else:
                await _unseen(on, claimed, seen)
        if isinstance(seen, RemoteBatch):
            on.looked[batch.id] = on.work.now()
    # At the same moment all together, when the first of them is to be looked at.
    waits = [_next_look(on, remote_of(batch)) for batch in unchanged]
    again = on.work.now() + min(waits, default=timedelta())
    return dict.fromkeys((batch.id for batch in unchanged), again)


def _sent_there(on: RemoteWork, batch: Batch) -> datetime:
    """When it was submitted by the service's clock."""
    remote = remote_of(batch)
    return remote.sent_there or on.executor.there(remote.sent_at or on.work.now())


def _next_look(on: RemoteWork, remote: Remote) -> timedelta:
    """How long until it is looked at again."""
    now, phase = on.work.now(), on.usual.get(_word(remote))
    age = now - (remote.phase_since or now)
    return look_after(age, usual=None if phase is None else phase.p50, jitter=on.jitter())


def _word(remote: Remote) -> str:
    """What its phase is known by."""
    return (remote.status or "")[:_MAX_WORD]


def _is_news(seen: RemoteBatch, known: Remote) -> bool:
    return (
        seen.phase == "ended"
        or not known.confirmed
        or (seen.status, seen.done) != (known.status, known.done)
        or bool(known.tries)
    )


async def _cancel(on: RemoteWork, batch: Batch) -> None:
    """Ask for an end; what was run until then is fetched when it has come."""
    remote = remote_of(batch)
    assert remote.id is not None
    try:
        seen = await on.executor.cancel(remote.id)
    except (Refused, TransportError) as e:
        await _unseen(on, batch, e)
        return
    await note(on, "batch.cancelled", batch=batch.id, remote=remote.id)
    await _seen(on, replace(batch, remote=replace(remote, cancelled=True)), seen)


async def _seen(on: RemoteWork, batch: Batch, seen: RemoteBatch) -> None:
    known, now = remote_of(batch), on.work.now()
    if seen.phase == "ended" and seen.over_quota and not seen.results:
        await note(on, "batch.over_quota", batch=batch.id, remote=seen.id)
        await too_much(on, batch, seen.problems[0])
        return
    remote = replace(known, status=seen.status, done=seen.done, confirmed=True, tries=0, why=None)
    if seen.done > known.done:
        remote = replace(remote, progress_at=now)
    if seen.phase != "waiting":
        remote = replace(remote, refused=0, alone=0)
    event, timings = None, []
    if seen.status != known.status:
        event = on.work.event("batch.phase", batch=batch.id, remote=seen.id, status=seen.status)
        timings = _lasted(on, batch, seen)
        remote = replace(remote, phase_since=now, late=None)
    if seen.phase != "ended":
        wait = _next_look(on, remote)
        await let_go(on, batch, remote, after=wait, event=event, timings=timings)
        return
    ended = replace(remote, results=seen.results, failed=seen.problems, bad_lines=seen.bad_lines)
    await let_go(on, replace(batch, status="ended"), ended, event=event, timings=timings)


def _lasted(on: RemoteWork, batch: Batch, seen: RemoteBatch) -> list[Timing]:
    """How long its last phase took, if that can be said: nobody cut it short, and we looked."""
    known, now, looked = remote_of(batch), on.work.now(), on.looked.get(batch.id)
    ran = seen.phase != "ended" or seen.results
    if known.cancelled or not ran or known.phase_since is None or looked is None:
        return []
    length = now - known.phase_since
    if now - looked > max(_SURE_FOR, length / _SURE_SHARE):
        return []
    return [Timing(_word(known), max(0.0, length.total_seconds()))]


async def alert(work: Work, late: Late, batch: Batch) -> None:
    """Say once that a claimed batch takes unusually long, and let it go."""
    remote = replace(remote_of(batch), late=late)
    told = {"remote": remote.id, "phase": remote.status, "why": late.why}
    event = work.event(f"batch.{late.word}", batch=batch.id, **told)
    free = replace(batch, remote=remote, owner=None, lease_until=None)
    save = partial(work.store.save, free, event=event)
    await asyncio.get_running_loop().run_in_executor(work.thread, save)
    work.committed(free)


async def _unseen(on: RemoteWork, batch: Batch, e: Exception) -> None:
    """It could not be looked at. A batch that stays away is lost, and all its rows with it."""
    remote = remote_of(batch)
    gone = isinstance(e, Refused) and e.status == 404
    other = await _under_another_id(on, batch) if gone and not remote.confirmed else None
    if other is not None:
        await note(on, "batch.found", batch=batch.id, remote=other.id)
        await _running(on, batch, other, found=True)
        return
    tries = remote.tries + 1 if gone else 0
    if tries < _GIVE_UP:
        waiting = replace(remote, tries=tries, why=str(e))
        await let_go(
            on,
            batch,
            waiting,
            after=_GONE_PAUSE if gone else look_after(timedelta(minutes=3), jitter=on.jitter()),
        )
        return
    await note(on, "batch.lost_remotely", batch=batch.id, remote=remote.id)
    lost = replace(remote, tries=0, why="the provider does not know it any more")
    await let_go(on, replace(batch, status="ended"), lost)


async def _under_another_id(on: RemoteWork, batch: Batch) -> RemoteBatch | None:
    """The batch, where the answer to its submission told a wrong id; None: it cannot be found."""
    remote = remote_of(batch)
    assert remote.id is not None
    wanted = replace(remote, not_ours=(*remote.not_ours, remote.id))
    try:
        return await _found(on, replace(batch, remote=wanted))
    except (Refused, TransportError) as e:
        await note(on, "batch.not_found", batch=batch.id, attempt=remote.attempt, why=str(e))
        return None


# --- collecting ---------------------------------------------------------------------------------


async def _collect(on: RemoteWork, batch: Batch) -> None:
    """Fetch all that the provider has, record it, and settle what has no result."""
    remote = remote_of(batch)
    try:
        paths = [await _fetched(on, batch, place) for place in range(len(remote.results))]
    except (Refused, TransportError) as e:
        tries = remote.tries + 1
        if isinstance(e, Refused) and e.status == 404 and tries > _GONE_FILE:
            await note(on, "results.gone", batch=batch.id, files=list(remote.results))
            gone = replace(remote, tries=0, results=())
            await let_go(on, batch, gone)
            return
        pause = backoff(tries, asked=None, jitter=on.jitter())
        await let_go(on, batch, replace(remote, tries=tries, why=str(e)), after=pause)
        return
    api = on.executor.api
    collected = Collected(on.work, batch, api.read_line, paths, api.echo_of)
    guessed = remote.found and not on.executor.api.marks
    if guessed and await on_thread(on, collected.is_anothers):
        await _mistaken(on, batch, paths)
        return

    async def fill(recorder: Recorder, requests: Iterator[Request]) -> None:
        settles = remote.tries >= _GIVE_UP or not remote.results
        await take_in(on, recorder, collected.answered(settles=settles))
        if collected.is_short() and not settles:
            # A download that was cut at the end of a line looks whole: so it is fetched once more.
            tries = remote.tries + 1
            again = replace(
                remote, tries=tries, why="the results lack some rows: fetched once more"
            )
            pause = backoff(tries, asked=None, jitter=on.jitter())
            recorder.postpone(again, due=on.work.now() + pause)
            return
        await take_in(on, recorder, collected.unanswered())
        for name, fields in collected.notes():
            await note(on, name, batch=batch.id, **fields)

    await act.record(on.work, replace(batch, due=None), fill, backlog=0)
    _forget(paths)


async def _mistaken(on: RemoteWork, batch: Batch, paths: list[Path]) -> None:
    """What was found was somebody else's: look again for what we submitted."""
    remote = remote_of(batch)
    assert remote.id is not None
    await note(on, "batch.mistaken", batch=batch.id, remote=remote.id)
    _forget(paths)
    again = Remote(
        attempt=remote.attempt,
        sent_at=remote.sent_at,
        sent_there=remote.sent_there,
        not_ours=(*remote.not_ours, remote.id),
        why="what was found is somebody else's",
    )
    await let_go(on, replace(batch, status="submitting"), again)


async def _fetched(on: RemoteWork, batch: Batch, place: int) -> Path:
    """Where a file of results lies here."""
    path = on.work.store.folder(batch.run_id) / f"{batch.id}.results-{place}"
    if not path.exists():
        with unwritable(path):
            await on.executor.fetch(remote_of(batch).results[place], path)
    return path


def _forget(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


# --- cleaning up --------------------------------------------------------------------------------


async def _clean(on: RemoteWork, batch: Batch) -> None:
    """Delete what the provider keeps of it, unless it is to stay there, or may still run."""
    remote, path = remote_of(batch), input_of(on.work, batch)
    may_run = remote.sent_at is not None and remote.id is None
    if not (on.work.run.keep_remote or may_run):
        files = [*uploads_of(remote), *remote.results]
        try:
            await take_away(on, path, files)
        except (Refused, TransportError) as e:
            tries = remote.tries + 1
            if tries < _GIVE_UP:
                pause = backoff(tries, asked=None, jitter=on.jitter())
                await let_go(on, batch, replace(remote, tries=tries, why=str(e)), after=pause)
                return
            await note(on, "batch.uncleaned", batch=batch.id, files=files, why=str(e))
    path.unlink(missing_ok=True)
    await let_go(on, replace(batch, status="cleaned"), replace(remote, why=None))
