"""The fake's batches: how they are asked for, what they live through, how they end."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from anybatch.testing import FakeOpenAI, ManualClock, Phases

from .caller import chat
from .plain import (
    cancel,
    create,
    download,
    errors,
    lines,
    outputs,
    poll,
    results,
    row,
    rows,
    run,
    said,
    send,
    send_batch,
    upload,
)

DAY = 86_400
USUAL = Phases(validating=10, in_progress=100, finalizing=20, cancelling=5)


def stamps(batch: Any) -> dict[str, int]:
    """When it entered each stage, in seconds after its creation."""
    return {
        name.removesuffix("_at"): at - batch["created_at"]
        for name, at in batch.items()
        if name.endswith("_at") and at is not None and name not in ("created_at", "expires_at")
    }


def test_a_new_batch_is_validating_and_says_what_was_asked() -> None:
    clock = ManualClock()
    now = int(clock.now().timestamp())
    with FakeOpenAI(clock=clock) as fake:
        file_id = upload(fake, lines(rows(3)))
        batch = send_batch(fake, file_id, metadata={"a": "b"}).json

    assert batch["id"].startswith("batch_")
    assert {**batch, "id": None} == {
        "id": None,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": None,
        "errors": None,
        "input_file_id": file_id,
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": now,
        "in_progress_at": None,
        "expires_at": now + DAY,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
        "metadata": {"a": "b"},
    }


def test_without_phases_the_first_look_finds_it_completed() -> None:
    with FakeOpenAI() as fake:
        batch = run(fake, rows(3))

        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
        assert batch["model"] == "m"
        assert batch["error_file_id"] is None
        there = outputs(fake, batch)
        assert {name: said(line) for name, line in there.items()} == {
            "r0": "echo: prompt 0",
            "r1": "echo: prompt 1",
            "r2": "echo: prompt 2",
        }


def test_each_phase_takes_its_time_and_leaves_its_stamp() -> None:
    clock = ManualClock()
    seen = []
    with FakeOpenAI(clock=clock, phases=USUAL) as fake:
        batch_id = create(fake, rows(10))
        for seconds in (9, 1, 50, 50, 19, 1):
            clock.advance(seconds)
            batch = poll(fake, batch_id)
            seen.append((batch["status"], batch["request_counts"]["completed"]))

    assert seen == [
        ("validating", 0),
        ("in_progress", 0),
        ("in_progress", 5),
        ("finalizing", 10),
        ("finalizing", 10),
        ("completed", 10),
    ]
    assert stamps(batch) == {"in_progress": 10, "finalizing": 110, "completed": 130}


def test_a_late_look_finds_the_stamps_of_the_time_when_it_happened() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=USUAL) as fake:
        batch_id = create(fake, rows(1))
        clock.advance(5000)

        assert stamps(poll(fake, batch_id))["completed"] == 130


def test_result_files_appear_at_the_end_only() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=USUAL) as fake:
        batch_id = create(fake, rows(1))
        clock.advance(129)
        before = poll(fake, batch_id)["output_file_id"]
        clock.advance(1)
        after = poll(fake, batch_id)["output_file_id"]

    assert before is None
    assert after.startswith("file-")


def test_phases_can_be_seen_one_a_look() -> None:
    with FakeOpenAI(phases=Phases(seen=True)) as fake:
        batch_id = create(fake, rows(2))
        seen = [poll(fake, batch_id)["status"] for _ in range(4)]

    assert seen == ["in_progress", "finalizing", "completed", "completed"]


def test_usage_is_the_sum_of_the_rows() -> None:
    with FakeOpenAI() as fake:
        batch = run(fake, [row("r1", "four letters"), row("r2", "four letters")])
        usages = [line["response"]["body"]["usage"] for line in outputs(fake, batch).values()]

    assert batch["usage"]["input_tokens"] == 2 * usages[0]["prompt_tokens"] == 6
    assert batch["usage"]["output_tokens"] == 2 * usages[0]["completion_tokens"] == 10
    assert batch["usage"]["total_tokens"] == 16


def test_results_come_in_an_order_of_their_own_which_the_seed_decides() -> None:
    def order(**options: Any) -> list[str]:
        with FakeOpenAI(**options) as fake:
            batch = run(fake, rows(30))
            return [line["custom_id"] for line in results(fake, batch["output_file_id"])]

    given = [f"r{n}" for n in range(30)]
    assert order(shuffle=False) == given
    assert order(seed=1) == order(seed=1) != order(seed=2)
    assert sorted(order(seed=1)) == sorted(given)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/responses", {"model": "m", "input": "hi"}),
        ("/v1/embeddings", {"model": "m", "input": ["hi", "ho"]}),
        ("/v1/completions", {"model": "m", "prompt": "hi"}),
    ],
)
def test_a_row_is_answered_as_a_call_would_be(endpoint: str, body: dict[str, Any]) -> None:
    with FakeOpenAI() as fake:
        batch = run(fake, [row("r1", url=endpoint, body=body)], endpoint=endpoint)
        line = outputs(fake, batch)["r1"]
        call = send(fake, "POST", endpoint.removeprefix("/v1"), msgspec.json.encode(body))

    assert line["error"] is None
    assert line["id"].startswith("batch_req_")
    assert line["response"]["request_id"].startswith("req_")
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"] == call.json


def test_a_row_that_no_call_could_be_is_in_the_error_file() -> None:
    bad = row("bad", body={"model": "m", "messages": ["hi"]})

    with FakeOpenAI() as fake:
        batch = run(fake, [row("good"), bad])
        line = errors(fake, batch)["bad"]

        assert list(outputs(fake, batch)) == ["good"]
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert line["error"] is None
    assert line["response"]["status_code"] == 400
    assert line["response"]["body"]["error"]["type"] == "invalid_request_error"


def test_a_batch_of_which_all_rows_fail_is_completed_and_has_no_output() -> None:
    bad = [row(f"r{n}", body={"model": "m", "messages": "hi"}) for n in range(9)]

    with FakeOpenAI() as fake:
        batch = run(fake, bad)

    assert batch["status"] == "completed"
    assert batch["output_file_id"] is None
    assert batch["error_file_id"] is not None
    assert batch["request_counts"] == {"total": 9, "completed": 0, "failed": 9}


def test_what_no_time_is_left_for_expires() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=Phases(in_progress=10 * DAY)) as fake:
        batch_id = create(fake, rows(10))
        clock.advance(2 * DAY)
        batch = poll(fake, batch_id)

        assert batch["status"] == "expired"
        assert stamps(batch) == {"in_progress": 0, "expired": DAY}
        assert batch["request_counts"] == {"total": 10, "completed": 1, "failed": 0}
        assert len(outputs(fake, batch)) == 1
        unrun = errors(fake, batch)
        assert len(unrun) == 9
        one = next(iter(unrun.values()))
        assert (one["response"], one["error"]["code"]) == (None, "batch_expired")


def test_a_cancelled_batch_keeps_what_it_has() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=USUAL) as fake:
        batch_id = create(fake, rows(8))
        clock.advance(60)
        asked = cancel(fake, batch_id)
        again = cancel(fake, batch_id)
        clock.advance(5)
        batch = poll(fake, batch_id)
        afterwards = cancel(fake, batch_id)

        assert (asked.status, asked.json["status"]) == (200, "cancelling")
        assert (again.status, again.json["status"]) == (200, "cancelling")
        assert (afterwards.status, afterwards.json["status"]) == (200, "cancelled")
        assert stamps(batch) == {"in_progress": 10, "cancelling": 60, "cancelled": 65}
        assert batch["request_counts"] == {"total": 8, "completed": 4, "failed": 0}
        assert len(outputs(fake, batch)) == 4
        codes = [line["error"]["code"] for line in errors(fake, batch).values()]
        assert codes == ["batch_cancelled"] * 4
        assert fake.ledger.billed == 4


def test_a_batch_cancelled_before_it_runs_has_nothing() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=USUAL) as fake:
        batch_id = create(fake, rows(8))
        cancel(fake, batch_id)
        clock.advance(1000)
        batch = poll(fake, batch_id)

    assert batch["status"] == "cancelled"
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    assert fake.ledger.executed == 0


def test_what_is_over_cannot_be_cancelled_and_is_not_to_be_tried_again() -> None:
    with FakeOpenAI() as fake:
        batch = run(fake, rows(1))
        refused = cancel(fake, batch["id"])

    assert refused.status == 409
    assert refused.headers["x-should-retry"] == "false"
    assert refused.error == {
        "message": "Cannot cancel a batch with status 'completed'.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_an_unknown_batch_is_not_found() -> None:
    with FakeOpenAI() as fake:
        looked, cancelled = send(fake, "GET", "/batches/batch_x"), cancel(fake, "batch_x")

    assert (looked.status, cancelled.status) == (404, 404)
    assert looked.error["type"] == "invalid_request_error"


def test_batches_are_listed_page_by_page_the_newest_first() -> None:
    with FakeOpenAI() as fake:
        made = [create(fake, rows(1)) for _ in range(3)]
        first = send(fake, "GET", "/batches?limit=2").json
        second = send(fake, "GET", f"/batches?limit=2&after={made[1]}").json
        beyond = send(fake, "GET", f"/batches?after={made[0]}").json

    assert [batch["id"] for batch in first["data"]] == [made[2], made[1]]
    assert first["data"][0]["status"] == "completed"
    assert first["has_more"] is True
    assert [batch["id"] for batch in second["data"]] == [made[0]]
    assert (second["first_id"], second["last_id"], second["has_more"]) == (made[0], made[0], False)
    assert (beyond["data"], beyond["has_more"]) == ([], False)


def test_a_page_of_batches_holds_twenty_unless_told_otherwise() -> None:
    with FakeOpenAI() as fake:
        for _ in range(21):
            send_batch(fake, "file-none")
        usual = send(fake, "GET", "/batches").json
        too_many = send(fake, "GET", "/batches?limit=101")

    assert (len(usual["data"]), usual["has_more"]) == (20, True)
    assert (too_many.status, too_many.error["param"]) == (400, "limit")


@pytest.mark.parametrize(
    ("changed", "param", "code"),
    [
        ({"input_file_id": None}, "input_file_id", "missing_required_parameter"),
        ({"endpoint": None}, "endpoint", "missing_required_parameter"),
        ({"completion_window": None}, "completion_window", "missing_required_parameter"),
        ({"endpoint": "/v1/fun"}, "endpoint", "invalid_value"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value"),
        ({"input_file_id": 7}, "input_file_id", "invalid_type"),
        ({"metadata": {"tags": ["a"]}}, "metadata.tags", "invalid_type"),
        ({"metadata": "tags"}, "metadata", "invalid_type"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", None),
        ({"output_expires_after": {"anchor": "now"}}, "output_expires_after.anchor", None),
        ({"output_expires_after": 3600}, "output_expires_after", "invalid_type"),
    ],
)
def test_a_batch_that_is_asked_for_wrongly_is_refused(
    changed: dict[str, Any], param: str, code: str | None
) -> None:
    with FakeOpenAI() as fake:
        answered = send_batch(fake, "file-any", **changed)

    assert answered.status == 400
    assert answered.error["type"] == "invalid_request_error"
    assert answered.error["param"] == param
    assert code in (None, answered.error["code"])
    assert fake.ledger.batches == ()


def test_a_body_that_is_no_json_is_refused() -> None:
    with FakeOpenAI() as fake:
        assert send(fake, "POST", "/batches", b"{").status == 400


def test_a_key_is_asked_for() -> None:
    with FakeOpenAI(key="sk-right") as fake:
        wrong = send(fake, "GET", "/batches", headers={"authorization": "Bearer sk-wrong"})
        right = send(fake, "GET", "/batches", headers={"authorization": "Bearer sk-right"})

    assert (wrong.status, wrong.error["code"]) == (401, "invalid_api_key")
    assert right.status == 200


def test_an_unknown_address_and_a_wrong_method_are_told_apart() -> None:
    with FakeOpenAI() as fake:
        unknown, wrong = send(fake, "GET", "/fun"), send(fake, "DELETE", "/batches")

    assert (unknown.status, unknown.error["code"]) == (404, "unknown_url")
    assert wrong.status == 405


def test_one_address_serves_batches_and_calls() -> None:

    with FakeOpenAI() as fake:
        answer = send(fake, "POST", "/chat/completions", msgspec.json.encode(chat("hi")))
        models = send(fake, "GET", "/models")

    assert answer.json["choices"][0]["message"]["content"] == "echo: hi"
    assert models.json["data"][0]["id"] == "fake-1"
    assert len(fake.calls.ledger.executions) == 1
    assert fake.ledger.executed == 0


def test_it_can_be_away_for_a_while_and_forgets_nothing() -> None:
    with FakeOpenAI() as fake:
        batch = run(fake, rows(1))
        fake.stop()
        with pytest.raises(ConnectionRefusedError):
            poll(fake, batch["id"])
        fake.start()

        assert poll(fake, batch["id"]) == batch
        assert len(outputs(fake, batch)) == 1


def test_many_looks_at_once_run_each_row_once() -> None:
    with FakeOpenAI() as fake, ThreadPoolExecutor(8) as pool:
        batch_id = create(fake, rows(1000))
        looks = list(pool.map(lambda _: poll(fake, batch_id), range(8)))

        assert {look["status"] for look in looks} == {"completed"}
        assert fake.ledger.billed == 1000


def test_a_rows_bytes_survive_whatever_lines_others_see_in_them() -> None:
    prompt = "a\u2028b\u2029c\u0085d"
    raw = lines([row("r1", prompt)])
    assert prompt.encode() in raw

    with FakeOpenAI() as fake:
        file_id = upload(fake, raw)
        batch = poll(fake, send_batch(fake, file_id).json["id"])

        assert download(fake, file_id).body == raw
        content = download(fake, batch["output_file_id"]).body
        assert prompt.encode() in content
        assert content.count(b"\n") == 1
