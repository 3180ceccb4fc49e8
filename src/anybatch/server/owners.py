"""Whose call it is: by the key that it carries. Keys are known by their hashes only."""

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from ..errors import BadSettings

EVERYBODY = "everybody"
"""The one owner of all, where no keys are asked for."""
_HASH = re.compile(r"[0-9a-f]{64}")


def hash_of(key: str | bytes) -> str:
    """What is kept of a key. It is long and made by chance, so a plain hash tells nothing."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


class Owners:
    """Owners by the hashes of their keys; without any, everybody is one."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)

    @property
    def ask_for_keys(self) -> bool:
        return bool(self._hashes)

    def owner_of(self, headers: Collection[tuple[bytes, bytes]]) -> str | None:
        """None: the key is missing or unknown; or none is asked for, and a page from elsewhere
        calls through somebody's browser."""
        if not self._hashes:
            return EVERYBODY if _is_from_here(headers) else None
        found, given = None, hash_of(_key(headers))
        for owner, known in self._hashes.items():  # all of them, whichever it is
            if hmac.compare_digest(known, given):
                found = owner
        return found


def _is_from_here(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a call names this machine by an address that only this machine has.

    A browser says which page calls (`Origin`), and by which name it found us (`Host`).
    """
    named = dict(headers)
    host, origin = named.get(b"host", b""), named.get(b"origin")
    here = _is_here("http://" + host.decode("latin-1"))
    return here and (origin is None or _is_here(origin.decode("latin-1")))


def _is_here(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _key(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
        if name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
            return value.strip()
    return b""


def owners_of(server: Mapping[str, Any]) -> Owners:
    """The owners in the `[server.keys]` table. Raises BadSettings."""
    keys = server.get("keys", {})
    if not isinstance(keys, dict):
        raise BadSettings("[server] in anybatch.toml: write keys as a [server.keys] table")
    for owner, known in keys.items():
        if not isinstance(known, str) or not _HASH.fullmatch(known):
            raise BadSettings(
                f"[server.keys] in anybatch.toml: {owner!r} must be the SHA-256 of a key, in 64 "
                "hexadecimal digits"
            )
    return Owners(keys)
