"""Whose turn it is, as a table."""

from datetime import UTC, datetime
from typing import Any

from anybatch.core.served import Order
from anybatch.server.turns import (
    AT_ONCE,
    CHECKS_AT_ONCE,
    FIRSTS_AT_ONCE,
    LARGE_AT_ONCE,
    LARGE_BYTES,
    LARGE_ROWS,
    WAITING_TIMES,
    Lane,
    turns,
)

AT = datetime(2026, 11, 20, tzinfo=UTC)


def order(id: str, **changes: Any) -> Order:
    values: dict[str, Any] = {
        "id": id,
        "owner": "a",
        "face": "openai",
        "api": "openai.chat",
        "asked": {},
        "input_file": "file",
        "input_size": 1,
        "created_at": AT,
        "expires_at": AT,
        "kept_seconds": 1,
        "total": 1,
        "status": "running",
    }
    return Order(**(values | changes))


def ids(orders: list[Order]) -> str:
    return "".join(each.id for each in orders)


def by_id(*orders: Order) -> dict[str, Order]:
    return {each.id: each for each in orders}


def test_the_oldest_goes_first_and_only_so_many_at_once() -> None:
    waiting = [order(letter) for letter in "bacd"]

    assert ids(turns(waiting, {}, at_once=3)) == "bac"
    assert ids(turns(waiting, by_id(order("x"), order("y")), at_once=3)) == "b"
    assert ids(turns(waiting, by_id(*map(order, "xyz")), at_once=3)) == ""


def test_who_has_fewest_under_way_is_next() -> None:
    waiting = [order("1"), order("2"), order("3", owner="b"), order("4", owner="b")]

    assert ids(turns(waiting, {}, at_once=3)) == "132"
    assert ids(turns(waiting, by_id(order("x")), at_once=3)) == "31"


def test_who_has_nothing_under_way_is_not_kept_out_by_who_came_first() -> None:
    busy = by_id(*(order(str(n), input_size=LARGE_BYTES + 1) for n in range(AT_ONCE)))
    late = [order("p"), order("q", owner="b", input_size=LARGE_BYTES + 1), order("r", owner="b")]

    begun = turns(late, busy)

    assert ids(begun) == "q"
    assert ids(turns([late[0], late[2]], busy | by_id(*begun))) == ""


def test_only_so_many_find_a_place_when_all_are_taken() -> None:
    busy = by_id(*(order(str(n)) for n in range(AT_ONCE)))
    others = [order(f"<{n}>", owner=f"owner {n}") for n in range(FIRSTS_AT_ONCE + 3)]

    begun = turns(others, busy)

    assert ids(begun) == "".join(f"<{n}>" for n in range(FIRSTS_AT_ONCE))
    assert turns(others[FIRSTS_AT_ONCE:], busy | by_id(*begun)) == []


def test_large_ones_leave_places_to_the_small() -> None:
    large = [order(str(n), input_size=LARGE_BYTES + 1) for n in range(AT_ONCE)]
    small = order("s")

    begun = turns([*large, small], {})

    assert ids(begun) == "".join(map(str, range(LARGE_AT_ONCE))) + "s"
    assert ids(turns([large[7], small], by_id(*large[:LARGE_AT_ONCE]))) == "s"


def test_one_of_many_requests_is_large_however_short_they_are() -> None:
    large = [order(str(n), total=LARGE_ROWS + 1) for n in range(AT_ONCE)]

    assert ids(turns([*large, order("s", total=LARGE_ROWS)], {})) == "012345s"


def by_api(order: Order) -> Lane:
    """As if each api were answered in a place of its own, and that of embeddings by batch."""
    return Lane(order.api, waits=order.api == "openai.embeddings")


def test_an_order_keeps_none_out_that_is_answered_elsewhere() -> None:
    stuck = by_id(*(order(str(n)) for n in range(AT_ONCE)))
    waiting = [order("a"), order("b", api="gemini.generate"), order("c", api="gemini.generate")]

    assert ids(turns(waiting, stuck)) == ""
    assert ids(turns(waiting, stuck, lane=by_api)) == "bc"


def test_many_wait_for_a_providers_batches_and_take_no_turn_of_others() -> None:
    batches = [order(f"<{n}>", api="openai.embeddings") for n in range(WAITING_TIMES * AT_ONCE + 1)]

    begun = turns([*batches, order("a")], {}, lane=by_api)

    assert ids(begun) == "".join(f"<{n}>" for n in range(WAITING_TIMES * AT_ONCE)) + "a"
    assert turns(batches[-1:], by_id(*begun), lane=by_api) == []


def test_inputs_are_looked_at_beside_the_work_a_few_at_a_time() -> None:
    unseen = [order(letter, status="received", total=None) for letter in "abcd"]
    busy = by_id(*(order(str(n)) for n in range(AT_ONCE)))

    assert ids(turns(unseen, busy)) == "ab"
    assert ids(turns(unseen[1:], busy | by_id(unseen[0]))) == "b"
    assert CHECKS_AT_ONCE == 2


def test_what_is_wound_up_waits_for_no_place() -> None:
    busy = by_id(*(order(str(n)) for n in range(AT_ONCE)))
    ending = [order("a", status="cancelling"), order("b", status="expiring"), order("c")]

    assert ids(turns(ending, busy)) == "ab"


def test_what_was_cancelled_unseen_is_looked_at_first() -> None:
    unseen = order("a", status="cancelling", total=None)

    assert ids(turns([unseen], {})) == "a"
