"""Webhooks: what is told of an order's end, to whom, how it is signed and when it is tried again.

Signature, names of headers, schedule and what a status means are those of the Standard Webhooks
specification 1.0.0 (standardwebhooks.com), checked 2026-11-20.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Literal, get_args

import msgspec

from .served import Order

EndpointStatus = Literal["enabled", "disabled"]
DeliveryStatus = Literal["waiting", "delivered", "failed"]
"""`failed`: it was tried as often as it is, or its endpoint wants nothing any more."""
Ending = Literal["completed", "failed", "expired", "cancelled"]

_NOUNS: Mapping[str, str] = {
    "openai": "batch",
    "anthropic": "message_batch",
    "gemini": "gemini_batch",
}
"""What an order is called in an event, by the protocol it came by. The first is OpenAI's word;
ours are the others, as Anthropic has no such event and Gemini's has another shape. Checked
2026-11-20."""
EVENT_TYPES = tuple(f"{noun}.{end}" for noun in _NOUNS.values() for end in get_args(Ending))

DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""So long after each try that failed comes the next; the first is made at once."""
_JITTER = 0.1
"""By up to so much of it a delay is longer."""
_MOST_ASKED = timedelta(hours=24)
"""We wait no longer than this, whatever a `Retry-After` says."""
_REST = timedelta(seconds=30)
_BUSY = (429, 502, 503, 504)
"""Who answers so gets nothing else for a while."""
GONE = 410

OLD_SECRET_LIVES = timedelta(hours=24)
KEPT = timedelta(days=30)
"""So long an event can be sent again."""

_PREFIX = "whsec_"
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]+={0,2}")
SECRET_BYTES = 32
_LEAST_BYTES, _MOST_BYTES = 24, 64
"""Of a secret, as the specification has it."""


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody wants to hear of the end of orders."""

    id: str
    owner: str | None
    """Whose orders it hears of; None: of all. Only the settings can name such a one."""
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    status: EndpointStatus = "enabled"
    why: str | None = None
    """Why it is disabled, if nobody asked for that."""
    secret: str | None = None
    """None: it is in the environment, because the settings name the endpoint."""
    old_secret: str | None = None
    old_until: datetime | None = None
    settled: bool = False
    """Whether the settings name it; then calls cannot see or change it."""

    def __repr__(self) -> str:
        return f"WebhookEndpoint({self.id!r})"  # its secrets are nobody's business

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """Those that are good then, the newest first."""
        old = self.old_secret if self.old_until is not None and now < self.old_until else None
        return tuple(secret for secret in (self.secret, old) if secret is not None)


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """That an order is over."""

    id: str
    owner: str
    type: str
    subject: str
    """What the order is called where its client looks for it."""
    at: datetime


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to an endpoint."""

    event: WebhookEvent
    endpoint_id: str
    status: DeliveryStatus
    tries: int
    due_at: datetime
    """When it is tried next, as long as it waits."""
    tried_at: datetime | None = None
    answered: int | None = None
    """The HTTP status of the last answer; None: none came."""
    why: str | None = None
    """Why the last try failed."""


def event_of(order: Order) -> WebhookEvent:
    """The one event of an order that is over. Made again it is the same."""
    return WebhookEvent(
        id=f"evt_{blake2b(order.id.encode(), digest_size=12).hexdigest()}",
        owner=order.owner,
        type=f"{_NOUNS[order.face]}.{order.status}",
        subject=f"batches/{order.id}" if order.face == "gemini" else order.id,
        at=order.ended_at or order.created_at,
    )


# --- signatures ---


def new_secret(chance: bytes) -> str:
    """The secret of an endpoint, of bytes made by chance."""
    return _PREFIX + b64encode(chance).decode()


def is_secret(text: str) -> bool:
    try:
        return bool(_SECRET.fullmatch(text)) and _LEAST_BYTES <= len(_key(text)) <= _MOST_BYTES
    except ValueError:
        return False


def hint_of(secret: str) -> str:
    """Enough of a secret to tell it from others."""
    return f"{_PREFIX}…{secret[-4:]}"


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(_PREFIX), validate=True)


def sign(keys: Iterable[str], *, id: str, at: int, body: bytes) -> str:
    """One signature for each secret: any of them is enough for who verifies."""
    said = f"{id}.{at}.".encode() + body
    made = (hmac.digest(_key(key), said, "sha256") for key in keys)
    return " ".join(f"v1,{b64encode(each).decode()}" for each in made)


def headers(id: str, *, now: datetime, keys: Iterable[str], body: bytes) -> dict[str, str]:
    """What says who sends this and when. The id is the same however often it is sent."""
    at = int(now.timestamp())
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(keys, id=id, at=at, body=body),
    }


# --- tries ---


def is_taken(answered: int | None) -> bool:
    """Whether an answer says that the event was received: a redirect does not."""
    return answered is not None and 200 <= answered < 300


def next_try(
    tries: int, *, now: datetime, jitter: float, asked: timedelta | None = None
) -> datetime | None:
    """When to try again after so many tries that failed; None: not any more.

    `jitter` is a number from 0 to 1 that chance has made; `asked` what the answer asks us to wait.
    """
    if tries > len(DELAYS):
        return None
    delay = DELAYS[tries - 1] * (1 + _JITTER * jitter)
    return now + max(delay, min(asked or timedelta(), _MOST_ASKED))


def rest_after(answered: int | None, asked: timedelta | None) -> timedelta | None:
    """So long nothing else is sent to an endpoint that answers so; None: it is not busy."""
    if answered not in _BUSY:
        return None
    return _REST if asked is None else min(asked, _MOST_ASKED)
