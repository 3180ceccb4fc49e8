"""Orders: accepted, looked at, listed, cancelled; and moved on, one step after the other.

All that is open is held in memory as it was last committed, so that a look costs no query.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

from msgspec.structs import replace

from ..core.model import Api, Counts, Json, Run, Usage
from ..core.served import Order, StoredFile, Sums
from ..engine.events import Progress
from ..errors import StoreUnwritable
from .desk import Desk
from .face import Absent, Face, OverLimit
from .owners import Owners
from .repeats import Answers, to_nobody
from .shared import ServingWorkspace
from .telemetry import Silent, Telemetry
from .tokens import Tokens
from .turns import Lane

_ANSWERED = ("succeeded", "truncated", "refused", "invalid_output")
_REFUSED = ("too_long", "bad_request")
"""Outcomes that no later attempt changes, so that no count falls."""
_REMEMBERED = 4096
"""So many orders that are over are held in memory, too."""
_LOOK_AGAIN_S = 60
"""Who has too many orders open may ask again after so long: when one ends, nobody knows."""

Keep = Callable[[], Awaitable[StoredFile]]
"""Has the input of an order kept that came with it."""


class Orders:
    """Belongs to the event loop."""

    def __init__(
        self,
        desk: Desk,
        workspace: ServingWorkspace,
        owners: Owners,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.desk = desk
        self.store = desk.store
        self.workspace = workspace
        self.open: dict[str, Order] = {}
        """In the order they were accepted."""
        self.changed = asyncio.Event()
        """Set when there is something new to do."""
        self.news = asyncio.Event()
        """Set when an order is over: somebody may want to hear of it."""
        self.owners = owners
        self.tokens = Tokens(self.store, desk.clock, owners)
        self._telemetry = telemetry or Silent()
        self._accepting: Counter[str] = Counter()
        """How many orders of an owner are being written down."""
        self._over: dict[str, Order] = {}
        self._progress: dict[str, dict[str, Progress]] = {}
        self._lanes: dict[str, Lane] = {}
        """Of open orders whose input was looked at."""
        self.resting: dict[str, str] = {}
        """Open orders at places that answer nobody for a time, each with the reason."""
        self.ended: Counter[str] = Counter()
        """How many orders came to which end since the server began."""
        self.outcomes: Counter[str] = Counter()
        """What became of their requests."""
        # Guards the way from reading an order to writing it: two changes of one must not cross.
        self._moving = asyncio.Lock()

    def load(self) -> None:
        """Take up what an earlier server has left. Called before anybody asks."""
        self.tokens.load()
        for order in self.store.open_orders():
            self.open[order.id] = order
            self._lanes[order.id] = self._lane(order)
            for run_id in order.runs:
                if self.store.has_run(run_id):
                    self.note(order, self.workspace.progress(self.store.run(run_id)))

    # --- for clients ---

    async def accept(
        self,
        *,
        owner: str,
        face: Face,
        api: Api,
        asked: Json,
        input_file: str | Keep,
        window: timedelta,
        kept_seconds: int,
        answers: Answers = to_nobody,
    ) -> Order:
        """Take an order. It is durable when this returns. Raises OverLimit; then nothing of it is
        kept."""
        with self._place(owner):
            self._check_tokens(owner)
            accept = partial(
                self._accept,
                owner=owner,
                face=face,
                api=api,
                asked=asked,
                window=window,
                kept_seconds=kept_seconds,
                answers=answers,
            )
            if isinstance(input_file, str):
                return await accept(input_file=input_file)
            kept = await input_file()
            try:
                return await accept(input_file=kept.id)
            except Exception:
                with suppress(StoreUnwritable, Absent):
                    await self.desk.delete(kept.id, owner=owner)
                raise

    @contextmanager
    def _place(self, owner: str) -> Iterator[None]:
        """A place among the open orders of an owner, for one that is being written down."""
        terms = self.owners.terms_of(owner)
        if terms is not None and terms.max_batches is not None:
            has = sum(order.owner == owner for order in self.open.values())
            if has + self._accepting[owner] >= terms.max_batches:
                said = f"This key may have {terms.max_batches} batches open at once."
                raise OverLimit(said, wait_s=_LOOK_AGAIN_S, is_final=True)
        self._accepting[owner] += 1
        try:
            yield
        finally:
            self._accepting[owner] -= 1

    def _check_tokens(self, owner: str) -> None:
        terms = self.owners.terms_of(owner)
        if terms is None or terms.tokens_a_day is None:
            return
        used = self.tokens.used(owner)
        if used >= terms.tokens_a_day:
            raise OverLimit(
                f"This key may use {terms.tokens_a_day} tokens in 24 hours, and has used {used}.",
                wait_s=self.tokens.frees_in_s(owner, terms.tokens_a_day),
                is_final=True,
            )

    async def _accept(
        self,
        *,
        owner: str,
        face: Face,
        api: Api,
        asked: Json,
        input_file: str,
        window: timedelta,
        kept_seconds: int,
        answers: Answers,
    ) -> Order:
        now = self.desk.clock.now()
        file = await asyncio.to_thread(self.desk.find, input_file, owner=owner)
        order = Order(
            id=f"{face.id_prefix}{self.desk.new_id()}",
            owner=owner,
            face=face.name,
            api=api,
            asked=asked,
            input_file=input_file,
            input_size=0 if file is None else file.size,
            created_at=now,
            expires_at=now + window,
            kept_seconds=kept_seconds,
            trace=self._telemetry.trace(),
        )
        await asyncio.to_thread(self.store.add_order, order, answered=answers(order.id))
        self.open[order.id] = order
        self.changed.set()
        return order

    async def order(self, order_id: str, *, owner: str, face: str) -> Order:
        """Raises Absent."""
        found = self.open.get(order_id) or self._over.get(order_id)
        if found is None:
            found = await asyncio.to_thread(self.store.order, order_id)
            if found is not None and found.is_over:
                self._remember(found)
        if found is None or found.owner != owner or found.face != face:
            raise Absent("Batch", order_id)
        return found

    async def page(
        self, *, owner: str, face: str, most: int, after: str | None, newest_first: bool = True
    ) -> list[Order] | None:
        """At most so many; None: the owner has none with the id `after`."""
        page = partial(
            self.store.orders_of,
            owner,
            face=face,
            most=most,
            after=after,
            newest_first=newest_first,
        )
        found = await asyncio.to_thread(page)
        return None if found is None else [self.open.get(order.id, order) for order in found]

    async def cancel(self, order: Order) -> Order:
        """The order as it stands then: being cancelled, unless it was over."""

        def cancelled(present: Order) -> Order | None:
            if present.is_over or present.status == "cancelling":
                return None
            return replace(present, status="cancelling", cancelling_at=self.desk.clock.now())

        present = await self.move(order.id, cancelled)
        if present.status == "cancelling":
            await self.stop_runs(present)
        return present

    async def delete(self, order: Order, *, with_files: bool = True) -> None:
        """Forget an order that is over, and all that was made of it; without files, those stay
        which its client knows by their names. Raises Absent."""
        named = (order.input_file, order.output_file, order.error_file) if with_files else ()
        files = [file_id for file_id in named if file_id is not None]

        def delete() -> bool:
            there = self.store.delete_order(order, files=files, now=self.desk.clock.now())
            for file_id in files if there else ():
                self.desk.blobs.remove_file(file_id)
            return there

        there = await asyncio.to_thread(delete)
        self._over.pop(order.id, None)
        if not there:
            raise Absent("Batch", order.id)

    def sums(self, order: Order) -> Sums:
        """What has become of its requests so far. No number in it ever falls but the usage."""
        if order.is_over:
            return Sums(order.completed, order.failed, order.usage)
        looks = self._progress.get(order.id, {}).values()
        return Sums(
            completed=sum(_count(look.counts, _ANSWERED) for look in looks),
            failed=sum(_count(look.counts, _REFUSED) for look in looks),
            usage=sum((look.usage for look in looks), Usage()),
        )

    # --- for whoever works on them ---

    def lane_of(self, order: Order) -> Lane:
        """Where it is answered, once its input was looked at."""
        return self._lanes.get(order.id, Lane(""))

    def _lane(self, order: Order) -> Lane:
        ids = (run_id for run_id in order.runs if self.store.has_run(run_id))
        return _lane_of(map(self.store.run, ids))

    async def move(
        self,
        order_id: str,
        change: Callable[[Order], Order | None],
        *,
        files: Sequence[StoredFile] = (),
    ) -> Order:
        """Commit what `change` makes of an order as it stands now; None: it stays as it is."""
        async with self._moving:
            present = self.open.get(order_id) or self._over[order_id]
            changed = change(present)
            if changed is None:
                return present
            save = partial(self.store.save_order, changed, seen=present.status, files=files)
            lane = self.lane_of(present)
            if changed.runs != present.runs:
                lane = await asyncio.to_thread(self._lane, changed)
            if not await asyncio.to_thread(save):
                raise AssertionError(f"order {order_id!r} was moved by somebody else")
            self._lanes[order_id] = lane
            self._keep(changed)
            return changed

    def _keep(self, order: Order) -> None:
        if order.is_over:
            self.open.pop(order.id, None)
            self._lanes.pop(order.id, None)
            self.news.set()
            self.tokens.forget(order)
            self._count(order)
            self._remember(order)
        else:
            self.open[order.id] = order
        self.changed.set()

    def _count(self, order: Order) -> None:
        looks = self._progress.pop(order.id, {}).values()
        self._telemetry.ended(order, looks)
        self.ended[order.status] += 1
        for look in looks:
            self.outcomes.update(look.counts)
        unanswered = (order.total or 0) - sum(look.done for look in looks)
        if unanswered > 0:
            self.outcomes["unanswered"] += unanswered

    def _remember(self, order: Order) -> None:
        self._over[order.id] = order
        if len(self._over) > _REMEMBERED:
            del self._over[next(iter(self._over))]

    async def stop_runs(self, order: Order) -> None:
        """Have nothing more of its requests sent."""

        def stop() -> None:
            for run_id in order.runs:
                if self.store.has_run(run_id):
                    self.workspace.ask_to_cancel(self.store.run(run_id))

        await asyncio.to_thread(stop)

    def note(self, order: Order, look: Progress) -> None:
        """See how far a run of it is."""
        self._progress.setdefault(order.id, {})[look.run.id] = look
        self.tokens.note(order, self.sums(order).usage)


def _lane_of(runs: Iterable[Run]) -> Lane:
    """It is where the first is answered that is answered call by call; with none such it waits."""
    specs = [run.spec for run in runs if run.state == "open"]
    calls = [spec for spec in specs if spec.executor != "batch"]
    first = next(iter(calls or specs), None)
    if first is None:
        return Lane("")
    return Lane(f"{first.provider} {first.base_url or ''}", waits=not calls)


def _count(counts: Counts, outcomes: Iterable[Any]) -> int:
    return sum(counts.get(outcome, 0) for outcome in outcomes)
