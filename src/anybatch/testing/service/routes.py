"""Which call is which operation: told by its method and its address."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from .http1 import Head

ID: Final = r"(?P<id>[^/:]+)"
"""In an address: the name of what it is about."""


class Route(NamedTuple):
    name: str
    """Of the operation; "": there is none."""
    id: str = ""
    """What the address names; "": nothing."""
    is_address: bool = True
    """Whether there is such an address, for whatever method."""


class Routes:
    """What stands first wins."""

    def __init__(self, *table: tuple[str, str, str]) -> None:
        """Each is a method, a regular expression for the whole address, and an operation."""
        self._table: Sequence[tuple[str, re.Pattern[str], str]] = [
            (method, re.compile(address), name) for method, address, name in table
        ]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for _, _, name in self._table)

    def find(self, head: Head) -> Route:
        is_address = False
        for method, address, name in self._table:
            found = address.fullmatch(head.path)
            if found is None:
                continue
            if method == head.method:
                return Route(name, found.groupdict().get("id") or "")
            is_address = True
        return Route("", is_address=is_address)
