"""What the providers' batches have in common, in our words: requests, results, the batch itself."""

from datetime import datetime
from typing import Literal

import msgspec

from ..core.model import Failure
from ..core.states import Outcome

Phase = Literal["waiting", "working", "ended"]
"""`waiting`: accepted, nothing has run yet. `working`: rows run, or results are written.
`ended`: nothing will change any more, whatever became of the rows."""


class ResultLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of a provider's result file: what became of one request.

    Either the reply that a real-time call would have got (`status` and `body`), or, where none was
    made, the `outcome` itself.
    """

    custom_id: str | None
    """The id we gave; None: the line has none that can be read."""
    status: int | None = None
    """The HTTP status of the reply. A provider that tells none gets the one its error means."""
    body: bytes = b""
    """The reply's JSON as it came."""
    outcome: Outcome | None = None
    """Set where there is no reply: the request expired, was cancelled, or was never run."""
    failure: Failure | None = None
    line_id: str | None = None
    """What the provider calls the line."""
    request_id: str | None = None
    """What the provider calls the call behind it."""
    echo: bytes = b""
    """Of a line without a name: what tells the request that came back in it from others."""


class RemoteBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's batch as it said it is."""

    id: str
    status: str
    """The provider's own word."""
    phase: Phase
    intent: str | None = None
    """Our mark on it, where the wire carries one."""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    """When nothing changed any more."""
    size: int | None = None
    """How many requests it holds, where the provider says so by now."""
    done: int = 0
    """How many of them are over, by the provider's word: for the eye only, never for counts."""
    input_file: str | None = None
    results: tuple[str, ...] = ()
    """Ids or addresses of the files with results, once it has ended; all of them are to be read."""
    inline: bytes = b""
    """The results themselves as JSON, where the provider puts them into the batch."""
    problems: tuple[Failure, ...] = ()
    """Why nothing ran, where the provider refused the whole batch after taking it."""
    bad_lines: dict[int, Failure] = {}
    """Of these, those that name a request: by its 1-based place in the batch."""
    over_quota: bool = False
    """Whether it was refused only because too much is waiting already."""
