"""Runs in virtual time: the real deciding, choosing and spending over a world that is made up.

The store is a dictionary, the provider another one. What is done about a batch is done as `act` and
`remote` do it, in as many steps, and between any two of them the process may die. Prices, lengths,
durations, failures and deaths are random; the provider's books say what everything really cost.

Batches that prompt caches have a part in would bill other usage: `World.usage_of` is the place.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import ceil, inf
from typing import assert_never

from msgspec.structs import replace

from anybatch.core.budget import OVER, Cap, Purse, out_on, paid, purse_of, tier_of
from anybatch.core.model import Batch, Remote, Request, Result, Run, Spec, Terms, Tier, Usage
from anybatch.core.offers import Choice, Duration, Quote, Way, choose, offers
from anybatch.core.price import Rate, Rates, Tariff, Workload
from anybatch.core.quota import BYTES_PER_TOKEN
from anybatch.core.rescue import FLEX_TIMES, P95, TAKING_BACK, Direct
from anybatch.core.retry import summed
from anybatch.core.states import NEXT, BatchStatus, Outcome
from anybatch.core.timing import Usual
from anybatch.engine.collect import outcome_of_unrun
from anybatch.engine.decide import (
    Action,
    Alert,
    Answer,
    Cancel,
    CancelRemote,
    Clean,
    Collect,
    Finish,
    Leave,
    Poll,
    Recover,
    Replan,
    Retry,
    Snapshot,
    Stop,
    Submit,
    decide,
    way_again,
)
from anybatch.engine.spending import Allowance, Spending
from anybatch.engine.waves import Take, due_again, in_time

START = datetime(2026, 11, 20, tzinfo=UTC)
TICK = timedelta(minutes=1)
LONGEST = timedelta(days=12)
WINDOW = timedelta(hours=24)
CANCELLING = TAKING_BACK - 3 * TICK
"""The longest that an end takes which was asked for: it is seen a look later, and fetched then."""
WINDOW_OF_CALLS = 8
MOST_DEATHS = 6


class Died(Exception):
    """The process is no more."""


@dataclass(kw_only=True)
class AtProvider:
    """A batch as its provider has it."""

    intent: str
    numbers: list[int]
    tier: Tier
    began: datetime
    over: datetime
    """When it would have run all rows."""
    cancelled: datetime | None = None
    ends: datetime = START
    """When it is over, whatever was run."""
    ran: int = 0

    def word(self, now: datetime) -> str:
        if now < self.ends:
            return "in_progress" if self.cancelled is None else "cancelling"
        if self.cancelled is not None and self.cancelled < self.over:
            return "cancelled"
        return "expired" if self.over > self.ends else "completed"

    def done(self, now: datetime) -> int:
        """Rows that are run by then, evenly."""
        until = min(now, self.cancelled or now, self.ends)
        share = (until - self.began) / (self.over - self.began)
        return min(len(self.numbers), int(len(self.numbers) * share + 1e-9))


@dataclass(kw_only=True)
class Calls:
    """A batch that is being answered call by call."""

    batch: Batch
    allowance: Allowance | None
    requests: Iterator[Request]
    under_way: list[Request] = field(default_factory=list)
    due: float = 0.0
    """So many calls are over that were not taken yet."""


@dataclass(kw_only=True)
class Life:
    """What a run is made of."""

    seed: int
    rows: int
    sizes: list[int]
    terms: Terms
    prompt: float
    out: float
    most_out: float
    band: float
    wrong: float
    """By so much prompts and answers are longer than was said to be the most; 1: they are not."""
    tariff: Tariff
    takes: list[float]
    """Of the usual time, how much of it each batch takes in turn."""
    learned: Usual | None
    direct: Direct
    slower: float
    """By so much longer real time takes than it was reckoned to: up to `P95`."""
    deaths: float
    lost: float
    """So many submissions are not answered; half of these arrived."""
    fails: float
    """So many rows fail in real time."""


def life_of(seed: int) -> Life:
    chance = random.Random(seed)
    rows = int(10 ** chance.uniform(0.8, 3))
    most = chance.choice((rows, ceil(rows / 2), ceil(rows / 5)))
    sizes = [min(most, rows - first) for first in range(0, rows, most)]
    price = 10 ** chance.uniform(-1, 1)
    standard = Rates(tokens_in=Rate(price), tokens_out=Rate(5 * price))
    half = Rates(tokens_in=Rate(price / 2), tokens_out=Rate(2.5 * price))
    tiers: dict[Tier, Rates] = {"standard": standard, "batch": half}
    if chance.random() < 0.4:
        tiers["flex"] = half
    prompt, out = 10 ** chance.uniform(1.5, 3.5), 10 ** chance.uniform(0.5, 2.5)
    most_out = out * chance.choice((1.2, 2, 3))
    p95 = timedelta(minutes=chance.uniform(5, 180))
    learned = Usual(20, p95 / 2, p95) if chance.random() < 0.7 else None
    dollars = rows * (prompt * price + out * 5 * price) / 1e6
    budget = dollars * chance.choice((0.4, 0.55, 0.8, 1.1, 2, 5)) if chance.random() < 0.7 else None
    each = timedelta(seconds=10 ** chance.uniform(-2, 0.5))
    by = START + timedelta(minutes=10 ** chance.uniform(1.3, 3.2))
    return Life(
        seed=seed,
        rows=rows,
        sizes=sizes,
        terms=Terms(
            by=by if chance.random() < 0.8 else None,
            budget=budget,
            insists=chance.random() < 0.2,
        ),
        prompt=prompt,
        out=out,
        most_out=most_out,
        band=chance.choice((0.0, 0.05, 0.2)),
        wrong=chance.choice((1.0, 1.0, 1.0, 1.3)),
        tariff=Tariff(model="m", source="made up", as_of=date(2026, 11, 20), tiers=tiers),
        takes=[
            chance.uniform(0.1, 1) if chance.random() < 0.9 else chance.uniform(1, 6)
            for _ in range(64)
        ],
        learned=learned,
        direct=Direct(first=timedelta(seconds=2), each=each, flex="flex" in tiers),
        slower=chance.uniform(1, P95 * 0.9),
        deaths=chance.choice((0.0, 0.0, 0.02, 0.08)),
        lost=chance.choice((0.0, 0.0, 0.1)),
        fails=chance.choice((0.0, 0.0, 0.0, 0.05)),
    )


@dataclass(kw_only=True)
class End:
    """What became of a run, and what it really cost."""

    run: Run
    at: datetime
    choice: object
    billed: float
    exposed: float
    """The most that was out at once, as it was judged."""
    rescued: int
    replanned: int
    deaths: int
    was_late: bool
    """Whether a batch took longer than 95 of 100, and was still given its time when real time would
    have had to begin."""
    answered: int


class World:
    """One run and all that happens to it."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.chance = random.Random(-life.seed - 1)
        self.now = START
        self.quote = Quote(
            at=START,
            tariff=life.tariff,
            way=Way(tier="batch", executor="batch"),
            requests=life.rows,
            tokens_in=life.prompt,
            out=life.out,
            most_out=life.most_out,
            band=life.band,
            dollars=0.0,
            most=0.0,
            real_time=0.0,
            flat=None,
        )
        self.batches: dict[str, Batch] = {}
        self.numbers: dict[str, list[int]] = {}
        self.results: dict[str, dict[int, Outcome]] = {}
        self.there: dict[str, AtProvider] = {}
        self.succeeded: set[int] = set()
        self.in_flight: dict[int, str] = {}
        """Rows that a provider may be running, and under what."""
        self.billed = self.exposed = 0.0
        self.repeated = self.made = self.deaths = self.rescued = self.replanned = 0
        self.was_late = False
        self.mortal = True
        self.run = Run(
            id="r",
            created_at=START,
            source="made up",
            spec=Spec(provider="p", model="m", api="openai.chat", executor="batch"),
            fingerprint="",
            parts={},
            columns=(),
            total=life.rows,
            budgeted=True,
            terms=life.terms,
        )

    # --- what is decided before anything is sent ---

    def offered(self) -> Choice | None:
        """What is chosen at the start; None: nothing meets the terms."""
        life = self.life
        work = Workload(requests=life.rows, own=life.prompt, out=life.out)
        real = life.direct.takes(life.rows)
        whole = WINDOW if life.learned is None else life.learned.p95
        ways = [
            (Way(tier="standard", executor="online"), real),
            (Way(tier="batch", executor="batch"), whole),
        ]
        if life.direct.flex:
            ways.append((Way(tier="flex", executor="online"), real * FLEX_TIMES))
        found = offers(
            work,
            replace(work, out=life.most_out),
            life.tariff,
            [(way, Duration(p50=takes, p95=takes, source="made up"), ()) for way, takes in ways],
        )
        choice = choose(found, life.terms, now=START)
        return choice if isinstance(choice, Choice) else None

    def plan(self, way: Way) -> None:
        first = 0
        self.run = replace(self.run, spec=replace(self.run.spec, executor=way.executor))
        for part, size in enumerate(self.life.sizes):
            batch = Batch(
                id=f"b{part}",
                run_id="r",
                wave=1,
                part=part,
                status="planned",
                first=first,
                size=size,
                tokens=ceil(size * self.life.prompt),
                executor=way.executor,
                tier="flex" if way.tier == "flex" else None,
            )
            self.add(batch, list(range(first, first + size)))
            first += size

    def add(self, batch: Batch, numbers: list[int]) -> None:
        self.batches[batch.id] = batch
        self.numbers[batch.id] = numbers
        self.results[batch.id] = {}

    # --- what it really costs ---

    def usage_of(self, n: int, batch: Batch) -> Usage:
        """What row `n` really uses; at most as much as was said, but for a run that is `wrong`."""
        chance = random.Random(self.life.seed * 100_003 + n)
        prompt = self.life.prompt * (1 + self.life.band) * self.life.wrong * chance.uniform(0.7, 1)
        most = self.life.most_out * batch.budget_factor * self.life.wrong
        return Usage(tokens_in=int(prompt), tokens_out=int(most * chance.uniform(0.1, 1)))

    def bill(self, n: int, batch: Batch) -> None:
        self.billed += paid(self.purse(), batch, self.usage_of(n, batch))

    def purse(self) -> Purse:
        budget = self.life.terms.budget
        caps = (Cap(of="the budget", dollars=inf if budget is None else budget),)
        return purse_of(self.quote, caps, self.batches.values(), repeated=self.repeated)

    # --- never twice ---

    def takes_up(self, numbers: list[int], whose: str) -> None:
        """Somebody begins to run these rows: nobody else is at it, and none has its answer."""
        for n in numbers:
            assert n not in self.succeeded, f"row {n} is answered, and is sent again by {whose}"
            assert n not in self.in_flight, f"row {n} goes by {whose} and by {self.in_flight[n]}"
            self.in_flight[n] = whose

    def let_go(self, numbers: list[int]) -> None:
        for n in numbers:
            self.in_flight.pop(n, None)

    # --- the store ---

    def save(self, batch: Batch) -> None:
        before = self.batches[batch.id].status
        assert batch.status == before or batch.status in NEXT[before], (before, batch.status)
        self.batches[batch.id] = batch

    def record(self, batch: Batch, outcomes: dict[int, Outcome]) -> Batch:
        """Commit results of a batch that have none."""
        mine = self.results[batch.id]
        assert not outcomes.keys() & mine.keys()
        counts: dict[Outcome, int] = {}
        used = Usage()
        for n, outcome in outcomes.items():
            mine[n] = outcome
            counts = summed(counts, {outcome: 1})
            if outcome == "succeeded":
                self.succeeded.add(n)
                used += self.usage_of(n, batch)
        return replace(batch, counts=summed(batch.counts, counts), usage=batch.usage + used)


class Process:
    """One process at work on the run, until it dies or is done."""

    def __init__(self, world: World, name: str, dead: frozenset[str]) -> None:
        self.world = world
        self.name = name
        self.dead = dead
        self.calls: dict[str, Calls] = {}
        self.spending = Spending(lambda: list(world.batches.values()))

    def may_die(self) -> None:
        world = self.world
        if world.mortal and world.chance.random() < world.life.deaths:
            raise Died

    def snapshot(self) -> Snapshot:
        world, life = self.world, self.world.life
        batches = tuple(world.batches.values())
        purse = None if life.terms.budget is None else world.purse()
        self.spending.look(purse)
        return Snapshot(
            run=world.run,
            batches=batches,
            dead=self.dead,
            ours=frozenset(self.calls),
            free=2 - len(self.calls),
            usual={} if life.learned is None else {"in_progress": life.learned},
            window=WINDOW,
            purse=purse,
            least=self.spending.least,
            direct=life.direct if world.run.spec.executor == "batch" else None,
        )

    def work(self) -> None:
        """Until nothing is to be done at this moment."""
        for _ in range(1_000):
            self.note_what_is_out()
            actions = decide(self.snapshot(), self.world.now)
            for action in actions:
                self.act(action)
            if not actions or self.world.run.state != "open":
                return
        raise AssertionError("it never rests")

    def note_what_is_out(self) -> None:
        world = self.world
        purse = world.purse()
        out = sum(out_on(purse, batch) for batch in world.batches.values())
        world.exposed = max(world.exposed, out)

    def act(self, action: Action) -> None:
        world = self.world
        match action:
            case Submit(batch=batch):
                self.submit(self.claim(batch, "submitting"))
            case Recover(batch=batch):
                self.recover(self.claim(batch, "submitting"))
            case Poll(batches=batches):
                for batch in batches:
                    self.look(batch)
            case CancelRemote(batch=batch, rescue=rescue):
                self.cancel(self.claim(batch, "running"), rescue=rescue)
            case Collect(batch=batch):
                self.collect(self.claim(batch, "ended"))
            case Clean(batch=batch):
                world.save(replace(self.claim(batch, "collected"), status="cleaned", owner=None))
            case Replan():
                self.replan(action)
            case Answer(batch=batch):
                self.answer(batch)
            case Retry():
                self.retry()
            case Stop(why=why):
                world.run = replace(world.run, state="stopped", why=why)
            case Finish():
                world.run = replace(world.run, state="ended")
            case Alert(batch=batch, late=late):
                known = batch.remote or Remote()
                world.save(replace(batch, remote=replace(known, late=late)))
            case Cancel() | Leave():
                raise AssertionError(action)
            case _:
                assert_never(action)

    def claim(self, batch: Batch, status: BatchStatus, *, window: int = 0) -> Batch:
        self.may_die()
        if batch.owner is not None and batch.window:
            self.world.repeated += min(batch.window, batch.size - batch.answered)
        claimed = replace(batch, status=status, owner=self.name, window=window)
        self.world.save(claimed)
        if self.world.life.terms.budget is not None:
            self.spending.look(self.world.purse())
        self.may_die()
        return claimed

    def free(self, batch: Batch, *, after: timedelta | None = None) -> None:
        due = None if after is None else self.world.now + after
        self.world.save(replace(batch, owner=None, due=due))
        self.may_die()

    # --- at a provider ---

    def submit(self, batch: Batch) -> None:
        world, life = self.world, self.world.life
        remote = replace(batch.remote or Remote(), sent_at=world.now)
        batch = replace(batch, remote=remote)
        world.save(batch)
        self.may_die()
        arrives = answered = world.chance.random() >= life.lost
        if not answered:
            arrives = world.chance.random() < 0.5
        if arrives:
            self.create(batch)
        self.may_die()
        if answered:
            self.runs(batch)
        else:
            self.free(batch)

    def create(self, batch: Batch) -> None:
        world, life = self.world, self.world.life
        world.takes_up(world.numbers[batch.id], batch.id)
        share = life.takes[world.made % len(life.takes)]
        usual = WINDOW / 2 if life.learned is None else life.learned.p95
        world.made += 1
        over = world.now + usual * share
        world.there[batch.id] = AtProvider(
            intent=batch.id,
            numbers=world.numbers[batch.id],
            tier=tier_of(batch),
            began=world.now,
            over=over,
            ends=min(over, world.now + WINDOW),
        )

    def runs(self, batch: Batch) -> None:
        remote = replace(
            batch.remote or Remote(), id=batch.id, status="in_progress", confirmed=True, looks=0
        )
        remote = replace(remote, phase_since=self.world.now)
        self.free(replace(batch, status="running", remote=remote), after=TICK)

    def recover(self, batch: Batch) -> None:
        remote = batch.remote
        assert remote is not None
        if batch.id in self.world.there:
            self.runs(batch)
        elif remote.looks < 2:
            self.free(replace(batch, remote=replace(remote, looks=remote.looks + 1)), after=TICK)
        else:
            again = Remote(attempt=remote.attempt + 1)
            self.free(replace(batch, status="planned", remote=again))

    def look(self, batch: Batch) -> None:
        world = self.world
        there, remote = world.there[batch.id], batch.remote
        assert remote is not None
        self.execute(batch, there)
        remote = replace(remote, status=there.word(world.now), done=there.done(world.now))
        self.note_lateness(batch, there)
        if world.now < there.ends:
            world.save(replace(batch, remote=remote, due=world.now + TICK))
        else:
            ended = replace(remote, results=("file",) if there.ran else ())
            world.save(replace(batch, status="ended", remote=ended, due=None))
        self.may_die()

    def note_lateness(self, batch: Batch, there: AtProvider) -> None:
        """Whether it is beyond what 95 of 100 take, when it is too late for real time already."""
        life, by = self.world.life, self.world.life.terms.by
        if by is None or life.learned is None or there.over <= there.began + life.learned.p95:
            return
        left = sum(b.size for b in self.world.batches.values())
        given = there.began + life.learned.p95
        if given <= by and given + TICK + TAKING_BACK + life.direct.takes(left) > by:
            self.world.was_late = True

    def execute(self, batch: Batch, there: AtProvider) -> None:
        """The provider has run what it has run by now, and writes that into its books."""
        until = there.done(self.world.now)
        for n in there.numbers[there.ran : until]:
            self.world.bill(n, batch)
        there.ran = max(there.ran, until)

    def cancel(self, batch: Batch, *, rescue: bool) -> None:
        world, remote = self.world, batch.remote
        assert remote is not None
        there = world.there[batch.id]
        self.execute(batch, there)
        if there.cancelled is None and world.now < there.ends:
            there.cancelled = world.now
            there.ends = min(there.ends, world.now + CANCELLING * world.chance.random())
        self.may_die()
        world.rescued += rescue
        self.free(replace(batch, remote=replace(remote, cancelled=True, rescued=rescue)))

    def collect(self, batch: Batch) -> None:
        world, remote = self.world, batch.remote
        assert remote is not None
        there = world.there[batch.id]
        self.execute(batch, there)
        assert world.now >= there.ends, "it was fetched before it was over"
        ran = there.numbers[: there.ran]
        outcome = outcome_of_unrun(remote)[0]
        outcomes: dict[int, Outcome] = dict.fromkeys(there.numbers, outcome)
        outcomes |= dict.fromkeys(ran, "succeeded")
        world.let_go(there.numbers)
        collected = world.record(batch, outcomes)
        world.save(replace(collected, status="collected", owner=None))
        self.may_die()

    def replan(self, action: Replan) -> None:
        world = self.world
        batch = self.claim(action.batch, "submitting")
        assert not batch.answered
        assert batch.id not in world.there, "something of it was sent"
        world.replanned += 1
        numbers = world.numbers.pop(batch.id)
        del world.batches[batch.id], world.results[batch.id]
        most = action.most or len(numbers)
        for place, start in enumerate(range(0, len(numbers), most)):
            held = numbers[start : start + most]
            piece = replace(
                batch,
                id=f"{batch.id}-{place}",
                status="planned",
                owner=None,
                remote=None,
                first=held[0],
                size=len(held),
                tokens=ceil(len(held) * world.life.prompt),
                executor=action.executor,
                tier=action.tier,
            )
            world.add(piece, held)
        self.may_die()

    def retry(self) -> None:
        """The next wave, of what the real rules take into it and as they have it go."""
        world = self.world
        seen = self.snapshot()
        choose_ = in_time(
            due_again(world.run), lambda batch, why: way_again(batch, why, seen, world.now)
        )
        groups: dict[Take, list[int]] = {}
        for batch in list(world.batches.values()):
            taken: dict[Outcome, int] = {}
            for outcome, count in batch.counts.items():
                take = choose_(batch, outcome) if count > batch.retried.get(outcome, 0) else None
                if take is None:
                    continue
                mine = [n for n, o in world.results[batch.id].items() if o == outcome]
                left = mine[batch.retried.get(outcome, 0) :]
                groups.setdefault(take, []).extend(left)
                taken[outcome] = len(left)
            if taken:
                retried = summed(batch.retried, taken)
                world.batches[batch.id] = replace(batch, retried=retried)
        assert groups, "a wave of nothing"
        wave = world.run.wave + 1
        for part, (take, numbers) in enumerate(groups.items()):
            batch = Batch(
                id=f"w{wave}-{part}",
                run_id="r",
                wave=wave,
                attempt=take.attempt,
                part=part,
                status="planned",
                first=numbers[0],
                size=len(numbers),
                tokens=ceil(len(numbers) * world.life.prompt),
                budget_factor=take.factor,
                executor=take.executor or world.run.spec.executor or "online",
                tier=take.tier or None,
            )
            world.add(batch, numbers)
        world.run = replace(world.run, wave=wave)

    # --- in real time ---

    def answer(self, batch: Batch) -> None:
        world = self.world
        claimed = self.claim(batch, "running", window=WINDOW_OF_CALLS)
        left = [n for n in world.numbers[batch.id] if n not in world.results[batch.id]]
        length = int(world.life.prompt * BYTES_PER_TOKEN)
        requests = iter([Request(n=n, body=b" " * length) for n in left])
        allowance = None
        if world.life.terms.budget is not None:
            opened = self.spending.allowed(claimed)
            allowance = opened.__enter__()
            assert allowance is not None
            requests = allowance.of(requests)
            self.closers[batch.id] = opened
        self.calls[batch.id] = Calls(batch=claimed, allowance=allowance, requests=requests)
        self.pump(self.calls[batch.id])

    @property
    def closers(self) -> dict[str, object]:
        return self.__dict__.setdefault("_closers", {})

    def pump(self, calls: Calls) -> None:
        """Send as many calls as may be under way, and the budget lets."""
        while len(calls.under_way) < WINDOW_OF_CALLS:
            request = next(calls.requests, None)
            if request is None:
                return
            self.world.takes_up([request.n], calls.batch.id)
            calls.under_way.append(request)

    def pass_time(self, span: timedelta) -> None:
        """What is answered meanwhile."""
        life = self.world.life
        for calls in list(self.calls.values()):
            slow = FLEX_TIMES if calls.batch.tier == "flex" else 1
            each = life.direct.each * life.slower * slow * len(self.calls)
            calls.due += span / each
            while calls.due >= 1 and calls.under_way:
                calls.due -= 1
                self.over(calls, calls.under_way.pop(0))
                self.pump(calls)
            if not calls.under_way:
                self.close(calls)

    def over(self, calls: Calls, request: Request) -> None:
        """One call is over: it is billed, settled and recorded."""
        world = self.world
        failed = world.chance.random() < world.life.fails
        outcome: Outcome = "rate_limited" if failed else "succeeded"
        usage = Usage() if failed else world.usage_of(request.n, calls.batch)
        if not failed:
            world.bill(request.n, calls.batch)
        world.let_go([request.n])
        if calls.allowance is not None:
            calls.allowance.settle(Result(n=request.n, outcome=outcome, usage=usage))
        calls.batch = world.record(calls.batch, {request.n: outcome})
        world.save(calls.batch)

    def close(self, calls: Calls) -> None:
        batch = calls.batch
        closer = self.closers.pop(batch.id, None)
        if closer is not None:
            closer.__exit__(None, None, None)  # type: ignore[attr-defined]
        del self.calls[batch.id]
        over = batch.answered == batch.size
        status: BatchStatus = "collected" if over else "running"
        self.world.save(replace(batch, status=status, owner=None, window=0))

    def die(self) -> None:
        """What was under way is over there, and billed, and nobody here will ever know."""
        for calls in self.calls.values():
            for request in calls.under_way:
                self.world.bill(request.n, calls.batch)
                self.world.let_go([request.n])


def simulate(life: Life) -> End | None:
    """One run to its end; None: it is refused, because nothing that is offered meets its terms."""
    world = World(life)
    choice = world.offered()
    insists = life.terms.insists
    if choice is None and not insists:
        return None
    way = Way(tier="batch", executor="batch") if insists or choice is None else choice.offer.way
    world.plan(way)
    dead: frozenset[str] = frozenset()
    process = Process(world, "p0", dead)
    while world.run.state == "open":
        assert world.now - START < LONGEST, "it never ends"
        try:
            process.work()
            slow = TICK if world.now - START < WINDOW * 2 else TICK * 10
            span = TICK / 6 if process.calls else slow
            world.now += span
            process.pass_time(span)
            process.may_die()
        except Died:
            world.deaths += 1
            process.die()
            dead |= {process.name}
            world.now += TICK
            world.mortal = world.deaths < MOST_DEATHS
            process = Process(world, f"p{world.deaths}", dead)
    answered = len(world.succeeded)
    return End(
        run=world.run,
        at=world.now,
        choice=choice,
        billed=world.billed,
        exposed=world.exposed,
        rescued=world.rescued,
        replanned=world.replanned,
        deaths=world.deaths,
        was_late=world.was_late,
        answered=answered,
    )


def stopped_for_money(end: End) -> bool:
    return end.run.state == "stopped" and (end.run.why or "").startswith(OVER)


def must_be_in_time(life: Life, end: End) -> bool:
    """Whether an offer could meet the deadline, and nothing befell the run that nobody promised to
    make good.

    These are: a batch that took longer than 95 of 100 do, and was still given its time when real
    time would have had to begin; rows that failed; and a budget that real time does not fit into if
    every answer is as long as it may be, those included that are asked for again after a death.
    """
    terms = life.terms
    if terms.by is None or end.choice is None or life.fails or end.was_late:
        return False
    again = 1 + end.deaths * 2 * WINDOW_OF_CALLS / life.rows
    return terms.budget is None or worst_case(life) * life.wrong * again <= terms.budget


def worst_case(life: Life) -> float:
    """What real time costs at most."""
    rates = life.tariff.tiers["standard"]
    prompt = life.prompt * (1 + life.band)
    each = prompt * rates.tokens_in.base + life.most_out * rates.tokens_out.base
    return life.rows * each / 1_000_000
