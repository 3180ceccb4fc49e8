"""A batch at its provider, step by step. What a step is about to do, or has learned, is committed
before the next one is taken: so whoever goes on after a crash knows what may have happened.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import assert_never

from msgspec.structs import replace

from ..core.heads import Marked
from ..core.model import Batch, Failure, Late, Remote, Request, Result
from ..core.retry import backoff, look_after
from ..core.timing import Timing
from ..errors import Ambiguous, TransportError
from ..providers.flow import Refused
from ..store.files import unwritable
from ..wire.batch import RemoteBatch
from . import act
from .act import Work
from .collect import Collected
from .crowding import replan, too_large, too_much
from .decide import (
    LISTED_FROM,
    CancelRemote,
    Clean,
    Collect,
    Recover,
    Remotely,
    Replan,
    Submit,
    may_lie_there,
)
from .priming import ready
from .recorder import Recorder
from .search import found_there, is_anothers, look_again
from .steps import (
    GIVE_UP,
    PASSING,
    RemoteWork,
    fail_all,
    failing,
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
from .writing import write_input

_LOOKS = (1 / 3, 2 / 3)
"""When a submission whose answer was lost is not found, it is looked for again after so much of the
time that a search takes; after the last look it is certain enough that it never arrived."""
_GONE_FILE = 20
"""So often a file of results is not there before we believe it: some minutes in all."""
_GONE_PAUSE = timedelta(minutes=3)
_AFTER_TROUBLE = timedelta(minutes=3)
"""A look that told nothing is followed by one as at a batch that is so long in its phase."""
_SURE_FOR = timedelta(minutes=1)
_SURE_SHARE = 4
"""How long a phase took is known only if the look before was not long ago, or not by its length."""
_MAX_WORD = 40


async def take(on: RemoteWork, action: Remotely, batch: Batch) -> None:
    """Take one step of a claimed batch and let it go."""
    match action:
        case Submit():
            await _submit(on, batch)
        case Recover():
            await _recover(on, batch)
        case CancelRemote(rescue=rescue):
            await _cancel(on, batch, rescue=rescue)
        case Collect():
            await _collect(on, batch)
        case Clean():
            await _clean(on, batch)
        case Replan(executor=executor, tier=tier, most=most):
            await replan(on, batch, executor, tier=tier, most=most)
        case _:
            assert_never(action)


# --- submitting ---------------------------------------------------------------------------------


async def _submit(on: RemoteWork, batch: Batch) -> None:
    """Upload, then create; each is announced before it is done."""
    which = await ready(on, batch)
    if which is None:
        return
    resumed = batch.remote is not None
    batch = await save(on, batch, remote_of(batch))
    path = input_of(on.work, batch)
    try:
        batch = await _prepared(on, batch, path, resumed=resumed, which=which)
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


async def _prepared(
    on: RemoteWork, batch: Batch, path: Path, *, resumed: bool, which: Marked
) -> Batch:
    """`batch` with all that goes before its submission."""
    if not on.executor.api.marks:
        # It will be known by the time it was made at, and that is told by the service's clock.
        await on.executor.ask_time()
    if _is_old(on, remote_of(batch)):
        batch, resumed = await _without_upload(on, batch), False
    if remote_of(batch).input_file is None:
        within = await on_thread(on, partial(write_input, on, batch, path, which))
        file = None if within else await _uploaded(on, batch, path, resumed=resumed)
        uploaded = replace(remote_of(batch), input_file=file, uploaded_at=on.work.now())
        batch = await save(on, batch, uploaded)
    return batch


def _is_old(on: RemoteWork, remote: Remote) -> bool:
    """Whether an upload has waited so long that the provider may delete it at any time.

    It is so until it is deleted, though it be none of ours any more: it is found by its name.
    """
    kept = on.executor.api.retention
    if kept is None or remote.uploaded_at is None:
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
    """The provider did not take the batch.

    It is cut if it is too large, waits if that may pass; else its requests have failed.
    """
    refused = Result(n=0, outcome=e.outcome, status=e.status, failure=e.failure)
    if e.is_of_size:
        await too_large(on, batch, refused)
    elif e.outcome == "rate_limited":
        await too_much(on, batch, e.failure)
    elif e.outcome in PASSING:
        await _later(on, batch, e.failure.message)
    else:
        remote = remote_of(batch)
        # Of what a proxy refused, the upload may have arrived: that counts as a try in vain.
        remote = replace(remote, tries=remote.tries + 1) if e.is_foreign else remote
        await fail_all(on, replace(batch, remote=remote), refused)


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
        guessed=found and not on.executor.api.marks,
        confirmed=found,
        status=taken.status,
        phase_since=now,
        looks=0,
        tries=0,
        failing_since=None,
        late=None,
        why=None,
    )
    on.looked[batch.id] = now
    await let_go(on, replace(batch, status="running"), remote, after=_next_look(on, remote))


async def _recover(on: RemoteWork, batch: Batch) -> None:
    """Look for a submission whose answer we never got."""
    remote = remote_of(batch)
    try:
        found = await found_there(on, batch)
    except (Refused, TransportError) as e:
        await _unfindable(on, batch, e)
        return
    if found:
        await note(on, "batch.found", batch=batch.id, remote=found.id)
        await _running(on, batch, found, found=True)
    elif remote.looks < len(_LOOKS):
        looked = replace(remote, looks=remote.looks + 1, tries=0, failing_since=None, late=None)
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


async def _unfindable(on: RemoteWork, batch: Batch, e: Refused | TransportError) -> None:
    """It could not be looked for. Where a provider never lets us, its rows are held back."""
    remote = remote_of(batch)
    passes = isinstance(e, TransportError) or e.outcome in PASSING
    tries = 0 if passes else remote.tries + 1
    if tries < GIVE_UP:
        await let_go(
            on, batch, failing(on, remote, str(e), tries=tries), after=on.search * _LOOKS[0]
        )
        return
    await note(on, "batch.ambiguous", batch=batch.id, why=str(e))
    failure = Failure(message=f"perhaps submitted; the provider does not let us look for it: {e}")
    unknown = Result(n=0, outcome="ambiguous", failure=failure)
    numbers = act.numbers_of(on.work.store, batch)
    await record(on, batch, (replace(unknown, n=n) for n in numbers))


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


def _next_try(on: RemoteWork, remote: Remote) -> timedelta:
    """How long until it is looked at again after a look that told nothing."""
    now = on.work.now()
    lasts = now - (remote.failing_since or now)
    return look_after(max(_AFTER_TROUBLE, lasts), jitter=on.jitter())


def _word(remote: Remote) -> str:
    """What its phase is known by."""
    return (remote.status or "")[:_MAX_WORD]


def _is_news(seen: RemoteBatch, known: Remote) -> bool:
    return (
        seen.phase == "ended"
        or not known.confirmed
        or (seen.status, seen.done) != (known.status, known.done)
        or known.why is not None
    )


async def _cancel(on: RemoteWork, batch: Batch, *, rescue: bool) -> None:
    """Ask for an end; what was run until then is fetched when it has come.

    With `rescue`, what was not is asked again. Where that is refused it is looked at all the same:
    it may end by itself.
    """
    remote = remote_of(batch)
    assert remote.id is not None
    try:
        seen = await on.executor.cancel(remote.id)
    except (Refused, TransportError) as refused:
        try:
            seen = await on.executor.poll(remote.id)
        except (Refused, TransportError) as e:
            await _unseen(on, batch, e)
        else:
            await _seen(on, batch, seen, why=f"it cannot be cancelled: {refused}")
        return
    await note(on, "batch.cancelled", batch=batch.id, remote=remote.id, rescue=rescue)
    cancelled = replace(remote, cancelled=True, rescued=rescue)
    await _seen(on, replace(batch, remote=cancelled), seen)


async def _seen(on: RemoteWork, batch: Batch, seen: RemoteBatch, *, why: str | None = None) -> None:
    """Write down how it is; `why` says what went wrong all the same."""
    known, now = remote_of(batch), on.work.now()
    if known.failing_since is not None:
        known = replace(known, failing_since=None, late=None)
    if seen.phase == "ended" and seen.over_quota and not seen.results:
        await note(on, "batch.over_quota", batch=batch.id, remote=seen.id)
        await too_much(on, batch, seen.problems[0])
        return
    tries = 0 if why is None else known.tries + 1
    remote = replace(
        known, status=seen.status, done=seen.done, confirmed=True, tries=tries, why=why
    )
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
    ended = replace(
        remote,
        results=seen.results,
        failed=seen.problems,
        bad_lines=seen.bad_lines,
        ended_there=seen.ended_at,
    )
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
    """It could not be looked at. A batch that stays away is lost, and all its rows with it.

    What was only guessed has no results of ours then, and what is ours is looked for again.
    """
    remote = remote_of(batch)
    gone = isinstance(e, Refused) and e.status == 404
    other = await _under_another_id(on, batch) if gone and not remote.confirmed else None
    if other is not None:
        await note(on, "batch.found", batch=batch.id, remote=other.id)
        await _running(on, batch, other, found=True)
        return
    tries = remote.tries + 1 if gone else 0
    if tries < GIVE_UP and not (gone and await is_anothers(on, batch)):
        waiting = failing(on, remote, str(e), tries=tries)
        pause = _GONE_PAUSE if gone else _next_try(on, waiting)
        await let_go(on, batch, waiting, after=pause)
        return
    await note(on, "batch.lost_remotely", batch=batch.id, remote=remote.id)
    why = "the provider does not know it any more"
    lost = replace(remote, tries=0, failing_since=None, late=None, why=why)
    await let_go(on, replace(batch, status="ended"), lost)


async def _under_another_id(on: RemoteWork, batch: Batch) -> RemoteBatch | None:
    """The batch, where the answer to its submission told a wrong id; None: it cannot be found."""
    remote = remote_of(batch)
    assert remote.id is not None
    wanted = replace(remote, not_ours=(*remote.not_ours, remote.id))
    try:
        return await found_there(on, replace(batch, remote=wanted))
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
        await _unfetched(on, batch, e)
        return
    remote = replace(remote, failing_since=None, late=None)
    batch = replace(batch, remote=remote)
    api = on.executor.api
    collected = Collected(on.work, batch, api.read_line, paths, api.echo_of)
    if remote.guessed and not await _proved(on, batch, collected, paths):
        return
    remote = replace(remote, guessed=False)
    batch = replace(batch, remote=remote)

    async def fill(recorder: Recorder, requests: Iterator[Request]) -> None:
        settles = remote.tries >= GIVE_UP or not remote.results
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

    settled = replace(remote, tries=0, why=None)
    await act.record(on.work, replace(batch, due=None, remote=settled), fill, backlog=0)
    _forget(paths)


async def _proved(on: RemoteWork, batch: Batch, collected: Collected, paths: list[Path]) -> bool:
    """Whether the results of what was guessed bear a name of ours; else it is let go."""
    remote, whose = remote_of(batch), await on_thread(on, collected.whose)
    if whose == "ours":
        return True
    _forget(paths)
    if whose == "unknown" and paths and remote.tries < GIVE_UP:
        # An answer that was cut may bear no name at all: so it is fetched once more.
        tries = remote.tries + 1
        pause = backoff(tries, asked=None, jitter=on.jitter())
        waiting = replace(remote, tries=tries, why="the results bear no names: fetched once more")
        await let_go(on, batch, waiting, after=pause)
    else:
        await look_again(on, batch)
    return False


async def _unfetched(on: RemoteWork, batch: Batch, e: Refused | TransportError) -> None:
    """The results could not be fetched. A file that stays away is lost.

    This counts for itself: `tries` are those of what was fetched, and lacked some rows.
    """
    remote = remote_of(batch)
    gone = isinstance(e, Refused) and e.status == 404
    looks = remote.looks + 1 if gone else 0
    if looks > _GONE_FILE or (gone and await is_anothers(on, batch)):
        await note(on, "results.gone", batch=batch.id, files=list(remote.results))
        lost = replace(remote, looks=0, failing_since=None, results=())
        await let_go(on, batch, lost)
        return
    waiting = failing(on, replace(remote, looks=looks), str(e), tries=remote.tries)
    lasts = on.work.now() - (waiting.failing_since or on.work.now())
    pause = (
        backoff(looks, asked=None, jitter=on.jitter())
        if gone
        else look_after(lasts, jitter=on.jitter())
    )
    await let_go(on, batch, waiting, after=pause)


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
    if may_lie_there(batch) and not (on.work.run.keep_remote or may_run):
        files = [*uploads_of(remote), *remote.results]
        try:
            await take_away(on, path, files)
        except (Refused, TransportError) as e:
            tries = remote.tries + 1
            if tries < GIVE_UP:
                pause = backoff(tries, asked=None, jitter=on.jitter())
                await let_go(on, batch, replace(remote, tries=tries, why=str(e)), after=pause)
                return
            await note(on, "batch.uncleaned", batch=batch.id, files=files, why=str(e))
    path.unlink(missing_ok=True)
    await let_go(on, replace(batch, status="cleaned"), replace(remote, why=None))
