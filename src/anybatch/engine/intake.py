"""Rows in: a dataset and what is asked of it become a run with planned batches."""

import shutil
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from ..core.heads import Heads
from ..core.model import Api, Batch, ExecutorName, Row, Run, Spec, Terms, Tier
from ..core.offers import Cached, Quote, Way, usual_way
from ..core.retry import CANARY, CANARY_FROM
from ..core.template import (
    ROW,
    BadRow,
    Prompt,
    Render,
    Rendered,
    compile_prompt,
    compile_requests,
)
from ..core.terms import NO_TERMS
from ..datasets.source import Source
from ..effects import Probe, effect
from ..errors import BadInput, BadSettings, StoreUnwritable
from ..processes import dead_among
from ..providers.provider import Provider
from ..store.copies import copies_of, firsts
from ..store.files import fsync_folder, unwritable
from ..store.heads import write_heads
from ..store.requests import RequestFile, RequestWriter
from ..store.rows import RowWriter
from ..store.store import PLANNING, Event, Store
from ..version import VERSION
from ..wire import openai as wire
from ..wire.apis import budget_of, wire_of
from .events import REUSED
from .heads import Caching, heads_of
from .packing import check_packing, packed_wave, tried
from .reuse import Taken, reused_batch
from .sameness import TOOL, fingerprint, parts_of
from .sharing import EQUAL_ONCE, Sharing, share
from .waves import before_overflow, first_wave

PREFIX_BYTES = 1024
_TOLD = 20
"""So many earlier runs are named whose answers were taken over."""
_ENCODER = msgspec.json.Encoder()


class Chosen(NamedTuple):
    """How a run goes whose requests are written."""

    run: Run
    tier: Tier | None = None
    """None: the usual one of its executor."""
    is_cached: bool = True
    """Whether its prompts may be kept by a cache: that may take longer than there is time."""
    quote: Quote | None = None
    why: str | None = None
    """In a line, where something was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What planning a run needs."""

    store: Store
    provider: Provider
    owner: str
    probe: Probe
    skip_bad_rows: bool = False
    canary: int | None = None
    """So many rows go first; None: a few of a large run that goes by batches."""
    account: str | None = None
    """Whose batches the run makes at a provider."""
    keep_remote: bool = False
    """Whether all that lies there stays there when it is here."""
    again: bool = False
    """Plan a new run even if one has asked exactly the same."""
    quote: Callable[[Run, Way], Quote | None] = lambda run, way: None
    """Says what a run will cost whose requests are written; None: nobody can say."""
    sharing: Sharing = EQUAL_ONCE
    """Which rows need no request of their own."""
    choose: Callable[[Run], Chosen] | None = None
    """Says how such a run goes; None: as it was asked."""
    terms: Terms = NO_TERMS
    caching: Caching | None = None
    """What is known of the cache that its prompts may be kept in; None: nothing is said to one."""


def plan(
    intake: Intake, source: Source, spec: Spec, *, run_id: str, now: datetime
) -> tuple[Run, bool]:
    """Write the requests file, then the run and its batches; the run, and whether it is new.

    A run that asked exactly the same of the same data is returned instead of a new one.
    Raises BadInput, BadTemplate or StoreUnwritable, leaving nothing behind.
    """
    sweep(intake.store)
    data = source.digest()
    asked = parts_of(spec, data or "")
    if data is not None and not intake.again and not source.requests:
        known = intake.store.same_run(fingerprint(asked))
        if known is not None:
            return known, False
    folder = intake.store.folder(run_id)
    begin(intake, folder)
    try:
        run, taken = _write(intake, source, spec, data=data, run_id=run_id, now=now)
        standing = _known(intake, run)
        if standing is None:
            chosen = Chosen(run) if intake.choose is None else intake.choose(run)
            run = chosen.run
            standing = add(intake, run, taken, chosen)
    except Exception:
        forget(folder)
        raise
    except KeyboardInterrupt:
        # It may come at any point: with the run written down, only the mark is left to `sweep`.
        if not intake.store.has_run(run_id):
            forget(folder)
        raise
    if standing.id != run_id:
        forget(folder)
        return standing, False
    unmark(intake, folder)
    if taken is not None:
        intake.store.add_event(run.id, _of_reuse(taken, now))
    return run, True


def _of_reuse(taken: Taken, now: datetime) -> Event:
    """What was taken over, and what it took when it was paid for."""
    usage = msgspec.to_builtins(taken.usage)
    fields = {"requests": len(taken.rows), "usage": usage, "runs": taken.runs[:_TOLD]}
    return Event(at=now, name=REUSED, fields=fields)


def _known(intake: Intake, run: Run) -> Run | None:
    """A run that asked the same, before it is chosen how this one goes: its terms are others."""
    if intake.choose is None or intake.again:
        return None
    return intake.store.same_run(run.fingerprint)


def begin(intake: Intake, folder: Path) -> None:
    """Mark `folder` as ours while we plan, then make it."""
    try:
        with effect("plan.mark", intake.probe), unwritable(folder):
            _mark_of(folder).write_text(intake.owner)
            folder.mkdir()
    except StoreUnwritable:
        with suppress(OSError):
            _mark_of(folder).unlink()
        raise


def unmark(intake: Intake, folder: Path) -> None:
    """The run in `folder` stands."""
    with effect("plan.unmark", intake.probe), unwritable(folder):
        _mark_of(folder).unlink()


def forget(folder: Path) -> None:
    """Remove what was planned.

    The mark goes last, and stays with what could not be removed: `sweep` looks for marks.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        _mark_of(folder).unlink(missing_ok=True)


def _mark_of(folder: Path) -> Path:
    return folder.with_name(folder.name + PLANNING)


def add(intake: Intake, run: Run, taken: Taken | None = None, chosen: Chosen | None = None) -> Run:
    """Write down `run`, its batches and what was `taken` over; the run that stands, which may be an
    older one."""
    folder = intake.store.folder(run.id)
    executor, provider = run.spec.executor or "online", intake.provider
    limits = provider.limits_of(executor)
    heads = _heads(intake, run, executor) if chosen is None or chosen.is_cached else None
    batches = (
        packed_wave(run, folder, limits=limits, count=run.to_send)
        if run.spec.pack > 1
        else first_wave(
            run.id,
            folder,
            limits=limits,
            group_prefixes=intake.caching is not None
            or (provider.groups_prefixes and executor != "batch"),
            probe=intake.probe,
            canary=_ahead(run),
            count=run.to_send,
            heads=heads,
            executor=executor,
            in_flight=1 if executor == "batch" else provider.concurrency,
        )
    )
    batches = [replace(batch, executor=executor) for batch in batches]
    if executor == "batch" and run.terms.overflow:
        batches = before_overflow(run.id, folder, limits=provider.limits, count=run.to_send)
    elif executor == "batch" and run.terms.preview:
        batches = [_previewed(batch, run.terms) for batch in batches]
    elif chosen is not None:
        batches = [replace(batch, tier=chosen.tier) for batch in batches]
    if taken is not None:
        batches.append(_reused(run, taken, folder, part=len(batches)))
    fsync_folder(folder, probe=intake.probe)
    fsync_folder(folder.parent, probe=intake.probe)
    quote = None if chosen is None else chosen.quote
    quote = quote or intake.quote(run, usual_way(run.spec, cached=_cached(executor, heads)))
    return intake.store.add_run(run, batches, quote=quote, unless_same=not intake.again)


def _reused(run: Run, taken: Taken, folder: Path, *, part: int) -> Batch:
    batch = reused_batch(run, taken, part=part)
    shared = copies_of(folder, run)
    copies = 0 if shared is None else sum(shared[batch.first :])
    return replace(batch, copies={"succeeded": copies} if copies else {})


def _ahead(run: Run) -> int:
    """So many of the first rows are a batch of their own."""
    preview = run.terms.preview if run.spec.executor == "batch" else 0
    return preview if 0 < preview < run.to_send else run.canary


def _cached(executor: ExecutorName, heads: Heads | None) -> Cached:
    """How a prompt cache is used of requests with these `heads`."""
    if heads is not None and executor == "online":
        return "warm"
    return "primed" if heads is not None and heads.is_staged else "no"


def _previewed(batch: Batch, terms: Terms) -> Batch:
    return replace(batch, executor="online") if batch.first < terms.preview else batch


def _heads(intake: Intake, run: Run, executor: ExecutorName) -> Heads | None:
    """What its requests share, kept for when they go out; None: nothing is said to a cache."""
    splits = executor == "batch" and (run.terms.preview or run.terms.overflow)
    if intake.caching is None or splits or run.spec.pack > 1:
        return None
    folder, spec = intake.store.folder(run.id), run.spec
    with RequestFile(folder) as requests:
        model, count = spec.model or "", run.to_send
        heads = heads_of(requests, spec.api, executor, intake.caching, model=model, count=count)
    if heads is not None:
        write_heads(folder, heads, probe=intake.probe)
    return heads


def wished(run: Run, *, canary: int | None, keep_remote: bool, agreement: float | None) -> Run:
    """`run` with what its caller may change later; None: as it was."""
    wanted = run.terms.agreement if agreement is None else agreement
    return replace(
        run,
        canary=0 if canary == 0 else run.canary,
        keep_remote=run.keep_remote or keep_remote,
        terms=replace(run.terms, agreement=wanted),
    )


def sweep(store: Store) -> None:
    """Remove what a process that died while planning left behind."""
    for mark in (store.root / "runs").glob(f"*{PLANNING}"):
        folder = mark.with_name(mark.name.removesuffix(PLANNING))
        # A mark may go while we look: its owner is done, or another process sweeps too.
        with unwritable(mark), suppress(FileNotFoundError):
            if not dead_among([mark.read_text()]):
                continue
            if store.has_run(folder.name):
                mark.unlink()
            else:
                forget(folder)


# --- rows ---


class BadRows:
    """The policy for rows that cannot be used: fail at the first, or count them."""

    def __init__(self, name: str, *, skip: bool) -> None:
        self._name = name
        self._skip = skip
        self.skipped = 0

    def __call__(self, line: int, why: str, *, unit: str = "line", mend: str = "it") -> None:
        if not self._skip:
            raise BadInput(
                f"{self._name!r}, {unit} {line}: {why}. Mend {mend}, or leave such rows out with "
                "--bad-rows skip"
            )
        self.skipped += 1


Values = Callable[[Sequence[Row]], Iterable[object]]
"""What the requests of rows follow from; raises KeyError, at some time, for a row without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """How rows become requests."""

    spec: Spec
    render: Render
    keep: Callable[[list[Row]], list[Row]]
    """What of rows is kept to be joined to their answers."""
    have_budget: Callable[[list[Row]], bool]
    """Whether the requests of all these rows cap their output."""
    values: Values


def _write(
    intake: Intake, source: Source, spec: Spec, *, data: str | None, run_id: str, now: datetime
) -> tuple[Run, Taken | None]:
    """Write rows and requests; the run they make, and what it takes over of earlier ones."""
    folder = intake.store.folder(run_id)
    bad = BadRows(source.name, skip=intake.skip_bad_rows)
    chunks = iter(source.read(bad))
    first = next(chunks, [])
    if not first:
        raise nothing_to_send(source, bad)
    asking = _asking(source, spec, first)
    fits = _fits(intake.provider, spec)
    columns: dict[str, None] = {}
    budgeted, at = True, 1
    hashed = hash if intake.sharing.dedupe else None
    with (
        RowWriter(folder, probe=intake.probe, digested=data is None) as rows,
        RequestWriter(folder, probe=intake.probe, hashed=hashed) as requests,
    ):
        for chunk in chain([first], chunks):
            kept, rendered = _rendered(chunk, asking.render, fits, bad, at=at)
            at += len(chunk)
            budgeted = budgeted and asking.have_budget(kept)
            kept = asking.keep(kept)
            columns.update(dict.fromkeys(chain.from_iterable(kept)))
            rows.add(kept)
            requests.add(rendered)
        with ThreadPoolExecutor(max_workers=1) as beside:
            looked = beside.submit(firsts, requests.hashes)
            # These wait for the disk meanwhile.
            requests.finish()
            digest = rows.finish()
    if not requests.count:
        raise nothing_to_send(source, bad)
    parts = parts_of(asking.spec, data or digest)
    run = Run(
        id=run_id,
        created_at=now,
        source=source.name,
        spec=asking.spec,
        fingerprint=fingerprint(parts),
        parts={**parts, TOOL: VERSION},
        columns=tuple(columns),
        total=requests.count,
        skipped=bad.skipped,
        budgeted=budgeted,
        account=intake.account,
        keep_remote=intake.keep_remote,
        terms=intake.terms,
    )
    return _shared(intake, run, looked.result())


def _shared(intake: Intake, run: Run, first_of: "array[int] | None") -> tuple[Run, Taken | None]:
    """`run` with a request for each row that needs one, and what it takes over of earlier ones."""
    copies, taken = share(
        intake.store,
        run.id,
        run.spec,
        intake.sharing,
        first_of,
        total=run.total,
        probe=intake.probe,
    )
    run = replace(run, copies=copies, reused=0 if taken is None else len(taken.rows))
    return replace(run, canary=_canary(intake, run.spec, run.to_send)), taken


def _canary(intake: Intake, spec: Spec, total: int) -> int:
    if spec.pack > 1:
        if intake.terms.preview or intake.terms.overflow:
            raise BadSettings(
                "--preview and --overflow do not go with --pack: leave out one of them"
            )
        return tried(total, wanted=intake.canary, agreement=intake.terms.agreement)
    if spec.executor != "batch":
        return 0
    wanted = CANARY if total > CANARY_FROM else 0
    canary = wanted if intake.canary is None else intake.canary
    if intake.terms.preview:
        # These rows are the first to go, and tell as much.
        canary = min(canary, intake.terms.preview)
    return canary if canary < total else 0


def nothing_to_send(source: Source, bad: BadRows) -> BadInput:
    """What to raise for data of which no row is left."""
    return BadInput(
        f"{source.name!r} has no rows to send: {bad.skipped} were left out as bad. Mend some of "
        "them, or give other data"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """How a dataset becomes requests, where nothing is written."""

    spec: Spec
    """What is asked, completed from the data."""
    chunks: Iterator[list[Row]]
    render: Callable[[list[Row], int], list[Rendered]]
    """The requests of some rows, given the number of the first; bad ones are left out or raise."""
    values: Values


def rendering(source: Source, spec: Spec, bad: BadRows) -> Rendering:
    """Raises BadInput for data without a row, or what does not fit them."""
    chunks = iter(source.read(bad))
    first = next(chunks, [])
    if not first:
        raise nothing_to_send(source, bad)
    asking = _asking(source, spec, first)
    spec = asking.spec
    if spec.model is None and source.requests:
        spec = replace(spec, model=first[0]["body"].get("model"))
    return Rendering(
        spec=spec,
        chunks=chain([first], chunks),
        render=lambda rows, at: _rendered(rows, asking.render, _fit, bad, at=at)[1],
        values=asking.values,
    )


def _fit(rendered: list[Rendered]) -> None:
    """Whatever their size."""


Fits = Callable[[list[Rendered]], None]
"""Raises BadRow if one of these is too large for any batch."""


def _fits(provider: Provider, spec: Spec) -> Fits:
    limits = provider.limits_of(spec.executor or "online")
    most = limits.max_bytes

    def fits(rendered: list[Rendered]) -> None:
        if most is None or not rendered:
            return
        largest = max(len(request.body) for request in rendered) + limits.overhead + 1
        if largest > most:
            raise BadRow(
                f"its request has {largest:,} bytes, and a whole batch at {provider.name!r} may "
                f"have {most:,}; shorten it"
            )

    return fits


def _rendered(
    chunk: list[Row], render: Render, fits: Fits, bad: BadRows, *, at: int
) -> tuple[list[Row], list[Rendered]]:
    """The rows of `chunk` that can be rendered, and what they become. `at` numbers the first."""
    try:
        rendered = [render(row) for row in chunk]
        fits(rendered)
        return chunk, rendered
    except BadRow:
        pass  # find out which, one by one
    kept: list[Row] = []
    rendered = []
    for number, row in enumerate(chunk, at):
        try:
            request = render(row)
            fits([request])
            rendered.append(request)
            kept.append(row)
        except BadRow as e:
            bad(number, str(e), unit="row", mend=e.mend)
    return kept, rendered


def _asking(source: Source, spec: Spec, first: list[Row]) -> _Asking:
    return _asking_as_written(source, spec, first) if source.requests else _asking_all(spec, first)


def _asking_all(spec: Spec, first: list[Row]) -> _Asking:
    """Every row through one prompt."""
    if spec.prompt is None:
        raise BadSettings("--prompt says what to ask of each row; it is missing")
    if spec.model is None:
        raise BadSettings("--model PROVIDER/MODEL names who answers; the MODEL is missing")
    columns = tuple(dict.fromkeys(chain.from_iterable(first)))
    prompt = compile_prompt(spec.prompt, columns=columns)
    system = None if spec.system is None else compile_prompt(spec.system, columns=columns)
    check_packing(spec, system)
    model = spec.model

    def shape(system: str | None, user: str | None) -> dict[str, object]:
        return wire_of(spec.api).write_body(
            spec.api,
            model=model,
            system=system,
            user=user,
            schema=spec.output_schema,
            parameters=spec.parameters,
        )

    budgeted = budget_of(spec.api, spec.parameters) is not None
    return _Asking(
        spec=spec,
        render=compile_requests(prompt=prompt, system=system, shape=shape),
        keep=lambda rows: rows,
        have_budget=lambda rows: budgeted,
        values=_values_of([prompt] if system is None else [prompt, system]),
    )


def _values_of(prompts: Sequence[Prompt]) -> Values:
    """The columns that prompts name; the whole row, where one may name any."""
    names = sorted(frozenset().union(*(prompt.columns for prompt in prompts)))
    is_flat = all(prompt.pieces is not None for prompt in prompts)
    if not is_flat and any(ROW in prompt.source for prompt in prompts):
        return lambda rows: rows
    if not names:
        return lambda rows: [None] * len(rows)
    if is_flat:
        return partial(map, itemgetter(*names))
    return lambda rows: [[row.get(name) for name in names] for row in rows]


def _asking_as_written(source: Source, spec: Spec, first: list[Row]) -> _Asking:
    """Ready-made requests: bodies travel as they are, but for a model that the caller names."""
    if spec.prompt is not None or spec.system is not None:
        raise BadSettings(f"{source.name!r} holds ready-made requests; they take no --prompt")
    check_packing(spec, None)
    api = _api_of(first[0])
    if api is None:
        raise BadInput(
            f"{source.name!r}, line 1: url {first[0]['url']!r} is not one we can answer; "
            f"use one of {', '.join('/v1' + path for path in wire.PATHS.values())}"
        )

    def render(row: Row) -> Rendered:
        if _api_of(row) != api:
            raise BadRow(f"its url {row['url']!r} differs from the first row's")
        body = _ENCODER.encode({**wire.with_model(row["body"], spec.model), **spec.parameters})
        return Rendered(body, zlib.crc32(body[:PREFIX_BYTES]))

    return _Asking(
        spec=replace(spec, api=api),
        render=render,
        keep=lambda rows: [{"custom_id": row["custom_id"]} for row in rows],
        have_budget=lambda rows: all(wire.budget_of(api, row["body"]) for row in rows),
        values=partial(map, itemgetter("body")),
    )


def _api_of(row: Row) -> Api | None:
    return wire.api_of(str(row["url"]))
