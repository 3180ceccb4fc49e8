"""Answers that earlier runs had, taken over by a run that asks the same.

The same is: the same provider, address, model and api, and the body byte for byte. Only answers
that succeeded are taken, and only if they fit what this run asks for. They become the results of a
batch of which nothing is sent, with no usage: they were paid for before.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress, count, islice
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from ..core.model import NO_BODY, Batch, Request, Result, Run, Segment, Spec, Usage
from ..effects import Probe
from ..errors import BadSettings
from ..providers.flow import Reply
from ..store.digests import digests, digests_of
from ..store.journal import SegmentWriter, segment_path
from ..store.requests import RequestFile
from ..store.store import Store
from ..wire.chance import is_settled
from ..wire.jsonl import write_line
from .answers import Reader
from .found import Found

Reuse = Literal["settled", "always"]
"""`settled`: where nothing is left to chance. `always`: whatever the settings are."""

_RUNS = 1_000
"""So many of the newest runs are looked at."""
_AT_ONCE = 500_000
"""So many requests are looked for in one pass over the earlier runs."""
_CHUNK = 256
_FLUSH_BYTES = 1 << 22


@dataclass(slots=True, kw_only=True)
class Taken:
    """What was taken over, the first taken first."""

    rows: "array[int]" = field(default_factory=lambda: array("I"))
    """The first rows that ask these requests."""
    usage: Usage = Usage()
    """What these answers took when they were paid for."""
    runs: list[str] = field(default_factory=list)
    """Where they are from."""
    segment: Segment | None = None


def check_settled(spec: Spec, folder: Path, reuse: Reuse) -> None:
    """Raise BadSettings if all of a run is left to chance, so that nothing would be taken over."""
    if reuse == "always" or spec.prompt is None:
        return
    with RequestFile(folder) as requests:
        (first,) = requests.read([0])
    if not is_settled(spec.api, first.body):
        raise BadSettings(
            "--reuse takes over answers that are not left to chance, and these are. Say "
            "--set temperature=0 if the model takes it, or --reuse-always"
        )


def take_over(
    store: Store, run_id: str, spec: Spec, first_of: "array[int]", reuse: Reuse, *, probe: Probe
) -> Taken:
    """Write down the answers that earlier runs had to the requests of a new one.

    `first_of`: for each row, the first one that asks the same. The last request of the run gets the
    number of all there are, less one; it is the first one that is taken over.
    """
    folder = store.folder(run_id)
    kept = array("I", (n for n, first in enumerate(first_of) if n == first))
    earlier = _alike(store, spec)
    path = segment_path(folder, reused_id(run_id), 0)
    writer = _Writer(SegmentWriter(path, probe=probe), last=len(kept) - 1)
    try:
        with RequestFile(folder) as requests:
            for start in range(0, len(kept), _AT_ONCE):
                part = kept[start : start + _AT_ONCE]
                wanted = dict(zip(digests(requests.read(part)), part, strict=True))
                for run in earlier:
                    _take_from(store, run, spec, wanted, requests, reuse, writer, probe=probe)
        return writer.finish()
    finally:
        writer.close()


def reused_id(run_id: str) -> str:
    """What the batch is called whose results are those of earlier runs."""
    return f"{run_id}-1-reused"


def reused_batch(run: Run, taken: Taken, *, part: int) -> Batch:
    """The batch that holds what was `taken` over by `run`."""
    assert taken.segment is not None
    rows = run.total - run.copies
    return Batch(
        id=reused_id(run.id),
        run_id=run.id,
        wave=1,
        part=part,
        status="collected",
        first=rows - len(taken.rows),
        size=len(taken.rows),
        journal=(taken.segment,),
        counts={"succeeded": len(taken.rows)},
        executor="online",
        reused=True,
    )


def _alike(store: Store, spec: Spec) -> list[Run]:
    """Earlier runs that asked the same model, the newest first.

    Not what clients of our server asked: their answers are theirs.
    """
    return [
        run
        for run in store.runs(most=_RUNS)
        if _whom(run.spec) == _whom(spec) and "order" not in run.parts
    ]


def _whom(spec: Spec) -> tuple[object, ...]:
    return spec.provider, spec.base_url, spec.model, spec.api, spec.pack


class _Writer:
    """Writes the results that are taken over."""

    def __init__(self, segment: SegmentWriter, *, last: int) -> None:
        self._segment = segment
        self._last = last
        self._lines = bytearray()
        self._taken = Taken()

    def add(self, row: int, result: Result, usage: Usage) -> None:
        """`result` for the request that `row` is the first to ask."""
        number = self._last - len(self._taken.rows)
        self._taken.rows.append(row)
        self._taken.usage += usage
        self._lines += write_line(replace(result, n=number))
        if len(self._lines) >= _FLUSH_BYTES:
            self._flush()

    def of(self, run: Run) -> None:
        """Some of them are from `run`."""
        if run.id not in self._taken.runs:
            self._taken.runs.append(run.id)

    def _flush(self) -> None:
        if self._lines:
            self._segment.append(bytes(self._lines))
            self._lines.clear()

    def finish(self) -> Taken:
        self._flush()
        if self._taken.rows:
            segment = Segment(token=0, size=self._segment.size, crc=self._segment.crc)
            self._taken.segment = segment
        return self._taken

    def close(self) -> None:
        self._segment.close()


def _take_from(
    store: Store,
    run: Run,
    spec: Spec,
    wanted: dict[int, int],
    requests: RequestFile,
    reuse: Reuse,
    writer: _Writer,
    *,
    probe: Probe,
) -> None:
    """Take over what `run` answered of what is `wanted`, row by digest; that is wanted no more."""
    if not wanted or not any("succeeded" in batch.counts for batch in store.batches(run.id)):
        return
    found = digests_of(store.folder(run.id), probe=probe)
    numbers = compress(count(), map(wanted.__contains__, found))
    chunk = list(islice(numbers, _CHUNK))
    if not chunk:
        return
    reader = Reader(spec)
    with RequestFile(store.folder(run.id)) as theirs, Found(store, run) as there:
        while chunk:
            results = there.of(chunk)
            for request, digest in _equal(theirs, chunk, found, wanted, requests):
                result = results.get(request.n)
                if result is None or not (reuse == "always" or is_settled(spec.api, request.body)):
                    continue
                again = _again(request, result, reader)
                if again is not None:
                    writer.add(wanted.pop(digest), again, result.usage)
                    writer.of(run)
            chunk = list(islice(numbers, _CHUNK))


def _equal(
    theirs: RequestFile,
    numbers: list[int],
    found: "array[int]",
    wanted: dict[int, int],
    ours: RequestFile,
) -> Iterator[tuple[Request, int]]:
    """Of these requests of an earlier run, those that ours has byte for byte, and their digests."""
    rows = sorted(wanted[found[n]] for n in numbers)
    bodies = {request.n: request.body for request in ours.read(rows)}
    for request in theirs.read(numbers):
        digest = found[request.n]
        row = wanted.get(digest)
        if row is not None and bodies[row] == request.body:
            yield request, digest


def _again(request: Request, result: Result, reader: Reader) -> Result | None:
    """`result` as one that cost nothing; None if it is none that this run can use."""
    if result.outcome != "succeeded" or result.body == NO_BODY:
        return None
    reply = Reply(status=result.status or 200, body=bytes(result.body))
    read = reader.read(request, reply)
    if read.outcome != "succeeded":
        return None
    return replace(result, usage=Usage(), model=read.model or result.model, tries=0, ms=0)
