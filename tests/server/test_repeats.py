"""Calls whose answers were lost are made again, and nothing is there twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from anybatch.effects import Moment
from anybatch.store.sqlite import DATABASE
from anybatch.testing import Crash, FakeEndpoint

from .world import CHAT, chat, client_of, jsonl, served, upload

AGAIN = {"x-stainless-retry-count": "1"}


def batch_of(file_id: str, **changes: Any) -> dict[str, Any]:
    asked = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    return asked | changes


def posted(url: str, path: str, asked: Any, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(f"{url}/{path}", json=asked, headers=named)


def sent(url: str, content: bytes, boundary: str, **headers: str) -> Any:
    form = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    )
    kind = f"multipart/form-data; boundary={boundary}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = form.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    reply = httpx2.post(f"{url}/files", content=body, headers={"content-type": kind, **named})
    return reply.json()["id"]


def test_a_creation_that_is_named_is_made_once(client: openai.OpenAI, url: str) -> None:
    asked = batch_of(upload(client, [chat("a")]).id)

    first = posted(url, "batches", asked, idempotency_key="one")
    again = posted(url, "batches", asked, idempotency_key="one")
    other = posted(url, "batches", asked, idempotency_key="two")

    assert first.json()["id"] == again.json()["id"] != other.json()["id"]


def test_an_empty_name_is_none(client: openai.OpenAI, url: str) -> None:
    first, second = (batch_of(upload(client, [chat(name)]).id) for name in ("a", "b"))

    made = [posted(url, "batches", asked, idempotency_key="") for asked in (first, second)]

    assert [reply.status_code for reply in made] == [200, 200]


def test_a_name_that_is_used_for_something_else_is_a_conflict(
    client: openai.OpenAI, url: str
) -> None:
    asked = batch_of(upload(client, [chat("a")]).id)
    posted(url, "batches", asked, idempotency_key="three")

    changed = batch_of(asked["input_file_id"], completion_window="1h")
    reply = posted(url, "batches", changed, idempotency_key="three")

    assert reply.status_code == 409
    assert reply.headers["x-should-retry"] == "false"


def test_what_an_sdk_tries_again_is_made_once(client: openai.OpenAI, url: str) -> None:
    asked = batch_of(upload(client, [chat("a")]).id)

    first = posted(url, "batches", asked, x_stainless_retry_count="0").json()["id"]
    again = posted(url, "batches", asked, x_stainless_retry_count="1").json()["id"]
    third = posted(url, "batches", asked, x_stainless_retry_count="2").json()["id"]

    assert first == again == third


def test_what_is_asked_for_twice_on_purpose_is_made_twice(client: openai.OpenAI, url: str) -> None:
    asked = batch_of(upload(client, [chat("a")]).id)

    first = posted(url, "batches", asked, x_stainless_retry_count="0").json()["id"]
    second = posted(url, "batches", asked, x_stainless_retry_count="0").json()["id"]
    again = posted(url, "batches", asked, x_stainless_retry_count="1").json()["id"]

    assert first != second == again


def test_a_first_try_that_never_arrived_is_made_by_the_second(
    client: openai.OpenAI, url: str
) -> None:
    asked = batch_of(upload(client, [chat("a")]).id, metadata={"never": "arrived"})

    made = posted(url, "batches", asked, x_stainless_retry_count="1")

    assert made.json()["metadata"] == {"never": "arrived"}


def test_a_file_that_is_sent_again_is_one_file(url: str) -> None:
    content = jsonl([chat("sent again")])

    first = sent(url, content, "a", x_stainless_retry_count="0")
    again = sent(url, content, "b", x_stainless_retry_count="1")
    other = sent(url, content + b"\n", "c", x_stainless_retry_count="1")

    assert first == again != other


def test_a_file_that_was_deleted_since_is_made_anew(client: openai.OpenAI, url: str) -> None:
    content = jsonl([chat("deleted since")])
    first = sent(url, content, "a", idempotency_key="four")
    client.files.delete(first)

    again = sent(url, content, "a", idempotency_key="four")

    assert client.files.retrieve(again).id == again != first


def test_a_part_that_is_sent_again_is_one_part(client: openai.OpenAI) -> None:
    made = client.uploads.create(bytes=2, filename="in.jsonl", mime_type="x", purpose="batch")

    first = client.uploads.parts.create(made.id, data=b"{}")
    again = client.uploads.parts.create(made.id, data=b"{}", extra_headers=AGAIN)

    assert first.id == again.id


def test_an_upload_is_completed_once_under_a_name(client: openai.OpenAI, url: str) -> None:
    content = jsonl([chat("in parts")])
    half = len(content) // 2
    asked = {"filename": "in.jsonl", "mime_type": "x", "purpose": "batch"}
    made = client.uploads.create(bytes=len(content), **asked).id  # type: ignore[arg-type]
    parts = [
        client.uploads.parts.create(made, data=data).id for data in (content[:half], content[half:])
    ]
    path = f"uploads/{made}/complete"

    first = posted(url, path, {"part_ids": parts}, idempotency_key="done")
    again = posted(url, path, {"part_ids": parts}, idempotency_key="done")
    other = posted(url, path, {"part_ids": parts[::-1]}, idempotency_key="done")

    assert (first.status_code, other.status_code) == (200, 409)
    assert first.json() == again.json()
    assert first.json()["file"]["bytes"] == len(content)


@pytest.mark.parametrize(
    ("face", "version"), [("openai", {}), ("anthropic", {"anthropic_version": "2023-06-01"})]
)
def test_a_cancellation_has_a_name_of_its_own(
    client: openai.OpenAI, url: str, face: str, version: dict[str, str]
) -> None:
    params = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    path, asked = "messages/batches", {"requests": [{"custom_id": "a", "params": params}]}
    if face == "openai":
        path, asked = "batches", batch_of(upload(client, [chat("a")]).id)
    made = posted(url, path, asked, idempotency_key=f"{face} created", **version).json()["id"]

    named = f"{face} created"
    wrong = posted(url, f"{path}/{made}/cancel", {}, idempotency_key=named, **version)
    after = posted(url, path, asked, idempotency_key=named, **version)

    assert wrong.status_code == 409
    assert after.json()["id"] == made


@asynccontextmanager
async def caller() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as client:
        yield client


async def test_who_tries_again_while_the_first_is_under_way_gets_the_same(
    client: openai.OpenAI, url: str
) -> None:
    asked = batch_of(upload(client, [chat("a")]).id)

    async with caller() as http:
        replies = await asyncio.gather(
            *(
                http.post(f"{url}/batches", json=asked, headers={"x-stainless-retry-count": str(n)})
                for n in (1, 1, 1, 2, 2, 2)
            )
        )

    assert len({reply.json()["id"] for reply in replies}) == 1


# --- who does not say how often it has tried ---


async def test_who_says_nothing_of_its_tries_gets_as_many_as_it_asks_for(
    client: openai.OpenAI, url: str
) -> None:
    asked = batch_of(upload(client, [chat("a")]).id)

    async with caller() as http:
        one_by_one = [await http.post(f"{url}/batches", json=asked) for _ in range(3)]
        at_once = await asyncio.gather(*(http.post(f"{url}/batches", json=asked) for _ in range(5)))

    assert len({reply.json()["id"] for reply in (*one_by_one, *at_once)}) == 8


class Dies:
    """A probe that lets the server die when the first order stands, before anybody hears of it."""

    def __init__(self, home: Path) -> None:
        self._database = home / DATABASE
        self.died = False

    def __call__(self, name: str, moment: Moment) -> None:
        if not self.died and (name, moment) == ("store.transaction", "after"):
            with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
                (orders,) = database.execute("select count(*) from orders").fetchone()
            self.died = orders > 0
        if self.died:
            raise Crash


def test_what_a_server_made_and_died_before_it_could_say_so_is_made_once(tmp_path: Path) -> None:
    probe = Dies(tmp_path)
    with (
        FakeEndpoint() as endpoint,
        suppress(Crash, BaseExceptionGroup),
        served(tmp_path, endpoint, probe=probe) as url,
        client_of(url) as client,
    ):
        asked = batch_of(upload(client, [chat("a")]).id)
        lost = posted(url, "batches", asked).status_code
    with FakeEndpoint() as endpoint, served(tmp_path, endpoint) as url, client_of(url) as client:
        again = posted(url, "batches", asked).json()["id"]
        there = [batch.id for batch in client.batches.list()]
        wanted = posted(url, "batches", asked).json()["id"]

    assert probe.died
    assert lost == 500
    assert there == [again] != [wanted]


@pytest.mark.parametrize("lost", ["reset", 500])
def test_an_sdk_whose_answer_was_lost_makes_one_batch(url: str, lost: Any) -> None:
    seen: list[str] = []

    class Losing(httpx2.HTTPTransport):
        """Loses the first answer to every creation, after the server has made it."""

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            response = super().handle_request(request)
            if request.method != "POST" or request.headers["x-stainless-retry-count"] != "0":
                return response
            seen.append(response.read().decode())
            if lost == "reset":
                raise httpx2.ReadError("lost")
            return httpx2.Response(lost, request=request)

    http = httpx2.Client(transport=Losing())
    with openai.OpenAI(base_url=url, api_key="any", http_client=http) as client:
        before = {batch.id for batch in client.batches.list()}
        files = {file.id for file in client.files.list(purpose="batch")}
        file = upload(client, [chat(f"lost by {lost}")])
        batch = client.batches.create(**batch_of(file.id))
        made = {each.id for each in client.batches.list()} - before
        uploaded = {each.id for each in client.files.list(purpose="batch")} - files

    assert len(seen) == 2
    assert made == {batch.id}
    assert uploaded == {file.id}
