"""What requests share, found in their file; and what follows for each provider."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.core.heads import MEASURING, PRIMING, REST, Head, Heads
from anybatch.core.model import Api, ExecutorName, Request
from anybatch.core.price import Rates, Tariff
from anybatch.core.template import compile_prompt, compile_requests
from anybatch.core.tokens import ByBytes
from anybatch.effects import unwatched
from anybatch.engine.heads import Caching, firsts, heads_of, saying, stages
from anybatch.errors import StoreCorrupt
from anybatch.providers.caching import CACHES
from anybatch.store.heads import FILE, read_heads, write_heads
from anybatch.store.requests import RequestFile, RequestWriter
from anybatch.wire.apis import wire_of
from tests.core.test_price import HAIKU, halved, rates

from .caching import GUIDE, context

NO_PREMIUM = rates(1.0, 4.0, 0.1, None, None)
PREMIUM = rates(1.0, 4.0, 0.1, 1.25, None)
UNKNOWN: Api = "anthropic.messages"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(
    folder: Path,
    rows: Sequence[dict[str, str]],
    *,
    prompt: str = "Sort: {{ text }}",
    system: str | None = GUIDE,
    api: Api = "anthropic.messages",
) -> RequestFile:
    def shape(said: str | None, user: str | None) -> Any:
        return wire_of(api).write_body(
            api, model="m", system=said, user=user, schema=None, parameters={}
        )

    compiled = None if system is None else compile_prompt(system)
    render = compile_requests(prompt=compile_prompt(prompt), system=compiled, shape=shape)
    with RequestWriter(folder, probe=unwatched) as requests:
        requests.add([render(row) for row in rows])
        requests.finish()
    return RequestFile(folder)


def caching(provider: str, of: Rates) -> Caching:
    tiers: Any = {"standard": of, "batch": halved(of)}
    tariff = Tariff(model="m", source="a test", as_of=date(2026, 11, 20), tiers=tiers)
    return Caching(cache=CACHES[provider], tariff=tariff, counter=ByBytes())


def found(
    requests: RequestFile,
    provider: str = "anthropic",
    of: Rates = HAIKU,
    *,
    api: Api = "anthropic.messages",
    executor: ExecutorName = "batch",
    model: str = "claude-opus-5",
) -> Heads | None:
    return heads_of(requests, api, executor, caching(provider, of), model=model)


TICKETS = [{"text": f"ticket {n} of today"} for n in range(900)]
QUESTIONS = [{"context": context(n % 5), "text": f"question {n}"} for n in range(900)]
ON_CONTEXT = "{{ context }}\n{{ text }}"


# --- what is found --------------------------------------------------------------------------------


def test_what_the_template_has_in_common_is_one_head(folder: Path) -> None:
    with write(folder, TICKETS) as requests:
        heads = found(requests)

    assert heads is not None
    assert heads.heads == (Head(n=0, chars=len(GUIDE) + len("Sort: ticket "), size=900),)
    assert heads.kept
    assert heads.life_s == 3_600
    assert heads.pays_from == pytest.approx(0.526, abs=0.001)


def test_long_texts_that_come_again_are_a_head_each(folder: Path) -> None:
    with write(folder, QUESTIONS, prompt=ON_CONTEXT, system=None) as requests:
        heads = found(requests)

    assert heads is not None
    assert sorted(head.n for head in heads.heads) == [0, 1, 2, 3, 4]
    assert {head.size for head in heads.heads} == {180}
    ends = {len(context(0)) + len("\nquestion ")}
    assert {head.chars for head in heads.heads} == ends


@pytest.mark.parametrize("rows", [[], TICKETS[:2]], ids=["no others", "two"])
def test_what_few_share_is_no_head(rows: list[dict[str, str]], folder: Path) -> None:
    with write(folder, [*rows, {"text": "alone"}]) as requests:
        assert found(requests) is None


def test_what_is_too_short_for_the_model_is_no_head(folder: Path) -> None:
    with write(folder, TICKETS, system="Sort with care.") as requests:
        assert found(requests) is None


def test_without_a_price_there_are_no_heads(folder: Path) -> None:
    nothing = Tariff(model="m", source="a test", as_of=date(2026, 11, 20), tiers={})
    unpriced = Caching(cache=CACHES["anthropic"], tariff=nothing, counter=ByBytes())
    with write(folder, TICKETS) as requests:
        assert heads_of(requests, UNKNOWN, "batch", unpriced, model="claude-opus-5") is None


# --- what is said of it, provider by provider -----------------------------------------------------

LONG = [{"text": f"{n} " + f"one of a kind {n} " * 400} for n in range(50)]


@pytest.mark.parametrize(
    ("of", "executor", "rows", "how"),
    [
        (NO_PREMIUM, "batch", TICKETS, "key"),
        (NO_PREMIUM, "online", TICKETS, "key"),
        (NO_PREMIUM, "batch", LONG, None),
        (PREMIUM, "batch", TICKETS, "none"),
        (PREMIUM, "batch", LONG, "none"),
        (PREMIUM, "online", TICKETS, "breakpoints"),
        (PREMIUM, "online", LONG, "none"),
        (PREMIUM, "batch", [{"text": "short"}] * 9, None),
    ],
    ids=[
        *("shared", "shared, in real time", "nothing shared", "shared, at a premium"),
        *("nothing shared, at a premium", "shared, at a premium, in real time"),
        *("nothing shared, at a premium, in real time", "short ones"),
    ],
)
def test_openai_is_told_what_saves(
    of: Rates, executor: ExecutorName, rows: list[dict[str, str]], how: str | None, folder: Path
) -> None:
    system = GUIDE if rows is TICKETS else "Sort."
    with write(folder, rows, system=system, api="openai.chat") as requests:
        heads = found(requests, "openai", of, api="openai.chat", executor=executor, model="gpt-6")

    assert (heads and heads.how) == how


def test_gemini_is_told_nothing(folder: Path) -> None:
    with write(folder, TICKETS, api="gemini.generate") as requests:
        assert found(requests, "gemini", NO_PREMIUM, api="gemini.generate", model="g") is None


def said(requests: RequestFile, heads: Heads, api: Api, which: Any, n: int) -> Any:
    say = saying(requests, heads, api, which)
    (request,) = requests.read([n])
    return msgspec.json.decode(say(request).body)


def test_who_shares_a_head_has_one_key(folder: Path) -> None:
    with write(folder, QUESTIONS, prompt=ON_CONTEXT, system=None, api="openai.chat") as requests:
        heads = found(requests, "openai", NO_PREMIUM, api="openai.chat", model="gpt-5")
        assert heads is not None
        keys = [
            said(requests, heads, "openai.chat", "none", n)["prompt_cache_key"] for n in range(10)
        ]

    assert keys[:5] == keys[5:]
    assert len(set(keys)) == 5


def test_where_nothing_is_to_be_kept_each_request_says_so(folder: Path) -> None:
    with write(folder, LONG, system=None, api="openai.chat") as requests:
        body = said(requests, Heads(how="none"), "openai.chat", "none", 3)

    assert body["prompt_cache_options"] == {"mode": "explicit"}


def test_only_who_goes_ahead_marks_the_head_of_those_that_are_tried_first(folder: Path) -> None:
    with write(folder, TICKETS) as requests:
        heads = found(requests)
        assert heads is not None
        say = saying(requests, heads, "anthropic.messages", "first")
        marked = [b"cache_control" in say(r).body for r in requests.read(range(10))]

    assert marked == [True] + [False] * 9


def test_a_request_that_begins_otherwise_is_not_marked(folder: Path) -> None:
    with write(folder, TICKETS) as requests:
        heads = found(requests)
        assert heads is not None
        other = Request(n=3, body=b'{"messages":[{"role":"user","content":"something else"}]}')

        assert saying(requests, heads, "anthropic.messages", "all")(other) == other


# --- in which order -------------------------------------------------------------------------------


def all_numbers(parts: Sequence[Any], canary: int = 0) -> list[int]:
    return sorted([*range(canary), *(n for part in parts for n in part.numbers)])


@pytest.mark.parametrize("canary", [0, 3, 10])
@pytest.mark.parametrize("executor", ["batch", "online"])
def test_each_request_is_in_one_stage(canary: int, executor: Any, folder: Path) -> None:
    rows = [*QUESTIONS, {"context": "alone", "text": "a"}, {"context": "", "text": "b"}]
    with write(folder, rows, prompt=ON_CONTEXT, system=None) as requests:
        heads = found(requests)
        assert heads is not None
        parts = stages(requests, heads, executor, canary=canary)

    assert all_numbers(parts, canary) == list(range(902))
    assert [part.stage for part in parts][-2:] == [MEASURING, REST]
    assert [set(part.numbers) for part in parts if part.stage == PRIMING] == (
        [set(range(canary, 5))] if canary < 5 else []
    )


@pytest.mark.parametrize("rows", [TICKETS, QUESTIONS], ids=["one head", "several"])
def test_what_is_not_sent_has_no_part_in_it(rows: list[dict[str, str]], folder: Path) -> None:
    prompt, system = ("Sort: {{ text }}", GUIDE) if rows is TICKETS else (ON_CONTEXT, None)
    with write(folder, rows, prompt=prompt, system=system) as requests:
        of = caching("anthropic", HAIKU)
        heads = heads_of(requests, UNKNOWN, "batch", of, model="claude-opus-5", count=800)
        assert heads is not None
        parts = stages(requests, heads, "batch", canary=0, count=800)

    assert sum(head.size for head in heads.heads) == 800
    assert all_numbers(parts) == list(range(800))


def test_texts_are_asked_about_one_after_another(folder: Path) -> None:
    with write(folder, QUESTIONS, prompt=ON_CONTEXT, system=None) as requests:
        heads = found(requests)
        assert heads is not None
        *_, rest = stages(requests, heads, "batch", canary=0)

    asked = [n % 5 for n in rest.numbers]
    assert sum(one != other for one, other in pairwise(asked)) == 4


def test_some_of_each_text_show_whether_it_is_read(folder: Path) -> None:
    with write(folder, QUESTIONS, prompt=ON_CONTEXT, system=None) as requests:
        heads = found(requests)
        assert heads is not None
        shown = next(p for p in stages(requests, heads, "batch", canary=0) if p.stage == MEASURING)

    assert {n % 5 for n in shown.numbers} == {0, 1, 2, 3, 4}


def test_in_real_time_heads_are_written_soon_before_they_are_read(folder: Path) -> None:
    rows = [{"context": context(n % 30), "text": f"question {n}"} for n in range(6_000)]
    with write(folder, rows, prompt=ON_CONTEXT, system=None) as requests:
        heads = found(requests, executor="online")
        assert heads is not None
        parts = stages(requests, heads, "online", canary=0)

    assert len(parts) == 5
    ahead = {head.n for head in heads.heads}
    written: set[int] = set()
    for part in parts:
        assert {n % 30 for n in part.numbers if n not in ahead} <= written
        written |= {n % 30 for n in part.numbers if n in ahead}


def test_the_first_of_each_head_are_those_that_write_it_again(folder: Path) -> None:
    with write(folder, QUESTIONS, prompt=ON_CONTEXT, system=None) as requests:
        heads = found(requests)
        assert heads is not None

        assert firsts(requests, heads, range(100, 200)) == {100, 101, 102, 103, 104}


# --- how they are kept ----------------------------------------------------------------------------


def test_they_are_read_as_they_were_written(folder: Path) -> None:
    heads = Heads(how="breakpoints", heads=(Head(n=1, chars=2, size=3, prefix=4),), kept=True)

    assert read_heads(folder) is None
    write_heads(folder, heads, probe=unwatched)

    assert read_heads(folder) == heads


def test_damage_is_noticed(folder: Path) -> None:
    write_heads(folder, Heads(how="key"), probe=unwatched)
    path = folder / FILE
    path.write_bytes(path.read_bytes().replace(b"key", b"kez"))

    with pytest.raises(StoreCorrupt, match=r"heads\.json"):
        read_heads(folder)
