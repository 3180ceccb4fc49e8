"""What a run spends while calls are under way: each goes out only if there is enough for it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf

from ..core.budget import UNMETERED, Purse, paid, room, spent_on, worst_call
from ..core.model import Batch, Request, Result
from ..executors.executor import Record


class Allowance:
    """What one batch that is answered call by call takes of what may be spent."""

    def __init__(self, batch: Batch, purse: Purse, left: Callable[[], float]) -> None:
        self._batch = batch
        self._purse = purse
        self._left = left
        self._under_way: dict[int, float] = {}
        self._paid = spent_on(purse, batch)
        self.least = 0.0
        """What the next call may cost, if it did not go out for that."""

    @property
    def gone(self) -> float:
        """What is spent on it, and what the calls under way may cost."""
        return self._paid + sum(self._under_way.values())

    @property
    def settled(self) -> float:
        return self._paid

    def of(self, requests: Iterator[Request]) -> Iterator[Request]:
        """`requests`, as long as there is enough. One who was told that there is not may ask again
        later: what came back has cost less than it might have."""
        return _Allowed(requests, self)

    def lets(self, request: Request) -> bool:
        """Whether it may go out; it counts as under way, then."""
        dollars = worst_call(self._purse, self._batch, len(request.body))
        if dollars > self._left():
            self.least = dollars
            return False
        self._under_way[request.n] = dollars
        return True

    def by(self, record: Record) -> Record:
        """`record`, of results whose price is known from then on."""

        async def recorded(*results: Result) -> None:
            for result in results:
                self.settle(result)
            await record(*results)

        return recorded

    def settle(self, result: Result) -> None:
        """It is known now what this call cost."""
        most = self._under_way.pop(result.n, 0.0)
        if result.outcome in UNMETERED:
            self._paid += most
        self._paid += paid(self._purse, self._batch, result.usage)


class _Allowed:
    """Requests one by one, as an allowance lets them go; not over for good when it stops."""

    def __init__(self, requests: Iterator[Request], allowance: Allowance) -> None:
        self._requests = requests
        self._allowance = allowance
        self._next: Request | None = None

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        request = next(self._requests) if self._next is None else self._next
        self._next = request
        if not self._allowance.lets(request):
            raise StopIteration
        self._next = None
        return request


class Spending:
    """What the batches that this process answers may spend together."""

    def __init__(self, batches: Callable[[], Iterable[Batch]]) -> None:
        self.purse: Purse | None = None
        self._batches = batches
        self._open: dict[str, Allowance] = {}
        self._rest = inf
        """What may be spent if none of the open ones had spent anything."""
        self._least: dict[str, float] = {}

    @property
    def least(self) -> Mapping[str, float]:
        """What the next calls of batches may cost that did not go out for that."""
        return self._least

    def look(self, purse: Purse | None) -> None:
        """Count anew what others have spent, and what they may."""
        self.purse = purse
        self._rest = inf if purse is None else room(purse, self._batches(), but=self._open)

    def left(self) -> float:
        """What may be spent more."""
        return self._rest - sum(allowance.gone for allowance in self._open.values())

    @contextmanager
    def allowed(self, batch: Batch) -> Iterator[Allowance | None]:
        """What `batch` may spend while it is answered; None: as much as it takes."""
        if self.purse is None:
            yield None
            return
        allowance = Allowance(batch, self.purse, self.left)
        self._open[batch.id] = allowance
        self.look(self.purse)
        try:
            yield allowance
        finally:
            del self._open[batch.id]
            self._least[batch.id] = allowance.least
            # Until somebody looks again.
            self._rest -= allowance.settled
