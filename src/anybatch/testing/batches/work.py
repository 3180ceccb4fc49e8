"""The rows of one batch: run in their order, filed in result files, entered in the books."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from ...core.model import Usage
from ..endpoint.ledger import Execution
from ..service.http1 import Extent
from .ledger import BatchLedger
from .rows import Filing, Reader, Row, Runner
from .vault import Vault

SLICE: Final = 200
"""Rows that are run at a stretch, with a look at the connections between."""


class Given(Protocol):
    """The input of a batch."""

    def __len__(self) -> int:
        """How many rows it has."""

    def rows(self, places: Iterable[int]) -> Iterator[tuple[str, bytes]]:
        """The custom_id and the body of the rows at these places, 0-based."""


@dataclass(slots=True)
class Sums:
    """What the rows of a batch came to."""

    completed: int = 0
    failed: int = 0
    """Those that expired or were cancelled are in neither number."""
    expired: int = 0
    cancelled: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    written: int = 0
    kept: int = 0
    reasoning: int = 0

    def add(self, row: Row) -> None:
        if row.is_ok:
            self.completed += 1
        elif row.unrun in (None, "timed_out"):
            self.failed += 1
        elif row.unrun == "expired":
            self.expired += 1
        else:
            self.cancelled += 1
        if row.execution is not None:
            self._bill(row.execution)

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    @property
    def usage(self) -> Usage:
        """All of it by class."""
        return Usage(
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            cached=self.cached,
            written=self.written,
            kept=self.kept,
            reasoning=self.reasoning,
        )

    def _bill(self, execution: Execution) -> None:
        self.tokens_in += execution.tokens_in
        self.tokens_out += execution.tokens_out
        self.cached += execution.cached
        self.written += execution.written
        self.kept += execution.kept
        self.reasoning += execution.reasoning


class Results:
    """The result files of a batch while they are written: those that are well, and the errors."""

    def __init__(self, vault: Vault, *, together: bool = False) -> None:
        self._vault = vault
        self._together = together
        self._unwritten: dict[bool, list[bytes]] = {True: [], False: []}
        self._extents: dict[bool, Extent] = {}

    def add(self, written: Iterable[tuple[bool, bytes]]) -> None:
        for ok, line in written:
            self._unwritten[ok or self._together].append(line)

    def flush(self) -> None:
        for ok, lines in self._unwritten.items():
            if lines:
                before = self._extents.get(ok) or Extent(self._vault.path(), 0, 0)
                with before.path.open("ab") as file:
                    file.writelines(lines)
                size = before.length + sum(map(len, lines))
                self._extents[ok] = replace(before, length=size)
                lines.clear()

    def content(self, ok: bool) -> Extent | None:
        """The file, if it has a line."""
        return self._extents.get(ok)


class Work:
    """Belongs to the service's thread."""

    def __init__(
        self,
        batch_id: str,
        given: Given,
        order: Sequence[int],
        *,
        runner: Runner,
        read: Reader,
        write: Callable[[Row, int], bytes],
        vault: Vault,
        ledger: BatchLedger,
        together: bool = False,
    ) -> None:
        """`write` makes the line of a row, given how many were made before. `together`: errors are
        filed among the results.
        """
        self.sums = Sums()
        self._batch_id = batch_id
        self._given = given
        self._order = order
        self._runner = runner
        self._read = read
        self._write = write
        self._ledger = ledger
        self._filing = Filing(self._written)
        self._lines = 0
        self._results = Results(vault, together=together)

    async def run(self, start: int, until: int, done: Callable[[int], None]) -> None:
        """Run rows, and say now and then how many are done."""
        while start < until:
            stop = min(until, start + SLICE)
            self._run(self._order[start:stop])
            start = stop
            done(start)
            await asyncio.sleep(0)

    def give_up(self, start: int, why: Literal["expired", "cancelled"]) -> None:
        """File what was not run as errors."""
        for custom_id, _ in self._given.rows(self._order[start:]):
            self._file(Row(custom_id=custom_id, unrun=why))

    def close(self) -> Results:
        """No more rows come."""
        self._results.add(self._filing.rest())
        self._results.flush()
        return self._results

    def _run(self, places: Sequence[int]) -> None:
        before = self.sums.tokens
        billed = []
        for custom_id, body in self._given.rows(places):
            row = self._runner.run(custom_id, body, self._read, batch_id=self._batch_id)
            self._file(row)
            if row.execution is not None:
                billed.append(row.key)
        self._results.flush()
        tokens = self.sums.tokens - before
        self._ledger.run(
            self._batch_id,
            executed=len(places),
            billed=billed,
            tokens=tokens,
            usage=self.sums.usage,
        )

    def _file(self, row: Row) -> None:
        self.sums.add(row)
        self._results.add(self._filing.lines(row))

    def _written(self, row: Row) -> bytes:
        self._lines += 1
        return self._write(row, self._lines)


def ordered(total: int, *, shuffle: bool, seed: str) -> list[int]:
    """The places of all rows, in the order in which they are run."""
    order = list(range(total))
    if shuffle:
        random.Random(seed).shuffle(order)
    return order
