"""Who is next where several wait for a place: owners by their weight, and their batches in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple


def _one() -> int:
    return 1


class Party(NamedTuple):
    """On whose behalf calls are made."""

    owner: str = ""
    batch: str = ""
    weight: Callable[[], int] = _one
    """So many places it gets for one of an owner that weighs 1."""


ALONE = Party()
"""For who shares with nobody."""

Place = asyncio.Future[None]


class _Owner:
    """What one owner has waiting. It stands in the heap as long as that is something."""

    def __init__(self) -> None:
        self.batches: OrderedDict[str, deque[Place]] = OrderedDict()
        """Of each batch those who wait, the next batch first."""
        self.due = 0.0
        """When it is next, on the line's own clock."""

    def take(self) -> Place | None:
        """The first of the batch whose turn it is; None: all have given up."""
        while self.batches:
            batch, waiting = next(iter(self.batches.items()))
            place = waiting.popleft()
            if waiting:
                self.batches.move_to_end(batch)
            else:
                del self.batches[batch]
            if not place.cancelled():
                return place
        return None


class Line:
    """Those who wait for a place. Belongs to the event loop.

    Start-time fair queueing: an owner is due again `1 / weight` after it was, on a clock that says
    when the last who got a place was due. Who comes back after a while has saved nothing up.
    """

    def __init__(self) -> None:
        self._owners: dict[str, _Owner] = {}
        self._heap: list[tuple[float, int, str, Party]] = []
        self._numbers = count()
        self._now = 0.0

    def __bool__(self) -> bool:
        """Whether anybody may be waiting."""
        return bool(self._heap)

    def add(self, party: Party, place: Place) -> None:
        owner = self._owners.get(party.owner)
        if owner is None:
            owner = self._owners[party.owner] = _Owner()
        if not owner.batches:
            owner.due = max(owner.due, self._now)
            self._push(owner, party)
        waiting = owner.batches.get(party.batch)
        if waiting is None:
            waiting = owner.batches[party.batch] = deque()
        waiting.append(place)

    def _push(self, owner: _Owner, party: Party) -> None:
        heappush(self._heap, (owner.due, next(self._numbers), party.owner, party))

    def take(self) -> Place | None:
        """Who is next and is no longer in line then; None: nobody waits."""
        while self._heap:
            due, _, name, party = heappop(self._heap)
            owner = self._owners[name]
            place = owner.take()
            if place is not None:
                self._now = due
                owner.due = due + 1 / party.weight()
            if owner.batches:
                self._push(owner, party)
            if place is not None:
                return place
        return None
