"""What a run would be made of, in tokens, before anything is written or sent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from ..core.model import WORDLESS, Api, Row, Spec
from ..core.price import Workload
from ..core.tokens import Counter
from ..datasets.source import Source
from ..errors import BadSettings
from ..wire.apis import budget_of
from ..wire.prompts import frame_of, texts_of, wordless_parts_of
from .intake import BadRows, Rendering, nothing_to_send, rendering
from .sampling import Distinct, Sample

_SHARE_OFF = 2.0
"""Standard errors within which a mean of a sample is said to be."""
_AROUND_TEXT = 4
"""Tokens around each text of a conversation: who says it, and where it ends."""
_AROUND_ALL = 3
"""Tokens that open the answer."""
_WORDLESS_PART = 1_000
"""About so many tokens are an image or a page: providers charge 250 to 1,600, by its size."""
_WORDLESS_BAND = 0.7
_SOME = 32


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
    sampled: float = 0.0
    """The part of `band` that is there because not all requests were counted."""
    cap: float | None = None
    """The most tokens that an answer may have, the mean of ready-made requests that each say so."""
    some: tuple[bytes, ...] = ()
    """A few of the requests, from all over."""

    def times(self, factor: float, *, band: float, how: str) -> "Measured":
        """The same with every token counted for so many, as earlier requests taught."""
        return replace(
            self,
            prompt=self.prompt * factor,
            shared=self.shared * factor,
            longest=round(self.longest * factor),
            band=band + self.sampled,
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
    source: Source,
    spec: Spec,
    counter_for: Callable[[str], Counter],
    *,
    skip_bad_rows: bool,
    every_row: bool = False,
) -> tuple[Spec, Measured]:
    """Read all of `source`, and count the tokens of a sample of its requests or, if asked, of all.

    Also what is asked, completed from the data. Raises BadInput, BadTemplate, or BadSettings where
    nobody has named a model.
    """
    bad = BadRows(source.name, skip=skip_bad_rows)
    reading = rendering(source, spec, bad)
    spec = reading.spec
    if spec.model is None:
        raise BadSettings("a price is of a model: name it as --model PROVIDER/MODEL")
    counter = counter_for(spec.model)
    tally = _Tally(spec.api, counter) if every_row else None
    distinct, sample = _sampled(reading, tally)
    if not sample.seen:
        raise nothing_to_send(source, bad)
    found = measured(
        sample.kept,
        spec.api,
        counter,
        rows=sample.seen,
        skipped=bad.skipped,
        distinct=distinct.share,
    )
    found = replace(found, some=tuple(sample.kept[:: max(1, len(sample.kept) // _SOME)]))
    if source.requests:
        found = replace(found, cap=mean_cap(sample.kept, spec.api))
    return spec, found if tally is None else tally.instead_of(found)


def _sampled(reading: Rendering, tally: "_Tally | None") -> tuple[Distinct, Sample]:
    """All rows are read; made into requests are those that are counted."""
    distinct, sample = Distinct(reading.values), Sample()
    at = 1
    for chunk in reading.chunks:
        rows = _usable(chunk, reading, distinct, at)
        if tally is not None or sample.takes_all():
            bodies = [request.body for request in reading.render(rows, at)]
            sample.add(bodies[place] for place in sample.wanted(len(bodies)))
            if tally is not None:
                tally.add(bodies)
        else:
            for place in sample.wanted(len(rows)):
                row = rows[place : place + 1]
                sample.add(request.body for request in reading.render(row, at + place))
        at += len(chunk)
    return distinct, sample


def _usable(chunk: list[Row], reading: Rendering, distinct: Distinct, at: int) -> list[Row]:
    """The rows that have all columns; what the others are is said by making requests of them."""
    try:
        distinct.add(chunk)
        return chunk
    except KeyError:
        usable = [row for n, row in enumerate(chunk, at) if reading.render([row], n)]
    distinct.add(usable)
    return usable


def mean_cap(bodies: Sequence[bytes], api: Api) -> float | None:
    """The most tokens that an answer may have, the mean; None if some request does not say it."""
    caps = [budget_of(api, msgspec.json.decode(body)) for body in bodies]
    known = [cap for cap in caps if cap is not None]
    return fmean(known) if len(known) == len(caps) else None


def measured(
    bodies: Sequence[bytes],
    api: Api,
    counter: Counter,
    *,
    rows: int,
    skipped: int = 0,
    distinct: float = 1.0,
) -> Measured:
    """What `rows` requests are, of which `bodies` are all or a sample, in any order."""
    prompts = _count(sorted(bodies), api, counter)
    tokens = [prompt.tokens for prompt in prompts]
    shared = [prompt.shared for prompt in prompts[1:]]
    mean = fmean(tokens)
    wordless = fmean(prompt.wordless for prompt in prompts) * _WORDLESS_PART / (mean or 1)
    sampled = _sampling_error(tokens, mean, of=rows)
    how = _how(counter, wordless)
    return Measured(
        api=api,
        rows=rows,
        skipped=skipped,
        distinct=distinct,
        counted=len(tokens),
        prompt=mean,
        shared=fmean(shared) if shared else 0.0,
        heads=_heads(shared),
        longest=max(tokens),
        band=counter.counted.band + wordless * _WORDLESS_BAND + sampled,
        how=how if len(tokens) == rows else f"{how}, a sample of {len(tokens):,}",
        sampled=sampled,
    )


def _how(counter: Counter, wordless: float) -> str:
    around = f", {_WORDLESS_PART:,} for each image or document" if wordless else ""
    return counter.counted.how + around


def _sampling_error(tokens: Sequence[int], mean: float, *, of: int) -> float:
    """By which share the mean of a sample may be off."""
    if len(tokens) == of or not mean:
        return 0.0
    variance = fmean((each - mean) ** 2 for each in tokens)
    return _SHARE_OFF * float((variance / len(tokens)) ** 0.5) / mean


def tokens_of(bodies: Sequence[bytes], api: Api, counter: Counter) -> list[int]:
    """The tokens of each prompt."""
    return [prompt.tokens for prompt in _Counting(api, counter).prompts(bodies)]


class _Tally:
    """The sums of all requests, counted as they come."""

    def __init__(self, api: Api, counter: Counter) -> None:
        self._counting = _Counting(api, counter)
        self._requests = self._tokens = self._longest = 0

    def add(self, bodies: Sequence[bytes]) -> None:
        tokens = [prompt.tokens for prompt in self._counting.prompts(bodies)]
        self._requests += len(tokens)
        self._tokens += sum(tokens)
        self._longest = max(self._longest, *tokens) if tokens else self._longest

    def instead_of(self, found: Measured) -> Measured:
        """`found`, which is of a sample, with the sums of all."""
        return replace(
            found,
            counted=self._requests,
            prompt=self._tokens / self._requests,
            longest=self._longest,
            band=found.band - found.sampled,
            sampled=0.0,
            how=found.how.partition(", a sample of ")[0],
        )


class _Counted(NamedTuple):
    """One prompt."""

    tokens: int
    wordless: int
    """How many images and documents it holds."""
    shared: int
    """Tokens it has in common with the one before it, from the first character on."""


_AT_ONCE = 1_000


def _count(bodies: Sequence[bytes], api: Api, counter: Counter) -> list[_Counted]:
    """Each prompt, and what it has in common with the one before it."""
    heads = _Heads(counter)
    counting = _Counting(api, counter)
    counted: list[_Counted] = []
    last: str | None = None
    for start in range(0, len(bodies), _AT_ONCE):
        for prompt in counting.prompts(bodies[start : start + _AT_ONCE]):
            said = "\n".join(prompt.texts)
            head = 0 if last is None else prompt.frame + heads.count(_common_head(last, said))
            counted.append(_Counted(prompt.tokens, prompt.wordless, head))
            last = said
    return counted


class _Prompt(NamedTuple):
    texts: list[str]
    tokens: int
    """Of all of it."""
    frame: int
    """Of these, what says which tools there are and which shape the answer has."""
    wordless: int


class _Counting:
    """Counts prompts of one api."""

    def __init__(self, api: Api, counter: Counter) -> None:
        self._api = api
        self._counter = counter
        self._frames: dict[str, int] = {}

    def prompts(self, bodies: Sequence[bytes]) -> Iterator[_Prompt]:
        api = self._api
        decoded = [msgspec.json.decode(body) for body in bodies]
        read = [list(texts_of(api, body)) for body in decoded]
        counts = iter(self._counter.count(list(chain.from_iterable(read))))
        for body, texts in zip(decoded, read, strict=True):
            frame, wordless = self._frame(frame_of(api, body)), wordless_parts_of(api, body)
            around = 0 if api in WORDLESS else _AROUND_ALL + _AROUND_TEXT * len(texts)
            tokens = sum(islice(counts, len(texts))) + around + frame
            yield _Prompt(texts, tokens + wordless * _WORDLESS_PART, frame, wordless)

    def _frame(self, frame: str) -> int:
        """Mostly the same in all requests."""
        if not frame:
            return 0
        if frame not in self._frames:
            self._frames = {frame: self._counter.count([frame])[0]}
        return self._frames[frame]


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
