"""One job, and how it is told of."""

from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec

from ...core.model import Api, Failure
from ...wire import vertex_batch as wire
from ...wire.batch import RemoteBatch, ResultLine
from ...wire.gcs import Place, read_uri
from ...wire.gemini import CODES
from ..batches.ledger import AcceptedBatch, moment
from ..batches.life import Life, Problem, Stage
from ..batches.rows import FOREIGN, Reader, Row
from ..batches.running import Running
from ..batches.stored import Stored
from ..gemini.calls import read_call
from ..service.http1 import Extent
from .desk import Desk
from .objects import Objects

STATES: Final[dict[Stage, str]] = {
    "validating": "JOB_STATE_PENDING",
    "in_progress": "JOB_STATE_RUNNING",
    "finalizing": "JOB_STATE_RUNNING",
    "cancelling": "JOB_STATE_CANCELLING",
    "completed": "JOB_STATE_SUCCEEDED",
    "failed": "JOB_STATE_FAILED",
    "expired": "JOB_STATE_EXPIRED",
    "cancelled": "JOB_STATE_CANCELLED",
}
FAILED: Final = Failure(message="Internal error occurred.", code="INTERNAL")
DIGEST: Final = 32
"""So many bytes of a row's key are a digest; the rest is its name."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is made of."""

    rows: Stored
    api: Api
    sha: str | None
    """Of the input, in hex."""
    problem: Failure | None = None
    """Why nothing of it can be run."""


class Job(Running):
    def __init__(
        self,
        accepted: AcceptedBatch,
        life: Life,
        desk: Desk,
        objects: Objects,
        *,
        asked: wire.Create,
        given: Given,
    ) -> None:
        super().__init__(accepted, life, desk)
        self.asked = asked
        self.size = len(given.rows)
        self._vertex = desk
        self._objects = objects
        self._given = given
        self._problem = given.problem
        self._gives_up = False
        self._folder: str | None = None
        self._places = {name: place for place, name in enumerate(given.rows.names)}

    @property
    def location(self) -> str:
        return self.id.split("/")[3]

    @property
    def reader(self) -> Reader:
        return partial(read_call, self._given.api, self.asked.model.rpartition("/")[2])

    def given(self) -> Stored | None:
        if self.fate.ends == "failed":
            self._problem = next(map(_told, self.fate.problems), FAILED)
        return self._given.rows if self._problem is None else None

    def enter(self, stage: Stage, at: float) -> None:
        # What was not run by then is in no file.
        self._gives_up = stage in ("expired", "cancelled")
        super().enter(stage, at)

    def write_row(self, row: Row, number: int) -> bytes:
        if self._gives_up:
            return b""
        status = 504 if row.unrun == "timed_out" else row.status
        outcome = None if row.unrun == "timed_out" else row.unrun
        line = ResultLine(custom_id=row.custom_id, status=status, body=row.body, outcome=outcome)
        request, at = self._request_of(row), moment(self.life.since)
        return wire.write_line(line, api=self._given.api, request=request, at=at) + b"\n"

    def _request_of(self, row: Row) -> bytes:
        # By the name it had, whatever it goes by now; a row that was not run has no other.
        known = row.key[DIGEST:].decode(errors="surrogatepass") if row.key else row.custom_id
        name = (known or "").removeprefix(FOREIGN)
        if name not in self._places:
            return b"{}"
        ((_, body),) = self._given.rows.rows([self._places[name]])
        return body

    def finish(self, results: Extent | None, at: float) -> None:
        self._given.rows.discard()
        target = read_uri(self.asked.output_prefix.rstrip("/") + "/")
        if results is None or not results.length or target is None:
            return
        model = self.asked.model.rpartition("/")[2]
        since = moment(self.created_at).isoformat(timespec="milliseconds")
        folder = f"{target.name}prediction-{model}-{since.replace('+00:00', 'Z')}"
        for name, content in self._sharded(results):
            place = Place(target.bucket, f"{folder}/{name}")
            late = self.fate.late_files
            self._objects.keep(place, content, at=at, batch=self.id, late=late)
        self._folder = f"gs://{target.bucket}/{folder}"

    def _sharded(self, results: Extent) -> Iterable[tuple[str, Extent]]:
        """The results in as many files as they are parted into, each with its name."""
        count = self._vertex.quotas.shards
        if count == 1:
            return [("predictions.jsonl", results)]
        paths = [self._vertex.vault.path() for _ in range(count)]
        lines = results.read().splitlines(keepends=True)
        for place, path in enumerate(paths):
            path.write_bytes(b"".join(lines[place::count]))
        results.path.unlink()
        return [
            (f"predictions_{place:05}.jsonl", Extent(path, 0, path.stat().st_size))
            for place, path in enumerate(paths, start=1)
        ]

    def write(self) -> bytes:
        """The job as its client sees it."""
        folder = None if self.fate.no_files else self._folder
        remote = RemoteBatch(
            id=self.id,
            status=self.word or STATES[self.life.stage],
            phase="ended" if self.life.is_over else "working",
            intent=self.asked.intent,
            created_at=moment(self.created_at),
            size=self.fate.counts.get("total", self.size),
            done=self.fate.counts.get("completed", self.sums.completed) + self._failed,
            results=() if folder is None else (folder,),
            problems=() if self._problem is None else (self._problem,),
        )
        since = moment(self.life.since)
        return wire.write_batch(
            remote,
            create=self.asked,
            failed=self._failed,
            updated_at=since,
            ended_at=since if self.life.is_over else None,
        )

    @property
    def _failed(self) -> int:
        return self.fate.counts.get("failed", self.sums.failed)


def _told(problem: Problem) -> Failure:
    """A problem under a word of this service."""
    known = any(problem.code == word for word, _, _ in CODES.values())
    return Failure(message=problem.message, code=problem.code if known else "INVALID_ARGUMENT")
