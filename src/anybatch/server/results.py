"""What became of an order's requests: as lines, and as the files that its client gets."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from ..core.model import Result, Usage
from ..core.served import Order, StoredFile
from ..engine.delivery import results
from ..store.blobs import Blob
from ..store.rows import read_rows
from ..store.served import ServedStore
from .carry import Returning
from .desk import Desk
from .face import Face, Line

_FLUSH_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The result files of an order, kept but not written down yet, and what is in them."""

    output: StoredFile | None
    errors: StoredFile | None
    completed: int
    failed: int
    usage: Usage

    @property
    def files(self) -> list[StoredFile]:
        return [file for file in (self.output, self.errors) if file is not None]


def named_results(store: ServedStore, order: Order) -> Iterator[tuple[str, Result | None]]:
    """Each request's name as its client gave it, and its result; None: it has none yet."""
    for run_id in order.runs:
        run = store.run(run_id)
        rows = read_rows(store.folder(run.id), count=run.total)
        back = Returning(order, run)
        for n, (row, result) in enumerate(zip(rows, results(store, run), strict=True)):
            yield str(row["custom_id"]), back.result(n, row, result)


def answered_so_far(store: ServedStore, order: Order, face: Face) -> Iterator[bytes]:
    """The lines of the answers that are there, a chunk at a time."""
    chunk = bytearray()
    for n, (name, result) in enumerate(named_results(store, order)):
        if result is None:
            continue
        line = face.write_line(name, result, order=order, n=n)
        if line.ok:
            chunk += line.content
        if len(chunk) >= _FLUSH_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def deliver(desk: Desk, order: Order, face: Face) -> Delivered:
    """Write the files of an order whose runs are over: every request is in one of the two."""
    output, errors = _Sheet(desk, face), _Sheet(desk, face)
    usage, completed, failed = Usage(), 0, 0
    try:
        for n, (name, result) in zip(count(), named_results(desk.store, order)):
            line = face.write_line(name, result, order=order, n=n)
            (output if line.ok or line.together else errors).write(line)
            completed += line.ok
            if result is not None:
                usage += result.usage
                failed += not line.ok and result.outcome not in ("cancelled", "expired")
        return Delivered(
            output=output.kept(order, ok=True),
            errors=errors.kept(order, ok=False),
            completed=completed,
            failed=failed,
            usage=usage,
        )
    finally:
        output.discard()
        errors.discard()


class _Sheet:
    """One result file; it begins with its first line."""

    def __init__(self, desk: Desk, face: Face) -> None:
        self._desk = desk
        self._face = face
        self._blob: Blob | None = None
        self._lines = bytearray()

    def write(self, line: Line) -> None:
        if self._blob is None:
            self._blob = self._desk.blobs.begin()
        self._lines += line.content
        if len(self._lines) >= _FLUSH_BYTES:
            self._flush(self._blob)

    def _flush(self, blob: Blob) -> None:
        blob.write(self._lines)
        self._lines.clear()

    def kept(self, order: Order, *, ok: bool) -> StoredFile | None:
        """The file, in its place; None: nothing was written."""
        if self._blob is None:
            return None
        self._flush(self._blob)
        file = self._desk.described(
            self._blob,
            owner=order.owner,
            name=self._face.output_name(order, ok=ok),
            purpose=self._face.output_purpose,
            kept_seconds=order.kept_seconds,
        )
        self._blob.keep(self._desk.blobs.file(file.id))
        return file

    def discard(self) -> None:
        if self._blob is not None:
            self._blob.discard()
