"""`FakeAnthropic`: message batches and messages at one address."""

from typing import Final

from ...clock import Clock, SystemClock
from ..batches.desk import Desk
from ..batches.hosted import Hosted
from ..batches.life import Fates, Phases
from ..batches.realtime import RealTime
from ..batches.rows import RowScript, Runner
from ..endpoint.answers import Answerer, echo
from ..service.front import Faults, Front
from .answers import SHAPE
from .asked import MB, Quotas
from .batches import Batches
from .cache import PromptCache
from .service import OPERATIONS, Service

INSTANT: Final = Phases()
SYSTEM: Final = SystemClock()


class FakeAnthropic(Hosted):
    """Anthropic on 127.0.0.1: its message batches and its messages, which fail as you tell them.

        with FakeAnthropic(faults={"create": [Status(500, executed=True)]}) as fake:
            client = anthropic.Anthropic(base_url=fake.address, api_key="any")
            ...
        assert len(fake.ledger.batches) == 1

    Operations are `create`, `poll`, `list`, `download` (of results), `cancel`, `delete` and `call`
    (in real time). In the ledger, results are a file under the id of their batch. Prompts are kept
    up to the breakpoints they have; `hits` is the share of what could be read of them that is.
    """

    operations = OPERATIONS

    def __init__(
        self,
        *,
        answer: Answerer = echo,
        faults: Faults | None = None,
        rows: RowScript | None = None,
        batches: Fates = (),
        phases: Phases = INSTANT,
        latency: float = 0.0,
        key: str | None = None,
        max_rows: int = 100_000,
        max_bytes: int = 256 * MB,
        max_queued: int | None = None,
        ranges: bool = True,
        shuffle: bool = True,
        hits: float = 1.0,
        seed: int = 0,
        port: int = 0,
        clock: Clock = SYSTEM,
    ) -> None:

        def now() -> float:
            return clock.now().timestamp()

        cache = PromptCache(now=now, hits=hits, seed=seed)
        answer = cache.charging(answer)
        desk = Desk(
            runner=Runner(answer, rows or {}, SHAPE),
            now=now,
            quotas=Quotas(max_rows=max_rows, max_bytes=max_bytes, max_queued=max_queued),
            phases=phases,
            fates=batches,
            ranges=ranges,
            shuffle=shuffle,
            seed=seed,
        )
        self.calls = RealTime(answer, SHAPE)
        """Of messages in real time, with a ledger of their own."""
        accepted = Batches(desk, cache)
        service = Service(accepted, self.calls, desk.vault, key=key)
        front = Front(
            service,
            faults or {},
            desk.ledger.note,
            latency=latency,
            request_id="request-id",
            now=desk.now,
        )
        mistakes = (front.mistakes,)
        super().__init__(front, desk=desk, batches=accepted, mistakes=mistakes, port=port)
