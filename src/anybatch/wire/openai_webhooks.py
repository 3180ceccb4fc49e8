"""OpenAI's webhook endpoints, as a server reads and says them, and the events it sends there.

Shapes as of the official SDK 3.52, checked 2026-11-20. Ours are `status` and `disabled_reason` of
an endpoint, the lists of its deliveries, and what is sent again.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from ..core.model import Json
from ..core.webhooks import (
    EVENT_TYPES,
    EndpointStatus,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    hint_of,
)
from .openai_asked import Refused, invalid, missing, wrong_type

MAX_NAME = 256
"""Characters of an endpoint's name."""
_STATUSES: tuple[EndpointStatus, ...] = ("enabled", "disabled")
_ENCODER = msgspec.json.Encoder()


# --- what is asked for --------------------------------------------------------------------------


class AskedEndpoint(NamedTuple):
    """What a client says of an endpoint. None: nothing."""

    url: str | None = None
    event_types: tuple[str, ...] | None = None
    name: str | None = None
    status: EndpointStatus | None = None


def read_endpoint(body: bytes, *, is_new: bool) -> AskedEndpoint:
    """Raises Refused. A new one needs its `url`."""
    asked = _fields(body)
    if is_new and asked.get("url") is None:
        raise missing("url")
    name = _text(asked, "name")
    if name is not None and len(name) > MAX_NAME:
        said = f"A name has at most {MAX_NAME} characters."
        raise Refused(400, said, param="name", code="string_above_max_length")
    status = asked.get("status")
    if status is not None and status not in _STATUSES:
        raise invalid("status", status, *_STATUSES)
    return AskedEndpoint(_text(asked, "url"), _event_types(asked), name, status)


def _event_types(asked: Json) -> tuple[str, ...] | None:
    given = asked.get("event_types")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise wrong_type("event_types", "an array of strings")
    if not given:
        raise Refused(400, "At least one event type is needed.", param="event_types")
    for each in given:
        if each not in EVENT_TYPES:
            raise invalid("event_types", each, *EVENT_TYPES)
    return tuple(dict.fromkeys(given))


def read_rotation(body: bytes) -> bool:
    """Whether the old secret stays good for a day. Raises Refused."""
    kept = _fields(body).get("keep_old_secret_active_for_24_hours")
    if kept is not None and not isinstance(kept, bool):
        raise wrong_type("keep_old_secret_active_for_24_hours", "a boolean")
    return bool(kept)


def read_test(body: bytes) -> str:
    """Which event is made up. Raises Refused."""
    given = _fields(body).get("event_type")
    if given is None:
        raise missing("event_type")
    if given not in EVENT_TYPES:
        raise invalid("event_type", given, *EVENT_TYPES)
    return str(given)


class AskedReplay(NamedTuple):
    """What is to be sent again; neither: what was given up."""

    event_ids: tuple[str, ...] | None
    since: datetime | None


MAX_REPLAYED = 1000
"""So many events may be named at once."""
LATEST = 2**36


def read_replay(body: bytes) -> AskedReplay:
    """Raises Refused."""
    asked = _fields(body)
    ids, since = asked.get("event_ids"), asked.get("since")
    if ids is not None and not (
        isinstance(ids, list) and all(isinstance(each, str) for each in ids)
    ):
        raise wrong_type("event_ids", "an array of strings")
    if ids is not None and len(ids) > MAX_REPLAYED:
        said = f"At most {MAX_REPLAYED} events may be named."
        raise Refused(400, said, param="event_ids", code="array_above_max_length")
    if since is not None and (type(since) not in (int, float) or not 0 <= since < LATEST):
        raise wrong_type("since", "a time in seconds since 1970")
    at = None if since is None else datetime.fromtimestamp(since, UTC)
    return AskedReplay(None if ids is None else tuple(ids), at)


def _fields(body: bytes) -> Json:
    if not body:
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        said = "We could not parse the JSON body of your request. It has to be one object."
        raise Refused(400, said) from None


def _text(asked: Json, field: str) -> str | None:
    given = asked.get(field)
    if given is not None and not isinstance(given, str):
        raise wrong_type(field, "a string")
    return given


def refused_url(why: object) -> Refused:
    """That nothing is sent to the address of an endpoint."""
    return Refused(400, f"Invalid 'url': {why}.", param="url", code="invalid_url")


# --- what is said -------------------------------------------------------------------------------


def write_endpoint(endpoint: WebhookEndpoint, *, with_secret: bool = False) -> Json:
    """`with_secret`: once, when there is a new one."""
    secret = endpoint.secret
    said = {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "created_at": _seconds(endpoint.created_at),
        "updated_at": _seconds(endpoint.updated_at),
        "event_types": endpoint.event_types,
        "name": endpoint.name,
        "url": endpoint.url,
        "signing_secret_hint": None if secret is None else hint_of(secret),
        "status": endpoint.status,
        "disabled_reason": endpoint.why,
    }
    return said | {"signing_secret": secret} if with_secret else said


def write_deleted_endpoint(endpoint_id: str) -> Json:
    return {"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True}


def write_event_types(types: Collection[str] = EVENT_TYPES) -> Json:
    return {"object": "list", "data": list(types)}


def write_test(endpoint_id: str, *, event_type: str, status: int) -> Json:
    """That an endpoint answered; with which status is for its owner to judge."""
    return {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": endpoint_id,
        "event_type": event_type,
        "status_code": status,
        "success": True,
    }


def write_delivery(delivery: WebhookDelivery) -> Json:
    waits = delivery.status == "waiting"
    return {
        "id": delivery.event.id,
        "object": "webhook_endpoint.delivery",
        "event_type": delivery.event.type,
        "event_data": {"id": delivery.event.subject},
        "webhook_endpoint_id": delivery.endpoint_id,
        "created_at": _seconds(delivery.event.at),
        "status": delivery.status,
        "attempts": delivery.tries,
        "last_attempt_at": _maybe(delivery.tried_at),
        "next_attempt_at": _seconds(delivery.due_at) if waits else None,
        "status_code": delivery.answered,
        "error": delivery.why,
    }


def write_replayed(event_ids: Collection[str], *, endpoint_id: str) -> Json:
    return {
        "object": "webhook_endpoint.replay",
        "webhook_endpoint_id": endpoint_id,
        "event_ids": list(event_ids),
    }


def write_event(event: WebhookEvent) -> bytes:
    """The body that is sent. Made again it is the same, byte for byte."""
    return _ENCODER.encode(
        {
            "id": event.id,
            "object": "event",
            "created_at": _seconds(event.at),
            "type": event.type,
            "data": {"id": event.subject},
        }
    )


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _maybe(at: datetime | None) -> int | None:
    return None if at is None else _seconds(at)
