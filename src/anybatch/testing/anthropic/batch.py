"""One batch, and how it is told of."""

from functools import partial
from typing import Final, Literal

from ...core.model import Json
from ...wire import anthropic_batch as wire
from ...wire.batch import ResultLine
from ..batches.desk import Desk
from ..batches.ledger import AcceptedBatch, KeptFile, moment
from ..batches.life import Life
from ..batches.rows import Reader, Row
from ..batches.running import Running
from ..batches.stored import Stored
from ..service.http1 import Extent, digest_of
from .asked import Quotas
from .cache import PromptCache
from .calls import read_call

DAY: Final = 86_400
RETENTION: Final = 29 * DAY
"""Of results, since the creation of their batch."""
_OVER: Final = ("succeeded", "errored", "canceled", "expired")


class Batch(Running):
    def __init__(
        self,
        accepted: AcceptedBatch,
        life: Life,
        desk: Desk[Quotas],
        *,
        given: Stored,
        version: str,
        cache: PromptCache,
    ) -> None:
        super().__init__(accepted, life, desk)
        self.size = len(given)
        self.cancelling_at: float | None = None
        self.results: Extent | None = None
        """None: there are none, yet or any more."""
        self.etag = ""
        self._downloads = 0
        self._archived = False
        self._given = given
        self._version = version
        self._cache = cache

    def given(self) -> Stored:
        return self._given

    @property
    def reader(self) -> Reader:
        return partial(read_call, self._version)

    def write_row(self, row: Row, number: int) -> bytes:
        status = 504 if row.unrun == "timed_out" else row.status
        outcome = None if row.unrun == "timed_out" else row.unrun
        line = ResultLine(custom_id=row.custom_id, status=status, body=row.body, outcome=outcome)
        return wire.write_line(line) + b"\n"

    def finish(self, results: Extent | None, at: float) -> None:
        self._given.discard()
        self._cache.ended(self.id)
        if results is None:
            results = Extent(self._desk.vault.path(), 0, 0)
            results.path.touch()
        self.results, self.etag = results, digest_of(results)
        kept = KeptFile(
            id=self.id,
            filename=f"{self.id}_results.jsonl",
            purpose="results",
            size=results.length,
            sha=self.etag,
            created_at=moment(at),
            batch=self.id,
        )
        self._desk.ledger.keep(kept)

    def discard(self, fate: Literal["deleted", "expired"]) -> None:
        """Remove its results."""
        if self.results is not None:
            self.results.path.unlink(missing_ok=True)
            self.results = None
            self._desk.ledger.drop(self.id, fate)

    def archive(self, now: float) -> None:
        """Remove its results once their time is over."""
        if self.life.is_over and now >= self.created_at + RETENTION:
            self._archived = True
            self.discard("expired")

    def downloaded(self) -> Extent | None:
        """Its results, counted as a download; None where they are not to be found."""
        self._downloads += 1
        return None if self._downloads <= self.fate.late_files else self.results

    def write(self, address: str) -> Json:
        """The batch as its client sees it at this address."""
        is_over = self.life.is_over
        url = f"{address}/v1/messages/batches/{self.id}/results"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.word or self._status,
            "request_counts": {**self._counts(), **self.fate.counts},
            "created_at": _time(self.created_at),
            "expires_at": _time(self.life.expires),
            "ended_at": _time(self.life.since) if is_over else None,
            "cancel_initiated_at": _time(self.cancelling_at),
            "archived_at": _time(self.created_at + RETENTION) if self._archived else None,
            "results_url": url if self.results is not None and not self.fate.no_files else None,
        }

    @property
    def _status(self) -> str:
        if self.life.is_over:
            return "ended"
        return "in_progress" if self.cancelling_at is None else "canceling"

    def _counts(self) -> Json:
        """Nothing is told of them until all is over."""
        if not self.life.is_over:
            return {"processing": self.size, **dict.fromkeys(_OVER, 0)}
        sums = self.sums
        over = (sums.completed, sums.failed, sums.cancelled, sums.expired)
        return {"processing": 0, **dict(zip(_OVER, over, strict=True))}


def _time(at: float | None) -> str | None:
    return None if at is None else moment(at).isoformat(timespec="microseconds")
