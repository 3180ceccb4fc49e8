"""`FakeOpenAI`: files, batches and calls at one address."""

from collections.abc import Collection
from typing import ClassVar, Final

from ...clock import Clock, SystemClock
from ..batches.desk import Desk
from ..batches.hosted import Hosted
from ..batches.life import Fates, Phases
from ..batches.rows import RowScript, Runner, Shape
from ..endpoint import FakeEndpoint
from ..endpoint.answers import Answerer, echo, write_answer
from ..endpoint.errors import failure
from ..endpoint.service import Service as Endpoint
from ..service.front import Faults, Front
from ..service.http1 import Application, Body, Connection, Head
from .batches import Batches
from .desk import Quotas
from .dialect import Dialect, Translated
from .files import MB, Files
from .service import OPERATIONS, Service

INSTANT: Final = Phases()
SHAPE: Final = Shape(write=write_answer, failure=failure)
SYSTEM: Final = SystemClock()
MAX_ROWS: Final = 50_000
MAX_BYTES: Final = 200 * MB


class FakeOpenAI(Hosted):
    """OpenAI on 127.0.0.1: its files, its batches and its calls, which fail as you tell them.

        with FakeOpenAI(faults={"create": [Status(500, executed=True)]}) as fake:
            client = openai.OpenAI(base_url=fake.base_url, api_key="any")
            ...
        assert len(fake.ledger.batches) == 1

    Between `start()` and `close()` it may be stopped and started again, as by an outage: it keeps
    its port, its files, its batches and its books. The end of a `with` block closes it.
    """

    operations = OPERATIONS
    dialect: ClassVar[type[Dialect]] = Dialect
    """In which words it is spoken to: another one makes a fake of another service."""

    def __init__(
        self,
        *,
        answer: Answerer = echo,
        faults: Faults | None = None,
        rows: RowScript | None = None,
        batches: Fates = (),
        phases: Phases = INSTANT,
        calls: FakeEndpoint | None = None,
        latency: float = 0.0,
        key: str | None = None,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        enqueued_tokens: int | None = None,
        max_batches: int | None = None,
        creations_per_hour: int | None = None,
        unbatched_models: Collection[str] = (),
        ranges: bool = True,
        shuffle: bool = True,
        seed: int = 0,
        port: int = 0,
        clock: Clock = SYSTEM,
    ) -> None:
        quotas = Quotas(
            max_rows=max_rows,
            max_bytes=max_bytes,
            enqueued_tokens=enqueued_tokens,
            max_batches=max_batches,
            creations_per_hour=creations_per_hour,
            unbatched_models=unbatched_models,
        )
        desk = Desk(
            runner=Runner(answer, rows or {}, SHAPE),
            now=lambda: clock.now().timestamp(),
            quotas=quotas,
            phases=phases,
            fates=batches,
            ranges=ranges,
            shuffle=shuffle,
            seed=seed,
        )
        self.calls = calls or FakeEndpoint(answer=answer, key=key, latency=latency)
        """The endpoint behind the same address, with a ledger of its own; it is not started."""
        files = Files(desk)
        accepted = Batches(desk, files)
        service = Service(files, accepted, desk.vault, key=key)
        note = desk.ledger.note
        spoken = self.dialect()
        performer = spoken.performer(service)
        front = Front(performer, faults or {}, note, latency=latency, now=desk.now)
        super().__init__(
            Translated(Both(front, self.calls.service), spoken.head),
            desk=desk,
            batches=accepted,
            mistakes=(front.mistakes, self.calls.service.mistakes),
            port=port,
        )


class Both:
    """An application of the HTTP server: calls to a model go to the endpoint, the rest to us."""

    def __init__(self, front: Front, endpoint: Endpoint) -> None:
        self._front = front
        self._endpoint = endpoint

    def admit(self, head: Head) -> int | None:
        return self._for(head).admit(head)

    def body(self, head: Head) -> Body:
        return self._for(head).body(head)

    def serve(self, number: int, head: Head, body: Body, connection: Connection) -> None:
        self._for(head).serve(number, head, body, connection)

    def abandoned(self, number: int, head: Head) -> None:
        self._for(head).abandoned(number, head)

    def _for(self, head: Head) -> Application:
        return self._endpoint if self._endpoint.serves(head) else self._front
