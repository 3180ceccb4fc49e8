"""Its prompt cache: what a request writes and reads, and what of it is billed.

A prompt is kept up to a breakpoint from the end of the call or batch that wrote it: so requests of
one batch that run together all write. What batches write, calls in real time do not read, and the
other way round.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ...core.model import Json
from ..endpoint.answers import Answer, Answerer
from ..endpoint.call import Call
from ..endpoint.plan import ask

LIVES: Final = {"5m": 300.0, "1h": 3_600.0}
"""How long what is kept stays, in seconds, since it was last read."""
FLOORS: Final = (
    (r"claude-(opus-5$|opus-5-2|fable-5)", 512),
    (r"claude-(sonnet-4|sonnet-5$|sonnet-5-2)", 1_024),
    (r"claude-opus-4-7", 2_048),
    (r"", 4_096),
)
"""(the beginning of a model's name, the shortest prompt in tokens that is kept). Nothing is said of
shorter ones."""

CHARS_A_TOKEN: Final = 4
"""As calls are counted; what is left over counts for the next text."""

Surface = Literal["batch", "real time"]


class _Key(NamedTuple):
    surface: Surface
    model: str
    prompt: bytes


class _Point(NamedTuple):
    """A breakpoint: what stands before it."""

    digest: bytes
    tokens: int
    life: str


@dataclass(slots=True)
class PromptCache:
    """Belongs to the service's thread."""

    now: Callable[[], float]
    hits: float = 1.0
    """The share of what could be read that is. 0: whatever is written, nobody ever finds it."""
    seed: int = 0
    _until: dict[_Key, float] = field(default_factory=dict)
    """Until when each prompt is kept."""
    _pending: dict[str, dict[_Key, float]] = field(default_factory=dict)
    """What requests of each batch have written, and for how long it stays once that has ended."""

    def charging(self, answer: Answerer) -> Answerer:
        """`answer`, billed by what the cache has of a call."""

        def charged(call: Call) -> Answer:
            said = ask(answer, call)
            spent = self._spent(call)
            return said if spent is None else replace(said, **spent._asdict())

        return charged

    def ended(self, batch_id: str) -> None:
        """What its requests wrote can be read from now on."""
        now = self.now()
        for key, life in self._pending.pop(batch_id, {}).items():
            self._until[key] = now + life

    def _spent(self, call: Call) -> "_Spent | None":
        """What of its prompt is read and written; None: the cache has nothing to do with it."""
        points = [p for p in breakpoints(call.json) if p.tokens >= _floor(call.model)]
        if not points:
            return None
        read = max((p.tokens for p in points if self._is_read(call, p)), default=0)
        spent = {"5m": 0, "1h": 0}
        done = read
        for point in points:
            if point.tokens > done:
                spent[point.life] += point.tokens - done
                done = point.tokens
                self._write(call, point)
        return _Spent(cached=read, written=spent["5m"], kept=spent["1h"])

    def _is_read(self, call: Call, point: _Point) -> bool:
        key = _Key(_surface(call), call.model, point.digest)
        now = self.now()
        if self._until.get(key, 0.0) <= now or not self._is_lucky(call):
            return False
        self._until[key] = max(self._until[key], now + LIVES[point.life])
        return True

    def _is_lucky(self, call: Call) -> bool:
        """The same for one request at every look."""
        mark = hashlib.sha256(f"{self.seed}/{call.sha}/{call.attempt}".encode()).digest()
        return int.from_bytes(mark[:4]) < self.hits * 2**32

    def _write(self, call: Call, point: _Point) -> None:
        key, life = _Key(_surface(call), call.model, point.digest), LIVES[point.life]
        if call.batch_id is None:
            self._until[key] = self.now() + life
        else:
            self._pending.setdefault(call.batch_id, {})[key] = life


class _Spent(NamedTuple):
    cached: int
    written: int
    kept: int


def _surface(call: Call) -> Surface:
    return "real time" if call.batch_id is None else "batch"


def _floor(model: str) -> int:
    return next(tokens for pattern, tokens in FLOORS if re.match(pattern, model))


def breakpoints(body: Json) -> Iterator[_Point]:
    """The breakpoints of a body, in order."""
    said = hashlib.sha256(msgspec.json.encode([body.get("tools"), body.get("output_config")]))
    chars = 0
    for role, block in _blocks(body):
        chars += len(block.get("text") or "")
        kept = {name: value for name, value in block.items() if name != "cache_control"}
        said.update(msgspec.json.encode([role, kept]))
        control = block.get("cache_control")
        if isinstance(control, dict):
            yield _Point(said.digest(), chars // CHARS_A_TOKEN, control.get("ttl") or "5m")


def _blocks(body: Json) -> Iterator[tuple[str, Json]]:
    yield from _parts("system", body.get("system"))
    for turn in body.get("messages") or ():
        yield from _parts(str(turn.get("role")), turn.get("content"))


def _parts(role: str, content: Any) -> Iterator[tuple[str, Json]]:
    if isinstance(content, str):
        yield role, {"type": "text", "text": content}
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                yield role, part
