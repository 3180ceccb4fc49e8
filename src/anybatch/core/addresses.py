"""Addresses that somebody else chose: how they are read, and which lead into our own network.

An address is read strictly. What two programs could read in two ways, as `http://127.1` or
`http://a@b`, is none.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

MAX_URL = 2048
_URL = re.compile(r"(?i:(https?))://([^/?#@\\]+)(/[^?#\\]*)?(\?[^#\\]*)?")
_PRINTABLE = re.compile(r"[!-~]+")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME = 253
_PORTS: dict[str, int] = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024
"""Below it other services listen than those that hear of events."""

_NOT_PUBLIC_4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared with the carrier; some clouds' metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's, of each of its machines
            "169.254.0.0/16",  # link-local, with most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # IETF protocols
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
"""IANA's registry of special-purpose addresses of IPv4, with what clouds keep for themselves,
checked 2026-11-20."""

_GLOBAL_6 = ip_network("2000::/3")
"""Of all others none is anybody's on the internet: loopback, mapped, local, multicast."""
_NOT_PUBLIC_6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # IETF protocols, with Teredo
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address in disguise
            "3fff::/20",  # documentation
        ),
    )
)
"""IANA's registry of special-purpose addresses of IPv6, checked 2026-11-20."""
_TRANSLATED = ip_network("64:ff9b::/96")
"""The last four bytes are the IPv4 address where it leads (RFC 6052)."""


class BadAddress(ValueError):
    """Nothing is sent to such an address; says why."""


class Target(NamedTuple):
    """Where a call goes."""

    url: str
    """As it is called: lower case where case says nothing, without what says nothing."""
    host: str
    """A name, or an IP address without brackets."""
    port: int
    is_allowed: bool
    """Whether it is allowed by name: then it may lie anywhere."""


def read_target(text: str, *, allowed: Collection[str] = ()) -> Target:
    """Raises BadAddress for what is not called. What is `allowed` may be called by `http`."""
    if len(text) > MAX_URL or not _PRINTABLE.fullmatch(text):
        raise BadAddress(f"it has to be a URL of at most {MAX_URL} printable ASCII characters")
    parts = _URL.fullmatch(text)
    where = None if parts is None else _AUTHORITY.fullmatch(parts[2])
    if parts is None or where is None:
        raise BadAddress("it has to be a URL as https://host/path, without a user or a fragment")
    scheme, host = parts[1].lower(), read_host(where[1])
    port = _PORTS[scheme] if where[2] is None else int(where[2])
    is_allowed = host in allowed
    if not 0 < port < 65_536:
        raise BadAddress("it has no port that exists")
    if not is_allowed:
        _check_manner(scheme, port)
    authority = f"[{host}]" if ":" in host else host
    if port != _PORTS[scheme]:
        authority = f"{authority}:{port}"
    url = f"{scheme}://{authority}{parts[3] or '/'}{parts[4] or ''}"
    return Target(url, host, port, is_allowed)


def _check_manner(scheme: str, port: int) -> None:
    if scheme != "https":
        raise BadAddress("it has to begin with https://")
    if port < _FIRST_FREE_PORT and port not in _PORTS.values():
        raise BadAddress(f"its port has to be 443, 80 or one from {_FIRST_FREE_PORT} on")


def read_host(text: str) -> str:
    """A host's name or IP address as we write it. Raises BadAddress."""
    name = text.lower()
    if name.startswith("["):
        return str(_ip(name[1:-1]))
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return str(_ip(name))
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise BadAddress("its host is no name of the internet's")
    return name


def _ip(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise BadAddress("its host is no IP address in the usual form") from None


def is_public(address: str) -> bool:
    """Whether an IP address is one on the internet, and not of this machine or its network."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC_4)
    if ip.scope_id is not None:
        return False
    if ip in _TRANSLATED:
        return is_public(str(IPv4Address(int(ip) & 0xFFFF_FFFF)))
    return ip in _GLOBAL_6 and not any(ip in network for network in _NOT_PUBLIC_6)
