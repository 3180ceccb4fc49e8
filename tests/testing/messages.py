"""A plain client of Anthropic's message batches."""

from collections.abc import Iterable
from typing import Any

from anybatch.testing import FakeAnthropic

from .plain import Answered
from .wires import call, lines_of, ok

BATCHES = "/v1/messages/batches"
OLD, NEW = "2023-06-01", "2026-10-21"


def message(prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": prompt}]
    return {"model": "claude-x", "max_tokens": 64, "messages": turns, **fields}


def row(name: str, prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"custom_id": name, "params": message(prompt, **fields)}


def rows(count: int) -> list[dict[str, Any]]:
    return [row(f"r{n}", f"prompt {n}") for n in range(count)]


def send(
    fake: FakeAnthropic,
    method: str,
    path: str,
    body: Any = None,
    *,
    version: str = NEW,
    **more: str,
) -> Answered:
    headers = {name.replace("_", "-"): text for name, text in more.items()}
    return call(fake, method, path, body, {"anthropic-version": version, **headers})


def send_batch(
    fake: FakeAnthropic, given: Iterable[dict[str, Any]], *, version: str = NEW
) -> Answered:
    return send(fake, "POST", BATCHES, {"requests": list(given)}, version=version)


def create(fake: FakeAnthropic, given: Iterable[dict[str, Any]], *, version: str = NEW) -> str:
    return str(ok(send_batch(fake, given, version=version))["id"])


def poll(fake: FakeAnthropic, batch_id: str) -> Any:
    return ok(send(fake, "GET", f"{BATCHES}/{batch_id}"))


def cancel(fake: FakeAnthropic, batch_id: str) -> Answered:
    return send(fake, "POST", f"{BATCHES}/{batch_id}/cancel")


def delete(fake: FakeAnthropic, batch_id: str) -> Answered:
    return send(fake, "DELETE", f"{BATCHES}/{batch_id}")


def download(fake: FakeAnthropic, batch_id: str, **headers: str) -> Answered:
    return send(fake, "GET", f"{BATCHES}/{batch_id}/results", **headers)


def results(fake: FakeAnthropic, batch_id: str) -> dict[str, Any]:
    """The results by custom_id."""
    listed = lines_of(download(fake, batch_id))
    return {line["custom_id"]: line["result"] for line in listed}


def run(fake: FakeAnthropic, given: Iterable[dict[str, Any]], *, version: str = NEW) -> Any:
    """Create a batch and wait for its results, by custom_id."""
    batch_id = create(fake, given, version=version)
    assert poll(fake, batch_id)["processing_status"] == "ended"
    return results(fake, batch_id)
