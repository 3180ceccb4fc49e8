"""Rows of the fake's batches meet faults: they fail, or their results are not where they belong."""

from typing import Any

import msgspec
import pytest

from anybatch.testing import (
    Answer,
    Call,
    Cut,
    FakeOpenAI,
    Fault,
    Mangled,
    Spoiled,
    Status,
    Unrun,
    at_random,
    first_of,
    matching,
)

from .plain import create, download, errors, outputs, poll, results, row, rows, run, said


def test_rows_are_answered_by_your_function_which_knows_their_names() -> None:
    def answer(call: Call) -> Answer:
        return Answer(f"{call.custom_id} says {call.prompt}", cached=1, reasoning=2)

    with FakeOpenAI(answer=answer) as fake:
        batch = run(fake, rows(2))
        there = outputs(fake, batch)

    assert {said(line) for line in there.values()} == {"r0 says prompt 0", "r1 says prompt 1"}
    assert batch["usage"]["input_tokens_details"] == {"cached_tokens": 2}
    assert batch["usage"]["output_tokens_details"] == {"reasoning_tokens": 4}


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_failed_row_is_in_the_error_file_and_hides_its_error_in_the_body(status: int) -> None:
    with FakeOpenAI(rows={"r1": Status(status, message="no")}) as fake:
        batch = run(fake, rows(3))
        line = errors(fake, batch)["r1"]

        assert sorted(outputs(fake, batch)) == ["r0", "r2"]
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert line["error"] is None
    assert line["response"]["status_code"] == status
    assert line["response"]["body"]["error"]["message"] == "no"
    assert fake.ledger.billed == 2


def test_a_row_that_ran_and_failed_is_billed() -> None:
    with FakeOpenAI(rows={"r1": Status(500, executed=True)}) as fake:
        run(fake, rows(2))

    assert fake.ledger.billed == 2


@pytest.mark.parametrize(
    ("fault", "code", "failed"),
    [
        (Unrun("expired"), "batch_expired", 0),
        (Unrun("cancelled"), "batch_cancelled", 0),
        (Unrun("timed_out"), "request_timeout", 1),
    ],
)
def test_a_row_that_did_not_run_has_no_response(fault: Fault, code: str, failed: int) -> None:
    with FakeOpenAI(rows={"r0": fault}) as fake:
        batch = run(fake, rows(2))
        line = errors(fake, batch)["r0"]

    assert line["response"] is None
    assert line["error"]["code"] == code
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": failed}
    assert fake.ledger.billed == 1


def test_a_row_of_status_0_stands_among_the_results() -> None:
    with FakeOpenAI(rows={"r0": Status(0)}) as fake:
        batch = run(fake, rows(1))
        line = outputs(fake, batch)["r0"]

    assert batch["request_counts"]["completed"] == 1
    assert line["response"] == {"status_code": 0, "request_id": "", "body": None}
    assert line["error"] is None


def test_a_body_that_is_no_json_is_told_as_a_text() -> None:
    with FakeOpenAI(rows={"r0": Status(502, body=b"<h1>Bad</h1>")}) as fake:
        batch = run(fake, rows(1))

        assert errors(fake, batch)["r0"]["response"]["body"] == "<h1>Bad</h1>"


def test_a_spoiled_row_is_whole_and_billed() -> None:
    with FakeOpenAI(rows={"r0": Spoiled("truncated")}) as fake:
        batch = run(fake, rows(1))
        choice = outputs(fake, batch)["r0"]["response"]["body"]["choices"][0]

    assert choice["finish_reason"] == "length"
    assert fake.ledger.billed == 1


def named(fake: FakeOpenAI, batch: Any) -> list[str | None]:
    """The names in the output file, as often as they are there."""
    return sorted(line["custom_id"] for line in results(fake, batch["output_file_id"]))


def test_a_missing_row_is_in_no_file_and_billed_and_counted() -> None:
    with FakeOpenAI(rows={"r1": Mangled("missing")}) as fake:
        batch = run(fake, rows(3))

        assert named(fake, batch) == ["r0", "r2"]
    assert batch["error_file_id"] is None
    assert batch["request_counts"]["completed"] == 3
    assert fake.ledger.billed == 3


def test_a_repeated_row_is_there_twice_with_the_same_answer_and_billed_once() -> None:
    with FakeOpenAI(rows={"r1": Mangled("repeated")}) as fake:
        batch = run(fake, rows(2))
        lines = results(fake, batch["output_file_id"])

    first, second = [line for line in lines if line["custom_id"] == "r1"]
    assert first["response"]["body"] == second["response"]["body"]
    assert fake.ledger.billed == 2


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/embeddings"])
def test_a_contradicted_row_is_there_twice_with_two_answers(endpoint: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "input": "hi"}
    given = [row("r1", url=endpoint, body=body)]

    with FakeOpenAI(rows={"r1": Mangled("contradicted")}) as fake:
        batch = run(fake, given, endpoint=endpoint)
        first, second = results(fake, batch["output_file_id"])

    assert first["custom_id"] == second["custom_id"] == "r1"
    assert first["response"]["body"] != second["response"]["body"]


def test_a_row_can_be_in_both_files() -> None:
    with FakeOpenAI(rows={"r1": Mangled("both")}) as fake:
        batch = run(fake, rows(2))

        assert named(fake, batch) == ["r0", "r1"]
        assert errors(fake, batch)["r1"]["response"]["status_code"] == 500


def test_a_foreign_row_has_a_name_that_nobody_gave() -> None:
    with FakeOpenAI(rows={"r1": Mangled("foreign")}) as fake:
        batch = run(fake, rows(2))
        names = named(fake, batch)

    assert len(names) == 2
    assert "r1" not in names


def test_an_unnamed_row_has_no_name() -> None:
    with FakeOpenAI(rows={"r0": Mangled("unnamed")}) as fake:
        batch = run(fake, rows(1))

        assert named(fake, batch) == [None]


def test_swapped_rows_have_each_others_names_and_an_odd_one_its_own() -> None:
    faults = {name: Mangled("swapped") for name in ("r1", "r2", "r3")}

    with FakeOpenAI(rows=faults, shuffle=False) as fake:
        batch = run(fake, rows(4))
        there = outputs(fake, batch)

    assert {name: said(line) for name, line in there.items()} == {
        "r0": "echo: prompt 0",
        "r1": "echo: prompt 2",
        "r2": "echo: prompt 1",
        "r3": "echo: prompt 3",
    }


def test_a_malformed_row_is_half_a_line() -> None:
    with FakeOpenAI(rows={"r1": Mangled("malformed")}, shuffle=False) as fake:
        batch = run(fake, rows(3))
        lines = download(fake, batch["output_file_id"]).body.splitlines()

    assert len(lines) == 3
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(lines[1])
    assert msgspec.json.decode(lines[2])["custom_id"] == "r2"


def test_a_script_can_go_by_the_rows_body_and_by_chance() -> None:
    script = first_of(matching("prompt [12]\\b", Status(400)), at_random(1.0, Status(500), seed=1))

    with FakeOpenAI(rows=script) as fake:
        batch = run(fake, rows(4))
        there = errors(fake, batch)

    statuses = {name: line["response"]["status_code"] for name, line in there.items()}
    assert statuses == {"r0": 500, "r1": 400, "r2": 400, "r3": 500}


def test_a_row_that_comes_again_may_be_luckier() -> None:
    with FakeOpenAI(rows=matching("prompt 1", Status(429), times=1)) as fake:
        first, second = run(fake, rows(2)), run(fake, rows(2))

    assert first["request_counts"]["failed"] == 1
    assert second["request_counts"]["failed"] == 0


def test_a_mistake_in_your_own_function_fails_the_row_and_is_raised_at_the_end() -> None:
    def answer(call: Call) -> str:
        if call.custom_id == "r1":
            raise LookupError(f"no answer for {call.prompt!r}")
        return "fine"

    counts: dict[str, int] = {}
    fake = FakeOpenAI(answer=answer)
    with pytest.raises(LookupError, match="no answer for 'prompt 1'"), fake:
        counts.update(run(fake, rows(2))["request_counts"])

    assert counts == {"total": 2, "completed": 1, "failed": 1}


def test_your_function_may_read_the_books() -> None:
    def answer(call: Call) -> str:
        return str(len(fake.ledger.batches))

    with FakeOpenAI(answer=answer) as fake:
        batch = run(fake, rows(1))

        assert said(outputs(fake, batch)["r0"]) == "1"


def test_a_fault_of_connections_is_none_of_rows() -> None:
    with (
        pytest.raises(ValueError, match="befalls a connection"),
        FakeOpenAI(rows={"r0": Cut("midway")}) as fake,
    ):
        poll(fake, create(fake, rows(1)))
