"""A real-time endpoint under its rate limits: one call a request."""

import asyncio
from collections.abc import Callable, Iterator
from copy import copy
from datetime import timedelta
from functools import partial
from typing import Self

from msgspec.structs import replace

from ..clock import Clock
from ..core.model import NO_BODY, Failure, Request, Result, Spec, Usage
from ..core.retry import MAX_TRIES, backoff
from ..core.states import OUTCOMES, Outcome
from ..effects import Probe, unwatched
from ..errors import AnswerTooLong, TransportError
from ..providers.flow import Call, Reply
from ..providers.provider import Provider
from .auth import Key, headers_for, holds_key, redacted, renewable
from .calls import answer_all, pause
from .executor import Read, Record
from .http import Http
from .limiter import Limiter, retry_after
from .parties import ALONE, Party

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of an answer, unpacked. None is as long that is meant for us; and one that was packed well takes
all memory, however little was sent."""
UNREACHABLE = "unreachable"
"""The code of a failure where there never was a connection."""
ANSWER_TOO_LONG = "answer_too_long"
_OVERLOAD: frozenset[Outcome] = frozenset(("rate_limited", "server_error", "network"))
_TOKENS_PER_BYTE = 0.25


def limiter_of(provider: Provider, clock: Clock) -> Limiter:
    """What holds calls to `provider` back."""
    return Limiter(
        calls=provider.concurrency,
        rpm=provider.rpm,
        tpm=provider.tpm,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )


class Online:
    """Answers requests at `provider`'s endpoint. See `CallExecutor`."""

    drains = True
    _party = ALONE

    def __init__(
        self,
        provider: Provider,
        *,
        spec: Spec,
        key: Key | None,
        deadline: timedelta,
        clock: Clock,
        jitter: Callable[[], float],
        limiter: Limiter | None = None,
        probe: Probe = unwatched,
    ) -> None:
        """`limiter`: one that others who call the same place share."""
        assert provider.base_url is not None
        self._calls = provider.concurrency
        # While one answer waits for its commit the next call goes out: the connections would idle
        # else, for as long as the disk works.
        self.backlog = self._calls
        self.window = self._calls + self.backlog
        self._path = provider.path_of(spec.api, spec.model or "")
        self._key = key
        self._clock = clock
        self._jitter = jitter
        self._backing_off: dict[str, int] = {}
        """Why requests wait before another try, and how many do."""
        self._http = Http(
            provider.base_url,
            headers=headers_for(provider, key, spec),
            deadline=deadline,
            hosts=provider.hosts,
            credentials=renewable(key),
            probe=probe,
            most=MAX_ANSWER_BYTES,
        )
        self._limiter = limiter or limiter_of(provider, clock)

    @property
    def waiting(self) -> str | None:
        return self._limiter.waiting or next(iter(self._backing_off), None)

    def takes(self, requests: int, tokens: int) -> float:
        return self._limiter.takes(requests, tokens)

    def lent(self, party: Party) -> Self:
        """See `executor.Lendable`."""
        mine = copy(self)
        mine._party = party
        return mine

    async def close(self) -> None:
        await self._http.close()

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        ask = partial(self._ask, read=read, stop=stop)
        await answer_all(requests, ask=ask, record=record, calls=self._calls, stop=stop)

    async def _ask(self, request: Request, *, read: Read, stop: asyncio.Event) -> Result | None:
        started: float | None = None
        spent = Usage()
        tokens = _tokens(request)
        for tries in range(1, MAX_TRIES + 1):
            if not await self._limiter.admit(tokens, stop=stop, party=self._party):
                return None
            sent_at = self._clock.monotonic()
            started = sent_at if started is None else started
            result, asked = await self._call(request, tokens=tokens, sent_at=sent_at, read=read)
            ms = int((self._clock.monotonic() - started) * 1000)
            # A try whose answer was of no use was paid for all the same.
            spent += result.usage
            result = replace(result, tries=tries, ms=ms, usage=spent)
            if result.outcome not in _OVERLOAD or tries >= _most_tries(result):
                return result
            wait = backoff(tries, asked=asked, jitter=self._jitter())
            if not await self._back_off(wait, result, stop=stop):
                return None
        raise AssertionError("unreachable: the last try returns")

    async def _back_off(self, wait: timedelta, result: Result, *, stop: asyncio.Event) -> bool:
        """Wait before another try, saying why; False if stopped."""
        reason = result.failure.message if result.failure is not None else result.outcome
        self._backing_off[reason] = self._backing_off.get(reason, 0) + 1
        try:
            return await pause(wait.total_seconds(), stop=stop, sleep=self._clock.sleep)
        finally:
            self._backing_off[reason] -= 1
            if not self._backing_off[reason]:
                del self._backing_off[reason]

    async def _call(
        self, request: Request, *, tokens: int, sent_at: float, read: Read
    ) -> tuple[Result, timedelta | None]:
        """One try: its result, and how long the service asks us to wait before another."""
        try:
            reply = await self._http.send(Call(method="POST", path=self._path, body=request.body))
        except AnswerTooLong as e:
            # It would be as long again.
            why = Failure(message=str(e), code=ANSWER_TOO_LONG)
            return Result(n=request.n, outcome="bad_request", failure=why), None
        except TransportError as e:
            self._limiter.window.failed(sent_at=sent_at, now=self._clock.monotonic())
            why = Failure(message=str(e), code=None if e.sent else UNREACHABLE)
            return Result(n=request.n, outcome="network", failure=why), None
        finally:
            self._limiter.window.leave()
        if not reply.ok:
            # Before it is read: what is cut out of an error's words could hold part of the key.
            reply = replace(reply, body=redacted(reply.body, self._key))
        result = self._without_key(read(request, reply), ok=reply.ok)
        self._limiter.settle(tokens, result.usage)
        return result, self._learn(reply, result.outcome, sent_at=sent_at)

    def _without_key(self, result: Result, *, ok: bool) -> Result:
        """Once more after decoding: escapes may have hidden the key from the first look."""
        why = result.failure
        if why is None or self._key is None:
            return result
        message = redacted(why.message.encode(), self._key).decode()
        code = None if why.code is None else redacted(why.code.encode(), self._key).decode()
        if not ok and result.body != NO_BODY and holds_key(bytes(result.body), self._key):
            result = replace(result, body=NO_BODY)
        return replace(result, failure=replace(why, message=message, code=code))

    def _learn(self, reply: Reply, outcome: Outcome, *, sent_at: float) -> timedelta | None:
        window = self._limiter.window
        self._limiter.learn(reply.headers, now=self._clock.now())
        if outcome not in _OVERLOAD:
            window.healthy()
            return None
        now = self._clock.monotonic()
        asked = retry_after(reply.headers, now=self._clock.now())
        if asked is not None:
            self._limiter.hold(backoff(1, asked=asked, jitter=0.0))
        if asked is not None or outcome == "rate_limited":
            window.overloaded(sent_at=sent_at, now=now)
        else:
            window.failed(sent_at=sent_at, now=now)
        return asked


def _most_tries(result: Result) -> int:
    """How often a call is made in one wave that ends like this."""
    # A 2xx that cannot be read was paid for: a proxy's page once, the service's own way if again.
    answered = result.status is not None and result.status < 300
    return 2 if answered else MAX_TRIES


def _tokens(request: Request) -> int:
    """A guess, for the tokens-per-minute bucket: four bytes of a body are about a token."""
    return int(len(request.body) * _TOKENS_PER_BYTE)


assert all(OUTCOMES[outcome].again == "as_is" for outcome in _OVERLOAD)
