"""`anybatch webhooks`: who hears of the end of batches, and what is sent to them again."""

import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..clock import SystemClock
from ..core.webhooks import DeliveryStatus, WebhookEndpoint
from ..errors import UsageError
from ..server.alone import pid_of_server
from ..settings import load
from ..store.served import ServedStore
from .report import print_json

_AGO = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_STATUSES: tuple[DeliveryStatus, ...] = ("waiting", "delivered", "failed")

Counts = Counter[DeliveryStatus]


def list_command(store: Path | None, *, as_json: bool) -> None:
    """All endpoints there are, and how far what is sent to them is."""
    there = ServedStore(_home(store))
    try:
        endpoints, counts = there.webhook_endpoints(), there.webhook_counts()
    finally:
        there.close()
    if as_json:
        print_json([_shown(each, counts.get(each.id, Counter())) for each in endpoints])
        return
    for each in endpoints:
        print(_line(each, counts.get(each.id, Counter())))
    if not endpoints:
        print("no endpoints; clients make them at /v1/webhook_endpoints", file=sys.stderr)


def replay_command(
    events: Sequence[str],
    store: Path | None,
    *,
    endpoint: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """Have events sent again: these, or all since a moment, or those that were given up."""
    home, now = _home(store), SystemClock().now()
    moment = None if since is None else _moment(since, now=now)
    there = ServedStore(home)
    try:
        _check(there, events, endpoint)
        sent = there.replay_webhooks(
            now=now, events=events or None, since=moment, endpoint_id=endpoint
        )
    finally:
        there.close()
    if as_json:
        print_json([{"event": each.event_id, "endpoint": each.endpoint_id} for each in sent])
        return
    for each in sent:
        print(f"{each.event_id}  {each.endpoint_id}")
    print(_said(len(sent), is_served=pid_of_server(home) is not None), file=sys.stderr)


def _home(store: Path | None) -> Path:
    return load(folder=Path.cwd(), environment=os.environ, store=store).home


def _check(store: ServedStore, events: Sequence[str], endpoint_id: str | None) -> None:
    """Raises UsageError for what is not there, or hears of nothing."""
    if endpoint_id is not None:
        endpoint = store.webhook_endpoint(endpoint_id)
        if endpoint is None:
            raise UsageError(f"no endpoint is {endpoint_id!r}; see `anybatch webhooks list`")
        if endpoint.status == "disabled":
            raise UsageError(f"{endpoint_id!r} is disabled: {endpoint.why or 'its owner said so'}")
    known = store.known_webhook_events(events)
    for event_id in events:
        if event_id not in known:
            raise UsageError(f"no event is {event_id!r}; they are kept for 30 days")


def _moment(text: str, *, now: datetime) -> datetime:
    """A time as ISO 8601 has it, or so long ago as `2h`. Raises UsageError."""
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--since {text!r} is no time: write 30m, 2h, 7d or 2026-11-20T12:00:00"
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _said(count: int, *, is_served: bool) -> str:
    if not count:
        return "nothing to send again"
    who = "the server that runs" if is_served else "the next server that starts"
    return f"{count} to be sent again, by {who}"


def _shown(endpoint: WebhookEndpoint, counts: Counts) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "owner": endpoint.owner,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": endpoint.event_types,
        "status": endpoint.status,
        "why": endpoint.why,
        "in_settings": endpoint.settled,
        **{status: counts[status] for status in _STATUSES},
    }


def _line(endpoint: WebhookEndpoint, counts: Counts) -> str:
    far = "  ".join(f"{status}={counts[status]}" for status in _STATUSES)
    owner = "everybody's" if endpoint.owner is None else endpoint.owner
    return "  ".join((endpoint.id, owner, endpoint.status, far, endpoint.url))
