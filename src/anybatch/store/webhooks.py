"""The outbox of webhooks: endpoints, events, and how far each event is on its way to each."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..core.webhooks import (
    DeliveryStatus,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from .sqlite import SqliteStore, named
from .values import as_json, as_json_or_none, moment, seconds

T = TypeVar("T")

_SQL = named((files(__package__) / "webhooks.sql").read_text())
_LAST = 2**62
"""No list has so many entries."""


class Sent(NamedTuple):
    """An event and where it goes."""

    event_id: str
    endpoint_id: str


class Backlog(NamedTuple):
    """What waits to be sent."""

    waiting: int
    oldest: datetime | None
    """Since when the first of it does."""


class WebhookStore(SqliteStore):
    """The part of a server's store that webhooks are kept in."""

    def _hooks(self, noun: Callable[[sqlite3.Row], T], name: str, /, **values: Any) -> list[T]:
        with self._lock, self._translated(), self._understood():
            return [noun(row) for row in self._db.execute(_SQL[name], values)]

    def _hook(self, name: str, /, **values: Any) -> int:
        """Run a statement inside the present transaction; how many rows it touched."""
        return self._db.execute(_SQL[name], values).rowcount

    # --- endpoints ---

    def _put_endpoint(self, endpoint: WebhookEndpoint) -> None:
        self._hook("add_webhook_endpoint", **_endpoint_values(endpoint))

    def _change_endpoint(self, endpoint: WebhookEndpoint, *, why: str) -> bool:
        """False if it is not there. If it is disabled, what waits is given up, and `why`."""
        if self._hook("change_webhook_endpoint", **_endpoint_values(endpoint)) != 1:
            return False
        if endpoint.status == "disabled":
            self._hook("give_up_webhook_deliveries", endpoint_id=endpoint.id, why=why)
        return True

    def settle_webhook_endpoints(
        self, endpoints: Collection[WebhookEndpoint], *, at: datetime, why: str
    ) -> None:
        """Have those that the settings name, and disable those they named before, and `why`."""
        named_now = {endpoint.id for endpoint in endpoints}
        with self._transaction():
            for endpoint in endpoints:
                self._hook("settle_webhook_endpoint", **_endpoint_values(endpoint))
            for endpoint in self._hooks(_endpoint_of, "webhook_endpoints"):
                if endpoint.settled and endpoint.id not in named_now:
                    self._disable(endpoint.id, at=at, why=why)

    def _disable(self, endpoint_id: str, *, at: datetime, why: str) -> None:
        self._hook("disable_webhook_endpoint", id=endpoint_id, at=seconds(at), why=why)
        self._hook("give_up_webhook_deliveries", endpoint_id=endpoint_id, why=why)

    def delete_webhook_endpoint(self, endpoint_id: str, *, owner: str, now: datetime) -> bool:
        """With all that was on its way there. False if it is not there."""
        whose = {"id": endpoint_id, "owner": owner}
        with self._transaction():
            self._hook("keep_place_of_webhook_endpoint", now=seconds(now), **whose)
            return self._hook("delete_webhook_endpoint", **whose) == 1

    def forget_places_of_webhook_endpoints(self, before: datetime) -> None:
        """Forget where those stood that were deleted before then."""
        with self._writing():
            self._hook("forget_places_of_webhook_endpoints", before=seconds(before))

    def webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Whoever's it is."""
        found = self._hooks(_endpoint_of, "webhook_endpoint_by_id", id=endpoint_id)
        return next(iter(found), None)

    def webhook_endpoints(self) -> list[WebhookEndpoint]:
        """All there are, the oldest first."""
        return self._hooks(_endpoint_of, "webhook_endpoints")

    def webhook_endpoints_of(
        self, owner: str, *, most: int, after: str | None = None
    ) -> list[WebhookEndpoint] | None:
        """At most so many that an owner has made, the newest first, behind the one with id `after`,
        which may have been deleted lately; None: there was none of that id."""
        place = _LAST
        if after is not None:
            known = self._hooks(_place, "place_of_webhook_endpoint", id=after, owner=owner)
            if not known:
                return None
            (place,) = known
        page = {"owner": owner, "after": place, "most": most}
        return self._hooks(_endpoint_of, "webhook_endpoints_of", **page)

    # --- events ---

    def _tell(self, event: WebhookEvent) -> None:
        """Put an event into the outbox, inside the transaction in which it happens."""
        at = seconds(event.at)
        self._hook("add_webhook_event", **(msgspec.structs.asdict(event) | {"at": at}))
        asked = {"event_id": event.id, "owner": event.owner, "type": event.type}
        self._hook("add_webhook_deliveries", at=at, **asked)

    def known_webhook_events(self, ids: Collection[str]) -> set[str]:
        """Which of these can be sent again."""
        return set(self._hooks(_id, "webhook_event_ids", ids=as_json(list(ids))))

    def forget_webhook_events(self, before: datetime) -> None:
        """Forget what happened before then, unless it is on its way."""
        with self._writing():
            self._hook("forget_webhook_events", before=seconds(before))

    # --- deliveries ---

    def due_webhook_deliveries(
        self, now: datetime, *, each: int, most: int
    ) -> list[WebhookDelivery]:
        """What is to be tried now, `each` endpoint's oldest so many."""
        asked = {"now": seconds(now), "each": each, "most": most}
        return self._hooks(_delivery_of, "due_webhook_deliveries", **asked)

    def note_webhook_delivery(
        self,
        tried: WebhookDelivery,
        *,
        seen: int,
        rest_until: datetime | None = None,
        disabled: str | None = None,
    ) -> None:
        """Write down what became of a try, if there were as many before it as were `seen`: it may
        have been begun anew. Nothing goes to its endpoint before `rest_until`, or any more if that
        is `disabled`, which says why."""
        noted = {name: getattr(tried, name) for name in ("status", "tries", "answered", "why")}
        moments = {name: seconds(getattr(tried, name)) for name in ("due_at", "tried_at")}
        way = {"event_id": tried.event.id, "endpoint_id": tried.endpoint_id}
        with self._transaction():
            self._hook("note_webhook_delivery", seen=seen, **way, **noted, **moments)
            if rest_until is not None:
                until = seconds(rest_until)
                self._hook("rest_webhook_endpoint", id=tried.endpoint_id, until=until)
            if disabled is not None:
                assert tried.tried_at is not None
                self._disable(tried.endpoint_id, at=tried.tried_at, why=disabled)

    def webhook_deliveries_of(
        self, endpoint_id: str, *, most: int, after: str | None = None
    ) -> list[WebhookDelivery] | None:
        """At most so many of an endpoint's, the newest first, behind that of the event `after`;
        None: there is none of that."""
        place = _LAST
        if after is not None:
            asked = {"event_id": after, "endpoint_id": endpoint_id}
            known = self._hooks(_place, "place_of_webhook_delivery", **asked)
            if not known:
                return None
            (place,) = known
        page = {"endpoint_id": endpoint_id, "after": place, "most": most}
        return self._hooks(_delivery_of, "webhook_deliveries_of", **page)

    def replay_webhooks(
        self,
        *,
        now: datetime,
        events: Sequence[str] | None = None,
        since: datetime | None = None,
        endpoint_id: str | None = None,
    ) -> list[Sent]:
        """Have these `events` sent again, or all `since` then, whatever became of them; without
        either, those that were given up. Of `endpoint_id` alone, if it is given."""
        asked: dict[str, Any] = {"now": seconds(now), "endpoint_id": endpoint_id}
        if events is None and since is None:
            name = "replay_failed_webhooks"
        else:
            name = "replay_webhook_events"
            asked |= {"since": seconds(since), "ids": as_json_or_none(events)}
        with self._transaction():
            return self._hooks(_sent_of, name, **asked)

    def webhook_counts(self) -> dict[str, Counter[DeliveryStatus]]:
        """How many deliveries of each endpoint are how far."""
        counts: dict[str, Counter[DeliveryStatus]] = {}
        for endpoint_id, status, count in self._hooks(tuple, "webhook_counts"):
            counts.setdefault(endpoint_id, Counter())[status] = count
        return counts

    def webhook_backlog(self) -> Backlog:
        (backlog,) = self._hooks(_backlog_of, "webhook_backlog")
        return backlog


def _place(row: sqlite3.Row) -> int:
    return int(row["place"])


def _id(row: sqlite3.Row) -> str:
    return str(row["id"])


def _maybe(since_1970: float | None) -> datetime | None:
    return None if since_1970 is None else moment(since_1970)


def _sent_of(row: sqlite3.Row) -> Sent:
    return Sent(row["event_id"], row["endpoint_id"])


def _backlog_of(row: sqlite3.Row) -> Backlog:
    return Backlog(row["count"], _maybe(row["oldest"]))


def _endpoint_values(endpoint: WebhookEndpoint) -> dict[str, Any]:
    values = msgspec.structs.asdict(endpoint)
    moments = ("created_at", "updated_at", "old_until")
    return (
        values
        | {name: seconds(values[name]) for name in moments}
        | {"event_types": as_json(endpoint.event_types), "settled": int(endpoint.settled)}
    )


def _endpoint_of(row: sqlite3.Row) -> WebhookEndpoint:
    read = {
        "event_types": msgspec.json.decode(row["event_types"], type=tuple[str, ...]),
        "created_at": moment(row["created_at"]),
        "updated_at": moment(row["updated_at"]),
        "old_until": _maybe(row["old_until"]),
        "settled": bool(row["settled"]),
    }
    return msgspec.convert({**row, **read}, WebhookEndpoint)


def _delivery_of(row: sqlite3.Row) -> WebhookDelivery:
    event = WebhookEvent(
        id=row["event_id"],
        owner=row["owner"],
        type=row["type"],
        subject=row["subject"],
        at=moment(row["at"]),
    )
    moments = {"due_at": moment(row["due_at"]), "tried_at": _maybe(row["tried_at"])}
    return msgspec.convert({**row, **moments, "event": event}, WebhookDelivery)
