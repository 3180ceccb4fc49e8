"""A call and its reply, as data, and conversations made of them.

A flow is a generator: it yields a `Call`, is sent the `Reply`, and returns what it was for. It does
no I/O, so it is tested with `next` and `send`; `executors/batch.py` drives it over a connection.
"""

from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from ..core.model import Failure
from ..core.states import Outcome
from ..wire.batch import RemoteBatch

NO_HEADERS: Mapping[str, str] = {}


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the body of a call: so that no batch passes through memory."""

    path: Path
    """Where its content lies."""
    name: str
    """What the service is told it is called."""
    fields: Mapping[str, str] | None = None
    """The other fields of a multipart form; None: the file is the body itself."""
    sha256: str = ""
    """Of the whole file, in hex, for who has to tell it beforehand."""
    start: int = 0
    """Where the part begins that is sent, of a file that is sent in parts."""
    length: int | None = None
    """How many bytes it has; None: all that are left."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What to send. `path` is joined to a base URL of the provider, or is an address there."""

    method: str
    path: str
    host: str = ""
    """Which of the provider's `hosts` it goes to; empty: the one of its base URL."""
    body: bytes | None = None
    form: Mapping[str, str] | None = None
    """Sent as a multipart form instead of `body`."""
    headers: Mapping[str, str] = NO_HEADERS
    upload: Upload | None = None
    """Sent instead of `body`."""
    download: Path | None = None
    """Where a 2xx reply's body goes, instead of into the reply."""
    once: bool = False
    """Whether it must not be sent again unless it certainly never arrived."""
    keyless: bool = False
    """Whether it goes to a host that only the service knows, at a whole address it gave: without
    the key, which is not meant for others."""
    pause: timedelta = timedelta()
    """So long to wait before it is sent: for a service that has to get ready."""
    before: str = ""
    """What goes between the host of the base URL and its path: some services have a second tree."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: nothing of its body is missing."""

    status: int
    body: bytes
    headers: Mapping[str, str] = NO_HEADERS
    """Names in lower case."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


BEGUN_ANEW = 2
"""So often an upload in parts is begun once more that the service does not know any more."""
TOO_LARGE = 413
"""Nobody says this of what was taken: neither the service nor a proxy before it."""
_TOO_LARGE = ("file is too large",)
"""The same in words: OpenAI answers 400 to a file beyond its limit, seen 2026-11-20."""


def is_foreign(reply: Reply) -> bool:
    """Whether a refusal is not the service's own: a proxy's may come after the service took it."""
    if reply.ok or reply.status == TOO_LARGE:
        return False
    try:
        return not isinstance(msgspec.json.decode(reply.body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


T = TypeVar("T")

Flow: TypeAlias = Generator[Call, Reply, T]
"""A conversation that ends in a T. It raises Refused where the service says no."""


class Refused(Exception):
    """The service refuses what a flow asked for."""

    def __init__(
        self, outcome: Outcome, failure: Failure, *, status: int, foreign: bool = False
    ) -> None:
        super().__init__(failure.message)
        self.outcome = outcome
        self.failure = failure
        self.status = status
        self.is_foreign = foreign
        """Whether it is not the service's own: that may have done what it was asked."""

    @property
    def is_of_size(self) -> bool:
        """Whether what was sent is larger than the service takes at once."""
        said = self.failure.message.casefold()
        return self.status == TOO_LARGE or any(words in said for words in _TOO_LARGE)


ReadFailure = Callable[[int, bytes], tuple[Outcome, Failure]]
"""What a reply that is not 2xx means: its status and its body."""


def accept(reply: Reply, *, failure: ReadFailure) -> None:
    """Raise Refused for a reply that is not 2xx."""
    if not reply.ok:
        said = failure(reply.status, reply.body)
        raise Refused(*said, status=reply.status, foreign=is_foreign(reply))


def read(reply: Reply, reader: Callable[[bytes], T], *, failure: ReadFailure) -> T:
    """What a 2xx reply says. Raises Refused for any other, and for one that cannot be read."""
    accept(reply, failure=failure)
    try:
        return reader(reply.body)
    except ValueError as e:
        said = Failure(message=f"HTTP {reply.status} with an unreadable body: {e}"[:500])
        raise Refused("server_error", said, status=reply.status) from e


def changed(flow: Flow[T], change: Callable[[Call], Call]) -> Flow[T]:
    """The same conversation, with every call changed."""
    call = next(flow)
    while True:
        reply = yield change(call)
        try:
            call = flow.send(reply)
        except StopIteration as end:
            said: T = end.value
            return said


_PAGES = 100
"""So many pages of a list are read at most."""

Page: TypeAlias = tuple[list[T], str | None]
"""What is on a page of a list, and the cursor of the next one."""


def paged(
    path: Callable[[str | None], str],
    reader: Callable[[bytes], Page[T]],
    *,
    failure: ReadFailure,
    enough: Callable[[list[T]], bool] = lambda page: False,
    host: str = "",
) -> Flow[list[T]]:
    """All that is listed, page by page, until one is `enough`.

    `path` is the address of the page with a cursor.
    """
    listed: list[T] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        reply = yield Call(method="GET", path=path(cursor), host=host)
        page, following = read(reply, reader, failure=failure)
        if cursor is not None and following == cursor:
            break  # the same page again: the service takes no cursor
        listed += page
        cursor = following
        if cursor is None or enough(page):
            break
    return listed


SLACK = timedelta(minutes=5)
"""By so much our clock and a service's may differ."""


def reaches_back(since: datetime) -> Callable[[list[RemoteBatch]], bool]:
    """Whether a page of batches, the newest first, holds all that may have been made since."""

    def enough(page: list[RemoteBatch]) -> bool:
        made = page[-1].created_at if page else None
        return made is not None and made < since - SLACK

    return enough
