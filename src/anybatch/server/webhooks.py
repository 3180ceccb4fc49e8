"""Webhooks on their way: the loop that sends what is in the outbox.

Each event reaches each of its endpoints at least once, or is given up after three days. They are
sent in no certain order.
"""

import asyncio
import random
from collections import Counter
from datetime import datetime, timedelta

from msgspec.structs import replace

from ..clock import Clock
from ..core import webhooks as core
from ..core.webhooks import WebhookDelivery, WebhookEndpoint
from ..errors import StoreError, StoreUnwritable
from ..executors.limiter import retry_after
from ..store.served import ServedStore
from ..wire.openai_webhooks import write_event
from .desk import WALKED
from .log import log
from .metrics import Labels, Metric
from .webhook_calling import Caller, Interrupted, Outcome
from .webhook_settings import WebhookSettings

_LOOK_EVERY_S = 1.0
_AT_ONCE = 128
"""Calls under way."""
_AT_ONE_ENDPOINT = 2
"""Calls under way to one: who is slow holds up no others."""
_PATIENCE_S = 1.0
"""So long calls may go on when we stop; what is cut short is sent again by the next server."""
_TIDY_EVERY = timedelta(minutes=10)
_REST = timedelta(seconds=30)
"""So long an endpoint rests that could not be called because of a mistake of ours."""

_OUTCOMES = ("delivered", "waits", "failed")
"""Of a try: taken, made again later, given up."""

Way = tuple[str, str]
"""Which event goes to which endpoint."""


class Webhooks:
    """Belongs to the event loop."""

    def __init__(
        self,
        store: ServedStore,
        clock: Clock,
        settings: WebhookSettings,
        *,
        caller: Caller,
        news: asyncio.Event,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self.caller = caller
        self.news = news
        """Set when there may be something new to send."""
        self._secrets = {settled.id: settled.secret for settled in settings.endpoints}
        self._under_way: set[Way] = set()
        self._tried: set[Way] = set()
        """Tries that ended since the last look began: it may have seen them as they were before."""
        self._tidied: datetime | None = None
        self._tries: Counter[str] = Counter()
        """What became of them since the server began."""

    def take_up(self) -> None:
        """Know the endpoints that the settings name, and no longer those they do not."""
        now = self._clock.now()
        endpoints = [settled.endpoint(now=now) for settled in self._settings.endpoints]
        why = "the settings do not name it any more"
        self._store.settle_webhook_endpoints(endpoints, at=now, why=why)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set."""
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                self.news.clear()
                try:
                    for delivery, endpoint in await self._due():
                        self._under_way.add((delivery.event.id, endpoint.id))
                        tasks.create_task(self._send(delivery, endpoint))
                    await self._tidy()
                except StoreUnwritable as e:
                    log("webhook.unwritten", why=str(e)[:300])
                await self._wait(stop)
            self.caller.hurry(_PATIENCE_S)

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until something is new, we are told to stop, or it is time to look at the clock."""
        signs = {asyncio.ensure_future(sign.wait()) for sign in (self.news, stop)}
        try:
            await asyncio.wait(signs, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sign in signs:
                sign.cancel()

    async def _due(self) -> list[tuple[WebhookDelivery, WebhookEndpoint]]:
        """What is sent now, as far as there are places."""
        self._tried.clear()
        found = await asyncio.to_thread(self._look)
        known = self._under_way | self._tried
        busy = Counter(endpoint_id for _, endpoint_id in self._under_way)
        chosen: list[tuple[WebhookDelivery, WebhookEndpoint]] = []
        for delivery, endpoint in found:
            is_new = (delivery.event.id, endpoint.id) not in known
            has_place = busy[endpoint.id] < _AT_ONE_ENDPOINT and busy.total() < _AT_ONCE
            if is_new and has_place:
                busy[endpoint.id] += 1
                chosen.append((delivery, endpoint))
        return chosen

    def _look(self) -> list[tuple[WebhookDelivery, WebhookEndpoint]]:
        now = self._clock.now()
        due = self._store.due_webhook_deliveries(now, each=_AT_ONE_ENDPOINT, most=_AT_ONCE)
        ids = {delivery.endpoint_id for delivery in due}
        there = {id: self._store.webhook_endpoint(id) for id in ids}
        return [
            (delivery, endpoint)
            for delivery in due
            if (endpoint := there[delivery.endpoint_id]) is not None
        ]

    # --- one delivery ---

    async def _send(self, delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> None:
        way = (delivery.event.id, endpoint.id)
        try:
            await self._try(delivery, endpoint)
        except StoreUnwritable as e:
            # Nobody will know of this try: it is made again, but not at once.
            log("webhook.unwritten", **_named(delivery), why=str(e)[:300])
            asyncio.get_running_loop().call_later(_REST.total_seconds(), self._end, way)
        else:
            self._end(way)

    async def _try(self, delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> None:
        """Raises StoreUnwritable."""
        try:
            body = write_event(delivery.event)
            outcome = await self.post(endpoint, delivery.event.id, body)
            await asyncio.to_thread(self._note, delivery, outcome)
        except Interrupted:
            log("webhook.interrupted", **_named(delivery))  # the next server sends it again
        except StoreUnwritable:
            raise
        except Exception as e:
            # The others are sent, whatever is wrong with this one.
            log("webhook.rests", **_named(delivery), why=f"{type(e).__name__}: {e}"[:300])
            await asyncio.to_thread(self._rest, delivery)

    def _end(self, way: Way) -> None:
        """It may be sent again."""
        self._under_way.discard(way)
        self._tried.add(way)
        self.news.set()

    def _rest(self, delivery: WebhookDelivery) -> None:
        rests = replace(delivery, due_at=self._clock.now() + _REST)
        self._store.note_webhook_delivery(rests, seen=delivery.tries)

    async def post(self, endpoint: WebhookEndpoint, event_id: str, body: bytes) -> Outcome:
        """Send it once, signed. Raises Interrupted."""
        now = self._clock.now()
        keys = self._secrets_of(endpoint, now)
        headers = core.headers(event_id, now=now, keys=keys, body=body)
        return await self.caller.call(endpoint.url, headers=headers, body=body)

    def _secrets_of(self, endpoint: WebhookEndpoint, now: datetime) -> tuple[str, ...]:
        settled = self._secrets.get(endpoint.id)
        return endpoint.secrets_at(now) if settled is None else (settled,)

    def _note(self, delivery: WebhookDelivery, outcome: Outcome) -> None:
        """Write down what came of a try, and what follows from it."""
        now = self._clock.now()
        asked = retry_after(outcome.headers, now=now)
        tried = _tried(delivery, outcome, now=now, asked=asked, jitter=random.random())
        rest = core.rest_after(outcome.status, asked)
        self._store.note_webhook_delivery(
            tried,
            seen=delivery.tries,
            rest_until=None if rest is None else now + rest,
            disabled="it answered 410 Gone" if outcome.status == core.GONE else None,
        )
        word = "waits" if tried.status == "waiting" else tried.status
        self._tries[word] += 1
        said = {"tries": tried.tries, "status": outcome.status, "why": tried.why}
        log(f"webhook.{word}", **_named(delivery), **said)
        if outcome.status == core.GONE:
            log("webhook.disabled", endpoint=delivery.endpoint_id, why="410")

    # --- time, and numbers ---

    async def _tidy(self) -> None:
        now = self._clock.now()
        if self._tidied is None or now >= self._tidied + _TIDY_EVERY:
            self._tidied = now
            await asyncio.to_thread(self._store.forget_webhook_events, now - core.KEPT)
            forget = self._store.forget_places_of_webhook_endpoints
            await asyncio.to_thread(forget, now - WALKED)

    async def metrics(self) -> list[Metric]:
        """What waits, and what became of the tries."""
        tries: dict[Labels, float] = {
            (("outcome", outcome),): self._tries[outcome] for outcome in _OUTCOMES
        }
        tried = Metric("anybatch_webhook_tries_total", "counter", "Events sent, by outcome.", tries)
        try:
            backlog = await asyncio.to_thread(self._store.webhook_backlog)
        except StoreError as e:
            # All other numbers are wanted then more than ever.
            log("webhooks.uncounted", why=type(e).__name__)
            return [tried]
        age = (self._clock.now() - (backlog.oldest or self._clock.now())).total_seconds()
        return [
            tried,
            Metric(
                "anybatch_webhooks_waiting", "gauge", "Events to be sent.", _one(backlog.waiting)
            ),
            Metric("anybatch_webhooks_oldest_seconds", "gauge", "Age of the oldest.", _one(age)),
        ]


def _one(value: float) -> dict[Labels, float]:
    return {(): value}


def _named(delivery: WebhookDelivery) -> dict[str, str]:
    """What the log says of a delivery. Its address may hold a secret."""
    return {"webhook_id": delivery.event.id, "endpoint": delivery.endpoint_id}


def _tried(
    delivery: WebhookDelivery,
    outcome: Outcome,
    *,
    now: datetime,
    asked: timedelta | None,
    jitter: float,
) -> WebhookDelivery:
    """A delivery after one more try."""
    tries = delivery.tries + 1
    tried = replace(delivery, tries=tries, tried_at=now, answered=outcome.status, why=None)
    if core.is_taken(outcome.status):
        return replace(tried, status="delivered")
    why = outcome.why or f"it answered {outcome.status}"
    due = core.next_try(tries, now=now, jitter=jitter, asked=asked)
    if due is None or outcome.status == core.GONE:
        return replace(tried, status="failed", why=why)
    return replace(tried, due_at=due, why=why)
