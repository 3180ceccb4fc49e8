"""The fake's books: what was accepted, run, billed twice, and left lying about."""

import hashlib

import msgspec

from anybatch.testing import BilledRow, FakeOpenAI, ManualClock, Phases, Status

from .plain import (
    cancel,
    create,
    lines,
    poll,
    row,
    rows,
    run,
    send,
    send_batch,
    upload,
)


def test_a_batch_is_in_the_books_as_it_was_accepted() -> None:
    clock = ManualClock()
    content = lines(rows(3))
    with FakeOpenAI(clock=clock) as fake:
        file_id = upload(fake, content)
        clock.advance(5)
        batch_id = send_batch(fake, file_id, metadata={"mark": "x"}).json["id"]

        (batch,) = fake.ledger.batches

    assert (batch.id, batch.number, batch.input_file) == (batch_id, 1, file_id)
    assert batch.metadata == {"mark": "x"}
    assert batch.input_sha == hashlib.sha256(content).hexdigest()
    assert batch.accepted_at == clock.now()
    assert (batch.stage, batch.rows, batch.executed, batch.billed) == ("completed", 3, 3, 3)
    assert batch.tokens == fake.ledger.tokens > 0


def test_a_batch_that_nobody_looks_at_runs_and_is_billed() -> None:
    with FakeOpenAI() as fake:
        create(fake, rows(3))

        assert fake.ledger.billed == 3


def test_a_batch_is_billed_as_far_as_it_has_come() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=Phases(in_progress=100)) as fake:
        create(fake, rows(10))
        clock.advance(50)
        half = fake.ledger.billed
        clock.advance(50)

        assert (half, fake.ledger.billed) == (5, 10)


def test_the_books_are_up_to_date_at_the_end() -> None:
    with FakeOpenAI(phases=Phases(seen=True)) as fake:
        create(fake, rows(3))
        unseen = fake.ledger.billed

    assert (unseen, fake.ledger.billed) == (0, 3)


def test_the_same_input_twice_is_a_repeated_batch_and_bills_each_row_twice() -> None:
    with FakeOpenAI() as fake:
        first, second = create(fake, rows(2)), create(fake, rows(2))
        create(fake, rows(1))

        assert [batch.id for batch in fake.ledger.repeated_batches] == [second]
    assert first != second
    twice = fake.ledger.billed_twice
    assert {row.custom_id: times for row, times in twice.items()} == {"r0": 3, "r1": 2}


def test_a_row_is_the_same_by_its_name_and_its_body() -> None:
    with FakeOpenAI() as fake:
        run(fake, [row("a", "one"), row("b", "one")])
        run(fake, [row("a", "two")])

    body = msgspec.json.encode(row("a", "one")["body"])
    sha = hashlib.sha256(body).hexdigest()
    assert fake.ledger.billed_twice == {}
    assert fake.ledger.billed_rows[BilledRow("a", sha)] == 1
    assert fake.ledger.billed_by_body[sha] == 2
    assert fake.ledger.billed_by_custom_id == {"a": 2, "b": 1}


def test_a_row_that_failed_and_comes_again_is_billed_once() -> None:
    def fails_once(call: object) -> Status | None:
        return Status(500) if getattr(call, "attempt", 0) == 1 else None

    with FakeOpenAI(rows=fails_once) as fake:
        run(fake, rows(1))
        run(fake, rows(1))

    assert fake.ledger.executed == 2
    assert fake.ledger.billed == 1
    assert fake.ledger.billed_twice == {}


def test_files_are_in_the_books_until_they_are_deleted() -> None:
    with FakeOpenAI() as fake:
        content = lines(rows(1))
        file_id = upload(fake, content)
        batch = poll(fake, send_batch(fake, file_id).json["id"])
        before = [file.id for file in fake.ledger.leftover_files]
        send(fake, "DELETE", f"/files/{file_id}")

        uploaded, made = fake.ledger.files
        left = fake.ledger.leftover_files

    assert before == [file_id, batch["output_file_id"]]
    assert (uploaded.fate, made.fate) == ("deleted", "kept")
    assert (uploaded.batch, made.batch) == (None, batch["id"])
    assert (uploaded.filename, uploaded.purpose) == ("in.jsonl", "batch")
    assert (uploaded.size, uploaded.sha) == (len(content), hashlib.sha256(content).hexdigest())
    assert left == (made,)


def test_every_exchange_is_in_the_books_by_operation() -> None:
    with FakeOpenAI() as fake:
        batch = run(fake, rows(1))
        poll(fake, batch["id"])
        cancel(fake, batch["id"])
        send(fake, "GET", "/fun")

    assert fake.ledger.operations == {"upload": 1, "create": 1, "poll": 2, "cancel": 1, "": 1}
    assert [one.number for one in fake.ledger.exchanges_of("poll")] == [1, 2]
    (cancelled,) = fake.ledger.exchanges_of("cancel")
    assert (cancelled.method, cancelled.status) == ("POST", 409)
    assert cancelled.path == f"/v1/batches/{batch['id']}/cancel"
    assert cancelled.outcome == "answered"
    (lost,) = fake.ledger.exchanges_of("")
    assert (lost.status, lost.outcome) == (404, "unexecuted")


def test_the_books_fit_on_one_line() -> None:
    with FakeOpenAI() as fake:
        run(fake, rows(2))
        run(fake, rows(2))

        assert fake.ledger.sums == {
            "exchanges": 6,
            "batches": 2,
            "repeated_batches": 1,
            "executed": 4,
            "billed": 4,
            "billed_twice": 2,
            "tokens": fake.ledger.tokens,
            "files": 4,
            "leftover_files": 4,
        }
