"""What to do next, given what is written down and the time.

Nothing here reads a clock, opens a file or awaits: `decide` is a function of its arguments.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from ..core.budget import Purse, Spending
from ..core.heads import early
from ..core.model import Batch, ExecutorName, Late, Run, Tier
from ..core.packing import Compared
from ..core.quota import Load, Quota, held_by, load_of, total, waits_there
from ..core.rescue import Again, Deadline, Direct, again, left_in, whole
from ..core.retry import invalid_in_canary, left_to_retry, refusal_of, standing, tripped
from ..core.states import OUTCOMES, Outcome
from ..core.timing import Usual, is_news, lateness


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Claim the batch and answer what is left of it."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Claim the batch and give what is left of it the outcome `cancelled`."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Claim the batch and submit it to its provider."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover:
    """Find out whether the provider took the batch when it was last submitted."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """Ask the provider how these batches are."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRemote:
    """Ask the provider to end the batch."""

    batch: Batch
    rescue: bool = False
    """Whether what it leaves goes another way, to be done in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Fetch what the provider has of the batch, and record it."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Clean:
    """Delete what the provider still keeps of the batch: all of it is here."""

    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Replan:
    """Claim the batch, of which nothing was sent, and put others with its requests in its place."""

    batch: Batch
    executor: ExecutorName
    tier: Tier | None = None
    most: int | None = None
    """So many requests in each at most; None: as its executor takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Say that the batch takes unusually long at its provider."""

    batch: Batch
    late: Late


@dataclass(frozen=True, slots=True)
class Compare:
    """See what a trial of packs has shown."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Plan the next wave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What is left would fail the same way."""

    why: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing can be learned now of what is left. It stays as it is, for who comes later."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Every row has its outcome."""


LISTED_FROM = 5
"""So many batches are worth a look at a provider's list instead of one each."""

Remotely = Submit | Recover | CancelRemote | Collect | Clean | Replan
"""The steps of a batch that goes through a provider's batch API, but for looking at it."""

Action = Answer | Cancel | Remotely | Poll | Alert | Compare | Retry | Stop | Leave | Finish

LONGEST_PAUSE = timedelta(minutes=30)
"""Nothing is put off for longer: what is, was put off by a clock that was ahead."""

_TRIED_FOR = timedelta(hours=24)
"""So long a process goes on with batches of which no step gets through."""

STEPS_AT_ONCE = 4
"""Steps of one kind that a process takes at once: so none waits until many of another are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is written down about a run, and who is looking."""

    run: Run
    batches: tuple[Batch, ...]
    dead: frozenset[str] = frozenset()
    """Owners that are known to have died, whatever their lease says."""
    ours: frozenset[str] = frozenset()
    """The batches this process is working on. A lease that ran out does not make us start twice."""
    free: int = 1
    """How many more batches this process can work on call by call."""
    under_way: Mapping[type[Remotely], int] = field(default_factory=dict)
    """How many steps of each kind this process is taking of batches at a provider."""
    quotas: tuple[Quota, ...] = ()
    """The limits of what may wait there at once."""
    elsewhere: Load = Load()
    """What waits there already of other runs."""
    usual: Mapping[str, Usual] = field(default_factory=dict)
    """How long batches are in each phase there."""
    window: timedelta | None = None
    """After which the provider gives up what it has not run; None: it never does."""
    looking: bool = False
    """Whether this process is asking a provider how batches are."""
    looks: Mapping[str, datetime] = field(default_factory=dict)
    """When this process looks again at batches in which it last saw nothing new."""
    longest_pause: timedelta = LONGEST_PAUSE
    began: datetime | None = None
    """When this process began to work on the run."""
    purse: Purse | None = None
    """What may be spent; None: as much as it takes."""
    unpriced: str | None = None
    """Why a budget that there is cannot be held; None: it can, or there is none."""
    least: Mapping[str, float] = field(default_factory=dict)
    """What the next call of a batch may cost, where that is known to be more than others'."""
    direct: Direct | None = None
    """How fast rows are answered in real time; None: nobody knows."""
    overflows: bool = False
    """Whether real time has to wait so long for its rate limits that the rest goes by batch."""
    compared: Compared | None = None
    """What a trial of packs has shown, once that was looked at."""

    def is_past(self, moment: datetime, now: datetime) -> bool:
        """Whether what was put off until `moment` is due: a clock may have been set back since."""
        return moment <= now or moment - now > self.longest_pause


def decide(seen: Snapshot, now: datetime) -> list[Action]:
    """The actions due. An empty list: wait, or nothing is left."""
    match seen.run.state:
        case "ended" | "stopped":
            return []
        case "open":
            return _go_on(seen, now)
        case "cancelling":
            return _wind_up(seen, now)
    assert_never(seen.run.state)


def _go_on(seen: Snapshot, now: datetime) -> list[Action]:
    cause = tripped(seen.batches)
    unanswered = [batch for batch in seen.batches if not _is_answered(batch)]
    uncleaned = [batch for batch in seen.batches if _is_uncleaned(batch)]
    if cause is not None:
        # What a provider has taken is paid for: it is waited for and fetched before we stop.
        taken = [batch for batch in unanswered if _is_taken(batch)]
        if taken and not _none_gets_through(taken, now, seen):
            return _steps([*taken, *uncleaned], now, seen, as_it_is=True)
        return _last(Stop(why=_of_refusal(cause)), uncleaned, now, seen)
    if seen.unpriced is not None and unanswered and not any(map(_is_taken, unanswered)):
        return _last(Stop(why=seen.unpriced), uncleaned, now, seen)
    if seen.run.canary and not _are_others_sent(seen):
        canary = [batch for batch in seen.batches if batch.first < seen.run.canary]
        if not all(map(_is_answered, canary)):
            return _attempts([b for b in canary if not _is_cleaned(b)], now, seen)
        is_trial = any(batch.trial for batch in canary)
        if is_trial and seen.compared is None:
            return [Compare()]
        why = _what_canary_says(canary, seen) if len(canary) < len(seen.batches) else None
        if why is not None:
            return _last(Stop(why=why), uncleaned, now, seen)
    if unanswered and any(_waits_for_a_rescue(batch, seen) for batch in seen.batches):
        return [Retry()]
    if unanswered:
        return _attempts([*unanswered, *uncleaned], now, seen)
    if any(left_to_retry(batch, budgeted=seen.run.budgeted) for batch in seen.batches):
        return [Retry()]
    return _last(Finish(), uncleaned, now, seen)


def _waits_for_a_rescue(batch: Batch, seen: Snapshot) -> bool:
    """Whether rows were taken back from it to be done in time: they do not wait for others."""
    is_rescued = batch.remote is not None and batch.remote.rescued and _is_answered(batch)
    return is_rescued and bool(left_to_retry(batch, budgeted=seen.run.budgeted))


def _last(
    end: Stop | Finish, uncleaned: list[Batch], now: datetime, seen: Snapshot
) -> list[Action]:
    """What is left to do before the `end`: nobody would come back for what is all here."""
    return _steps(uncleaned, now, seen) if uncleaned else [end]


def _attempts(batches: list[Batch], now: datetime, seen: Snapshot) -> list[Action]:
    """The next steps, unless none has got through for so long that nobody waits any more."""
    unanswered = [batch for batch in batches if not _is_answered(batch)]
    if _none_gets_through(unanswered, now, seen):
        return [Stop(why=_of_failing(unanswered))]
    actions = _steps(batches, now, seen)
    if seen.purse is not None and not actions and not any(map(_is_uncleaned, batches)):
        return _unaffordable(unanswered, now, seen)
    return actions


def _unaffordable(unanswered: list[Batch], now: datetime, seen: Snapshot) -> list[Action]:
    """What is done where the budget leaves nothing to be sent: a part of a batch, or no more."""
    money = Spending(seen.purse, seen.batches, seen.least)
    for batch in unanswered:
        if not _is_free(batch, now, seen) or _is_taken(batch) or money.lets(batch, takes=False):
            return []
    cut = [(batch, most) for batch in unanswered if (most := money.part_of(batch))]
    for batch, most in cut[:1]:
        return [Replan(batch=batch, executor="batch", tier=batch.tier, most=most)]
    return [Stop(why=money.why_stopped(unanswered))]


def _none_gets_through(batches: list[Batch], now: datetime, seen: Snapshot) -> bool:
    return all(_gets_not_through(batch, now, seen) for batch in batches)


def _gets_not_through(batch: Batch, now: datetime, seen: Snapshot) -> bool:
    """Whether this process has tried for long enough to take any step of a batch."""
    since = None if batch.remote is None else batch.remote.failing_since
    if since is None:
        return False
    return now - max(since, seen.began or since) > _TRIED_FOR


def _of_failing(batches: list[Batch]) -> str:
    first = batches[0]
    why = first.remote.why if first.remote is not None else None
    others = f" and of {len(batches) - 1} others" if len(batches) > 1 else ""
    return f"for a day no step of batch {first.id}{others} got through at the provider: {why}"


def _are_others_sent(seen: Snapshot) -> bool:
    """Whether more went out than the rows that are tried first: these have been good enough.

    Until then every batch begins with one of them: they may have been cut, or asked once more.
    """
    others = (batch for batch in seen.batches if batch.first >= seen.run.canary)
    return any(batch.status != "planned" and not batch.reused for batch in others)


def _of_refusal(cause: Outcome) -> str:
    return f"{cause}: {OUTCOMES[cause].meaning}"


def _what_canary_says(canary: list[Batch], seen: Snapshot) -> str | None:
    """Why the other rows are not sent; None: they may go."""
    bad = invalid_in_canary(standing(canary))
    if bad is not None:
        cause = refusal_of(canary)
        return _of_canary(*bad) if cause is None else _of_refusal(cause)
    if seen.compared is None or seen.compared.shows(seen.run.terms.agreement):
        return None
    return (
        f"{seen.compared.words}. That is below the agreement of {seen.run.terms.agreement:.0%} "
        "asked for, so the others were not sent; leave out --pack, which makes a new run, ask for "
        "less by --pack-agreement, or have them sent all the same by --no-canary"
    )


def _of_canary(invalid: int, judged: int) -> str:
    return (
        f"{invalid} of the first {judged} rows have no valid answer, so the others were not sent; "
        "mend the prompt or the schema, which makes a new run, or have the others sent all the "
        "same by --no-canary"
    )


def _wind_up(seen: Snapshot, now: datetime) -> list[Action]:
    unanswered = [batch for batch in seen.batches if not _is_answered(batch)]
    uncleaned = [batch for batch in seen.batches if _is_uncleaned(batch)]
    if not unanswered and not uncleaned:
        return [Finish()]
    if not uncleaned and _none_gets_through(unanswered, now, seen):
        return [Leave()]
    return _steps([*unanswered, *uncleaned], now, seen, ending=True)


def _steps(
    batches: list[Batch],
    now: datetime,
    seen: Snapshot,
    *,
    ending: bool = False,
    as_it_is: bool = False,
) -> list[Action]:
    """The next step of each batch that is due and free, as many as this process can take.

    With `as_it_is`, each stays where it is, however late.
    """
    free, under_way = seen.free, Counter(seen.under_way)
    held = held_back(seen, now)
    money, by = Spending(seen.purse, seen.batches, seen.least), _deadline(seen, now)
    too_early = frozenset() if ending else early(seen.batches)
    actions: list[Action] = []
    waiting: list[Batch] = []
    not_yet: list[Batch] = []
    for batch in batches:
        if not _is_free(batch, now, seen):
            continue
        waits = batch.id in too_early and batch.executor == (seen.run.spec.executor or "online")
        late = None if seen.looking else _unsaid(batch, now, seen)
        action = _ending(batch) if ending else next_step(batch)
        if not (ending or as_it_is):
            is_held = waits or batch.id in held
            action = _instead(action, seen, money, by, held=is_held) or action
        if waits and not isinstance(action, Replan):
            continue
        if late is not None:
            actions.append(Alert(batch=batch, late=late))
        elif isinstance(action, Poll):
            (waiting if _is_worth_a_look(batch, now, seen) else not_yet).append(batch)
        elif not (_is_due(batch, now, seen) or _is_at_once(action)):
            continue
        elif isinstance(action, Answer | Cancel):
            if isinstance(action, Answer) and not money.lets(batch, takes=free > 0):
                continue
            free -= 1
            actions += [action] if free >= 0 else []
        elif not (isinstance(action, Submit) and batch.id in held):
            goes = under_way[type(action)] < STEPS_AT_ONCE
            if isinstance(action, Submit) and not money.lets(batch, takes=goes):
                continue
            under_way[type(action)] += 1
            actions += [action] if goes else []
    if waiting and not seen.looking:
        # A list tells of all at once: then none needs a look of its own a moment later.
        listed = len(waiting) + len(not_yet) >= LISTED_FROM
        actions.append(Poll(batches=(*waiting, *(not_yet if listed else ()))))
    return actions


def _deadline(seen: Snapshot, now: datetime) -> Deadline | None:
    """By when the run is to be done, and what there is to go by; None: nobody said, or knows."""
    if seen.direct is None or seen.run.terms.by is None:
        return None
    return Deadline(
        by=seen.run.terms.by,
        insists=seen.run.terms.insists,
        direct=seen.direct,
        left=left_in(seen.batches, budgeted=seen.run.budgeted),
        takes=whole(seen.usual, seen.window),
        now=now,
    )


def _instead(
    action: Action, seen: Snapshot, money: Spending, by: Deadline | None, *, held: bool
) -> CancelRemote | Replan | None:
    """What is done about a batch instead, so that the run is done in time; None: nothing."""
    match action:
        case Answer(batch=batch) if seen.overflows and _may_overflow(batch):
            return Replan(batch=batch, executor="batch")
        case Submit(batch=batch) if by is not None and not batch.answered:
            if by.is_too_near(held=held) and money.spares(batch, by.tier):
                return Replan(batch=batch, executor="online", tier=by.tier)
        case Poll(batches=(batch,)) if by is not None:
            if by.is_missed_by(batch) and money.spares(batch, by.tier):
                return CancelRemote(batch=batch, rescue=True)
    return None


def _may_overflow(batch: Batch) -> bool:
    """Whether nothing of a batch that is to be answered in real time was asked yet."""
    return batch.executor == "online" and batch.status == "planned" and not batch.answered


def way_again(batch: Batch, outcome: Outcome, seen: Snapshot, now: datetime) -> Again | None:
    """How the next wave asks for rows of `batch` again; None: as rows usually go."""
    money = Spending(seen.purse, seen.batches, seen.least)
    return again(batch, outcome, by=_deadline(seen, now), money=money)


def _is_at_once(action: Action) -> bool:
    """Whether a step need not wait for its moment: to give up, unless that failed a moment ago."""
    if isinstance(action, CancelRemote):
        remote = action.batch.remote
        return remote is None or not (remote.tries or remote.failing_since)
    return isinstance(action, Cancel)


def _unsaid(batch: Batch, now: datetime, seen: Snapshot) -> Late | None:
    """What is unusual about how long a batch takes and was not said yet."""
    late = lateness(batch, usual=seen.usual, window=seen.window, now=now)
    known = None if batch.remote is None else batch.remote.late
    return late if is_news(late, known) else None


def held_back(seen: Snapshot, now: datetime) -> dict[str, Quota]:
    """The batches that may not be submitted yet, by their ids, each with the limit it waits for.

    Those that come first go first, as many together as the limits let. Where nothing of the run
    waits at the provider, one may always go: else a limit that was learned wrong would never be
    found out, and nobody may be at work on other runs.
    """
    if not seen.quotas:
        return {}
    ours = total(batch for batch in seen.batches if waits_there(batch) or _goes(batch, seen))
    held: dict[str, Quota] = {}
    too_early = early(seen.batches)
    for batch in seen.batches:
        if not _is_to_be_submitted(batch) or batch.id in seen.ours or batch.id in too_early:
            continue
        load = load_of(batch)
        quota = held_by(load, seen.elsewhere + ours, seen.quotas, now)
        if quota is not None and ours.batches:
            held[batch.id] = quota
        elif _is_due(batch, now, seen) and _is_free(batch, now, seen):
            ours += load
    return held


def _is_to_be_submitted(batch: Batch) -> bool:
    return batch.executor == "batch" and (
        batch.status == "planned" or (batch.status == "submitting" and not _may_exist(batch))
    )


def _goes(batch: Batch, seen: Snapshot) -> bool:
    """Whether this process is submitting the batch at the moment."""
    return batch.id in seen.ours and _is_to_be_submitted(batch)


def _is_worth_a_look(batch: Batch, now: datetime, seen: Snapshot) -> bool:
    looks = seen.looks.get(batch.id)
    return _is_due(batch, now, seen) and (looks is None or seen.is_past(looks, now))


def next_step(batch: Batch) -> Answer | Remotely | Poll:
    """What is done about it next, once it is due."""
    if batch.executor != "batch":
        return Answer(batch=batch)
    match batch.status:
        case "planned":
            return Submit(batch=batch)
        case "submitting":
            return Recover(batch=batch) if _may_exist(batch) else Submit(batch=batch)
        case "running":
            return Poll(batches=(batch,))
        case "ended":
            return Collect(batch=batch)
        case "collected" | "cleaned":
            return Clean(batch=batch)
    assert_never(batch.status)


def _ending(batch: Batch) -> Cancel | Remotely | Poll:
    """The next step of a batch of a cancelled run: what is paid for is fetched all the same.

    A batch that was only guessed is waited for: it may be somebody else's, and is not ours to end.
    """
    if not _is_taken(batch) and not _is_answered(batch):
        return Cancel(batch=batch)
    remote = batch.remote
    if batch.status == "running" and remote and not (remote.cancelled or remote.guessed):
        return CancelRemote(batch=batch)
    step = next_step(batch)
    assert not isinstance(step, Answer)
    return step


def _may_exist(batch: Batch) -> bool:
    """Whether a submission is under way whose answer we do not have."""
    return batch.remote is not None and batch.remote.sent_at is not None


def may_lie_there(batch: Batch) -> bool:
    """Whether a provider may have anything of it: the batch itself, its upload, its results."""
    remote = batch.remote
    if remote is None or batch.status == "cleaned":
        return False
    if remote.sent_at is not None or remote.id is not None or remote.input_file is not None:
        return True
    # The answer to an upload may have been lost, unless each one was refused.
    return batch.status != "collected" or remote.tries > 0


def _is_taken(batch: Batch) -> bool:
    """Whether a provider has the batch, or may have it."""
    if batch.executor != "batch":
        return False
    return batch.status in ("running", "ended") or (
        batch.status == "submitting" and _may_exist(batch)
    )


def _is_answered(batch: Batch) -> bool:
    """Whether every request of the batch has its result."""
    match batch.status:
        case "collected" | "cleaned":
            return True
        case "planned" | "submitting" | "running" | "ended":
            return False
    assert_never(batch.status)


def _is_cleaned(batch: Batch) -> bool:
    """Whether nothing is left to do about the batch."""
    return _is_answered(batch) and not _is_uncleaned(batch)


def _is_uncleaned(batch: Batch) -> bool:
    """Whether a provider still keeps something of a batch that is all here."""
    return batch.status == "collected" and batch.remote is not None


def _is_due(batch: Batch, now: datetime, seen: Snapshot) -> bool:
    return batch.due is None or seen.is_past(batch.due, now)


def _is_free(batch: Batch, now: datetime, seen: Snapshot) -> bool:
    """Whether nobody alive owns `batch`."""
    if batch.id in seen.ours:
        return False
    if batch.owner is None or batch.owner in seen.dead:
        return True
    return batch.lease_until is None or batch.lease_until <= now
