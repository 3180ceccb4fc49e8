"""Whose turn it is: which orders are worked on next, as a function of those that wait."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..core.served import Order

AT_ONCE = 8
"""Orders whose requests are answered at once in one place."""
LARGE_BYTES = 4_000_000
"""An order with a longer input is a large one."""
LARGE_ROWS = 200
"""And so is one of more requests."""
LARGE_AT_ONCE = 6
"""Large ones leave places to the small, so that these pass."""
FIRSTS_AT_ONCE = 8
"""So many more, of owners who have no other one under way: else who came first with many orders
that take days would keep all others out for as long."""
CHECKS_AT_ONCE = 2
BESIDE_AT_ONCE = 4
"""So many more runs of an owner's orders go on at once, beside the first of each order."""
WAITING_TIMES = 8
"""So many times as many at once where they only wait: for the end of a provider's batches."""

Weight = Callable[[str], int]
"""How many orders of an owner are worked on for one of an owner that weighs 1."""


def alike(owner: str) -> int:
    """For owners that all weigh the same."""
    return 1


class Lane(NamedTuple):
    """Where an order is answered. It keeps none out that is answered elsewhere."""

    place: str
    waits: bool = False
    """Whether it only waits there, for a provider's batches: that takes no turn of others."""


def everywhere(order: Order) -> Lane:
    """For orders that are all answered in one place."""
    return Lane("")


def turns(
    waiting: Iterable[Order],
    under_way: Mapping[str, Order],
    *,
    at_once: int = AT_ONCE,
    weight: Weight = alike,
    lane: Callable[[Order], Lane] = everywhere,
) -> list[Order]:
    """Those of `waiting`, the oldest first, that begin now beside those under way.

    What only has to be wound up begins at once. Of the others, that owner is next who has the
    fewest under way for its weight; who has none finds a place when all are taken, too.
    """
    chosen: list[Order] = []
    asked = list(waiting)
    ending = [order for order in asked if _is_ending(order)]
    chosen += ending
    going = [*under_way.values()]
    checks = [order for order in asked if order.total is None and order not in ending]
    busy = sum(order.total is None for order in going)
    chosen += _fair(checks, going, weight, places=CHECKS_AT_ONCE - busy, large=CHECKS_AT_ONCE)
    works = [order for order in asked if order.total is not None and order not in ending]
    going = [order for order in going if order.total is not None and not _is_ending(order)]
    for where, here in _by_lane(works, lane).items():
        beside = [order for order in going if lane(order) == where]
        chosen += _of_lane(here, beside, weight, at_once, times=WAITING_TIMES if where.waits else 1)
    return chosen


def _by_lane(orders: Iterable[Order], lane: Callable[[Order], Lane]) -> dict[Lane, list[Order]]:
    found: dict[Lane, list[Order]] = {}
    for order in orders:
        found.setdefault(lane(order), []).append(order)
    return found


def _of_lane(
    waiting: list[Order], going: list[Order], weight: Weight, at_once: int, *, times: int
) -> list[Order]:
    """Those that begin in one lane, in which so many times as many go on at once."""
    places = times * at_once - len(going)
    begun = _fair(waiting, going, weight, places=places, large=times * LARGE_AT_ONCE)
    going = [*going, *begun]
    more = times * (at_once + FIRSTS_AT_ONCE) - len(going)
    return [*begun, *_firsts(waiting, going, places=more)]


def _firsts(waiting: list[Order], going: list[Order], *, places: int) -> list[Order]:
    """The oldest order of each owner who has none under way."""
    has = {order.owner for order in going}
    first: dict[str, Order] = {}
    for order in waiting:
        if order.owner not in has:
            first.setdefault(order.owner, order)
    return list(first.values())[: max(0, places)]


def _is_ending(order: Order) -> bool:
    return order.total is not None and order.ending != "completed"


def _fair(
    waiting: list[Order], going: list[Order], weight: Weight, *, places: int, large: int
) -> list[Order]:
    has = Counter(order.owner for order in going)
    large -= sum(map(_is_large, going))
    left, chosen = list(waiting), []
    while places > 0:
        fits = [order for order in left if large > 0 or not _is_large(order)]
        if not fits:
            break
        # The oldest, of equals.
        following = min(fits, key=lambda order: (has[order.owner] + 1) / weight(order.owner))
        left.remove(following)
        chosen.append(following)
        has[following.owner] += 1
        large -= _is_large(following)
        places -= 1
    return chosen


def _is_large(order: Order) -> bool:
    return order.input_size > LARGE_BYTES or (order.total or 0) > LARGE_ROWS
