"""Whose call it is, by the key that it carries. Keys are known by their hashes only."""

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from msgspec.structs import replace

from ..core.served import ApiKey
from ..errors import BadSettings

EVERYBODY = "everybody"
"""The one owner of all, where no keys are asked for."""
_HASH = re.compile(r"[0-9a-f]{64}")


def hash_of(key: str | bytes) -> str:
    """What is kept of a key. It is long and made by chance, so a plain hash tells nothing."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


def new_key(owner: str, *, now: datetime, **terms: int | None) -> tuple[str, ApiKey]:
    """A key, which nobody can tell again, and what is kept of it."""
    key = f"sk-{secrets.token_hex(24)}"
    said = {name: term for name, term in terms.items() if term is not None}
    kept = ApiKey(id=f"key_{secrets.token_hex(6)}", owner=owner, hash=hash_of(key), made_at=now)
    return key, replace(kept, **said)


class Owners:
    """Owners by the hashes of their keys, from the settings and the store; without any, everybody
    is one."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._settled = {known: owner for owner, known in hashes.items()}
        self._hashes = dict(self._settled)
        self._terms: dict[str, ApiKey] = {}
        self.ask_for_keys = bool(hashes)

    def learn(self, stored: Sequence[ApiKey]) -> None:
        """Go by these keys from now on, beside those of the settings.

        Where all were revoked a key is asked for still: nobody has opened the server to all.
        """
        valid = [key for key in stored if key.revoked_at is None]
        self._hashes = self._settled | {key.hash: key.owner for key in valid}
        self._terms = {key.owner: key for key in valid}  # the newest stands
        self.ask_for_keys = bool(self._settled or stored)

    def is_known(self, owner: str) -> bool:
        """Whether somebody may call as this owner now."""
        if not self.ask_for_keys:
            return owner == EVERYBODY
        return owner in self._hashes.values()

    def terms_of(self, owner: str) -> ApiKey | None:
        """The newest key of an owner says how much it may ask for; None: as much as it likes."""
        return self._terms.get(owner)

    def weight_of(self, owner: str) -> int:
        terms = self.terms_of(owner)
        return 1 if terms is None else terms.weight

    def owner_of(self, headers: Collection[tuple[bytes, bytes]], query: bytes = b"") -> str | None:
        """None: the key is missing or unknown; or none is asked for, and a page from elsewhere
        calls through somebody's browser."""
        if not self.ask_for_keys:
            return EVERYBODY if _is_from_here(headers) else None
        # What is compared are hashes: the time that it takes tells nothing of a key.
        return self._hashes.get(hash_of(_key(headers) or query_key(query)))


def _is_from_here(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a call names this machine by an address that only this machine has.

    A browser says which page calls (`Origin`), and by which name it found us (`Host`).
    """
    named = dict(headers)
    host, origin = named.get(b"host", b""), named.get(b"origin")
    here = is_here("http://" + host.decode("latin-1"))
    return here and (origin is None or is_here(origin.decode("latin-1")))


@lru_cache(maxsize=256)
def is_here(address: str) -> bool:
    """Whether an address is one of this machine's own, which no other can have."""
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _key(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    bearer = b""
    for name, value in headers:
        if name in (b"x-api-key", b"x-goog-api-key", b"api-key") and value.strip():
            return value.strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = value[7:].strip()
    return bearer


def query_key(query: bytes) -> bytes:
    """The key in an address, where calls by hand to Google's services may have it; empty: it has
    none. Checked 2026-11-20."""
    if b"key=" not in query:
        return b""
    said = dict(reversed(parse_qsl(query.decode("latin-1"))))
    return said.get("key", "").strip().encode()


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
