"""What no batch can come of is said in one line, before anything is uploaded where it can be known.

Else after the first batches; and three rows that tell of a key or an account stop the run.
"""

from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Run
from anybatch.core.plan import Limits
from anybatch.errors import BadInput
from anybatch.testing import FakeOpenAI, Fault, Status

from .harness import World, spec
from .promises import broken_promises

NO_MONEY = Status(429, code="insufficient_quota", message="You exceeded your current quota.")
NO_KEY = Status(401, code="invalid_api_key", message="Incorrect API key provided.")


def asking(service: FakeOpenAI) -> Any:
    return spec(service.base_url, provider="openai", executor="batch", tail="batch")


def why_of(run: Run) -> str:
    assert run.why is not None
    assert "\n" not in run.why
    return run.why


def test_a_row_too_large_for_any_batch_is_named_before_anything_is_uploaded(scratch: Path) -> None:
    rows = [{"topic": "ships", "text": "x" * (5_000 if n == 7 else 5)} for n in range(12)]
    limits = Limits(max_requests=4, max_bytes=2_000, overhead=160)

    with FakeOpenAI() as service:
        given: dict[str, Any] = {"spec": asking(service), "service": service, "limits": limits}
        with (
            World(root=scratch / "world", rows=rows, **given) as world,
            pytest.raises(BadInput, match=r"row 8: its request has 5,\d\d\d bytes.* 2,000") as bad,
        ):
            world.live()

        assert "\n" not in str(bad.value)
        assert "--bad-rows skip" in str(bad.value)
        assert service.ledger.operations == {}


@pytest.mark.parametrize(
    ("operation", "fault", "outcome"),
    [
        ("upload", NO_KEY, "auth"),
        ("upload", NO_MONEY, "billing"),
        ("create", NO_KEY, "auth"),
        ("create", NO_MONEY, "billing"),
    ],
)
def test_a_refused_account_stops_the_run_and_makes_no_more_batches(
    operation: str, fault: Fault, outcome: str, scratch: Path
) -> None:
    refusing = [True]

    def refused(call: object) -> Fault | None:
        return fault if refusing[0] else None

    with (
        FakeOpenAI(faults={operation: refused}) as service,
        World(root=scratch / "world", spec=asking(service), service=service) as world,
    ):
        stopped = world.live()
        asked = service.ledger.operations[operation]
        made = len(service.ledger.batches)
        refusing[0] = False
        world.live()

        assert broken_promises(world) == []

    assert (stopped.state, made) == ("stopped", 0)
    assert asked <= 3  # once for each batch of the run, and never again
    assert outcome in why_of(stopped)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Status(401, code="invalid_api_key"), "auth"),
        (Status(429, code="insufficient_quota"), "billing"),
    ],
)
def test_three_rows_that_tell_of_the_account_stop_the_run(
    fault: Fault, outcome: str, scratch: Path
) -> None:
    def fails(call: Any) -> Fault | None:
        return fault if any(f"row {n:03}" in call.prompt for n in range(3)) else None

    with (
        FakeOpenAI(rows=fails) as service,
        World(root=scratch / "world", spec=asking(service), service=service) as world,
    ):
        stopped = world.live()

    assert stopped.state == "stopped"
    assert outcome in why_of(stopped)


def test_an_unknown_model_is_said_after_the_first_batches(scratch: Path) -> None:
    with (
        FakeOpenAI(unbatched_models=["fake-1"]) as service,
        World(root=scratch / "world", spec=asking(service), service=service) as world,
    ):
        stopped = world.live()
        said = [message for message, _ in world.open().report(stopped).errors]

        assert service.ledger.executed == 0

    assert stopped.state == "stopped"
    assert "not_found_model" in why_of(stopped)
    assert said
    assert all("'fake-1' is not supported by the Batch API" in message for message in said)
    assert not any("\n" in message for message in said)
