"""The fake's files and batches are Gemini's, as the official SDK judges them."""

import io
from collections.abc import Iterator
from typing import Any

import pytest

from anybatch.testing import FakeGemini, Phases

from .generations import ask, lines, rows

genai = pytest.importorskip("google.genai", reason="the official SDK is the judge here")

JSONL = {"mime_type": "application/jsonl", "display_name": "mine"}


@pytest.fixture
def fake() -> Iterator[FakeGemini]:
    with FakeGemini() as fake:
        yield fake


@pytest.fixture(params=["v1", "v1beta"])
def client(fake: FakeGemini, request: pytest.FixtureRequest) -> Any:
    return client_of(fake, request.param)


def client_of(fake: FakeGemini, version: str = "v1beta") -> Any:
    options = {"base_url": fake.address, "api_version": version}
    return genai.Client(api_key="any", http_options=options)


def test_a_batch_goes_from_a_file_to_a_file(client: Any) -> None:
    file = client.files.upload(file=io.BytesIO(lines(rows(3))), config=JSONL)
    created = client.batches.create(model="gemini-x", src=file.name)
    batch = client.batches.get(name=created.name)
    content = client.files.download(file=batch.dest.file_name)

    assert (created.state.name, batch.state.name) == ("JOB_STATE_PENDING", "JOB_STATE_SUCCEEDED")
    assert len(content.splitlines()) == 3


def test_rows_go_inline_and_come_back_so(client: Any) -> None:
    created = client.batches.create(model="gemini-x", src=[ask("a"), ask("b")])
    batch = client.batches.get(name=created.name)

    said = [each.response.text for each in batch.dest.inlined_responses]
    assert said == ["echo: a", "echo: b"]


def test_lists_are_walked_to_their_end(client: Any) -> None:
    made = [client.batches.create(model="gemini-x", src=[ask()]).name for _ in range(3)]

    assert [batch.name for batch in client.batches.list(config={"page_size": 1})] == made[::-1]


def test_a_batch_is_cancelled_and_deleted() -> None:
    with FakeGemini(phases=Phases(in_progress=1000)) as fake:
        client = client_of(fake)
        name = client.batches.create(model="gemini-x", src=[ask()]).name
        client.batches.cancel(name=name)
        batch = client.batches.get(name=name)
        client.batches.delete(name=name)

    assert batch.state.name == "JOB_STATE_CANCELLED"


def test_a_call_is_answered(client: Any) -> None:
    reply = client.models.generate_content(model="gemini-x", contents="hi")

    assert reply.text == "echo: hi"
