"""The fake's files and batches are OpenAI's, as the official SDK judges them."""

import io
from collections.abc import Iterator
from typing import Any

import pytest

from anybatch.testing import Cut, FakeOpenAI, Phases, Status

from .plain import lines, rows

openai = pytest.importorskip("openai", reason="the official SDK is the judge here")

LINES = lines(rows(3))


def client_of(fake: FakeOpenAI, **options: Any) -> Any:
    return openai.OpenAI(base_url=fake.base_url, api_key="any", **options)


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def client(fake: FakeOpenAI) -> Iterator[Any]:
    with client_of(fake) as client:
        yield client


def upload(client: Any) -> Any:
    return client.files.create(file=("in.jsonl", io.BytesIO(LINES)), purpose="batch")


def create(client: Any, **options: Any) -> Any:
    return client.batches.create(
        input_file_id=upload(client).id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        **options,
    )


def test_a_batch_goes_from_a_file_to_a_file(client: Any) -> None:
    created = create(client, metadata={"a": "b"})
    batch = client.batches.retrieve(created.id)
    content = client.files.content(batch.output_file_id)

    assert (created.status, batch.status) == ("validating", "completed")
    assert batch.metadata == {"a": "b"}
    assert batch.request_counts.completed == 3
    assert batch.usage.total_tokens > 0
    assert len(content.text.splitlines()) == 3


def test_a_file_is_processed_when_it_is_there(client: Any) -> None:
    file = client.files.wait_for_processing(upload(client).id)

    assert (file.filename, file.status, file.bytes) == ("in.jsonl", "processed", len(LINES))


def test_a_life_can_be_given_to_files(client: Any) -> None:
    after = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(
        file=("in.jsonl", io.BytesIO(LINES)), purpose="batch", expires_after=after
    )

    assert file.expires_at - file.created_at == 3600


def test_lists_are_walked_to_their_end(client: Any) -> None:
    batches = [create(client).id for _ in range(3)]
    listed = [batch.id for batch in client.batches.list(limit=1)]
    files = [file.id for file in client.files.list(limit=1, order="asc", purpose="batch")]

    assert listed == batches[::-1]
    assert len(files) == 3


def test_a_file_is_deleted(client: Any) -> None:
    file_id = upload(client).id

    assert client.files.delete(file_id).deleted is True
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.retrieve(file_id)


def test_a_running_batch_is_cancelled() -> None:
    with FakeOpenAI(phases=Phases(in_progress=1000)) as fake, client_of(fake) as client:
        cancelled = client.batches.cancel(create(client).id)

    assert cancelled.status == "cancelling"


def test_a_cancellation_that_comes_too_late_is_not_tried_again(
    fake: FakeOpenAI, client: Any
) -> None:
    batch = create(client)

    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)

    assert fake.ledger.operations["cancel"] == 1


def test_problems_of_the_validation_can_be_read(client: Any) -> None:
    batch = client.batches.create(
        input_file_id="file-none", endpoint="/v1/chat/completions", completion_window="24h"
    )
    problem = client.batches.retrieve(batch.id).errors.data[0]

    assert (problem.code, problem.param, problem.line) == ("invalid_request", "file_id", None)


def test_a_wrong_request_is_told_in_the_sdks_words(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.create(input_file_id="f", endpoint="/v1/fun", completion_window="24h")

    assert (caught.value.code, caught.value.param) == ("invalid_value", "endpoint")
    assert caught.value.request_id


@pytest.mark.parametrize("fault", [Status(500, executed=True), Cut("executed")])
def test_an_sdk_that_tries_again_pays_twice_and_the_books_show_it(fault: Any) -> None:
    with FakeOpenAI(faults={"create": [fault]}) as fake, client_of(fake) as client:
        create(client)

        assert len(fake.ledger.batches) == 2
        assert len(fake.ledger.repeated_batches) == 1
        assert len(fake.ledger.billed_twice) == 3
