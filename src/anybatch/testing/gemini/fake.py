"""`FakeGemini`: files, batches and calls at one address."""

from typing import Final

from ...clock import Clock, SystemClock
from ..batches import desk
from ..batches.hosted import Hosted
from ..batches.life import Fates, Phases
from ..batches.realtime import RealTime
from ..batches.rows import RowScript, Runner
from ..endpoint.answers import Answerer, echo
from ..service.front import Faults, Front
from .answers import SHAPE
from .batches import Batches
from .desk import MB, Quotas
from .files import Files
from .service import OPERATIONS, Service

INSTANT: Final = Phases()
SYSTEM: Final = SystemClock()


class FakeGemini(Hosted):
    """Gemini's Developer API on 127.0.0.1: files, batches and calls, which fail as you tell them.

        with FakeGemini(faults={"create": [Status(500, executed=True)]}) as fake:
            options = {"base_url": fake.address}
            client = genai.Client(api_key="any", http_options=options)
            ...
        assert len(fake.ledger.batches) == 1

    Operations are `start` and `upload` (of a file), `files`, `file`, `download` and `delete`;
    `create`, `poll`, `list`, `cancel` and `remove` (of a batch); and `call` (in real time).
    """

    operations = OPERATIONS
    root = "/v1beta"

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
        max_bytes: int = 2_000 * MB,
        max_inline_bytes: int = 20 * MB,
        max_batches: int | None = None,
        enqueued_tokens: int | None = None,
        ranges: bool = True,
        shuffle: bool = True,
        seed: int = 0,
        port: int = 0,
        clock: Clock = SYSTEM,
    ) -> None:
        quotas = Quotas(
            max_bytes=max_bytes,
            max_inline_bytes=max_inline_bytes,
            max_batches=max_batches,
            enqueued_tokens=enqueued_tokens,
        )
        there = desk.Desk(
            runner=Runner(answer, rows or {}, SHAPE),
            now=lambda: clock.now().timestamp(),
            quotas=quotas,
            phases=phases,
            fates=batches,
            ranges=ranges,
            shuffle=shuffle,
            seed=seed,
        )
        self.calls = RealTime(answer, SHAPE)
        """To models in real time, with a ledger of their own."""
        files = Files(there)
        accepted = Batches(there, files)
        service = Service(files, accepted, self.calls, there.vault, key=key)
        note = there.ledger.note
        front = Front(service, faults or {}, note, latency=latency, now=there.now)
        mistakes = (front.mistakes,)
        super().__init__(front, desk=there, batches=accepted, mistakes=mistakes, port=port)
