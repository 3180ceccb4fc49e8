"""Places that answer nobody for a time: what tells so, who waits meanwhile, and who looks again.

That a service is away, fails, or takes no call with this key says nothing of the requests that met
it. So their results are no results: they are left unanswered, and are asked again when the place
answers somebody. One that fails where others succeed is another matter: that is its own result.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from msgspec import structs

from ..clock import Clock
from ..core.model import Request, Result
from ..core.states import TRIPPING
from ..executors.calls import pause
from ..executors.executor import Read, Record
from ..executors.online import UNREACHABLE
from ..providers.flow import Reply

Trouble = Literal["away", "barred", "failing", "refusing"]
"""`away`: nobody is there. `barred`: nobody is served with this key, or for want of money.
`failing`: somebody is there, and no request is answered; it may be this one. `refusing`: not for
whoever asks, or nothing there to ask; that is often this request's."""

_AWAY = frozenset((502, 503, 521, 522, 523, 529))
"""Said by whoever stands before a service, or by one that takes nobody's calls."""
IN_A_ROW = 8
"""So many calls in a row that got no answer are an outage, and none of them is the request's."""
REFUSED_IN_A_ROW = 32
"""The same of refusals: among requests of which many are refused it takes more to be sure."""
LOOKS_AT_ONCE = 3
"""So many requests are sent to see whether a place answers again."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)
FAILING_FOR = timedelta(minutes=5)
"""So long the last few requests are asked again that fail at a place where nobody else asks."""
FAILING_ALONE_FOR = timedelta(seconds=15)
"""The same where others of their run were answered, and these get an error with a status."""
_FEW, _FEW_ALONE = 32, 8
_POLL_S = 0.2


def trouble_of(result: Result) -> Trouble | None:
    """What a result may tell of the place; None: that it answers, or nothing."""
    match result.outcome:
        case "rate_limited":
            return "away"
        case "billing":
            return "barred"
        case "auth":
            return "refusing" if result.status == 403 else "barred"
        case "not_found_model":
            return "refusing"
        case "network":
            why = result.failure
            return "away" if why is not None and why.code == UNREACHABLE else "failing"
        case "server_error" if not _is_2xx(result):
            return "away" if result.status in _AWAY else "failing"
        case _:
            return None


def _is_2xx(result: Result) -> bool:
    return result.status is not None and 200 <= result.status < 300


def _is_good(result: Result) -> bool:
    """Whether it tells that a place answers: a 2xx that nobody can read may be a proxy's page."""
    return trouble_of(result) is None and result.outcome != "server_error"


def _reason(result: Result) -> str:
    return result.failure.message if result.failure is not None else result.outcome


class Outage:
    """One place, and one model there: whether it answers. Belongs to the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.why: str | None = None
        """Why nothing is sent; None: it answers, as far as anybody knows."""
        self.good_at = float("-inf")
        """When the latest call was sent that got an answer, by the monotonic clock."""
        self._failing_since: datetime | None = None
        """Since when all that is heard is that somebody is there who answers no request."""
        self._in_a_row = 0
        self._refused_in_a_row = 0
        self._looks = 0
        self._look_at: datetime | None = None
        self._looking = False
        self._cuts: set[asyncio.Event] = set()
        """What keeps those from sending more who are at work there."""

    def well(self) -> None:
        """Somebody was answered."""
        self.why = self._failing_since = None
        self._looks = self._in_a_row = self._refused_in_a_row = 0

    def note(self, trouble: Trouble, why: str) -> None:
        """A call was not answered; enough of them in a row, or one of a look, and it rests."""
        if trouble == "refusing":
            self._refused_in_a_row += 1
        else:
            self._in_a_row += 1
        enough = self._in_a_row >= IN_A_ROW or self._refused_in_a_row >= REFUSED_IN_A_ROW
        if enough or (self._looking and trouble != "refusing"):
            self.rest(trouble, why)

    def rest(self, trouble: Trouble, why: str) -> None:
        """Have nothing more sent for now."""
        if trouble in ("away", "refusing"):
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = self._clock.now()
        if self.why is None:
            self._look_at = self._clock.now() + FIRST_PAUSE
        self.why = why[:300]
        for cut in self._cuts:
            cut.set()

    def look_soon(self) -> None:
        """What it was looked for is given up; whoever asks next need not wait as long."""
        self._look_at = self._clock.now()

    @property
    def failing_for(self) -> timedelta | None:
        """How long somebody is there who answers no request; None: that is not what is heard."""
        since = self._failing_since
        return None if since is None else self._clock.now() - since

    async def passed(self, stop: asyncio.Event) -> bool:
        """Wait until it answers, or it is our turn to look whether it does; False if stopped."""
        while self.why is not None and not stop.is_set():
            due = self._look_at is None or self._clock.now() >= self._look_at
            if due and not self._looking:
                return True
            await pause(_POLL_S, stop=stop, sleep=self._clock.sleep)
        return not stop.is_set()

    @asynccontextmanager
    async def sending(self, cut: asyncio.Event) -> AsyncIterator[bool]:
        """While somebody sends, whom `cut` stops; whether that is a look."""
        looks = self.why is not None
        self._looking = self._looking or looks
        self._cuts.add(cut)
        try:
            yield looks
        finally:
            self._cuts.discard(cut)
            if looks:
                self._looking = False
            if looks and self.why is not None:
                self._looks += 1
                wait = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._looks, 10))
                self._look_at = self._clock.now() + wait


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A result that may be the place's."""

    trouble: Trouble
    result: Result
    at: float
    is_final: bool
    """Whether the request is not being asked again at the moment."""


class Heard:
    """What a run has heard so far."""

    def __init__(self) -> None:
        self.answers = False
        """Whether any of its requests was answered."""


class Asking:
    """The requests of one batch, asked at a place that may not answer: some of them repeatedly."""

    def __init__(
        self,
        outage: Outage,
        requests: Iterator[Request],
        *,
        read: Read,
        record: Record,
        heard: Heard,
        at: Clock,
    ) -> None:
        self._outage = outage
        self._heard = heard
        self._fresh = requests
        self._read = read
        self._record = record
        self._clock = at
        self._exhausted = False
        self._again: deque[Request] = deque()
        self._out: dict[int, Request] = {}
        """Handed out, and without a result."""
        self._doubts: dict[int, _Doubt] = {}
        """The latest of each request whose result may be the place's."""

    @property
    def is_over(self) -> bool:
        return self._exhausted and not self._again

    def requests(self, *, most: int | None) -> Iterator[Request]:
        """Those that have no result, at most so many."""
        handed = 0
        while most is None or handed < most:
            request = self._next()
            if request is None:
                return
            handed += 1
            self._out[request.n] = request
            yield request

    def _next(self) -> Request | None:
        """Others come first, as long as few wait: one that fails must not keep them."""
        if not self._exhausted and len(self._again) < 2 * _FEW:
            request = next(self._fresh, None)
            if request is not None:
                return request
            self._exhausted = True
        return self._again.popleft() if self._again else None

    def read(self, request: Request, reply: Reply) -> Result:
        result = self._read(request, reply)
        trouble = trouble_of(result)
        if trouble is not None and result.outcome != "rate_limited":
            # Each try tells something: that all of one request were in vain is known too late.
            self._doubt(trouble, result, is_final=False)
            self._outage.note(trouble, _reason(result))
        return result

    async def record(self, *results: Result) -> None:
        for result in results:
            await self._take(result)

    async def _take(self, result: Result) -> None:
        trouble, now = trouble_of(result), self._clock.monotonic()
        if trouble is not None:
            self._doubt(trouble, result, is_final=True)
            if result.status is None or result.outcome == "rate_limited":
                self._outage.note(trouble, _reason(result))
            return
        if _is_good(result):
            self._outage.good_at = max(self._outage.good_at, now - result.ms / 1000)
            self._outage.well()
            self._heard.answers = True
        self._out.pop(result.n, None)
        self._doubts.pop(result.n, None)
        await self._record(result, *self._own())

    def _doubt(self, trouble: Trouble, result: Result, *, is_final: bool) -> None:
        now = self._clock.monotonic()
        self._doubts[result.n] = _Doubt(trouble, result, now, is_final)

    def _own(self) -> list[Result]:
        """The results that are their requests' own: another call was sent later and answered."""
        good_at, doubts = self._outage.good_at, self._doubts.values()
        return self._taken([doubt for doubt in doubts if doubt.is_final and doubt.at <= good_at])

    def _taken(self, doubts: list[_Doubt]) -> list[Result]:
        for doubt in doubts:
            del self._doubts[doubt.result.n]
            del self._out[doubt.result.n]
        return [_of_its_own(doubt.result) for doubt in doubts]

    async def settle(self) -> None:
        """After a round: record what is the requests' own, and have all others asked again."""
        own, asked_all = self._own(), self._exhausted and not self._again
        # Who waits already comes first.
        self._out = {request.n: request for request in self._again} | self._out
        self._again.clear()
        if self._exhausted and self._out.keys() == self._doubts.keys():
            last = self._taken(self._last())
            if last:
                self._outage.look_soon()
            own += last
            left = list(self._doubts.values())
            if asked_all and left and self._outage.why is None:
                worst = min(left, key=lambda doubt: _WORST_FIRST.index(doubt.trouble))
                self._outage.rest(worst.trouble, _reason(worst.result))
        # Who is asked again is none whom a later success shows to be at fault.
        self._doubts = {n: replace(doubt, is_final=False) for n, doubt in self._doubts.items()}
        self._again += self._out.values()
        self._out.clear()
        if own:
            await self._record(*own)

    def _last(self) -> list[_Doubt]:
        """Of all that is left: those that are their own for want of anything else that tells."""
        left, why = list(self._doubts.values()), self._outage.why
        failing_for = self._outage.failing_for or timedelta()
        if any(doubt.trouble == "away" for doubt in left) or len(left) > _FEW:
            return []
        own: list[Trouble] = []
        if why is None or self._outage.failing_for is not None:
            own.append("refusing")
        if failing_for >= FAILING_FOR:
            own.append("failing")
        if failing_for >= FAILING_ALONE_FOR and self._are_alone(left):
            own += ["failing", "barred"]
        return [doubt for doubt in left if doubt.trouble in own]

    def _are_alone(self, left: list[_Doubt]) -> bool:
        failing = [doubt.result for doubt in left if doubt.trouble != "refusing"]
        said = all(result.status is not None for result in failing)
        return self._heard.answers and said and len(failing) <= _FEW_ALONE


_WORST_FIRST: tuple[Trouble, ...] = ("away", "barred", "failing", "refusing")


def _of_its_own(result: Result) -> Result:
    """A refusal of one request is no reason to stop the others."""
    return structs.replace(result, outcome="bad_request") if result.outcome in TRIPPING else result


class Rests:
    """Where a run is asked, for who wants to know whether it rests."""

    def __init__(self) -> None:
        self.outage: Outage | None = None

    @property
    def why(self) -> str | None:
        return None if self.outage is None else self.outage.why
