"""Webhooks as the settings name them: endpoints, and hosts that may lie in our own network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

from ..core.addresses import BadAddress, read_host, read_target
from ..core.webhooks import EVENT_TYPES, WebhookEndpoint, is_secret
from ..errors import BadSettings

_FIELDS = ("url", "secret_env", "events", "owner", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An endpoint that the settings name. It hears of all owners' orders, or of one's."""

    url: str
    secret: str = field(repr=False)
    event_types: tuple[str, ...] = EVENT_TYPES
    owner: str | None = None
    name: str = ""

    @property
    def id(self) -> str:
        """The same with each start, so that what waits for it is sent on."""
        said = f"{self.owner or ''}\n{self.url}".encode()
        return f"we_{blake2b(said, digest_size=12).hexdigest()}"

    def endpoint(self, *, now: datetime) -> WebhookEndpoint:
        return WebhookEndpoint(
            id=self.id,
            owner=self.owner,
            name=self.name,
            url=self.url,
            event_types=self.event_types,
            created_at=now,
            updated_at=now,
            settled=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """What `[server]` says of webhooks."""

    hosts: frozenset[str] = frozenset()
    """Hosts that may lie anywhere, and be called by `http`."""
    endpoints: tuple[Settled, ...] = ()


def webhooks_of(server: Mapping[str, Any], environment: Mapping[str, str]) -> WebhookSettings:
    """What the `[server]` table says of webhooks. Raises BadSettings."""
    hosts = _hosts(server.get("webhook_hosts", []))
    tables = server.get("webhooks", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadSettings("write webhooks in anybatch.toml as [[server.webhooks]] tables")
    endpoints = tuple(_settled(table, hosts, environment) for table in tables)
    if len({endpoint.id for endpoint in endpoints}) < len(endpoints):
        raise BadSettings("two [[server.webhooks]] in anybatch.toml have the same url and owner")
    return WebhookSettings(hosts=hosts, endpoints=endpoints)


def _hosts(given: object) -> frozenset[str]:
    if not isinstance(given, list) or not all(isinstance(host, str) for host in given):
        raise BadSettings("webhook_hosts in [server] of anybatch.toml must be a list of hosts")
    try:
        return frozenset(read_host(f"[{host}]" if ":" in host else host) for host in given)
    except BadAddress:
        raise BadSettings(
            f"webhook_hosts in [server] of anybatch.toml has {given!r}; each must be the name or "
            "the IP address of a host, without a scheme, a port or a pattern"
        ) from None


def _settled(
    table: Mapping[str, Any], hosts: frozenset[str], environment: Mapping[str, str]
) -> Settled:
    for name in table:
        if name not in _FIELDS:
            raise _wrong(f"has {name!r}; it may have {', '.join(_FIELDS)}")
    for name in ("url", "secret_env"):
        if not isinstance(table.get(name), str):
            raise _wrong(f"needs a text as its {name}")
    owner, name = table.get("owner"), table.get("name", "")
    if not isinstance(owner, str | None) or not isinstance(name, str):
        raise _wrong("has an owner or a name that is no text")
    try:
        url = read_target(table["url"], allowed=hosts).url
    except BadAddress as e:
        raise _wrong(f"has a url that is not called: {e}. See webhook_hosts") from None
    return Settled(
        url=url,
        secret=_secret(table["secret_env"], environment),
        event_types=_events(table.get("events", list(EVENT_TYPES))),
        owner=owner,
        name=name,
    )


def _secret(variable: str, environment: Mapping[str, str]) -> str:
    secret = environment.get(variable, "").strip()
    if not is_secret(secret):
        raise _wrong(
            f"reads its secret from the environment variable {variable}, which must hold whsec_ "
            'and 24 to 64 bytes in base64. Make one with: echo "whsec_$(openssl rand -base64 32)"'
        )
    return secret


def _events(given: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        raise _wrong("needs a list as its events, or none to hear of all")
    for each in given:
        if each not in EVENT_TYPES:
            raise _wrong(f"has {each!r} among its events; there are {', '.join(EVENT_TYPES)}")
    return tuple(dict.fromkeys(given))


def _wrong(what: str) -> BadSettings:
    return BadSettings(f"a [[server.webhooks]] table in anybatch.toml {what}")
