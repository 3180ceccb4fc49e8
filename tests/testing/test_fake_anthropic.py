"""The fake's message batches: how they are asked for, what they live through, how they end."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from anybatch.testing import (
    FakeAnthropic,
    Fate,
    Mangled,
    ManualClock,
    Phases,
    Spoiled,
    Status,
    Unrun,
)
from anybatch.wire import anthropic_batch as wire
from anybatch.wire.anthropic import read_answer

from .messages import (
    BATCHES,
    NEW,
    OLD,
    cancel,
    create,
    delete,
    download,
    message,
    poll,
    results,
    row,
    rows,
    run,
    send,
    send_batch,
)
from .wires import call, lines_of, ok

DAY = 86_400
SLOW = Phases(in_progress=100, cancelling=5)


def counts(**over: int) -> dict[str, int]:
    kinds = ("processing", "succeeded", "errored", "canceled", "expired")
    return {**dict.fromkeys(kinds, 0), **over}


def error_of(result: Any) -> Any:
    assert result["type"] == "errored"
    return result["error"]["error"]


def test_a_new_batch_is_in_progress_and_says_nothing_of_its_rows() -> None:
    clock = ManualClock()
    with FakeAnthropic(clock=clock) as fake:
        batch = ok(send_batch(fake, rows(3)))

    now = clock.now()
    assert batch == {
        "id": batch["id"],
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": counts(processing=3),
        "created_at": now.isoformat(timespec="microseconds"),
        "expires_at": (now + timedelta(hours=24)).isoformat(timespec="microseconds"),
        "ended_at": None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": None,
    }
    assert batch["id"].startswith("msgbatch_")


def test_counts_stay_at_nought_until_all_has_ended() -> None:
    clock = ManualClock()
    with FakeAnthropic(clock=clock, phases=SLOW) as fake:
        batch_id = create(fake, rows(4))
        clock.advance(99)
        working = poll(fake, batch_id)
        clock.advance(1)
        ended = poll(fake, batch_id)

    assert (working["request_counts"], working["results_url"]) == (counts(processing=4), None)
    assert (ended["processing_status"], ended["request_counts"]) == ("ended", counts(succeeded=4))


def test_results_are_at_an_absolute_address_of_the_services_own() -> None:
    with FakeAnthropic() as fake:
        batch = poll(fake, create(fake, rows(2)))
        found = send(fake, "GET", batch["results_url"])

        assert batch["results_url"] == f"{fake.address}{BATCHES}/{batch['id']}/results"
        assert found.headers["content-type"] == "application/x-jsonl"
        assert {line["custom_id"] for line in lines_of(found)} == {"r0", "r1"}


def test_results_come_in_an_order_of_their_own_and_each_answers_its_row() -> None:
    with FakeAnthropic() as fake:
        batch_id = create(fake, rows(20))
        poll(fake, batch_id)
        read = [wire.read_line(line) for line in download(fake, batch_id).body.splitlines()]

    names = [line.custom_id for line in read]
    assert sorted(names, key=str) == sorted(f"r{n}" for n in range(20))
    assert names != [f"r{n}" for n in range(20)]
    said = {line.custom_id: read_answer("anthropic.messages", line.body) for line in read}
    assert {answer.outcome for answer in said.values()} == {"succeeded"}
    assert said["r7"].value == "echo: prompt 7"
    assert said["r7"].usage.tokens_in == 2


def test_before_the_end_there_are_no_results() -> None:
    with FakeAnthropic(phases=SLOW) as fake:
        assert download(fake, create(fake, rows(1))).status == 404


def test_a_download_may_go_on_where_it_broke_off() -> None:
    with FakeAnthropic() as fake:
        batch_id = create(fake, rows(3))
        poll(fake, batch_id)
        whole = download(fake, batch_id).body
        rest = download(fake, batch_id, range="bytes=10-")

    assert (rest.status, rest.body) == (206, whole[10:])


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_the_newer_version_refuses_sampling_in_the_row_that_has_it(field: str) -> None:
    given = [row("plain"), row("sampled", **{field: 1})]
    with FakeAnthropic() as fake:
        new = run(fake, given, version=NEW)
        old = run(fake, given, version=OLD)

    assert new["plain"]["type"] == "succeeded"
    assert error_of(new["sampled"]) == {
        "type": "invalid_request_error",
        "message": f"{field}: Extra inputs are not permitted",
    }
    assert {result["type"] for result in old.values()} == {"succeeded"}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"model": "m", "messages": []},
        {"model": "m", "max_tokens": 0, "messages": [{"role": "user", "content": "x"}]},
        {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": 1}]},
        {"model": "m", "max_tokens": 1, "messages": ["x"]},
        message(stream=True),
    ],
)
def test_a_row_that_is_no_message_is_errored_when_the_batch_ends(params: Any) -> None:
    with FakeAnthropic() as fake:
        found = run(fake, [row("well"), {"custom_id": "ill", "params": params}])

        assert error_of(found["ill"])["type"] == "invalid_request_error"
        assert found["well"]["type"] == "succeeded"
        assert fake.ledger.billed == 1


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [row("a"), row("a")],
        [row("a b")],
        [row("x" * 65)],
        [row("")],
        [{"params": message()}],
        [{"custom_id": "a"}],
        [{"custom_id": "a", "params": []}],
        "rows",
        None,
    ],
)
def test_what_is_no_batch_is_refused_at_once(requests: Any) -> None:
    with FakeAnthropic() as fake:
        answered = send(fake, "POST", BATCHES, {"requests": requests})

        assert (answered.status, answered.json["type"]) == (400, "error")
        assert answered.error["type"] == "invalid_request_error"
        assert fake.ledger.batches == ()


def test_a_body_that_is_no_json_is_refused() -> None:
    with FakeAnthropic() as fake:
        assert send(fake, "POST", BATCHES, b'{"requests":[').status == 400


def test_a_batch_has_a_limit_of_rows_and_one_of_bytes() -> None:
    with FakeAnthropic(max_rows=2, max_bytes=1_000) as fake:
        too_many = send_batch(fake, rows(3))
        too_long = send_batch(fake, [row("a", "x" * 1_000)])

    assert (too_many.status, too_many.error["type"]) == (400, "invalid_request_error")
    assert (too_long.status, too_long.error["type"]) == (413, "request_too_large")


def test_the_queue_has_a_limit_until_what_is_in_it_has_ended() -> None:
    clock = ManualClock()
    with FakeAnthropic(clock=clock, phases=SLOW, max_queued=5) as fake:
        create(fake, rows(3))
        full = send_batch(fake, rows(3))
        clock.advance(100)
        later = send_batch(fake, rows(3))

    assert (full.status, full.error["type"]) == (429, "rate_limit_error")
    assert later.status == 200


def test_what_does_not_run_within_a_day_expires_and_the_rest_is_there() -> None:
    clock = ManualClock()
    with FakeAnthropic(clock=clock, phases=Phases(in_progress=48 * 3600)) as fake:
        batch_id = create(fake, rows(4))
        clock.advance(DAY)
        batch = poll(fake, batch_id)
        kinds = [result["type"] for result in results(fake, batch_id).values()]

        assert batch["processing_status"] == "ended"
        assert batch["request_counts"] == counts(succeeded=2, expired=2)
        assert sorted(kinds) == ["expired", "expired", "succeeded", "succeeded"]
        assert fake.ledger.billed == 2


def test_a_cancelled_batch_ends_with_what_ran_until_then() -> None:
    clock = ManualClock()
    with FakeAnthropic(clock=clock, phases=SLOW) as fake:
        batch_id = create(fake, rows(4))
        clock.advance(50)
        asked = ok(cancel(fake, batch_id))
        again = ok(cancel(fake, batch_id))
        clock.advance(5)
        batch = poll(fake, batch_id)

        assert asked["processing_status"] == again["processing_status"] == "canceling"
        assert asked["cancel_initiated_at"] is not None
        assert (asked["request_counts"], asked["results_url"]) == (counts(processing=4), None)
        assert batch["request_counts"] == counts(succeeded=2, canceled=2)
        assert fake.ledger.billed == 2


def test_to_cancel_too_late_is_refused_and_changes_nothing() -> None:
    with FakeAnthropic() as fake:
        batch_id = create(fake, rows(1))

        assert cancel(fake, batch_id).error["type"] == "invalid_request_error"
        assert poll(fake, batch_id)["request_counts"] == counts(succeeded=1)


def test_only_what_has_ended_can_be_deleted_and_then_it_is_gone() -> None:
    clock = ManualClock()
    with FakeAnthropic(clock=clock, phases=SLOW) as fake:
        batch_id = create(fake, rows(1))
        early = delete(fake, batch_id)
        clock.advance(100)
        assert [file.id for file in fake.ledger.leftover_files] == [batch_id]
        deleted = ok(delete(fake, batch_id))

        assert (early.status, early.error["type"]) == (400, "invalid_request_error")
        assert deleted == {"id": batch_id, "type": "message_batch_deleted"}
        assert send(fake, "GET", f"{BATCHES}/{batch_id}").error["type"] == "not_found_error"
        assert download(fake, batch_id).status == delete(fake, batch_id).status == 404
        assert ok(send(fake, "GET", BATCHES))["data"] == []
        assert fake.ledger.leftover_files == ()


def test_results_are_kept_for_29_days_and_the_batch_beyond() -> None:
    clock = ManualClock()
    with FakeAnthropic(clock=clock) as fake:
        batch_id = create(fake, rows(1))
        clock.advance(29 * DAY - 1)
        kept = poll(fake, batch_id)
        clock.advance(1)
        gone = poll(fake, batch_id)

        assert (kept["archived_at"], kept["results_url"] is None) == (None, False)
        assert (gone["archived_at"] is None, gone["results_url"]) == (False, None)
        assert gone["processing_status"] == "ended"
        assert download(fake, batch_id).status == 404


def test_a_list_is_walked_from_the_newest_and_from_either_side() -> None:
    with FakeAnthropic() as fake:
        oldest, middle, newest = [create(fake, rows(1)) for _ in range(3)]
        first = ok(send(fake, "GET", f"{BATCHES}?limit=2"))
        rest = ok(send(fake, "GET", f"{BATCHES}?limit=2&after_id={first['last_id']}"))
        before = ok(send(fake, "GET", f"{BATCHES}?limit=1&before_id={oldest}"))

    assert [batch["id"] for batch in first["data"]] == [newest, middle]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, newest, middle)
    assert ([batch["id"] for batch in rest["data"]], rest["has_more"]) == ([oldest], False)
    assert ([batch["id"] for batch in before["data"]], before["has_more"]) == ([middle], True)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=nobody"])
def test_a_list_that_cannot_be_is_refused(query: str) -> None:
    with FakeAnthropic() as fake:
        assert send(fake, "GET", f"{BATCHES}?{query}").status == 400


def test_every_answer_has_a_request_id() -> None:
    with FakeAnthropic() as fake:
        found = send(fake, "GET", BATCHES)
        lost = send(fake, "GET", f"{BATCHES}/nobody")

    assert found.headers["request-id"] != lost.headers["request-id"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": "right"}, 200),
        ({"authorization": "Bearer right"}, 200),
        ({"x-api-key": "right", "authorization": "Bearer wrong"}, 200),
        ({"x-api-key": "wrong", "authorization": "Bearer right"}, 401),
        ({}, 401),
    ],
)
def test_a_key_comes_in_either_header(headers: dict[str, str], status: int) -> None:
    with FakeAnthropic(key="right") as fake:
        answered = call(fake, "GET", BATCHES, headers={"anthropic-version": NEW, **headers})

    assert answered.status == status
    assert status == 200 or answered.error["type"] == "authentication_error"


def test_without_a_version_nothing_is_answered() -> None:
    with FakeAnthropic() as fake:
        answered = call(fake, "GET", BATCHES)

    assert (answered.status, answered.error["type"]) == (400, "invalid_request_error")


def test_an_unknown_address_or_method_is_an_error_in_the_envelope() -> None:
    with FakeAnthropic() as fake:
        assert send(fake, "GET", "/v1/nowhere").error["type"] == "not_found_error"
        assert send(fake, "DELETE", BATCHES).status == 405


def test_a_message_in_real_time_is_answered_and_booked() -> None:
    with FakeAnthropic() as fake:
        answered = ok(send(fake, "POST", "/v1/messages", message("hello", system="be brief")))

        assert answered["content"] == [{"type": "text", "text": "echo: hello"}]
        assert (answered["stop_reason"], answered["usage"]["service_tier"]) == (
            "end_turn",
            "standard",
        )
        assert [one.prompt for one in fake.calls.ledger.executions] == ["hello"]
        assert fake.ledger.billed == 0


def test_a_message_in_real_time_is_refused_at_once() -> None:
    with FakeAnthropic() as fake:
        answered = send(fake, "POST", "/v1/messages", message(temperature=1))

        assert (answered.status, answered.error["type"]) == (400, "invalid_request_error")
        assert fake.calls.ledger.executions == ()


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_a_schema_is_kept_to() -> None:
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    with FakeAnthropic() as fake:
        answered = ok(send(fake, "POST", "/v1/messages", message(output_config=config)))

    assert isinstance(msgspec.json.decode(answered["content"][0]["text"])["n"], int)


def test_a_tool_that_must_be_called_is() -> None:
    tool = {"name": "answer", "input_schema": SCHEMA}
    chosen = {"type": "tool", "name": "answer"}
    with FakeAnthropic() as fake:
        answered = ok(send(fake, "POST", "/v1/messages", message(tools=[tool], tool_choice=chosen)))

    (block,) = answered["content"]
    assert (answered["stop_reason"], block["type"], block["name"]) == (
        "tool_use",
        "tool_use",
        "answer",
    )
    assert isinstance(block["input"]["n"], int)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Spoiled("truncated"), "truncated"),
        (Spoiled("refused"), "refused"),
        (Spoiled("filtered"), "refused"),
    ],
)
def test_a_spoiled_row_is_billed_and_says_so(fault: Spoiled, outcome: str) -> None:
    with FakeAnthropic(rows={"r1": fault}) as fake:
        found = run(fake, rows(2))
        answer = read_answer("anthropic.messages", msgspec.json.encode(found["r1"]["message"]))

        assert answer.outcome == outcome
        assert fake.ledger.billed == 2


def test_rows_fail_each_in_its_own_way() -> None:
    faults = {
        "r0": Status(529),
        "r1": Unrun("expired"),
        "r2": Unrun("cancelled"),
        "r3": Unrun("timed_out"),
    }
    with FakeAnthropic(rows=faults) as fake:
        batch_id = create(fake, rows(5))
        batch, found = poll(fake, batch_id), results(fake, batch_id)

        assert error_of(found["r0"])["type"] == "overloaded_error"
        assert [found[name]["type"] for name in ("r1", "r2")] == ["expired", "canceled"]
        assert error_of(found["r3"])["type"] == "timeout_error"
        assert batch["request_counts"] == counts(succeeded=1, errored=2, canceled=1, expired=1)
        assert fake.ledger.billed == 1


def test_results_are_mangled_as_they_are_told() -> None:
    how = ("missing", "repeated", "foreign", "unnamed", "malformed", "contradicted")
    faults = {f"r{n}": Mangled(kind) for n, kind in enumerate(how)}  # type: ignore[arg-type]
    with FakeAnthropic(rows=faults, shuffle=False) as fake:
        batch_id = create(fake, rows(6))
        poll(fake, batch_id)
        *listed, second, first = download(fake, batch_id).body.splitlines()
        names = [wire.read_line(line).custom_id for line in listed]

        assert names == ["r1", "r1", "somebody-elses-r2", None, None]
        assert first != second
        assert fake.ledger.billed == 6


def test_a_batch_has_its_fate() -> None:
    fates = [
        Fate(lost=(1,), words=("dreaming", "dreaming")),
        Fate(ends="expired", done=1),
        Fate(no_files=True),
        Fate(late_files=1),
    ]
    with FakeAnthropic(batches=fates) as fake:
        dreamer, expired, mute, late = [create(fake, rows(2)) for _ in fates]
        lost = send(fake, "GET", f"{BATCHES}/{dreamer}").status
        words = [poll(fake, dreamer)["processing_status"] for _ in range(2)]

        assert (lost, words) == (404, ["dreaming", "ended"])
        assert poll(fake, expired)["request_counts"] == counts(succeeded=1, expired=1)
        assert poll(fake, mute)["results_url"] is None
        assert [download(fake, late).status for _ in range(2)] == [404, 200]


def test_a_batch_that_is_sent_twice_is_noticed() -> None:
    with FakeAnthropic() as fake:
        create(fake, rows(2))
        again = create(fake, rows(2))

        assert [batch.id for batch in fake.ledger.repeated_batches] == [again]
        assert len(fake.ledger.billed_twice) == 2


def test_a_creation_whose_answer_is_lost_was_one() -> None:
    with FakeAnthropic(faults={"create": [Status(500, executed=True)]}) as fake:
        lost = send_batch(fake, rows(1))

        assert (lost.status, lost.error["type"]) == (500, "api_error")
        assert len(fake.ledger.batches) == 1
        assert [one.outcome for one in fake.ledger.exchanges_of("create")] == ["lost"]


def test_an_outage_forgets_nothing() -> None:
    with FakeAnthropic() as fake:
        batch_id = create(fake, rows(1))
        fake.stop()
        fake.start()

        assert poll(fake, batch_id)["request_counts"] == counts(succeeded=1)
