"""Calls in real time at a fake that is no endpoint of its own: answered, and put in the books."""

import hashlib
from collections import Counter
from typing import Protocol

from ..endpoint.answers import Answerer
from ..endpoint.call import Call
from ..endpoint.ledger import Ledger
from ..endpoint.plan import executed
from ..service.http1 import Reply
from .rows import Shape


class Read(Protocol):
    """Reads a call's body, or says what is wrong with it."""

    def __call__(self, body: bytes, *, number: int, attempt: int, sha: str) -> Call | Reply: ...


class RealTime:
    """Belongs to the service's thread; its ledger is read from others."""

    def __init__(self, answer: Answerer, shape: Shape) -> None:
        self.ledger = Ledger()
        self._answer = answer
        self._shape = shape
        self._attempts: Counter[bytes] = Counter()

    def reply(self, body: bytes, read: Read) -> Reply:
        digest = hashlib.sha256(body)
        self._attempts[digest.digest()] += 1
        attempt, number = self._attempts[digest.digest()], self.ledger.arrive()
        call = read(body, number=number, attempt=attempt, sha=digest.hexdigest())
        if isinstance(call, Reply):
            self.ledger.end(None, status=call.status, outcome="answered")
            return call
        planned = executed(call, self._answer, self._shape.write)
        place = self.ledger.begin(planned.execution)
        self.ledger.end(place, status=200, outcome="answered")
        assert planned.sending.reply is not None
        return planned.sending.reply
