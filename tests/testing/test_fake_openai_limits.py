"""The fake takes as many batches, rows and tokens as it is told to."""

from anybatch.testing import FakeOpenAI, ManualClock, Phases

from .plain import create, poll, row, rows, send_batch

FORTY = [row(f"r{n}", "four" * 4) for n in range(10)]
"""Forty tokens."""


def test_tokens_are_free_again_when_the_batch_that_holds_them_is_over() -> None:
    clock = ManualClock()
    phases = Phases(in_progress=60)
    with FakeOpenAI(clock=clock, phases=phases, enqueued_tokens=70) as fake:
        create(fake, FORTY)
        too_many = create(fake, FORTY)
        clock.advance(59)
        refused = poll(fake, too_many)
        clock.advance(1)
        accepted = create(fake, FORTY)

        assert refused["status"] == "failed"
        assert refused["errors"]["data"][0]["code"] == "token_limit_exceeded"
        assert poll(fake, accepted)["status"] == "in_progress"


def test_a_late_look_knows_who_held_the_tokens_then() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=Phases(in_progress=60), enqueued_tokens=70) as fake:
        first, second = create(fake, FORTY), create(fake, FORTY)
        clock.advance(1000)

        assert poll(fake, second)["status"] == "failed"
        assert poll(fake, first)["status"] == "completed"


def test_tokens_are_counted_model_by_model() -> None:
    other = [row("r1", body={"model": "other", "messages": FORTY[0]["body"]["messages"] * 10})]
    with FakeOpenAI(phases=Phases(in_progress=60), enqueued_tokens=70) as fake:
        first, second = create(fake, FORTY), create(fake, other)

        assert poll(fake, first)["status"] == poll(fake, second)["status"] == "in_progress"


def test_more_batches_at_once_than_may_be_are_refused() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=Phases(in_progress=60), max_batches=1) as fake:
        create(fake, rows(1))
        refused = send_batch(fake, "file-x")
        clock.advance(60)
        taken = send_batch(fake, "file-x")

    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "60"
    assert taken.status == 200


def test_more_batches_an_hour_than_may_be_are_refused_until_one_is_an_hour_old() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, creations_per_hour=2) as fake:
        send_batch(fake, "file-x")
        clock.advance(600)
        send_batch(fake, "file-x")
        refused = send_batch(fake, "file-x")
        clock.advance(float(refused.headers["retry-after"]))
        taken = send_batch(fake, "file-x")

    assert (refused.status, refused.headers["retry-after"]) == (429, "3000")
    assert taken.status == 200
    assert len(fake.ledger.batches) == 3
