"""A batch whose rows run, as far as all services have it in common; and all of them together."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from ..service.front import Refused
from ..service.http1 import Extent
from .desk import Desk
from .ledger import AcceptedBatch
from .life import Fate, Life, Stage
from .registry import Registry
from .rows import Reader, Row
from .work import Given, Sums, Work, ordered


class Running(ABC):
    """Belongs to the service's thread."""

    together: ClassVar[bool] = True
    """Whether errors are filed among the results."""

    def __init__(self, accepted: AcceptedBatch, life: Life, desk: Desk[Any]) -> None:
        self.id = accepted.id
        self.number = accepted.number
        self.life = life
        self.created_at = life.since
        self.looks = 0
        self.lists = 0
        self.lock = asyncio.Lock()
        self.sums = Sums()
        self.errors: Extent | None = None
        """Where they are filed apart, once its life is over and if there is a line of them."""
        self._desk = desk
        self._work: Work | None = None
        """None: nothing runs, yet or any more."""
        desk.ledger.accept(accepted)

    @abstractmethod
    def given(self) -> Given | None:
        """The rows to run; None: they are refused all together."""

    @property
    @abstractmethod
    def reader(self) -> Reader:
        """Reads the body of a row."""

    @abstractmethod
    def write_row(self, row: Row, number: int) -> bytes:
        """A line of the results."""

    @abstractmethod
    def finish(self, results: Extent | None, at: float) -> None:
        """Its life is over; `results` None: there is no line of them."""

    @property
    def fate(self) -> Fate:
        return self.life.fate

    @property
    def shuffles(self) -> bool:
        """Whether rows are run in an order of their own."""
        return self._desk.shuffle

    @property
    def word(self) -> str | None:
        """What this look is told instead of its status."""
        words = self.fate.words
        return words[self.looks - 1] if 0 < self.looks <= len(words) else None

    def validate(self, at: float) -> None:
        given = self.given()
        if given is None:
            self.enter("failed", at)
            return
        desk = self._desk
        self._work = Work(
            self.id,
            given,
            ordered(len(given), shuffle=self.shuffles, seed=f"{desk.seed}/{self.number}"),
            runner=desk.runner,
            read=self.reader,
            write=self.write_row,
            vault=desk.vault,
            ledger=desk.ledger,
            together=self.together,
        )
        self.sums = self._work.sums
        self.life = replace(self.life, total=len(given))
        self.enter("in_progress", at)

    async def run(self, until: int) -> None:
        assert self._work is not None
        await self._work.run(self.life.done, until, self._count)

    def enter(self, stage: Stage, at: float) -> None:
        if stage in ("expired", "cancelled") and self._work is not None:
            self._work.give_up(self.life.done, stage)
        self.life = self.life.enter(stage, at)
        if self.life.is_over:
            self.finish(self._closed(), at)
        self._desk.ledger.move(self.id, stage=stage, rows=self.life.total)

    def _closed(self) -> Extent | None:
        """The results of what has run, if any has."""
        if self._work is None:
            return None
        made = self._work.close()
        # Which may be long: all that is needed of it is in the sums.
        self._work = None
        self.errors = made.content(ok=False)
        return made.content(ok=True)

    def _count(self, done: int) -> None:
        self.life = replace(self.life, done=done)


R = TypeVar("R", bound=Running)


class Book(Registry[R]):
    """All batches, as clients see them."""

    def __init__(self, now: Callable[[], float], unknown: Callable[[str], Refused]) -> None:
        super().__init__(now)
        self._unknown = unknown

    async def known(self, batch_id: str) -> R:
        """The batch with all that is due by now. Raises Refused."""
        found = self.find(batch_id)
        if found is None:
            raise self._unknown(batch_id)
        await self.look(found)
        return found

    async def looked_at(self, batch_id: str) -> R:
        """The same, counted as a look. Raises Refused."""
        batch = await self.known(batch_id)
        batch.looks += 1
        if batch.looks in batch.fate.lost:
            raise self._unknown(batch_id)
        return batch

    async def shown(self) -> list[R]:
        """What a list holds, the newest first."""
        shown = []
        await self.look(*self.all)
        for batch in reversed(self.all):
            batch.lists += 1
            if batch.lists > batch.fate.unlisted:
                shown.append(batch)
        return shown
