"""One row through a provider's batch API, step by step; what is left there is taken away again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..clock import Clock
from ..core.ids import custom_id
from ..core.marks import upload_name
from ..core.model import Failure, Remote, Spec
from ..core.states import Outcome
from ..core.timing import span
from ..engine.collect import outcome_of_unrun
from ..errors import Ambiguous, AnybatchError
from ..executors.batch import BatchExecutor
from ..providers.flow import Refused
from ..providers.provider import Submission
from ..wire.apis import wire_of
from ..wire.batch import RemoteBatch, ResultLine
from .progress import counted
from .remote import advice

T = TypeVar("T")

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0
_SETTLE = timedelta(seconds=30)
"""So long we wait for the end of a batch that we have cancelled."""
_LOOKS = 3
"""So often a batch is looked for whose answer was lost."""
_WELL: tuple[Outcome, ...] = ("succeeded", "truncated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a visit."""

    name: str
    ok: bool
    seconds: float
    said: str
    """What came of it, or what the service said."""
    advice: str | None = None
    """What to do, where it failed."""


class Visit:
    """What was made at a provider, and each step that made it."""

    def __init__(
        self,
        desk: BatchExecutor,
        spec: Spec,
        *,
        mark: str,
        body: bytes,
        folder: Path,
        clock: Clock,
        show: Callable[[Step], None],
    ) -> None:
        self.steps: list[Step] = []
        self.left: list[str] = []
        """What could not be taken away."""
        self._desk = desk
        self._spec = spec
        self._mark = mark
        self._body = body
        self._row = custom_id(mark, 0, body)
        self._path = folder / upload_name(mark)
        self._clock = clock
        self._show = show
        self._uploads = False
        """Whether an upload of ours may be there."""
        self._file: str | None = None
        self._sent_at: datetime | None = None
        """From then on a batch of ours may be there."""
        self._batch: RemoteBatch | None = None
        self._cancelled = False
        self._leaves = False
        """Whether we are on our way out already."""

    async def go(self, *, wait: timedelta, submits: bool) -> None:
        """Take the steps until one fails, and clean up after them, whatever happens."""
        try:
            if await self._prepare() and submits and await self._submit():
                await self._finish(wait)
        finally:
            self._leaves = True
            if self._uploads or self._sent_at is not None:
                await self.take("clean up", self._clean_up)

    async def _prepare(self) -> bool:
        if not await self.take("reach", self._reach):
            return False
        head, _, tail = self._desk.api.framing
        line = self._desk.api.write_request(self._spec.api, self._row, self._body)
        self._path.write_bytes(head + line + tail)
        return self._desk.api.upload is None or await self.take("upload", self._upload)

    async def _submit(self) -> bool:
        return await self.take("create", self._create) and await self.take("look", self._look)

    async def _finish(self, wait: timedelta) -> None:
        if not self._is_over and wait and not await self.take("wait", partial(self._wait, wait)):
            return
        if not self._is_over and not await self.take("cancel", self._cancel):
            return
        if self._is_over:
            await self.take("download", self._download)

    async def take(self, name: str, step: Callable[[], Awaitable[str]]) -> bool:
        """Take one step and show what came of it; whether it went well."""
        await self._heed_interrupt()
        began = self._clock.monotonic()
        problem: Exception | None = None
        try:
            said = await step()
        except (Refused, AnybatchError) as e:
            said, problem = str(e), e
        done = Step(
            name=name,
            ok=problem is None,
            seconds=self._clock.monotonic() - began,
            said=said,
            advice=None if problem is None else advice(problem),
        )
        self.steps.append(done)
        self._show(done)
        return done.ok

    # --- the steps ---

    async def _reach(self) -> str:
        """Ask for the list of batches: it costs nothing, and takes a key that may see them."""
        await self._desk.find(self._submission, since=self._clock.now())
        return "the service answers and takes the key"

    async def _upload(self) -> str:
        self._uploads = True
        self._file = await self._desk.upload(self._path, name=self._path.name)
        return f"as {self._file}"

    async def _create(self) -> str:
        self._sent_at = self._clock.now()
        try:
            self._batch = await self._desk.create(self._submission)
        except Ambiguous:
            for _ in range(_LOOKS):
                if await self._find():
                    return f"its answer was lost; found again as {self._made.id}"
                await self._clock.sleep(_PAUSE_S)
            raise
        except Refused:
            self._sent_at = None  # so it is certainly not there
            raise
        return f"as {self._made.id}"

    async def _look(self) -> str:
        self._batch = await self._desk.poll(self._made.id)
        return self._ended() if self._is_over else self._made.status

    async def _wait(self, wait: timedelta) -> str:
        if await self._is_over_within(wait):
            return self._ended()
        return f"still {self._made.status} after {span(wait.total_seconds())}"

    async def _cancel(self) -> str:
        self._cancelled = True
        self._batch = await self._desk.cancel(self._made.id)
        await self._is_over_within(_SETTLE)
        return self._made.status

    async def _download(self) -> str:
        ours: ResultLine | None = None
        for place, file in enumerate(self._made.results):
            path = self._path.with_name(f"results-{place}")
            await self._desk.fetch(file, path)
            lines = map(self._desk.api.read_line, filter(None, path.read_bytes().split(b"\n")))
            ours = next((line for line in lines if line.custom_id == self._row), ours)
        if ours is not None:
            return self._answered(ours)
        if not self._cancelled:
            raise _refused("missing_result", Failure(message="the row is in no file of results"))
        return "nothing: it was cancelled before it ran"

    # --- what they are made of ---

    @property
    def _submission(self) -> Submission:
        return Submission(
            intent=self._mark,
            api=self._spec.api,
            model=self._spec.model,
            size=1,
            file=self._file,
            requests=self._path,
        )

    @property
    def _made(self) -> RemoteBatch:
        assert self._batch is not None
        return self._batch

    @property
    def _is_over(self) -> bool:
        return self._batch is not None and self._batch.phase == "ended"

    async def _find(self) -> bool:
        """Look for a batch whose answer was lost. One without our mark might be somebody else's."""
        assert self._sent_at is not None
        if self._desk.api.marks:
            found = await self._desk.find(self._submission, since=self._sent_at)
            self._batch = found[0] if found else None
        return self._batch is not None

    async def _is_over_within(self, wait: timedelta) -> bool:
        """Look again and again, ever more rarely; whether the batch has ended in time."""
        until, pause = self._clock.monotonic() + wait.total_seconds(), _PAUSE_S
        while not self._is_over and (left := until - self._clock.monotonic()) > 0:
            await self._heed_interrupt()
            await self._clock.sleep(min(pause, left))
            self._batch = await self._desk.poll(self._made.id)
            pause = min(_LONGEST_PAUSE_S, pause * 2)
        return self._is_over

    async def _heed_interrupt(self) -> None:
        """Leave if we were told to: now and then the HTTP client swallows a cancellation."""
        task = asyncio.current_task()
        if task is not None and task.cancelling() and not self._leaves:
            await asyncio.sleep(0)  # one that is still on its way arrives here, and not later
            raise asyncio.CancelledError

    def _ended(self) -> str:
        """The word for its end. Raises Refused if the provider ran nothing of it."""
        batch = self._made
        if batch.over_quota:
            raise _refused("rate_limited", batch.problems[0])
        if batch.problems:
            unrun = Remote(failed=batch.problems, bad_lines=batch.bad_lines)
            raise _refused(outcome_of_unrun(unrun)[0], batch.problems[0])
        return batch.status

    def _answered(self, line: ResultLine) -> str:
        """What became of the row. Raises Refused if it failed."""
        api, wire = self._spec.api, wire_of(self._spec.api)
        outcome, failure = line.outcome, line.failure
        if line.status is not None and 200 <= line.status < 300:
            outcome, _, _, _, failure = wire.read_answer(api, line.body)
        elif line.status is not None:
            outcome, failure = wire.read_failure(line.status, line.body)
        if outcome in _WELL or (outcome == "cancelled" and self._cancelled):
            return f"the row is {outcome}"
        outcome = outcome or "server_error"
        raise _refused(outcome, failure or Failure(message=f"the row is {outcome}"))

    # --- cleaning up ---

    async def _clean_up(self) -> str:
        """Take away what we made. Raises AnybatchError for what stays."""
        if self._sent_at is not None and self._batch is None:
            await self._search()
        if self._batch is not None and not self._is_over and not self._cancelled:
            await self._try(f"batch {self._made.id}", self._cancel)
        files = await self._files()
        for file in files:
            await self._try(file, partial(self._desk.delete, file))
        if self.left:
            raise AnybatchError(f"left there: {'; '.join(self.left)}")
        return f"deleted {', '.join(files) or 'nothing'}{self._later()}"

    def _later(self) -> str:
        """What goes by itself."""
        if self._batch is None or self._is_over:
            return ""
        batch = f"batch {self._made.id}, {self._made.status}"
        self.left.append(batch)
        kept = self._desk.api.retention
        if kept is None:
            return f"; {batch}, ends by itself, and its results stay until you delete them"
        return f"; {batch}, ends by itself, and its results go after {counted(kept.days, 'day')}"

    async def _search(self) -> None:
        await self._try("a batch that may have been made", self._find)
        if self._batch is None and not self.left:
            self.left.append("perhaps a batch of one request: nobody told us, and none is found")

    async def _files(self) -> list[str]:
        """All files of ours: uploads whose answer was lost lie there under the same name."""
        uploads: list[str] = [] if self._file is None else [self._file]
        if self._uploads:
            uploads += (
                await self._try("uploads", partial(self._desk.uploads, self._path.name)) or []
            )
        results = self._made.results if self._is_over else ()
        return sorted({*uploads, *results})

    async def _try(self, what: str, step: Callable[[], Awaitable[T]]) -> T | None:
        """Take a step of the cleaning; where it fails, `what` is left."""
        try:
            return await step()
        except (Refused, AnybatchError) as e:
            self.left.append(f"{what} ({e})")
            return None


def _refused(outcome: Outcome, failure: Failure) -> Refused:
    return Refused(outcome, failure, status=200)
