"""What we know of a service, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..core.model import Api, ExecutorName, Json
from ..core.plan import Limits
from ..wire.batch import RemoteBatch, ResultLine
from .flow import Flow, Upload
from .rules import Rules

OPENAI_APIS: tuple[Api, ...] = (
    "openai.chat",
    "openai.responses",
    "openai.embeddings",
    "openai.completions",
)
Auth = Literal["authorization", "x-api-key", "x-goog-api-key"]
"""The header that carries the key; the first one says `Bearer` before it."""


def no_headers(parameters: Json) -> Mapping[str, str]:
    """For a service that wants no header of its own."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A batch that is ready to be submitted."""

    intent: str
    """Our mark, by which it can be found again."""
    api: Api
    model: str | None
    size: int
    """How many requests it holds."""
    file: str | None
    """The provider's id of its uploaded requests, where they are uploaded apart."""
    requests: Path
    """Where the requests lie as they are sent."""


class Uploaded(NamedTuple):
    """Requests that a provider keeps."""

    id: str
    name: str
    """What we called them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchApi:
    """A provider's batch API: its limits, its lines and the conversations it takes.

    Every flow but `create` may be repeated at will.
    """

    apis: frozenset[Api]
    limits: Limits
    window: timedelta
    """After which the provider gives up what it has not run."""
    retention: timedelta
    """After which it deletes the results."""
    source: str
    """Where these facts are from, and when that was looked at."""
    framing: tuple[bytes, bytes, bytes]
    """What stands before the first, between two and behind the last request."""
    write_request: Callable[[Api, str, bytes], bytes]
    """A request as it is sent: of which api, under which custom_id, which body."""
    read_line: Callable[[bytes], ResultLine]
    upload: Callable[[Upload], Flow[str]] | None
    """Send the requests; the provider's id of them. None: they are sent with `create`."""
    find_upload: Callable[[str], Flow[list[str]]] | None
    """The ids of all that was uploaded under this name."""
    create: Callable[[Submission], Flow[RemoteBatch]]
    listed: Callable[[datetime], Flow[list[RemoteBatch]]]
    """All batches of the account that were made since."""
    find: Callable[[Submission, datetime], Flow[list[RemoteBatch]]]
    """All batches that may be this submission, made since that moment."""
    poll: Callable[[str], Flow[RemoteBatch]]
    fetch: Callable[[str, Path], Flow[None]]
    """Download a file of results."""
    cancel: Callable[[str], Flow[RemoteBatch]]
    delete: Callable[[str], Flow[None]]
    """Delete a file; one that is gone counts as deleted."""
    marks: bool = True
    """Whether a batch carries our mark, so that `find` is certain of what it finds."""
    list_uploads: Callable[[str], Flow[list[Uploaded]]] | None = None
    """All that was uploaded under a name that begins so; None: nothing is uploaded apart."""
    rules: Rules | None = None
    """What a file of ready-made requests has to keep to; None: we do not know that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One service."""

    name: str
    base_url: str | None = None
    """Up to and including `/v1`; None: a model in this process."""
    key_env: str | None = None
    """The environment variable that holds the key; None: it takes none."""
    apis: tuple[Api, ...] = OPENAI_APIS
    """The first one is meant where none is named."""
    auth: Auth = "authorization"
    headers: Callable[[Json], Mapping[str, str]] = no_headers
    """What every call carries beside the key, given a run's parameters."""
    limits: Limits = Limits(max_requests=10_000)
    """Of a batch that is answered call by call: small enough to share, large enough to be rare."""
    concurrency: int = 64
    """Calls in flight at most."""
    rpm: int | None = None
    """Requests a minute; None: learned from the service's own headers."""
    tpm: int | None = None
    """Tokens a minute, likewise."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every body gets unless the caller sets them."""
    groups_prefixes: bool = False
    """Whether requests that share a prefix should go out next to each other."""
    batch: BatchApi | None = None
    """None: it has none, or we do not know it."""

    def limits_of(self, executor: ExecutorName) -> Limits:
        """What a batch may hold that is answered this way."""
        if executor == "batch":
            assert self.batch is not None
            return self.batch.limits
        return self.limits
