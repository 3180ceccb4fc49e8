"""Prints `docs/outcomes.md` from the tables in `anybatch.core.states`.

python docs/print_outcomes.py > docs/outcomes.md
"""

from typing import assert_never, get_args

from anybatch.core.retry import MAX_TRIES, pause_before
from anybatch.core.states import (
    BREAKER_AFTER,
    NEXT,
    OUTCOMES,
    SILENT_AFTER,
    OutcomeRule,
    RunState,
    RunStatus,
    exit_code,
    status_of,
)

COUNTED = {"succeeded": 1, "server_error": 1}
"""Of a run in which one row succeeded and one did not."""

PAGE = """\
# Outcomes

<!-- Printed by docs/print_outcomes.py from src/anybatch/core/states.py. Change it there. -->

Every row of a run ends in one outcome. It stands in the column `_outcome`; the column `_error` says
why in words. While a row has none yet, `_outcome` is `pending`. The counts of all outcomes and of
pending rows add up to the rows of the run, at any time.

| Outcome | What it means | Asked again by itself | May be charged |
|---|---|---|---|
{outcomes}

`expired`, `missing_result` and `ambiguous` are of providers' batch APIs: no call in real time ends
in one of them. A batch is looked for whose submission was sent and not answered. Where the provider
refuses every look, nobody can say whether it is there: its rows are `ambiguous`, and nothing of it
is deleted. See on the provider's own pages; `anybatch retry RUN --only ambiguous` sends them again.

**Waves.** All rows are asked in wave 1. What is to be asked again waits until all batches of a wave
are over and makes up the next one. Wave 2 rests {pause_2:g} s before it starts, wave 3 rests
{pause_3:g} s.

**Tries.** Within a wave, a call that meets a rate limit, a failing service or a broken connection
is made up to {tries} times, with growing pauses, or after the pause that the service asks for. Only
then is it `rate_limited`, `server_error` or `network`.

**Twice the budget** is for requests that cap their output (`--set max_tokens=…`). Where any request
of a run does not, its truncated answers stay as they are.

**Lost answers.** A call that got no whole answer may have run, and it is made again. So is one that
was under way when the process died. What the service charges for these is not known here.

**Coming back.** Rows that ended as `network` are asked again when you run the same command again:
the line may be there by then.

**The breaker.** Some outcomes would befall every row: {tripping}.
{breaker} errors that say so stop the run, and nothing more is sent. An error is a call that was
refused: of a row in real time, of a whole batch at a provider; or a line of a batch's results. Mend
the cause and run the same command again: those rows are asked once more, and the rest goes on.
So it is with {silent} rows that ended as `network` while no other row has got an answer: then there
is nobody to give one.

**By hand.** `anybatch retry RUN --only OUTCOME,…` asks again for the rows with these outcomes,
whatever the table says. `truncated` rows then get twice the budget they had.

## What a run can be

| Status | When | Exit code |
|---|---|---|
{statuses}

Results that bear the name of no request, or contradict another one, are set aside. The report
counts them, and the run is `partial` even if every row succeeded: where these are mixed up, more
may be.

Further exit codes: 1 for a wrong call, bad input or an output that cannot be written, 4 for a store
that cannot be read or written, 6 when a row is `ambiguous`, 130 when you interrupt a run.

## What a batch can be

A run is cut into batches. Each goes through these statuses:

| Status | May become |
|---|---|
{batches}

A batch that is answered call by call, in this process or at an endpoint, goes from `planned` to
`running` to `collected`. One that goes through a provider's batch API passes the others too, and
goes back to `planned` where the provider did not take it.
"""

WHEN: dict[RunStatus, str] = {
    "running": "rows are left, whether or not a process is at work on them",
    "stopped": "the breaker stopped it; the same command goes on",
    "cancelled": "you cancelled it and rows were left",
    "ok": "every row succeeded",
    "partial": "some rows succeeded; or all did, and some results were set aside",
    "failed": "no row succeeded",
}


def again(rule: OutcomeRule) -> str:
    match rule.again:
        case "as_is":
            return f"yes, in up to {rule.waves} waves"
        case "double_budget":
            return "once, with twice the budget"
        case "after_fix":
            return "when you run the same command again"
        case "never":
            return "no"
    assert_never(rule.again)


def outcome_lines() -> list[str]:
    return [
        f"| `{name}` | {rule.meaning} | {again(rule)} | {'yes' if rule.paid else 'no'} |"
        for name, rule in OUTCOMES.items()
    ]


def status_lines() -> list[str]:
    return [f"| `{status}` | {when} | {codes(status)} |" for status, when in WHEN.items()]


def codes(status: RunStatus) -> str:
    match status:
        case "stopped":
            some, none = exit_code(status, {"succeeded": 1}), exit_code(status, {})
            return f"{some} if any row succeeded, else {none}"
        case "running":
            return f"{exit_code(status, {})}, from `results`"
        case _:
            return str(exit_code(status, {}))


def batch_lines() -> list[str]:
    return [
        f"| `{status}` | {', '.join(f'`{other}`' for other in then) or 'nothing more'} |"
        for status, then in NEXT.items()
    ]


def page() -> str:
    states: tuple[RunState, ...] = get_args(RunState)
    assert (
        {status_of(state, COUNTED, 2) for state in states} <= set(WHEN) == set(get_args(RunStatus))
    )
    tripping = [f"`{name}`" for name, rule in OUTCOMES.items() if rule.trips_breaker]
    return PAGE.format(
        outcomes="\n".join(outcome_lines()),
        statuses="\n".join(status_lines()),
        batches="\n".join(batch_lines()),
        tries=MAX_TRIES,
        breaker=BREAKER_AFTER,
        silent=SILENT_AFTER,
        tripping=", ".join(tripping),
        pause_2=pause_before(2).total_seconds(),
        pause_3=pause_before(3).total_seconds(),
    )


if __name__ == "__main__":
    print(page(), end="")
