"""Whose call is next where several share a place."""

import asyncio
from collections import Counter
from random import Random

import pytest

from anybatch.executors.limiter import Window
from anybatch.executors.parties import Line, Party


def party(owner: str, batch: str = "", *, weight: int = 1) -> Party:
    return Party(owner, batch, lambda: weight)


def waiting() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


def taken(line: Line, names: dict["asyncio.Future[None]", str], count: int) -> str:
    places = [line.take() for _ in range(count)]
    return "".join("-" if place is None else names[place] for place in places)


def lined_up(line: Line, *parties: tuple[str, Party]) -> dict["asyncio.Future[None]", str]:
    names = {}
    for name, each in parties:
        place = waiting()
        line.add(each, place)
        names[place] = name
    return names


async def test_owners_take_turns_however_many_wait_for_each() -> None:
    line = Line()
    names = lined_up(line, *[("a", party("a"))] * 6, *[("b", party("b"))] * 2)

    assert taken(line, names, 9) == "ababaaaa-"


async def test_an_owner_gets_as_many_turns_as_it_weighs() -> None:
    line = Line()
    heavy = party("b", weight=3)
    names = lined_up(line, *[("a", party("a"))] * 30, *[("b", heavy)] * 30)

    assert Counter(taken(line, names, 32)) == {"a": 8, "b": 24}


async def test_the_batches_of_one_owner_take_turns_so_that_a_short_one_is_soon_over() -> None:
    line = Line()
    long, short = party("a", "long"), party("a", "short")
    names = lined_up(line, *[("l", long)] * 9, *[("s", short)] * 2)

    assert taken(line, names, 6) == "lslsll"


async def test_who_was_away_has_saved_nothing_up() -> None:
    line = Line()
    names = lined_up(line, *[("a", party("a"))] * 100)
    taken(line, names, 50)
    names |= lined_up(line, *[("b", party("b"))] * 50)

    assert Counter(taken(line, names, 10)) == {"a": 5, "b": 5}


async def test_who_has_given_up_uses_no_turn() -> None:
    line = Line()
    names = lined_up(line, *[("a", party("a"))] * 4, *[("b", party("b"))] * 4)
    for place, name in list(names.items())[:3]:
        assert name == "a"
        place.cancel()

    assert taken(line, names, 6) == "abbbb-"
    assert not line


@pytest.mark.parametrize("weight", [1, 8])
async def test_a_window_is_shared_by_weight_and_not_by_how_many_wait(weight: int) -> None:
    window, done, draw = Window(16), Counter[str](), Random(7)

    async def worker(mine: Party) -> None:
        while done.total() < 4_000:
            await window.enter(mine)
            for _ in range(draw.randrange(3)):
                await asyncio.sleep(0)
            done[mine.owner] += done.total() < 4_000
            window.leave()

    async with asyncio.TaskGroup() as tasks:
        for batch in range(8):
            for _ in range(16):
                tasks.create_task(worker(party("light", str(batch))))
        for _ in range(16):
            tasks.create_task(worker(party("heavy", weight=weight)))

    assert done["heavy"] / done["light"] == pytest.approx(weight, rel=0.15)
