"""The fake's batches: how they are asked for, what they live through, how they end."""

from typing import Any

import msgspec
import pytest

from anybatch.testing import (
    FakeGemini,
    Fate,
    Fault,
    Mangled,
    ManualClock,
    Phases,
    Problem,
    Spoiled,
    Status,
    Unrun,
)
from anybatch.wire import gemini_batch as wire
from anybatch.wire.gemini import read_answer

from .generations import (
    EMBEDDER,
    MODEL,
    ask,
    cancel,
    create,
    create_inline,
    download,
    embedding,
    lines,
    poll,
    results,
    row,
    rows,
    run,
    said,
    send_batch,
    state,
    upload,
)
from .wires import call, lines_of, ok

HOUR = 3_600
SLOW = Phases(validating=10, in_progress=100, cancelling=5)


def test_a_new_batch_is_pending_and_says_what_was_asked() -> None:
    with FakeGemini(clock=ManualClock()) as fake:
        file = upload(fake, lines(rows(3)))
        batch = ok(send_batch(fake, {"fileName": file}))

    about = batch["metadata"]
    assert set(batch) == {"name", "metadata"}
    assert batch["name"] == about["name"]
    assert batch["name"].startswith("batches/")
    assert about["@type"].endswith("GenerateContentBatch")
    assert (about["displayName"], about["model"]) == ("ours", "models/gemini-x")
    assert (about["state"], about["inputConfig"]) == ("BATCH_STATE_PENDING", {"fileName": file})
    assert about["batchStats"]["requestCount"] == about["batchStats"]["pendingRequestCount"] == "3"


def test_a_batch_is_pending_then_running_then_over() -> None:
    clock = ManualClock()
    with FakeGemini(clock=clock, phases=SLOW) as fake:
        name = create(fake, rows(4))
        seen = [state(fake, name)]
        for seconds in (10, 50, 50):
            clock.advance(seconds)
            seen.append(state(fake, name))
        batch = poll(fake, name)

    assert seen == ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]
    assert batch["done"]
    assert batch["response"]["responsesFile"] == batch["metadata"]["output"]["responsesFile"]
    assert batch["metadata"]["batchStats"]["successfulRequestCount"] == "4"


def test_results_lie_in_a_file_each_under_its_key() -> None:
    with FakeGemini() as fake:
        found = run(fake, rows(20))

        assert {key: said(line) for key, line in found.items()} == {
            f"r{n}": f"echo: prompt {n}" for n in range(20)
        }
        assert list(found) != [f"r{n}" for n in range(20)]
        assert fake.ledger.billed == 20


def test_results_of_rows_that_came_inline_come_inline_and_in_order() -> None:
    with FakeGemini() as fake:
        name = create_inline(fake, rows(12))
        batch = poll(fake, name)
        (listed,) = ok(call(fake, "GET", "/v1beta/batches"))["operations"]

    read = wire.read_inline(wire.read_batch(msgspec.json.encode(batch)).inline)
    assert [line.custom_id for line in read] == [f"r{n}" for n in range(12)]
    assert batch["response"]["inlinedResponses"] == batch["metadata"]["output"]["inlinedResponses"]
    assert "output" not in listed["metadata"]


@pytest.mark.parametrize("name", ["fileName", "file_name"])
def test_embeddings_are_made_from_a_file_under_either_name(name: str) -> None:
    given = [{"key": "e", "request": embedding("a", output_dimensionality=4)}]
    with FakeGemini() as fake:
        file = upload(fake, lines(given))
        batch = ok(send_batch(fake, {name: file}, to=f"{EMBEDDER}:asyncBatchEmbedContent"))
        (line,) = results(fake, batch["name"])

    answer = read_answer("gemini.embed", msgspec.json.encode(line["response"]))
    assert batch["metadata"]["@type"].endswith("EmbedContentBatch")
    assert (answer.outcome, answer.usage.tokens_in, answer.usage.tokens_out) == ("succeeded", 1, 0)
    assert len(line["response"]["embedding"]["values"]) == 4


def test_embeddings_are_made_inline_without_keys() -> None:
    requests = [{"request": embedding(text)} for text in ("a", "b")]
    with FakeGemini() as fake:
        config = {"requests": {"requests": requests}}
        batch = ok(send_batch(fake, config, to=f"{EMBEDDER}:asyncBatchEmbedContent"))
        output = poll(fake, batch["name"])["metadata"]["output"]

    made = output["inlinedEmbedContentResponses"]["inlinedResponses"]
    assert len({tuple(one["response"]["embedding"]["values"]) for one in made}) == 2


def test_names_in_snake_case_are_as_good() -> None:
    asked = {
        "contents": [{"parts": [{"text": "a long prompt"}]}],
        "generation_config": {"max_output_tokens": 1},
        "system_instruction": {"parts": [{"text": "be brief"}]},
    }
    with FakeGemini() as fake:
        found = run(fake, [{"key": "a", "request": asked}])

    assert found["a"]["response"]["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_a_row_that_cannot_be_run_is_an_error_in_its_line() -> None:
    with FakeGemini() as fake:
        found = run(fake, [row("well"), {"key": "ill", "request": {"contents": []}}])
        inline = create_inline(fake, [{"key": "ill", "request": {}}])
        held = poll(fake, inline)["response"]["inlinedResponses"]["inlinedResponses"]

        assert found["ill"]["error"]["code"] == 400
        assert "details" not in found["ill"]["error"]
        assert (held[0]["error"]["code"], held[0]["metadata"]) == (3, {"key": "ill"})
        assert fake.ledger.billed == 1


def test_rows_fail_each_in_its_own_way() -> None:
    faults = {"r0": Status(429), "r1": Status(503), "r2": Unrun("cancelled")}
    with FakeGemini(rows=faults) as fake:
        name = create(fake, rows(4))
        found = {line["key"]: line for line in results(fake, name)}
        stats = poll(fake, name)["metadata"]["batchStats"]

    assert [found[f"r{n}"]["error"]["code"] for n in range(3)] == [429, 503, 499]
    assert (stats["successfulRequestCount"], stats["failedRequestCount"]) == ("1", "3")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Spoiled("truncated"), "truncated"),
        (Spoiled("refused"), "blocked"),
        (Spoiled("filtered"), "blocked"),
    ],
)
def test_a_spoiled_row_is_billed_and_says_so(fault: Fault, outcome: str) -> None:
    with FakeGemini(rows={"r1": fault}) as fake:
        found = run(fake, rows(2))
        answer = read_answer("gemini.generate", msgspec.json.encode(found["r1"]["response"]))

        assert answer.outcome == outcome
        assert fake.ledger.billed == 2


def test_results_are_mangled_as_they_are_told() -> None:
    faults: dict[str, Fault] = {
        "r0": Mangled("missing"),
        "r1": Mangled("repeated"),
        "r2": Mangled("foreign"),
    }
    with FakeGemini(rows=faults, shuffle=False) as fake:
        found = results(fake, create(fake, rows(3)))

        assert [line["key"] for line in found] == ["r1", "r1", "somebody-elses-r2"]
        assert fake.ledger.billed == 3


def test_a_cancelled_batch_has_no_results() -> None:
    clock = ManualClock()
    with FakeGemini(clock=clock, phases=SLOW) as fake:
        name = create(fake, rows(4))
        clock.advance(10)
        poll(fake, name)
        clock.advance(50)
        assert ok(cancel(fake, name)) == {}
        during = state(fake, name)
        clock.advance(5)
        batch = poll(fake, name)
        again = cancel(fake, name)

        assert during == "RUNNING"
        assert batch["metadata"]["state"] == "BATCH_STATE_CANCELLED"
        assert (batch["done"], batch["error"]["code"], "response" in batch) == (True, 1, False)
        assert (again.status, again.error["status"]) == (400, "FAILED_PRECONDITION")
        assert fake.ledger.billed == 2


def test_what_has_not_ended_in_48_hours_expires_with_all_its_results() -> None:
    clock = ManualClock()
    with FakeGemini(clock=clock, phases=Phases(in_progress=96 * HOUR)) as fake:
        name = create(fake, rows(4))
        clock.advance(48 * HOUR)
        batch = poll(fake, name)

        assert batch["metadata"]["state"] == "BATCH_STATE_EXPIRED"
        assert "output" not in batch["metadata"]
        assert [file.batch for file in fake.ledger.files] == [None]


def test_an_input_that_is_no_list_of_rows_fails_as_a_whole() -> None:
    with FakeGemini() as fake:
        file = upload(fake, b'{"key": "a", "request": {}}\nnot JSON\n')
        name = ok(send_batch(fake, {"fileName": file}))["name"]
        batch = poll(fake, name)

    assert batch["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert (batch["done"], batch["error"]["code"]) == (True, 3)


def test_a_batch_has_its_fate() -> None:
    problem = Problem(code="RESOURCE_EXHAUSTED", message="too much")
    fates = [
        Fate(lost=(1,), words=("BATCH_STATE_DREAMING", "BATCH_STATE_DREAMING")),
        Fate(ends="failed", problems=[problem]),
        Fate(no_files=True),
        Fate(late_files=1),
    ]
    with FakeGemini(batches=fates) as fake:
        dreamer, failed, mute, late = [create(fake, rows(2)) for _ in fates]
        lost = call(fake, "GET", f"/v1beta/{dreamer}").status
        words = [state(fake, dreamer) for _ in range(2)]
        error = poll(fake, failed)["error"]
        file = poll(fake, late)["response"]["responsesFile"]

        assert (lost, words) == (404, ["DREAMING", "SUCCEEDED"])
        assert (error["code"], error["message"]) == (8, "too much")
        assert "responsesFile" not in poll(fake, mute)["response"]
        assert [download(fake, file).status for _ in range(2)] == [404, 200]


def test_too_many_batches_at_once_are_refused() -> None:
    clock = ManualClock()
    with FakeGemini(clock=clock, phases=SLOW, max_batches=1) as fake:
        create(fake, rows(1))
        file = upload(fake, lines(rows(2)))
        full = send_batch(fake, {"fileName": file})
        clock.advance(10)
        ok(call(fake, "GET", "/v1beta/batches"))
        clock.advance(100)
        later = send_batch(fake, {"fileName": file})

        assert (full.status, full.error["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert full.error["details"][0]["retryDelay"] == "30s"
        assert later.status == 200
        assert len(fake.ledger.batches) == 2


def test_too_many_tokens_under_way_are_refused_for_their_model_alone() -> None:
    with FakeGemini(phases=SLOW, enqueued_tokens=10) as fake:
        file = upload(fake, lines([row("a", "x" * 24)]))
        other = "/v1beta/models/other:batchGenerateContent"
        statuses = [
            send_batch(fake, {"fileName": file}).status,
            send_batch(fake, {"fileName": file}).status,
            send_batch(fake, {"fileName": file}, to=other).status,
        ]

    assert statuses == [200, 429, 200]


@pytest.mark.parametrize("config", [{}, {"requests": {}}, {"fileName": ""}, None])
def test_what_is_no_batch_is_refused_at_once(config: Any) -> None:
    with FakeGemini() as fake:
        answered = send_batch(fake, config)

        assert (answered.status, answered.error["status"]) == (400, "INVALID_ARGUMENT")
        assert fake.ledger.batches == ()


def test_a_batch_of_a_file_that_is_not_there_is_refused() -> None:
    with FakeGemini() as fake:
        assert send_batch(fake, {"fileName": "files/nobodys"}).error["status"] == "NOT_FOUND"


def test_a_body_with_its_rows_has_a_limit() -> None:
    with FakeGemini(max_inline_bytes=1_000) as fake:
        config = {"requests": {"requests": [{"request": ask("x" * 1_000)}]}}

        assert send_batch(fake, config).status == 400


def test_a_list_is_walked_from_the_newest() -> None:
    with FakeGemini() as fake:
        names = [create(fake, rows(1)) for _ in range(3)]
        first = ok(call(fake, "GET", "/v1/batches?pageSize=2"))
        token = first["nextPageToken"]
        rest = ok(call(fake, "GET", f"/v1/batches?pageSize=2&pageToken={token}"))

    assert [one["name"] for one in first["operations"]] == [names[2], names[1]]
    assert [one["name"] for one in rest["operations"]] == [names[0]]
    assert "nextPageToken" not in rest


def test_a_list_of_nothing_is_empty() -> None:
    with FakeGemini() as fake:
        assert ok(call(fake, "GET", "/v1beta/batches")) == {}
        assert ok(call(fake, "GET", "/v1beta/files")) == {}


def test_a_deleted_batch_is_gone_and_its_file_is_not() -> None:
    with FakeGemini() as fake:
        name = create(fake, rows(1))
        file = poll(fake, name)["response"]["responsesFile"]

        assert ok(call(fake, "DELETE", f"/v1beta/{name}")) == {}
        assert call(fake, "GET", f"/v1beta/{name}").error["status"] == "NOT_FOUND"
        assert len(lines_of(download(fake, file))) == 1


def test_a_call_in_real_time_is_answered_and_booked() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    with FakeGemini() as fake:
        plain = ok(call(fake, "POST", f"{MODEL}:generateContent", ask("hello")))
        shaped = call(fake, "POST", f"{MODEL}:generateContent", ask(generationConfig=config))
        vector = ok(call(fake, "POST", f"{EMBEDDER}:embedContent", embedding("a")))
        refused = call(fake, "POST", f"{MODEL}:generateContent", {})

        answer = read_answer("gemini.generate", shaped.body)
        assert said({"response": plain}) == "echo: hello"
        assert isinstance(msgspec.json.decode(str(answer.value))["n"], int)
        assert vector["embedding"]["values"]
        assert (refused.status, refused.error["status"]) == (400, "INVALID_ARGUMENT")
        assert len(fake.calls.ledger.executions) == 3
        assert fake.ledger.billed == 0


def test_texts_that_are_embedded_together_are_booked_each_by_itself() -> None:
    path = f"{EMBEDDER}:batchEmbedContents"
    with FakeGemini() as fake:
        single = ok(call(fake, "POST", f"{EMBEDDER}:embedContent", embedding("b")))
        both = ok(call(fake, "POST", path, {"requests": [embedding("a"), embedding("b")]}))
        none = call(fake, "POST", path, {"requests": []})
        bad = call(fake, "POST", path, {"requests": [embedding("a"), {"content": 1}]})

        assert both["embeddings"][1] == single["embedding"] != both["embeddings"][0]
        assert (none.status, bad.status) == (400, 400)
        assert len(fake.calls.ledger.executions_of("b")) == 2


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/files", {"x-goog-api-key": "right"}, 200),
        ("/v1/files?key=right", {}, 200),
        ("/v1/files", {"x-goog-api-key": "wrong"}, 400),
        ("/v1/files", {}, 403),
    ],
)
def test_a_key_comes_in_a_header_or_the_query(
    path: str, headers: dict[str, str], status: int
) -> None:
    with FakeGemini(key="right") as fake:
        assert call(fake, "GET", path, headers=headers).status == status


def test_an_unknown_address_is_an_error_in_the_envelope() -> None:
    with FakeGemini() as fake:
        answered = call(fake, "GET", "/v1beta/nowhere")

    assert (answered.status, answered.error["status"]) == (404, "NOT_FOUND")


def test_a_creation_whose_answer_is_lost_was_one() -> None:
    with FakeGemini(faults={"create": [Status(503, executed=True)]}) as fake:
        file = upload(fake, lines(rows(1)))
        lost = send_batch(fake, {"fileName": file})
        ok(send_batch(fake, {"fileName": file}))

        assert lost.error["status"] == "UNAVAILABLE"
        assert len(fake.ledger.repeated_batches) == 1
        assert len(fake.ledger.billed_twice) == 1


def test_an_outage_forgets_nothing() -> None:
    with FakeGemini() as fake:
        name = create(fake, rows(2))
        fake.stop()
        fake.start()

        assert len(results(fake, name)) == 2
