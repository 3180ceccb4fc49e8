"""Tokens: what Google's credentials are exchanged for, and what calls have to carry."""

import base64
import hashlib
from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from ...core.model import Json
from ..gemini.errors import json_reply
from ..service.front import Operation, Refused
from ..service.http1 import Head, Reply
from .errors import unauthenticated

BY_SIGNATURE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
FLAVOR: Final = {"metadata-flavor": "Google"}


class Tokens:
    """Belongs to the service's thread."""

    def __init__(
        self,
        *,
        key: str | None,
        accounts: Collection[str],
        seconds: float,
        seed: int,
        now: Callable[[], float],
    ) -> None:
        self._key = key
        self._accounts = accounts
        self._seconds = seconds
        self._seed = seed
        self._now = now
        self._ends: dict[str, float] = {}
        """By token, when it ends."""
        self._made = 0

    def refusal(self, head: Head) -> Reply | None:
        """The answer to a call that carries no token it may; None where it does."""
        scheme, _, token = head.headers.get("authorization", "").partition(" ")
        if scheme and scheme != "Bearer":
            return unauthenticated()
        if token == self._key or (self._key is None and not self._accounts):
            return None
        return None if self._ends.get(token, 0.0) > self._now() else unauthenticated()

    def exchange(self, operation: Operation) -> Reply:
        """A token for credentials, or for who runs on this machine. Raises Refused."""
        if operation.head.method == "GET":
            return self._of_this_machine(operation.head)
        given = dict(parse_qsl(operation.body.decode(errors="replace")))
        if given.get("grant_type") == BY_SIGNATURE:
            who = _signed(given.get("assertion", "")).get("iss")
        else:
            who = given.get("client_id")
        if who not in self._accounts:
            raise _denied("invalid_grant", f"{who!r} is not an account here.")
        return json_reply(self._new())

    def revoke(self) -> None:
        """No token that was given out until now is taken any more."""
        self._ends.clear()

    def _of_this_machine(self, head: Head) -> Reply:
        if head.headers.get("metadata-flavor") != "Google":
            return json_reply({}, status=403)
        if not head.path.endswith("/token"):
            return json_reply({}, headers=FLAVOR)
        return json_reply(self._new(), headers=FLAVOR)

    def _new(self) -> Json:
        self._made += 1
        digest = hashlib.sha256(f"{self._seed}/token/{self._made}".encode()).hexdigest()
        token = f"ya29.{digest[:32]}"
        self._ends[token] = self._now() + self._seconds
        return {"access_token": token, "expires_in": int(self._seconds), "token_type": "Bearer"}


def _signed(assertion: str) -> dict[str, Any]:
    """What a signed claim says; who signed it is not looked at. Raises Refused."""
    try:
        _, claims, _ = assertion.split(".")
        padded = claims + "=" * (-len(claims) % 4)
        read = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=dict[str, Any])
    except ValueError:
        raise _denied("invalid_grant", "Invalid JWT.") from None
    if SCOPE not in str(read.get("scope", "")).split():
        raise _denied("invalid_scope", "The scope is not one that this service knows.")
    return read


def _denied(error: str, message: str) -> Refused:
    return Refused(json_reply({"error": error, "error_description": message}, status=400))
