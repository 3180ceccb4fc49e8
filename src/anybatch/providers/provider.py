"""What we know of a service, as data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..core.model import Api, ExecutorName, Json
from ..core.plan import Limits
from ..wire.apis import path_of
from ..wire.batch import RemoteBatch, ResultLine
from .asked import Asked
from .flow import Flow, Upload
from .rules import Rules
from .schemas import Dialect

OPENAI_APIS: tuple[Api, ...] = (
    "openai.chat",
    "openai.responses",
    "openai.embeddings",
    "openai.completions",
)
"""What those take that speak OpenAI's wire."""
Auth = Literal["authorization", "x-api-key", "x-goog-api-key", "api-key", "google"]
"""The header that carries the key; the first one says `Bearer` before it. `google`: the first one,
with a token that is made from Google's credentials."""


def no_headers(parameters: Json | None) -> Mapping[str, str]:
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


Step = Literal["upload", "create", "poll", "download", "delete"]
"""The kinds of calls at a batch API. Looking, listing and cancelling are `poll`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePace:
    """How many calls of one kind a service takes."""

    at_once: int = 4
    most: int | None = None
    """So many in the time `every`; None: we do not know."""
    every: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Batches whose requests go within the submission, instead of being uploaded ahead of it."""

    max_bytes: int
    """Of the requests as they lie in a file: of larger ones a file is made."""
    framing: Callable[[str], Sequence[bytes]]
    """What stands before the first, between two and behind the last request, given our mark."""
    write_request: Callable[[Api, str, bytes], bytes]
    """A request as it is sent there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchApi:
    """A provider's batch API: its limits, its lines and the conversations it takes.

    Every flow but `create` may be repeated at will.
    """

    apis: frozenset[Api]
    limits: Limits
    window: timedelta | None
    """After which the provider gives up what it has not run; None: it never does."""
    retention: timedelta | None
    """After which it deletes the results; None: it keeps them until they are deleted."""
    source: str
    """Where these facts are from, and when that was looked at."""
    framing: tuple[bytes, bytes, bytes]
    """What stands before the first, between two and behind the last request."""
    write_request: Callable[[Api, str, bytes], bytes]
    """A request as it is sent: of which api, under which custom_id, which body."""
    read_line: Callable[[bytes], ResultLine]
    echo_of: Callable[[bytes], bytes] | None = None
    """What tells a body from others, as `ResultLine.echo` does; None: results come alone."""
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
    fetch: Callable[[str, Path], Flow[bytes | None]]
    """Download a file of results; it returns them where they do not come as a file."""
    cancel: Callable[[str], Flow[RemoteBatch]]
    delete: Callable[[str], Flow[None]]
    """Delete a file; one that is gone counts as deleted."""
    marks: bool = True
    """Whether `find` is certain of what it finds: mostly because a batch carries our mark."""
    found_by: str = "our mark on it"
    """By what a submission whose answer was lost is found again, in words."""
    digests: bool = False
    """Whether an upload has to tell its SHA-256 beforehand."""
    list_uploads: Callable[[str], Flow[list[Uploaded]]] | None = None
    """All that was uploaded under a name that begins so; None: nothing is uploaded apart."""
    list_results: Callable[[], Flow[list[str]]] | None = None
    """The ids of all files of results that it keeps; None: they are a part of their batch, or lie
    among the uploads."""
    fetch_start: Callable[[str, Path], Flow[None]] | None = None
    """Download the beginning of a file of results, for a look at the names in it."""
    paces: Mapping[Step, GatePace] = field(default_factory=dict)
    """How many calls of a kind it takes, as far as `source` says so."""
    most_waiting: int | None = None
    """So many batches of one account and model may wait at once; None: that is not known."""
    within: Within | None = None
    """How small batches go without an upload; None: they do not."""
    rules: Rules | None = None
    """What a file of ready-made requests has to keep to; None: we do not know that."""
    lacks: tuple[Asked, ...] = ()
    """What nobody has said, and without which no batch can be made."""


Tier = Literal["standard", "flex", "priority", "batch"]
"""At which price and how soon a service answers. `flex`: in real time, for less, when there is
room. `priority`: for more, before the others. `batch`: within its window, by its batch API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """The tiers that a service has."""

    names: frozenset[Tier]
    source: str
    """Where this is from, and when that was looked at."""
    field: str | None = None
    """The field of a body by which flex and priority are asked for in real time; None: they are
    not, or nobody says how."""
    apis: frozenset[Api] = frozenset(("openai.chat", "openai.responses", "gemini.generate"))
    """Those whose bodies have that field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One service."""

    name: str
    base_url: str | None = None
    """Up to and including `/v1`; None: a model in this process."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """The base URLs of its other hosts, by the names that its calls have for them."""
    key_env: str | None = None
    """The environment variable that holds the key, or the path of a file with credentials; None: it
    takes none."""
    token_env: str | None = None
    """That of a token which calls carry as `authorization` where there is no key; None: there is no
    such token."""
    apis: tuple[Api, ...] = OPENAI_APIS
    """The first one is meant where none is named."""
    auth: Auth = "authorization"
    headers: Callable[[Json | None], Mapping[str, str]] = no_headers
    """What every call carries beside the key, given a run's parameters; None: its requests came
    ready-made, and may have any."""
    scope: Mapping[str, str] = field(default_factory=dict)
    """What says beside the key whose account it is, by name: as its caller has it."""
    scope_headers: Mapping[str, str] = field(default_factory=dict)
    """The same as calls carry it."""
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
    path_of: Callable[[Api, str], str] = path_of
    """Where a body goes in real time, under the base URL, given the model."""
    schemas: Dialect | None = None
    """What it takes of JSON Schema; None: any, or we do not know."""
    batch: BatchApi | None = None
    """None: it has none, or we do not know it."""
    tiers: Tiers | None = None
    """None: we know of none."""
    asks: tuple[Asked, ...] = ()
    """What only its caller can say of it, beside what may be said of every provider."""
    placed: Callable[["Provider", Mapping[str, str]], "Provider"] | None = None
    """The provider where its caller says it is, given what is said of what it asks, by name."""
    lacks: tuple[Asked, ...] = ()
    """What nobody has said, and without which it cannot be called."""

    def sends(self, tier: Tier, api: Api) -> bool:
        """Whether a call can ask for `tier` in real time."""
        if tier in ("standard", "batch"):
            return tier == "standard"
        tiers = self.tiers
        return tiers is not None and tier in tiers.names and bool(tiers.field) and api in tiers.apis

    def limits_of(self, executor: ExecutorName) -> Limits:
        """What a batch may hold that is answered this way."""
        if executor == "batch":
            assert self.batch is not None
            return self.batch.limits
        return self.limits
