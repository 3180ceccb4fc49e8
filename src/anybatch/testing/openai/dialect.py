"""How a service differs that speaks much as OpenAI does: here, in nothing.

A fake of such a service is a `FakeOpenAI` with another `dialect`: what comes in is put into
OpenAI's words before anybody looks at it, and what goes out is put back.
"""

from collections.abc import Callable

from ..service.front import Performer
from ..service.http1 import Application, Body, Connection, Head


class Dialect:
    """OpenAI's own words. There is one for each fake, so that it may remember."""

    def head(self, head: Head) -> Head:
        """A call's first line and headers as OpenAI would have got them."""
        return head

    def performer(self, performer: Performer) -> Performer:
        """Who performs the operations, put in front of OpenAI's."""
        return performer


class Translated:
    """An application of the HTTP server that is spoken to in a dialect."""

    def __init__(self, application: Application, head: Callable[[Head], Head]) -> None:
        self._application = application
        self._head = head

    def admit(self, head: Head) -> int | None:
        return self._application.admit(self._head(head))

    def body(self, head: Head) -> Body:
        return self._application.body(self._head(head))

    def serve(self, number: int, head: Head, body: Body, connection: Connection) -> None:
        self._application.serve(number, self._head(head), body, connection)

    def abandoned(self, number: int, head: Head) -> None:
        self._application.abandoned(number, self._head(head))
