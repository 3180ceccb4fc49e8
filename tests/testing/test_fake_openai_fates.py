"""Whole batches meet their fate: they end early, are told of wrongly, or cannot be found."""

import math

import pytest

from anybatch.testing import FakeOpenAI, Fate, ManualClock, Phases, Problem

from .plain import create, download, errors, outputs, poll, rows, run, send


def test_a_batch_expires_after_some_of_its_rows() -> None:
    with FakeOpenAI(batches=[Fate(ends="expired", done=3)]) as fake:
        batch = run(fake, rows(10))

        assert batch["status"] == "expired"
        assert batch["request_counts"] == {"total": 10, "completed": 3, "failed": 0}
        done, left = set(outputs(fake, batch)), set(errors(fake, batch))
        assert (len(done), len(left)) == (3, 7)
        assert done | left == {f"r{n}" for n in range(10)}
        codes = {line["error"]["code"] for line in errors(fake, batch).values()}
        assert codes == {"batch_expired"}
        assert fake.ledger.billed == 3


def test_a_batch_is_cancelled_by_somebody_else() -> None:
    with FakeOpenAI(batches=[Fate(ends="cancelled", done=1)]) as fake:
        batch = run(fake, rows(2))

        assert batch["status"] == "cancelled"
        assert batch["cancelling_at"] is not None
        assert len(outputs(fake, batch)) == 1
        (line,) = errors(fake, batch).values()
        assert line["error"]["code"] == "batch_cancelled"


def test_a_batch_fails_with_the_problems_it_is_given() -> None:
    limit = Problem(code="billing_hard_limit_reached", message="No money.")
    with FakeOpenAI(batches=[Fate(ends="failed", problems=[limit])]) as fake:
        batch = run(fake, rows(2))

    assert batch["status"] == "failed"
    assert batch["errors"]["data"] == [
        {"code": "billing_hard_limit_reached", "line": None, "message": "No money.", "param": None}
    ]
    assert fake.ledger.executed == 0


def test_a_file_that_there_is_not_can_have_a_blank_id() -> None:
    with FakeOpenAI(batches=[Fate(blank_ids=True)]) as fake:
        batch = run(fake, rows(1))

    assert batch["error_file_id"] == ""
    assert batch["output_file_id"].startswith("file-")


def test_a_batch_can_be_completed_without_files() -> None:
    with FakeOpenAI(batches=[Fate(no_files=True)]) as fake:
        batch = run(fake, rows(1))

    assert batch["status"] == "completed"
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    assert fake.ledger.billed == 1


def test_counts_can_lie() -> None:
    with FakeOpenAI(batches=[Fate(counts={"completed": 9, "total": 9})]) as fake:
        batch = run(fake, rows(2))

    assert batch["request_counts"] == {"total": 9, "completed": 9, "failed": 0}


def test_a_result_file_can_be_late() -> None:
    with FakeOpenAI(batches=[Fate(late_files=2)]) as fake:
        file_id = run(fake, rows(1))["output_file_id"]
        statuses = [download(fake, file_id).status for _ in range(3)]
        told_of = send(fake, "GET", f"/files/{file_id}").status

    assert statuses == [404, 404, 200]
    assert told_of == 200


def test_a_status_can_be_unknown_or_go_backwards() -> None:
    with FakeOpenAI(batches=[Fate(words=["in_progress", "paused", "validating"])]) as fake:
        batch_id = create(fake, rows(1))
        words = [poll(fake, batch_id)["status"] for _ in range(4)]

    assert words == ["in_progress", "paused", "validating", "completed"]


def test_a_batch_can_be_lost_for_a_while() -> None:
    with FakeOpenAI(batches=[Fate(lost=range(2, 4))]) as fake:
        batch_id = create(fake, rows(1))
        statuses = [send(fake, "GET", f"/batches/{batch_id}").status for _ in range(4)]

    assert statuses == [200, 404, 404, 200]


def test_a_new_batch_can_be_missing_from_lists_at_first() -> None:
    with FakeOpenAI(batches=[Fate(unlisted=2)]) as fake:
        create(fake, rows(1))
        lengths = [len(send(fake, "GET", "/batches").json["data"]) for _ in range(3)]

    assert lengths == [0, 0, 1]


def test_a_phase_can_be_stuck() -> None:
    clock = ManualClock()
    stuck = Fate(phases=Phases(validating=math.inf))
    with FakeOpenAI(clock=clock, batches=[stuck]) as fake:
        first, second = create(fake, rows(1)), create(fake, rows(1))
        clock.advance(10**6)

        assert poll(fake, first)["status"] == "validating"
        assert poll(fake, second)["status"] == "completed"


def test_a_stuck_batch_that_runs_expires_in_the_end() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=Phases(in_progress=math.inf)) as fake:
        batch_id = create(fake, rows(1))
        clock.advance(86_399)
        before = poll(fake, batch_id)["status"]
        clock.advance(1)

        assert (before, poll(fake, batch_id)["status"]) == ("in_progress", "expired")


@pytest.mark.parametrize(
    "fates",
    [
        [None, Fate(ends="expired")],
        {2: Fate(ends="expired")},
        lambda number: Fate(ends="expired") if number == 2 else None,
    ],
)
def test_fates_go_by_the_number_of_the_batch(fates: object) -> None:
    with FakeOpenAI(batches=fates) as fake:  # type: ignore[arg-type]
        statuses = [run(fake, rows(1))["status"] for _ in range(3)]

    assert statuses == ["completed", "expired", "completed"]
