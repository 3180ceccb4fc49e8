"""What of a run is no longer done by its deadline as it is, and how it is.

A batch is left where it is as long as 95 of 100 of its kind would end in time. One that takes
longer than these goes on until the last moment from which real time still makes it: what it does
meanwhile costs half.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from .budget import Spending
from .model import Batch, ExecutorName, Tier
from .retry import left_to_retry
from .states import Outcome
from .timing import Usual

TAKING_BACK = timedelta(minutes=10)
"""So long it may take until a cancelled batch has ended and what it did is here: OpenAI says that
it takes up to ten minutes."""
FLEX_TIMES = 4
"""About so many times as long as in real time takes what is sent by flex; nobody promises more."""
P95 = 1.5
"""By so much more than reckoned real-time work may take."""


class Direct(msgspec.Struct, frozen=True, kw_only=True):
    """How fast rows are answered in real time."""

    first: timedelta
    """For the first one."""
    each: timedelta
    """For each more, under the limits that are known."""
    flex: bool = False
    """Whether there is a cheaper, slower way as well."""

    def takes(self, requests: int, *, tier: Tier = "standard") -> timedelta:
        """How long so many take, in 95 of 100 cases."""
        if not requests:
            return timedelta()
        whole = (self.first + self.each * requests) * P95
        return whole * FLEX_TIMES if tier == "flex" else whole

    def tier_by(self, by: datetime | None, requests: int, *, now: datetime) -> Tier | None:
        """The cheapest tier that has them done by then; None: the usual one."""
        in_time = by is not None and now + self.takes(requests, tier="flex") <= by
        return "flex" if self.flex and in_time else None


def whole(usual: Mapping[str, Usual], window: timedelta | None) -> timedelta | None:
    """How long a batch takes, in 95 of 100 cases: as was learned, else by the provider's word."""
    if usual:
        return sum((phase.p95 for phase in usual.values()), timedelta())
    return window


def left_in(batches: Iterable[Batch], *, budgeted: bool) -> int:
    """How many requests have no answer yet that stands, as far as providers say."""
    return sum(_left(batch, budgeted=budgeted) for batch in batches)


def _left(batch: Batch, *, budgeted: bool) -> int:
    if batch.status in ("collected", "cleaned"):
        return sum(left_to_retry(batch, budgeted=budgeted).values())
    done = batch.answered if batch.remote is None else max(batch.answered, batch.remote.done)
    return batch.size - min(done, batch.size)


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """When a run is to be done, and what there is to go by. One that is over changes nothing."""

    by: datetime
    insists: bool
    """Whether batches are tried though they may be late."""
    direct: Direct
    left: int
    """How many requests have no answer yet."""
    takes: timedelta | None
    """How long a batch takes, in 95 of 100 cases; None: nobody knows."""
    now: datetime

    @property
    def is_over(self) -> bool:
        return self.now >= self.by

    @property
    def is_last_call(self) -> bool:
        """Whether what is left is done by real time if that begins now, and perhaps not later."""
        return self.now >= self.by - TAKING_BACK - self.direct.takes(self.left)

    @property
    def tier(self) -> Tier | None:
        """By which tier what is left is done in time; None: the usual one."""
        return self.direct.tier_by(self.by, self.left, now=self.now)

    def is_missed_by(self, batch: Batch) -> bool:
        """Whether a batch that runs at its provider is to be taken back."""
        remote = batch.remote
        if self.is_over or remote is None or remote.cancelled or remote.guessed:
            return False
        begun, takes = remote.sent_at, self.takes
        if begun is not None and takes is not None and self.now < begun + takes <= self.by:
            return False
        return self.is_last_call

    def is_too_near(self, *, held: bool) -> bool:
        """Whether a batch that is not sent goes by real time instead: it would not end in time.

        One that is `held` back for others at its provider waits until the last moment.
        """
        if self.is_over:
            return False
        if self.takes is not None and self.now + self.takes <= self.by:
            return held and self.is_last_call
        return self.is_last_call or not self.insists


class Again(NamedTuple):
    """How rows are asked again."""

    executor: ExecutorName
    tier: Tier | None


_NO_ROOM: frozenset[Outcome] = frozenset(("rate_limited", "server_error"))
"""What rows meet that are sent by flex when it has no room."""


def again(
    batch: Batch,
    outcome: Outcome,
    *,
    by: Deadline | None,
    money: Spending,
) -> Again | None:
    """How the next wave asks for rows of `batch` with this outcome; None: as rows usually go.

    What was taken back to be done in time goes by real time, and so does what would be late by
    batch. What flex had no room for goes at the usual price, if the budget lets it.
    """
    if batch.executor == "batch":
        is_rescued = batch.remote is not None and batch.remote.rescued
        if not is_rescued and (by is None or not by.is_too_near(held=False)):
            return None
        return Again("online", None if by is None or by.is_over else by.tier)
    if batch.tier == "flex" and outcome in _NO_ROOM:
        left = batch.counts.get(outcome, 0)
        return Again("online", None if money.affords(batch, left, tier=None) else "flex")
    return Again(batch.executor, batch.tier)
