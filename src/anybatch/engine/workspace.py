"""Settings and a store, and everything one can do with a run: what every face calls."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import structs

from ..clock import Clock, SystemClock
from ..core.ids import custom_id
from ..core.model import Batch, Queue, Request, Result, Run, Spec, Terms
from ..core.packing import packed_schema
from ..core.plan import no_batches
from ..core.quota import Quota
from ..core.states import COME_BACK_FOR, Outcome
from ..core.terms import NO_TERMS
from ..core.timing import Usual, usual_of
from ..datasets.sink import open_sink
from ..datasets.source import Source
from ..effects import Probe, unwatched
from ..errors import BadSettings, UsageError
from ..executors.auth import account_of, differing, key_for
from ..executors.batch import BatchExecutor
from ..executors.embedded import Embedded, weights
from ..executors.executor import CallExecutor, Hold
from ..executors.limiter import Limiter
from ..executors.online import Online, limiter_of
from ..processes import dead_among, this_process
from ..providers import registry, schemas
from ..providers.asked import check_said
from ..providers.provider import Provider
from ..settings import Settings
from ..store.copies import asked
from ..store.requests import RequestFile
from ..store.rows import read_rows
from ..store.sqlite import SqliteStore
from ..store.store import Store
from .answers import Reader
from .apart import remark
from .bounds import bounds_in, patient, tier_field_of
from .crowding import waiting_elsewhere
from .decide import Snapshot, held_back, may_lie_there
from .defaults import with_defaults
from .delivery import joined_rows, layout_of, results
from .engine import AtProvider, Engine
from .estimates import quote_of_intake
from .events import SET_ASIDE, Progress, Report, progress, repeated, set_aside, were_late
from .intake import Chosen, Intake, plan, wished
from .ledger import cost_of
from .packing import known
from .readymade import ReadyRun
from .sameness import changed, fingerprint, parts_of
from .sharing import EQUAL_ONCE, Sharing
from .tariffs import caching_for
from .waves import Choose, after_fix, asked_for, plan_wave, with_what_stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast, where the caller says so; None: as the provider's facts and settings have it."""

    concurrency: int | None = None
    rpm: int | None = None
    tpm: int | None = None

    def __post_init__(self) -> None:
        """Raises BadSettings."""
        for name in ("concurrency", "rpm", "tpm"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise BadSettings(f"{name} must be a whole number above 0, not {value!r}")


_ERRORS_APART = 1_000
"""So many different messages are told apart."""


Need = Literal["answers", "keeping"]
"""`answers`: there are some to come. `keeping`: it was asked for, and the run is still here."""


class Planned(NamedTuple):
    """A run that stands ready."""

    run: Run
    is_new: bool
    changed: list[str]
    """What differs from the last run of the same source, where there is one and this one is new."""
    before: Run | None
    why: str | None = None
    """How it goes and why so, where that was chosen."""
    remark: str | None = None
    """What keeps its prompts from a cache, where it could be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where runs are planned, fulfilled and delivered."""

    settings: Settings
    store: Store
    clock: Clock = field(default_factory=SystemClock)
    owner: str = field(default_factory=this_process)
    probe: Probe = unwatched
    new_id: Callable[[], str] = lambda: secrets.token_hex(4)
    jitter: Callable[[], float] = random.random

    def provider_of(self, spec: Spec, pace: Pace = Pace()) -> Provider:
        """The provider of a run, at the pace the caller wants. Raises BadSettings."""
        configured = self.settings.providers
        found = registry.find(
            spec.provider,
            configured=configured,
            base_url=spec.base_url,
            environment=self.settings.environment,
        )
        wanted = {"concurrency": pace.concurrency, "rpm": pace.rpm, "tpm": pace.tpm}
        return replace(found, **{k: v for k, v in wanted.items() if v is not None})  # type: ignore[arg-type]

    def check(self, provider: Provider, spec: Spec) -> None:
        """Raise UsageError now for what would fail at once: api, schema, bucket, key, weights."""
        self.check_spec(provider, spec)
        if spec.executor == "batch" and provider.batch is not None:
            check_said(provider.name, provider.batch.lacks)
        key_for(provider, self.settings.environment)
        if provider.base_url is None and spec.model is not None:
            weights(spec.model)

    def check_spec(self, provider: Provider, spec: Spec) -> None:
        """The same as far as it takes no key and no model: api and schema."""
        if spec.api not in provider.apis:
            raise UsageError(
                f"provider {provider.name!r} does not take {spec.api}; "
                f"it takes {', '.join(sorted(provider.apis))}"
            )
        is_sent = spec.prompt is not None  # not in ready-made requests
        if spec.output_schema is not None and provider.schemas is not None and is_sent:
            schemas.check(
                spec.output_schema if spec.pack == 1 else packed_schema(spec.output_schema),
                provider.schemas,
                provider=provider.name,
                parameters=spec.parameters,
            )

    def completed(self, spec: Spec, provider: Provider) -> Spec:
        """`spec` with what `provider` makes of what it leaves open. Raises UsageError for what the
        provider does not take."""
        completed = with_defaults(spec, provider)
        self.check_spec(provider, completed)
        return completed

    def _account(self, provider: Provider) -> str | None:
        return account_of(provider, key_for(provider, self.settings.environment))

    def check_account(self, run: Run) -> None:
        """Raise BadSettings if `run` may have something at a provider that our key does not open.

        Called before anything of a run is changed.
        """
        if not self._is_bound(run):
            return
        account = self._account(self.provider_of(run.spec))
        if account != run.account:
            raise BadSettings(
                f"run {run.id} has batches at {run.spec.provider!r} that were made with another "
                f"{differing(run.account, account)}. Go back to that, or leave them there and "
                "start anew with --again"
            )

    def _is_bound(self, run: Run) -> bool:
        """Whether it has to go on with the key it has: for what may lie there, or for who is at it.

        That is another process, which would send the rest with the key that it has.
        """
        if run.spec.executor != "batch":
            return False
        batches = self.store.batches(run.id)
        owners = {batch.owner for batch in batches if batch.owner is not None}
        return any(map(may_lie_there, batches)) or self.alive(owners)

    def _under_our_account(self, run: Run) -> Run:
        """`run`, under the account that our key opens. Raises BadSettings where it cannot be."""
        self.check_account(run)
        if run.state != "open" or run.spec.executor != "batch" or self._is_bound(run):
            return run
        account = self._account(self.provider_of(run.spec))
        if account == run.account:
            return run
        self.store.save_wishes(structs.replace(run, account=account))
        return self.store.run(run.id)

    def plan(
        self,
        source: Source,
        spec: Spec,
        *,
        pace: Pace = Pace(),
        skip_bad_rows: bool = False,
        again: bool = False,
        canary: int | None = None,
        keep_remote: bool = False,
        sharing: Sharing = EQUAL_ONCE,
        terms: Terms = NO_TERMS,
        choose: Callable[[Run], Chosen] | None = None,
        cache: bool = True,
    ) -> Planned:
        """The run that asks `spec` of `source`: a known one, or a new one with all its requests.

        A new one has these `terms`, and goes as `choose` says: see `choosing.plan_with`. With
        `cache`, what its prompts share is kept by a prompt cache where that is known to pay.
        """
        provider = self.provider_of(spec, pace)
        spec = with_defaults(spec, provider)
        self.check(provider, spec)
        before, now = self.store.latest_of(source.name), self.clock.now()
        caching = caching_for(self.settings, spec, provider, now=now) if cache else None
        intake = Intake(
            store=self.store,
            provider=provider,
            owner=self.owner,
            probe=self.probe,
            skip_bad_rows=skip_bad_rows,
            again=again,
            canary=canary,
            account=self._account(provider),
            keep_remote=keep_remote or self.settings.keep_remote,
            terms=terms,
            choose=choose,
            quote=partial(
                quote_of_intake,
                store=self.store,
                settings=self.settings,
                provider=provider,
                now=now,
            ),
            sharing=sharing,
            caching=caching,
        )
        run, is_new = plan(intake, source, spec, run_id=self.new_id(), now=now)
        differs = changed(before, run.parts) if is_new and before is not None else []
        why = None
        if is_new and caching is not None:
            with RequestFile(self.store.folder(run.id)) as requests:
                why = remark(requests, run.spec, caching)
        return Planned(run, is_new, differs, before, why)

    def ready_made(self, spec: Spec, *, run_id: str, source: str) -> ReadyRun:
        """A run for requests that a client of our server made. Raises UsageError."""
        provider = self.provider_of(spec)
        spec = with_defaults(spec, provider)
        self.check(provider, spec)
        intake = Intake(
            store=self.store,
            provider=provider,
            owner=self.owner,
            probe=self.probe,
            again=True,
            account=self._account(provider) if spec.executor == "batch" else None,
            keep_remote=self.settings.keep_remote,
        )
        return ReadyRun(intake, spec, run_id=run_id, source=source)

    def is_new(self, source: Source, spec: Spec) -> bool:
        """Whether nobody has asked `spec` of `source` yet; False if only its rows could tell."""
        data = None if source.requests else source.digest()
        if data is None:
            return False
        asked = with_defaults(spec, self.provider_of(spec))
        return self.store.same_run(fingerprint(parts_of(asked, data))) is None

    def is_over(self, run: Run) -> bool:
        """Whether the command of `run`, typed again, finds nothing left to do."""
        return run.state == "ended" and not self._comes_back(run)

    def _comes_back(self, run: Run) -> bool:
        counts = self.progress(run).counts
        fixable = not COME_BACK_FOR.isdisjoint(counts) and "cancelled" not in counts
        return run.state == "stopped" or (run.state == "ended" and fixable)

    def reopen(
        self,
        run: Run,
        *,
        canary: int | None = None,
        keep_remote: bool = False,
        agreement: float | None = None,
    ) -> Run:
        """Let a run go on that stopped or ended for want of a key, an account, a model or a line.

        The rows that failed for it are tried again. With a `canary` of 0, the first rows no longer
        hold back the others. With `keep_remote`, nothing of it is deleted at its provider any more.
        `agreement` is asked for of packed answers from now on; None: as before.
        """
        self.check_account(run)
        wishes = wished(run, canary=canary, keep_remote=keep_remote, agreement=agreement)
        if wishes != run:
            self.store.save_wishes(wishes)
            run = wishes
        if not self._comes_back(run):
            return run
        self.check(self.provider_of(run.spec), run.spec)
        self.store.set_state(run, "open")
        run = self.store.run(run.id)
        self._plan_wave(run, after_fix)
        return self.store.run(run.id)

    def retriable(self, run: Run, outcomes: frozenset[Outcome]) -> int:
        """How many rows `retry` would ask again. Raises UsageError for what cannot be retried."""
        if run.state == "cancelling":
            raise UsageError(
                f"run {run.id} is being cancelled; `anybatch cancel {run.id}` sees it to its end"
            )
        if run.state == "open":
            raise UsageError(f"run {run.id} is not over yet; type its command again to go on")
        self.check(self.provider_of(run.spec), run.spec)
        self.check_account(run)
        counts = self.progress(run).counts
        return sum(counts.get(outcome, 0) for outcome in with_what_stopped(run, outcomes))

    def retry(self, run: Run, outcomes: frozenset[Outcome]) -> int:
        """Plan another wave of the rows with these outcomes; how many there are.

        A run that the breaker stopped goes on as well, so what tripped it is asked again too.
        """
        rows = self.retriable(run, outcomes)
        self.store.set_state(run, "open")
        choose = asked_for(with_what_stopped(run, outcomes), run)
        return rows if self._plan_wave(self.store.run(run.id), choose) else 0

    def _plan_wave(self, run: Run, choose: Choose) -> int:
        limits_of = self.provider_of(run.spec).limits_of
        now = self.clock.now()
        return plan_wave(run, self.store, choose, limits_of=limits_of, now=now, probe=self.probe)

    def ask_to_cancel(self, run: Run) -> Run:
        """Mark `run` so that nothing more of it is sent; whoever works on it winds it up.

        It is not asked whose account it is: see `check_account`.
        """
        if run.state in ("open", "stopped"):
            self.store.set_state(run, "cancelling")
        return self.store.run(run.id)

    async def fulfil(
        self,
        run: Run,
        *,
        stop: asyncio.Event,
        pace: Pace = Pace(),
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Run:
        """Work on `run` until it is over or `stop` is set; the run as it is then.

        To wind up what is cancelled takes no provider: nothing is sent.
        """
        run = self._under_our_account(run)
        winds_up = run.state == "cancelling"
        known = AtProvider() if winds_up else self._at_provider(run)
        provider = None if winds_up else self.provider_of(run.spec, pace)
        answering = replace(self, settings=patient(self.settings, run, provider))
        engine = Engine(
            store=self.store,
            open_executor=lambda: answering.executor_for(
                self.provider_of(run.spec, pace), run.spec
            ),
            open_batches=lambda: self.batches_of(self.provider_of(run.spec, pace), run.spec),
            limits_of=no_batches if provider is None else provider.limits_of,
            owner=self.owner,
            clock=self.clock,
            jitter=self.jitter,
            lease=self.settings.lease,
            search=self.settings.search,
            at_provider=known,
            bounds=bounds_in(self.store, self.settings, self.clock, provider),
            tier_field=tier_field_of(provider),
            probe=self.probe,
            on_progress=on_progress,
            new_reader=self.reader_of,
        )
        return await engine.fulfil(run, stop=stop)

    def _at_provider(self, run: Run) -> AtProvider:
        """What is known of how its provider treats batches."""
        api = self.provider_of(run.spec).batch
        if run.spec.executor != "batch" or api is None:
            return AtProvider()
        most = api.most_waiting
        quotas = () if most is None else (Quota(measure="batches", ceiling=most),)
        return AtProvider(window=api.window, quotas=quotas)

    def reader_of(self, spec: Spec) -> Reader:
        """What reads the answers to requests of `spec`."""
        return Reader(spec)

    def executor_for(self, provider: Provider, spec: Spec) -> CallExecutor:
        """The way to get requests of `spec` answered. Loads a model or opens connections."""
        if provider.base_url is None:
            model = spec.model or ""
            calls = provider.concurrency
            return Embedded(model, api=spec.api, calls=calls, probe=self.probe)
        return Online(
            provider,
            spec=spec,
            key=key_for(provider, self.settings.environment),
            deadline=self.settings.deadline,
            clock=self.clock,
            jitter=self.jitter,
            limiter=self.limiter_for(provider),
            probe=self.probe,
        )

    def limiter_for(self, provider: Provider) -> Limiter:
        """What holds calls to `provider` back."""
        return limiter_of(provider, self.clock)

    def batches_of(
        self, provider: Provider, spec: Spec, *, hold: Hold | None = None
    ) -> BatchExecutor:
        """The way to get batches answered by a provider's batch API. Opens connections."""
        return BatchExecutor(
            provider,
            key=key_for(provider, self.settings.environment),
            spec=spec,
            deadline=self.settings.deadline,
            clock=self.clock,
            jitter=self.jitter,
            hold=hold,
            probe=self.probe,
        )

    # --- looking ---

    def alive(self, owners: set[str]) -> bool:
        """Whether any of `owners` may still be at work."""
        return bool(owners - dead_among(owners) - {self.owner})

    def progress(self, run: Run) -> Progress:
        ended = run.state == "ended"
        aside = set_aside(self.store.events(run.id, *SET_ASIDE)) if ended else 0
        waiting = run.why if run.state == "open" else None
        return progress(
            run,
            self.store.batches(run.id),
            waiting=waiting,
            set_aside=aside,
            compared=known(self.store, run),
        )

    def usual(self, run: Run) -> dict[str, Usual]:
        """How long batches of its queue are in each phase at their provider."""
        return usual_of(self.store.timings(run.queue))

    def usual_at(self, spec: Spec) -> dict[str, Usual]:
        """The same for a run that is not planned yet; nothing where no key is at hand."""
        queue = self._queue_of(spec)
        return {} if queue is None else usual_of(self.store.timings(queue))

    def quotas_at(self, spec: Spec) -> list[Quota]:
        """The limits that were learned where it would wait; none where no key is at hand."""
        queue = self._queue_of(spec)
        return [] if queue is None else self.store.quotas(queue)

    def _queue_of(self, spec: Spec) -> Queue | None:
        """None: no key says whose it is."""
        try:
            account = self._account(self.provider_of(spec))
        except BadSettings:
            return None
        return Queue(provider=spec.provider, account=account, model=spec.model)

    def held(self, run: Run) -> dict[str, Quota]:
        """The batches of `run` that may not be submitted yet, each with the limit it waits for."""
        if run.spec.executor != "batch" or run.state != "open":
            return {}
        try:
            known = self._at_provider(run)
        except UsageError:
            known = AtProvider()  # not configured here any more; what was learned of it still holds
        now = self.clock.now()
        seen = Snapshot(
            run=run,
            batches=tuple(self.store.batches(run.id)),
            quotas=(*known.quotas, *self.store.quotas(run.queue)),
            elsewhere=waiting_elsewhere(self.store, run, window=known.window, now=now),
        )
        return held_back(seen, now)

    def is_at_provider(self, run: Run) -> bool:
        """Whether a provider has batches of `run`, or may have: they go on without us."""
        there = ("submitting", "running", "ended")
        batches = self.store.batches(run.id)
        return any(
            batch.remote is not None and batch.remote.sent_at is not None and batch.status in there
            for batch in batches
        )

    def need_of(self, batch_id: str) -> Need | None:
        """What a run of this store needs for that lies at a provider of the batch of this id."""
        parts = batch_id.split("-")
        names = ("-".join(parts[:count]) for count in range(1, len(parts)))
        for run in (self.store.run(name) for name in names if self.store.has_run(name)):
            for batch in self.store.batches(run.id):
                if batch.id == batch_id and batch.status not in _OVER:
                    return "answers"
                if batch.id == batch_id and run.keep_remote:
                    return "keeping"
        return None

    def batches_at(self, provider: str) -> list[Batch]:
        """All batches of this store that go through the batch API of a provider."""
        runs = (run for run in self.store.runs(most=_MOST_RUNS) if run.spec.provider == provider)
        batches = (batch for run in runs for batch in self.store.batches(run.id))
        return [batch for batch in batches if batch.executor == "batch"]

    def left_there(self, run: Run) -> list[Batch]:
        """The batches of which a provider may have anything that is not meant to stay there."""
        return [] if run.keep_remote else list(filter(may_lie_there, self.store.batches(run.id)))

    def report(self, run: Run) -> Report:
        """What became of `run`. Reads its results only if some did not succeed."""
        events = self.store.events(run.id)
        look = self.progress(run)
        failed = set(look.counts) - {"succeeded", "cancelled"}
        return Report(
            progress=look,
            cost=cost_of(self.store, self.settings, run, now=self.clock.now()),
            repeated=repeated(events),
            set_aside=set_aside(events),
            were_late=were_late(events),
            errors=self._errors(run) if failed else [],
        )

    def _errors(self, run: Run, *, most: int = 3) -> list[tuple[str, int]]:
        messages: Counter[str] = Counter()
        for result in results(self.store, run):
            if result is None or result.failure is None or result.outcome == "cancelled":
                continue
            message = f"{result.outcome}: {result.failure.message}"
            # What is frequent comes early; a message that names its row comes once.
            if message in messages or len(messages) < _ERRORS_APART:
                messages[message] += 1
        return messages.most_common(most)

    def request(self, run: Run, n: int) -> Request:
        """What row number `n` of `run` asks, byte for byte as its first wave sends it."""
        folder = self.store.folder(run.id)
        with RequestFile(folder) as requests:
            rows = asked(folder, run) if run.is_shared else range(requests.count)
            if not 0 <= n < len(rows):
                raise UsageError(f"run {run.id} has requests 0 to {len(rows) - 1}, no number {n}")
            return structs.replace(next(iter(requests.read([rows[n]]))), n=n)

    def named_results(self, run: Run) -> Iterator[tuple[str, Result | None]]:
        """The same as `results`, each with the `custom_id` that its row had, else with ours."""
        folder = self.store.folder(run.id)
        rows = read_rows(folder, count=run.total)
        with RequestFile(folder) as file:
            requests = file.read(asked(folder, run))
            found = results(self.store, run)
            triples = zip(rows, requests, found, strict=True)
            for n, (row, request, result) in enumerate(triples):
                name = row.get("custom_id")
                ours = custom_id(run.id, n, request.body)
                yield (ours if name is None else str(name)), result

    def results(self, run: Run) -> Iterator[Result | None]:
        """What became of each request, by number."""
        return results(self.store, run)

    def joined(self, run: Run) -> Iterator[list[list[Any]]]:
        """The joined rows, in input order, in chunks; `columns` names their cells."""
        return joined_rows(self.store, run)

    def columns(self, run: Run) -> tuple[str, ...]:
        return layout_of(run).columns

    def deliver(self, run: Run, out: str | Path, *, force: bool, raw: bool) -> bool:
        """Write the joined table to `out`, all or nothing; False if it stood there already."""
        columns = self.columns(run)
        with open_sink(out, columns=columns, force=force, raw=raw, probe=self.probe) as sink:
            for rows in self.joined(run):
                sink.write(rows)
        return not sink.was_there


_OVER = ("collected", "cleaned")
_MOST_RUNS = 100_000


def open_workspace(settings: Settings) -> Workspace:
    """The workspace on this machine that `settings` name; its store is made if need be."""
    return Workspace(settings=settings, store=SqliteStore(settings.home))
