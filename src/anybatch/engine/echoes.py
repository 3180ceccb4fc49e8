"""Results that came without a name, told by the request that came back beside them."""

from collections import deque
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from ..wire.batch import ResultLine

Asked = Callable[[], Iterable[tuple[str, bytes]]]
"""The names of all requests, and what tells each from others."""


class Echoes:
    """Gives each name once: requests that are alike may have each other's answers.

    What was asked is read when the first result comes without a name, and then kept.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._names: dict[bytes, deque[str]] | None = None

    def named(self, line: ResultLine) -> ResultLine:
        """`line` with its name, if it has one or its request tells it."""
        if line.custom_id is not None or not line.echo:
            return line
        names = self._left().get(line.echo)
        return replace(line, custom_id=names.popleft()) if names else line

    def _left(self) -> dict[bytes, deque[str]]:
        if self._names is None:
            self._names = {}
            for name, echo in self._asked():
                self._names.setdefault(echo, deque()).append(name)
        return self._names
