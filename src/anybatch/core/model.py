"""The nouns: Run, Batch, Request, Result, Failure, Usage. Frozen; change is `replace`.

Those that exist once a row are none of the garbage collector's business: they hold no cycle, and
there are millions of them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from .states import BatchStatus, Outcome, RunState

Api = Literal[
    "openai.chat",
    "openai.responses",
    "openai.embeddings",
    "openai.completions",
    "openai.moderations",
    "openai.images",
    "anthropic.messages",
    "gemini.generate",
    "gemini.embed",
]
"""The shape of a body."""

EMBEDDINGS: frozenset[Api] = frozenset(("openai.embeddings", "gemini.embed"))
"""The apis whose answers are numbers."""

WORDLESS: frozenset[Api] = EMBEDDINGS | {"openai.moderations", "openai.images"}
"""The apis whose answers are no text: no system prompt, no schema."""

COLUMNS: Mapping[Api, tuple[str, ...]] = {
    **dict.fromkeys(EMBEDDINGS, ("embedding",)),
    "openai.moderations": ("flagged", "categories", "scores"),
    "openai.images": ("image",),
}
"""What the columns are called that an answer goes into, where it is no text."""

ExecutorName = Literal["batch", "online", "embedded"]
"""By a provider's batch API, by a real-time endpoint, or by a model in this process."""

Tier = Literal["standard", "flex", "priority", "batch"]
"""What a provider calls its service at one price and pace."""

Preference = Literal["cheap", "fast"]

Tail = Literal["online", "batch"]
"""How that is answered which two waves of batches have left."""

Json = dict[str, Any]
Row = dict[str, Any]
"""One row of a dataset: column name -> value, in column order."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Tokens, as the model's side counted them."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    """The part of `tokens_in` that came from a prompt cache."""
    written: int = 0
    """The part of `tokens_in` that was written into one, for minutes."""
    kept: int = 0
    """The part of `tokens_in` that was written into one, for an hour or longer."""
    reasoning: int = 0
    """The part of `tokens_out` that was spent thinking."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            cached=self.cached + other.cached,
            written=self.written + other.written,
            kept=self.kept + other.kept,
            reasoning=self.reasoning + other.reasoning,
        )


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Why a request did not succeed, in words fit for a user's eyes: no key, no body."""

    message: str
    code: str | None = None
    """The provider's own code, where it gave one."""


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call to a model."""

    n: int
    """Its number in the run, 0-based."""
    body: bytes
    """The JSON body, byte for byte as it goes out."""


NO_BODY = msgspec.Raw(b"null")


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of one request. `n` is first, so that a journal line can be indexed by it."""

    n: int
    outcome: Outcome
    status: int | None = None
    """The HTTP status, where there was one."""
    body: msgspec.Raw = NO_BODY
    """The answer's JSON as it came; of a reply that is none, only what a batch returned."""
    failure: Failure | None = None
    usage: Usage = Usage()
    model: str | None = None
    """The model that the answer says it is from."""
    line_id: str | None = None
    """What the provider calls the line of its results."""
    request_id: str | None = None
    """What the provider calls the call behind it: its support asks for that."""
    tries: int = 1
    ms: int = 0
    """From the first send to the last byte, waiting between tries included."""

    def value(self) -> Any:
        """`body` as Python values."""
        return msgspec.json.decode(self.body)


Counts = dict[Outcome, int]


class Segment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a batch's journal that one owner wrote."""

    token: int
    """The lease token it was written under; it names the file."""
    size: int
    """Committed length in bytes. What lies behind it on disk never happened."""
    crc: int
    """CRC-32 of these bytes."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Where batches wait together at a provider: one limit holds for all of them."""

    provider: str
    account: str | None
    model: str | None


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that takes longer at its provider than others do."""

    word: Literal["slow", "stuck"]
    why: str


class Remote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we know of a batch at its provider, written down as soon as it is known."""

    attempt: int = 1
    """Raised when a submission was looked for and is certainly not there: then it is made again."""
    input_file: str | None = None
    """The provider's id of the uploaded requests, where they are uploaded apart."""
    uploaded_at: datetime | None = None
    """When these were uploaded: providers do not keep them for ever."""
    sent_at: datetime | None = None
    """When this attempt was about to be submitted; from then on it may exist, whatever we heard."""
    sent_there: datetime | None = None
    """The same moment by the provider's clock, which may be hours off ours."""
    looks: int = 0
    """So often it was looked for in vain since; of one that has ended, a file of its results."""
    not_ours: tuple[str, ...] = ()
    """Batches that are not what we look for: their results showed that they are somebody else's, or
    they are earlier attempts that the provider did not take."""
    id: str | None = None
    """The provider's id of the batch."""
    guessed: bool = False
    """Whether it was found by its size and its time alone, and none of its results bears a name of
    ours yet: it may be somebody else's."""
    confirmed: bool = False
    """Whether the provider was seen to know it by that id."""
    status: str | None = None
    """The provider's own word."""
    phase_since: datetime | None = None
    """When the present `status` was first seen."""
    done: int = 0
    """Rows that are over by the provider's word."""
    progress_at: datetime | None = None
    """When `done` was last seen to grow."""
    late: Late | None = None
    """What was said of how long its present phase takes."""
    ended_there: datetime | None = None
    """When it ended, as the provider says."""
    results: tuple[str, ...] = ()
    """The files with results, once it has ended."""
    failed: tuple[Failure, ...] = ()
    """Why the provider ran nothing of it."""
    bad_lines: dict[int, Failure] = {}
    """Of these, those that name a request: by its 1-based place in the batch."""
    refused: int = 0
    """So often in a row the provider did not take it because too much was waiting there."""
    alone: int = 0
    """Of these, how often nothing else of ours was waiting."""
    cancelled: bool = False
    """Whether we asked the provider to cancel it."""
    rescued: bool = False
    """Whether that was because what is left of it goes another way, to be done in time."""
    tries: int = 0
    """So often in a row the present step failed."""
    failing_since: datetime | None = None
    """Since when no step gets through: nothing of use is heard from the provider."""
    why: str | None = None
    """Why it waits, or what last went wrong."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of a run, fulfilled as a unit."""

    id: str
    run_id: str
    wave: int
    """1-based. Wave 2 holds what wave 1 left to retry."""
    attempt: int = 1
    """The automatic attempt at its requests, counted; one asked for by hand starts again at 1."""
    part: int
    """0-based place among the batches of its wave."""
    status: BatchStatus
    first: int
    """The first `n`, when the batch is a range."""
    size: int
    """How many requests it holds."""
    tokens: int = 0
    """About so many tokens go out with it, judged by its bytes; 0: nobody asked."""
    ordered: bool = True
    """True: requests `first … first+size-1`. False: an index file lists them."""
    budget_factor: int = 1
    """What the output budget of every request in it is multiplied by."""
    due: datetime | None = None
    """Not before this moment; None: now."""
    owner: str | None = None
    lease_until: datetime | None = None
    token: int = 0
    """Raised by each claim; a write under an older one is refused."""
    journal: tuple[Segment, ...] = ()
    counts: Counts = {}
    retried: Counts = {}
    """Of `counts`, those that a later wave has taken over."""
    copies: Counts = {}
    """Of the rows that share these requests with others before them, by what became of them."""
    copies_retried: Counts = {}
    """Of `copies`, those that a later wave has taken over."""
    usage: Usage = Usage()
    window: int = 0
    """At most so many results are under way at once by calls of the present owner."""
    executor: ExecutorName = "online"
    tier: Tier | None = None
    """At which price and pace; None: the usual one of its executor."""
    stage: int = 0
    """It goes once all of its wave that have a lower one are answered."""
    pack: int = 1
    """So many of its requests go out as one call, at most."""
    trial: bool = False
    """Whether what it is answered only shows how good packs are: other batches hold the same
    requests, and their answers count."""
    remote: Remote | None = None
    """Of a batch that goes through a provider's batch API, from its first claim on."""
    reused: bool = False
    """Whether its results are those of earlier runs: nothing of it was sent."""

    @property
    def answered(self) -> int:
        return sum(self.counts.values())


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of every row: all of a run but its data."""

    provider: str
    model: str | None
    """None: each ready-made request names its own."""
    api: Api
    base_url: str | None = None
    prompt: str | None = None
    """The template's text; None for a dataset of ready-made requests."""
    system: str | None = None
    output_schema: Json | None = None
    parameters: Json = {}
    """Further fields of every body, such as `temperature`."""
    executor: ExecutorName | None = None
    """How it is answered; None until it is planned: as the provider offers it."""
    tail: Tail = "online"
    pack: int = 1
    """So many rows are asked in one prompt, at most."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked of a run besides its answers. It may change while the run goes on."""

    by: datetime | None = None
    """When all of it is to be done."""
    budget: float | None = None
    """Dollars that all of it may cost."""
    prefer: Preference = "cheap"
    """Which of the ways that meet both is taken."""
    preview: int = 0
    """So many rows are answered in real time ahead of the others."""
    overflow: bool = False
    """Whether what does not fit through a rate limit in real time goes by batch."""
    insists: bool = False
    """Whether the caller named the executor: then batches are tried though they may be late."""
    agreement: float = 0.9
    """The share of packed answers that has to be as when asked alone, with 95 % certainty."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset through one prompt."""

    id: str
    created_at: datetime
    source: str
    """What the caller calls the data: a path, or a word for rows in memory."""
    spec: Spec
    fingerprint: str
    parts: dict[str, str]
    """Digest per ingredient (data, prompt, model, …): what the fingerprint is made of."""
    columns: tuple[str, ...]
    """The dataset's columns, in order of first appearance."""
    total: int
    skipped: int = 0
    """Bad rows that were left out of `total` at the caller's wish."""
    budgeted: bool = False
    """Whether every request caps its output, so that a truncated one can be given more."""
    wave: int = 1
    """The latest wave that was planned."""
    state: RunState = "open"
    why: str | None = None
    """Why it stopped, when `state` is `stopped`."""
    ended_at: datetime | None = None
    canary: int = 0
    """So many rows go first, and the others only if their answers are valid; 0: none do."""
    account: str | None = None
    """Whose batches it makes at a provider: a digest of the key it was planned with."""
    keep_remote: bool = False
    """Whether all that lies at the provider stays there when it is here."""
    terms: Terms = Terms()
    copies: int = 0
    """So many rows share the request of another row before them."""
    reused: int = 0
    """So many requests were answered by earlier runs, the last ones of their file."""

    @property
    def requests(self) -> int:
        """How many it has: one for all rows that ask the same."""
        return self.total - self.copies

    @property
    def to_send(self) -> int:
        """How many of them are sent: the first ones of their file."""
        return self.requests - self.reused

    @property
    def is_shared(self) -> bool:
        """Whether the numbers of its requests are not those of its rows."""
        return bool(self.copies or self.reused)

    @property
    def queue(self) -> Queue:
        """Where its batches wait at the provider."""
        return Queue(provider=self.spec.provider, account=self.account, model=self.spec.model)
