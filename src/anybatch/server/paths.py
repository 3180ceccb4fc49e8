"""Which route takes a call, found by the shape of its path."""

from collections import defaultdict
from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope


class Paths:
    """Routes by what their paths look like, where Starlette would try them one by one."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        known = [route for route in routes if isinstance(route, Route)]
        self._routes: defaultdict[tuple[str, int], list[Route]] = defaultdict(list)
        """By method and how many slashes there are, each in their order."""
        for slashes in {_slashes(route.path) for route in known}:
            for route in known:
                if _slashes(route.path) == slashes or ":path}" in route.path:
                    for method in route.methods or ():
                        self._routes[method, slashes].append(route)

    def find(self, scope: Scope) -> Scope | None:
        """What Starlette adds to the scope of a call that a route takes; None: none here does, and
        those that try all of them know why."""
        for route in self._routes.get((scope["method"], _slashes(scope["path"])), ()):
            match, found = route.matches(scope)
            if match is Match.FULL:
                return found
        return None


def _slashes(path: str) -> int:
    return path.count("/")
