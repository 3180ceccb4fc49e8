"""What the requests of a run share: found when it is planned, and what follows for its batches."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from heapq import nlargest
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from ..core.heads import MEASURING, PRIMING, READ_BY, REST, STEP, Head, Heads, Marked, to_measure
from ..core.model import Api, ExecutorName, Request
from ..core.price import Rates, Tariff, Workload, break_even
from ..core.tokens import Counter
from ..providers.caching import Cache
from ..store.requests import RequestFile
from ..wire.breakpoints import (
    KEYED,
    Begins,
    begin_of,
    common,
    cut,
    has,
    takes_breakpoints,
    with_breakpoint,
    with_key,
    with_nothing_kept,
)

_ALIKE = 64
"""So many requests of a run tell what all of them share, ..."""
_ALIKE_IN_A_GROUP = 8
"""... and so many of a group tell it of that."""
_MOST_HEADS = 10_000
"""The largest groups are looked at."""
_COUNTED = 16
"""In so many heads it is counted how long a token is."""
_AT_ONCE = 2_000
"""So many requests in real time are over before what their heads wrote is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """What is known where prompts are to be cached."""

    cache: Cache
    tariff: Tariff
    counter: Counter

    def rates_of(self, executor: ExecutorName) -> Rates | None:
        """None: nobody has said what caching costs there."""
        return self.tariff.tiers.get("batch" if executor == "batch" else "standard")


# --- finding them ---------------------------------------------------------------------------------


def heads_of(
    requests: RequestFile,
    api: Api,
    executor: ExecutorName,
    caching: Caching,
    *,
    model: str,
    count: int | None = None,
) -> Heads | None:
    """What is said to a cache of the first `count` of these requests, None: of all; None: nothing.

    The others are not sent.
    """
    rates, cache = caching.rates_of(executor), caching.cache
    count = requests.count if count is None else count
    if rates is None or not count:
        return None
    floor = cache.floor(model).tokens
    found = _found(requests, api, caching.counter, floor=floor, count=count)
    kept = executor == "batch" and cache.longer is not None
    costs = _is_dearer(rates, prompt=found.prompt, kept=kept)
    if cache.breakpoints or (costs and takes_breakpoints(api) and executor != "batch"):
        size = to_measure(found.work, rates, kept=kept) if takes_breakpoints(api) else None
        if size is not None:
            life = cache.longer if kept and cache.longer is not None else cache.life
            return Heads(
                how="breakpoints",
                heads=found.heads,
                kept=kept,
                pays_from=break_even(rates, prompt=found.work.prompt, kept=kept),
                life_s=life.total_seconds(),
                measured=size,
            )
    if api not in KEYED or cache.breakpoints:
        return None
    if costs and (executor == "batch" or not found.heads):
        # What is written costs more, and nobody has shown that it is read there.
        return Heads(how="none") if found.prompt >= floor else None
    return Heads(how="key", heads=found.heads) if found.heads else None


def _is_dearer(rates: Rates, *, prompt: float, kept: bool) -> bool:
    """Whether what is written costs more than other input."""
    rate = rates.kept if kept else rates.written
    return rate is not None and rate.at(prompt) > rates.tokens_in.at(prompt)


class _Found(NamedTuple):
    heads: tuple[Head, ...]
    work: Workload
    """Of the requests that have one."""
    prompt: float
    """Tokens of a request, the mean of all."""


def _found(requests: RequestFile, api: Api, counter: Counter, *, floor: int, count: int) -> _Found:
    """The heads that are long enough, each with the requests that have it."""
    candidates = _candidates(requests, api, count)
    each = _tokens_a_char(requests, api, counter, candidates)
    heads = tuple(h for h in candidates if h.chars * each >= floor and h.size >= READ_BY)
    prompt = requests.mean_length * each
    size = sum(head.size for head in heads)
    shared = sum(head.size * head.chars * each for head in heads) / size if size else 0.0
    work = Workload(
        requests=size,
        shared=shared,
        heads=max(1, len(heads)),
        own=max(0.0, prompt - shared),
        out=0.0,
    )
    return _Found(heads, work, prompt)


def _candidates(requests: RequestFile, api: Api, count: int) -> tuple[Head, ...]:
    """One head of all requests, or one for each group: by which more would be read."""
    one = _head(requests, api, range(count), most=_ALIKE)
    if not requests.shares_prefixes():
        return (one,)
    sent = (array("I", (n for n in group if n < count)) for group in requests.prefix_groups())
    groups = (group for group in sent if len(group) >= READ_BY)
    several = tuple(
        replace(
            _head(requests, api, group, most=_ALIKE_IN_A_GROUP), prefix=requests.prefix(group[0])
        )
        for group in nlargest(_MOST_HEADS, groups, key=len)
    )
    return several if _read(several) > _read([one]) else (one,)


def _read(heads: Iterable[Head]) -> int:
    """So many characters are read if each head is written once."""
    return sum((head.size - 1) * head.chars for head in heads)


def _head(requests: RequestFile, api: Api, numbers: Sequence[int], *, most: int) -> Head:
    """What these requests begin with, as far as some of them tell."""
    step = max(1, len(numbers) // most)
    sample = sorted({*numbers[::step][:most], numbers[-1]})
    begins = [begin_of(api, request.body) for request in requests.read(sample)]
    shared = reduce(common, begins)
    return Head(n=numbers[0], chars=_whole_words(shared, begins[0]), size=len(numbers))


def _whole_words(shared: Begins, of: Begins) -> int:
    """How long `shared` is without the word that it ends in."""
    count = len(shared.texts)
    if not count or shared.texts[-1] == of.texts[count - 1]:
        return shared.chars
    text = shared.texts[-1].text
    end = max(text.rfind(" "), text.rfind("\n"))
    return shared.chars - (len(text) - end - 1)


def _tokens_a_char(
    requests: RequestFile, api: Api, counter: Counter, heads: Sequence[Head]
) -> float:
    some = requests.read(sorted(head.n for head in heads[:_COUNTED]))
    texts = ["\n".join(said.text for said in begin_of(api, r.body).texts) for r in some]
    return sum(counter.count(texts)) / max(1, sum(map(len, texts)))


# --- what goes ahead ------------------------------------------------------------------------------


class Stage(NamedTuple):
    """Requests that go at the same time."""

    stage: int
    numbers: "range | array[int]"


def stages(
    requests: RequestFile,
    heads: Heads,
    executor: ExecutorName,
    *,
    canary: int,
    count: int | None = None,
) -> list[Stage]:
    """The first `count` requests, None: all, but for the first `canary`, by when they go. Those go
    ahead of all, and write heads too."""
    count = requests.count if count is None else count
    if len(heads.heads) == 1 and heads.heads[0].prefix is None:
        found = _of_one(count, heads, canary=canary)
    else:
        found = _of_several(requests, heads, executor, canary=canary, count=count)
    return [stage for stage in found if stage.numbers]


def _of_one(count: int, heads: Heads, *, canary: int) -> Iterator[Stage]:
    primed = canary or 1
    shown = min(count, primed + heads.measured)
    spans = ((PRIMING, canary, primed), (MEASURING, primed, shown), (REST, shown, count))
    return (Stage(stage, range(start, end)) for stage, start, end in spans)


def _of_several(
    requests: RequestFile, heads: Heads, executor: ExecutorName, *, canary: int, count: int
) -> Iterator[Stage]:
    ahead = {head.n for head in heads.heads}
    sizes = {head.prefix: head for head in heads.heads}
    chunks: list[list[array[int]]] = [[]]
    others = array("I")
    for group in requests.prefix_groups():
        left = array("I", (n for n in group if canary <= n < count))
        if requests.prefix(group[0]) not in sizes:
            others.extend(left)
            continue
        if executor != "batch" and sum(map(len, chunks[-1])) >= _AT_ONCE:
            chunks.append([])
        chunks[-1].append(left)
    yield from _chained([_Chunk.of(chunk, ahead) for chunk in chunks], others, heads.measured)


class _Chunk(NamedTuple):
    """Groups that go together."""

    ahead: "array[int]"
    behind: "array[int]"

    @classmethod
    def of(cls, groups: Iterable["array[int]"], ahead: set[int]) -> "_Chunk":
        numbers = array("I", (n for group in groups for n in group))
        return cls(
            array("I", (n for n in numbers if n in ahead)),
            array("I", (n for n in numbers if n not in ahead)),
        )


def _chained(chunks: Sequence[_Chunk], others: "array[int]", shown: int) -> Iterator[Stage]:
    """The heads of the first chunk, some of its others, the rest of it with the next heads, ..."""
    yield Stage(PRIMING, chunks[0].ahead)
    behind = chunks[0].behind
    step = max(1, len(behind) // shown) if shown else 1
    first = set(islice(behind[::step], shown))
    yield Stage(MEASURING, array("I", (n for n in behind if n in first)))
    behind = array("I", (n for n in behind if n not in first))
    for place, chunk in enumerate(chunks[1:]):
        yield Stage(REST + STEP * place, behind + chunk.ahead)
        behind = chunk.behind
    yield Stage(REST + STEP * (len(chunks) - 1), behind + others)


def firsts(requests: RequestFile, heads: Heads, numbers: Iterable[int]) -> set[int]:
    """Of these requests the first with each head."""
    known = {head.prefix for head in heads.heads}
    if None in known:
        return set(islice(numbers, 1))
    found: dict[int, int] = {}
    for n in numbers:
        prefix = requests.prefix(n)
        if prefix in known:
            found.setdefault(prefix, n)
    return set(found.values())


# --- saying it ------------------------------------------------------------------------------------

Say = Callable[[Request], Request]


def saying(requests: RequestFile, heads: Heads, api: Api, which: Marked) -> Say:
    """How a request says to the cache what there is to say; `which` of them mark their heads."""
    if heads.how == "none" or (heads.how == "breakpoints" and which == "none"):
        return _plainly(api, heads)
    return _Saying(requests, heads, api, which)


def _plainly(api: Api, heads: Heads) -> Say:
    """Where a service keeps what nobody asked it to keep, it is asked not to."""
    if api not in KEYED:
        return lambda request: request
    return lambda request: replace(request, body=with_nothing_kept(api, request.body))


class _Saying:
    """Says it of one request after another: those that share a head mostly follow one another."""

    def __init__(self, requests: RequestFile, heads: Heads, api: Api, which: Marked) -> None:
        self._requests = requests
        self._heads = heads
        self._api = api
        self._ahead = {head.n for head in heads.heads} if which == "first" else None
        self._by_prefix = {head.prefix: head for head in heads.heads}
        self._plainly = _plainly(api, heads)
        self._last: tuple[Head, Begins] | None = None

    def __call__(self, request: Request) -> Request:
        if self._ahead is not None and request.n not in self._ahead:
            return self._plainly(request)
        begins = self._begins(request)
        if begins is None:
            return request if self._heads.how == "key" else self._plainly(request)
        if self._heads.how == "key":
            key = blake2b(repr(begins).encode(), digest_size=16).hexdigest()
            return replace(request, body=with_key(self._api, request.body, key))
        body = with_breakpoint(self._api, request.body, begins, kept=self._heads.kept)
        return replace(request, body=body)

    def _begins(self, request: Request) -> Begins | None:
        """The head of a request; None if it has none."""
        mine = begin_of(self._api, request.body)
        if self._last is not None and has(mine, self._last[1]):
            return self._last[1]
        head = self._by_prefix.get(None) or self._by_prefix.get(self._requests.prefix(request.n))
        if head is None:
            return None
        if self._last is None or self._last[0] != head:
            (first,) = self._requests.read([head.n])
            self._last = head, cut(begin_of(self._api, first.body), head.chars)
        return self._last[1] if has(mine, self._last[1]) else None
