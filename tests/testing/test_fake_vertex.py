"""The fake's jobs: how they are asked for, what they live through, what they write."""

from typing import Any

import msgspec
import pytest

from anybatch.testing import (
    FakeVertex,
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
from anybatch.wire.gemini import read_answer

from .generations import ask, embedding
from .jobs import (
    MODEL,
    PLACE,
    cancel,
    create,
    download,
    folder,
    lines,
    listed,
    objects,
    path_of,
    poll,
    put,
    results,
    row,
    rows,
    run,
    said,
    send_job,
    state,
)
from .wires import call, lines_of, ok

HOUR = 3_600
SLOW = Phases(validating=10, in_progress=100, cancelling=5)


def test_a_new_job_is_pending_and_says_what_was_asked() -> None:
    with FakeVertex(clock=ManualClock()) as fake:
        source = put(fake, "in.jsonl", lines(rows(3)))
        job = ok(send_job(fake, source, labels={"k": "v"}))

    assert job["name"].startswith("projects/123456789012/locations/us-central1/batchPredictionJobs")
    assert (job["displayName"], job["state"]) == ("ours", "JOB_STATE_PENDING")
    assert job["model"] == "publishers/google/models/gemini-x"
    assert job["inputConfig"]["gcsSource"]["uris"] == [source]
    assert job["outputConfig"]["gcsDestination"]["outputUriPrefix"] == "gs://bucket/out"
    assert job["labels"] == {"k": "v"}
    assert "outputInfo" not in job


def test_a_job_is_pending_then_running_then_over() -> None:
    clock = ManualClock()
    with FakeVertex(clock=clock, phases=SLOW) as fake:
        name = create(fake, rows(4))
        seen = [state(fake, name)]
        for seconds in (10, 50, 50):
            clock.advance(seconds)
            seen.append(state(fake, name))
        job = poll(fake, name)

    assert seen == ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]
    assert job["completionStats"] == {
        "successfulCount": "4",
        "failedCount": "0",
        "incompleteCount": "0",
    }
    assert job["endTime"] == "2030-01-01T00:01:50Z"


def test_results_lie_in_a_folder_of_the_jobs_own_each_beside_its_request() -> None:
    with FakeVertex() as fake:
        found = run(fake, rows(20))

        assert {name: said(line) for name, line in found.items()} == {
            f"r{n}": f"echo: prompt {n}" for n in range(20)
        }
        assert list(found) != [f"r{n}" for n in range(20)]
        assert found["r3"]["request"] == ask("prompt 3")
        assert (found["r3"]["status"], fake.ledger.billed) == ("", 20)
        (file,) = objects(fake, "out/")
        assert file.startswith("out/prediction-gemini-x-")
        assert file.endswith("/predictions.jsonl")


def test_results_may_be_parted_into_files() -> None:
    with FakeVertex(shards=3) as fake:
        name = create(fake, rows(7))
        found = results(fake, name)
        files = objects(fake, folder(fake, name))

    assert {line["custom_id"] for line in found} == {f"r{n}" for n in range(7)}
    assert [file.rpartition("/")[2] for file in files] == [
        *("predictions_00001.jsonl", "predictions_00002.jsonl", "predictions_00003.jsonl"),
    ]


def test_embeddings_have_a_key_and_settings_in_one_field() -> None:
    request = {**embedding("a"), "embed_content_config": {"output_dimensionality": 4}}
    with FakeVertex() as fake:
        name = create(fake, [{"key": "e", "request": request}])
        poll(fake, name)
        (line,) = results(fake, name)

    answer = read_answer("gemini.embed", msgspec.json.encode(line["response"]))
    assert (line["key"], answer.outcome) == ("e", "succeeded")
    assert len(line["response"]["embedding"]["values"]) == 4


def test_a_row_that_cannot_be_run_says_so_in_a_text() -> None:
    with FakeVertex() as fake:
        found = run(fake, [row("well"), {"custom_id": "ill", "request": {"contents": []}}])

        assert found["ill"]["status"].startswith('Invalid Argument: {"error":{"code":400')
        assert found["ill"]["response"] == {}
        assert fake.ledger.billed == 1


def test_rows_fail_each_in_its_own_way() -> None:
    faults = {"r0": Status(429), "r1": Status(503), "r2": Unrun("cancelled")}
    with FakeVertex(rows=faults) as fake:
        name = create(fake, rows(4))
        poll(fake, name)
        found = {line["custom_id"]: line["status"] for line in results(fake, name)}

    assert [found[f"r{n}"].partition(":")[0] for n in range(4)] == [
        *("Resource Exhausted", "Unavailable", "Cancelled", ""),
    ]


@pytest.mark.parametrize(
    ("fault", "outcome"), [(Spoiled("truncated"), "truncated"), (Spoiled("refused"), "blocked")]
)
def test_a_spoiled_row_is_billed_and_says_so(fault: Fault, outcome: str) -> None:
    with FakeVertex(rows={"r1": fault}) as fake:
        line = run(fake, rows(2))["r1"]
        answer = read_answer("gemini.generate", msgspec.json.encode(line["response"]))

        assert (line["status"], answer.outcome) == ("", outcome)
        assert fake.ledger.billed == 2


def test_results_are_mangled_as_they_are_told() -> None:
    faults: dict[str, Fault] = {
        "r0": Mangled("missing"),
        "r1": Mangled("repeated"),
        "r2": Mangled("foreign"),
        "r3": Mangled("unnamed"),
    }
    with FakeVertex(rows=faults, shuffle=False) as fake:
        name = create(fake, rows(4))
        poll(fake, name)
        found = results(fake, name)

        assert [line.get("custom_id") for line in found] == ["r1", "r1", "somebody-elses-r2", None]
        assert found[2]["request"] == ask("prompt 2")
        assert fake.ledger.billed == 4


@pytest.mark.parametrize(("ends", "word"), [("expired", "EXPIRED"), ("cancelled", "CANCELLED")])
def test_of_a_job_that_ends_early_what_ran_is_billed_and_written(ends: Any, word: str) -> None:
    with FakeVertex(batches=[Fate(ends=ends, done=2)], shuffle=False) as fake:
        name = create(fake, rows(4))

        assert state(fake, name) == word
        assert [line["custom_id"] for line in results(fake, name)] == ["r0", "r1"]
        assert fake.ledger.billed == 2


def test_a_cancelled_job_is_cancelling_first() -> None:
    clock = ManualClock()
    with FakeVertex(clock=clock, phases=SLOW) as fake:
        name = create(fake, rows(4))
        clock.advance(60)
        assert ok(cancel(fake, name)) == {}
        during = state(fake, name)
        clock.advance(5)
        job = poll(fake, name)
        again = cancel(fake, name)

        assert (during, job["state"]) == ("CANCELLING", "JOB_STATE_CANCELLED")
        assert job["error"]["code"] == 1
        assert len(results(fake, name)) == fake.ledger.billed == 2
        assert (again.status, again.error["status"]) == (400, "FAILED_PRECONDITION")


def test_what_has_not_ended_in_96_hours_expires() -> None:
    clock = ManualClock()
    with FakeVertex(clock=clock, phases=Phases(validating=96 * HOUR + 1, in_progress=9)) as fake:
        name = create(fake, rows(4))
        clock.advance(96 * HOUR + 2)

        assert state(fake, name) == "EXPIRED"
        assert objects(fake) == ["in.jsonl"]


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ("gs://bucket/nobodys.jsonl", "gs://bucket/out", 5),
        ("gs://other/in.jsonl", "gs://bucket/out", 5),
        ("gs://bucket/in.jsonl", "gs://other/out", 5),
        ("gs://bucket/bad.jsonl", "gs://bucket/out", 3),
    ],
)
def test_what_cannot_be_used_fails_once_the_job_is_made(
    source: str, target: str, code: int
) -> None:
    with FakeVertex() as fake:
        put(fake, "in.jsonl", lines(rows(1)))
        put(fake, "bad.jsonl", b"not JSON\n")
        name = ok(send_job(fake, source, target))["name"]
        job = poll(fake, name)

    assert (job["state"], job["error"]["code"]) == ("JOB_STATE_FAILED", code)


def test_a_job_has_its_fate() -> None:
    problem = Problem(code="RESOURCE_EXHAUSTED", message="too much")
    fates = [
        Fate(lost=(1,), words=("JOB_STATE_DREAMING", "JOB_STATE_DREAMING")),
        Fate(ends="failed", problems=[problem]),
        Fate(no_files=True),
        Fate(late_files=1),
    ]
    with FakeVertex(batches=fates) as fake:
        source = put(fake, "in.jsonl", lines(rows(2)))
        made = [ok(send_job(fake, source, f"gs://bucket/{n}"))["name"] for n in range(4)]
        dreamer, failed, mute, late = made
        lost = call(fake, "GET", path_of(dreamer)).status
        words = [state(fake, dreamer) for _ in range(2)]
        error = poll(fake, failed)["error"]
        mute_job = poll(fake, mute)
        file = objects(fake, folder(fake, late))[0]

        assert (lost, words) == (404, ["DREAMING", "SUCCEEDED"])
        assert error == {"code": 8, "message": "too much"}
        assert "outputInfo" not in mute_job
        assert len(objects(fake, "2/")) == 1
        assert [download(fake, file).status for _ in range(2)] == [404, 200]


def test_too_many_jobs_at_once_are_refused() -> None:
    with FakeVertex(phases=SLOW, max_batches=1) as fake:
        create(fake, rows(1))
        full = send_job(fake, "gs://bucket/in.jsonl")

    assert (full.status, full.error["status"]) == (429, "RESOURCE_EXHAUSTED")


def test_a_job_of_too_many_rows_fails() -> None:
    with FakeVertex(max_rows=2) as fake:
        assert state(fake, create(fake, rows(3))) == "FAILED"


@pytest.mark.parametrize("field", ["model", "inputConfig", "outputConfig"])
def test_what_is_no_job_is_refused_at_once(field: str) -> None:
    with FakeVertex() as fake:
        answered = send_job(fake, "gs://bucket/in.jsonl", **{field: None})

        assert (answered.status, answered.error["status"]) == (400, "INVALID_ARGUMENT")
        assert fake.ledger.batches == ()


def test_a_list_is_walked_from_the_newest() -> None:
    with FakeVertex() as fake:
        names = [create(fake, rows(1)) for _ in range(3)]
        first = listed(fake, pageSize="2")
        rest = listed(fake, pageSize="2", pageToken=first["nextPageToken"])

    found = [[job["name"] for job in page["batchPredictionJobs"]] for page in (first, rest)]
    assert found == [[names[2], names[1]], [names[0]]]
    assert "nextPageToken" not in rest


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", ["c", "b", "a"]),
        ('display_name="b"', ["b"]),
        ('displayName="nobody"', []),
        ('create_time>="2030-01-01T00:01:00Z"', ["c", "b"]),
        ('create_time<"2030-01-01T00:01:00Z"', ["a"]),
        ('state="JOB_STATE_SUCCEEDED" AND labels.k=v', ["b"]),
    ],
)
def test_a_list_holds_what_the_filter_wants(wanted: str, found: list[str]) -> None:
    clock = ManualClock()
    with FakeVertex(clock=clock) as fake:
        for name in ("a", "b", "c"):
            create(fake, rows(1), displayName=name, labels={"k": "v"} if name == "b" else {})
            clock.advance(60)
        jobs = listed(fake, wanted).get("batchPredictionJobs", ())

    assert [job["displayName"] for job in jobs] == found


@pytest.mark.parametrize("wanted", ["nonsense", "color=red", 'state>"x"', "create_time>soon"])
def test_a_filter_that_says_nothing_is_refused(wanted: str) -> None:
    with FakeVertex() as fake:
        path = f"{PLACE}/batchPredictionJobs?filter={wanted.replace(' ', '+')}"
        assert call(fake, "GET", path).error["status"] == "INVALID_ARGUMENT"


def test_a_list_is_that_of_one_location() -> None:
    with FakeVertex() as fake:
        create(fake, rows(1))
        elsewhere = PLACE.replace("us-central1", "global")

        assert ok(call(fake, "GET", f"{elsewhere}/batchPredictionJobs")) == {}


def test_a_job_is_deleted_when_it_is_over_and_its_results_stay() -> None:
    clock = ManualClock()
    with FakeVertex(clock=clock, phases=SLOW) as fake:
        name = create(fake, rows(1))
        early = call(fake, "DELETE", path_of(name))
        clock.advance(200)
        poll(fake, name)
        files = objects(fake, "out/")
        deleted = ok(call(fake, "DELETE", path_of(name)))

        assert early.error["status"] == "FAILED_PRECONDITION"
        assert deleted["done"]
        assert call(fake, "GET", path_of(name)).error["status"] == "NOT_FOUND"
        assert len(lines_of(download(fake, files[0]))) == 1


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_call_in_real_time_is_answered_and_booked(version: str) -> None:
    with FakeVertex() as fake:
        path = f"{MODEL}:generateContent".replace("/v1/", f"/{version}/")
        plain = ok(call(fake, "POST", path, ask("hello")))
        refused = call(fake, "POST", path, {})

        assert said({"response": plain}) == "echo: hello"
        assert (refused.status, refused.error["status"]) == (400, "INVALID_ARGUMENT")
        assert (len(fake.calls.ledger.executions), fake.ledger.billed) == (1, 0)


def test_a_creation_whose_answer_is_lost_was_one() -> None:
    with FakeVertex(faults={"create": [Status(503, executed=True)]}) as fake:
        source = put(fake, "in.jsonl", lines(rows(1)))
        lost = send_job(fake, source)
        ok(send_job(fake, source))

        assert lost.error["status"] == "UNAVAILABLE"
        assert len(fake.ledger.repeated_batches) == 1
        assert len(fake.ledger.billed_twice) == 1


def test_an_unknown_address_is_an_error_in_the_envelope() -> None:
    with FakeVertex() as fake:
        assert call(fake, "GET", f"{PLACE}/nowhere").error["status"] == "NOT_FOUND"


def test_an_outage_forgets_nothing() -> None:
    with FakeVertex() as fake:
        name = create(fake, rows(2))
        fake.stop()
        fake.start()
        poll(fake, name)

        assert len(results(fake, name)) == 2
