"""The two tables: what a batch may become, and what is done about each outcome.

The documentation prints itself from here (`docs/outcomes.md`), so there is one place to change.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

BatchStatus = Literal["planned", "submitting", "running", "ended", "collected", "cleaned"]
RunState = Literal["open", "stopped", "cancelling", "ended"]
"""`open`: work is left or under way. `stopped`: the breaker tripped; the same command goes on.
`cancelling`: what is not answered will not be asked. `ended`: every row has its outcome."""
RunStatus = Literal["running", "stopped", "cancelled", "ok", "partial", "failed"]

Outcome = Literal[
    "succeeded",
    "invalid_output",
    "truncated",
    "refused",
    "blocked",
    "expired",
    "cancelled",
    "rate_limited",
    "server_error",
    "network",
    "too_long",
    "bad_request",
    "auth",
    "billing",
    "not_found_model",
    "missing_result",
    "ambiguous",
]

NEXT: Mapping[BatchStatus, tuple[BatchStatus, ...]] = {
    "planned": ("submitting", "running", "collected"),
    "submitting": ("running", "planned", "collected"),
    "running": ("ended", "collected", "planned"),
    "ended": ("collected", "planned", "submitting"),
    "collected": ("cleaned",),
    "cleaned": (),
}
"""The legal edges. A batch that is answered call by call goes from `planned` to `running` to
`collected`; one handed to a provider's batch API passes every status."""

Again = Literal["as_is", "double_budget", "after_fix", "never"]


class OutcomeRule(msgspec.Struct, frozen=True, kw_only=True):
    """What is done about one outcome."""

    again: Again
    """`after_fix`: not by itself; when the same command is run again."""
    waves: int = 1
    """How many waves may try it, the first included."""
    paid: bool
    """Whether the provider charges for it."""
    trips_breaker: bool = False
    meaning: str


OUTCOMES: Mapping[Outcome, OutcomeRule] = {
    "succeeded": OutcomeRule(again="never", paid=True, meaning="a valid answer"),
    "invalid_output": OutcomeRule(
        again="as_is", waves=2, paid=True, meaning="the answer does not fit the schema"
    ),
    "truncated": OutcomeRule(
        again="double_budget", waves=2, paid=True, meaning="the answer hit the output budget"
    ),
    "refused": OutcomeRule(again="never", paid=True, meaning="the model declined"),
    "blocked": OutcomeRule(again="never", paid=True, meaning="a content filter stepped in"),
    "expired": OutcomeRule(
        again="as_is", waves=3, paid=False, meaning="not run before the provider's window closed"
    ),
    "cancelled": OutcomeRule(again="never", paid=False, meaning="not run because you cancelled"),
    "rate_limited": OutcomeRule(
        again="as_is", waves=3, paid=False, meaning="turned away by a rate limit, every time"
    ),
    "server_error": OutcomeRule(
        again="as_is", waves=3, paid=True, meaning="the service failed or answered nonsense"
    ),
    "network": OutcomeRule(
        again="as_is", waves=3, paid=True, meaning="no whole answer arrived; it may have run"
    ),
    "too_long": OutcomeRule(
        again="never", paid=False, meaning="the request exceeds the model's context"
    ),
    "bad_request": OutcomeRule(
        again="never", paid=False, meaning="the service refuses the request as it is"
    ),
    "auth": OutcomeRule(
        again="after_fix", paid=False, trips_breaker=True, meaning="the key is wrong or not allowed"
    ),
    "billing": OutcomeRule(
        again="after_fix", paid=False, trips_breaker=True, meaning="no credit or quota left"
    ),
    "not_found_model": OutcomeRule(
        again="after_fix",
        paid=False,
        trips_breaker=True,
        meaning="no such model, or nothing to ask, at this address",
    ),
    "missing_result": OutcomeRule(
        again="as_is", waves=3, paid=True, meaning="the provider returned no line for it"
    ),
    "ambiguous": OutcomeRule(
        again="never",
        paid=True,
        meaning="perhaps submitted, and the provider does not let us look; held back rather than "
        "paid twice",
    ),
}

COME_BACK_FOR: frozenset[Outcome] = frozenset(
    ("network", *(outcome for outcome, rule in OUTCOMES.items() if rule.again == "after_fix"))
)
"""What the same command, typed again, asks again: the reason may be gone by then."""

NOT_RUN: frozenset[Outcome] = frozenset(
    ("expired", "cancelled", "rate_limited", "auth", "billing", "not_found_model")
)
"""What says nothing of the request itself: it was turned away before anybody looked at it."""

TRIPPING = frozenset(outcome for outcome, rule in OUTCOMES.items() if rule.trips_breaker)
SILENT_AFTER = 32
"""So many rows without an answer stop a run in which no other row has got one."""
BREAKER_AFTER = 3
"""So many errors of a kind that trips the breaker stop a run. An error is a call that was refused,
or a line of results that says so: a batch that was refused is one, however many rows it holds."""


def status_of(
    state: RunState, counts: Mapping[Outcome, int], total: int, *, set_aside: int = 0
) -> RunStatus:
    """A run's status in one word. `counts` are the rows' present outcomes.

    Results that were `set_aside` make a run `partial`, though every row have a valid answer: who
    returns what is nobody's may have mixed up more than that.
    """
    if state in ("open", "cancelling"):
        return "running"
    if state == "stopped":
        return "stopped"
    if counts.get("cancelled", 0):
        return "cancelled"
    succeeded = counts.get("succeeded", 0)
    if succeeded == total and not set_aside:
        return "ok"
    return "partial" if succeeded else "failed"


def exit_code(
    status: RunStatus, counts: Mapping[Outcome, int], *, over_budget: bool = False
) -> int:
    """The process's exit code: 0 ok, 3 partial, 4 failed, 5 stopped for its budget, 6 ambiguous,
    130 interrupted."""
    if counts.get("ambiguous", 0):
        return 6
    match status:
        case "ok":
            return 0
        case "partial" | "cancelled":
            return 3
        case "failed":
            return 4
        case "stopped" if over_budget:
            return 5
        case "stopped":
            return 3 if counts.get("succeeded", 0) else 4
        case "running":
            return 130
