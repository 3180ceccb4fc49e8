"""`FakeVertex`: jobs, calls, a bucket and who gives tokens, at one address."""

from collections.abc import Collection, Mapping
from typing import Final

from ...clock import Clock, SystemClock
from ..batches import desk
from ..batches.hosted import Hosted
from ..batches.life import Fates, Phases
from ..batches.realtime import RealTime
from ..batches.rows import RowScript, Runner
from ..endpoint.answers import Answerer, echo
from ..gemini.answers import SHAPE
from ..service.front import Faults, Front
from .desk import Quotas
from .jobs import Jobs
from .objects import Objects
from .service import OPERATIONS, Service
from .tokens import Tokens

INSTANT: Final = Phases()
SYSTEM: Final = SystemClock()


class FakeVertex(Hosted):
    """Vertex AI's batch prediction and Cloud Storage on 127.0.0.1, which fail as you tell them.

        with FakeVertex(faults={"create": [Status(500, executed=True)]}) as fake:
            os.environ |= fake.environment
            ...
        assert len(fake.ledger.batches) == 1

    Operations are `start` and `upload` (of an object in parts), `put` (of a whole one), `objects`,
    `object`, `download` and `delete`; `create`, `poll`, `list`, `cancel` and `remove` (of a job);
    `call` (in real time); and `token`.

    Calls need no token, unless there are `accounts`: then they need one that was made for one of
    these, the address of a service account or the id of a client. `key` is a token that holds for
    ever.
    """

    operations = OPERATIONS
    root = "/v1/projects/fake-project/locations/us-central1"

    def __init__(
        self,
        *,
        answer: Answerer = echo,
        faults: Faults | None = None,
        rows: RowScript | None = None,
        batches: Fates = (),
        phases: Phases = INSTANT,
        latency: float = 0.0,
        bucket: str = "bucket",
        key: str | None = None,
        accounts: Collection[str] = (),
        token_seconds: float = 3_600.0,
        max_rows: int = 200_000,
        max_batches: int | None = None,
        shards: int = 1,
        ranges: bool = True,
        shuffle: bool = True,
        seed: int = 0,
        port: int = 0,
        clock: Clock = SYSTEM,
    ) -> None:
        there = desk.Desk(
            runner=Runner(answer, rows or {}, SHAPE),
            now=lambda: clock.now().timestamp(),
            quotas=Quotas(max_rows=max_rows, max_batches=max_batches, shards=shards),
            phases=phases,
            fates=batches,
            ranges=ranges,
            shuffle=shuffle,
            seed=seed,
        )
        self.bucket = bucket
        self.calls = RealTime(answer, SHAPE)
        """To models in real time, with a ledger of their own."""
        objects = Objects(there, bucket=bucket)
        accepted = Jobs(there, objects)
        self._tokens = Tokens(
            key=key, accounts=accounts, seconds=token_seconds, seed=seed, now=there.now
        )
        service = Service(objects, accepted, self.calls, there.vault, self._tokens)
        note = there.ledger.note
        front = Front(service, faults or {}, note, latency=latency, now=there.now)
        mistakes = (front.mistakes,)
        super().__init__(front, desk=there, batches=accepted, mistakes=mistakes, port=port)

    @property
    def environment(self) -> Mapping[str, str]:
        """What leads a client's storage here, and says which bucket there is."""
        return {
            "STORAGE_EMULATOR_HOST": self.address,
            "GOOGLE_CLOUD_STORAGE_BUCKET": self.bucket,
        }

    @property
    def token_uri(self) -> str:
        """Where credentials are exchanged for tokens."""
        return f"{self.address}/token"

    def revoke_tokens(self) -> None:
        """No token that was given out until now is taken any more."""
        self._server.call(self._revoke())

    async def _revoke(self) -> None:
        self._tokens.revoke()
