"""The fake's message batches are Anthropic's, as the official SDK judges them."""

from collections.abc import Iterator
from typing import Any

import pytest

from anybatch.testing import FakeAnthropic, Phases, Status

from .messages import rows

anthropic = pytest.importorskip("anthropic", reason="the official SDK is the judge here")


@pytest.fixture
def fake() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as fake:
        yield fake


def client_of(fake: FakeAnthropic) -> Any:
    return anthropic.Anthropic(base_url=fake.address, api_key="any", max_retries=0)


def test_a_batch_goes_from_rows_to_results(fake: FakeAnthropic) -> None:
    batches = client_of(fake).messages.batches
    created = batches.create(requests=rows(3))
    batch = batches.retrieve(created.id)
    results = {line.custom_id: line.result for line in batches.results(created.id)}

    assert (created.processing_status, batch.processing_status) == ("in_progress", "ended")
    assert batch.request_counts.succeeded == 3
    assert results["r1"].message.content[0].text == "echo: prompt 1"
    assert results["r1"].message.usage.output_tokens > 0


def test_lists_are_walked_to_their_end(fake: FakeAnthropic) -> None:
    batches = client_of(fake).messages.batches
    made = [batches.create(requests=rows(1)).id for _ in range(3)]

    assert [batch.id for batch in batches.list(limit=1)] == made[::-1]


def test_a_batch_is_cancelled_and_deleted() -> None:
    with FakeAnthropic(phases=Phases(in_progress=1000)) as fake:
        batches = client_of(fake).messages.batches
        created = batches.create(requests=rows(2))
        asked = batches.cancel(created.id)
        batches.retrieve(created.id)
        deleted = batches.delete(created.id)

    assert (asked.processing_status, deleted.type) == ("canceling", "message_batch_deleted")


def test_errors_are_the_sdks_own() -> None:
    with FakeAnthropic(faults={"create": [Status(413), Status(529)]}) as fake:
        batches = client_of(fake).messages.batches
        with pytest.raises(anthropic.APIStatusError) as large:
            batches.create(requests=rows(1))
        with pytest.raises(anthropic.InternalServerError):
            batches.create(requests=rows(1))
        with pytest.raises(anthropic.NotFoundError):
            batches.retrieve("nobody")

    assert large.value.status_code == 413
    assert large.value.request_id is not None


def test_a_message_is_answered(fake: FakeAnthropic) -> None:
    turns = [{"role": "user", "content": "hi"}]
    message = client_of(fake).messages.create(model="claude-x", max_tokens=9, messages=turns)

    assert message.content[0].text == "echo: hi"
