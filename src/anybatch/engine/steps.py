"""What all steps of a batch at its provider have in common: what they need, and how they let go."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..core.marks import upload_name
from ..core.model import Batch, Remote, Request, Result
from ..core.packing import outcome_of_member
from ..core.plan import LimitsOf
from ..core.states import Outcome
from ..core.timing import Timing, Usual
from ..executors.batch import BatchExecutor
from ..providers.provider import Submission
from ..store.store import Event
from . import act
from .act import Work
from .recorder import Recorder

GIVE_UP = 5
"""So often a batch is not there, or cannot be cleaned up, before we believe it."""
PASSING: tuple[Outcome, ...] = ("rate_limited", "server_error")
"""Refusals that may be over in a moment."""

_CHUNK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWork:
    """What the steps of batches at a provider need."""

    work: Work
    executor: BatchExecutor
    jitter: Callable[[], float]
    limits_of: LimitsOf
    search: timedelta
    """So long a submission whose answer was lost is looked for."""
    usual: Mapping[str, Usual] = field(default_factory=dict)
    """How long batches are in each phase, as far as that is known."""
    looked: dict[str, datetime] = field(default_factory=dict)
    """When this process last saw how each batch is."""


def remote_of(batch: Batch) -> Remote:
    return batch.remote or Remote()


def failing(on: RemoteWork, remote: Remote, why: str, *, tries: int) -> Remote:
    """`remote`, of which the present step did not get through."""
    since = remote.failing_since or on.work.now()
    return replace(remote, tries=tries, why=why, failing_since=since)


def submission_of(on: RemoteWork, batch: Batch, path: Path) -> Submission:
    spec = on.work.run.spec
    return Submission(
        intent=batch.id,
        api=spec.api,
        model=spec.model,
        size=act.calls_of(on.work, batch),
        file=remote_of(batch).input_file,
        requests=path,
    )


def input_of(work: Work, batch: Batch) -> Path:
    """Where the requests lie as they are sent. Its name is the upload's, and says whose it is."""
    return work.store.folder(batch.run_id) / upload_name(batch.id)


async def note(on: RemoteWork, name: str, **fields: Any) -> None:
    await on_thread(on, partial(on.work.note, name, **fields))


async def on_thread(on: RemoteWork, function: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(on.work.thread, function)


async def save(on: RemoteWork, batch: Batch, remote: Remote) -> Batch:
    """Commit what is known of a batch that stays ours."""
    lease = on.work.now() + on.work.lease
    batch = replace(batch, remote=remote, lease_until=lease)
    await on_thread(on, partial(on.work.store.save, batch))
    on.work.committed(batch)
    return batch


async def let_go(
    on: RemoteWork,
    batch: Batch,
    remote: Remote,
    *,
    after: timedelta | None = None,
    event: Event | None = None,
    timings: Sequence[Timing] = (),
) -> None:
    """Commit what is known of a batch, and give it back until `after`."""
    due = None if after is None else on.work.now() + after
    batch = replace(batch, remote=remote, due=due, owner=None, lease_until=None)
    await on_thread(on, partial(on.work.store.save, batch, event=event, timings=timings))
    on.work.committed(batch)


async def record(on: RemoteWork, batch: Batch, results: Iterable[Result]) -> None:
    """Record results of a claimed batch, and let it go."""

    async def fill(recorder: Recorder, requests: Iterator[Request]) -> None:
        await take_in(on, recorder, results)

    await act.record(on.work, replace(batch, due=None), fill, backlog=0)


async def take_in(on: RemoteWork, recorder: Recorder, results: Iterable[Result]) -> None:
    """Record `results`, as many at a time as a commit takes."""
    left = iter(results)
    while chunk := await on_thread(on, lambda: list(islice(left, _CHUNK))):
        await recorder.record(*chunk)


async def fail_all(on: RemoteWork, batch: Batch, result: Result) -> None:
    """Record the same for each request of a batch that does not exist at its provider."""
    batch = replace(batch, remote=replace(remote_of(batch), sent_at=None))
    if batch.pack > 1:
        result = replace(result, outcome=outcome_of_member(result.outcome))
    numbers = act.numbers_of(on.work.store, batch)
    await record(on, batch, (replace(result, n=n) for n in numbers))


async def take_away(on: RemoteWork, path: Path, files: Iterable[str]) -> None:
    """Delete these files at the provider, and all uploads of `path`.

    An upload whose answer was lost was made again, and lies there under the same name. Raises
    Refused and TransportError.
    """
    for file in sorted({*files, *await on.executor.uploads(path.name)}):
        await on.executor.delete(file)


def uploads_of(remote: Remote) -> list[str]:
    return [] if remote.input_file is None else [remote.input_file]
