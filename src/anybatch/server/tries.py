"""Tries of official SDKs that made nothing: the next try of such a call is the first that counts.

An SDK says how often it has tried, and not what. So a try that comes after one which this server
refused has to be told from one whose answer was lost: what says the same may have been made before,
for another call.
"""

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import NamedTuple

from starlette.types import Scope

from ..clock import Clock

TRY = "x-stainless-retry-count"
TRIED_AGAIN = timedelta(minutes=15)
"""So long an SDK may try a call again."""
_SAID, _COUNTS, _SETTLED = "anybatch.said", "anybatch.counts", "anybatch.settled"
_MOST = 4096
"""So many refused calls are remembered."""


class _Words(NamedTuple):
    """What is known of a call without its body."""

    owner: str
    path: str
    length: str
    tries: int


class _Refused(NamedTuple):
    at: datetime
    said: str | None
    """The digest of the body; None: it was not looked at."""


def heard(scope: Scope, digest: str) -> None:
    """Note what the body of a call says."""
    scope[_SAID] = digest


def body_digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def settled(scope: Scope) -> None:
    """Note that a call has made what it was to make, or that it is known that it made nothing."""
    scope[_SETTLED] = True


class Tries:
    """Belongs to the event loop. It forgets with the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: OrderedDict[_Words, list[_Refused]] = OrderedDict()
        """By the try that comes next."""

    def is_first(self, scope: Scope, owner: str, *, since: datetime | None) -> bool:
        """Whether all tries of a call that came before made nothing. `since`: when something was
        made that says the same; what was refused before that is no part of this call."""
        words = _words(scope, owner)
        if words is None:
            return False
        if not words.tries or self._take(words, scope.get(_SAID), since):
            scope[_COUNTS] = True
            return True
        return False

    def made_nothing(self, scope: Scope, owner: str) -> None:
        """Note that a try was refused, whyever."""
        words = _words(scope, owner)
        if words is None or scope.get(_SETTLED):
            return
        said: str | None = scope.get(_SAID)
        if words.tries and not scope.get(_COUNTS) and not self._take(words, said, None):
            return
        settled(scope)
        following = words._replace(tries=words.tries + 1)
        refused = self._refused.setdefault(following, [])
        refused.append(_Refused(self._clock.now(), said))
        self._refused.move_to_end(following)
        if len(self._refused) > _MOST:
            self._refused.popitem(last=False)

    def _take(self, words: _Words, said: str | None, since: datetime | None) -> bool:
        """Whether the try before was refused; only one comes after it."""
        earliest = self._clock.now() - TRIED_AGAIN
        earliest = earliest if since is None else max(since, earliest)
        refused = self._refused.pop(words, [])
        left = [each for each in refused if each.at >= earliest]
        found = next(
            (each for each in left if None in (said, each.said) or each.said == said), None
        )
        if found is not None:
            left.remove(found)
        if left:
            self._refused[words] = left
        return found is not None


def _words(scope: Scope, owner: str) -> _Words | None:
    """None: a call that does not say how often it was tried."""
    headers = dict(scope["headers"])
    tries = headers.get(TRY.encode())
    if scope["method"] != "POST" or tries is None or not (tries or b"0").isdigit():
        return None
    length = headers.get(b"content-length", b"").decode("latin-1")
    return _Words(owner, scope["path"], length, int(tries[:6] or b"0"))
