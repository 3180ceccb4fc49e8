"""One batch, and how it is told of."""

from functools import partial
from typing import Final

import msgspec

from ...core.model import Api, Failure
from ...wire import gemini_batch as wire
from ...wire.batch import RemoteBatch, ResultLine
from ...wire.gemini import CODES
from ...wire.gemini_files import RemoteFile
from ..batches.ledger import AcceptedBatch, moment
from ..batches.life import Life, Problem, Stage
from ..batches.rows import Reader, Row
from ..batches.running import Running
from ..batches.stored import Stored
from ..service.http1 import Extent
from .calls import read_call
from .desk import Desk
from .files import Files

STATES: Final[dict[Stage, str]] = {
    "validating": "BATCH_STATE_PENDING",
    "in_progress": "BATCH_STATE_RUNNING",
    "finalizing": "BATCH_STATE_RUNNING",
    "cancelling": "BATCH_STATE_RUNNING",
    "completed": "BATCH_STATE_SUCCEEDED",
    "failed": "BATCH_STATE_FAILED",
    "expired": "BATCH_STATE_EXPIRED",
    "cancelled": "BATCH_STATE_CANCELLED",
}
FAILED: Final = Failure(message="The batch failed.", code="INTERNAL")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it was asked for."""

    api: Api
    model: str
    intent: str | None
    input_file: str | None
    """None: its rows came with it, and its results go with it."""


class Batch(Running):
    def __init__(
        self,
        accepted: AcceptedBatch,
        life: Life,
        desk: Desk,
        files: Files,
        *,
        asked: Asked,
        rows: Stored,
        problem: Failure | None,
        tokens: int,
    ) -> None:
        super().__init__(accepted, life, desk)
        self.asked = asked
        self.size = len(rows)
        self.tokens = tokens
        """Of all prompts, where they are counted."""
        self._files = files
        self._rows = rows
        self._problem = problem
        self._file: str | None = None
        self._inline = b""

    @property
    def shuffles(self) -> bool:
        return self._desk.shuffle and self.asked.input_file is not None

    @property
    def reader(self) -> Reader:
        return partial(read_call, self.asked.api, self.asked.model)

    def given(self) -> Stored | None:
        if self.fate.ends == "failed":
            self._problem = next(map(_told, self.fate.problems), FAILED)
        return self._rows if self._problem is None else None

    def write_row(self, row: Row, number: int) -> bytes:
        status = 504 if row.unrun == "timed_out" else row.status
        outcome = None if row.unrun == "timed_out" else row.unrun
        line = ResultLine(custom_id=row.custom_id, status=status, body=row.body, outcome=outcome)
        write = wire.write_inline_line if self.asked.input_file is None else wire.write_line
        return write(line) + b"\n"

    def finish(self, results: Extent | None, at: float) -> None:
        self._rows.discard()
        if results is None or self.life.stage != "completed":
            return  # of what ran in one that expired or was cancelled, nothing is told
        if self.asked.input_file is None:
            self._inline = b"[" + b",".join(results.read().splitlines()) + b"]"
            return
        name = f"files/batch-{self.id.removeprefix('batches/')}"
        made = RemoteFile(name=name)
        kept = self._files.keep(made, results, at=at, batch=self.id, late=self.fate.late_files)
        self._file = kept.id

    def write(self, *, listed: bool = False) -> bytes:
        """Its operation as its client sees it; in a list, without its results."""
        is_told = not self.fate.no_files
        remote = RemoteBatch(
            id=self.id,
            status=self.word or STATES[self.life.stage],
            phase="ended" if self.life.is_over else "working",
            intent=self.asked.intent,
            created_at=moment(self.created_at),
            size=self.fate.counts.get("total", self.size),
            done=self.fate.counts.get("completed", self.sums.completed) + self._failed,
            input_file=self.asked.input_file,
            results=(self._file,) if self._file is not None and is_told else (),
            inline=self._inline if is_told and not listed else b"",
            problems=() if self._problem is None else (self._problem,),
        )
        since = moment(self.life.since)
        return wire.write_batch(
            remote,
            api=self.asked.api,
            model=self.asked.model,
            failed=self._failed,
            updated_at=since,
            ended_at=since if self.life.is_over else None,
        )

    @property
    def _failed(self) -> int:
        sums = self.sums
        failed = sums.failed + sums.expired + sums.cancelled
        return self.fate.counts.get("failed", failed)


def _told(problem: Problem) -> Failure:
    """A problem under a word of this service."""
    known = any(problem.code == word for word, _, _ in CODES.values())
    return Failure(message=problem.message, code=problem.code if known else "INVALID_ARGUMENT")
