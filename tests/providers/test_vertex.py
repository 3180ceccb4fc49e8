"""Vertex AI's conversations, one call at a time: no connection, no clock."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.errors import BadSettings
from anybatch.providers import vertex
from anybatch.providers.asked import check_said
from anybatch.providers.flow import Call, Refused, Reply, Upload
from anybatch.providers.provider import Provider, Submission, Uploaded
from anybatch.providers.registry import BUILT_IN, find
from anybatch.wire.gcs import GRAIN, Place
from anybatch.wire.gemini import write_error

from .conversation import held, ok

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
WHERE = "http://127.0.0.1/upload/storage/v1/b/b/o?upload_id=x"
BEGUN = Reply(status=200, body=b"", headers={"location": WHERE})
FOLDER = Place("b", "runs/")
JOB = "projects/123/locations/us-central1/batchPredictionJobs/9"
INPUT = "gs://b/runs/anybatch-run-1-0.jsonl"


def refusal(status: int) -> Reply:
    return Reply(status=status, body=write_error(status, "no"))


def more(have: int) -> Reply:
    """The service has so many bytes and wants the others."""
    headers = {"range": f"bytes=0-{have - 1}"} if have else {}
    return Reply(status=308, body=b"", headers=headers)


def kept(name: str, size: int = 5) -> dict[str, Any]:
    return {"bucket": "b", "name": name, "size": str(size)}


def listing(*names: str, token: str | None = None) -> Reply:
    page: dict[str, Any] = {"items": [kept(name) for name in names]} if names else {}
    return ok(page if token is None else {**page, "nextPageToken": token})


def job(state: str = "RUNNING", **about: Any) -> dict[str, Any]:
    return {"name": JOB, "state": f"JOB_STATE_{state}", "createTime": NOON.isoformat(), **about}


def over(state: str = "SUCCEEDED", **about: Any) -> Reply:
    told = {"outputInfo": {"gcsOutputDirectory": "gs://b/out/prediction-1"}, **about}
    return ok(job(state, **told))


def submission(**fields: Any) -> Submission:
    given: dict[str, Any] = {"intent": "run-1-0", "api": "gemini.generate", "model": "gemini-x"}
    given = {**given, "size": 2, "file": INPUT, "requests": Path("in.jsonl")}
    return Submission(**{**given, **fields})


@pytest.fixture
def file(tmp_path: Path) -> Upload:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"12345")
    return Upload(path=path, name="anybatch-run-1-0.jsonl")


def asked(calls: list[Call]) -> list[tuple[str, str]]:
    return [(call.method, call.path) for call in calls]


def sent(call: Call) -> tuple[int, int | None, str]:
    """Which part of the file a call brings, and what it says of it."""
    assert call.upload is not None
    return call.upload.start, call.upload.length, call.headers["Content-Range"]


# --- the bucket ---------------------------------------------------------------------------------


def test_an_upload_is_announced_and_then_sent_where_the_bucket_wants_it(file: Upload) -> None:
    uri, (announced, part) = held(vertex.upload(FOLDER, file), BEGUN, ok(kept("x")))

    assert uri == INPUT
    assert (announced.method, announced.host, part.host) == ("POST", "storage", "storage")
    assert announced.path == (
        "/upload/storage/v1/b/b/o?uploadType=resumable&name=runs%2Fanybatch-run-1-0.jsonl"
    )
    assert announced.headers["X-Upload-Content-Length"] == "5"
    assert (part.method, part.path) == ("PUT", WHERE)
    assert sent(part) == (0, 5, "bytes 0-4/5")


def test_a_large_file_is_sent_in_parts_from_where_the_bucket_has_it(
    file: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vertex, "_PART", GRAIN)
    size = 2 * GRAIN + 7
    file.path.write_bytes(bytes(size))
    # Of the second part the bucket has nothing, as if it had been lost behind its back.
    replies = [BEGUN, more(GRAIN), more(GRAIN), more(2 * GRAIN), ok(kept("x", size))]

    _, calls = held(vertex.upload(FOLDER, file), *replies)

    assert [sent(call)[:2] for call in calls[1:]] == [
        *((0, GRAIN), (GRAIN, GRAIN), (GRAIN, GRAIN), (2 * GRAIN, 7)),
    ]
    assert sent(calls[-1])[2] == f"bytes {2 * GRAIN}-{size - 1}/{size}"


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_that_is_not_known_any_more_is_begun_anew(status: int, file: Upload) -> None:
    uri, calls = held(vertex.upload(FOLDER, file), BEGUN, refusal(status), BEGUN, ok(kept("x")))

    assert uri == INPUT
    assert [call.method for call in calls] == ["POST", "PUT", "POST", "PUT"]


@pytest.mark.parametrize(
    "replies",
    [
        [refusal(404)],
        [Reply(status=200, body=b"")],
        [BEGUN, refusal(429)],
        [BEGUN, refusal(404), BEGUN, refusal(404), BEGUN, refusal(404)],
        [BEGUN, more(0), more(0)],
        [BEGUN, ok(kept("x", size=4))],
        [BEGUN, ok({})],
    ],
)
def test_an_upload_that_is_not_taken_is_refused(replies: list[Reply], file: Upload) -> None:
    with pytest.raises(Refused):
        held(vertex.upload(FOLDER, file), *replies)


def test_a_refusal_of_the_bucket_names_it(file: Upload) -> None:
    with pytest.raises(Refused, match="gs://b: HTTP 404: no"):
        held(vertex.upload(FOLDER, file), refusal(404))


def test_an_upload_is_found_by_its_name_among_what_begins_so() -> None:
    names = ("runs/anybatch-run-1-0.jsonl", "runs/anybatch-run-1-0.jsonl.bak")

    found, calls = held(vertex.find_upload(FOLDER, "anybatch-run-1-0.jsonl"), listing(*names))

    assert found == [INPUT]
    assert asked(calls) == [
        (
            "GET",
            "/storage/v1/b/b/o?maxResults=1000&prefix=runs%2Fanybatch-run-1-0.jsonl",
        )
    ]
    assert calls[0].host == "storage"


def test_uploads_and_what_jobs_wrote_are_listed_under_the_uploads_name() -> None:
    result = "runs/anybatch-run-1-0.results/prediction-1/predictions.jsonl"
    pages = listing("runs/anybatch-run-1-0.jsonl", token="t"), listing(result)

    found, calls = held(vertex.list_uploads(FOLDER, "anybatch-"), *pages)

    assert found == [
        Uploaded(INPUT, "anybatch-run-1-0.jsonl"),
        Uploaded(f"gs://b/{result}", "anybatch-run-1-0.jsonl"),
    ]
    assert calls[1].path.endswith("&pageToken=t")


def test_results_are_downloaded_from_their_object() -> None:
    _, (call,) = held(vertex.fetch("gs://b/a/p.jsonl", Path("to")), ok({}))

    assert (call.path, call.host) == ("/storage/v1/b/b/o/a%2Fp.jsonl?alt=media", "storage")
    assert call.download == Path("to")


def test_with_an_upload_goes_what_its_job_wrote() -> None:
    result = "runs/anybatch-run-1-0.results/prediction-1/errors.txt"

    _, calls = held(vertex.delete(INPUT), listing(result), refusal(404), ok({}))

    assert [(call.method, call.host) for call in calls] == [
        *(("GET", "storage"), ("DELETE", "storage"), ("DELETE", "storage")),
    ]
    assert calls[0].path.endswith("prefix=runs%2Fanybatch-run-1-0.results%2F")
    assert calls[1].path.endswith("errors.txt")
    assert calls[2].path.endswith("anybatch-run-1-0.jsonl")


@pytest.mark.parametrize("reply", [Reply(status=204, body=b""), refusal(404)])
def test_a_result_that_is_gone_counts_as_deleted(reply: Reply) -> None:
    _, calls = held(vertex.delete("gs://b/anybatch-1.results/p/predictions.jsonl"), reply)

    assert [call.method for call in calls] == ["DELETE"]


def test_what_may_not_be_deleted_is_said() -> None:
    with pytest.raises(Refused, match=r"gs://b/a/p\.jsonl: HTTP 403"):
        held(vertex.delete("gs://b/a/p.jsonl"), refusal(403))


# --- the jobs -----------------------------------------------------------------------------------


def test_a_submission_carries_our_mark_and_is_sent_once() -> None:
    taken, (call,) = held(vertex.create(submission()), ok(job(displayName="run-1-0")))

    assert (taken.id, taken.intent) == (JOB, "run-1-0")
    assert (call.once, call.path, call.host) == (True, "/batchPredictionJobs", "")
    assert msgspec.json.decode(call.body or b"") == {
        "displayName": "run-1-0",
        "model": "publishers/google/models/gemini-x",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [INPUT]}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": "gs://b/runs/anybatch-run-1-0.results"},
        },
        "labels": {"anybatch": "run-1-0"},
    }


def test_a_job_is_found_by_its_mark_on_any_page() -> None:
    first = {"batchPredictionJobs": [job(displayName="other")], "nextPageToken": "t"}
    second = {"batchPredictionJobs": [job(displayName="run-1-0"), job()]}

    found, calls = held(vertex.find(submission(), NOON), ok(first), ok(second))

    assert [one.id for one in found] == [JOB]
    path = "/batchPredictionJobs?pageSize=100&filter=display_name%3D%22run-1-0%22"
    assert [call.path for call in calls] == [path, f"{path}&pageToken=t"]


def test_jobs_are_listed_since_a_moment_before_the_submission() -> None:
    seen, (call,) = held(vertex.listed(NOON + timedelta(minutes=5)), ok({}))

    assert seen == []
    assert call.path.endswith("filter=create_time%3E%3D%222026-11-01T12%3A00%3A00Z%22")


@pytest.mark.parametrize("name", [JOB, "9"])
def test_a_job_is_looked_at_by_the_last_part_of_its_name(name: str) -> None:
    seen, (call,) = held(vertex.poll(name), ok(job()))

    assert (seen.phase, call.path) == ("working", "/batchPredictionJobs/9")


def test_a_job_that_is_over_comes_with_all_files_of_its_results() -> None:
    found = listing(
        *("out/prediction-1/errors", "out/prediction-1/incremental.jsonl"),
        *("out/prediction-1/predictions_00002.jsonl", "out/prediction-1/predictions_00001.jsonl"),
    )

    seen, calls = held(vertex.poll(JOB), over(), found)

    # What may hold less than others comes last: of two answers to a row the first counts.
    assert [uri.rpartition("/")[2] for uri in seen.results] == [
        *("predictions_00001.jsonl", "predictions_00002.jsonl", "incremental.jsonl"),
    ]
    assert calls[1].path.endswith("prefix=out%2Fprediction-1%2F")


def test_a_job_that_does_not_say_where_it_wrote_has_written_where_it_was_told_to() -> None:
    target = {"outputConfig": {"gcsDestination": {"outputUriPrefix": "gs://b/mine"}}}

    seen, calls = held(
        vertex.poll(JOB), ok(job("CANCELLED", **target)), listing("mine/p/predictions.jsonl")
    )

    assert seen.results == ("gs://b/mine/p/predictions.jsonl",)
    assert calls[1].path.endswith("prefix=mine%2F")


@pytest.mark.parametrize("state", ["SUCCEEDED", "PARTIALLY_SUCCEEDED"])
def test_a_job_that_succeeded_and_wrote_nothing_is_not_believed_at_once(state: str) -> None:
    with pytest.raises(Refused, match="there is nothing in gs://b/out/prediction-1/") as refused:
        held(vertex.poll(JOB), over(state), listing())

    assert (refused.value.outcome, refused.value.status) == ("missing_result", 404)


@pytest.mark.parametrize("state", ["CANCELLED", "EXPIRED"])
def test_a_job_that_ended_early_may_have_written_nothing(state: str) -> None:
    seen, _ = held(vertex.poll(JOB), over(state), listing())

    assert (seen.phase, seen.results) == ("ended", ())


def test_a_job_that_failed_for_want_of_the_bucket_has_failed() -> None:
    error = {"error": {"code": 7, "message": "no access to the bucket"}}

    seen, _ = held(vertex.poll(JOB), over("FAILED", **error), refusal(403))

    assert (seen.results, seen.problems[0].code) == ((), "PERMISSION_DENIED")


@pytest.mark.parametrize("reply", [ok({}), refusal(400), refusal(404), refusal(409)])
def test_after_a_cancel_it_is_looked_at(reply: Reply) -> None:
    seen, calls = held(vertex.cancel(JOB), reply, ok(job("CANCELLING")))

    assert seen.status == "JOB_STATE_CANCELLING"
    assert asked(calls) == [
        ("POST", "/batchPredictionJobs/9:cancel"),
        ("GET", "/batchPredictionJobs/9"),
    ]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (refusal(401), "auth"),
        (refusal(429), "rate_limited"),
        (refusal(503), "server_error"),
        (Reply(status=200, body=b"<html>"), "server_error"),
        (ok({}), "server_error"),
    ],
)
def test_what_is_no_job_is_refused_with_a_reason(reply: Reply, outcome: str) -> None:
    with pytest.raises(Refused) as refused:
        held(vertex.poll(JOB), reply)

    assert (refused.value.outcome, refused.value.status) == (outcome, reply.status)


# --- where it is --------------------------------------------------------------------------------

SAID = {"project": "p", "location": "europe-west4", "bucket": "my-bucket"}


def placed(table: Mapping[str, Any] = SAID, **given: Any) -> Provider:
    return find("vertex", configured={"vertex": table}, **given)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        (None, "aiplatform.googleapis.com"),
    ],
)
def test_a_location_has_a_host_and_no_location_is_the_global_one(
    location: str | None, host: str
) -> None:
    told = {"project": "p"} if location is None else {"project": "p", "location": location}

    place = location or "global"
    assert placed(told).base_url == f"https://{host}/v1/projects/p/locations/{place}"


def test_the_environment_says_what_the_settings_do_not() -> None:
    environment = {
        "GOOGLE_CLOUD_PROJECT": "from-env",
        "GOOGLE_CLOUD_LOCATION": "us-central1",
        "GOOGLE_CLOUD_STORAGE_BUCKET": "from-env",
        "STORAGE_EMULATOR_HOST": "127.0.0.1:4443",
    }

    found = placed({"project": "from-file"}, environment=environment)

    assert found.base_url == (
        "https://us-central1-aiplatform.googleapis.com/v1/projects/from-file/locations/us-central1"
    )
    assert found.hosts == {"storage": "http://127.0.0.1:4443"}
    assert found.batch is not None
    assert found.batch.lacks == ()


@pytest.mark.parametrize(
    ("bucket", "name", "uri"),
    [
        ("my-bucket", "in.jsonl", "gs://my-bucket/in.jsonl"),
        ("gs://my-bucket/", "in.jsonl", "gs://my-bucket/in.jsonl"),
        ("my-bucket/a/b=1/", "in.jsonl", "gs://my-bucket/a/b=1/in.jsonl"),
    ],
)
def test_a_bucket_may_be_named_as_an_address_and_with_a_folder(
    bucket: str, name: str, uri: str, file: Upload
) -> None:
    batch = placed({**SAID, "bucket": bucket}).batch
    assert batch is not None
    assert batch.upload is not None

    found, _ = held(batch.upload(Upload(path=file.path, name=name)), BEGUN, ok(kept("x")))

    assert found == uri


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"project": "p/../q"}, "project must be the id of a Google Cloud project"),
        ({"location": "x.example/#"}, "location must be the name of a place"),
        ({"location": 5}, "location must be the name of a place"),
        ({"bucket": "b/../c"}, "bucket must be the name of a Cloud Storage bucket"),
        ({"bucket": ""}, "bucket must be the name of a Cloud Storage bucket"),
        ({"storage_url": "https://me@storage.example"}, "storage_url must be the address"),
        ({"region": "eu"}, "has 'region'; it may have base_url, .*project"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(table: Mapping[str, Any], says: str) -> None:
    with pytest.raises(BadSettings, match=rf"\[providers\.vertex\] in anybatch\.toml.*{says}"):
        placed({**SAID, **table})


def test_a_variable_that_cannot_be_is_named() -> None:
    with pytest.raises(BadSettings, match=r"GOOGLE_CLOUD_LOCATION: location must be"):
        placed({"project": "p"}, environment={"GOOGLE_CLOUD_LOCATION": "evil.example/"})


def test_what_nobody_has_said_is_asked_for_with_the_way_out() -> None:
    with pytest.raises(
        BadSettings,
        match=r"'vertex' needs a project, the id of .*\[providers\.vertex\].*GOOGLE_CLOUD_PROJECT",
    ):
        placed({})


def test_without_a_bucket_it_answers_in_real_time_and_takes_no_batches() -> None:
    batch = placed({"project": "p"}).batch
    assert batch is not None

    with pytest.raises(BadSettings, match=r"needs a bucket.*GOOGLE_CLOUD_STORAGE_BUCKET"):
        check_said("vertex", batch.lacks)


def test_with_an_address_no_project_is_asked_for() -> None:
    url = "https://gateway.example/v1/projects/p/locations/l"

    assert placed({}, base_url=url).base_url == url
    assert placed({"base_url": url}).base_url == url


def test_offline_nothing_is_asked_for() -> None:
    assert placed({}, offline=True) == BUILT_IN["vertex"]


def test_the_limits_of_a_batch_may_be_made_smaller() -> None:
    batch = placed({**SAID, "batch_requests": 7}).batch

    assert batch is not None
    assert batch.limits == replace(vertex.BATCHES.limits, max_requests=7)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-x", "/publishers/google/models/gemini-x:generateContent"),
        ("endpoints/7", "/endpoints/7:generateContent"),
    ],
)
def test_in_real_time_a_model_is_a_publishers_or_an_endpoint(model: str, path: str) -> None:
    assert BUILT_IN["vertex"].path_of("gemini.generate", model) == path
