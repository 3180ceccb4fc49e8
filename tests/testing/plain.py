"""A plain client of OpenAI's files and batches: one connection a call, nothing tried again."""

from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import msgspec

from anybatch.testing import FakeOpenAI

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


def send(
    fake: FakeOpenAI,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answered:
    """Raises what http.client raises where no whole answer comes."""
    address = urlsplit(fake.base_url)
    assert address.hostname is not None
    connection = HTTPConnection(address.hostname, address.port, timeout=5)
    try:
        connection.request(method, f"/v1{path}", body, headers or {})
        response = connection.getresponse()
        there = {name.lower(): text for name, text in response.getheaders()}
        return Answered(response.status, there, response.read())
    finally:
        connection.close()


def row(name: str, prompt: str = "hi", **changed: Any) -> dict[str, Any]:
    """A line of an input file; a field that is changed to None is left out."""
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    fields = {"custom_id": name, "method": "POST", "url": CHAT, "body": body, **changed}
    return {field: value for field, value in fields.items() if value is not None}


def rows(count: int) -> list[dict[str, Any]]:
    return [row(f"r{n}", f"prompt {n}") for n in range(count)]


def lines(given: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in given)


def form(parts: Iterable[tuple[str, bytes]], boundary: str = "b0undary") -> bytes:
    """A multipart body; the first of each pair is the rest of its content-disposition."""
    written = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode() + text + b"\r\n"
        for about, text in parts
    )
    return written + f"--{boundary}--\r\n".encode()


def send_form(
    fake: FakeOpenAI, parts: Iterable[tuple[str, bytes]], boundary: str = "b0undary"
) -> Answered:
    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return send(fake, "POST", "/files", form(parts, boundary), kind)


def send_file(
    fake: FakeOpenAI,
    content: bytes,
    *,
    filename: str = "in.jsonl",
    purpose: str = "batch",
    **fields: str,
) -> Answered:
    given = [('name="purpose"', purpose.encode())]
    given += [(f'name="expires_after[{name}]"', text.encode()) for name, text in fields.items()]
    return send_form(fake, [*given, (f'name="file"; filename="{filename}"', content)])


def upload(fake: FakeOpenAI, content: bytes) -> str:
    """The id of the file."""
    answered = send_file(fake, content)
    assert answered.status == 200, answered
    return str(answered.json["id"])


def send_batch(fake: FakeOpenAI, file_id: str, **changed: Any) -> Answered:
    """Create a batch; a field that is changed to None is left out."""
    fields = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h", **changed}
    asked = {name: value for name, value in fields.items() if value is not None}
    headers = {"content-type": "application/json"}
    return send(fake, "POST", "/batches", msgspec.json.encode(asked), headers)


def create(fake: FakeOpenAI, given: Iterable[dict[str, Any]], **changed: Any) -> str:
    """Upload rows and make a batch of them; its id."""
    answered = send_batch(fake, upload(fake, lines(given)), **changed)
    assert answered.status == 200, answered
    return str(answered.json["id"])


def poll(fake: FakeOpenAI, batch_id: str) -> Any:
    answered = send(fake, "GET", f"/batches/{batch_id}")
    assert answered.status == 200, answered
    return answered.json


def cancel(fake: FakeOpenAI, batch_id: str) -> Answered:
    return send(fake, "POST", f"/batches/{batch_id}/cancel")


def download(fake: FakeOpenAI, file_id: str, **headers: str) -> Answered:
    return send(fake, "GET", f"/files/{file_id}/content", headers=headers)


def results(fake: FakeOpenAI, file_id: str | None) -> list[Any]:
    """The lines of a result file; none where there is no file."""
    if not file_id:
        return []
    content = download(fake, file_id)
    assert content.status == 200, content
    return [msgspec.json.decode(line) for line in content.body.splitlines()]


def run(fake: FakeOpenAI, given: Iterable[dict[str, Any]], **changed: Any) -> Any:
    """The batch of these rows as the first look finds it: over, unless phases take time."""
    return poll(fake, create(fake, given, **changed))


def outputs(fake: FakeOpenAI, batch: Any) -> dict[str, Any]:
    """The results that are well, by custom_id."""
    return {line["custom_id"]: line for line in results(fake, batch["output_file_id"])}


def errors(fake: FakeOpenAI, batch: Any) -> dict[str, Any]:
    return {line["custom_id"]: line for line in results(fake, batch["error_file_id"])}


def said(line: Any) -> str:
    """What the model said in a row of chat."""
    content = line["response"]["body"]["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content
