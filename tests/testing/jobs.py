"""A plain client of Vertex AI's jobs and of a bucket."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec

from anybatch.testing import FakeVertex

from .generations import ask
from .plain import Answered
from .wires import call, lines_of, ok

PLACE = FakeVertex.root
JOBS = f"{PLACE}/batchPredictionJobs"
MODEL = f"{PLACE}/publishers/google/models/gemini-x"


def row(name: str, prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"custom_id": name, "request": ask(prompt, **fields)}


def rows(count: int) -> list[dict[str, Any]]:
    return [row(f"r{n}", f"prompt {n}") for n in range(count)]


def lines(given: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in given)


# --- the bucket ---------------------------------------------------------------------------------


def uploads(fake: FakeVertex, name: str, *, by: str) -> str:
    return f"/upload/storage/v1/b/{fake.bucket}/o?uploadType={by}&name={quote(name, safe='')}"


def object_of(fake: FakeVertex, name: str) -> str:
    return f"/storage/v1/b/{fake.bucket}/o/{quote(name, safe='')}"


def put(fake: FakeVertex, name: str, content: bytes) -> str:
    """Upload an object at once; its address."""
    made = ok(call(fake, "POST", uploads(fake, name, by="media"), content))
    return f"gs://{made['bucket']}/{made['name']}"


def start(fake: FakeVertex, name: str, **headers: str) -> Answered:
    return call(fake, "POST", uploads(fake, name, by="resumable"), b"{}", headers)


def part(fake: FakeVertex, address: str, content: bytes, stretch: str | None = None) -> Answered:
    headers = {} if stretch is None else {"Content-Range": f"bytes {stretch}"}
    return call(fake, "PUT", address, content, headers)


def objects(fake: FakeVertex, prefix: str = "", **query: str) -> list[str]:
    """The names of all that begin so."""
    asked = "&".join(f"{name}={quote(text, safe='')}" for name, text in query.items())
    path = f"/storage/v1/b/{fake.bucket}/o?prefix={quote(prefix, safe='')}&{asked}"
    return [each["name"] for each in ok(call(fake, "GET", path)).get("items", ())]


def download(fake: FakeVertex, name: str, **headers: str) -> Answered:
    return call(fake, "GET", f"{object_of(fake, name)}?alt=media", headers=headers)


# --- the jobs -----------------------------------------------------------------------------------


def asked(source: str, target: str = "gs://bucket/out", **fields: Any) -> dict[str, Any]:
    return {
        "displayName": "ours",
        "model": "publishers/google/models/gemini-x",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [source]}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": target},
        },
        **fields,
    }


def send_job(fake: FakeVertex, source: str, target: str = "gs://bucket/out", **fields: Any) -> Any:
    return call(fake, "POST", JOBS, asked(source, target, **fields))


def create(fake: FakeVertex, given: Iterable[dict[str, Any]], **fields: Any) -> str:
    """Upload rows and make a job of them; its name."""
    source = put(fake, "in.jsonl", lines(given))
    return str(ok(send_job(fake, source, **fields))["name"])


def path_of(name: str) -> str:
    return f"{JOBS}/{name.rpartition('/')[2]}"


def poll(fake: FakeVertex, name: str) -> Any:
    return ok(call(fake, "GET", path_of(name)))


def state(fake: FakeVertex, name: str) -> str:
    return str(poll(fake, name)["state"]).removeprefix("JOB_STATE_")


def cancel(fake: FakeVertex, name: str) -> Answered:
    return call(fake, "POST", f"{path_of(name)}:cancel", b"{}")


def listed(fake: FakeVertex, wanted: str = "", **query: str) -> Any:
    given = {"filter": wanted, **query}
    text = "&".join(f"{name}={quote(text, safe='')}" for name, text in given.items() if text)
    return ok(call(fake, "GET", f"{JOBS}?{text}"))


def folder(fake: FakeVertex, name: str) -> str:
    """Where the results of a job lie, in its bucket."""
    told = str(poll(fake, name)["outputInfo"]["gcsOutputDirectory"])
    return told.removeprefix(f"gs://{fake.bucket}/")


def results(fake: FakeVertex, name: str) -> list[Any]:
    """The lines of all files of results."""
    files = objects(fake, folder(fake, name))
    return [line for file in files for line in lines_of(download(fake, file))]


def run(fake: FakeVertex, given: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Create a job and wait for its results, by name."""
    name = create(fake, given)
    assert state(fake, name) == "SUCCEEDED"
    return {line["custom_id"]: line for line in results(fake, name)}


def said(line: Any) -> str:
    return str(line["response"]["candidates"][0]["content"]["parts"][0]["text"])
