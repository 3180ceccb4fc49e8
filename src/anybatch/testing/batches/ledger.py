"""What a real service would have billed: batches, their rows, their files, every HTTP exchange."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Literal, NamedTuple

from ...core.model import Usage
from ..service.exchanges import Exchange, Exchanges
from .life import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedBatch:
    """A batch that was created, whatever its client was told."""

    id: str
    number: int
    """1-based, in the order of creation."""
    metadata: Mapping[str, str] | None
    input_file: str | None
    input_sha: str | None
    """SHA-256 of the input, in hex; None: there is no such file."""
    accepted_at: datetime
    stage: Stage
    rows: int = 0
    """How many it holds; 0 until it is validated."""
    executed: int = 0
    """How many of them were run, well or not."""
    billed: int = 0
    tokens: int = 0
    """Billed, in and out."""
    usage: Usage = Usage()
    """The same by class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file that was uploaded, or made by a batch."""

    id: str
    filename: str
    purpose: str
    size: int
    sha: str
    created_at: datetime
    batch: str | None = None
    """The batch that made it; None: it was uploaded."""
    fate: Literal["kept", "deleted", "expired"] = "kept"


class BilledRow(NamedTuple):
    """A row as the bill knows it: the same name and the same body."""

    custom_id: str
    sha: str
    """SHA-256 of the body, in hex."""


class BatchLedger:
    """The books of one fake service. Read them at any time, from any thread."""

    def __init__(self) -> None:
        # guards all below: the service's thread writes, the test's threads read
        self._lock = Lock()
        self._batches: dict[str, AcceptedBatch] = {}
        self._files: dict[str, KeptFile] = {}
        self._rows: Counter[bytes] = Counter()
        self._exchanges = Exchanges()

    @property
    def batches(self) -> tuple[AcceptedBatch, ...]:
        """All that were accepted, in the order of their creation."""
        with self._lock:
            return tuple(self._batches.values())

    @property
    def repeated_batches(self) -> tuple[AcceptedBatch, ...]:
        """Those with an input, byte for byte, that an earlier one has."""
        seen: set[str] = set()
        repeated = []
        for batch in self.batches:
            if batch.input_sha in seen:
                repeated.append(batch)
            elif batch.input_sha is not None:
                seen.add(batch.input_sha)
        return tuple(repeated)

    @property
    def executed(self) -> int:
        """Rows that were run in all batches, well or not."""
        return sum(batch.executed for batch in self.batches)

    @property
    def billed(self) -> int:
        """Rows that were billed in all batches."""
        return sum(batch.billed for batch in self.batches)

    @property
    def tokens(self) -> int:
        """All tokens billed for rows, in and out."""
        return sum(batch.tokens for batch in self.batches)

    @property
    def usage(self) -> Usage:
        """The same by class."""
        return sum((batch.usage for batch in self.batches), Usage())

    @property
    def billed_rows(self) -> Mapping[BilledRow, int]:
        """How often each row was billed."""
        with self._lock:
            rows = tuple(self._rows.items())
        return {_row(key): times for key, times in rows}

    @property
    def billed_twice(self) -> Mapping[BilledRow, int]:
        """The rows that were billed more than once, the same body under the same name."""
        return {row: times for row, times in self.billed_rows.items() if times > 1}

    @property
    def billed_by_body(self) -> Mapping[str, int]:
        """How often each body was billed, by its SHA-256, under whatever name."""
        sums: Counter[str] = Counter()
        for row, times in self.billed_rows.items():
            sums[row.sha] += times
        return sums

    @property
    def billed_by_custom_id(self) -> Mapping[str, int]:
        """How often each name was billed, with whatever body."""
        sums: Counter[str] = Counter()
        for row, times in self.billed_rows.items():
            sums[row.custom_id] += times
        return sums

    @property
    def files(self) -> tuple[KeptFile, ...]:
        """All that ever were, uploaded or made by batches."""
        with self._lock:
            return tuple(self._files.values())

    @property
    def leftover_files(self) -> tuple[KeptFile, ...]:
        """Those that are there still."""
        return tuple(file for file in self.files if file.fate == "kept")

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Every call to the service but those to a model, in the order of their ends."""
        return self._exchanges.all

    def exchanges_of(self, operation: str) -> tuple[Exchange, ...]:
        return self._exchanges.of(operation)

    @property
    def operations(self) -> Mapping[str, int]:
        """How many exchanges there were of each operation."""
        return self._exchanges.counts

    @property
    def sums(self) -> dict[str, int]:
        """The books in a few numbers."""
        return {
            "exchanges": len(self.exchanges),
            "batches": len(self.batches),
            "repeated_batches": len(self.repeated_batches),
            "executed": self.executed,
            "billed": self.billed,
            "billed_twice": len(self.billed_twice),
            "tokens": self.tokens,
            "files": len(self.files),
            "leftover_files": len(self.leftover_files),
        }

    def note(self, exchange: Exchange) -> None:
        self._exchanges.note(exchange)

    def accept(self, batch: AcceptedBatch) -> None:
        with self._lock:
            self._batches[batch.id] = batch

    def move(self, batch_id: str, *, stage: Stage, rows: int) -> None:
        """Note how far a batch is."""
        with self._lock:
            batch = self._batches[batch_id]
            self._batches[batch_id] = replace(batch, stage=stage, rows=rows)

    def run(
        self, batch_id: str, *, executed: int, billed: list[bytes], tokens: int, usage: Usage
    ) -> None:
        """Note rows that were run; `billed` has a `row_key` of each that costs something, `usage`
        is that of all so far."""
        with self._lock:
            self._rows.update(billed)
            batch = self._batches[batch_id]
            self._batches[batch_id] = replace(
                batch,
                executed=batch.executed + executed,
                billed=batch.billed + len(billed),
                tokens=batch.tokens + tokens,
                usage=usage,
            )

    def keep(self, file: KeptFile) -> None:
        with self._lock:
            self._files[file.id] = file

    def drop(self, file_id: str, fate: Literal["deleted", "expired"]) -> None:
        with self._lock:
            self._files[file_id] = replace(self._files[file_id], fate=fate)


def row_key(custom_id: str, digest: bytes) -> bytes:
    """What stands for a row in the books: small, for there may be millions."""
    return digest + custom_id.encode(errors="surrogatepass")


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _row(key: bytes) -> BilledRow:
    return BilledRow(key[32:].decode(errors="surrogatepass"), key[:32].hex())
