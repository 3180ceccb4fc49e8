"""Planning waves: the first one from the requests file, a later one from what is to be retried."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import repeat
from pathlib import Path
from typing import Literal, NamedTuple
from zlib import crc32

import msgspec
from msgspec.structs import replace

from ..core.heads import Heads
from ..core.model import Batch, Counts, ExecutorName, Run, Spec, Tier
from ..core.plan import Limits, LimitsOf, cut
from ..core.quota import BYTES_PER_TOKEN
from ..core.rescue import Again
from ..core.retry import BATCH_WAVES, next_factor, pause_before, summed
from ..core.states import COME_BACK_FOR, NOT_RUN, TRIPPING, Outcome
from ..effects import Probe
from ..store.copies import copies_of
from ..store.files import fsync_folder
from ..store.journal import committed_lines
from ..store.numbers import write_numbers
from ..store.requests import Entry, RequestFile
from ..store.store import Store
from .heads import Stage, stages
from .packing import Packer, slices


class Take(NamedTuple):
    """How a result's request is tried again."""

    attempt: int
    factor: int
    executor: ExecutorName | Literal[""] = ""
    """Empty: as requests usually go at this attempt."""
    tier: Tier | Literal[""] = ""
    """Empty: the usual one."""
    pack: int = 1
    """So many go out as one call."""


_FIRST_TO_OVERFLOW = 20

Choose = Callable[[Batch, Outcome], Take | None]
"""Whether the results of `batch` with this outcome go into the next wave, and how."""


def due_again(run: Run) -> Choose:
    """What the outcome table retries by itself."""

    def choose(batch: Batch, outcome: Outcome) -> Take | None:
        factor = next_factor(outcome, batch, budgeted=run.budgeted)
        if factor is None:
            return None
        pack = _pack_again(batch, outcome)
        # What was packed and goes alone is asked so for the first time.
        return Take(batch.attempt + 1 if pack == batch.pack else 1, factor, pack=pack)

    return choose


def in_time(choose: Choose, again: Callable[[Batch, Outcome], Again | None]) -> Choose:
    """The same, of batches that are over, going as `again` says."""

    def chosen(batch: Batch, outcome: Outcome) -> Take | None:
        take = choose(batch, outcome) if batch.status in ("collected", "cleaned") else None
        way = None if take is None else again(batch, outcome)
        if take is None or way is None:
            return take
        return take._replace(executor=way.executor, tier=way.tier or "")

    return chosen


def after_fix(batch: Batch, outcome: Outcome) -> Take | None:
    """What is tried again because the user came back: a key or a line may be mended."""
    if outcome not in COME_BACK_FOR:
        return None
    return Take(1, batch.budget_factor, pack=_pack_again(batch, outcome))


def asked_for(outcomes: frozenset[Outcome], run: Run) -> Choose:
    """What the user named; truncated answers get twice the budget they had."""

    def choose(batch: Batch, outcome: Outcome) -> Take | None:
        if outcome not in outcomes:
            return None
        double = outcome == "truncated" and run.budgeted
        factor = batch.budget_factor * (2 if double else 1)
        return Take(1, factor, pack=_pack_again(batch, outcome))

    return choose


def _pack_again(batch: Batch, outcome: Outcome) -> int:
    """How many go together when they are tried again: as before if nobody looked at them, else each
    goes alone."""
    return batch.pack if outcome in NOT_RUN else 1


def with_what_stopped(run: Run, outcomes: frozenset[Outcome]) -> frozenset[Outcome]:
    """`outcomes`, and those that tripped the breaker: a run that goes on would trip over them."""
    return outcomes | TRIPPING if run.state == "stopped" else outcomes


def executor_for(spec: Spec, *, attempt: int) -> ExecutorName:
    """How requests are answered at this attempt.

    What two batches have left is little, and a third would be waited for as long: it goes
    real-time, unless the caller keeps it out.
    """
    planned = spec.executor or "online"
    if planned == "batch" and attempt > BATCH_WAVES and spec.tail != "batch":
        return "online"
    return planned


def first_wave(
    run_id: str,
    folder: Path,
    *,
    limits: Limits,
    group_prefixes: bool,
    probe: Probe,
    canary: int = 0,
    count: int | None = None,
    heads: Heads | None = None,
    executor: ExecutorName = "online",
    in_flight: int = 1,
) -> list[Batch]:
    """Cut the requests file into batches; with `group_prefixes`, those that share one together.

    So many are `in_flight` at once. The first `canary` requests are a batch of their own. Where
    `heads` are to be kept by a cache, some go ahead of the others. `count`: only so many are sent;
    None: all.
    """
    with RequestFile(folder) as requests:
        count = requests.count if count is None else count
        if heads is not None and heads.is_staged:
            parts = stages(requests, heads, executor, canary=canary, count=count)
        elif group_prefixes and requests.shares_prefixes():
            sorted_by = requests.prefix_order(in_flight=in_flight)
            order = array("I", (n for n in sorted_by if canary <= n < count))
            parts = [Stage(0, order)]
        else:
            parts = [Stage(0, range(canary, count))]
        if canary:
            parts.insert(0, Stage(0, range(canary)))
        batches: list[Batch] = []
        for stage, numbers in parts:
            taken = [batch.size for batch in batches]
            cuts = _cut_stage(
                run_id, folder, numbers, requests, limits, probe, part=len(batches), taken=taken
            )
            batches += (replace(batch, stage=stage) for batch in cuts)
        return batches


def _cut_stage(
    run_id: str,
    folder: Path,
    numbers: "range | array[int]",
    requests: RequestFile,
    limits: Limits,
    probe: Probe,
    *,
    part: int,
    taken: Iterable[int],
) -> Iterator[Batch]:
    """Batches that hold `numbers`; ranges where they are one."""
    if not isinstance(numbers, range):
        yield from _cut_listed(
            run_id, folder, numbers, requests, limits, probe, part=part, taken=taken
        )
        return
    count = len(numbers)
    lengths = _lengths(requests.entries(numbers.start, count), count, limits)
    for start, size in _placed(cut(lengths, limits, taken=taken)):
        first = numbers.start + start
        planned = _planned(run_id, part=part, first=first, size=size)
        yield replace(planned, tokens=_tokens(_bytes_of(requests, first, size)))
        part += 1


def before_overflow(run_id: str, folder: Path, *, limits: Limits, count: int) -> list[Batch]:
    """Batches for real time, each twice as large as the one before it: so what of them does not fit
    through its rate limits goes by few."""
    with RequestFile(folder) as requests:
        return [
            replace(
                _planned(run_id, part=part, first=first, size=size),
                tokens=_tokens(_bytes_of(requests, first, size)),
            )
            for part, (first, size) in enumerate(_placed(_growing(count, limits)))
        ]


def _growing(count: int, limits: Limits) -> Iterator[int]:
    size = _FIRST_TO_OVERFLOW
    while count:
        yield min(size, count, limits.max_requests)
        count -= min(size, count, limits.max_requests)
        size *= 2


def _bytes_of(requests: RequestFile, first: int, size: int) -> int:
    """How long these requests are together, as they lie in their file."""
    ((start, *_),) = requests.entries(first, 1)
    ((last, length, *_),) = requests.entries(first + size - 1, 1)
    return last + length - start


def _tokens(length: int) -> int:
    """About so many tokens are in so many bytes of requests."""
    return length // BYTES_PER_TOKEN


def _placed(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = 0
    for size in sizes:
        yield first, size
        first += size


def _planned(run_id: str, *, part: int, first: int, size: int, wave: int = 1) -> Batch:
    return Batch(
        id=f"{run_id}-{wave}-{part}",
        run_id=run_id,
        wave=wave,
        part=part,
        status="planned",
        first=first,
        size=size,
    )


def _cut_listed(
    run_id: str,
    folder: Path,
    numbers: "array[int]",
    requests: RequestFile,
    limits: Limits,
    probe: Probe,
    *,
    wave: int = 1,
    part: int = 0,
    taken: Iterable[int] = (),
    sizes: Iterable[int] | None = None,
) -> Iterator[Batch]:
    """Batches that hold `numbers` in this order, each listed in an index file of its own.

    A batch's id tells its numbers apart from any others, so that of two processes that plan the
    same wave differently, neither writes over what the other lists. `sizes` are theirs; None: as
    large as they may be.
    """
    entries = (entry for n in numbers for entry in requests.entries(n, 1))
    lengths = array("Q", _lengths(entries, len(numbers), limits))
    cuts = cut(lengths, limits, taken=taken) if sizes is None else sizes
    for start, size in _placed(cuts):
        listed = numbers[start : start + size]
        batch = _planned(run_id, part=part, first=listed[0], size=size, wave=wave)
        batch = replace(batch, tokens=_tokens(sum(lengths[start : start + size])))
        yield write_listed(batch, listed, folder, probe=probe)
        part += 1


def _in_packs(
    run: Run, requests: RequestFile, numbers: "array[int]", take: Take, limits: Limits
) -> Iterator[int]:
    """The sizes of batches that make as many calls as they may."""
    listed = memoryview(numbers)
    found = slices(Packer(run), requests, listed, pack=take.pack, limits=limits)
    return (each.rows for each in found)


def write_listed(batch: Batch, numbers: "array[int]", folder: Path, *, probe: Probe) -> Batch:
    """`batch` as one that holds these numbers, which are listed in a file of its own."""
    listed = replace(batch, id=f"{batch.id}-{crc32(numbers):08x}", ordered=False)
    write_numbers(numbers_path(folder, listed.id), numbers, probe=probe)
    return listed


def pieces_of(
    batch: Batch,
    numbers: "range | memoryview[int]",
    folder: Path,
    *,
    limits: Limits,
    taken: Iterable[int],
    probe: Probe,
) -> list[Batch]:
    """Planned batches that hold the requests of `batch`, these `numbers`, among them.

    Each is within `limits`. Sizes that are `taken` are left out where sizes have to be distinct.
    """
    with RequestFile(folder) as requests:
        entries = (entry for n in numbers for entry in requests.entries(n, 1))
        overhead = limits.overhead + 1
        lengths = array("Q", (length + overhead for _, length, _, _ in entries))
    sizes = _placed(cut(lengths, limits, taken=taken))
    pieces = [
        piece_of(
            batch,
            place,
            numbers[start : start + size],
            folder,
            tokens=_tokens(sum(lengths[start : start + size])),
            probe=probe,
        )
        for place, (start, size) in enumerate(sizes)
    ]
    fsync_folder(folder, probe=probe)
    return pieces


def piece_of(
    batch: Batch,
    place: int,
    numbers: "range | memoryview[int] | array[int]",
    folder: Path,
    *,
    tokens: int | None = None,
    probe: Probe,
) -> Batch:
    """A planned batch that holds these of the requests of `batch`."""
    share = batch.tokens * len(numbers) // batch.size
    piece = replace(
        _planned(batch.run_id, part=batch.part, first=numbers[0], size=len(numbers)),
        id=f"{batch.id}-{place}",
        wave=batch.wave,
        attempt=batch.attempt,
        budget_factor=batch.budget_factor,
        executor=batch.executor,
        tier=batch.tier,
        stage=batch.stage,
        pack=batch.pack,
        trial=batch.trial,
        tokens=share if tokens is None else tokens,
    )
    if batch.ordered and isinstance(numbers, range):
        return piece
    return write_listed(piece, array("I", numbers), folder, probe=probe)


def _lengths(entries: Iterable[Entry], count: int, limits: Limits) -> Iterable[int]:
    """Bytes per request as it is sent; not looked up where no limit asks for them."""
    if limits.max_bytes is None:
        return repeat(0, count)
    return (length + 1 + limits.overhead for _, length, _, _ in entries)


def numbers_path(folder: Path, batch_id: str) -> Path:
    """Where the numbers of a batch that is not a range are listed."""
    return folder / f"{batch_id}.index"


class _Head(msgspec.Struct):
    n: int
    outcome: Outcome


_HEAD = msgspec.json.Decoder(_Head)


def plan_wave(
    run: Run, store: Store, choose: Choose, *, limits_of: LimitsOf, now: datetime, probe: Probe
) -> int:
    """Plan the next wave of what `choose` takes; how many requests it holds.

    0 when nothing is taken, or when another process planned it first.
    """
    folder = store.folder(run.id)
    groups: dict[Take, array[int]] = {}
    retried: list[Batch] = []
    copies = copies_of(folder, run)
    for batch in store.batches(run.id):
        if batch.trial:
            continue
        taken, with_them = _take(batch, folder, choose, groups, copies)
        if taken:
            was, were = summed(batch.retried, taken), summed(batch.copies_retried, with_them)
            retried.append(replace(batch, retried=was, copies_retried=were))
    if not retried:
        return 0
    batches = list(_wave(run, folder, groups, limits_of=limits_of, now=now, probe=probe))
    fsync_folder(folder, probe=probe)
    planned = store.add_wave(run, batches, retried)
    return sum(batch.size for batch in batches) if planned else 0


def _take(
    batch: Batch,
    folder: Path,
    choose: Choose,
    groups: dict[Take, "array[int]"],
    copies: Sequence[int] | None,
) -> tuple[Counts, Counts]:
    """Add to `groups` the numbers of `batch` that `choose` takes; their counts by outcome, and
    those of the rows that share them with others before them."""
    takes = {
        outcome: take
        for outcome, count in batch.counts.items()
        if count > batch.retried.get(outcome, 0) and (take := choose(batch, outcome)) is not None
    }
    taken: Counts = {}
    with_them: Counts = {}
    if not takes:
        return taken, with_them
    # The journal only grows, so the first of each outcome are those taken over before.
    before = dict(batch.retried)
    for _, _, line in committed_lines(folder, batch.id, batch.journal):
        head = _HEAD.decode(line)
        if head.outcome not in takes:
            continue
        if before.get(head.outcome, 0) > 0:
            before[head.outcome] -= 1
            continue
        groups.setdefault(takes[head.outcome], array("I")).append(head.n)
        taken[head.outcome] = taken.get(head.outcome, 0) + 1
        if copies is not None and copies[head.n]:
            with_them[head.outcome] = with_them.get(head.outcome, 0) + copies[head.n]
    return taken, with_them


def _wave(
    run: Run,
    folder: Path,
    groups: "dict[Take, array[int]]",
    *,
    limits_of: LimitsOf,
    now: datetime,
    probe: Probe,
) -> Iterator[Batch]:
    part = 0
    with RequestFile(folder) as requests:
        for take, numbers in sorted(groups.items()):
            ordered = array("I", sorted(numbers))
            executor = take.executor or executor_for(run.spec, attempt=take.attempt)
            limits = limits_of(executor)
            sizes = None if take.pack == 1 else _in_packs(run, requests, ordered, take, limits)
            cuts = _cut_listed(
                *(run.id, folder, ordered, requests, limits, probe),
                wave=run.wave + 1,
                part=part,
                sizes=sizes,
            )
            for batch in cuts:
                due = now + pause_before(take.attempt) if take.attempt > 1 else None
                yield replace(
                    batch,
                    attempt=take.attempt,
                    budget_factor=take.factor,
                    due=due,
                    executor=executor,
                    tier=take.tier or None,
                    pack=take.pack,
                )
                part += 1
