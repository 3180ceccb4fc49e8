"""The fault matrix: what can befall each operation at a provider, and what must come of it.

A cell is a provider, one of its operations and a fault. `cells` says of each what comes of it, or
why there is no such cell. `docs/faults.md` is printed from it and from the tests that hold it.
"""

import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from anybatch.core.states import OUTCOMES, Outcome
from anybatch.testing import (
    BAD_GATEWAY,
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Altered,
    Cut,
    Delay,
    Drip,
    Fate,
    Fault,
    Mangled,
    Stall,
    Status,
    retry_after,
)
from anybatch.testing.clock import START
from anybatch.testing.fakes import FAKES

Role = Literal[
    "upload", "uploads", "create", "poll", "list", "look", "download", "delete", "cancel"
]
"""What an operation is for, whatever a provider calls it."""
LOOKS: Final = "list, to look"
"""Many batches are looked at by a list; else it is for a submission whose answer was lost."""

ROLES: Final[Mapping[str, Mapping[str, Role]]] = {
    "openai": {
        "upload": "upload",
        "files": "uploads",
        "create": "create",
        "poll": "poll",
        "list": "list",
        LOOKS: "look",
        "download": "download",
        "delete": "delete",
        "cancel": "cancel",
    },
    "anthropic": {
        "create": "create",
        "poll": "poll",
        "list": "list",
        LOOKS: "look",
        "download": "download",
        "delete": "delete",
        "cancel": "cancel",
    },
    "gemini": {
        "start": "upload",
        "upload": "upload",
        "files": "uploads",
        "create": "create",
        "poll": "poll",
        "list": "list",
        LOOKS: "look",
        "download": "download",
        "delete": "delete",
        "cancel": "cancel",
    },
    "gemini, without uploads": {
        "files": "uploads",
        "create": "create",
        "poll": "poll",
        "list": "list",
        LOOKS: "look",
        "remove": "delete",
        "cancel": "cancel",
    },
    "vertex": {
        "start": "upload",
        "upload": "upload",
        "objects": "uploads",
        "create": "create",
        "poll": "poll",
        "list": "list",
        LOOKS: "look",
        "download": "download",
        "delete": "delete",
        "cancel": "cancel",
    },
}
"""The operations that a run asks of a provider, and what each is for."""

UNASKED: Final[Mapping[str, str]] = {
    "file": "no run asks for it",
    "object": "no run asks for it",
    "put": "no run asks for it",
    "remove": "no run asks for it: the batch is left there",
    "call": "calls in real time have tests of their own, in `tests/executors/test_online.py`",
    "token": "tokens have tests of their own, in `tests/executors/test_http.py`",
}
"""Operations of the fakes that are no step of a batch."""


def fake_of(provider: str) -> str:
    """The name of its fake."""
    return provider.partition(",")[0]


def called(operation: str) -> str:
    """How its fake calls an operation of the matrix."""
    return operation.partition(",")[0]


def unasked(provider: str) -> Mapping[str, str]:
    """The operations of its fake that no run asks for, and why."""
    elsewhere = {
        op for other in ROLES if fake_of(other) == fake_of(provider) for op in ROLES[other]
    }
    there = FAKES[fake_of(provider)].fake.operations - elsewhere
    return {name: UNASKED[name] for name in sorted(there)}


Comes = Literal["again", "found", "anew", "cut", "fails", "stops", "believed", "right"]
MEANING: Final[Mapping[Comes, str]] = {
    "again": "the step is taken again, if need be: every row comes back, and none is paid twice",
    "found": "the submission was taken: it is looked for, found, and not made again",
    "anew": "the submission was not taken: it is looked for in vain, then made again",
    "cut": "the batch is cut, and its halves are sent: every row comes back, none is paid twice",
    "fails": "the rows of that batch have failed, the others come back; nothing is paid for those",
    "stops": "three of them stop the run: others would fare no better; typed again, it goes on",
    "believed": "what the provider says is not there counts as deleted",
    "right": "every row gets its own answer; what is wrong is asked again or set aside and said",
}


class Cell(NamedTuple):
    provider: str
    operation: str
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A line of the matrix."""

    name: str
    fault: Fault
    group: str
    done: bool | None = None
    """Whether the operation was carried out; None: as is plain to whoever asked for it."""
    status: int | None = None
    """Of a refusal that will not pass."""
    once: bool = False
    """Whether it befalls one exchange only, for it takes its time."""


def _broken_json(what: bytes) -> Altered:
    """A body with something in its first object that is none of ours."""
    return Altered(lambda body: body.replace(b"{", b"{" + what + b",", 1))


def _half_packed(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return packed[: len(packed) // 2]


_ID: Final = re.compile(rb"\b(msgbatch_|batch_|batches/|file-|files/|batchPredictionJobs/)")


def _other_ids(body: bytes) -> bytes:
    return _ID.sub(rb"\1x", body)


_REFUSALS: Final = (400, 401, 402, 403, 404, 413, 422)
_TROUBLE: Final = (500, 503, 504, 408, 409)
_PROXY: Final = BAD_GATEWAY.body

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(group="too many requests", name="429", fault=Status(429), done=False),
        *(
            Kind(group="too many requests", name=name, fault=Status(429, headers=asked), once=once)
            for name, asked, once in (
                ("429, wait 1 s", retry_after(1), False),
                ("429, wait 0.5 s", retry_after(0.5, form="float"), False),
                ("429, wait 500 ms", retry_after(0.5, form="ms"), False),
                ("429, wait until", retry_after(5, form="date", now=START), False),
                ("429, wait 30 years", retry_after(1e9), True),
            )
        ),
        *(
            Kind(group="trouble", name=f"{status}", fault=Status(status), done=False)
            for status in _TROUBLE
        ),
        Kind(group="trouble", name="502 of a proxy", fault=BAD_GATEWAY, done=False),
        *(
            Kind(
                group="trouble",
                name=f"{status}, done all the same",
                fault=Status(status, executed=True),
                done=True,
            )
            for status in _TROUBLE
        ),
        Kind(
            group="trouble",
            name="502 of a proxy, done all the same",
            fault=Status(502, body=_PROXY, executed=True),
            done=True,
        ),
        *(
            Kind(group="refusals", name=f"{status}", fault=Status(status), status=status)
            for status in _REFUSALS
        ),
        Kind(
            group="refusals",
            name="403 of a proxy, done all the same",
            fault=Status(403, body=b"<html>no</html>", executed=True),
            done=True,
            status=403,
        ),
        *(
            Kind(group="broken connections", name=name, fault=fault, done=done)
            for name, fault, done in (
                ("reset before it is read", Cut("unread"), False),
                ("reset before it is done", Cut("unexecuted"), False),
                ("closed before it is done", Cut("unexecuted", by="close"), False),
                ("reset after it is done", Cut("executed"), True),
                ("closed after it is done", Cut("executed", by="close"), True),
                ("closed behind the answer", Cut("answered", by="close"), None),
            )
        ),
        *(
            Kind(group="slow answers", name=name, fault=fault, done=done)
            for name, fault, done in (
                ("late", Delay(0.05), None),
                ("bit by bit", Drip(0.05), None),
                ("never, not done", Stall(0.4, executed=False), False),
                ("never, done all the same", Stall(0.4), True),
            )
        ),
        *(
            Kind(group="answers cut short", name=name, fault=fault, done=True)
            for name, fault in (
                ("half, with its length", Cut("midway")),
                ("half, in chunks", Cut("midway", framing="chunked")),
                ("half, closed", Cut("midway", framing="close", by="close")),
                ("half, whole for HTTP", Altered("half")),
                ("half, packed", Altered(_half_packed, headers={"content-encoding": "gzip"})),
            )
        ),
        *(
            Kind(group="answers that are none", name=name, fault=fault, done=True)
            for name, fault in (
                ("a page for people", Altered("html", content_type="text/html")),
                ("a page instead", HTML_PAGE),
                ("nothing", Altered("empty")),
                ("malformed JSON", MALFORMED),
                ("JSON nested too deep", Altered("nested")),
                ("NaN in JSON", _broken_json(b'"odd":NaN')),
                ("half a character in JSON", _broken_json(b'"odd":"\xed\xa0\x80"')),
                ("nothing instead", EMPTY),
            )
        ),
        *(
            Kind(group="odd answers", name=name, fault=fault)
            for name, fault in (
                ("another content type", Altered(content_type="text/plain")),
                ("a byte order mark", Altered("bom")),
                ("CRLF", Altered("crlf")),
                ("half a pair in JSON", _broken_json(b'"odd":"\\ud800"')),
                ("U+2028 in JSON", _broken_json('"odd":"\u2028\u2029\u0085"'.encode())),
                ("the same key twice", _broken_json(b'"id":"x","name":"x"')),
                ("other ids", Altered(_other_ids)),
            )
        ),
    )
}

_NO_OTHER_IDS: Final[Mapping[Role, str]] = {
    "download": "no id is read from it",
    "delete": "nothing is read from it",
}
_READ_ONLY: Final[tuple[Role, ...]] = ("uploads", "poll", "list", "look", "download")

_USUAL: Final[Mapping[int, Outcome]] = {
    400: "bad_request",
    401: "auth",
    402: "billing",
    403: "auth",
    404: "not_found_model",
    422: "bad_request",
}
_IN_GOOGLES_WORDS: Final[Mapping[int, Outcome]] = {402: "bad_request"}


def outcome_of(provider: str, status: int) -> Outcome:
    """What becomes of the rows of a batch that is refused with this status."""
    if fake_of(provider) in ("gemini", "vertex"):
        return _IN_GOOGLES_WORDS.get(status, _USUAL[status])
    return _USUAL[status]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no such cell."""

    reason: str


_APART: Final[Mapping[tuple[str, str, str], Comes]] = {
    # An upload in parts is begun anew where the service does not know it any more.
    ("gemini", "upload", "400"): "again",
    ("gemini", "upload", "404"): "again",
    ("vertex", "upload", "404"): "again",
    # So it answers for a file that is not there.
    ("gemini", "delete", "403"): "believed",
    # The first thing that is asked for, and so the first to be refused.
    ("anthropic", "list", "401"): "fails",
    ("anthropic", "list", "402"): "fails",
}
"""What comes of a fault at one provider and nowhere else."""


def comes_of(cell: Cell) -> Comes | Missing:
    """What must come of a fault, by the operation that it befalls."""
    role, kind = ROLES[cell.provider][cell.operation], KINDS[cell.fault]
    if cell in _APART:
        return _APART[cell]
    if kind.name == "other ids":
        return _of_other_ids(cell)
    if kind.group == "trouble" and kind.done and role in _READ_ONLY:
        return Missing("it changes nothing there: done or not is the same")
    if role == "delete" and kind.name == "404":
        return "believed"
    if role == "create" and kind.done is not None and kind.group != "too many requests":
        return "found" if kind.done else "anew"
    if role in ("upload", "create") and kind.status == 413:
        return "cut"
    if role in ("upload", "create") and kind.status is not None:
        outcome = outcome_of(cell.provider, kind.status)
        return "stops" if OUTCOMES[outcome].trips_breaker else "fails"
    return "again"


_OTHER_IDS: Final[Mapping[tuple[str, str], Comes]] = {
    ("openai", "upload"): "fails",
    ("gemini", "upload"): "stops",
}
"""What is submitted then is not there."""


def _of_other_ids(cell: Cell) -> Comes | Missing:
    role = ROLES[cell.provider][cell.operation]
    if role == "upload" and cell[:2] not in _OTHER_IDS:
        return Missing("no id is read from it")
    if role in _NO_OTHER_IDS:
        return Missing(_NO_OTHER_IDS[role])
    return _OTHER_IDS.get(cell[:2], "again")


# --- what is in the results, and what is said of a batch ------------------------------------------

FILED: Final[Mapping[str, Mangled | None]] = {
    "in another order": None,
    "a row is missing": Mangled("missing"),
    "a row comes twice": Mangled("repeated"),
    "a row comes twice, with two answers": Mangled("contradicted"),
    "a row is answered and has failed": Mangled("both"),
    "a row has another's name": Mangled("foreign"),
    "a row has no name": Mangled("unnamed"),
    "a row is half a line": Mangled("malformed"),
}
"""How the rows of a batch lie in its results."""

FATES: Final[Mapping[str, Fate]] = {
    "an unknown state": Fate(words=("pondering", "musing")),
    "a state of before": Fate(words=("finalizing", "validating", "in_progress")),
    "counts that lie": Fate(counts={"total": 99, "completed": 99, "failed": 1}),
    "it is away for a while": Fate(lost=range(1, 4)),
    "its results come late": Fate(late_files=3),
    "it is over without results": Fate(no_files=True),
    "it expires half way": Fate(ends="expired", done=2),
    "somebody cancels it half way": Fate(ends="cancelled", done=2),
    "it is gone for good": Fate(lost=range(1, 1_000)),
}
"""What is said of a batch."""


def _of_filed(provider: str, name: str) -> Comes | Missing:
    if provider == "gemini, without uploads" and name == "a row is half a line":
        return Missing("its results are no lines")
    return "right"


def cells() -> Iterator[tuple[Cell, Comes | Missing]]:
    """All there are, for every provider that has a fake."""
    for provider, roles in ROLES.items():
        for operation in roles:
            for name in KINDS:
                cell = Cell(provider, operation, name)
                yield cell, comes_of(cell)
        fetching = "download" if "download" in roles else "poll"
        for name in FILED:
            yield Cell(provider, fetching, name), _of_filed(provider, name)
        for name in FATES:
            yield Cell(provider, "poll", name), "right"


ELSEWHERE: Final[Mapping[str, str]] = {
    "nobody listens": "tests/executors/test_http.py::test_a_refused_connection_sent_nothing",
    "a name cannot be found": (
        "tests/executors/test_http.py::test_a_name_that_cannot_be_found_sent_nothing"
    ),
    "nobody accepts the connection": (
        "tests/executors/test_http.py::test_who_is_never_accepted_gets_no_answer"
    ),
    "the other end speaks no TLS": (
        "tests/executors/test_tls.py::test_a_service_without_tls_got_nothing"
    ),
    "a certificate has run out, or nobody vouches for it": (
        "tests/executors/test_tls.py::test_a_service_that_nobody_vouches_for_got_nothing"
    ),
    "the provider is down for a while": (
        "tests/engine/test_crash_of_batches.py::test_a_refused_connection_is_waited_out"
    ),
    "a download is cut anywhere": (
        "tests/engine/test_collect.py::test_a_download_that_is_cut_anywhere_is_noticed"
    ),
    "a download is cut at the end of a line": (
        "tests/engine/test_collect.py::test_a_download_that_is_cut_at_the_end_of_a_line_is_noticed"
    ),
    "two rows have each other's name": (
        "tests/engine/test_collect.py::test_swapped_names_put_no_answer_on_a_wrong_row"
    ),
    "our process dies, before or after any effect": (
        "tests/engine/test_crash_of_batches.py"
        "::test_a_run_of_three_batches_and_two_waves_dies_anywhere"
    ),
    "our process dies while the answer to a submission is lost": (
        "tests/engine/test_deaths_in_doubt.py"
        "::test_a_run_dies_here_and_there_while_answers_are_lost"
    ),
    "two runs take each other's batch for theirs": (
        "tests/engine/test_search.py::test_two_runs_that_guessed_each_other_s_batch_swap"
    ),
    "a batch may be ours or somebody else's when it is to be cancelled": (
        "tests/engine/test_search.py::test_a_run_that_is_cancelled_ends_nobody_s_batch_on_a_guess"
    ),
    "our process is killed": (
        "tests/cli/test_kill_batches.py::test_a_killed_run_pays_for_each_row_once"
    ),
    "our process sleeps past its lease": (
        "tests/cli/test_two_processes.py::test_an_owner_that_slept_past_its_lease_is_fenced_off"
    ),
    "two processes work on one run": (
        "tests/cli/test_two_processes.py::test_two_processes_on_one_store_never_ask_the_same_twice"
    ),
    "the disk is full": (
        "tests/engine/test_disk.py::test_a_disk_that_fills_up_stops_the_run_and_with_room_it_goes_on"
    ),
    "the store is damaged": (
        "tests/store/test_damage.py"
        "::test_a_bit_that_changed_gives_no_wrong_row_and_loses_nothing_in_silence"
    ),
}
"""What is no operation's alone, and the test of it."""
