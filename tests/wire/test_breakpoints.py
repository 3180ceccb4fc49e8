"""What is said to a prompt cache changes what is kept, and nothing that a model reads."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Api
from anybatch.wire.breakpoints import (
    Begins,
    Said,
    begin_of,
    common,
    cut,
    has,
    with_breakpoint,
    with_key,
    with_nothing_kept,
)

ANTHROPIC: Api = "anthropic.messages"
CHAT: Api = "openai.chat"
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
MINUTES = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}


def body(api: Api, user: Any, system: Any = None, **more: Any) -> bytes:
    turns = [{"role": "user", "content": user}]
    if api == ANTHROPIC:
        said = {} if system is None else {"system": system}
        return msgspec.json.encode(
            {"model": "m", "max_tokens": 9, **said, "messages": turns, **more}
        )
    first = [] if system is None else [{"role": "system", "content": system}]
    return msgspec.json.encode({"model": "m", "messages": [*first, *turns], **more})


def marked(of: bytes, chars: int, *, api: Api = ANTHROPIC, kept: bool = True) -> Any:
    head = cut(begin_of(api, of), chars)
    return msgspec.json.decode(with_breakpoint(api, of, head, kept=kept))


# --- where it is put ------------------------------------------------------------------------------


def test_a_head_that_is_the_system_prompt_is_marked_at_its_end() -> None:
    said = marked(body(ANTHROPIC, "row 1", "Sort."), 5)

    assert said["system"] == [{"type": "text", "text": "Sort.", **HOUR}]
    assert said["messages"] == [{"role": "user", "content": "row 1"}]


def test_a_text_that_is_shared_in_part_is_given_in_two_parts() -> None:
    said = marked(body(ANTHROPIC, "Read this. Row 1", "Sort."), 5 + 11, kept=False)

    assert said["system"] == "Sort."
    assert said["messages"][0]["content"] == [
        {"type": "text", "text": "Read this. ", **MINUTES},
        {"type": "text", "text": "Row 1"},
    ]


def test_a_part_that_a_text_has_already_is_split_with_all_it_has() -> None:
    parts = [{"type": "text", "text": "Read this. Row 1", "citations": None}]

    said = marked(body(ANTHROPIC, parts), 11)

    assert said["messages"][0]["content"] == [
        {"type": "text", "text": "Read this. ", "citations": None, **HOUR},
        {"type": "text", "text": "Row 1", "citations": None},
    ]


def test_what_stands_behind_a_picture_is_not_marked() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    of = body(
        ANTHROPIC, [{"type": "text", "text": "Look: "}, picture, {"type": "text", "text": "b"}]
    )

    assert begin_of(ANTHROPIC, of).texts == (Said("user", "Look: "),)


def test_a_chat_is_marked_where_it_is_told_to_keep_nothing_else() -> None:
    said = marked(body(CHAT, "row 1", "Sort."), 5, api=CHAT)

    kept = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    assert said["messages"][0]["content"] == [{"type": "text", "text": "Sort.", **kept}]
    assert said["prompt_cache_options"] == {"mode": "explicit"}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(api=st.sampled_from([ANTHROPIC, CHAT]), system=TEXT, user=TEXT, chars=st.integers(1, 60))
def test_a_model_reads_the_same(api: Api, system: str, user: str, chars: int) -> None:
    of = body(api, user, system, temperature=0.5, extra=[1, 2.0, None])
    before = begin_of(api, of)
    head = cut(before, chars)

    after = with_breakpoint(api, of, head, kept=True)

    def text(begins: Begins) -> str:
        return "".join(said.text for said in begins.texts)

    assert text(begin_of(api, after)) == text(before)
    assert head.chars == min(chars, before.chars)
    given, said = msgspec.json.decode(of), msgspec.json.decode(after)
    assert {k: v for k, v in said.items() if k in ("temperature", "extra", "model")} == {
        k: v for k, v in given.items() if k in ("temperature", "extra", "model")
    }
    if head.texts:
        mark = b"cache_control" if api == ANTHROPIC else b"prompt_cache_breakpoint"
        assert after.count(mark) == 1 + of.count(mark)


# --- what is left alone ---------------------------------------------------------------------------


def test_what_begins_otherwise_is_left_as_it_is() -> None:
    head = cut(begin_of(ANTHROPIC, body(ANTHROPIC, "row 1", "Sort.")), 5)

    for other in (
        body(ANTHROPIC, "row 1", "Sort!"),
        body(ANTHROPIC, "Sort."),
        body(ANTHROPIC, "row 1", "Sort.", tools=[{"name": "a"}]),
        body(ANTHROPIC, "row 1", "Sor"),
    ):
        assert with_breakpoint(ANTHROPIC, other, head, kept=True) == other


@pytest.mark.parametrize(
    ("api", "own"),
    [
        (ANTHROPIC, {"cache_control": {"type": "ephemeral"}}),
        (CHAT, {"prompt_cache_key": "mine"}),
        (CHAT, {"prompt_cache_options": {"mode": "implicit"}}),
    ],
)
def test_what_its_writer_says_to_the_cache_holds(api: Api, own: dict[str, Any]) -> None:
    of = body(api, "row 1", "Sort.", **own)
    head = cut(begin_of(api, of), 5)

    assert with_breakpoint(api, of, head, kept=True) == of
    if api == CHAT:
        assert with_key(api, of, "ours") == of
        assert with_nothing_kept(api, of) == of


def test_a_breakpoint_of_the_writers_own_within_a_text_holds_too() -> None:
    of = body(ANTHROPIC, [{"type": "text", "text": "row", "cache_control": {"type": "ephemeral"}}])

    assert with_breakpoint(ANTHROPIC, of, begin_of(ANTHROPIC, of), kept=True) == of


@pytest.mark.parametrize("api", [CHAT, "openai.responses"])
def test_a_key_and_a_wish_to_keep_nothing_are_fields_of_their_own(api: Api) -> None:
    of = msgspec.json.encode({"model": "m", "input": "a", "messages": []})

    assert msgspec.json.decode(with_key(api, of, "k"))["prompt_cache_key"] == "k"
    nothing = msgspec.json.decode(with_nothing_kept(api, of))
    assert nothing["prompt_cache_options"] == {"mode": "explicit"}


# --- what is shared -------------------------------------------------------------------------------


@given(TEXT, TEXT, TEXT, TEXT)
def test_what_two_share_both_begin_with_and_no_more(a: str, b: str, c: str, d: str) -> None:
    one = begin_of(ANTHROPIC, body(ANTHROPIC, a + b, c))
    other = begin_of(ANTHROPIC, body(ANTHROPIC, a + d, c))

    shared = common(one, other)

    if shared.texts:
        assert has(one, shared)
        assert has(other, shared)
    assert shared.chars >= len(c) + (len(a) if c or a else 0)
    longer = cut(one, shared.chars + 1)
    assert longer.chars == shared.chars or not has(other, longer)


def test_texts_of_other_roles_are_not_shared() -> None:
    one = begin_of(CHAT, msgspec.json.encode({"messages": [{"role": "user", "content": "a"}]}))
    other = begin_of(CHAT, msgspec.json.encode({"messages": [{"role": "system", "content": "a"}]}))

    assert common(one, other).chars == 0
