"""What a protocol promises the rest of the server, and what may be said to any of them.

Behind it nothing knows a protocol: an order is read, run and written by the face it came by.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from ..core.model import Result
from ..core.served import Declined, Order, Problem, Ready

Handler = Callable[[Request], Awaitable[Response]]
"""Answers one kind of calls."""

FINAL = {"x-should-retry": "false"}
"""Tells SDKs that another try would end the same."""


CALLER = "anybatch.caller"
"""Where the scope of a call has who calls."""


class Absent(Exception):
    """It is not there, or it is not the caller's: nobody is told which."""

    def __init__(self, noun: str, id: str) -> None:
        super().__init__(f"no {noun} {id!r}")
        self.noun = noun
        self.id = id


class OverLimit(Exception):
    """More than the caller's key allows."""

    def __init__(self, message: str, *, wait_s: int, is_final: bool = False) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        """After so long it may be said again."""
        self.is_final = is_final
        """Whether that is no matter of a moment: who asks need not try by itself."""


class Reader(Protocol):
    """Reads the lines of one input."""

    def read(self, number: int, line: bytes) -> Ready | Problem | Declined | None:
        """The request on a line, or what is wrong with it, which concerns it alone or the whole
        order; None: nothing is on it."""
        ...

    def end(self) -> Problem | None:
        """What is wrong with the input as a whole."""
        ...


class Line(NamedTuple):
    """A line of a result file."""

    ok: bool
    """Whether it is an answer: it belongs into the output then, else among the errors."""
    content: bytes
    """With its newline."""
    together: bool = False
    """Whether it belongs into the output all the same: some protocols have one file for both."""


class Face(Protocol):
    """One protocol."""

    name: str
    id_prefix: str
    """How the ids of its orders begin."""
    input_purpose: str
    """What a file is for that is the input of an order."""
    output_purpose: str
    """What the files are for that are made of its results."""

    def claims(self, scope: Scope) -> bool:
        """Whether a call is made in this protocol: some have paths in common."""
        ...

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers to."""
        ...

    def failure(self, status: int, message: str, *, request_id: str) -> Response:
        """What is said of a call that nothing of its own answers: of a path that is not there, a
        key that is wrong, a mistake of ours. `request_id`: what the call is named."""
        ...

    def reader(self, order: Order) -> Reader: ...

    def unknown_input(self, order: Order) -> Problem:
        """That the input of an order is not there."""
        ...

    def unserved(self, model: str, number: int | None) -> Problem | Declined:
        """That nothing answers for a model here; what is declined gets its name from who asks."""
        ...

    def write_line(self, name: str, result: Result | None, *, order: Order, n: int) -> Line:
        """What became of request `n`, the client's `name`; `result` is None if it never ran."""
        ...

    def output_name(self, order: Order, *, ok: bool) -> str:
        """What a result file is called."""
        ...


@runtime_checkable
class Admitting(Protocol):
    """A face that has addresses which are secrets: who calls one needs no key."""

    async def admitted(self, scope: Scope) -> str | None:
        """The owner of what lies at such an address; None: it is none."""
        ...


class Caller(NamedTuple):
    """Who calls."""

    owner: str
    request_id: str


def caller_of(request: Request) -> Caller:
    """Who calls, as the front found out."""
    caller: Caller = request.scope[CALLER]
    return caller
