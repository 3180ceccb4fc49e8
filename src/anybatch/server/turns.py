"""Whose turn it is: which orders are worked on next, as a function of those that wait."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from ..core.served import Order

AT_ONCE = 8
"""Orders whose requests are answered at once."""
LARGE_BYTES = 4_000_000
"""An order with a longer input is a large one."""
LARGE_AT_ONCE = 6
"""Large ones leave places to the small, so that these pass."""
FIRSTS_AT_ONCE = 8
"""So many more, of owners who have no other one under way: else who came first with many orders
that take days would keep all others out for as long."""
CHECKS_AT_ONCE = 2

Weight = Callable[[str], int]
"""How many orders of an owner are worked on for one of an owner that weighs 1."""


def alike(owner: str) -> int:
    """For owners that all weigh the same."""
    return 1


def turns(
    waiting: Iterable[Order],
    under_way: Mapping[str, Order],
    *,
    at_once: int = AT_ONCE,
    weight: Weight = alike,
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
    begun = _fair(works, going, weight, places=at_once - len(going), large=LARGE_AT_ONCE)
    chosen += begun
    going += begun
    chosen += _firsts(works, going, places=at_once + FIRSTS_AT_ONCE - len(going))
    return chosen


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
    return order.input_size > LARGE_BYTES
