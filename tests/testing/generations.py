"""A plain client of Gemini's files and batches."""

from collections.abc import Iterable
from typing import Any

import msgspec

from anybatch.testing import FakeGemini

from .plain import Answered
from .wires import call, lines_of, ok

MODEL = "/v1beta/models/gemini-x"
EMBEDDER = "/v1/models/embedder"
JSONL = "application/jsonl"


def ask(prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **fields}


def embedding(text: str, **fields: Any) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}, **fields}


def row(key: str, prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"key": key, "request": ask(prompt, **fields)}


def rows(count: int) -> list[dict[str, Any]]:
    return [row(f"r{n}", f"prompt {n}") for n in range(count)]


def lines(given: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in given)


def start(fake: FakeGemini, size: int, **about: Any) -> Answered:
    headers = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(size),
        "X-Goog-Upload-Header-Content-Type": JSONL,
    }
    asked = {"mime_type": JSONL, "size_bytes": size, **about}
    return call(fake, "POST", "/upload/v1beta/files", {"file": asked}, headers)


def part(
    fake: FakeGemini, address: str, content: bytes, *, offset: int = 0, command: str
) -> Answered:
    headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
    return call(fake, "POST", address, content, headers)


def upload(fake: FakeGemini, content: bytes, **about: Any) -> str:
    """The name of the file."""
    address = start(fake, len(content), **about).headers["x-goog-upload-url"]
    sent = part(fake, address, content, command="upload, finalize")
    assert sent.headers["x-goog-upload-status"] == "final"
    return str(ok(sent)["file"]["name"])


def send_batch(fake: FakeGemini, config: Any, *, to: str = f"{MODEL}:batchGenerateContent") -> Any:
    return call(fake, "POST", to, {"batch": {"displayName": "ours", "inputConfig": config}})


def create(fake: FakeGemini, given: Iterable[dict[str, Any]]) -> str:
    """Upload rows and make a batch of them; its name."""
    file = upload(fake, lines(given))
    return str(ok(send_batch(fake, {"fileName": file}))["name"])


def create_inline(fake: FakeGemini, given: Iterable[dict[str, Any]]) -> str:
    wrapped = [{"request": one["request"], "metadata": {"key": one["key"]}} for one in given]
    return str(ok(send_batch(fake, {"requests": {"requests": wrapped}}))["name"])


def poll(fake: FakeGemini, name: str) -> Any:
    return ok(call(fake, "GET", f"/v1beta/{name}"))


def state(fake: FakeGemini, name: str) -> str:
    return str(poll(fake, name)["metadata"]["state"]).removeprefix("BATCH_STATE_")


def cancel(fake: FakeGemini, name: str) -> Answered:
    return call(fake, "POST", f"/v1beta/{name}:cancel", b"")


def download(fake: FakeGemini, file: str, **headers: str) -> Answered:
    return call(fake, "GET", f"/v1beta/{file}:download?alt=media", headers=headers)


def results(fake: FakeGemini, name: str) -> list[Any]:
    """The lines of the file of results."""
    return lines_of(download(fake, poll(fake, name)["response"]["responsesFile"]))


def run(fake: FakeGemini, given: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Create a batch and wait for its results, by key."""
    return {line["key"]: line for line in results(fake, create(fake, given))}


def said(line: Any) -> str:
    return str(line["response"]["candidates"][0]["content"]["parts"][0]["text"])
