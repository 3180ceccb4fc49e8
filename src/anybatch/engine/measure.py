"""What a run would be made of, in tokens, before anything is written or sent."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from math import exp, log
from statistics import fmean, median
from typing import Generic, NamedTuple, TypeVar

import msgspec

from ..core.model import WORDLESS, Api, Spec
from ..core.price import Workload
from ..core.tokens import Counter
from ..datasets.source import Source
from ..wire.prompts import frame_of, texts_of
from .intake import BadRows, rendering

T = TypeVar("T")

SAMPLE = 10_000
SAMPLED_FROM = 100_000
"""From so many rows on only a sample of them is counted, unless all are asked for."""
_SHARE_OFF = 2.0
"""Standard errors within which a mean of a sample is said to be."""
_AROUND_TEXT = 3
"""Tokens around each text of a conversation: who says it, and where it ends."""
_AROUND_ALL = 3
"""Tokens that open the answer."""


class Out(NamedTuple):
    """How long answers are, in tokens."""

    expected: float
    most: float
    source: str
    """How that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A dataset through a prompt, in tokens."""

    api: Api
    rows: int
    skipped: int
    distinct: float
    """The share of requests that differ from all before them."""
    counted: int
    """So many of them were counted."""
    prompt: float
    """Tokens of a request, the mean."""
    shared: float
    """Of these, so many stand at the head of the next one too, in the order of their texts."""
    heads: int
    """How many such heads there are."""
    longest: int
    band: float
    """The true sum is within this share of what is said."""
    how: str
    """How tokens were counted."""

    def times(self, factor: float, *, band: float, how: str) -> "Measured":
        """The same with every token counted for so many, as earlier requests taught."""
        return replace(
            self,
            prompt=self.prompt * factor,
            shared=self.shared * factor,
            longest=round(self.longest * factor),
            band=band,
            how=f"{self.how}, {how}",
        )

    def workload(self, out: float, *, distinct: bool = False) -> Workload:
        """With answers of so many tokens; with `distinct`, equal requests are sent once."""
        requests = max(1, round(self.rows * self.distinct)) if distinct else self.rows
        return Workload(
            requests=requests,
            shared=self.shared,
            heads=self.heads,
            own=self.prompt - self.shared,
            out=out,
        )


def measure(
    source: Source, spec: Spec, counter: Counter, *, skip_bad_rows: bool, every_row: bool = False
) -> Measured:
    """Read and render all of `source`, and count the tokens of a sample or, if asked, of every row.

    Raises BadInput or BadTemplate.
    """
    bad = BadRows(source.name, skip=skip_bad_rows)
    spec, bodies = rendering(source, spec, bad)
    distinct = _Distinct()
    sample: _Sample[bytes] = _Sample(None if every_row else SAMPLED_FROM, SAMPLE)
    for rendered in bodies:
        for request in rendered:
            distinct.add(request.body)
            sample.add(request.body)
    tokens, shared = _count(sorted(sample.kept), spec.api, counter)
    mean = fmean(tokens)
    how = counter.counted
    return Measured(
        api=spec.api,
        rows=sample.seen,
        skipped=bad.skipped,
        distinct=distinct.share,
        counted=len(tokens),
        prompt=mean,
        shared=fmean(shared) if shared else 0.0,
        heads=_heads(shared),
        longest=max(tokens),
        band=how.band + _sampling_error(tokens, mean, of=sample.seen),
        how=how.how if len(tokens) == sample.seen else f"{how.how}, a sample of {len(tokens):,}",
    )


def _sampling_error(tokens: Sequence[int], mean: float, *, of: int) -> float:
    """By which share the mean of a sample may be off."""
    if len(tokens) == of or not mean:
        return 0.0
    variance = fmean((each - mean) ** 2 for each in tokens)
    return _SHARE_OFF * float((variance / len(tokens)) ** 0.5) / mean


def tokens_of(bodies: Sequence[bytes], api: Api, counter: Counter) -> list[int]:
    """The tokens of each prompt."""
    return _count(bodies, api, counter)[0]


_AT_ONCE = 1_000


def _count(bodies: Sequence[bytes], api: Api, counter: Counter) -> tuple[list[int], list[int]]:
    """The tokens of each prompt, and of what each but the first has in common with the one before
    it, from the first character on."""
    tokens: list[int] = []
    shared: list[int] = []
    heads = _Heads(counter)
    last: str | None = None
    frames: dict[str, int] = {}
    for start in range(0, len(bodies), _AT_ONCE):
        decoded = [msgspec.json.decode(body) for body in bodies[start : start + _AT_ONCE]]
        prompts = [list(texts_of(api, body)) for body in decoded]
        counts = iter(counter.count(list(chain.from_iterable(prompts))))
        for body, texts in zip(decoded, prompts, strict=True):
            frame = frame_of(api, body)
            if frame not in frames:
                frames[frame] = counter.count([frame])[0] if frame else 0
            around = 0 if api in WORDLESS else _AROUND_ALL + _AROUND_TEXT * len(texts)
            tokens.append(sum(next(counts) for _ in texts) + around + frames[frame])
            said = "\n".join(texts)
            if last is not None:
                shared.append(frames[frame] + heads.count(_common_head(last, said)))
            last = said
    return tokens, shared


def _common_head(one: str, other: str) -> str:
    """The longest text that both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return one[:low]


class _Heads:
    """Counts heads of prompts, of which most are the same."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._last = ("", 0)

    def count(self, head: str) -> int:
        known, tokens = self._last
        if head == known:
            return tokens
        # A few characters more or less are counted by their share: nobody caches half a word.
        if known and abs(len(head) - len(known)) < len(known) // 16 and head[:64] == known[:64]:
            return round(tokens * len(head) / len(known))
        self._last = (head, self._counter.count([head])[0])
        return self._last[1]


def _heads(shared: Sequence[int]) -> int:
    """How often a new head begins: where much less is shared than usual."""
    if not shared:
        return 1
    usual = median(shared)
    return 1 + sum(each < usual / 2 for each in shared)


class _Sample(Generic[T]):
    """Some of what is added, each with the same chance; all of it if it is no more than `most`."""

    def __init__(self, most: int | None, size: int) -> None:
        self.kept: list[T] = []
        self.seen = 0
        self._most = most
        self._size = size
        self._chance = random.Random(0)  # the same table gives the same figures
        self._next = 0
        self._weight = 1.0

    def add(self, one: T) -> None:
        self.seen += 1
        if self._most is None or self.seen <= self._most:
            self.kept.append(one)
            if self.seen == self._most:
                self._thin()
        elif self.seen > self._next:
            self.kept[self._chance.randrange(self._size)] = one
            self._skip()

    def _thin(self) -> None:
        self.kept = self._chance.sample(self.kept, self._size)
        self._weight = self._size / self.seen
        self._skip()

    def _skip(self) -> None:
        """How many are passed over until the next one is taken (Li 1994, algorithm L)."""
        self._weight *= exp(log(self._chance.random()) / self._size)
        self._next = self.seen + int(log(self._chance.random()) / log(1 - self._weight))


class _Distinct:
    """How many different texts there are: exact up to a number, and within 1 % beyond."""

    _MOST = 1 << 17
    _ALL = 1 << 64

    def __init__(self) -> None:
        self._marks: set[int] = set()
        self._below = self._ALL
        """Only marks below it are kept: whose those are is chance, but the same for equal texts."""
        self._seen = 0

    def add(self, text: bytes) -> None:
        self._seen += 1
        mark = int.from_bytes(blake2b(text, digest_size=8).digest())
        if mark >= self._below:
            return
        self._marks.add(mark)
        if len(self._marks) > self._MOST:
            self._below //= 2
            self._marks = {mark for mark in self._marks if mark < self._below}

    @property
    def share(self) -> float:
        """Of all texts, those that differ from all before them."""
        return min(1.0, len(self._marks) * (self._ALL / self._below) / max(1, self._seen))
